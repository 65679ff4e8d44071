"""A stand-in's destination as config.yaml has it, for whole instances."""

from __future__ import annotations

import dataclasses
from typing import Any

from postroom.fields import Bytes, Rate, Seconds
from tests.standins import Standin


def settings(standin: Standin, **more: Any) -> dict[str, Any]:
    """The destination's settings, `more` beside or instead of its own."""
    options = {name.rstrip("_"): _plain(value) for name, value in standin.options().items()}
    return {"kind": standin.kind, "allow_private": True, **options, **more}


def _plain(value: Any) -> Any:
    if isinstance(value, Seconds):
        return f"{value:g}s"
    if isinstance(value, Rate):
        return f"{value.count}/{value.seconds:g}s"
    if isinstance(value, Bytes):
        return int(value)
    if isinstance(value, str):
        return str(value)  # secrets and URLs are types of their own
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name.rstrip("_"): _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value

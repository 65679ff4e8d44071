"""What the tests of integrations share: the kinds, and jobs to deliver. The systems are in tests/standins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import integrations
from postroom import testing
from postroom.fields import specs
from postroom.integration import Integration, discover
from postroom.testing import SECRET, attachment, job

__all__ = ["KINDS", "SECRET", "attachment", "build", "documented", "job"]

KINDS = discover(None, integrations)


def build(kind: str, data_dir: Path, *, timeout: float = 5, **options: Any) -> Integration:
    """A destination named `here`, with the defaults of its kind for what is not given."""
    return testing.build(KINDS[kind], data_dir, timeout=timeout, **options)


def documented(settings: type[Any]) -> list[str]:
    """Names of settings without a text for the docs."""
    return [spec.name for spec in specs(settings).values() if not spec.doc]

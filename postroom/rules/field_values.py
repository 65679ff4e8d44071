"""The values of an action's fields: checked at load as far as they are literal, made to their type when rendered."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from datetime import datetime
from typing import Any

from postroom.fields import Json, parse_scalar
from postroom.mail.targets import Markup
from postroom.problems import Place
from postroom.rules.reading import EMPTY
from postroom.rules.sandbox import LONGEST_OUTPUT, as_text
from postroom.rules.template_names import Shape
from postroom.rules.templates import FillError, Template, check, is_template
from postroom.yamlfile import Mapping, Node, Scalar, Sequence

Report = Callable[[Place, str], None]
Compiled = Any
"""Texts, lists, dicts and None as written, with a Template in place of each text that is one."""


def compile_value(node: Node, what: str, names: MappingType[str, Shape], report: Report) -> Compiled:
    """Reads a value, with all templates in it checked."""
    if isinstance(node, Sequence):
        return [compile_value(item, what, names, report) for item in node.items]
    if isinstance(node, Mapping):
        for key, _ in node.entries:
            if is_template(key.value):
                report(key.place, f"{what}: a key cannot be a template")
        return {key.value: compile_value(item, f"{what}.{key.value}", names, report) for key, item in node.entries}
    if node.is_null:
        return None
    if not is_template(node.value):
        return node.value
    return check(node.value, names, lambda message: report(node.place, f"{what}: {message}"))


def check_value(kind: Any, node: Node, what: str, report: Report) -> None:
    """Reports literal values that do not suit the type. A template's value is seen only when it is rendered."""
    if isinstance(node, Scalar) and not node.is_null and is_template(node.value):
        return
    inner = _without_none(kind)
    if isinstance(node, Scalar) and node.is_null:
        if inner is kind:
            report(node.place, f"{what} {EMPTY}")
        return
    origin = typing.get_origin(inner)
    if inner is Json or inner is Any:
        return
    if origin is list:
        (item,) = typing.get_args(inner)
        for each in node.items if isinstance(node, Sequence) else (node,):
            check_value(item, each, what, report)
    elif origin is dict:
        if not isinstance(node, Mapping):
            report(node.place, f"{what} must be a mapping")
            return
        for key, value in node.entries:
            check_value(typing.get_args(inner)[1], value, f"{what}.{key.value}", report)
    elif not isinstance(node, Scalar):
        report(node.place, f"{what} must be one value, not a {'list' if isinstance(node, Sequence) else 'mapping'}")
    else:
        try:
            parse_scalar(inner, node.value)
        except ValueError as error:
            report(node.place, f"{what}: {error}")


def render_value(value: Compiled, names: MappingType[str, Any], markup: Markup = Markup.PLAIN) -> Any:
    """Raises FillError. `markup`: see Template.render."""
    if isinstance(value, Template):
        return value.render(names, markup)
    if isinstance(value, list):
        return [render_value(item, names) for item in value]
    if isinstance(value, dict):
        return {key: render_value(item, names) for key, item in value.items()}
    return value


def coerce(kind: Any, value: Any) -> Any:
    """A rendered value as the type that a field declares: plain lists, dicts, texts and numbers.

    Texts become numbers, words and the like as in config.yaml; one value stands for a list of one; empty members of
    a list are left out; an empty text is nothing where nothing is allowed. Raises ValueError with a sentence.
    """
    inner = _without_none(kind)
    if inner is not kind and (value is None or value == ""):
        return None
    origin = typing.get_origin(inner)
    if inner is Json or inner is Any:
        return _plain(value)
    if origin is list:
        (item,) = typing.get_args(inner)
        # A template among the entries may stand for several.
        entries = value if isinstance(value, list) else [value]
        items = [each for entry in entries for each in (entry if isinstance(entry, list) else [entry])]
        return [coerce(item, each) for each in items if each is not None and each != ""]
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"'{_short(as_text(value))}' is no mapping")
        return {str(key): coerce(typing.get_args(inner)[1], each) for key, each in value.items()}
    if isinstance(value, dict):
        raise ValueError("a mapping stands where one value is needed")
    text = as_text(value)
    if len(text) > LONGEST_OUTPUT:
        raise ValueError(f"the text is longer than {LONGEST_OUTPUT:,} characters")
    if inner is str:
        return text
    if inner is int and isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return parse_scalar(inner, text.strip())
    except ValueError as error:
        raise ValueError(_short(str(error), 300)) from error


def text_of(value: Compiled, names: MappingType[str, Any], markup: Markup = Markup.PLAIN) -> str:
    """A rendered title, body or footer. Raises FillError."""
    try:
        return typing.cast(str, coerce(str, render_value(value, names, markup)))
    except ValueError as error:
        raise FillError(str(error)) from error


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return as_text(value) if isinstance(value, (str, datetime)) else str(value)


def _short(text: str, length: int = 80) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."

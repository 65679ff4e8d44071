"""Schemas of single values: what a type annotation of `postroom.fields` lets people write.

Editors resolve YAML before they look at a schema, the loaders do not: so a text may arrive as a number or a boolean.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import yaml

from postroom.fields import Bytes, Json, Rate, Seconds, Secret, Spec, Url, specs

Schema = dict[str, Any]

TEMPLATE = r"\{[{%#]"
"""What a text must hold to be a template: then its value is known only when it is rendered."""
VARIABLE = r"\$\{"
"""The same for variables of the environment."""

_SCALARS = ("string", "number", "boolean")
_PATTERNS: Mapping[Any, tuple[tuple[str, ...], str, str]] = {
    int: (("integer", "string"), r"^\s*[+-]?\d{1,18}\s*$", "A whole number."),
    float: (("number", "string"), r"^\s*[+-]?\d{1,18}(\.\d{1,18})?\s*$", "A number."),
    bool: (
        ("boolean", "string"),
        r"^\s*([Tt][Rr][Uu][Ee]|[Yy][Ee][Ss]|[Oo][Nn]|[Ff][Aa][Ll][Ss][Ee]|[Nn][Oo]|[Oo][Ff][Ff])\s*$",
        "true or false.",
    ),
    Seconds: (("string",), r"^\s*\d+(\.\d+)? ?(ms|s|m|h|d|w)\s*$", "A duration, such as 500ms, 15s, 5m, 2h or 35d."),
    Bytes: (
        ("number", "string"),
        r"^\s*\d+(\.\d+)? ?(B|kB|KB|MB|GB|KiB|MiB|GiB)?\s*$",
        "A size, such as 500kB, 64MB or 1GB.",
    ),
    Rate: (("string",), r"^\s*0*[1-9]\d* ?/ ?([1-9]\d*)?(ms|s|m|h|d|w)\s*$", "A rate, such as 10/s, 100/m or 20/h."),
    Url: (("string",), r"^\s*[Hh][Tt][Tt][Pp][Ss]?://\S+\s*$", "A URL, such as https://example.com/path."),
}
_UNITS: Mapping[Any, tuple[tuple[str, float], ...]] = {
    Seconds: (("d", 86400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 0.001)),
    Bytes: (("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("B", 1)),
}


def text(*, empty: bool = False) -> Schema:
    """One text."""
    return {"type": list(_SCALARS)} if empty else {"type": list(_SCALARS), "minLength": 1}


def words(known: Iterable[str]) -> Schema:
    """One of these words, in whatever form YAML makes of them."""
    listed = list(known)
    read = [yaml.safe_load(word) for word in listed]
    return {"enum": listed + [value for value in read if isinstance(value, (bool, int, float))]}


def choice(meanings: Mapping[str, str]) -> Schema:
    """One of these words, each with what it means."""
    told = list(meanings.values())
    return {"enum": list(meanings), **({"enumDescriptions": told} if any(told) else {})}


def one_or_list(one: Schema, *, least: int = 1) -> Schema:
    """A value, or a list of them."""
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": least}]}


def mapping(properties: Mapping[str, Schema], *, required: Iterable[str] = (), **more: Any) -> Schema:
    """A mapping with these keys and no others."""
    needed = list(required)
    made: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False, **more}
    return {**made, "required": needed} if needed else made


def described(schema: Schema, text_: str | None) -> Schema:
    """With a description, which an editor shows on hover. Beside `$ref` draft-07 would not see it."""
    inner: Schema = {"allOf": [schema]} if "$ref" in schema else schema
    told = " ".join(part for part in (text_, inner.get("description")) if part)
    return {**inner, "description": told} if told else inner


def nullable(schema: Schema) -> Schema:
    """The same, or nothing."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    kinds = schema.get("type")
    if kinds is None or "enum" in schema:
        return schema if schema == {} else {"anyOf": [schema, {"type": "null"}]}
    listed = [kinds] if isinstance(kinds, str) else kinds
    return {**schema, "type": [*(kind for kind in listed if kind != "null"), "null"]}


def flag() -> Schema:
    """true, yes, on / false, no, off."""
    return value_of(bool, None)


def settings(known: Mapping[str, Spec], fill: str | None, *, needed: bool = True) -> Schema:
    """A mapping of settings, each with its description and default; `needed`: the required ones must be there."""
    required = [spec.name for spec in known.values() if spec.required and needed]
    made = mapping({spec.name: setting_of(spec, fill) for spec in known.values()}, required=required)
    return made if required else nullable(made)


def setting_of(spec: Spec, fill: str | None) -> Schema:
    """One setting with its description and default."""
    schema = value_of(spec.type, fill)
    if spec.required and typing.get_origin(spec.type) is list:
        (item,) = typing.get_args(spec.type)
        schema = one_or_list(value_of(item, fill))
    default = _default(spec.default)
    if default is not None:
        schema = {**schema, "default": default}
    return described(schema, _sentence(spec.doc))


def value_of(kind: Any, fill: str | None) -> Schema:
    """What people may write for an annotation. A text that matches `fill` is filled in later and may stand anywhere."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return nullable(value_of(next(part for part in typing.get_args(kind) if part is not type(None)), fill))
    if kind is Json or kind is Any:
        return {}
    if kind is Secret:
        file = mapping({"file": described(text(), "Path of a file that holds it.")}, required=("file",))
        return {"anyOf": [text(), file]}
    if kind in _PATTERNS:
        kinds, pattern, doc = _PATTERNS[kind]
        made: Schema = {"type": list(kinds), "pattern": pattern if fill is None else f"{pattern}|{fill}"}
        return {**made, "minimum": 0} if kind is Bytes else {**made, "description": doc}
    if origin is Literal:
        allowed = words(str(word) for word in typing.get_args(kind))
        return allowed if fill is None else {"anyOf": [allowed, {"type": "string", "pattern": fill}]}
    if origin is list:
        (item,) = typing.get_args(kind)
        made = one_or_list(value_of(item, fill), least=0)
        return made if fill == TEMPLATE else nullable(made)
    if origin is dict:
        made = {"type": "object", "additionalProperties": value_of(typing.get_args(kind)[1], fill)}
        return {"anyOf": [made, {"type": "string", "pattern": fill}]} if fill == TEMPLATE else made
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return settings(specs(kind), fill)
    return text(empty=True)


def _sentence(doc: str) -> str:
    if not doc:
        return ""
    # A word before a colon is one that people write: it stays as it is.
    start = doc[0] if doc.split()[0].endswith(":") else doc[0].upper()
    return f"{start}{doc[1:]}{'' if doc.endswith(('.', '?')) else '.'}"


def _default(value: Any) -> Any:
    """A default as people would write it; None where there is none to show."""
    if isinstance(value, Rate):
        unit = next((unit for unit, size in _UNITS[Seconds] if value.seconds == size), f"{value.seconds:g}s")
        return f"{value.count}/{unit}"
    for kind, units in _UNITS.items():
        if isinstance(value, kind):
            unit, size = next(((unit, size) for unit, size in units if value and value % size == 0), units[-1])
            return "0s" if kind is Seconds and not value else f"{round(value / size)}{unit}"
    if isinstance(value, (list, tuple)):
        return [_default(item) for item in value]
    return value if isinstance(value, (str, int, float)) else None

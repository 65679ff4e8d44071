"""Typed settings that people write as YAML text: one definition for checking, for defaults and for the docs.

A set of settings is a frozen dataclass whose fields are made by `setting`. Every value arrives as text with its place
(see yamlfile); the annotation says what the text means:

=====================  ==========================================================================
``str``                any text
``int``, ``float``     a number
``bool``               true, yes, on / false, no, off
``Literal["a", "b"]``  one of these words
``Seconds``            a duration: ``500ms``, ``15s``, ``5m``, ``2h``, ``35d``
``Bytes``              a size: ``64MB`` (10^6), ``1MiB`` (2^20), ``2000``
``Rate``               so many in a time: ``10/s``, ``20/h``
``Url``                an http or https URL
``Secret``             a literal, ``"${ENV}"`` or ``{file: path}``; never shown
``list[T]``            a list, or one value that stands for a list of one
``dict[str, T]``       a mapping
``Json``               any nesting of mappings, lists and texts
``T | None``           the same, or nothing
=====================  ==========================================================================
"""

from __future__ import annotations

import dataclasses
import os
import re
import types
import typing
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from postroom.mail.targets import Markup
from postroom.problems import Place, Problem, did_you_mean, listed
from postroom.yamlfile import Mapping, Node, Scalar, Sequence

T = TypeVar("T")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_UNIT_BYTES = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_UNIT_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Seconds(float):
    """A duration in seconds."""


class Bytes(int):
    """A size in bytes."""


class Url(str):
    """An http or https URL."""


class Secret(str):
    """A credential. Its repr shows nothing, so that it reaches no log by way of an object that holds it."""

    def __repr__(self) -> str:
        return "Secret('***')"


@dataclasses.dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in `seconds`."""

    count: int
    seconds: float


class Json:
    """Marks a setting that takes any nesting of mappings, lists and texts."""


def setting(doc: str, **default: Any) -> Any:
    """A field of a settings dataclass: `setting("what it is for", default=3)`; without a default it is required."""
    return dataclasses.field(metadata={"doc": doc}, kw_only=True, **default)


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """What is known of one setting."""

    name: str
    type: Any
    required: bool
    default: Any
    doc: str


@dataclasses.dataclass(frozen=True, slots=True)
class FieldSet:
    """What a rule may fill in for one destination: its kind, and the settings class of the kind's own fields."""

    kind: str
    fields: type[Any]
    markup: Markup = Markup.PLAIN
    """Of body and footer."""


@dataclasses.dataclass(slots=True)
class Reader:
    """Where problems go, and what a text may refer to."""

    problems: list[Problem]
    folder: Path
    """Folder of the file that is read: relative paths start here."""
    environ: MappingType[str, str] = dataclasses.field(default_factory=lambda: os.environ)

    def report(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))


def specs(settings: type[Any]) -> dict[str, Spec]:
    """The settings of a class in the order they stand. A trailing underscore (`from_`) is no part of a name."""
    hints = typing.get_type_hints(settings)
    found = {}
    for field in dataclasses.fields(settings):
        missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        name = field.name.rstrip("_")
        found[name] = Spec(
            name, hints[field.name], missing, None if missing else default, field.metadata.get("doc", "")
        )
    return found


def read_settings(
    settings: type[T], node: Node | None, place: Place, what: str, reader: Reader, *, skip: frozenset[str] = frozenset()
) -> T | None:
    """Builds a settings object from a mapping; None where problems were found (all of them are reported).

    `what` names the thing in problems ("server", "destination 'jira'"); keys in `skip` are read by the caller.
    """
    if node is None or (isinstance(node, Scalar) and node.is_null):
        node = Mapping((), place)
    if not isinstance(node, Mapping):
        reader.report(node.place, f"{what} must be a mapping of settings")
        return None
    known = specs(settings)
    before = len(reader.problems)
    values: dict[str, Any] = {}
    for key, value in node.entries:
        if key.value in skip:
            continue
        spec = known.get(key.value)
        if spec is None:
            names = listed([*known, *sorted(skip)])
            hint = did_you_mean(key.value, [*known, *skip])
            reader.report(
                key.place,
                f"{what}: unknown key '{key.value}'{hint}"
                if hint
                else f"{what}: unknown key '{key.value}'; it takes {names}",
            )
            continue
        values[key.value] = read_value(spec.type, value, f"{what}: {key.value}", reader)
    for spec in known.values():
        if spec.required and spec.name not in values:
            reader.report(place, f"{what}: '{spec.name}' is missing ({spec.doc})")
        elif spec.required and values[spec.name] == []:
            reader.report(place, f"{what}: '{spec.name}' is empty ({spec.doc})")
    if len(reader.problems) > before:
        return None
    attributes = {field.name.rstrip("_"): field.name for field in dataclasses.fields(typing.cast(Any, settings))}
    return settings(**{attributes[name]: value for name, value in values.items()})


def read_value(kind: Any, node: Node, what: str, reader: Reader) -> Any:
    """The value that a node stands for under an annotation; reports and returns None where it stands for none."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if isinstance(node, Scalar) and node.is_null:
            return None
        inner = [part for part in typing.get_args(kind) if part is not type(None)]
        return read_value(inner[0], node, what, reader)
    if kind is Json or kind is Any:
        return plain(node, reader)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind is not Rate:
        return read_settings(kind, node, node.place, what, reader)
    if kind is Secret:
        return _secret(node, what, reader)
    if origin is list:
        (item,) = typing.get_args(kind)
        nodes = (
            node.items if isinstance(node, Sequence) else () if isinstance(node, Scalar) and node.is_null else (node,)
        )
        return [read_value(item, each, what, reader) for each in nodes]
    if origin is dict:
        if not isinstance(node, Mapping):
            reader.report(node.place, f"{what} must be a mapping")
            return None
        return {
            key.value: read_value(typing.get_args(kind)[1], value, f"{what}.{key.value}", reader)
            for key, value in node.entries
        }
    if not isinstance(node, Scalar):
        reader.report(
            node.place, f"{what} must be one value, not a {'list' if isinstance(node, Sequence) else 'mapping'}"
        )
        return None
    text = expand(node, reader)
    if text is None:
        return None
    try:
        return parse_scalar(kind, text)
    except ValueError as error:
        reader.report(node.place, f"{what}: {error}")
        return None


def parse_scalar(kind: Any, text: str) -> Any:
    """A text as the type that an annotation asks for.

    Raises ValueError with a sentence that names the text and what would be right.
    """
    if typing.get_origin(kind) is Literal:
        words: list[str] = [str(word) for word in typing.get_args(kind)]
        if text not in words:
            raise ValueError(f"'{text}' is none of {listed(words)}{did_you_mean(text, words)}")
        return text
    parser = _SCALARS.get(kind)
    if parser is None:
        raise TypeError(f"settings cannot be of type {kind!r}")
    return parser(text)


def parse_duration(text: str) -> Seconds:
    """`15s`, `5m`, `2h`, `35d` in seconds. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d|w)", text.strip())
    if found is None:
        raise ValueError(f"'{text}' is no duration; write such as 500ms, 15s, 5m, 2h or 35d")
    return Seconds(float(found[1]) * _UNIT_SECONDS[found[2]])


def parse_size(text: str) -> Bytes:
    """`75MB` (10^6), `1MiB` (2^20) in bytes. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(B|kB|KB|MB|GB|KiB|MiB|GiB|)", text.strip())
    if found is None:
        raise ValueError(f"'{text}' is no size; write such as 500kB, 64MB or 1GB")
    return Bytes(round(float(found[1]) * _UNIT_BYTES[found[2]]))


def parse_rate(text: str) -> Rate:
    """`10/s`, `20/h`, `5/10m`. Raises ValueError."""
    found = re.fullmatch(r"(\d+) ?/ ?(\d*)(ms|s|m|h|d|w)", text.strip())
    if found is None or int(found[1]) == 0 or found[2] == "0":
        raise ValueError(f"'{text}' is no rate; write such as 10/s, 100/m or 20/h")
    return Rate(int(found[1]), float(found[2] or 1) * _UNIT_SECONDS[found[3]])


def _parse_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text.strip()):
        raise ValueError(f"'{text}' is no whole number")
    return int(text)


def _parse_float(text: str) -> float:
    if not re.fullmatch(r"[+-]?\d{1,18}(\.\d{1,18})?", text.strip()):
        raise ValueError(f"'{text}' is no number")
    return float(text)


def _parse_bool(text: str) -> bool:
    word = text.strip().lower()
    if word in ("true", "yes", "on"):
        return True
    if word in ("false", "no", "off"):
        return False
    raise ValueError(f"'{text}' is neither true nor false")


def _parse_url(text: str) -> Url:
    try:
        parts = urlsplit(text.strip())
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        well = False
    if not well or re.search(r"\s", text.strip()):
        raise ValueError(f"'{text}' is no URL; write such as https://example.com/path")
    return Url(text.strip())


_SCALARS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _parse_int,
    float: _parse_float,
    bool: _parse_bool,
    Seconds: parse_duration,
    Bytes: parse_size,
    Rate: parse_rate,
    Url: _parse_url,
}


def expand(node: Scalar, reader: Reader) -> str | None:
    """The text with `${VAR}` and `${VAR:-default}` filled in; reports and returns None where a variable is unset."""
    unset = False

    def fill(found: re.Match[str]) -> str:
        nonlocal unset
        value = reader.environ.get(found[1]) or found[2]
        if value is None:
            unset = True
            reader.report(
                node.place, f"the environment variable {found[1]} is not set; set it, or write ${{{found[1]}:-default}}"
            )
            return ""
        return value

    text = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}", fill, node.value)
    return None if unset else text


def plain(node: Node, reader: Reader) -> Any:
    """A node as dicts, lists and texts, variables filled in."""
    if isinstance(node, Scalar):
        return None if node.is_null else expand(node, reader)
    if isinstance(node, Sequence):
        return [plain(item, reader) for item in node.items]
    return {key.value: plain(value, reader) for key, value in node.entries}


def secrets_of(value: Any) -> list[str]:
    """Every secret in a settings object, at any depth: what no log, error or page may show."""
    if isinstance(value, Secret):
        return [str(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [each for field in dataclasses.fields(value) for each in secrets_of(getattr(value, field.name))]
    if isinstance(value, dict):
        return [each for item in value.values() for each in secrets_of(item)]
    if isinstance(value, list | tuple):
        return [each for item in value for each in secrets_of(item)]
    return []


def _secret(node: Node, what: str, reader: Reader) -> Secret | None:
    if isinstance(node, Mapping):
        path = node.get("file")
        if not isinstance(path, Scalar) or len(node.entries) != 1:
            reader.report(node.place, f'{what} must be a text, "${{ENV}}" or {{file: path}}')
            return None
        name = expand(path, reader)
        if name is None:
            return None
        try:
            return Secret((reader.folder / name).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            reader.report(path.place, f"{what}: cannot read the file '{name}': {reason}")
            return None
    if isinstance(node, Sequence):
        reader.report(node.place, f"{what} must be one value, not a list")
        return None
    text = expand(node, reader)
    if text == "":
        reader.report(node.place, f"{what} is empty")
        return None
    return None if text is None else Secret(text)

"""Values taken out of a mail by patterns: `extract` of a rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any

from postroom.problems import did_you_mean, listed
from postroom.rules.condition_reader import OTHER_FIELDS, Extracted, is_header_name
from postroom.rules.facts import FIELDS, Facts, Value, kind_of
from postroom.rules.lists import lookup
from postroom.rules.patterns import Capture, PatternError, compile_capture
from postroom.rules.reading import Reading
from postroom.rules.template_names import MEANT, NAMES, RESERVED
from postroom.rules.templates import is_template
from postroom.yamlfile import Mapping, Node, Scalar

KEYS = ("from", "matches", "case_sensitive", "map", "default")


@dataclass(frozen=True, slots=True)
class Extract:
    """One value of one rule."""

    name: str
    field: str
    """Key in Facts of what is searched."""
    label: str
    captures: tuple[Capture, ...]
    """Tried in order; the first that matches in some value of the field is taken."""
    groups: tuple[str, ...]
    """Names of the groups of all patterns; none where the value is one text."""
    default: str | dict[str, str] | None
    number: int
    """The rule's."""
    mapped: Callable[[str], str | None] | None = None
    """Looks the value up; None where it is taken as it is."""

    def find(self, facts: Facts) -> str | dict[str, str] | None:
        """The value, or the default; None where there is neither."""
        values: tuple[Value, ...] = facts[f"{self.field} values"]
        if not self.captures:
            meanings = (self._looked_up(value.raw.strip()) for value in values)
            return next((meant for meant in meanings if meant is not None), self.default)
        texts = [value.raw.encode("utf-8", "replace") for value in values]
        for capture in self.captures:
            for text in texts:
                found = capture.find(text)
                if isinstance(found, dict):
                    return {group: found.get(group, "") for group in self.groups}
                if found is not None and (meant := self._looked_up(found)) is not None:
                    return meant
        return self.default

    def _looked_up(self, text: str) -> str | None:
        return text if self.mapped is None else self.mapped(text)

    def store(self, facts: Facts, value: str | dict[str, str]) -> None:
        """Makes the value a field for the conditions of child rules and for later values."""
        if isinstance(value, str):
            facts.found[f"{self.number}={self.name}"] = value
            return
        for group, text in value.items():
            facts.found[f"{self.number}={self.name}.{group}"] = text

    def names(self) -> tuple[str, ...]:
        """As rules write them: `version`, or `alert.state`, `alert.host`."""
        return tuple(f"{self.name}.{group}" for group in self.groups) or (self.name,)


def find_all(extracts: tuple[Extract, ...], facts: Facts, inherited: dict[str, Any]) -> dict[str, Any] | None:
    """The values of a rule beside those of its parents; None where one is not found and has no default."""
    values = dict(inherited)
    for extract in extracts:
        value = extract.find(facts)
        if value is None:
            return None
        values[extract.name] = value
        extract.store(facts, value)
    return values


def read_extracts(
    node: Node, where: str, number: int, extracted: Extracted, outer: MappingType[str, Any], reading: Reading
) -> list[Extract] | None:
    """The values of one rule. None, and reported, where something is not valid.

    `outer` holds the names of the parents' values.
    """
    if not isinstance(node, Mapping) or not node.entries:
        example = "extract: {version: {from: text, matches: 'version (\\d+)'}}"
        reading.report(node, f"extract in {where} takes values by name, such as {example}")
        return None
    fields = dict(extracted.fields)
    found: list[Extract] = []
    for key, value in node.entries:
        good = _name_is_free(key, where, outer, reading)
        extract = _read(key.value, value, f"extract '{key.value}' in {where}", number, fields, reading)
        if extract is None or not good:
            continue
        found.append(extract)
        fields.update({name: f"{number}={name}" for name in extract.names()})
    return found if len(found) == len(node.entries) else None


def _name_is_free(key: Scalar, where: str, outer: MappingType[str, Any], reading: Reading) -> bool:
    name = key.value
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        reading.report(key, f"'{name}' cannot name a value in {where}; use letters, digits and _, a letter first")
    elif name in NAMES or name in FIELDS or name in OTHER_FIELDS or name == "auth" or name in RESERVED:
        reading.report(key, f"'{name}' cannot name a value in {where}: it means something already; choose another name")
    elif name in outer:
        reading.report(key, f"'{name}' is extracted by a parent of {where} already; choose another name")
    else:
        return True
    return False


def _read(name: str, node: Node, where: str, number: int, fields: dict[str, str], reading: Reading) -> Extract | None:
    if not isinstance(node, Mapping):
        reading.report(node, f"{where} must be a mapping such as {{from: text, matches: 'version (\\d+)'}}")
        return None
    before = len(reading.problems)
    for key, _ in node.entries:
        if key.value not in KEYS:
            reading.unknown(key, "key", KEYS, where)
    for needed in ("from",) if node.get("map") is not None else ("from", "matches"):
        if node.get(needed) is None:
            reading.report(node, f"{where}: '{needed}' is missing")
    field, label = _field(node.get("from"), where, fields, reading)
    captures, groups = _captures(node, where, reading)
    mapped = _map(node.get("map"), field, groups, where, reading)
    default = None
    given = node.get("default")
    if given is not None and len(reading.problems) == before:
        default = _default(given, groups, where, reading)
    if len(reading.problems) > before:
        return None
    return Extract(name, field, label, tuple(captures), groups, default, number, mapped)


def _field(node: Node | None, where: str, fields: dict[str, str], reading: Reading) -> tuple[str, str]:
    scalar = None if node is None else reading.text(node, f"from of {where}")
    if scalar is None:
        return "", ""
    name = scalar.value
    if name in fields:
        return fields[name], name
    if name in FIELDS:
        return name, name
    if name.startswith("header.") and is_header_name(name[7:]):
        return name.lower(), f"header {name[7:]}"
    groups = [known for known in fields if known.startswith(f"{name}.")]
    if name == "header":
        reading.report(scalar, f"{where}: name the header too, such as from: header.X-Host")
    elif name.startswith("header."):
        reading.report(scalar, f"{where}: '{name[7:]}' is no name of a header")
    elif name in OTHER_FIELDS:
        reading.report(
            scalar, f"{where}: {name} is no text; it can be such as subject, text, from.domain, header.X-Host"
        )
    elif groups:
        reading.report(scalar, f"{where}: '{name}' has parts; write one of {listed(groups)}")
    else:
        known = (*FIELDS, "header", *fields)
        meant = MEANT.get(name)
        hint = f"; did you mean '{meant}'?" if meant in known else did_you_mean(name, known)
        hint = hint or "; it can be such as subject, text, from.domain, header.X-Host"
        reading.report(scalar, f"{where}: unknown field '{name}'{hint}")
    return "", ""


def _captures(node: Mapping, where: str, reading: Reading) -> tuple[list[Capture], tuple[str, ...]]:
    case, patterns = node.get("case_sensitive"), node.get("matches")
    case_sensitive = case is not None and bool(reading.flag(case, f"case_sensitive of {where}"))
    scalars = None if patterns is None else reading.texts(patterns, f"matches of {where}")
    captures: list[Capture] = []
    for scalar in scalars or ():
        try:
            capture = compile_capture(scalar.value, case_sensitive=case_sensitive)
        except PatternError as error:
            reading.report(scalar, f"matches of {where}: {error}")
            continue
        if captures and bool(captures[0].names) != bool(capture.names):
            reading.report(scalar, f"matches of {where}: either all patterns have named groups, or none has")
        for group in capture.names:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", group):
                reading.report(scalar, f"matches of {where}: '{group}' cannot name a group; a letter stands first")
        captures.append(capture)
    return captures, tuple(dict.fromkeys(name for capture in captures for name in capture.names))


def _map(
    node: Node | None, field: str, groups: tuple[str, ...], where: str, reading: Reading
) -> Callable[[str], str | None] | None:
    scalar = None if node is None else reading.text(node, f"map of {where}")
    if scalar is None:
        return None
    entries = reading.maps.get(scalar.value)
    if groups:
        reading.report(scalar, f"map of {where} looks up one text; its pattern has named groups")
    elif entries is None and scalar.value in reading.lists:
        example = f"{scalar.value}: {{billing: finance}}"
        reading.report(scalar, f"map of {where}: the list '{scalar.value}' is no mapping; write it as {example}")
    elif entries is None:
        hint = did_you_mean(scalar.value, reading.maps)
        reading.report(scalar, f"map of {where}: there is no list '{scalar.value}'{hint}")
    else:
        try:
            return lookup(entries, kind_of(field))
        except PatternError as error:
            reading.report(scalar, f"map of {where}: {error}")
    return None


def _default(node: Node, groups: tuple[str, ...], where: str, reading: Reading) -> str | dict[str, str] | None:
    """One text stands for every named group."""
    if not isinstance(node, Mapping):
        scalar = reading.text(node, f"default of {where}", empty=True)
        if scalar is None:
            return None
        if is_template(scalar.value):
            reading.report(scalar, f"default of {where} is taken as it stands: it cannot be a template")
            return None
        return dict.fromkeys(groups, scalar.value) if groups else scalar.value
    if not groups:
        reading.report(node, f"default of {where} must be a text: its pattern has no named groups")
        return None
    default = dict.fromkeys(groups, "")
    for key, value in node.entries:
        if key.value not in groups:
            reading.unknown(key, "group", groups, f"default of {where}")
            continue
        scalar = reading.text(value, f"default of {where}: {key.value}", empty=True)
        if scalar is not None:
            default[key.value] = scalar.value
    return default

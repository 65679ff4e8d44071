"""YAML as operators write it: every scalar is text with its place, and the traps of YAML are problems.

PyYAML's resolver reads `10:30` as 630 and `no` as false. Here nothing is resolved: the reader of a key says what its
text means. libyaml parses (ten times faster than the parser in Python).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from postroom.problems import Place, Problem

_DEEPEST = 60
"""Levels of nesting. Nothing that people write comes near; a file made to hurt goes deeper."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text. `plain` is true where it stands without quotes."""

    value: str
    place: Place
    plain: bool = True

    @property
    def is_null(self) -> bool:
        """True for `key:`, `~` and `null` without quotes."""
        return self.plain and self.value in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    entries: tuple[tuple[Scalar, Node], ...]
    place: Place

    def get(self, key: str) -> Node | None:
        """The value of a key, None where the mapping has no such key."""
        for name, node in self.entries:
            if name.value == key:
                return node
        return None

    def keys(self) -> Iterator[str]:
        return (name.value for name, _ in self.entries)


Node = Scalar | Sequence | Mapping


def read(text: str, path: str, problems: list[Problem]) -> Node | None:
    """Parses one document. Appends to `problems` and returns None where the file is no YAML or is empty.

    `path` is used as it is in the places of problems.
    """
    if (tab := re.search(r"^ *\t", text, re.MULTILINE)) is not None:
        line = text.count("\n", 0, tab.start()) + 1
        place = Place(path, line, tab.end() - tab.start())
        problems.append(Problem(place, "a tab is used to indent; YAML allows only spaces"))
        return None
    try:
        tree = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(error, text, path))
        return None
    except yaml.YAMLError as error:
        problems.append(Problem(Place(path), f"this is no YAML: {error}".replace("\n", " ")))
        return None
    if tree is None:
        return None
    # Aliases can repeat a node any number of times over; without them each node takes a character at least.
    return _convert(tree, path, problems, 0, [2 * len(text) + 100])


def _convert(node: yaml.Node, path: str, problems: list[Problem], depth: int, budget: list[int]) -> Node:
    mark = node.start_mark
    place = Place(path, mark.line + 1, mark.column + 1)
    if depth > _DEEPEST:
        problems.append(Problem(place, f"nested more than {_DEEPEST} levels deep"))
        return Scalar("", place)
    budget[0] -= 1
    if budget[0] <= 0:
        if budget[0] == 0:
            problems.append(Problem(place, "too much is repeated by aliases (*name)"))
        return Scalar("", place)
    if isinstance(node, yaml.ScalarNode):
        if node.tag.startswith("!") and len(node.tag) > 1:
            problems.append(
                Problem(place, f"a text that begins with ! must stand in quotes (YAML takes {node.tag} away)")
            )
            return Scalar(node.tag, place, False)  # so that nothing else is said of it
        return Scalar(node.value, place, not node.style)
    if isinstance(node, yaml.SequenceNode):
        return Sequence(tuple(_convert(item, path, problems, depth + 1, budget) for item in node.value), place)
    assert isinstance(node, yaml.MappingNode)
    entries: list[tuple[Scalar, Node]] = []
    seen: dict[str, Place] = {}
    for key, value in node.value:
        key_place = Place(path, key.start_mark.line + 1, key.start_mark.column + 1)
        if not isinstance(key, yaml.ScalarNode):
            problems.append(Problem(key_place, _key_reason(node, key)))
            if _is_unquoted_template(node, key):
                return Scalar("{{ '' }}", place, False)  # so that nothing else is said of it
            continue
        if key.value in seen:
            reason = f"the key '{key.value}' stands twice here (first in line {seen[key.value].line})"
            problems.append(Problem(key_place, reason))
            continue
        seen[key.value] = key_place
        converted = _convert(value, path, problems, depth + 1, budget)
        entries.append((Scalar(key.value, key_place, not key.style), converted))
    return Mapping(tuple(entries), place)


def _lost_bracket(lines: list[str], first: int, last: int) -> tuple[int, int] | None:
    """Where, in lines counted from 0, a `#` in a bracket makes a comment of what was to close it."""
    for number in range(first, min(last, len(lines))):
        for found in re.finditer(r"(?<=[\s])#", lines[number]):
            at = found.start()
            quotes = lines[number][:at].count('"') % 2 or lines[number][:at].count("'") % 2
            if not quotes and re.search(r"[\]}]", lines[number][at:]):
                return number, at
    return None


def _key_reason(outer: yaml.MappingNode, key: yaml.Node) -> str:
    if _is_unquoted_template(outer, key):
        return 'a template must stand in quotes: "{{ ... }}"'
    return "a key must be a text"


def _is_unquoted_template(outer: yaml.MappingNode, key: yaml.Node) -> bool:
    return bool(outer.flow_style) and isinstance(key, yaml.MappingNode) and len(outer.value) == 1


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, path: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path)
    reason = error.problem or "this is no YAML"
    context = error.context or ""
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    before = lines[place.line - 2] if 2 <= place.line <= len(lines) + 1 else ""
    begun = error.context_mark
    if begun and context.startswith("while parsing a flow"):
        if (lost := _lost_bracket(lines, begun.line, place.line)) is not None:
            reason = "the rest of the line after # is a comment, its bracket too; a text with # must stand in quotes"
            return Problem(Place(path, lost[0] + 1, lost[1] + 1), f"YAML: {reason}")
        if line[place.column - 1 : place.column] == ":" and not re.fullmatch(r"\s*[\w.]+", line[: place.column - 1]):
            mend = 'a text with ": " in it must stand in quotes'
            return Problem(place, f"YAML: {reason}; {mend}")
        if begun.line + 1 != place.line and "did not find expected" in reason:
            place = Place(path, begun.line + 1, begun.column + 1)
            return Problem(place, f"YAML: this bracket is not closed, or a comma is missing behind it ({reason})")
    if "document" in reason:
        return Problem(place, "YAML: a file holds one document; take the line --- out")
    if "end of stream" in reason and begun and "quoted scalar" in context:
        return Problem(Place(path, begun.line + 1, begun.column + 1), "YAML: this quote is opened and never closed")
    glued = re.match(r"\s*(?:- +)?[\w.]+:(?=[^\s/])|\s*-(?=\w+:)", before)
    if glued and "mapping values are not allowed" in reason:
        return Problem(Place(path, place.line - 1, glued.end() + 1), "YAML: a blank must stand before this")
    if re.search(r"[:\[,-]\s*\{[{%]", line):
        mend = 'a template must stand in quotes: "{{ ... }}"'
    elif "mapping values are not allowed" in reason:
        mend = 'a text with ": " in it must stand in quotes (or the line is indented wrongly)'
    elif "alias" in reason or "alias" in (error.context or "") or re.search(r"[:\[,-]\s*\*", line):
        mend = 'a text that begins with * must stand in quotes, such as "*@example.com"'
    elif "unknown escape" in reason or "escape" in (error.context or ""):
        mend = "in double quotes a backslash is an escape of YAML's; put patterns in single quotes"
    elif "cannot start any token" in reason:
        mend = "a text that begins with this character must stand in quotes"
    elif "did not find expected" in reason or "could not find expected" in reason:
        mend = "look for a missing quote, comma or bracket, or a line indented differently from its neighbours"
    else:
        mend = ""
    return Problem(place, f"YAML: {reason}" + (f"; {mend}" if mend else ""))

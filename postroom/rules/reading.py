"""What every part of the loader shares: where problems go, the named lists, and how texts are taken from YAML."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from postroom.fields import FieldSet
from postroom.problems import Place, Problem, did_you_mean, listed
from postroom.rules.operators import ListTest, list_test
from postroom.rules.patterns import PatternError, control_character
from postroom.yamlfile import Mapping, Node, Scalar, Sequence

EMPTY = "is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)"


@dataclass(slots=True)
class Reading:
    """One compilation of all files."""

    problems: list[Problem]
    destinations: MappingType[str, FieldSet] | None
    """None: destinations are not checked."""
    kinds: MappingType[str, str] = field(default_factory=dict)
    """Of the destinations that there are, by name: also where they are not checked, for defaults go by kind."""
    ingresses: Collection[str] = ()
    """The ways in that conditions may name; none: they are not checked."""
    lists: dict[str, list[str]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    """Those of the lists that are mappings."""
    list_places: dict[str, Place] = field(default_factory=dict)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    """Of `received`, where a rule names none."""
    conditions: dict[str, Node] = field(default_factory=dict)
    """The named conditions, not yet read."""
    condition_places: dict[str, Place] = field(default_factory=dict)
    known_conditions: dict[str, tuple[Any, int]] = field(default_factory=dict)
    """Those that were read: each compiled (None where it is not valid), and of how many named ones it is made."""
    named_parts: int = 0
    """Named conditions in the one that is read at the moment."""
    reading_conditions: list[str] = field(default_factory=list)
    """Names of those that are read at the moment: one that uses itself is found so."""
    case_places: dict[str, Place] = field(default_factory=dict)
    rule_places: dict[str, Place] = field(default_factory=dict)
    _list_tests: dict[tuple[str, str], ListTest] = field(default_factory=dict)

    def report(self, where: Node | Place, message: str) -> None:
        self.problems.append(Problem(where if isinstance(where, Place) else where.place, message))

    def list_test(self, name: Scalar, kind: str, where: str) -> ListTest | None:
        """The test of a named list for fields of a kind; None, and reported, where there is none."""
        entries = self.lists.get(name.value)
        if entries is None:
            hint = did_you_mean(name.value, self.lists) or (f"; there are {listed(self.lists)}" if self.lists else "")
            self.report(name, f"{where}: there is no list '{name.value}'{hint}")
            return None
        key = name.value, kind
        if key not in self._list_tests:
            try:
                self._list_tests[key] = list_test(kind, entries)
            except PatternError as error:
                self.report(name, f"{where}: the list '{name.value}' has too many globs: {error}")
                return None
        return self._list_tests[key]

    def unknown(self, key: Scalar, what: str, known: Iterable[str], where: str) -> None:
        names = list(known)
        hint = did_you_mean(key.value, names) or f"; it takes {listed(names)}"
        self.report(key, f"unknown {what} '{key.value}' in {where}{hint}")

    def unknown_field(self, key: Scalar, known: Iterable[str], where: str, main: Iterable[str]) -> None:
        """As `unknown`, but the sentence names only the main ones of the many fields."""
        hint = (
            did_you_mean(key.value, known)
            or f"; there are {listed(main)}, parts such as from.domain, and extracted values"
        )
        self.report(key, f"unknown field '{key.value}' in {where}{hint}")

    def texts(self, node: Node, what: str, *, empty: bool = False) -> list[Scalar] | None:
        """One text or a list of them; None, and reported, where the node is neither.

        `empty`: a quoted empty text is fine.
        """
        if isinstance(node, Sequence):
            if not node.items:
                self.report(node, f"{what} is an empty list; name at least one value")
                return None
            found = [self.text(item, what, empty=empty) for item in node.items]
            return [text for text in found if text is not None] if all(found) else None
        text = self.text(node, what, empty=empty)
        return None if text is None else [text]

    def text(self, node: Node, what: str, *, empty: bool = False) -> Scalar | None:
        """One text; None, and reported, where the node is none."""
        if isinstance(node, Mapping):
            if len(node.entries) == 1:
                mend = f'a text with ": " in it must stand in quotes, such as "{node.entries[0][0].value}: ..."'
                self.report(node, f"{what} must be a text, not a mapping; {mend}")
            else:
                self.report(node, f"{what} must be a text, not a mapping")
            return None
        if isinstance(node, Sequence):
            self.report(node, f"{what} must be a text, not a list")
            return None
        if node.is_null or (not node.value and not empty):
            self.report(node, f"{what} {EMPTY}")
            return None
        control = control_character(node.value)
        if control is not None:
            mend = "in double quotes a backslash is an escape of YAML's; use single quotes"
            self.report(node, f"{what} holds a {control} character; {mend}")
            return None
        return node

    def flag(self, node: Node, what: str) -> bool | None:
        """true or false; None, and reported, where the node is neither."""
        word = node.value.strip().lower() if isinstance(node, Scalar) else ""
        if word in ("true", "yes", "on"):
            return True
        if word in ("false", "no", "off"):
            return False
        self.report(node, f"{what} must be true or false")
        return None

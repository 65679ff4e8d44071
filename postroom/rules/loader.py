"""From rule files to compiled rules. Every problem of every file is found in one go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from postroom.fields import FieldSet
from postroom.problems import InvalidFiles, Place, Problem
from postroom.rules import conditions
from postroom.rules.actions import Action, read_actions
from postroom.rules.cases import Case, read_cases
from postroom.rules.condition_reader import ConditionReader, Extracted
from postroom.rules.conditions import Condition
from postroom.rules.defaults import Defaults, read_defaults
from postroom.rules.extracts import Extract, read_extracts
from postroom.rules.lists import read_lists
from postroom.rules.modes import LIVE, Mode, read_mode
from postroom.rules.reading import EMPTY, Reading
from postroom.rules.stateful import CorrelateRule, LimitRule, read_correlate, read_limit
from postroom.rules.template_names import NAMES, Shape, groups_shape
from postroom.yamlfile import Mapping, Node, Scalar, Sequence, read

_FILE_KEYS = ("lists", "conditions", "defaults", "rules", "tests")
_RULE_KEYS = (
    "name", "description", "tags", "mode", "when", "extract", "correlate", "limit", "defaults", "then", "rules",
    "first_only", "stop",
)  # fmt: skip
_LONGEST_FILE = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """One rule, compiled."""

    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    file: str
    """Path below the rules folder."""
    line: int
    stop: bool = False
    first_only: bool = False
    """Of the children, only the first that matches is considered."""
    mode: Mode = LIVE
    correlate: CorrelateRule | None = field(default=None, repr=False)
    limit: LimitRule | None = field(default=None, repr=False)
    rules: tuple[Rule, ...] = ()
    """The children."""
    destinations: tuple[str, ...] = ()
    """Of its own actions, in order; built-in ones by their names."""
    condition: Condition = field(repr=False)
    extracts: tuple[Extract, ...] = field(default=(), repr=False)
    actions: tuple[Action, ...] = field(default=(), repr=False)
    always_matches: bool = field(default=False, repr=False)
    """Whatever the mail is."""
    always_stops: bool = field(default=False, repr=False)
    """It matches every mail and ends the evaluation: nothing after it is reached."""


def read_files(folder: Path) -> dict[str, str]:
    """Every `*.yaml` and `*.yml` below a folder by its path from there, in the order of these paths.

    Hidden files and those that editors leave behind are no rules. Symlinked folders are followed, none of them twice.
    Raises InvalidFiles for files that cannot be read as UTF-8 text; a missing folder has no files.
    """
    problems: list[Problem] = []
    found: dict[str, str] = {}
    for path in _paths(folder, problems):
        name = path.relative_to(folder).as_posix()
        place = Place((folder / name).as_posix())
        try:
            data = path.read_bytes()
            if len(data) > _LONGEST_FILE:
                problems.append(Problem(place, f"the file is larger than {_LONGEST_FILE // 10**6} MB"))
                continue
            found[name] = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            before = data[: error.start]
            column = error.start - (before.rfind(b"\n") + 1) + 1
            place = Place(place.path, before.count(b"\n") + 1, column)
            problems.append(Problem(place, "the file is no UTF-8 text"))
        except OSError as error:
            problems.append(Problem(place, f"the file cannot be read: {error.strerror}"))
    if problems:
        raise InvalidFiles(problems)
    return in_order(found)


def in_order(files: MappingType[str, str]) -> dict[str, str]:
    """Files by their paths, in the order in which their rules are evaluated."""
    return dict(sorted(files.items(), key=lambda entry: entry[0].split("/")))


def hash_of(files: MappingType[str, str]) -> str:
    """SHA-256 over paths and contents, each with its length before it, so that no two sets look the same."""
    digest = hashlib.sha256()
    for part in (part for entry in sorted(files.items()) for part in entry):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


def load(
    files: MappingType[str, str],
    destinations: MappingType[str, FieldSet] | None,
    shown: str,
    zone: ZoneInfo,
    kinds: MappingType[str, str],
    ingresses: Collection[str],
) -> tuple[tuple[Rule, ...], tuple[Case, ...]]:
    """The rules of all files, and their tests. Raises InvalidFiles with every problem. See `compile_rules`."""
    reading = Reading([], destinations, kinds, ingresses, zone=zone)
    roots = [(path, _root(path, text, shown, reading)) for path, text in files.items()]
    levels: list[dict[str, Mapping]] = []
    for path, root in roots:
        if (lists := root.get("lists")) is not None:
            read_lists(lists, reading)
        if (named := root.get("conditions")) is not None:
            _read_conditions(named, reading)
        if (given := root.get("defaults")) is not None:
            levels.append(read_defaults(given, f"defaults of {path}", reading))
    defaults = Defaults().below(*levels)
    loader = _Loader(reading, count())
    rules: list[Rule] = []
    for path, root in roots:
        if (node := root.get("rules")) is not None:
            rules += loader.rules(node, path, f"rules of {path}", Extracted(), {}, defaults)
    for name in reading.conditions:
        # Those that no rule uses are to be well too.
        ConditionReader(reading, "", Extracted()).named(Scalar(name, reading.condition_places[name]))
    _report_unreached(rules, shown, reading)
    # Tests name rules and destinations that may be gone: those of past sets are not read.
    cases = [
        case
        for path, root in roots
        if destinations is not None and (node := root.get("tests")) is not None
        for case in read_cases(node, path, reading)
    ]
    if reading.problems:
        raise InvalidFiles(reading.problems)
    return tuple(rules), tuple(cases)


def _paths(folder: Path, problems: list[Problem]) -> Iterable[Path]:
    seen: set[str] = set()

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            problems.append(Problem(Place(str(error.filename)), f"the folder cannot be read: {error.strerror}"))

    for place, folders, names in os.walk(folder, onerror=failed, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.endswith((".yaml", ".yml")) and not name.startswith((".", "#", "~")):
                yield Path(place) / name


def _root(path: str, text: str, shown: str, reading: Reading) -> Mapping:
    place = f"{shown}/{path}" if shown else path
    node = read(text, place, reading.problems)
    nothing = Mapping((), Place(place))
    if node is None or (isinstance(node, Scalar) and node.is_null):
        return nothing
    if not isinstance(node, Mapping):
        reading.report(node, "a rule file is a mapping that begins with rules: (or lists:)")
        return nothing
    for key, value in node.entries:
        if key.value not in _FILE_KEYS:
            reading.unknown(key, "key", _FILE_KEYS, "a rule file")
        elif isinstance(value, Scalar) and value.is_null:
            continue
    return Mapping(tuple((k, v) for k, v in node.entries if not (isinstance(v, Scalar) and v.is_null)), node.place)


def _read_conditions(node: Node, reading: Reading) -> None:
    if not isinstance(node, Mapping):
        reading.report(
            node, "conditions must be a mapping of names to conditions, such as staff: {from.domain: example.com}"
        )
        return
    for key, value in node.entries:
        name = key.value
        if name in ("always", "unmatched", "all", "any", "not"):
            reading.report(key, f"no condition can be named '{name}': the word has a meaning already")
        elif name in reading.condition_places:
            first = reading.condition_places[name]
            reading.report(key, f"the condition '{name}' stands twice (first in {first.path}:{first.line})")
        else:
            reading.condition_places[name] = key.place
            reading.conditions[name] = value


@dataclass(frozen=True, slots=True)
class _Loader:
    reading: Reading
    numbers: count[int]

    def rules(
        self,
        node: Node,
        file: str,
        where: str,
        extracted: Extracted,
        names: MappingType[str, Shape],
        defaults: Defaults,
        group: str = "",
    ) -> list[Rule]:
        """The valid ones of a list of rules. `group`: of the parents' `correlate`, which children share."""
        if not isinstance(node, Sequence):
            self.reading.report(node, f"{where}: a list of rules is needed, each beginning with - name:")
            return []
        found = [self._rule(item, file, where, extracted, names, defaults, group) for item in node.items]
        return [rule for rule in found if rule is not None]

    def _rule(
        self,
        node: Node,
        file: str,
        where: str,
        extracted: Extracted,
        names: MappingType[str, Shape],
        defaults: Defaults,
        group: str = "",
    ) -> Rule | None:
        reading = self.reading
        if not isinstance(node, Mapping):
            reading.report(node, f"{where}: a rule is a mapping that begins with - name:")
            return None
        before = len(reading.problems)
        name = self._name(node)
        where = f"rule '{name}'" if name else f"the rule in line {node.place.line}"
        for key in (key for key, _ in node.entries if key.value not in _RULE_KEYS):
            reading.unknown(key, "key", _RULE_KEYS, where)
        number = next(self.numbers)
        entries = {key.value: value for key, value in node.entries}
        own = entries.get("extract")
        own_names = frozenset(own.keys()) if isinstance(own, Mapping) else frozenset()
        condition = self._condition(node, where, Extracted(extracted.fields, own_names - set(names)))
        inner, inner_names, extracts = extracted, names, []
        if own is not None:
            extracts = read_extracts(own, where, number, extracted, names, reading) or []
            fields = {known: f"{number}={known}" for extract in extracts for known in extract.names()}
            inner = Extracted({**extracted.fields, **fields})
            inner_names = {**names, **{extract.name: groups_shape(extract.groups) for extract in extracts}}
        # Names of values with problems of their own are no unknown names on top.
        after: dict[str, Any] = {**dict.fromkeys(own_names, _UNREAD), **inner_names} if own_names else dict(inner_names)
        if "defaults" in entries:
            defaults = defaults.below(read_defaults(entries["defaults"], f"defaults of {where}", reading))
        actions = self._actions(entries.get("then"), where, after, defaults)
        mode = read_mode(entries["mode"], f"mode of {where}", reading) if "mode" in entries else LIVE
        known = {**NAMES, **after}
        correlate = limit = None
        if "correlate" in entries:
            correlate = read_correlate(entries["correlate"], where, group or name, known, reading)
            group = correlate.group if correlate is not None else group
        if "limit" in entries:
            limit = read_limit(entries["limit"], where, known, reading)
        stop = "stop" in entries and reading.flag(entries["stop"], f"stop of {where}") is True
        first_only = "first_only" in entries and reading.flag(entries["first_only"], f"first_only of {where}") is True
        children: list[Rule] = []
        if "rules" in entries:
            children = self.rules(entries["rules"], file, f"rules of {where}", inner, after, defaults, group)
        elif first_only:
            reading.report(entries["first_only"], f"first_only of {where} is about its children, and it has no rules")
        if not {"then", "rules", "stop"} & set(entries):
            reading.report(node, f"{where} does nothing: give it then, rules or stop")
        description = self._text(entries.get("description"), f"description of {where}")
        tags = self._tags(entries.get("tags"), f"tags of {where}")
        if len(reading.problems) > before or condition is None:
            # A rule with problems still counts for the search for rules that are never reached: not at all.
            return None
        when = entries.get("when")
        certain = isinstance(when, Scalar) and all(extract.default is not None for extract in extracts)
        certain = certain and isinstance(when, Scalar) and when.value == "always" and mode == LIVE
        return Rule(
            name=name,
            description=description,
            tags=tags,
            file=file,
            line=node.place.line,
            stop=stop,
            first_only=first_only,
            mode=mode or LIVE,
            correlate=correlate,
            limit=limit,
            rules=tuple(children),
            destinations=tuple(action.label for action in actions),
            condition=condition,
            extracts=tuple(extracts),
            actions=tuple(actions),
            always_matches=certain,
            always_stops=certain and (stop or any(child.always_stops for child in children)),
        )

    def _name(self, node: Mapping) -> str:
        given = node.get("name")
        if given is None:
            self.reading.report(node, "a rule needs a name: history and metrics refer to it")
            return ""
        scalar = self.reading.text(given, "the name of a rule")
        if scalar is None:
            return ""
        name = scalar.value.strip()
        if not name or "\n" in name or len(name) > 200:
            self.reading.report(scalar, "the name of a rule is one line of at most 200 characters")
        elif name in self.reading.rule_places:
            first = self.reading.rule_places[name]
            self.reading.report(scalar, f"the name '{name}' is taken (by the rule in {first.path}:{first.line})")
        else:
            self.reading.rule_places[name] = scalar.place
        return name

    def _condition(self, node: Mapping, where: str, extracted: Extracted) -> Condition | None:
        when = node.get("when")
        if when is None:
            self.reading.report(node, f"'when' is missing in {where}; for every mail write when: always")
            return conditions.always()
        return ConditionReader(self.reading, where, extracted).when(when)

    def _actions(
        self, node: Node | None, where: str, names: MappingType[str, Shape], defaults: Defaults
    ) -> list[Action]:
        if node is None:
            return []
        if isinstance(node, Scalar) and node.is_null:
            self.reading.report(node, f"then of {where} {EMPTY}")
            return []
        return read_actions(node, where, {**NAMES, **names}, self.reading, defaults) or []

    def _text(self, node: Node | None, what: str) -> str:
        scalar = None if node is None else self.reading.text(node, what, empty=True)
        return "" if scalar is None else scalar.value

    def _tags(self, node: Node | None, what: str) -> tuple[str, ...]:
        if node is None or (isinstance(node, Sequence) and not node.items):
            return ()
        return tuple(scalar.value for scalar in self.reading.texts(node, what) or ())


def _report_unreached(rules: Iterable[Rule], shown: str, reading: Reading, *, first_only: bool = False) -> None:
    """Rules after one that stops every mail, among rules that stand in one list."""
    ordered = list(rules)
    for index, rule in enumerate(ordered):
        _report_unreached(rule.rules, shown, reading, first_only=rule.first_only)
        if (rule.always_stops or (first_only and rule.always_matches)) and index + 1 < len(ordered):
            after = ordered[index + 1]
            more = len(ordered) - index - 2
            others = (
                f" (nor are the {more} rules after it)" if more > 1 else " (nor is the rule after it)" if more else ""
            )
            place = reading.rule_places[after.name]
            does = (
                "stops every mail"
                if rule.always_stops
                else "matches every mail, and only the first counts (first_only)"
            )
            reason = f"rule '{rule.name}' ({rule.file}:{rule.line}) before it {does}"
            reading.report(place, f"rule '{after.name}' is never reached{others}: {reason}")
            return


_UNREAD = groups_shape(())

"""Which rules may match a mail, found without asking each of them: the time does not grow with their number.

Values that a field must equal stand in a dict; texts and patterns that must be found in it in a set of RE2, which
searches for all of them in one pass. What an index answers is never too few rules, and often a few too many: each is
evaluated afterwards by its own condition, in the order of the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from threading import Lock
from typing import Any

import re2

from postroom.rules.facts import Facts
from postroom.rules.loader import Rule
from postroom.rules.needs import Choice, Every, How, Need, Needs, Some
from postroom.rules.patterns import re2_options

FEWEST = 8
"""Of so many rules in one list each is asked: that is as fast."""
_MEMORY = 2 << 20
_MEMORY_EACH = 4 << 10
_MEMORY_AT_MOST = 16 << 20
"""Bytes that one set may take while it runs: for the set, for each of its patterns, and never more."""
_LARGEST_COUNTED = 16
"""Longer choices are lists that people made: as a whole they are shared by rules, or not at all."""
_WEIGHTS = {How.EXACT: 1, How.SPELLING: 1, How.PART: 2, How.PATTERN: 4, How.CASED: 4}
_BODIES = frozenset({"text", "html", "reply_text"})
_WEIGHT_OF_BODIES = 4
"""Long texts are better not looked at where another field of the same rule does."""

Positions = list[int]
"""Of rules in their list, in order."""


class Index:
    """Of the lists of rules of one rule set. Built when the first mail asks; safe to use from several threads."""

    def __init__(self, rules: Sequence[Rule], fewest: int = FEWEST) -> None:
        self._lists: dict[int, _Candidates] = {}
        """By the identity of the list: it lives as long as the rule set."""
        self._unbuilt: dict[int, Sequence[Rule]] = {}
        self._lock = Lock()
        self._note(rules, fewest)

    def candidates(self, rules: Sequence[Rule], facts: Facts) -> Sequence[Rule]:
        """Those of the rules that may match, in order. All of them where the list was not given to the index."""
        found = self._lists.get(id(rules))
        if found is None:
            if id(rules) not in self._unbuilt:
                return rules
            found = self._build(rules)
        return found.of(facts)

    def _note(self, rules: Sequence[Rule], fewest: int) -> None:
        if len(rules) > fewest:
            self._unbuilt[id(rules)] = rules
        for rule in rules:
            if rule.rules:
                self._note(rule.rules, fewest)

    def _build(self, rules: Sequence[Rule]) -> _Candidates:
        with self._lock:
            if id(rules) not in self._lists:
                self._lists[id(rules)] = _Candidates(rules)
            return self._lists[id(rules)]


NO_INDEX = Index(())
"""Every rule is asked."""


class _Candidates:
    """The index of one list of rules."""

    __slots__ = ("_exact", "_rules", "_searches", "_unindexed", "_unindexed_rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        unindexed: Positions = []
        tables: dict[tuple[How, str], dict[str, list[Positions]]] = {}
        shared: dict[int, Positions] = {}
        counts = _counted(rules)
        for position, rule in enumerate(rules):
            if rule.condition.needs is None:
                unindexed.append(position)
                continue
            for choice in _cheapest(rule.condition.needs, counts)[1]:
                if id(choice) in shared:
                    shared[id(choice)].append(position)
                    continue
                bucket = shared[id(choice)] = [position]
                for how, field, operand in choice.needs:
                    tables.setdefault((how, field), {}).setdefault(operand, []).append(bucket)
        self._exact: list[tuple[str, dict[str, list[Positions]]]] = []
        self._searches: list[_Search] = []
        for (how, field), table in tables.items():
            if how is How.EXACT or how is How.SPELLING:
                self._exact.append((f"{field} {how.value}".rstrip(), table))
                continue
            key = f"{field} {how.value.partition(' ')[0]}"
            search = _Search(key, table, literal=how is How.PART, case_sensitive=how is not How.PATTERN)
            self._searches.append(search)
            unindexed += search.refused
        self._unindexed = sorted(set(unindexed))
        self._unindexed_rules = tuple(rules[position] for position in self._unindexed)
        self._rules = rules

    def of(self, facts: Facts) -> Sequence[Rule]:
        found: list[Positions] = []
        for key, table in self._exact:
            for value in facts[key]:
                if value in table:
                    found += table[value]
        for search in self._searches:
            search.into(found, facts)
        if not found:
            return self._unindexed_rules
        rules = self._rules
        return [rules[position] for position in sorted({*self._unindexed, *chain.from_iterable(found)})]


class _Search:
    """Texts or patterns that are looked for in one field, all at once."""

    __slots__ = ("_key", "_sets", "refused")

    def __init__(self, key: str, table: dict[str, list[Positions]], *, literal: bool, case_sensitive: bool) -> None:
        self._key = key
        self._sets: list[tuple[Any, list[list[Positions]]]] = []
        self.refused: Positions = []
        """Rules whose patterns no set can take."""
        self._add([(re2.escape(text) if literal else text, table[text]) for text in table], case_sensitive)

    def into(self, found: list[Positions], facts: Facts) -> None:
        """Adds what the texts and patterns that occur stand for."""
        for text in facts[self._key]:
            for patterns, positions in self._sets:
                numbers = patterns.Match(text)
                if numbers is None:
                    # Not even its first pattern was found, which is in every text: the set ran out of memory.
                    found += chain.from_iterable(positions)
                elif len(numbers) > 1:
                    for number in numbers:
                        found += positions[number]

    def _add(self, patterns: list[tuple[str, list[Positions]]], case_sensitive: bool) -> None:
        """Where the patterns are too large together, in parts."""
        try:
            self._sets.append((_compiled((source for source, _ in patterns), len(patterns), case_sensitive),
                               [[], *(positions for _, positions in patterns)]))  # fmt: skip
        except re2.error:
            if len(patterns) == 1:
                self.refused += chain.from_iterable(patterns[0][1])
                return
            half = len(patterns) // 2
            self._add(patterns[:half], case_sensitive)
            self._add(patterns[half:], case_sensitive)


def _compiled(sources: Iterable[str], count: int, case_sensitive: bool) -> Any:
    """Raises re2.error where the set is too large."""
    memory = min(_MEMORY + count * _MEMORY_EACH, _MEMORY_AT_MOST)
    made = re2.Set.SearchSet(re2_options(case_sensitive, memory))
    made.Add(r"\z")
    for source in sources:
        made.Add(source)
    made.Compile()
    return made


def _counted(rules: Sequence[Rule]) -> Counter[Need | int]:
    """How often each need occurs: one that many rules have tells little."""
    counts: Counter[Need | int] = Counter()
    waiting: list[Needs] = [rule.condition.needs for rule in rules if rule.condition.needs is not None]
    while waiting:
        needs = waiting.pop()
        if not isinstance(needs, Choice):
            waiting += needs.parts
        elif len(needs.needs) > _LARGEST_COUNTED:
            counts[id(needs)] += 1
        else:
            counts.update(needs.needs)
    return counts


def _cheapest(needs: Needs, counts: Counter[Need | int]) -> tuple[int, tuple[Choice, ...]]:
    """Choices one of which must be met, such that they are met by few mails; and how many rules that touches."""
    if isinstance(needs, Choice):
        if len(needs.needs) > _LARGEST_COUNTED:
            return counts[id(needs)] * _weight(needs.needs[0]), (needs,)
        return sum(counts[need] * _weight(need) for need in needs.needs), (needs,)
    found = [_cheapest(part, counts) for part in needs.parts]
    if isinstance(needs, Every):
        return min(found, key=lambda cost_and_choices: cost_and_choices[0])
    assert isinstance(needs, Some)
    return sum(cost for cost, _ in found), tuple(chain.from_iterable(choices for _, choices in found))


def _weight(need: Need) -> int:
    weight = _WEIGHTS[need.how]
    return weight * _WEIGHT_OF_BODIES if need.field in _BODIES else weight

"""One evaluation: the rules in order, against the facts of one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from postroom.plan import Correlation, Limit, Plan, Step, Verdict
from postroom.rules.extracts import find_all
from postroom.rules.facts import Facts
from postroom.rules.index import NO_INDEX, Index
from postroom.rules.loader import Rule
from postroom.rules.template_names import values_of
from postroom.rules.templates import FillError


class Evaluation:
    """Collects what the rules want. The walk that explains it (explain.py) uses the same parts."""

    __slots__ = (
        "correlations", "drops", "facts", "holds", "index", "limits", "matched", "notices", "steps", "without",
    )  # fmt: skip

    def __init__(self, facts: Facts, without: frozenset[str] = frozenset(), index: Index = NO_INDEX) -> None:
        self.facts = facts
        self.index = index
        self.without = without
        self.steps: list[Step] = []
        self.matched: list[str] = []
        self.holds: list[Verdict] = []
        self.drops: list[Verdict] = []
        self.correlations: list[Correlation] = facts.correlations
        self.limits: list[Limit] = []
        self.notices: list[str] = []

    def plan(self) -> Plan:
        """What was decided so far."""
        return Plan(
            steps=tuple(self.steps),
            matched=tuple(self.matched),
            holds=tuple(self.holds),
            drops=tuple(self.drops),
            correlations=tuple(self.correlations),
            limits=tuple(self.limits),
            asked_items=self.facts.asked_items,
            notices=tuple(self.notices),
        )

    def run(
        self,
        rules: Sequence[Rule],
        inherited: dict[str, Any],
        limits: tuple[int, ...],
        *,
        acts: bool,
        first_only: bool = False,
    ) -> bool:
        """Considers rules of one level. True where one stopped the evaluation.

        `limits` are those of the parents, by position; with `acts` false nothing is planned, whatever matches.
        """
        facts = self.facts
        for rule in self.index.candidates(rules, facts):
            if rule.mode.word == "disabled" or rule.name in self.without or not rule.condition.holds(facts):
                continue
            values = inherited
            if rule.extracts:
                found = find_all(rule.extracts, facts, inherited)
                if found is None:
                    continue
                values = found
            self.matched.append(rule.name)
            acting = acts and (rule.mode.word == "live" or rule.mode.acts(rule.name, facts.message))
            inner = self.act(rule, values, limits) if acting else limits
            stopped = bool(rule.rules) and self.run(rule.rules, values, inner, acts=acting, first_only=rule.first_only)
            if acting and (stopped or rule.stop):
                return True
            if acting and first_only:
                return False
        return False

    def act(self, rule: Rule, values: dict[str, Any], limits: tuple[int, ...]) -> tuple[int, ...]:
        """Plans what a rule that matched wants. Returns the limits that hold for its children."""
        if rule.correlate is not None:
            self._correlate(rule, values)
        if rule.limit is not None:
            limits = self._limit(rule, values, limits)
        if rule.actions:
            self.facts.planned = True
        for index, action in enumerate(rule.actions):
            if action.builtin in ("hold", "drop"):
                verdict = action.verdict(rule.name, lambda: self._names(rule, values))
                (self.holds if action.builtin == "hold" else self.drops).append(verdict)
            else:
                self.steps.append(
                    Step(
                        rule.name,
                        index,
                        action.destination,
                        values,
                        action.builtin == "update",
                        action.reuse,
                        action.per_recipient,
                        limits,
                    )
                )
        return limits

    def _correlate(self, rule: Rule, values: dict[str, Any]) -> None:
        assert rule.correlate is not None
        try:
            found = rule.correlate.correlation(rule.name, self._names(rule, values))
        except FillError as error:
            self.notices.append(f"rule '{rule.name}': no correlation: {error}")
            return
        if found is not None:
            self.correlations.append(found)

    def _limit(self, rule: Rule, values: dict[str, Any], limits: tuple[int, ...]) -> tuple[int, ...]:
        assert rule.limit is not None
        try:
            self.limits.append(rule.limit.limit(rule.name, self._names(rule, values)))
        except FillError as error:
            self.notices.append(f"rule '{rule.name}': no limit: {error}")
            return limits
        return (*limits, len(self.limits) - 1)

    def _names(self, rule: Rule, values: dict[str, Any]) -> Mapping[str, Any]:
        return values_of(self.facts.message, message_url="", reply_address="", rule=rule.name, extracted=values)

"""Why each rule did or did not match: evaluation step by step, with what it saw.

It walks on its own, by the conditions' traces and not by their fast forms; a test proves that both agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from postroom.message import Message
from postroom.plan import ConditionTrace, RuleTrace, Trace
from postroom.rules.conditions import sentence, shown, told
from postroom.rules.evaluation import Evaluation
from postroom.rules.extracts import find_all
from postroom.rules.facts import Facts, ItemsOf
from postroom.rules.loader import Rule


def explain(
    rules: tuple[Rule, ...], message: Message, items: ItemsOf | None = None, without: frozenset[str] = frozenset()
) -> Trace:
    facts = Facts(message, items)
    walk = _Walk(facts, Evaluation(facts, without))
    walk.over(rules, _Level())
    return Trace(tuple(walk.traces), walk.evaluation.plan())


@dataclass(frozen=True, slots=True)
class _Level:
    """What the rules of one list have from their parents."""

    depth: int = 0
    values: dict[str, Any] = field(default_factory=dict)
    limits: tuple[int, ...] = ()
    acts: bool = True
    first_only: bool = False


@dataclass(slots=True)
class _Walk:
    facts: Facts
    evaluation: Evaluation
    traces: list[RuleTrace] = field(default_factory=list)
    stopped_by: str = ""

    def over(self, rules: tuple[Rule, ...], level: _Level) -> None:
        first = ""
        for rule in rules:
            if self.stopped_by:
                self._skip(rule, level.depth, f"rule '{self.stopped_by}' stopped the evaluation")
            elif first:
                self._skip(rule, level.depth, f"only the first that matches counts, and that was '{first}'")
            elif self._rule(rule, level) and level.first_only:
                first = rule.name

    def _rule(self, rule: Rule, level: _Level) -> bool:
        """True where it matched, and acts."""
        if rule.mode.word == "disabled" or rule.name in self.evaluation.without:
            self._skip(rule, level.depth, "it is disabled" if rule.mode.word == "disabled" else "it is left out here")
            return False
        trace = rule.condition.trace(self.facts)
        values = find_all(rule.extracts, self.facts, level.values) if trace.met else None
        if values is None:
            reason = self._missing(rule) if trace.met else sentence(rule.condition, trace)
            self._add(rule, level.depth, "not matched", reason, trace, {})
            for child in rule.rules:
                self._skip(child, level.depth + 1, f"its parent '{rule.name}' did not match")
            return False
        acts = level.acts and rule.mode.acts(rule.name, self.facts.message)
        reason = sentence(rule.condition, trace)
        if not acts:
            why = f"its mode is {rule.mode}" if level.acts else "its parent does not act"
            reason = f"{reason}; nothing is sent: {why}"
        self._add(rule, level.depth, "matched" if acts else "logged", reason, trace, values)
        self.evaluation.matched.append(rule.name)
        limits = self.evaluation.act(rule, values, level.limits) if acts else level.limits
        self.over(rule.rules, _Level(level.depth + 1, values, limits, acts, rule.first_only))
        if acts and rule.stop and not self.stopped_by:
            self.stopped_by = rule.name
        return acts

    def _missing(self, rule: Rule) -> str:
        """Of a rule whose condition is met, but not its `extract`: the value that was not found."""
        for extract in rule.extracts:
            found = extract.find(self.facts)
            if found is None:
                there = told(extract.label, shown(self.facts[f"{extract.field} values"]))
                return f"the value '{extract.name}' was not found in {extract.label}: {there}"
        return ""

    def _skip(self, rule: Rule, depth: int, reason: str) -> None:
        self._add(rule, depth, "not reached", reason, None, {})
        for child in rule.rules:
            self._skip(child, depth + 1, reason)

    def _add(
        self,
        rule: Rule,
        depth: int,
        outcome: str,
        reason: str,
        condition: ConditionTrace | None,
        values: dict[str, Any],
    ) -> None:
        trace = RuleTrace(
            rule=rule.name,
            file=rule.file,
            line=rule.line,
            depth=depth,
            outcome=outcome,
            reason=reason,
            conditions=() if condition is None else (condition,),
            values=values,
            destinations=rule.destinations,
            stops=rule.stop,
        )
        self.traces.append(trace)

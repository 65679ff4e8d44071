"""Why each rule did or did not match: evaluation step by step, with what it saw.

It walks on its own, by the conditions' traces and not by their fast forms; a test proves that both agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from postroom.message import Message
from postroom.plan import ConditionTrace, Plan, RuleTrace, Step, Trace
from postroom.rules.conditions import sentence, shown, told
from postroom.rules.extracts import find_all
from postroom.rules.facts import Facts
from postroom.rules.loader import Rule


def explain(rules: tuple[Rule, ...], message: Message) -> Trace:
    walk = _Walk(Facts(message))
    walk.over(rules, 0, {})
    return Trace(tuple(walk.traces), Plan(tuple(walk.steps), tuple(walk.matched)))


@dataclass(slots=True)
class _Walk:
    facts: Facts
    traces: list[RuleTrace] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    matched: list[str] = field(default_factory=list)
    stopped_by: str = ""

    def over(self, rules: tuple[Rule, ...], depth: int, inherited: dict[str, Any]) -> None:
        for rule in rules:
            if self.stopped_by:
                self._skip(rule, depth, f"rule '{self.stopped_by}' stopped the evaluation")
            else:
                self._rule(rule, depth, inherited)

    def _rule(self, rule: Rule, depth: int, inherited: dict[str, Any]) -> None:
        trace = rule.condition.trace(self.facts)
        values = find_all(rule.extracts, self.facts, inherited) if trace.met else None
        if values is None:
            reason = self._missing(rule) if trace.met else sentence(rule.condition, trace)
            self._add(rule, depth, "not matched", reason, trace, {})
            for child in rule.rules:
                self._skip(child, depth + 1, f"its parent '{rule.name}' did not match")
            return
        self._add(rule, depth, "matched", sentence(rule.condition, trace), trace, values)
        self.matched.append(rule.name)
        for index, action in enumerate(rule.actions):
            self.facts.planned = True
            self.steps.append(Step(rule.name, index, action.destination, values))
        self.over(rule.rules, depth + 1, values)
        if rule.stop and not self.stopped_by:
            self.stopped_by = rule.name

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

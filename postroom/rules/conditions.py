"""Conditions, compiled: each answers whether it holds, and can show what it looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from postroom.plan import ConditionTrace
from postroom.rules.facts import Facts, Value
from postroom.rules.operators import Operator

_SHOWN = 120
"""Characters of a value in a trace."""
_VALUES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Condition:
    """`holds` is the fast answer. `trace` gives the same answer with its reasons."""

    holds: Callable[[Facts], bool]
    trace: Callable[[Facts], ConditionTrace]


def always() -> Condition:
    return Condition(lambda facts: True, lambda facts: ConditionTrace("always", True, ""))


def unmatched() -> Condition:
    """Holds where no rule before it planned an action."""

    def trace(facts: Facts) -> ConditionTrace:
        seen = "a rule before it planned an action" if facts.planned else "no rule before it planned an action"
        return ConditionTrace("unmatched", not facts.planned, seen)

    return Condition(lambda facts: not facts.planned, trace)


def field_test(field: str, label: str, operators: list[Operator]) -> Condition:
    """One value of the field must meet all the operators."""
    holds = operators[0].of_field if len(operators) == 1 else _one_value_meets(field, operators)
    sentence = f"{label} {' and '.join(operator.words for operator in operators)}"

    def trace(facts: Facts) -> ConditionTrace:
        values: tuple[Value, ...] = facts[f"{field} values"]
        met = any(all(operator.of_value(value) for operator in operators) for value in values)
        if not values:
            met = any(operator.words == "does not exist" for operator in operators)
        return ConditionTrace(shortened(sentence), met, shown(values))

    return Condition(holds, trace)


def all_of(conditions: list[Condition]) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    tests = tuple(condition.holds for condition in conditions)

    def both(facts: Facts) -> bool:
        return first(facts) and second(facts)

    def every(facts: Facts) -> bool:
        for test in tests:  # noqa: SIM110  a generator costs more than most tests
            if not test(facts):
                return False
        return True

    def trace(facts: Facts) -> ConditionTrace:
        children = tuple(condition.trace(facts) for condition in conditions)
        return ConditionTrace("all", all(child.met for child in children), "", children)

    if len(tests) == 2:
        first, second = tests
        return Condition(both, trace)
    return Condition(every, trace)


def any_of(conditions: list[Condition]) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    tests = tuple(condition.holds for condition in conditions)

    def some(facts: Facts) -> bool:
        for test in tests:  # noqa: SIM110  a generator costs more than most tests
            if test(facts):
                return True
        return False

    def trace(facts: Facts) -> ConditionTrace:
        children = tuple(condition.trace(facts) for condition in conditions)
        return ConditionTrace("any", any(child.met for child in children), "", children)

    return Condition(some, trace)


def negated(condition: Condition) -> Condition:
    holds = condition.holds

    def trace(facts: Facts) -> ConditionTrace:
        inner = condition.trace(facts)
        return ConditionTrace("not", not inner.met, "", (inner,))

    return Condition(lambda facts: not holds(facts), trace)


def sentence(trace: ConditionTrace) -> str:
    """Why a condition is met, or not: for one that is not, the first thing that failed."""
    if trace.condition == "not" and trace.children:
        return f"not: {sentence(trace.children[0])}"
    if trace.condition == "all" and trace.children:
        if trace.met:
            return "every condition holds"
        return next(sentence(child) for child in trace.children if not child.met)
    if trace.condition == "any" and trace.children:
        if trace.met:
            return next(sentence(child) for child in trace.children if child.met)
        return f"none of {len(trace.children)} conditions holds, the first: {sentence(trace.children[0])}"
    return f"{trace.condition}: {trace.seen}" if trace.seen else trace.condition


def shown(values: tuple[Value, ...]) -> str:
    """The values of a field for people; `absent` where there are none."""
    if not values:
        return "absent"
    texts = [f"'{shortened(value.raw)}'" for value in values[:_VALUES_SHOWN]]
    more = len(values) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more else "")


def shortened(text: str) -> str:
    text = " ".join(text[: 4 * _SHOWN].split()) if len(text) > _SHOWN or "\n" in text else text
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _one_value_meets(field: str, operators: list[Operator]) -> Callable[[Facts], bool]:
    key = f"{field} values"
    tests = tuple(operator.of_value for operator in operators)
    return lambda facts: any(all(test(value) for test in tests) for value in facts[key])

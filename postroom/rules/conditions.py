"""Conditions, compiled: each answers whether it holds, and can show what it looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from postroom.plan import ConditionTrace
from postroom.rules import needs
from postroom.rules.facts import Facts, Value
from postroom.rules.needs import Needs
from postroom.rules.operators import Operator

_SHOWN = 120
"""Characters of a value in a trace."""
_VALUES_SHOWN = 3
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Condition:
    """`holds` is the fast answer. `trace` gives the same answer with its reasons."""

    holds: Callable[[Facts], bool]
    trace: Callable[[Facts], ConditionTrace]
    label: str = ""
    """The field that is tested, as people call it."""
    children: tuple[Condition, ...] = ()
    """As in the trace."""
    needs: Needs | None = None
    """What must be so before it can hold; None where it may hold for any mail."""


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
    words = f"{label} {' and '.join(operator.words for operator in operators)}"

    def trace(facts: Facts) -> ConditionTrace:
        values: tuple[Value, ...] = facts[f"{field} values"]
        met = any(all(operator.of_value(value) for operator in operators) for value in values)
        if not values:
            met = any(operator.words == "does not exist" for operator in operators)
        return ConditionTrace(shortened(words), met, _kinds(facts) if field == "kind" else shown(values))

    # Extracted values become known on the way, while an index asks once, before the first rule.
    needed = None if "=" in field else needs.every([operator.needs for operator in operators])
    return Condition(holds, trace, label, needs=needed)


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

    needed = needs.every([condition.needs for condition in conditions])
    if len(tests) == 2:
        first, second = tests
        return Condition(both, trace, "", tuple(conditions), needed)
    return Condition(every, trace, "", tuple(conditions), needed)


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

    needed = needs.some([condition.needs for condition in conditions])
    return Condition(some, trace, "", tuple(conditions), needed)


def negated(condition: Condition) -> Condition:
    holds = condition.holds

    def trace(facts: Facts) -> ConditionTrace:
        inner = condition.trace(facts)
        return ConditionTrace("not", not inner.met, "", (inner,))

    return Condition(lambda facts: not holds(facts), trace, "", (condition,))


def sentence(condition: Condition, trace: ConditionTrace) -> str:
    """Why a condition is met, or not: for one that is not, the first thing that failed."""
    inner = list(zip(condition.children, trace.children, strict=True))
    if trace.condition == "not":
        return f"not: {sentence(*inner[0])}"
    if trace.condition == "all":
        return "every condition holds" if trace.met else next(sentence(*pair) for pair in inner if not pair[1].met)
    if trace.condition == "any":
        if trace.met:
            return next(sentence(*pair) for pair in inner if pair[1].met)
        return f"none of {len(inner)} conditions holds, the first: {sentence(*inner[0])}"
    if condition.label:
        return f"{trace.condition}: {told(condition.label, trace.seen)}"
    return f"{trace.condition}: {trace.seen}" if trace.seen else trace.condition


def told(label: str, seen: str) -> str:
    """What a mail has in a field: `the subject is 'Hello'`, `the mail has no subject`."""
    return f"the mail has no {label}" if seen == ABSENT else f"the {label} is {seen}"


def shown(values: tuple[Value, ...]) -> str:
    """The values of a field for people."""
    if not values:
        return ABSENT
    texts = [f"'{shortened(value.raw)}'" for value in values[:_VALUES_SHOWN]]
    more = len(values) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more else "")


def _kinds(facts: Facts) -> str:
    """The kinds of a mail, each with the evidence for it."""
    verdicts = facts.message.kinds
    return ", ".join(f"'{verdict.kind}' ({verdict.evidence})" for verdict in verdicts) or ABSENT


def shortened(text: str) -> str:
    text = " ".join(text[: 4 * _SHOWN].split()) if len(text) > _SHOWN or "\n" in text else text
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _one_value_meets(field: str, operators: list[Operator]) -> Callable[[Facts], bool]:
    key = f"{field} values"
    tests = tuple(operator.of_value for operator in operators)
    return lambda facts: any(all(test(value) for test in tests) for value in facts[key])

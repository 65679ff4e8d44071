"""What the rules decide about one message: a plan to act on, a trace to explain it by."""

from __future__ import annotations

from typing import Any

import msgspec


class Step(msgspec.Struct, frozen=True):
    """One action of one rule: something owed to one destination."""

    rule: str
    action: int
    """Position in the rule's `then`, counted from 0."""
    destination: str
    values: dict[str, Any] = {}
    """The values extracted by the rule and its parents: texts, or mappings of text for named groups."""


class Plan(msgspec.Struct, frozen=True):
    """The outcome of one evaluation."""

    steps: tuple[Step, ...] = ()
    matched: tuple[str, ...] = ()
    """Names of the rules that matched, in order, those without actions included."""


class Content(msgspec.Struct, frozen=True):
    """What one step sends, rendered. Frozen at the first claim: each attempt of a delivery sends the same."""

    title: str
    body: str
    footer: str = ""
    fields: dict[str, Any] = {}
    """The destination's own fields by name, of the types that its kind declares; only those that a rule gave."""
    attachments: tuple[int, ...] = ()
    """Which of the message's attachments go along, by position."""


class ConditionTrace(msgspec.Struct, frozen=True):
    """One condition with what it saw. `children` are the conditions inside `all`, `any`, `not`."""

    condition: str
    """As the operator would say it: `subject contains crash, traceback`."""
    met: bool
    seen: str
    """The value the mail has there, shortened; or `absent`."""
    children: tuple[ConditionTrace, ...] = ()


class RuleTrace(msgspec.Struct, frozen=True):
    """Why one rule did or did not match."""

    rule: str
    file: str
    line: int
    depth: int
    """0 for a rule of a file, 1 for its children, and so on."""
    outcome: str
    """`matched`, `not matched`, or `not reached`."""
    reason: str
    """One sentence: the first condition that failed with the value seen, or why the rule was not reached."""
    conditions: tuple[ConditionTrace, ...] = ()
    values: dict[str, Any] = {}
    destinations: tuple[str, ...] = ()
    stops: bool = False


class Trace(msgspec.Struct, frozen=True):
    """Every rule of the set in order, with its outcome for one message."""

    rules: tuple[RuleTrace, ...]
    plan: Plan

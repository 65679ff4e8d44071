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
    update: bool = False
    """It only comments on items that are there. `destination` is empty where those of every destination are meant."""
    reuse: bool = True
    """False: it makes an item of its own, though the conversation has one."""
    per_recipient: bool = False
    """It acts for each recipient of one mail."""
    limits: tuple[int, ...] = ()
    """Which of the plan's limits it is subject to, by position."""


class Verdict(msgspec.Struct, frozen=True):
    """A rule's `hold` or `drop`."""

    rule: str
    reason: str


class Correlation(msgspec.Struct, frozen=True):
    """Mails with the same group and key, each within `window` of the last, belong to one conversation."""

    rule: str
    group: str
    key: str
    window: float
    """In seconds."""


class Limit(msgspec.Struct, frozen=True):
    """At most `count` mails with this rule and key act in `window`; `over` says what becomes of those beyond."""

    rule: str
    key: str
    count: int
    window: float
    """In seconds."""
    over: str
    """`suppress`, `hold` or `drop`."""


class Plan(msgspec.Struct, frozen=True):
    """The outcome of one evaluation."""

    steps: tuple[Step, ...] = ()
    matched: tuple[str, ...] = ()
    """Names of the rules that matched, in order, those without actions included."""
    holds: tuple[Verdict, ...] = ()
    """Stronger than `drops`; while there is one of either, nothing is sent."""
    drops: tuple[Verdict, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    limits: tuple[Limit, ...] = ()
    asked_items: bool = False
    """A rule asked which items the conversation has: only the store knows."""
    notices: tuple[str, ...] = ()
    """Templates of `correlate` and `limit` that failed: then there is no correlation, and no limit."""

    @property
    def needs_store(self) -> bool:
        """Whether more than the steps is to be decided where the mail is stored."""
        return bool(self.correlations or self.limits or self.asked_items) or any(step.update for step in self.steps)


class Content(msgspec.Struct, frozen=True):
    """What one step sends, rendered. Frozen at the first claim: each attempt of a delivery sends the same."""

    title: str
    body: str
    footer: str = ""
    fields: dict[str, Any] = {}
    """The destination's own fields by name, of the types that its kind declares; only those that a rule gave."""
    attachments: tuple[int, ...] = ()
    """Which of the message's attachments go along, by position."""
    state: str = ""
    """`open` or `closed`: what the item is to be afterwards; empty: as it is."""
    update: bool = False
    """It only comments on an item that is there, and never makes one."""


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
    """`matched`, `not matched`, `not reached`, or `logged` for a rule that matched without acting."""
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

"""The rule set: all rules that are active together, and what they decide about a message."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from postroom.fields import FieldSet
from postroom.message import Message
from postroom.plan import Content, Plan, Step, Trace
from postroom.rules import actions
from postroom.rules.actions import RenderError
from postroom.rules.cases import Case
from postroom.rules.evaluation import Evaluation
from postroom.rules.explain import explain
from postroom.rules.facts import Facts, ItemsOf
from postroom.rules.index import NO_INDEX, Index
from postroom.rules.loader import Rule, hash_of, load


@dataclass(frozen=True, slots=True, eq=False)
class RuleSet:
    """Immutable, and safe to use from several threads at once."""

    hash: str
    """Known by its content: SHA-256 over paths and texts of the files, in hex."""
    files: Mapping[str, str]
    rules: tuple[Rule, ...]
    """In the order of evaluation; children stand inside their parents."""
    cases: tuple[Case, ...]
    """The tests of its files; none of a set of the past."""
    _by_name: Mapping[str, Rule] = field(repr=False)
    _index: Index = field(default=NO_INDEX, repr=False)

    def evaluate(self, message: Message, items: ItemsOf | None = None, without: frozenset[str] = frozenset()) -> Plan:
        """What is to be done with a message. Never fails, whatever the message holds.

        `items` is asked where a rule wants to know which items there are; without it there are none, and the plan says
        that it was asked. `without` names rules that are passed over as if they were not there.
        """
        facts = Facts(message, items)
        evaluation = Evaluation(facts, without, self._index)
        evaluation.run(self.rules, _NOTHING, (), acts=True)
        return evaluation.plan()

    def explain(self, message: Message, items: ItemsOf | None = None, without: frozenset[str] = frozenset()) -> Trace:
        """The same decision, with what each rule and each condition saw."""
        return explain(self.rules, message, items, without)

    def rule(self, name: str) -> Rule:
        """Raises KeyError where there is none of that name."""
        return self._by_name[name]

    def render(
        self,
        step: Step,
        message: Message,
        *,
        message_url: str,
        fields: FieldSet,
        reply_address: str = "",
        continues: bool = False,
    ) -> Content:
        """What a step of this rule set's plan sends; `fields` are those of its destination.

        `reply_address` continues the message's conversation; `continues`: there is an item for it already.
        Raises RenderError, also where the rule has no such action.
        """
        rule = self._by_name.get(step.rule)
        if rule is None or not 0 <= step.action < len(rule.actions):
            raise RenderError(f"rule '{step.rule}' has no action {step.action + 1} in this rule set")
        return actions.render(
            rule.actions[step.action],
            step,
            message,
            message_url=message_url,
            reply_address=reply_address,
            continues=continues,
            fields=fields,
        )


def compile_rules(
    files: Mapping[str, str],
    destinations: Mapping[str, FieldSet] | None,
    *,
    shown: str = "rules",
    timezone: str = "UTC",
    kinds: Mapping[str, str] | None = None,
    ingresses: Collection[str] = (),
) -> RuleSet:
    """Compiles the texts of rule files, given by their paths in the order of evaluation (see `read_files`).

    `destinations` are those of config.yaml with the fields that they take. None is for rule sets of the past, whose
    destinations may be gone: names and fields are not checked then; `kinds` are those of the destinations that there
    still are, by name. `shown` stands before the paths in problems. `timezone` is that of `received`, where a rule
    names none. `ingresses` are the ways in of config.yaml: a condition that names another is a slip; none: they are
    not checked.
    Raises InvalidFiles with every problem of every file.
    """
    if kinds is None:
        kinds = {name: each.kind for name, each in (destinations or {}).items()}
    with _without_collections():
        rules, cases = load(files, destinations, shown, ZoneInfo(timezone), kinds, ingresses)
    by_name: dict[str, Rule] = {}
    _collect(rules, by_name)
    return RuleSet(hash_of(files), MappingProxyType(dict(files)), rules, cases, by_name, Index(rules))


@contextmanager
def _without_collections() -> Iterator[None]:
    """Ten thousand rules are a million objects, and the cyclic collector would walk over them again and again.

    It doubles the time and finds nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _collect(rules: tuple[Rule, ...], found: dict[str, Rule]) -> None:
    for rule in rules:
        found[rule.name] = rule
        _collect(rule.rules, found)


_NOTHING: dict[str, Any] = {}

EMPTY = compile_rules({}, None)
"""No rules: every message is unmatched."""

"""`/rules`: what is active and what it matches, the rule sets of the past, and rules at work before they are active.

What checks, tests, explains or judges takes `files`; without them it takes the files on the disk with the caller's
draft on them (see rule_drafts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from postroom import backtest, explaining
from postroom.ids import now_ms
from postroom.problems import InvalidFiles
from postroom.problems import Problem as FileProblem
from postroom.rulebench import Busy
from postroom.ruledesk import RuleDesk
from postroom.rules import Rule, RuleSet
from postroom.store import rule_traffic, rulesets
from postroom.store.history import History
from postroom.web.api.contract import (
    LARGEST_NUMBER,
    UNSET,
    Before,
    Call,
    Fault,
    Id,
    Limit,
    Place,
    Route,
    Unset,
    given,
)

Active = Callable[[], tuple[int, RuleSet] | None]
"""The number and the rules of the active set; None before the first."""

T = TypeVar("T")
DAYS = 30
_DAY_MS = 86_400_000
_MOST_PROBLEMS = 200
RulePath = Annotated[
    str,
    Meta(pattern=r"^[^\x00-\x1f]+\.ya?ml$", max_length=240, description="A file's path below the rules folder."),
]
Files = dict[RulePath, str]


class RuleNode(msgspec.Struct, frozen=True):
    """An active rule. `matched` counts the messages of thirty days, `last` is when the last one was received."""

    name: str
    description: str
    file: str
    line: int
    mode: str
    """`live`, `log_only`, `disabled`, or a share such as `10%`."""
    destinations: tuple[str, ...]
    stop: bool
    first_only: bool
    """Of its children, only the first that matches is considered."""
    matched: int
    last: int | None
    children: tuple[RuleNode, ...] = ()


class ActiveRules(msgspec.Struct, frozen=True):
    """The active rules. Counts go to `counted_to`: one more means more than that."""

    rule_set: int | None
    """The number of the set; None before the first."""
    hash: str | None
    files: tuple[str, ...]
    rules: tuple[RuleNode, ...]
    counted_to: int
    missing: int
    """So many of the newest messages are not counted yet."""


class Activation(msgspec.Struct, frozen=True):
    """A rule set became the active one."""

    seq: int
    rule_set: int
    at: int
    who: str


class SetsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which activations."""

    before: Before | Unset = UNSET
    limit: Limit = 50


class ActivationPage(msgspec.Struct, frozen=True):
    """Activations of rule sets, newest first."""

    rows: list[Activation]
    next: int | None


class SetPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a path names."""

    n: Annotated[int, Meta(ge=1, le=LARGEST_NUMBER, description="The number of a rule set.")]


class SetFiles(msgspec.Struct, frozen=True):
    """The files of a rule set that was active once."""

    rule_set: int
    active: bool
    files: dict[str, str]


class RuleProblem(msgspec.Struct, frozen=True):
    """What is wrong with a file. Lines and columns count from 1."""

    path: str
    line: int
    column: int
    message: str


class Checked(msgspec.Struct, frozen=True):
    """What is wrong with rule files: nothing, where `problems` are empty. At most 200 are told."""

    problems: tuple[RuleProblem, ...]


class TestOutcome(msgspec.Struct, frozen=True):
    """How one test went."""

    name: str
    file: str
    line: int
    passed: bool
    differences: tuple[str, ...]
    """Lines: what was expected (-) and what happened (+)."""


class Tested(msgspec.Struct, frozen=True):
    """How the tests in the files went."""

    outcomes: tuple[TestOutcome, ...]
    failed: int
    left: int
    """So many were not run: time was up."""


class Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rule files: texts by their paths."""

    files: Files | Unset = UNSET


class ToExplain(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stored message, and rule files."""

    message: Id


class ToJudge(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rule files, and the mail of how many days: at most the newest so many messages."""

    days: Annotated[int, Meta(ge=1, le=3650)] = 30
    most: Annotated[int, Meta(ge=1, le=10_000)] = 2_000


NOT_WELL = {409: "The rules are not well; `errors` say where."}


def routes(desk: RuleDesk, history: History, active: Active) -> list[Route]:
    """`active` gives the number and the rules of the active set."""

    def tree(_: Call) -> ActiveRules:
        found = active()
        if found is None:
            return ActiveRules(None, None, (), (), rule_traffic.COUNTED_TO, 0)
        number, rule_set = found
        names = [rule.name for rule in _flat(rule_set.rules)]
        since = now_ms() - DAYS * _DAY_MS
        counts = history.read(partial(rule_traffic.traffic, rules=names, since=since))
        rules = tuple(_node(rule, counts.by_rule) for rule in rule_set.rules)
        return ActiveRules(number, rule_set.hash, tuple(rule_set.files), rules, counts.cap, counts.missing)

    def sets(call: Call) -> ActivationPage:
        limit = call.query.limit
        found = history.read(partial(rulesets.activations, before=given(call.query.before), limit=limit + 1))
        rows = [Activation(each.seq, each.rule_set, each.at, each.who) for each in found[:limit]]
        return ActivationPage(rows, rows[-1].seq if len(found) > limit else None)

    def one_set(call: Call) -> SetFiles:
        number: int = call.path.n
        try:
            files = desk.files_of(number)
        except KeyError:
            raise Fault(404, "No rule set has this number.") from None
        return SetFiles(number, history.read(rulesets.active) == number, files)

    def files_of(call: Call) -> Mapping[str, str]:
        return desk.look(call.who).files if call.body.files is UNSET else call.body.files

    def check(call: Call) -> Checked:
        return Checked(told_of(desk.bench.problems(files_of(call))))

    def test(call: Call) -> Tested:
        found = desk.bench.tests(files_of(call))
        outcomes = tuple(
            TestOutcome(
                each.case.name, each.case.place.path, each.case.place.line, each.passed, tuple(each.differences)
            )
            for each in found.outcomes
        )
        return Tested(outcomes, found.failed, found.left)

    def explain(call: Call) -> explaining.Explained:
        detail = history.message(call.body.message.lower())
        if detail is None:
            raise Fault(404, "No message has this id. It may have been pruned or erased.")
        try:
            return desk.bench.explain(files_of(call), detail)
        except ValueError as error:
            raise Fault(404, f"{error}.") from None

    def judge(call: Call) -> backtest.Report:
        since = max(0, now_ms() - call.body.days * _DAY_MS)
        return desk.bench.backtest(files_of(call), since, call.body.most)

    return [
        Route("GET", "/rules", "The active rules with what they matched in thirty days.", tree, ActiveRules),
        Route("GET", "/rules/sets", "Which rule set was active from when, and by whom.", sets, ActivationPage,
              query=SetsQuery),
        Route("GET", "/rules/sets/{n}", "The files of a rule set that was active once.", one_set, SetFiles,
              takes=SetPath, faults={404: "No rule set has this number."}),
        Route("POST", "/rules/check", "What is wrong with rule files.", guarded(check), Checked, body=Given,
              faults=NOT_WELL),
        Route("POST", "/rules/test", "Runs the tests in rule files.", guarded(test), Tested, body=Given,
              faults=NOT_WELL),
        Route("POST", "/rules/explain", "What rules make of a stored message, and why.", guarded(explain),
              explaining.Explained, body=ToExplain,
              faults={404: "There is no such message, or its text is no longer kept.", **NOT_WELL}),
        Route("POST", "/rules/backtest", "How the mail that came would go under rule files.", guarded(judge),
              backtest.Report, "editor", body=ToJudge, faults=NOT_WELL),
    ]  # fmt: skip


def told_of(problems: Sequence[FileProblem]) -> tuple[RuleProblem, ...]:
    """Problems of files as the API tells them."""
    return tuple(
        RuleProblem(each.place.path, each.place.line, each.place.column, each.message)
        for each in problems[:_MOST_PROBLEMS]
    )


def guarded(handler: Callable[[Call], T]) -> Callable[[Call], T]:
    """The same; rules that are not well, and a bench that is taken, are problems of the call."""

    def handle(call: Call) -> T:
        try:
            return handler(call)
        except InvalidFiles as invalid:
            places = [Place(str(each.place), each.message) for each in invalid.problems[:_MOST_PROBLEMS]]
            raise Fault(409, "The rules are not well.", places) from None
        except Busy:
            sentence = "Another check of the rules takes long. Try again."
            raise Fault(503, sentence, headers={"Retry-After": "5"}) from None

    return handle


def _flat(rules: Sequence[Rule]) -> Iterator[Rule]:
    for rule in rules:
        yield rule
        yield from _flat(rule.rules)


def _node(rule: Rule, counts: Mapping[str, rule_traffic.Matched]) -> RuleNode:
    matched = counts[rule.name]
    return RuleNode(
        name=rule.name,
        description=rule.description,
        file=rule.file,
        line=rule.line,
        mode=str(rule.mode),
        destinations=rule.destinations,
        stop=rule.stop,
        first_only=rule.first_only,
        matched=matched.count,
        last=matched.last,
        children=tuple(_node(each, counts) for each in rule.rules),
    )

"""`postroom backtest`: the stored mail routed under edited rules, and what would change. It only reads.

Each mail is judged twice, alike: under the rule set that it was routed under, and under the edited one, both with the
items that its conversation had, and without the rules that a person overruled by releasing it. So what differs is the
rules' doing alone. Limits and correlations count for nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from postroom import listing
from postroom.message import Message
from postroom.plan import Plan
from postroom.problems import InvalidFiles
from postroom.rulebook import RuleBook
from postroom.rules import RuleSet
from postroom.store import past, verdicts
from postroom.store.content import unpack
from postroom.store.database import connect

PRUNED = "the text is no longer kept"
NO_RULES = "the rule set it was routed under can no longer be read"
FAULT = "it could not be read or evaluated"


class Act(msgspec.Struct, frozen=True, order=True):
    """Something that a rule plans for a mail."""

    rule: str
    what: str
    """A destination, `update` (with a destination where it names one), `hold` or `drop`."""


class ChangedMail(msgspec.Struct, frozen=True):
    """One mail of which the rules would now plan something else."""

    id: str
    received_at: int
    recipient: str
    subject: str | None
    rule_set: int
    """The number of the one that it was routed under."""
    before: str
    """The state that the rules alone give it: `routed`, `held`, `dropped` or `unmatched`."""
    after: str
    away: tuple[Act, ...]
    new: tuple[Act, ...]


class Count(msgspec.Struct):
    """How often something was planned, and how often it would be now."""

    before: int = 0
    after: int = 0
    changed: int = 0
    """In how many mails it goes away or is new: with as many of both, the sums alone would hide it."""


class Report(msgspec.Struct):
    """What a backtest found. Times are milliseconds since 1970 (UTC)."""

    since: int
    judged: int = 0
    changed: int = 0
    cannot_be_judged: int = 0
    reasons: dict[str, int] = {}
    """Why mails cannot be judged: how many of each."""
    rules: dict[str, Count] = {}
    destinations: dict[str, Count] = {}
    """`update`, `hold` and `drop` among them."""
    mails: list[ChangedMail] = []
    """Newest first."""
    reached: int | None = None
    """When the oldest mail that was looked at was received."""
    cut: bool = False
    """Older ones were left aside: so many were wanted at most, or time was up."""


def acts_of(plan: Plan) -> list[Act]:
    """What a plan wants, in its order. Of a mail that is held or dropped, what else the rules plan is among it."""
    acts = [Act(step.rule, _place(step.destination) if step.update else step.destination) for step in plan.steps]
    acts += [Act(each.rule, "hold") for each in plan.holds]
    return acts + [Act(each.rule, "drop") for each in plan.drops]


def difference(before: list[Act], after: list[Act]) -> tuple[tuple[Act, ...], tuple[Act, ...]]:
    """What goes away, and what is new."""
    if before == after:
        return (), ()
    then, now = Counter(before), Counter(after)
    return tuple((then - now).elements()), tuple((now - then).elements())


def state_of(plan: Plan) -> str:
    """What the rules alone make of a mail."""
    return str(verdicts.state_of(plan, {})[0])


def run(
    database: Path,
    rule_set: RuleSet,
    *,
    timezone: str,
    makers: Collection[str],
    since: int,
    keep: int | None,
    started: Callable[[int], Callable[[int], None]],
    most: int | None = None,
    seconds: float | None = None,
) -> Report:
    """Judges the mail received since a time (milliseconds since 1970) under `rule_set`.

    `makers`: the destinations that make items. `keep`: so many changed mails are told, the newest; None: all.
    `started` is called with the number of mails, and gives what is called with each further number of them done.
    `most`: only the newest so many. `seconds`: then it ends with what it has.
    """
    db = connect(database, read_only=True)
    try:
        ends = None if seconds is None else time.monotonic() + seconds
        within = past.span(db, since, None if most is None else most + 1)
        left = within.count if most is None else min(most, within.count)
        advance = started(left)
        judging = _Judging(Report(since), rule_set, RuleBook(database, {}, timezone), past.PastItems(db, makers), keep)
        report = judging.report
        for page in past.pages(db, within):
            page = page[:left]
            for number, mail in enumerate(page, 1):
                judging.judge(mail)
                report.reached = mail.received_at
                if ends is not None and time.monotonic() > ends:
                    page = page[:number]
                    break
            left -= len(page)
            advance(len(page))
            if left <= 0 or (ends is not None and time.monotonic() > ends):
                report.cut = report.judged + report.cannot_be_judged < within.count
                break
        return report
    finally:
        db.close()


class _Judging:
    def __init__(
        self, report: Report, rule_set: RuleSet, book: RuleBook, items: past.PastItems, keep: int | None
    ) -> None:
        self.report = report
        self._now = rule_set
        self._book = book
        self._items = items
        self._keep = keep
        self._unreadable: set[int] = set()

    def judge(self, mail: past.PastMail) -> None:
        if mail.block is None:
            self._cannot(PRUNED)
            return
        then = self._then(mail.rule_set)
        if then is None:
            self._cannot(NO_RULES)
            return
        try:
            message, _ = unpack(mail.block)
            before = self._plan(then, mail, message)
            # The same files decide the same.
            after = before if then.hash == self._now.hash else self._plan(self._now, mail, message)
        except Exception:
            # One damaged mail must not cost the answer about all others.
            self._cannot(FAULT)
            return
        self._count(mail, before, after)

    def _plan(self, rule_set: RuleSet, mail: past.PastMail, message: Message) -> Plan:
        saw = mail.saw_items

        def items(_: object) -> tuple[str, ...]:
            return self._items.before(mail.conversation, mail.seq) if saw is None else saw

        return rule_set.evaluate(message, items, mail.left_out)

    def _then(self, seq: int) -> RuleSet | None:
        if seq in self._unreadable:
            return None
        try:
            return self._book.rule_set(seq)
        except (KeyError, InvalidFiles):
            self._unreadable.add(seq)
            return None

    def _cannot(self, reason: str) -> None:
        self.report.cannot_be_judged += 1
        self.report.reasons[reason] = self.report.reasons.get(reason, 0) + 1

    def _count(self, mail: past.PastMail, before: Plan, after: Plan) -> None:
        report = self.report
        report.judged += 1
        then, now = acts_of(before), acts_of(after)
        for act in then:
            for count in self._counts(act):
                count.before += 1
        for act in now:
            for count in self._counts(act):
                count.after += 1
        away, new = difference(then, now)
        if not away and not new:
            return
        report.changed += 1
        for name in {act.rule for act in (*away, *new)}:
            report.rules[name].changed += 1
        gone, come = Counter(act.what for act in away), Counter(act.what for act in new)
        for name in (gone - come) + (come - gone):
            report.destinations[name].changed += 1
        if self._keep is None or len(report.mails) < self._keep:
            report.mails.append(
                ChangedMail(
                    id=mail.id,
                    received_at=mail.received_at,
                    recipient=mail.recipient,
                    subject=mail.subject,
                    rule_set=mail.rule_set,
                    before=state_of(before),
                    after=state_of(after),
                    away=away,
                    new=new,
                )
            )

    def _counts(self, act: Act) -> tuple[Count, Count]:
        rule, place = self.report.rules.get(act.rule), self.report.destinations.get(act.what)
        if rule is None:
            rule = self.report.rules[act.rule] = Count()
        if place is None:
            place = self.report.destinations[act.what] = Count()
        return rule, place


def told(report: Report) -> str:
    """The report for people."""
    lines = [f"{_mails(report.judged)} judged, received since {listing.when(report.since)}"]
    if report.cannot_be_judged:
        lines.append(f"{_mails(report.cannot_be_judged)} cannot be judged:")
        lines += [f"  {count}: {reason}" for reason, count in report.reasons.items()]
    for heading, counts in (("rule", report.rules), ("destination", report.destinations)):
        if counts:
            lines += ["", f"planned by {heading}, before -> after:", *_table(counts)]
    lines.append("")
    if not report.changed:
        return listing.safe("\n".join([*lines, "nothing would change"]))
    lines.append(f"{_mails(report.changed)} would go another way:")
    for mail in report.mails:
        state = mail.before if mail.before == mail.after else f"{mail.before} -> {mail.after}"
        lines.append(f"  {listing.when(mail.received_at)}  {mail.id}  {state}")
        lines.append(f"    to {mail.recipient}: {listing.one_line(mail.subject or '(no subject)', 100)}")
        lines += changes(mail.away, mail.new, "    ")
    if len(report.mails) < report.changed:
        lines.append(f"  and {report.changed - len(report.mails)} more; --limit shows more of them, --json all")
    return listing.safe("\n".join(lines))


def changes(away: Collection[Act], new: Collection[Act], indent: str) -> list[str]:
    """A line for each act that goes away or is new."""
    return [f"{indent}{mark} {act.rule}: {act.what}" for mark, acts in (("-", away), ("+", new)) for act in acts]


def _table(counts: dict[str, Count]) -> list[str]:
    rows = sorted(counts.items(), key=lambda entry: (-entry[1].changed, -max(entry[1].before, entry[1].after)))
    width = min(60, max(len(name) for name in counts))
    return [
        f"  {name:{width}}  {count.before:7} -> {count.after:<7}"
        + (f"  changes for {_mails(count.changed)}" if count.changed else "")
        for name, count in rows
    ]


def _mails(count: int) -> str:
    return f"{count} mail{'' if count == 1 else 's'}"


def _place(destination: str) -> str:
    return f"update {destination}" if destination else "update"

"""Conditions on what is no text: numbers, sizes, addresses of networks, files, times, and the items that are there."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from postroom.message import Attachment, Message
from postroom.plan import ConditionTrace
from postroom.rules.conditions import ABSENT, Condition, shortened
from postroom.rules.facts import Facts, text_value
from postroom.rules.operators import Operator

NUMBERS: dict[str, Callable[[Message], float | None]] = {
    "size": lambda message: message.size,
    "spam_score": lambda message: message.spam_score,
    "attachment_count": lambda message: len(message.attachments),
}
"""Fields that are numbers, each None where the mail has none."""
SIZES = ("size",)
"""Those of them that are written as sizes: `1MB`."""
COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "is": ("is", lambda seen, wanted: seen == wanted),
    "above": ("is above", lambda seen, wanted: seen > wanted),
    "below": ("is below", lambda seen, wanted: seen < wanted),
    "at_least": ("is at least", lambda seen, wanted: seen >= wanted),
    "at_most": ("is at most", lambda seen, wanted: seen <= wanted),
}
"""The operators of numbers: how each reads in a sentence, and what it asks."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One operator of a number with its operands, any of which may be met."""

    words: str
    meets: Callable[[float], bool]


def compared(operator: str, operands: list[tuple[str, float]]) -> Comparison:
    """`operands`: as written, and what they mean."""
    words, compare = COMPARISONS[operator]
    wanted = tuple(value for _, value in operands)
    return Comparison(
        f"{words} {', '.join(text for text, _ in operands)}", lambda seen: any(compare(seen, each) for each in wanted)
    )


def number(field: str, comparisons: list[Comparison], exists: bool | None = None) -> Condition:
    """One of NUMBERS meets all comparisons; or, with `exists`, is there or not."""
    read = NUMBERS[field]
    words = f"{field} {' and '.join(each.words for each in comparisons)}"
    if exists is not None:
        words = f"{field} {'exists' if exists else 'does not exist'}"

    def meets(seen: float | None) -> bool:
        if exists is False:
            return seen is None
        return seen is not None and all(each.meets(seen) for each in comparisons)

    def trace(facts: Facts) -> ConditionTrace:
        seen = read(facts.message)
        return ConditionTrace(
            words, meets(seen), ABSENT if seen is None else f"{seen:g}" if seen % 1 else str(int(seen))
        )

    return Condition(lambda facts: meets(read(facts.message)), trace, field)


def file_test(names: list[Operator], types: list[Operator], sizes: list[Comparison]) -> Callable[[Attachment], bool]:
    """Whether one attachment meets all tests of its name, type and size."""

    def meets(attachment: Attachment) -> bool:
        name, kind = text_value(attachment.name), text_value(attachment.content_type)
        return (
            all(each.of_value(name) for each in names)
            and all(each.of_value(kind) for each in types)
            and all(each.meets(attachment.size) for each in sizes)
        )

    return meets


def some_attachment(test: Callable[[Attachment], bool], words: str) -> Condition:
    """Some one attachment of the mail meets the test."""

    def trace(facts: Facts) -> ConditionTrace:
        files = facts.message.attachments
        told = [f"'{shortened(each.name)}' ({each.content_type}, {each.size} bytes)" for each in files[:3]]
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        return ConditionTrace(words, any(map(test, files)), ", ".join(told) + more if files else ABSENT)

    return Condition(lambda facts: any(map(test, facts.message.attachments)), trace, "attachment")


def attachments_there(wanted: bool) -> Condition:
    """The mail has attachments, or has none."""
    words = f"attachment {'exists' if wanted else 'does not exist'}"

    def trace(facts: Facts) -> ConditionTrace:
        count = len(facts.message.attachments)
        return ConditionTrace(words, bool(count) is wanted, f"{count} files" if count else ABSENT)

    return Condition(lambda facts: bool(facts.message.attachments) is wanted, trace, "attachment")


def client_known(wanted: bool) -> Condition:
    """The provider names the client that handed the mail over, or does not."""
    words = f"ip {'exists' if wanted else 'does not exist'}"

    def trace(facts: Facts) -> ConditionTrace:
        seen = facts.message.client_ip
        return ConditionTrace(words, bool(seen) is wanted, f"'{shortened(seen)}'" if seen else ABSENT)

    return Condition(lambda facts: bool(facts.message.client_ip) is wanted, trace, "ip")


def within(networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], texts: list[str]) -> Condition:
    """The address of the client that handed the mail over lies in one of the networks."""

    def meets(facts: Facts) -> bool:
        try:
            address = ipaddress.ip_address((facts.message.client_ip or "").strip())
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any(each in network for network in networks for each in (address, mapped) if each is not None)

    def trace(facts: Facts) -> ConditionTrace:
        seen = facts.message.client_ip
        return ConditionTrace(
            f"ip is within {', '.join(texts)}", meets(facts), f"'{shortened(seen)}'" if seen else ABSENT
        )

    return Condition(meets, trace, "ip")


@dataclass(frozen=True, slots=True)
class Span:
    """When a mail was received: every part that is given must hold. Times are of one zone's clock."""

    words: str
    zone: ZoneInfo
    weekdays: frozenset[int] | None = None
    """0 is Monday."""
    between: tuple[tuple[int, int], ...] = ()
    """Minutes of the day, the first included, the last not; the first may be later: over midnight."""
    since: date | None = None
    until: date | None = None
    """Inclusive."""
    dates: frozenset[date] | None = None

    def holds(self, local: datetime) -> bool:
        """Whether a time of this zone lies in it. Over midnight, the day counts on which the span of the day began."""
        minute, today = local.hour * 60 + local.minute, local.date()
        if not self.between:
            return self._has_day(today)
        for start, end in self.between:
            over_midnight = start > end
            if (over_midnight and minute >= start) or start <= minute < end:
                if self._has_day(today):
                    return True
            elif over_midnight and minute < end and self._has_day(today - timedelta(days=1)):
                return True
        return False

    def _has_day(self, day: date) -> bool:
        return (
            (self.weekdays is None or day.weekday() in self.weekdays)
            and (self.dates is None or day in self.dates)
            and (self.since is None or day >= self.since)
            and (self.until is None or day <= self.until)
        )


def received(span: Span) -> Condition:
    """The time of receipt lies in the span."""

    def at(facts: Facts) -> datetime:
        return datetime.fromtimestamp(facts.message.received_at / 1000, span.zone)

    def trace(facts: Facts) -> ConditionTrace:
        seen = at(facts)
        told = f"{WEEKDAYS[seen.weekday()]} {seen:%Y-%m-%d %H:%M} {span.zone.key}"
        return ConditionTrace(f"received {span.words}", span.holds(seen), told)

    return Condition(lambda facts: span.holds(at(facts)), trace, "received")


def items(wanted: frozenset[str] | None, exists: bool, texts: list[str]) -> Condition:
    """The conversation has an item: at one of the destinations; anywhere (`wanted` is None); nowhere (not `exists`)."""
    words = f"item is {', '.join(texts)}" if wanted is not None else f"item {'exists' if exists else 'does not exist'}"

    def meets(facts: Facts) -> bool:
        seen = facts.items_there()
        if wanted is not None:
            return not wanted.isdisjoint(seen)
        return bool(seen) is exists

    def trace(facts: Facts) -> ConditionTrace:
        return ConditionTrace(words, meets(facts), ", ".join(facts.items_there()) or ABSENT)

    return Condition(meets, trace, "item")

"""Bars over time: geometry for the template, and the words beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from postroom.store.statistics import LATENCIES, Slot

HEIGHT = 100.0
STEP, WIDE = 10.0, 8.0
"""From one bar to the next, and how wide each is: the picture is stretched to its place."""
_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a bar. `tone`: a state's name, for its colour."""

    x: float
    y: float
    height: float
    tone: str
    title: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """`most`: what the full height stands for."""

    bars: tuple[Bar, ...]
    most: int
    width: float


def messages(slots: Sequence[Slot]) -> Chart:
    """Messages over time; each bar leads to its messages."""
    most = max((each.messages for each in slots), default=0)
    length = width_of(slots)
    bars = [
        _bar(
            at,
            each.messages,
            0,
            most,
            "pending",
            f"{moment(each.at)}: {each.messages:,} messages",
            between(each.at, length),
        )
        for at, each in enumerate(slots)
        if each.messages
    ]
    return Chart(tuple(bars), most, max(len(slots), 1) * STEP)


def attempts(slots: Sequence[Slot]) -> Chart:
    """Deliveries over time, with the attempts that failed on top."""
    most = max((each.delivered + each.failed for each in slots), default=0)
    bars = []
    for at, each in enumerate(slots):
        title = f"{moment(each.at)}: {each.delivered:,} delivered, {each.failed:,} attempts failed"
        if each.delivered:
            bars.append(_bar(at, each.delivered, 0, most, "delivered", title))
        if each.failed:
            bars.append(_bar(at, each.failed, each.delivered, most, "dead", title))
    return Chart(tuple(bars), most, max(len(slots), 1) * STEP)


def between(at: int, length: int) -> str:
    """A search for what was received in a slot."""
    return f"after:{_exact(at)} before:{_exact(at + length)}"


def width_of(slots: Sequence[Slot]) -> int:
    """Length of a slot in milliseconds."""
    return slots[1].at - slots[0].at if len(slots) > 1 else _DAY


def ticks(slots: Sequence[Slot]) -> tuple[str, str, str]:
    """What stands below the first, the middle and the last bar."""
    if not slots:
        return "", "", ""
    day = slots[-1].at - slots[0].at <= 2 * _DAY
    shown = [datetime.fromtimestamp(each.at / 1000, UTC) for each in (slots[0], slots[len(slots) // 2], slots[-1])]
    first, middle, last = (f"{each:%H:%M}" if day else f"{each.day} {each:%b}" for each in shown)
    return first, middle, last


def moment(at: int) -> str:
    """`24 Nov 10:05` in UTC."""
    shown = datetime.fromtimestamp(at / 1000, UTC)
    return f"{shown.day} {shown:%b %H:%M}"


def within(ms: int | None) -> str:
    """A latency as its class has it: `≤ 300 ms`, `≤ 5 min`, `> 1 day`; a dash for none."""
    if ms is None:
        return "–"
    beyond = ms > LATENCIES[-1]
    for unit, name in ((_DAY, "day"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")):
        if ms >= unit:
            return f"{'>' if beyond else '≤'} {ms // unit} {name}"
    return "≤ 0 ms"


def _bar(at: int, count: int, below: int, most: int, tone: str, title: str, url: str | None = None) -> Bar:
    height = max(count / most * HEIGHT, 1.5)
    y = max(HEIGHT - below / most * HEIGHT - height, 0.0)
    return Bar(at * STEP + (STEP - WIDE) / 2, y, height, tone, title, url)


def _exact(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%M}"

"""How much mail came, where it went and how long that took: counts by time slot, filled behind the mail by the indexer.

Slots are five minutes, six hours and one day long; the short ones are forgotten after a while. Times are milliseconds
since 1970. What a time has is told in whole slots: up to one more than was asked for.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

_DAY_MS = 86_400_000
SHORT, LONG, DAY = 300_000, 21_600_000, _DAY_MS
"""Lengths of slots in milliseconds."""
SPANS = {SHORT: 2 * _DAY_MS, LONG: 14 * _DAY_MS, DAY: None}
"""Each serves times up to so long, and is kept for twice as long; days are for good."""
LATENCIES = (100, 300, 1_000, 3_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000, 86_400_000)
"""Upper bounds in milliseconds of the classes of time from receipt to delivery; the last class has none."""
_COUNTED = "attempts_counted"


class Flow(msgspec.Struct, frozen=True):
    """So many messages from a way in, by a rule, to a destination. One that goes to two stands in two of them.

    Where nothing was owed `destination` is the message's state in brackets, such as `(unmatched)`, and `rule` may be
    empty.
    """

    ingress: str
    rule: str
    destination: str
    count: int


class Slot(msgspec.Struct, frozen=True):
    """What happened in one slot of time."""

    at: int
    messages: int
    delivered: int
    failed: int
    """Attempts that did not succeed."""


class Results(msgspec.Struct, frozen=True):
    """How the attempts at a destination ended."""

    delivered: int = 0
    failed: int = 0


class Latency(msgspec.Struct, frozen=True):
    """From receipt to delivery, in milliseconds: upper bounds of the classes that hold the percentile.

    None where nothing was delivered; more than the last of LATENCIES: beyond it.
    """

    deliveries: int
    p50: int | None
    p95: int | None


def count_messages(
    db: sqlite3.Connection, rows: Sequence[sqlite3.Row], owed: Sequence[sqlite3.Row], sign: int = 1
) -> None:
    """Adds messages (seq, received_at, ingress, state, matched) and what they are owed (message, rule, destination).

    With the sign -1 they are taken out again: see search_index.changing.
    """
    traffic: Counter[tuple[int, int, str, str, str]] = Counter()
    arrivals: Counter[tuple[int, int, str]] = Counter()
    by_message: dict[int, list[sqlite3.Row]] = {}
    for each in owed:
        by_message.setdefault(each["message"], []).append(each)
    for row in rows:
        at, ingress = row["received_at"], row["ingress"]
        parts = {(each["rule"], each["destination"]) for each in by_message.get(row["seq"], ())}
        if not parts:
            parts = {(row["matched"].partition("\n")[0], f"({row['state']})")}
        for span in SPANS:
            slot = at // span * span
            arrivals[span, slot, ingress] += sign
            for rule, destination in parts:
                traffic[span, slot, ingress, rule, destination] += sign
    _add(db, "traffic", "span, slot, ingress, rule, destination", traffic)
    _add(db, "arrivals", "span, slot, ingress", arrivals)


def count_attempts(db: sqlite3.Connection, most: int) -> int:
    """Adds the oldest attempts that are not counted yet. Returns how many there were."""
    upto = counted_upto(db)
    # Attempts whose message is gone are passed over, not waited for.
    rows = db.execute(
        "SELECT a.seq, a.result, a.started_at + COALESCE(a.took_ms, 0) AS ended, d.destination, m.received_at"
        " FROM attempts a LEFT JOIN deliveries d ON d.seq = a.delivery LEFT JOIN messages m ON m.seq = d.message"
        " WHERE a.seq > ? ORDER BY a.seq LIMIT ?",
        (upto, most),
    ).fetchall()
    if not rows:
        return 0
    outcomes: Counter[tuple[int, int, str, str, int]] = Counter()
    for row in rows:
        if row["received_at"] is None:
            continue
        delivered = row["result"] == "delivered"
        kind = bisect_left(LATENCIES, max(row["ended"] - row["received_at"], 0)) if delivered else 0
        for span in SPANS:
            slot = row["ended"] // span * span
            outcomes[span, slot, row["destination"], "delivered" if delivered else "failed", kind] += 1
    _add(db, "outcomes", "span, slot, destination, result, latency", outcomes)
    db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (_COUNTED, str(rows[-1]["seq"])))
    return len(rows)


def forget_short_slots(db: sqlite3.Connection, now: int) -> None:
    """Drops the counts of short slots that no page asks for any more."""
    for span, longest in SPANS.items():
        if longest is None:
            continue
        for table in ("traffic", "arrivals", "outcomes"):
            db.execute(f"DELETE FROM {table} WHERE span = ? AND slot < ?", (span, now - 2 * longest))


def flows(db: sqlite3.Connection, since: int, until: int) -> list[Flow]:
    """The traffic of a time, busiest first."""
    rows = db.execute(
        "SELECT ingress, rule, destination, SUM(count) FROM traffic WHERE span = ? AND slot >= ? AND slot < ?"
        " GROUP BY 1, 2, 3 HAVING SUM(count) > 0 ORDER BY 4 DESC, 1, 2, 3",
        _window(since, until),
    ).fetchall()
    return [Flow(*row) for row in rows]


def arrivals(db: sqlite3.Connection, since: int, until: int) -> dict[str, int]:
    """How many messages came in by each way in."""
    rows = db.execute(
        "SELECT ingress, SUM(count) FROM arrivals WHERE span = ? AND slot >= ? AND slot < ? GROUP BY 1",
        _window(since, until),
    ).fetchall()
    return {row[0]: row[1] for row in rows}


def results(db: sqlite3.Connection, since: int, until: int) -> dict[str, Results]:
    """How many attempts succeeded and failed, by destination."""
    found: dict[str, list[int]] = {}
    for destination, result, count in db.execute(
        "SELECT destination, result, SUM(count) FROM outcomes WHERE span = ? AND slot >= ? AND slot < ? GROUP BY 1, 2",
        _window(since, until),
    ):
        found.setdefault(destination, [0, 0])[0 if result == "delivered" else 1] += count
    return {destination: Results(*counts) for destination, counts in found.items()}


def slots(db: sqlite3.Connection, since: int, until: int, most: int = 96) -> list[Slot]:
    """Messages and attempts over time, in at most so many slots of equal length, those with nothing included."""
    span, first, end = _window(since, until)
    width = span * max(1, -(-((end - first) // span) // most))
    first = first // width * width
    found: dict[int, list[int]] = {at: [0, 0, 0] for at in range(first, end, width)}
    for at, count in db.execute(
        f"SELECT slot / {width} * {width}, SUM(count) FROM arrivals WHERE span = ? AND slot >= ? AND slot < ?"
        " GROUP BY 1",
        (span, first, end),
    ):
        found[at][0] += count
    for at, result, count in db.execute(
        f"SELECT slot / {width} * {width}, result, SUM(count) FROM outcomes WHERE span = ? AND slot >= ? AND slot < ?"
        " GROUP BY 1, 2",
        (span, first, end),
    ):
        found[at][1 if result == "delivered" else 2] += count
    return [Slot(at, *counts) for at, counts in found.items()]


def latencies(db: sqlite3.Connection, since: int, until: int) -> dict[str, Latency]:
    """From receipt to delivery, by destination, and under the empty name over all."""
    by_name: dict[str, list[int]] = {"": [0] * (len(LATENCIES) + 1)}
    for destination, kind, count in db.execute(
        "SELECT destination, latency, SUM(count) FROM outcomes WHERE span = ? AND slot >= ? AND slot < ?"
        " AND result = 'delivered' GROUP BY 1, 2",
        _window(since, until),
    ):
        for name in ("", destination):
            by_name.setdefault(name, [0] * (len(LATENCIES) + 1))[kind] += count
    return {
        name: Latency(sum(counts), _percentile(counts, 50), _percentile(counts, 95)) for name, counts in by_name.items()
    }


def _percentile(counts: list[int], percent: int) -> int | None:
    """The upper bound of the class in which that share of all is reached; of the last class one more than its lower."""
    total, seen = sum(counts), 0
    for bound, count in zip((*LATENCIES, LATENCIES[-1] + 1), counts, strict=True):
        seen += count
        if total and seen * 100 >= total * percent:
            return bound
    return None


def _window(since: int, until: int) -> tuple[int, int, int]:
    """The length of slot that serves a time, and its bounds in whole slots."""
    span = next(span for span, longest in SPANS.items() if longest is None or until - since <= longest)
    return span, since // span * span, (until // span + 1) * span


def counted_upto(db: sqlite3.Connection) -> int:
    """The number of the last attempt that is counted; 0: none."""
    row = db.execute("SELECT value FROM settings WHERE name = ?", (_COUNTED,)).fetchone()
    return int(row[0]) if row else 0


def _add(db: sqlite3.Connection, table: str, key: str, counts: Counter[Any]) -> None:
    marks = ", ".join("?" * (len(key.split(", ")) + 1))
    db.executemany(
        f"INSERT INTO {table} ({key}, count) VALUES ({marks})"
        f" ON CONFLICT ({key}) DO UPDATE SET count = count + excluded.count",
        [(*each, count) for each, count in counts.items()],
    )

"""Counts by time slot: equal to what counting the mail itself gives, whatever happened, however it was indexed."""

from __future__ import annotations

import sqlite3
from collections import Counter
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.store import statistics
from postroom.store.schema import in_memory
from postroom.store.search_index import changing, index_next
from postroom.store.statistics import DAY, LATENCIES, LONG, SHORT, Flow

HOUR = 3_600_000
NOW = 1_790_000_000_000 // DAY * DAY
_numbers = count(1)


class Past:
    """A store whose history a test writes."""

    def __init__(self) -> None:
        self.db = in_memory()

    def message(self, at: int = NOW, *, ingress: str = "mail", state: str = "routed", matched: str = "") -> int:
        seq = next(_numbers)
        self.db.execute(
            "INSERT INTO messages (seq, id, received_at, ingress, recipient, return_path, state, rule_set, matched,"
            " conversation, size, attachments) VALUES (?, ?, ?, ?, '', '', ?, 1, ?, 1, 1, 0)",
            (seq, f"m{seq}", at, ingress, state, matched),
        )
        return seq

    def delivery(self, message: int, destination: str = "hook", rule: str = "All") -> int:
        seq = self.db.execute(
            "INSERT INTO deliveries (id, message, conversation, rule, action, destination, state, next_at, created_at)"
            " VALUES (?, ?, 1, ?, 0, ?, 'pending', 0, 0) RETURNING seq",
            (f"d{next(_numbers)}", message, rule, destination),
        ).fetchone()
        return int(seq[0])

    def attempt(self, delivery: int, started_at: int, took: int | None, result: str = "delivered") -> None:
        self.db.execute(
            "INSERT INTO attempts (delivery, number, started_at, took_ms, result) VALUES (?, 1, ?, ?, ?)",
            (delivery, started_at, took, result),
        )

    def index(self, batch: int = 3) -> None:
        """All that is there."""
        while index_next(self.db, batch):
            pass
        while statistics.count_attempts(self.db, batch):
            pass


@pytest.fixture
def past() -> Past:
    return Past()


# Equal to counting the mail itself

OWED = st.lists(st.tuples(st.sampled_from(("A", "B", "C")), st.sampled_from(("x", "y", "z"))), max_size=3)
ATTEMPTS = st.lists(
    st.tuples(
        st.integers(-HOUR, 3 * DAY),
        st.none() | st.integers(0, 40_000),
        st.sampled_from(("delivered", "failed", "unknown")),
    ),
    max_size=3,
)
MAILS = st.tuples(
    st.integers(0, 20 * DAY),
    st.sampled_from(("in", "other")),
    st.sampled_from(("held", "unmatched", "dropped")),
    OWED,
    ATTEMPTS,
)
RELEASES = st.tuples(st.integers(0, 20), OWED)


@settings(max_examples=60, deadline=None)
@given(st.lists(MAILS, max_size=12), st.lists(RELEASES, max_size=4), st.integers(1, 20), st.booleans())
def test_equal_to_a_count_over_the_messages(
    mails: list[Any], releases: list[Any], batch: int, indexed_before_release: bool
) -> None:
    past = Past()
    db = past.db
    seqs = []
    for at, ingress, state, owed, attempts in mails:
        seq = past.message(NOW + at, ingress=ingress, state="routed" if owed else state, matched="R\nS")
        seqs.append(seq)
        for rule, destination in owed:
            delivery = past.delivery(seq, destination, rule)
            for after, took, result in attempts:
                past.attempt(delivery, NOW + at + after, took, result)
    if indexed_before_release:
        past.index(batch)
    for number, owed in releases:
        if number < len(seqs):
            with changing(db, seqs[number]):
                db.execute("UPDATE messages SET state = 'routed' WHERE seq = ?", (seqs[number],))
                for rule, destination in owed:
                    past.delivery(seqs[number], destination, rule)
    past.index(batch)
    for span, since, until in ((SHORT, NOW + 17 * DAY, NOW + 19 * DAY), (DAY, NOW, NOW + 30 * DAY)):
        whole = "/ :span * :span"
        window = {"span": span, "since": since // span * span, "until": (until // span + 1) * span}
        inside = f"received_at {whole} >= :since AND received_at {whole} < :until"
        expected = {
            Flow(*row)
            for row in db.execute(
                f"""SELECT ingress, rule, destination, COUNT(*) FROM (
                  SELECT DISTINCT m.seq, m.ingress, COALESCE(d.rule, substr(matched, 1, 1)) AS rule,
                    COALESCE(d.destination, '(' || m.state || ')') AS destination
                  FROM messages m LEFT JOIN deliveries d ON d.message = m.seq WHERE {inside}) GROUP BY 1, 2, 3""",
                window,
            )
        }
        flows = statistics.flows(db, since, until)
        assert set(flows) == expected and len(flows) == len(expected)
        assert [each.count for each in flows] == sorted((each.count for each in flows), reverse=True)
        arrived = db.execute(f"SELECT ingress, COUNT(*) FROM messages WHERE {inside} GROUP BY 1", window)
        assert statistics.arrivals(db, since, until) == dict(map(tuple, arrived))
        ended = f"(a.started_at + COALESCE(a.took_ms, 0)) {whole}"
        results: dict[str, Counter[bool]] = {}
        took: dict[str, list[int]] = {"": []}
        for name, result, later in db.execute(
            "SELECT d.destination, a.result, max(a.started_at + COALESCE(a.took_ms, 0) - m.received_at, 0)"
            " FROM attempts a JOIN deliveries d ON d.seq = a.delivery JOIN messages m ON m.seq = d.message"
            f" WHERE {ended} >= :since AND {ended} < :until",
            window,
        ):
            results.setdefault(name, Counter())[result == "delivered"] += 1
            if result == "delivered":
                took[""].append(later)
                took.setdefault(name, []).append(later)
        found = statistics.results(db, since, until)
        assert {name: (each.delivered, each.failed) for name, each in found.items()} == {
            name: (each[True], each[False]) for name, each in results.items()
        }
        latencies = statistics.latencies(db, since, until)
        assert set(latencies) == set(took)
        for name, values in took.items():
            for percent, told in ((50, latencies[name].p50), (95, latencies[name].p95)):
                assert told == bound(values, percent)
        slots = statistics.slots(db, since, until)
        assert sum(each.messages for each in slots) == sum(statistics.arrivals(db, since, until).values())
        assert sum(each.delivered for each in slots) == sum(each.delivered for each in found.values())
        assert sum(each.failed for each in slots) == sum(each.failed for each in found.values())


def bound(values: list[int], percent: int) -> int | None:
    """The class of the value at that rank (nearest rank), by its upper bound."""
    if not values:
        return None
    exact = sorted(values)[max(-(-len(values) * percent // 100), 1) - 1]
    return next((each for each in LATENCIES if exact <= each), LATENCIES[-1] + 1)


# Windows and slots


@pytest.mark.parametrize(
    ("time", "span", "most"),
    [(HOUR, SHORT, 13), (DAY, SHORT, 96), (7 * DAY, LONG, 29), (30 * DAY, DAY, 31), (90 * DAY, DAY, 91)],
)
def test_every_time_has_its_slots(past: Past, time: int, span: int, most: int) -> None:
    now = NOW + 11 * HOUR + 123_456
    for at in (now - time - 2 * DAY, now - time + 1, now - 1, now, now + 2 * DAY):
        past.message(at)
    past.index()
    slots = statistics.slots(past.db, now - time, now)
    assert 1 < len(slots) <= most
    widths = {later.at - one.at for one, later in pairwise(slots)}
    assert len(widths) == 1 and not widths.pop() % span
    assert sum(each.messages for each in slots) == 3
    assert slots[0].at <= now - time < slots[0].at + 2 * span * 4 and slots[-1].at <= now
    assert sum(each.count for each in statistics.flows(past.db, now - time, now)) == 3


def test_short_slots_are_forgotten_and_days_stay(past: Past) -> None:
    past.message(NOW)
    past.index()
    statistics.forget_short_slots(past.db, NOW + 40 * DAY)
    assert {row[0] for row in past.db.execute("SELECT span FROM traffic")} == {DAY}
    assert sum(each.count for each in statistics.flows(past.db, NOW - 5 * DAY, NOW + 40 * DAY)) == 1


# Percentiles


def test_percentiles_are_bounds_of_classes(past: Past) -> None:
    for took in [90] * 90 + [2_500] * 9 + [3 * DAY]:
        past.attempt(past.delivery(past.message(NOW)), NOW, took)
    past.index(50)
    found = statistics.latencies(past.db, NOW - HOUR, NOW + 10 * DAY)
    assert (found["hook"].deliveries, found["hook"].p50, found["hook"].p95) == (100, 100, 3_000)
    assert found[""] == found["hook"]


def test_beyond_the_last_class_and_nothing_at_all(past: Past) -> None:
    nothing = statistics.latencies(past.db, NOW, NOW + HOUR)
    assert set(nothing) == {""} and nothing[""].p50 is None and nothing[""].p95 is None
    past.attempt(past.delivery(past.message(NOW)), NOW + 2 * DAY, 5)
    past.index()
    assert statistics.latencies(past.db, NOW, NOW + 3 * DAY)["hook"].p50 == LATENCIES[-1] + 1


# What happens behind the mail


def test_attempts_whose_message_is_gone_are_passed_over(past: Past) -> None:
    lost, kept = past.delivery(past.message(NOW)), past.delivery(past.message(NOW))
    for each in (lost, lost, lost, lost, kept):
        past.attempt(each, NOW, 5)
    past.db.execute("DELETE FROM deliveries WHERE seq = ?", (lost,))
    past.index()
    newest = past.db.execute("SELECT MAX(seq) FROM attempts").fetchone()[0]
    assert statistics.counted_upto(past.db) == newest, "the indexer would never rest"
    assert statistics.results(past.db, NOW, NOW)["hook"].delivered == 1


def test_what_a_person_decides_moves_the_counts_and_the_search(past: Past) -> None:
    unmatched, other = past.message(NOW, state="unmatched"), past.message(NOW, state="unmatched")
    past.index()
    with changing(past.db, unmatched):
        past.db.execute("UPDATE messages SET state = 'discarded' WHERE seq = ?", (unmatched,))
    with changing(past.db, other):
        past.db.execute("UPDATE messages SET state = 'routed', matched = 'All' WHERE seq = ?", (other,))
        past.delivery(other)
    found = {(each.rule, each.destination): each.count for each in statistics.flows(past.db, NOW, NOW)}
    assert found == {("", "(discarded)"): 1, ("All", "hook"): 1}
    assert statistics.arrivals(past.db, NOW, NOW) == {"mail": 2}
    facets = "SELECT f.name FROM facet_messages e JOIN facets f ON f.seq = e.facet WHERE e.message = ? ORDER BY 1"
    assert [row[0] for row in past.db.execute(facets, (other,))] == ["dest:hook", "rule:All"]


def test_a_change_before_the_index_has_it_counts_once(past: Past) -> None:
    message = past.message(NOW, state="held")
    with changing(past.db, message):
        past.db.execute("UPDATE messages SET state = 'routed' WHERE seq = ?", (message,))
        past.delivery(message)
    past.index()
    assert [(each.destination, each.count) for each in statistics.flows(past.db, NOW, NOW)] == [("hook", 1)]


def test_an_error_between_leaves_nothing(past: Past) -> None:
    message = past.message(NOW, state="held")
    past.index()
    before = statistics.flows(past.db, NOW, NOW)
    past.db.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.Error), changing(past.db, message):
        past.db.execute("nonsense")
    past.db.execute("ROLLBACK")
    assert statistics.flows(past.db, NOW, NOW) == before

"""All that the overview shows of one time, at one moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

import msgspec

from postroom.store import destinations, statistics
from postroom.store.destinations import COUNTED_TO, Queue, Standing
from postroom.store.statistics import Flow, Latency, Results, Slot


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a time, and how the destinations stand now."""

    since: int
    until: int
    flows: list[Flow]
    arrivals: dict[str, int]
    slots: list[Slot]
    latencies: dict[str, Latency]
    results: dict[str, Results]
    dead: dict[str, int]
    """Deliveries made in that time, by destination."""
    standings: dict[str, tuple[Standing, Queue]]
    held: int
    """Messages that wait for a person; counted to COUNTED_TO and one more, as the next two."""
    unmatched: int
    given_up: int
    """Dead deliveries, whenever they were made."""
    empty: bool
    """No mail ever came, or none is kept."""


def look(db: sqlite3.Connection, since: int, until: int, names: Collection[str]) -> Overview:
    """`names`: the configured destinations. Times in milliseconds since 1970."""
    flows = statistics.flows(db, since, until)
    ends = {each.destination for each in flows}
    # As the partial indexes have it.
    held, unmatched = (f"messages WHERE state = '{state}' AND state <> 'routed'" for state in ("held", "unmatched"))
    return Overview(
        since=since,
        until=until,
        flows=flows,
        arrivals=statistics.arrivals(db, since, until),
        slots=statistics.slots(db, since, until),
        latencies=statistics.latencies(db, since, until),
        results=statistics.results(db, since, until),
        dead=destinations.dead_since(db, ends.union(names), since),
        standings=destinations.look(db, names),
        held=_count(db, held),
        unmatched=_count(db, unmatched),
        given_up=_count(db, "deliveries WHERE state = 'dead'"),
        empty=db.execute("SELECT NOT EXISTS (SELECT 1 FROM messages)").fetchone()[0] == 1,
    )


def _count(db: sqlite3.Connection, rows: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {COUNTED_TO + 1})").fetchone()[0])

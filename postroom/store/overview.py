"""All that the overview shows of one time, at one moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

import msgspec

from postroom.store import destinations, statistics
from postroom.store.destinations import Queue, Standing
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


def look(db: sqlite3.Connection, since: int, until: int, names: Collection[str]) -> Overview:
    """`names`: the configured destinations. Times in milliseconds since 1970."""
    flows = statistics.flows(db, since, until)
    ends = {each.destination for each in flows}
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
    )

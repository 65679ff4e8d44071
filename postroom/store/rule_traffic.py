"""How many messages each rule matched lately, and when the last one: by the facets of the search."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from postroom.store.search_index import indexed_upto
from postroom.store.searching import first_seq_at

COUNTED_TO = 10_000
"""A count of more than that is told as one more."""
_MANY_RULES = 40
_FEW = 1_000


@dataclass(frozen=True, slots=True)
class Matched:
    """What a rule matched. `last` is when the last one was received: milliseconds since 1970, None for never."""

    count: int
    last: int | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of several rules."""

    by_rule: dict[str, Matched]
    cap: int
    """Counts go so far; one more means more than that."""
    missing: int
    """So many of the newest messages are not counted yet."""


def traffic(db: sqlite3.Connection, rules: Iterable[str], since: int) -> Traffic:
    """What rules matched, by their names; counted are messages received since a time (milliseconds since 1970).

    The cost is bounded whatever the number of messages: where there are many rules, each is counted less far.
    """
    names = list(rules)
    cap = COUNTED_TO if len(names) <= _MANY_RULES else _FEW
    first = first_seq_at(db, since)
    found = {name: _of_rule(db, name, first, cap) for name in names}
    newest = db.execute("SELECT COALESCE(MAX(seq), 0) FROM messages").fetchone()[0]
    return Traffic(found, cap, max(0, newest - indexed_upto(db)))


def _of_rule(db: sqlite3.Connection, name: str, first: int, cap: int) -> Matched:
    facet = db.execute("SELECT seq FROM facets WHERE name = ?", (f"rule:{name}",)).fetchone()
    if facet is None:
        return Matched(0, None)
    last = db.execute(
        "SELECT received_at FROM messages WHERE seq = (SELECT MAX(message) FROM facet_messages WHERE facet = ?)",
        (facet[0],),
    ).fetchone()
    count = db.execute(
        "SELECT COUNT(*) FROM (SELECT 1 FROM facet_messages WHERE facet = ? AND message >= ? LIMIT ?)",
        (facet[0], first, cap + 1),
    ).fetchone()[0]
    return Matched(count, last[0] if last else None)

"""What people did, from the events on record: logins, decisions about mail, changes of rules, destinations and people.

Not in it are documents that came twice, and what Postroom did by itself. Partial indexes hold just these events, so
that no page of the log costs more than its rows. Every function works inside the transaction of its caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

_BY_PEOPLE = "what <> 'absorbed' AND who <> 'postroom'"
"""As in the indexes: only where it stands in a query word for word does SQLite see that they serve."""
OURSELVES = "postroom"
"""Who it is where no person did it."""
SOMEBODY = "somebody"
"""Who it is that fails to log in."""
RESERVED = (OURSELVES, SOMEBODY)
"""No person may have one of these names."""
_MOST_NAMES = 200


class Entry(msgspec.Struct, frozen=True):
    """One line of the log. `message` and `delivery` are ids."""

    seq: int
    at: int
    who: str
    what: str
    detail: str | None
    message: str | None
    delivery: str | None


def note(db: sqlite3.Connection, who: str, what: str, detail: str | None, now: int) -> int:
    """Puts something on record that is about no message; its seq."""
    return int(
        db.execute("INSERT INTO events (at, who, what, detail) VALUES (?, ?, ?, ?)", (now, who, what, detail)).lastrowid
        or 0
    )


def amend(db: sqlite3.Connection, seq: int, detail: str) -> None:
    """Tells more of an event that is on record."""
    db.execute("UPDATE events SET detail = ? WHERE seq = ?", (detail, seq))


def entries(
    db: sqlite3.Connection, *, who: str = "", what: str = "", before: int | None = None, limit: int = 50
) -> list[Entry]:
    """The newest, of one person or kind if asked; only those before the one of a seq."""
    conditions, values = [_BY_PEOPLE], []
    for column, value in (("who", who), ("what", what)):
        if value:
            conditions.append(f"{column} = ?")
            values.append(value)
    index = {(False, False): "of_people", (True, False): "by_who", (False, True): "by_what", (True, True): "by_both"}
    rows = db.execute(
        "SELECT e.seq, e.at, e.who, e.what, e.detail, m.id, d.id FROM"
        f" (SELECT * FROM events INDEXED BY events_{index[bool(who), bool(what)]} WHERE {' AND '.join(conditions)}"
        " AND seq < ? ORDER BY seq DESC LIMIT ?) e"
        " LEFT JOIN messages m ON m.seq = e.message LEFT JOIN deliveries d ON d.seq = e.delivery ORDER BY e.seq DESC",
        (*values, 2**62 if before is None else before, limit),
    )
    return [Entry(*row) for row in rows]


def kinds(db: sqlite3.Connection) -> Sequence[str]:
    """The words that `what` takes in the log."""
    return _distinct(db, "what")


def actors(db: sqlite3.Connection) -> Sequence[str]:
    """The names that `who` takes in the log: the first two hundred."""
    return _distinct(db, "who")


def _distinct(db: sqlite3.Connection, column: str) -> Sequence[str]:
    """One look into the index for each value, however many rows have it."""
    source = f"FROM events INDEXED BY events_by_{column} WHERE {_BY_PEOPLE}"
    rows = db.execute(
        f"WITH RECURSIVE found(value) AS (SELECT * FROM (SELECT {column} {source} ORDER BY {column} LIMIT 1)"
        f" UNION ALL SELECT (SELECT {column} {source} AND {column} > found.value ORDER BY {column} LIMIT 1)"
        " FROM found WHERE found.value IS NOT NULL)"
        f" SELECT value FROM found WHERE value IS NOT NULL LIMIT {_MOST_NAMES}"
    )
    return [row[0] for row in rows]

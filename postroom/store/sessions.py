"""Who is logged in on the dashboard. Of the id in a browser's cookie, the store holds the SHA-256 alone.

Every function works inside the transaction of its caller. Times are milliseconds since 1970.
"""

from __future__ import annotations

import sqlite3

import msgspec

LIFETIME_MS = 30 * 86_400_000
"""A session ends so long after its login, however it is used."""
_MOST = 50
"""So many of one person: a program that logs in at each call fills no table."""
_COLUMNS = "seq, name, mark, created_at, seen_at, address, agent"


class Session(msgspec.Struct, frozen=True):
    """One browser of one person. `agent`: its kind, shortened; `mark`: that of the password at its login."""

    seq: int
    name: str
    mark: str
    created_at: int
    seen_at: int
    address: str
    agent: str


def start(db: sqlite3.Connection, hash: bytes, name: str, mark: str, address: str, agent: str, now: int) -> None:
    """A person has logged in. Sessions that are over are forgotten on this occasion."""
    db.execute("DELETE FROM sessions WHERE created_at <= ?", (now - LIFETIME_MS,))
    db.execute(
        "DELETE FROM sessions WHERE seq IN"
        " (SELECT seq FROM sessions WHERE name = ? ORDER BY seq DESC LIMIT -1 OFFSET ?)",
        (name, _MOST - 1),
    )
    db.execute(
        "INSERT INTO sessions (hash, name, mark, created_at, seen_at, address, agent) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (hash, name, mark, now, now, address, agent),
    )


def find(db: sqlite3.Connection, hash: bytes, now: int) -> Session | None:
    """The living session of a cookie."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM sessions WHERE hash = ? AND created_at > ?", (hash, now - LIFETIME_MS)
    ).fetchone()
    return None if row is None else Session(*row)


def of(db: sqlite3.Connection, name: str, now: int) -> list[Session]:
    """The living sessions of a person, newest first."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM sessions WHERE name = ? AND created_at > ? ORDER BY seq DESC",
        (name, now - LIFETIME_MS),
    )
    return [Session(*row) for row in rows]


def seen(db: sqlite3.Connection, seq: int, address: str, now: int) -> None:
    """A session was used."""
    db.execute("UPDATE sessions SET seen_at = ?, address = ? WHERE seq = ?", (now, address, seq))


def end(db: sqlite3.Connection, name: str, *, seq: int | None = None, but: int | None = None) -> int:
    """Ends sessions of a person: one, all but one, or all. How many there were."""
    if seq is not None:
        return db.execute("DELETE FROM sessions WHERE name = ? AND seq = ?", (name, seq)).rowcount
    return db.execute("DELETE FROM sessions WHERE name = ? AND seq <> ?", (name, -1 if but is None else but)).rowcount

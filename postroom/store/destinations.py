"""What is on record about destinations beside their deliveries: paused by whom, and since when a circuit is open.

Every function works inside the transaction of its caller. Times are milliseconds since 1970.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

import msgspec

from postroom.store.searching import first_seq_at

_DUE = "('pending', 'retrying')"
OURSELVES = "postroom"
"""Who it was where no person did it."""
_COLUMNS = "name, paused_at, paused_by, pause_reason, opened_at, probe_at, error"


class Standing(msgspec.Struct, frozen=True):
    """How one destination stands. `paused_at` None: not paused from here; `opened_at` None: its circuit is closed."""

    paused_at: int | None = None
    paused_by: str | None = None
    pause_reason: str | None = None
    opened_at: int | None = None
    probe_at: int = 0
    """When an open circuit lets the next delivery try."""
    error: str | None = None
    """Of the failure that opened the circuit, or of the last probe."""


def standings(db: sqlite3.Connection) -> dict[str, Standing]:
    """By name; a destination that nothing is known of is not in it."""
    return {row[0]: Standing(*row[1:]) for row in db.execute(f"SELECT {_COLUMNS} FROM destinations").fetchall()}


def pause(db: sqlite3.Connection, name: str, who: str, reason: str, now: int) -> bool:
    """Its deliveries wait until `resume`. False where it is paused already."""
    done = db.execute(
        "INSERT INTO destinations (name, paused_at, paused_by, pause_reason) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at, paused_by = excluded.paused_by,"
        " pause_reason = excluded.pause_reason WHERE paused_at IS NULL",
        (name, now, who, reason or None),
    ).rowcount
    if done:
        _note(db, "pause", name, who, reason, now)
    return bool(done)


def resume(db: sqlite3.Connection, name: str, who: str, now: int) -> bool:
    """Ends a pause, and lets an open circuit be probed at once. False where there is neither."""
    done = db.execute(
        "UPDATE destinations SET paused_at = NULL, paused_by = NULL, pause_reason = NULL, probe_at = 0"
        " WHERE name = ? AND (paused_at IS NOT NULL OR opened_at IS NOT NULL)",
        (name,),
    ).rowcount
    if done:
        _note(db, "resume", name, who, "", now)
        db.execute(
            f"UPDATE deliveries SET next_at = ? WHERE destination = ? AND state IN {_DUE} AND next_at > ?",
            (now, name, now),
        )
    return bool(done)


def open_circuit(db: sqlite3.Connection, name: str, opened_at: int, probe_at: int, error: str) -> None:
    """Records that a circuit is open until its next probe. The first time it is an event too."""
    known = db.execute("SELECT opened_at FROM destinations WHERE name = ?", (name,)).fetchone()
    db.execute(
        "INSERT INTO destinations (name, opened_at, probe_at, error) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET opened_at = excluded.opened_at, probe_at = excluded.probe_at,"
        " error = excluded.error",
        (name, opened_at, probe_at, error),
    )
    if known is None or known[0] is None:
        _note(db, "circuit opened", name, OURSELVES, error, opened_at)


def close_circuit(db: sqlite3.Connection, name: str, now: int) -> None:
    """The destination works again: what waits for it is due now, whatever its schedule said."""
    done = db.execute(
        "UPDATE destinations SET opened_at = NULL, probe_at = 0, error = NULL WHERE name = ? AND opened_at IS NOT NULL",
        (name,),
    ).rowcount
    if done:
        _note(db, "circuit closed", name, OURSELVES, "", now)
        db.execute(
            f"UPDATE deliveries SET next_at = ? WHERE destination = ? AND state IN {_DUE} AND next_at > ?",
            (now, name, now),
        )


def _note(db: sqlite3.Connection, what: str, name: str, who: str, detail: str, now: int) -> None:
    db.execute(
        "INSERT INTO events (at, who, what, detail) VALUES (?, ?, ?, ?)",
        (now, who, what, f"{name}: {detail}" if detail else name),
    )


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """What a destination is owed, and what went wrong lately."""

    waiting: int
    """Deliveries not yet final; COUNTED_TO and one more stands for any number beyond."""
    oldest: int | None
    """When the oldest of them was made; of more than COUNTED_TO it may be one of the oldest."""
    dead: int
    errors: tuple[tuple[str, str, int], ...]
    """Of the latest that wait for another attempt or are dead: the message's id, the reason, when it was tried."""


COUNTED_TO = 1_000
_ERRORS = 5
_LOOKED_AT = 300


def look(db: sqlite3.Connection, names: Collection[str]) -> dict[str, tuple[Standing, Queue]]:
    """How each of these destinations stands, and what it is owed."""
    known, none = standings(db), Standing()
    return {name: (known.get(name, none), queue(db, name)) for name in names}


def dead_since(db: sqlite3.Connection, names: Collection[str], since: int) -> dict[str, int]:
    """How many deliveries made since then are dead, by destination, counted like `queue`; only where there are any."""
    first = first_seq_at(db, since, "deliveries", "created_at")
    found = {}
    for name in names:
        dead = "SELECT 1 FROM deliveries WHERE destination = ? AND state = 'dead' AND seq >= ?"
        count = db.execute(f"SELECT count(*) FROM ({dead} LIMIT {COUNTED_TO + 1})", (name, first)).fetchone()[0]
        if count:
            found[name] = count
    return found


def dead(db: sqlite3.Connection, name: str, most: int) -> list[tuple[int, str]]:
    """Seq and id of the oldest dead deliveries of one destination."""
    rows = db.execute(
        "SELECT seq, id FROM deliveries WHERE destination = ? AND state = 'dead' ORDER BY seq LIMIT ?", (name, most)
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def checked(db: sqlite3.Connection, name: str, who: str, well: bool, now: int) -> None:
    """Records that a person asked a destination of itself."""
    _note(db, "check", name, who, "well" if well else "not well", now)


def queue(db: sqlite3.Connection, name: str) -> Queue:
    """What one destination is owed. Partial indexes serve it: what was delivered is not looked at."""
    open_ = "destination = ? AND state IN ('pending', 'sending', 'retrying')"
    waiting = f"SELECT 1 FROM deliveries WHERE {open_} LIMIT {COUNTED_TO + 1}"
    dead = f"SELECT 1 FROM deliveries WHERE destination = ? AND state = 'dead' LIMIT {COUNTED_TO + 1}"
    counts = db.execute(f"SELECT (SELECT count(*) FROM ({waiting})), (SELECT count(*) FROM ({dead}))", (name, name))
    total, gone = counts.fetchone()
    oldest = None
    if 0 < total <= COUNTED_TO:
        # By number, which the index has: they grow with time.
        first = f"SELECT MIN(seq) FROM deliveries WHERE {open_}"
        oldest = db.execute(f"SELECT created_at FROM deliveries WHERE seq = ({first})", (name,)).fetchone()[0]
    elif total:
        # Of so many the oldest is among those due first, or else among those put off farthest.
        some = f"SELECT created_at FROM deliveries WHERE destination = ? AND state IN {_DUE} ORDER BY next_at"
        ends = " UNION ALL ".join(f"SELECT * FROM ({some} {way} LIMIT {_LOOKED_AT})" for way in ("ASC", "DESC"))
        oldest = db.execute(f"SELECT MIN(created_at) FROM ({ends})", (name, name)).fetchone()[0]
    dead = "SELECT seq, message, reason FROM deliveries WHERE destination = ? AND state = 'dead' ORDER BY seq DESC"
    # What waits for another attempt is due later than what was not tried yet: some of those due last are looked at,
    # for the index does not know which is which.
    due = (
        f"SELECT seq, message, reason, state FROM deliveries WHERE destination = ? AND state IN {_DUE}"
        f" ORDER BY next_at DESC LIMIT {_LOOKED_AT}"
    )
    retrying = f"SELECT seq, message, reason FROM ({due}) WHERE state = 'retrying' ORDER BY seq DESC"
    failing = " UNION ALL ".join(f"SELECT * FROM ({part} LIMIT {_ERRORS})" for part in (dead, retrying))
    rows = db.execute(
        "SELECT m.id, f.reason, (SELECT MAX(started_at) FROM attempts a WHERE a.delivery = f.seq)"
        f" FROM ({failing}) f JOIN messages m ON m.seq = f.message WHERE f.reason IS NOT NULL"
        f" ORDER BY 3 DESC LIMIT {_ERRORS}",
        (name, name),
    ).fetchall()
    errors = tuple((row[0], row[1], row[2] or 0) for row in rows)
    return Queue(waiting=total, oldest=oldest, dead=gone, errors=errors)

"""Every rule set that was ever active, by the hash of its content."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from postroom.store.content import pack_files, unpack_files

_ACTIVE = "active_rule_set"


FOLDER = "rules folder"
"""Who makes a rule set active that was found on the disk."""


@dataclass(frozen=True, slots=True)
class Activation:
    """A rule set became the active one. `seq` counts activations: one set may have several."""

    seq: int
    rule_set: int
    at: int
    who: str


def publish(db: sqlite3.Connection, content_hash: str, files: Mapping[str, str], now: int, who: str = FOLDER) -> int:
    """Keeps a rule set and makes it the active one; its number in the store. A change of it is an event on record."""
    db.execute(
        "INSERT INTO rule_sets (hash, files, created_at) VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING",
        (content_hash, pack_files(dict(files)), now),
    )
    seq: int = db.execute("SELECT seq FROM rule_sets WHERE hash = ?", (content_hash,)).fetchone()[0]
    if seq != active(db):
        db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (_ACTIVE, str(seq)))
        db.execute(
            "INSERT INTO events (at, who, what, detail) VALUES (?, ?, 'rules', ?)",
            (now, who, f"rule set {seq} is active: {counted(files)}"),
        )
        db.execute("INSERT INTO rule_activations (rule_set, at, who) VALUES (?, ?, ?)", (seq, now, who))
    return seq


def counted(files: Mapping[str, str]) -> str:
    """`1 file`, `3 files`."""
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def active(db: sqlite3.Connection) -> int | None:
    """The number of the active rule set; None before the first was published."""
    row = db.execute("SELECT value FROM settings WHERE name = ?", (_ACTIVE,)).fetchone()
    return None if row is None else int(row[0])


def active_hash(db: sqlite3.Connection) -> str | None:
    """The hash of the active rule set; None before the first was published."""
    row = db.execute("SELECT hash FROM rule_sets WHERE seq = ?", (active(db),)).fetchone()
    return None if row is None else str(row[0])


def files_of(db: sqlite3.Connection, seq: int) -> dict[str, str]:
    """The files of a rule set. Raises KeyError where there is none of that number."""
    row = db.execute("SELECT files FROM rule_sets WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise KeyError(seq)
    return unpack_files(row[0])


def activations(db: sqlite3.Connection, before: int | None = None, limit: int = 20) -> list[Activation]:
    """The newest activations, only those before the one of a seq."""
    rows = db.execute(
        "SELECT seq, rule_set, at, who FROM rule_activations WHERE seq < ? ORDER BY seq DESC LIMIT ?",
        (2**62 if before is None else before, limit),
    )
    return [Activation(*row) for row in rows]


def activations_after(db: sqlite3.Connection, seq: int, limit: int = 1) -> list[Activation]:
    """The next activations after one, oldest first."""
    rows = db.execute(
        "SELECT seq, rule_set, at, who FROM rule_activations WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
    )
    return [Activation(*row) for row in rows]

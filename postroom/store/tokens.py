"""Keys by which programs use the API. Of each key the store holds its SHA-256 alone.

Every function works inside the transaction of its caller. Times are milliseconds since 1970.
"""

from __future__ import annotations

import sqlite3

import msgspec

from postroom.store import audit

_COLUMNS = "seq, name, role, created_by, created_at, expires_at, used_at"


class Token(msgspec.Struct, frozen=True):
    """What is known of a key. `expires_at` None: it holds until it is revoked; `used_at` None: it was never used."""

    seq: int
    name: str
    role: str
    created_by: str
    created_at: int
    expires_at: int | None
    used_at: int | None


class NameTaken(ValueError):
    """Another key has this name."""


def add(db: sqlite3.Connection, hash: bytes, name: str, role: str, expires_at: int | None, who: str, now: int) -> None:
    """Keeps a new key by its SHA-256. Raises NameTaken."""
    if db.execute("SELECT 1 FROM tokens WHERE name = ?", (name,)).fetchone():
        raise NameTaken(f"There is a token named {name} already.")
    db.execute(
        "INSERT INTO tokens (hash, name, role, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        (hash, name, role, who, now, expires_at),
    )
    audit.note(db, who, "add token", f"{name}: {role}", now)


def revoke(db: sqlite3.Connection, name: str, who: str, now: int) -> bool:
    """Ends a key. False where there is none of that name."""
    done = db.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount
    if done:
        audit.note(db, who, "revoke token", name, now)
    return bool(done)


def tokens(db: sqlite3.Connection) -> list[Token]:
    """All keys by name."""
    return [Token(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM tokens ORDER BY name COLLATE NOCASE")]


def find(db: sqlite3.Connection, hash: bytes) -> Token | None:
    """The key of that SHA-256, expired or not."""
    row = db.execute(f"SELECT {_COLUMNS} FROM tokens WHERE hash = ?", (hash,)).fetchone()
    return None if row is None else Token(*row)


def used(db: sqlite3.Connection, seq: int, now: int) -> None:
    """A key was used."""
    db.execute("UPDATE tokens SET used_at = ? WHERE seq = ?", (now, seq))

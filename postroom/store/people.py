"""The dashboard's people, where config.yaml names none."""

from __future__ import annotations

import sqlite3


def users(db: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Password hash and role of each, by name."""
    rows = db.execute("SELECT name, password_hash, role FROM users").fetchall()
    return {row[0]: (row[1], row[2]) for row in rows}


def add(db: sqlite3.Connection, name: str, password_hash: str, role: str, now: int) -> None:
    """Adds a person, or gives one a new password and role."""
    db.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?)", (name, password_hash, role, now))

"""The dashboard's people, where config.yaml names none."""

from __future__ import annotations

import os
import secrets
import sqlite3
from pathlib import Path


def users(db: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Password hash and role of each, by name."""
    rows = db.execute("SELECT name, password_hash, role FROM users").fetchall()
    return {row[0]: (row[1], row[2]) for row in rows}


def add(db: sqlite3.Connection, name: str, password_hash: str, role: str, now: int) -> None:
    """Adds a person, or gives one a new password and role."""
    db.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?)", (name, password_hash, role, now))


def session_key(data_dir: Path) -> bytes:
    """The key that signs sessions: made once, readable by its owner only."""
    path = data_dir / "session.key"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        key = secrets.token_bytes(32)
        # Written beside and linked into place: of two processes that start at once, both use the same key.
        draft = data_dir / f"session.key.{os.getpid()}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        draft.unlink()
        return path.read_bytes()

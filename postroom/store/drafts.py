"""Drafts of rule files: each person's edits, until they are made active or thrown away."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """One file as a person wants it."""

    path: str
    """Below the rules folder."""
    text: str | None
    """None takes the file away."""
    base: str | None
    """What stood on the disk when the edit began; None where there was no such file."""
    at: int
    """When it was last saved."""


@dataclass(frozen=True, slots=True)
class Author:
    """Somebody with a draft."""

    who: str
    paths: tuple[str, ...]
    at: int
    """When they last saved."""


def edits(db: sqlite3.Connection, who: str) -> list[Edit]:
    """The draft of a person, by path."""
    rows = db.execute("SELECT path, text, base, at FROM rule_drafts WHERE who = ? ORDER BY path", (who,))
    return [Edit(*row) for row in rows]


def keep(db: sqlite3.Connection, who: str, path: str, text: str | None, base: str | None, now: int) -> None:
    """Saves an edit in place of the one of the same file."""
    db.execute(
        "INSERT OR REPLACE INTO rule_drafts (who, path, text, base, at) VALUES (?, ?, ?, ?, ?)",
        (who, path, text, base, now),
    )


def forget(db: sqlite3.Connection, who: str, path: str | None = None) -> int:
    """Throws an edit away, or a person's whole draft. Returns how many edits there were."""
    if path is None:
        return db.execute("DELETE FROM rule_drafts WHERE who = ?", (who,)).rowcount
    return db.execute("DELETE FROM rule_drafts WHERE who = ? AND path = ?", (who, path)).rowcount


def authors(db: sqlite3.Connection) -> list[Author]:
    """Everybody with a draft."""
    found: dict[str, tuple[list[str], int]] = {}
    for who, path, at in db.execute("SELECT who, path, at FROM rule_drafts ORDER BY who, path"):
        paths, latest = found.get(who, ([], 0))
        found[who] = ([*paths, path], max(latest, at))
    return [Author(who, tuple(paths), at) for who, (paths, at) in found.items()]

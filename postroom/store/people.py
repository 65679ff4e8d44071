"""The dashboard's people, where config.yaml names none.

Every function works inside the transaction of its caller. Times are milliseconds since 1970. What cannot be done raises
Refused with a sentence for people.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping

import msgspec

from postroom.store import audit, sessions

NAME = re.compile(r"\w[\w.@+-]{0,63}", re.ASCII)
"""What a person may be called. Letters of other scripts look like these: two people would look like one."""
EDITOR = "editor"


class Refused(ValueError):
    """Why something cannot be done."""


class Person(msgspec.Struct, frozen=True):
    """One person of the dashboard. `seen_at` None: in no session that is still on record."""

    name: str
    role: str
    created_at: int
    """0 for those whom config.yaml names."""
    seen_at: int | None
    sessions: int


def users(db: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Password hash and role of each, by name."""
    rows = db.execute("SELECT name, password_hash, role FROM users").fetchall()
    return {row[0]: (row[1], row[2]) for row in rows}


def people(db: sqlite3.Connection, now: int) -> list[Person]:
    """Everybody by name, with their living sessions."""
    rows = db.execute(
        "SELECT u.name, u.role, u.created_at, MAX(s.seen_at), COUNT(s.seq) FROM users u"
        " LEFT JOIN sessions s ON s.name = u.name AND s.created_at > ?"
        " GROUP BY u.name ORDER BY u.name COLLATE NOCASE",
        (now - sessions.LIFETIME_MS,),
    )
    return [Person(*row) for row in rows]


def everybody(db: sqlite3.Connection, named: Mapping[str, str] | None, now: int) -> list[Person]:
    """The same; `named`: those whom config.yaml names with their roles, in place of the store's."""
    if named is None:
        return people(db, now)
    found = []
    for name in sorted(named, key=str.lower):
        living = sessions.of(db, name, now)
        found.append(Person(name, named[name], 0, max((each.seen_at for each in living), default=None), len(living)))
    return found


def add(db: sqlite3.Connection, name: str, password_hash: str, role: str, now: int) -> None:
    """Adds a person, or gives one a new password and role. For stores set up: not put on record."""
    db.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?)", (name, password_hash, role, now))


def create(db: sqlite3.Connection, name: str, password_hash: str, role: str, who: str, now: int) -> None:
    """Adds a person. Raises Refused where the name is taken or is none."""
    if not NAME.fullmatch(name) or name in audit.RESERVED:
        raise Refused(f"“{name[:64]}” cannot be a name: use 1 to 64 letters, digits and . _ @ + -")
    if name in users(db):
        raise Refused(f"There is somebody named {name} already.")
    add(db, name, password_hash, role, now)
    audit.note(db, who, "add user", f"{name}: {role}", now)


def set_role(db: sqlite3.Connection, name: str, role: str, who: str, now: int) -> None:
    """Gives a person another role, from the next request on. Raises Refused, for the last editor too."""
    before = _role_of(db, name)
    if before == role:
        raise Refused(f"{name} is {role} already.")
    if name == who:
        raise Refused("Nobody changes the role of their own.")
    _keep_an_editor(db, name, before)
    db.execute("UPDATE users SET role = ? WHERE name = ?", (role, name))
    audit.note(db, who, "set role", f"{name}: {before} to {role}", now)


def set_password(db: sqlite3.Connection, name: str, password_hash: str, who: str, now: int) -> None:
    """Gives a person another password and ends all of their sessions. Raises Refused."""
    _role_of(db, name)
    db.execute("UPDATE users SET password_hash = ? WHERE name = ?", (password_hash, name))
    sessions.end(db, name)
    audit.note(db, who, "set password", name, now)


def remove(db: sqlite3.Connection, name: str, who: str, now: int) -> None:
    """Removes a person and ends their sessions. Raises Refused, for the last editor too."""
    role = _role_of(db, name)
    if name == who:
        raise Refused("Nobody removes themselves: another editor can.")
    _keep_an_editor(db, name, role)
    db.execute("DELETE FROM users WHERE name = ?", (name,))
    sessions.end(db, name)
    audit.note(db, who, "remove user", f"{name}: {role}", now)


def _role_of(db: sqlite3.Connection, name: str) -> str:
    row = db.execute("SELECT role FROM users WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise Refused(f"There is nobody named {name[:64]}.")
    return str(row[0])


def _keep_an_editor(db: sqlite3.Connection, name: str, role: str) -> None:
    if role != EDITOR:
        return
    others = db.execute("SELECT 1 FROM users WHERE role = ? AND name <> ? LIMIT 1", (EDITOR, name)).fetchone()
    if others is None:
        raise Refused(f"{name} is the last editor: without one, nobody could change rules and people.")

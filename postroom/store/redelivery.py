"""Deliveries as people act on them: what one is, made again under a new key, and what was asked for only once.

Every function works inside the transaction of its caller.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

import msgspec

from postroom.ids import new_id
from postroom.store.states import DeliveryState

_REMEMBERED_MS = 86_400_000
_AT_ONCE = 500


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery, or a message as a whole, that somebody may act on. Texts are strangers': escape them."""

    seq: int
    """Of the delivery, or of the message."""
    id: str
    message: str
    """The message's id."""
    state: str
    recipient: str
    subject: str | None
    rule: str = ""
    action: int = 0
    destination: str = ""
    """Empty: a message."""
    kept: bool = True
    """False: the text of the mail was pruned."""


_COLUMNS = (
    "m.id AS message, m.recipient, substr(m.subject, 1, 200) AS subject,"
    " EXISTS (SELECT 1 FROM contents c WHERE c.message = m.seq) AS kept"
)


def deliveries(db: sqlite3.Connection, ids: Sequence[str], *, of_messages: bool = False) -> list[Target]:
    """Deliveries by their ids, or those of messages by the messages' ids; oldest first."""
    where = "m.id" if of_messages else "d.id"
    return _targets(
        db,
        f"SELECT d.seq, d.id, d.state, d.rule, d.action, d.destination, {_COLUMNS} FROM deliveries d"
        f" JOIN messages m ON m.seq = d.message WHERE {where} IN (%s)",
        ids,
    )


def messages(db: sqlite3.Connection, ids: Sequence[str]) -> list[Target]:
    """Messages by their ids, oldest first."""
    return _targets(db, f"SELECT m.seq, m.id, m.state, {_COLUMNS} FROM messages m WHERE m.id IN (%s)", ids)


def _targets(db: sqlite3.Connection, sql: str, ids: Sequence[str]) -> list[Target]:
    found = []
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        for row in db.execute(sql % ",".join("?" * len(part)), part):
            found.append(Target(**{**dict(row), "kept": bool(row["kept"])}))
    return sorted(found, key=lambda each: each.seq)


def replay(db: sqlite3.Connection, delivery_id: str, who: str, now: int) -> str | None:
    """Owes once more what was delivered: the same frozen content in a new delivery, whose id is its key. That id.

    It goes where the conversation stands today: a comment on the item that is there, and where there is none a new one.
    None where there is no such delivery, it is not delivered, or the text of the mail is no longer kept.
    """
    row = db.execute(
        "SELECT d.seq, d.message, d.destination FROM deliveries d JOIN contents c ON c.message = d.message"
        " WHERE d.id = ? AND d.state = ?",
        (delivery_id, DeliveryState.DELIVERED),
    ).fetchone()
    if row is None:
        return None
    id = new_id()
    seq = db.execute(
        "INSERT INTO deliveries (id, message, conversation, rule, action, destination, extracted, next_at, created_at,"
        " own_item, state, content, rule_set)"
        " SELECT ?, d.message, d.conversation, d.rule, d.action, d.destination, d.extracted, ?, ?,"
        " d.own_item, 'pending', d.content, COALESCE(d.rule_set, m.rule_set)"
        " FROM deliveries d JOIN messages m ON m.seq = d.message WHERE d.seq = ?",
        (id, now, now, row[0]),
    ).lastrowid
    db.execute(
        "INSERT INTO events (at, who, what, message, delivery, detail) VALUES (?, ?, 'replay', ?, ?, ?)",
        (now, who, row[1], seq, f"{row[2]}: what {delivery_id} delivered, again as {id}"),
    )
    return id


def answered(db: sqlite3.Connection, token: str) -> str | None:
    """What was answered to the same request before, within a day; None where it is new."""
    row = db.execute("SELECT answer FROM asked WHERE token = ?", (_digest(token),)).fetchone()
    return None if row is None else str(row[0])


def remember_answer(db: sqlite3.Connection, token: str, answer: str, now: int) -> None:
    """Makes `answered` tell this."""
    db.execute("DELETE FROM asked WHERE at < ?", (now - _REMEMBERED_MS,))
    db.execute("INSERT OR REPLACE INTO asked VALUES (?, ?, ?)", (_digest(token), now, answer))


def _digest(token: str) -> bytes:
    return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).digest()

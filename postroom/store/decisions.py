"""What people decide about messages. Every function works inside the transaction of its caller."""

from __future__ import annotations

import sqlite3

from postroom.message import Message
from postroom.store import routing
from postroom.store.search_index import changing
from postroom.store.states import MessageState


def route(
    db: sqlite3.Connection,
    judged: routing.Judgement,
    message: Message,
    keys: tuple[bytes, bytes],
    rule_set: int,
    who: str,
    now: int,
    *,
    release: bool,
) -> list[str]:
    """Carries out a release or a re-route that was judged in this transaction, and records it. The new deliveries."""
    with changing(db, judged.seq):
        made = routing.carry_out(db, judged, message, keys, rule_set, now)
    told = [f"without {', '.join(judged.left_out)}"] if judged.left_out else []
    if not release:
        told.append(f"{judged.state} -> {judged.becomes}" if judged.becomes != judged.state else judged.becomes)
        told += [f"'{action.step.rule}' to {action.step.destination} as {id}" for id, action in made]
    db.execute(
        "INSERT INTO events (at, who, what, message, detail) VALUES (?, ?, ?, ?, ?)",
        (now, who, "release" if release else "re-route", judged.seq, "; ".join(told) or None),
    )
    return [id for id, _ in made]


def discard(db: sqlite3.Connection, id: str, who: str, now: int) -> bool:
    """Decides that nothing of a held or unmatched message is sent. False where it is neither (any more)."""
    row = db.execute(
        "SELECT seq FROM messages WHERE id = ? AND state IN (?, ?)", (id, MessageState.HELD, MessageState.UNMATCHED)
    ).fetchone()
    if row is None:
        return False
    with changing(db, row[0]):
        db.execute("UPDATE messages SET state = ?, reason = NULL WHERE seq = ?", (MessageState.DISCARDED, row[0]))
    db.execute("INSERT INTO events (at, who, what, message) VALUES (?, ?, 'discard', ?)", (now, who, row[0]))
    return True

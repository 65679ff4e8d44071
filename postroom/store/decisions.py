"""What people decide about messages that wait for them. Every function works inside the transaction of its caller."""

from __future__ import annotations

import sqlite3

from postroom.plan import Plan
from postroom.store.messages import insert_deliveries, state_of
from postroom.store.states import MessageState


def release(db: sqlite3.Connection, id: str, who: str, now: int, plan: Plan, rule_set: int, mail: bytes) -> bool:
    """Routes a held message by a plan made under the rule set of that number, and owes what it says.

    `mail`: see messages.insert_deliveries. False where there is no such message, or it is not held any more.
    """
    row = db.execute(
        "UPDATE messages SET state = ?, reason = NULL, rule_set = ?, matched = ? WHERE id = ? AND state = ?"
        " RETURNING seq, conversation",
        (state_of(plan), rule_set, "\n".join(plan.matched), id, MessageState.HELD),
    ).fetchone()
    if row is None:
        return False
    insert_deliveries(db, plan, mail, row[0], row[1], now)
    db.execute("INSERT INTO events (at, who, what, message) VALUES (?, ?, 'release', ?)", (now, who, row[0]))
    return True


def discard(db: sqlite3.Connection, id: str, who: str, now: int) -> bool:
    """Decides that nothing of a held or unmatched message is sent. False where it is neither (any more)."""
    row = db.execute(
        "UPDATE messages SET state = ?, reason = NULL WHERE id = ? AND state IN (?, ?) RETURNING seq",
        (MessageState.DISCARDED, id, MessageState.HELD, MessageState.UNMATCHED),
    ).fetchone()
    if row is None:
        return False
    db.execute("INSERT INTO events (at, who, what, message) VALUES (?, ?, 'discard', ?)", (now, who, row[0]))
    return True

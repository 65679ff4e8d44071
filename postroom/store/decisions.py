"""What people decide about messages that wait for them. Every function works inside the transaction of its caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection

from postroom.plan import Plan
from postroom.store import verdicts
from postroom.store.messages import ItemsOf, insert_deliveries
from postroom.store.states import MessageState


def release(
    db: sqlite3.Connection,
    id: str,
    who: str,
    now: int,
    plan_with: Callable[[ItemsOf, frozenset[str]], Plan],
    rule_set: int,
    keys: tuple[bytes, bytes],
    makers: Collection[str],
) -> bool:
    """Routes a held message under the rule set of that number, and owes what the plan says.

    `plan_with` makes the plan: given what tells the conversation's items, and the rules to leave out, which are those
    that held it. A person has looked: limits do not count. `keys`, `makers`: see messages.insert_deliveries.
    False where there is no such message, or it is not held any more.
    """
    row = db.execute(
        "SELECT seq, conversation, held_by FROM messages WHERE id = ? AND state = ?", (id, MessageState.HELD)
    ).fetchone()
    if row is None:
        return False
    seq, conversation, held_by = row
    plan = plan_with(lambda _: verdicts.items_of(db, conversation, makers), frozenset((held_by or "").splitlines()))
    state, reason = verdicts.state_of(plan, {})
    db.execute(
        "UPDATE messages SET state = ?, reason = ?, rule_set = ?, matched = ?, held_by = ? WHERE seq = ?",
        (state, reason, rule_set, "\n".join(plan.matched), verdicts.held_by(plan), seq),
    )
    if state is MessageState.ROUTED:
        insert_deliveries(db, plan, keys, seq, conversation, now, makers)
    detail = None if held_by is None else f"without {', '.join(held_by.splitlines())}"
    db.execute(
        "INSERT INTO events (at, who, what, message, detail) VALUES (?, ?, 'release', ?, ?)", (now, who, seq, detail)
    )
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

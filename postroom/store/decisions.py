"""What people decide about messages that wait for them. Every function works inside the transaction of its caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection

from postroom.message import Message
from postroom.plan import Plan
from postroom.store import conversations, verdicts
from postroom.store.messages import ItemsOf, insert_deliveries, plan_with_items
from postroom.store.states import MessageState


def release(
    db: sqlite3.Connection,
    message: Message,
    who: str,
    now: int,
    plan_with: Callable[[ItemsOf, frozenset[str]], Plan],
    rule_set: int,
    keys: tuple[bytes, bytes],
    makers: Collection[str],
) -> bool:
    """Routes a held message under the rule set of that number, and owes what the plan says.

    `plan_with` makes the plan: given what tells the conversation's items, and the rules to leave out, which are those
    that held it. Where another holds it now, the next release leaves out that one too. A person has looked: limits do
    not count. `keys`, `makers`: see messages.insert_deliveries.
    False where there is no such message, or it is not held any more.
    """
    row = db.execute(
        "SELECT seq, conversation, held_by, received_at FROM messages WHERE id = ? AND state = ?",
        (message.id, MessageState.HELD),
    ).fetchone()
    if row is None:
        return False
    seq, conversation, held_by, received_at = row
    left_out = (held_by or "").splitlines()
    # Rules behind the holding one were not asked when it came: one of them may tie it to an item that is there.
    alone = conversations.is_alone(db, seq)
    plan, saw_items = plan_with_items(
        db,
        lambda items: plan_with(items, frozenset(left_out)),
        None if alone else conversation,
        received_at,
        makers,
    )
    if alone and (found := verdicts.correlated(db, plan.correlations, received_at)) and found[0] != seq:
        conversation = found[0]
        conversations.move(db, seq, message, *found)
    verdicts.remember_free_correlations(db, plan.correlations, conversation, received_at)
    state, reason = verdicts.state_of(plan, {})
    holding = "\n".join(dict.fromkeys((*left_out, *(each.rule for each in plan.holds)))) or None
    db.execute(
        "UPDATE messages SET state = ?, reason = ?, rule_set = ?, matched = ?, held_by = ?, saw_items = ?"
        " WHERE seq = ?",
        (
            state,
            reason,
            rule_set,
            "\n".join(plan.matched),
            holding,
            saw_items if plan.asked_items else None,
            seq,
        ),
    )
    if state is MessageState.ROUTED:
        insert_deliveries(db, plan, keys, seq, conversation, now, makers)
    detail = f"without {', '.join(left_out)}" if left_out else None
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

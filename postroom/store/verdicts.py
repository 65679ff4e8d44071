"""What only the store can decide about a plan, inside the transaction that stores its message."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Sequence

from postroom.plan import Correlation, Limit, Plan
from postroom.store.states import MessageState


def correlated(db: sqlite3.Connection, correlations: Sequence[Correlation], now: int) -> tuple[int, str] | None:
    """The conversation that a correlation leads to, and by which evidence; None where none was used in its window."""
    for each in correlations:
        row = db.execute(
            "SELECT conversation FROM correlations WHERE key = ? AND at > ?",
            (_correlation_key(each), now - int(each.window * 1000)),
        ).fetchone()
        if row is not None:
            return row[0], f"the key '{each.key}' that rule '{each.rule}' correlates by"
    return None


def remember_correlations(
    db: sqlite3.Connection, correlations: Sequence[Correlation], conversation: int, now: int
) -> None:
    """Makes the keys lead to a conversation; their windows begin anew."""
    db.executemany(
        "INSERT INTO correlations VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
        " SET conversation = excluded.conversation, at = MAX(at, excluded.at)",
        [(_correlation_key(each), conversation, now) for each in correlations],
    )


def remember_free_correlations(
    db: sqlite3.Connection, correlations: Sequence[Correlation], conversation: int, now: int
) -> None:
    """The same for a mail that waited: keys that led to other conversations meanwhile stay with them."""
    free = [each for each in correlations if (correlated(db, [each], now) or (conversation,))[0] == conversation]
    remember_correlations(db, free, conversation, now)


def items_of(db: sqlite3.Connection, conversation: int | None, makers: Collection[str]) -> tuple[str, ...]:
    """The destinations where a conversation has an item, or is to have one: those whose delivery is not yet made.

    `makers` are the destinations that make items at all.
    """
    if conversation is None:
        return ()
    rows = db.execute(
        "SELECT destination FROM items WHERE conversation = ?1 UNION"
        " SELECT destination FROM deliveries WHERE conversation = ?1 AND state IN ('pending', 'sending', 'retrying')"
        " ORDER BY 1",
        (conversation,),
    )
    return tuple(row[0] for row in rows if row[0] in makers)


def exceeded(db: sqlite3.Connection, limits: Sequence[Limit], seq: int, now: int) -> dict[int, str]:
    """Which limits a message (its seq) is beyond, by position, with the reason. Within them, it counts for them."""
    beyond: dict[int, str] = {}
    for position, limit in enumerate(limits):
        key = _digest(limit.rule, limit.key)
        since = now - int(limit.window * 1000)
        db.execute("DELETE FROM limit_uses WHERE key = ? AND at <= ?", (key, since))
        (used,) = db.execute("SELECT COUNT(*) FROM limit_uses WHERE key = ?", (key,)).fetchone()
        if used >= limit.count:
            per = f" for '{limit.key}'" if limit.key else ""
            beyond[position] = f"rule '{limit.rule}': more than {limit.count} in {told_span(limit.window)}{per}"
        else:
            db.execute("INSERT OR IGNORE INTO limit_uses VALUES (?, ?, ?)", (key, now, seq))
    return beyond


def state_of(plan: Plan, beyond: dict[int, str]) -> tuple[MessageState, str | None]:
    """What a message becomes, and why it waits or is dropped. Hold is stronger than drop."""
    held = [_told(each.rule, each.reason) for each in plan.holds]
    dropped = [_told(each.rule, each.reason) for each in plan.drops]
    for position, reason in beyond.items():
        if plan.limits[position].over == "hold":
            held.append(reason)
        elif plan.limits[position].over == "drop":
            dropped.append(reason)
    if held:
        return MessageState.HELD, "; ".join(held)
    if dropped:
        return MessageState.DROPPED, "; ".join(dropped)
    return (MessageState.ROUTED if plan.steps else MessageState.UNMATCHED), None


def held_by(plan: Plan) -> str | None:
    """The rules that hold a message, a line each: what a release leaves out. Limits are none: it overrides them."""
    return "\n".join(dict.fromkeys(each.rule for each in plan.holds)) or None


def _told(rule: str, reason: str) -> str:
    return f"rule '{rule}': {reason}" if reason else f"rule '{rule}'"


def told_span(seconds: float) -> str:
    """A time as people say it: `3 hours`."""
    for unit, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {word}s" if count > 1 else f"a{'n' if word == 'hour' else ''} {word}"
    return f"{seconds:g} seconds"


def _correlation_key(each: Correlation) -> bytes:
    return _digest(f"group {each.group}", each.key)


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=12).digest()

"""What is owed for a message: its deliveries, made from a plan, inside the transaction of the caller."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from postroom.ids import new_id
from postroom.plan import Plan, Step
from postroom.store import verdicts
from postroom.store.states import DeliveryState

NOT_BEYOND: Mapping[int, str] = MappingProxyType({})
DELIVERY_COLUMNS = "id, message, conversation, rule, action, destination, extracted, next_at, created_at, own_item"
SAME_MAIL = "the same mail reached two recipients"
"""How the reason of a delivery begins that is suppressed because another message's does the same."""


class Keys(NamedTuple):
    """What is equal for mails of which each action is taken once: over all recipients, and for one."""

    mail: bytes
    delivery: bytes


def insert_deliveries(
    db: sqlite3.Connection,
    plan: Plan,
    keys: tuple[bytes, bytes],
    seq: int,
    conversation: int,
    now: int,
    makers: Collection[str],
    beyond: Mapping[int, str] = NOT_BEYOND,
) -> None:
    """Owes what a plan says to a message (its seq).

    One action of one rule acts once for one mail: where that was planned before, the delivery is suppressed, and says
    so. `keys` are the mail's and its delivery's; `makers` the destinations that make items;
    `beyond` the limits that are exceeded, with their reasons. An `update` that finds no item owes nothing to anybody:
    the message says so.
    """
    idle: list[str] = []
    for step in plan.steps:
        reason = next((beyond[position] for position in step.limits if position in beyond), None)
        if not step.update:
            _insert_delivery(db, step, Keys(*keys), seq, conversation, now, reason)
            continue
        there = [
            destination
            for destination in verdicts.items_of(db, conversation, makers)
            if step.destination in ("", destination)
        ]
        for destination in there:
            owed = msgspec.structs.replace(step, destination=destination)
            _insert_delivery(db, owed, Keys(*keys), seq, conversation, now, reason)
        if not there:
            idle.append(nothing_to_update(step))
    if idle:
        db.execute("UPDATE messages SET reason = ? WHERE seq = ?", ("; ".join(dict.fromkeys(idle)), seq))


def nothing_to_update(step: Step) -> str:
    """Why an `update` owes nothing."""
    where = f" at {step.destination}" if step.destination else ""
    return f"rule '{step.rule}': nothing to update, the conversation has no item{where}"


def _insert_delivery(
    db: sqlite3.Connection, step: Step, keys: Keys, seq: int, conversation: int, now: int, reason: str | None
) -> None:
    """Owes one step; suppressed where there is a `reason`, or where it is owed already for the same mail."""
    once = once_key(step, keys)
    row = delivery_row(step, seq, conversation, now)
    if reason is None:
        done = db.execute(
            f"INSERT INTO deliveries ({DELIVERY_COLUMNS}, state, once)"
            f" VALUES ({','.join('?' * len(row))}, 'pending', ?) ON CONFLICT (once) DO NOTHING",
            (*row, once),
        ).rowcount
        if done:
            return
        first_id = db.execute("SELECT id FROM deliveries WHERE once = ?", (once,)).fetchone()[0]
        reason = f"{SAME_MAIL}; see {first_id}"
    db.execute(
        f"INSERT INTO deliveries ({DELIVERY_COLUMNS}, state, reason, finished_at)"
        f" VALUES ({','.join('?' * len(row))}, ?, ?, ?)",
        (*row, DeliveryState.SUPPRESSED, reason, now),
    )


def delivery_row(step: Step, seq: int, conversation: int, now: int) -> tuple[Any, ...]:
    """A new delivery's values, in the order of DELIVERY_COLUMNS; its id first."""
    values = msgspec.json.encode(step.values).decode() if step.values else None
    return (
        new_id(), seq, conversation, step.rule, step.action, step.destination, values, now, now, not step.reuse,
    )  # fmt: skip


def once_key(step: Step, keys: Keys) -> bytes:
    """One action of one rule acts once for one mail; where it asks for that, once for each recipient."""
    mail = keys.delivery if step.per_recipient else keys.mail
    where = f"\0{step.destination}" if step.update else ""
    # The time that a mail's identity begins with keeps the keys of today together in the index.
    return keys.mail[:4] + _digest(f"{step.rule}\0{step.action}{where}", mail)


def _digest(text: str, more: bytes = b"") -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass") + b"\0" + more, digest_size=12).digest()

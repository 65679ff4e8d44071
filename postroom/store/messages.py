"""Storing messages with all that is owed for them, inside one transaction."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from postroom.identity import Identity
from postroom.ingress.base import Ticket
from postroom.message import Message
from postroom.plan import Correlation, Plan
from postroom.recognise import NO_TIES, Ties
from postroom.store import conversations, tickets, verdicts
from postroom.store.brake import Brake
from postroom.store.conversations import thread_digest
from postroom.store.owing import DELIVERY_COLUMNS, Keys, delivery_row, insert_deliveries, once_key
from postroom.store.states import DeliveryState, MessageState

WEAK_IDENTITY_MS = 600_000
"""For so long identical documents without Message-ID and Received count as one."""

_CHUNK = 1_000_000
_LONGEST_SUBJECT = 1_000
_MOST_VALUES = 8_000
"""Bound values in one statement; SQLite takes four times as many."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """All that is stored of one accepted mail. What takes time was made before the transaction."""

    message: Message
    identity: Identity
    block: bytes
    """See store.content.pack."""
    contents: Sequence[bytes]
    plan: Plan
    rule_set: int
    ties: Ties
    sender: bytes | None
    """See conversations.sender_key."""
    addressee: bytes | None
    replan: Callable[[ItemsOf], Plan] | None = None
    """Plans again with the items that there are, where a rule asked for them."""
    ticket: Ticket | None = None


ItemsOf = Callable[[Sequence[Correlation]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Stored:
    """`id` is the message's; of the earlier one where the document was absorbed."""

    id: str
    absorbed: bool


class Inserter:
    """Stores messages, each held instead of routed where the loop brake says so."""

    def __init__(self, brake: Brake, makers: Collection[str] = ()) -> None:
        """`makers`: the destinations that make items."""
        self._brake = brake
        self._makers = frozenset(makers)

    def insert_all(self, db: sqlite3.Connection, new: Sequence[NewMessage]) -> list[Stored]:
        """Stores messages with their attachments and deliveries, or absorbs those whose document came before.

        Mail that is new in every respect, as most is, goes in by one statement a table: each statement costs more than
        a row. The rest follows one by one. Raises TicketUsed where the ticket of one is another document's.
        """
        for each in new:
            if each.ticket is not None:
                tickets.use(db, each.ticket, each.message.received_at)
        plain = [each for start in range(0, len(new), 500) for each in self._all_new(db, new[start : start + 500])]
        if plain:
            _insert_plain(db, plain)
        done = {id(each) for each in plain}
        return [Stored(each.message.id, absorbed=False) if id(each) in done else self._insert(db, each) for each in new]

    def _all_new(self, db: sqlite3.Connection, new: Sequence[NewMessage]) -> list[NewMessage]:
        """Those that continue nothing, share neither identity, thread key nor action with anything before, and are far
        from the loop brake.

        The store is asked once, for every column that could know one of them.
        """
        candidates = [
            each
            for each in new
            if not each.identity.weak
            and not each.message.references
            and each.ties is NO_TIES
            and not each.plan.needs_store
        ]
        if not candidates:
            return []
        identities = [each.identity.delivery for each in candidates]
        keys = [thread_digest(each.message.message_id) for each in candidates if each.message.message_id]
        once = [mark for each in candidates for mark in _marks(each)]
        known: set[bytes] = set()
        parts = (("identities", "identity", identities), ("thread_keys", "key", keys), ("deliveries", "once", once))
        asked = [part for part in parts if part[2]]
        query = " UNION ALL ".join(
            f"SELECT {column} FROM {table} WHERE {column} IN ({','.join('?' * len(values))})"
            for table, column, values in asked
        )
        known.update(row[0] for row in db.execute(query, [value for _, _, values in asked for value in values]))
        senders = Counter(each.sender for each in new)
        now = max(each.message.received_at for each in candidates)
        near = {sender for sender, count in senders.items() if self._brake.is_near(db, sender, count, now)}
        plain = []
        for each in candidates:
            marks = [each.identity.delivery, *_marks(each)]
            if each.message.message_id:
                marks.append(thread_digest(each.message.message_id))
            if known.isdisjoint(marks) and each.sender not in near:
                plain.append(each)
                known.update(marks)
        return plain

    def _insert(self, db: sqlite3.Connection, new: NewMessage) -> Stored:
        """Stores one message, or absorbs a document that came before."""
        message, now = new.message, new.message.received_at
        earlier = _claim_identity(db, new.identity.delivery, message.id, now, weak=new.identity.weak)
        if earlier is not None:
            db.execute(
                "INSERT INTO events (at, who, what, message, detail)"
                " VALUES (?, ?, 'absorbed', (SELECT seq FROM messages WHERE id = ?), 'the same document came again')",
                (now, f"ingress {message.ingress}", earlier),
            )
            return Stored(earlier, absorbed=True)
        (seq,) = db.execute("SELECT COALESCE(MAX(seq), 0) + 1 FROM messages").fetchone()
        found = conversations.find(db, message, new.ties, new.sender, new.addressee)
        plan, saw_items = new.plan, None
        if new.replan is not None:
            plan, saw_items = plan_with_items(db, new.replan, found[0] if found else None, now, self._makers)
        found = found or verdicts.correlated(db, plan.correlations, now)
        conversation = found[0] if found else seq
        beyond = verdicts.exceeded(db, plan.limits, seq, now)
        state, reason = verdicts.state_of(plan, beyond)
        held_by = verdicts.held_by(plan)
        if braked := self._brake.reason(db, found[0] if found else None, new.sender, now):
            state, reason = MessageState.HELD, "; ".join(filter(None, (braked, reason)))
        row = _message_row(new, seq, conversation, plan, state, reason, found[1] if found else None, held_by, saw_items)
        _insert_rows(db, "messages", [row])
        db.execute("INSERT INTO contents VALUES (?, ?)", (seq, new.block))
        conversations.remember(db, message, conversation)
        verdicts.remember_correlations(db, plan.correlations, conversation, now)
        for position, content in enumerate(new.contents):
            _insert_attachment(db, seq, position, message.attachments[position].sha256, content)
        if state is MessageState.ROUTED:
            insert_deliveries(db, plan, _keys(db, new), seq, conversation, now, self._makers, beyond)
        return Stored(message.id, absorbed=False)


def plan_with_items(
    db: sqlite3.Connection,
    replan: Callable[[ItemsOf], Plan],
    conversation: int | None,
    now: int,
    makers: Collection[str],
    look: Callable[[int | None], tuple[str, ...]] | None = None,
) -> tuple[Plan, str]:
    """The plan made with what the store knows, and what it was told of the items.

    `conversation`: None where the mail begins one, unless a rule correlates it. `now`: when the mail was received.
    `look` tells the items of a conversation, in place of all that are there.
    """
    told: set[str] = set()

    def items(correlations: Sequence[Correlation]) -> tuple[str, ...]:
        at = conversation
        if at is None and (found := verdicts.correlated(db, correlations, now)) is not None:
            at = found[0]
        answer = verdicts.items_of(db, at, makers) if look is None else look(at)
        told.update(answer)
        return answer

    plan = replan(items)
    return plan, "\n".join(sorted(told))


def _marks(new: NewMessage) -> list[bytes]:
    keys = Keys(new.identity.mail, new.identity.delivery)
    return [once_key(step, keys) for step in new.plan.steps]


def _insert_plain(db: sqlite3.Connection, new: Sequence[NewMessage]) -> None:
    (seq,) = db.execute("SELECT COALESCE(MAX(seq), 0) FROM messages").fetchone()
    messages, contents, identities, keys, deliveries = [], [], [], [], []
    for each in new:
        seq += 1
        message, now = each.message, each.message.received_at
        state, reason = verdicts.state_of(each.plan, {})
        held_by = verdicts.held_by(each.plan)
        messages.append(_message_row(each, seq, seq, each.plan, state, reason, held_by=held_by))
        contents.append((seq, each.block))
        identities.append((each.identity.delivery, message.id, now, False))
        if message.message_id:
            keys.append((thread_digest(message.message_id), seq))
        for position, content in enumerate(each.contents):
            _insert_attachment(db, seq, position, message.attachments[position].sha256, content)
        for step in each.plan.steps if state is MessageState.ROUTED else ():
            once = once_key(step, Keys(each.identity.mail, each.identity.delivery))
            deliveries.append((*delivery_row(step, seq, seq, now), DeliveryState.PENDING, once))
    _insert_rows(db, "messages", messages)
    _insert_rows(db, "contents", contents)
    _insert_rows(db, "identities", identities)
    _insert_rows(db, "thread_keys", keys)
    _insert_rows(db, f"deliveries ({DELIVERY_COLUMNS}, state, once)", deliveries)


def _insert_rows(db: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    at_once = max(1, _MOST_VALUES // len(rows[0]))
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        marks = ",".join(["(" + ",".join("?" * len(part[0])) + ")"] * len(part))
        db.execute(f"INSERT INTO {table} VALUES {marks}", [value for row in part for value in row])


def _message_row(
    new: NewMessage,
    seq: int,
    conversation: int,
    plan: Plan,
    state: MessageState,
    reason: str | None,
    found_by: str | None = None,
    held_by: str | None = None,
    saw_items: str | None = None,
) -> tuple[Any, ...]:
    message, sender = new.message, new.message.from_
    return (
        seq,
        message.id,
        message.received_at,
        message.ingress,
        message.recipient.address,
        message.return_path.address,
        sender.address if sender else None,
        sender.name if sender else None,
        message.subject[:_LONGEST_SUBJECT] if message.subject else message.subject,
        state,
        reason,
        new.rule_set,
        "\n".join(plan.matched),
        conversation,
        message.size,
        len(message.attachments),
        new.sender,
        new.addressee,
        " ".join([verdict.kind for verdict in message.kinds]),
        found_by,
        held_by,
        saw_items,
    )


def _claim_identity(db: sqlite3.Connection, identity: bytes, message_id: str, now: int, *, weak: bool) -> str | None:
    """The id of the message that has this identity already, or None: then it is this message's from now on.

    The unique index decides, so that no two requests can both be the first.
    """
    claimed = db.execute(
        "INSERT INTO identities VALUES (?, ?, ?, ?) ON CONFLICT (identity) DO UPDATE"
        " SET message = excluded.message, at = excluded.at WHERE weak AND identities.at <= excluded.at - ?",
        (identity, message_id, now, weak, WEAK_IDENTITY_MS),
    ).rowcount
    if claimed:
        return None
    row = db.execute("SELECT message FROM identities WHERE identity = ?", (identity,)).fetchone()
    earlier: str = row[0]
    return earlier


def _insert_attachment(db: sqlite3.Connection, seq: int, position: int, sha256: str, content: bytes) -> None:
    blob = db.execute(
        "INSERT INTO blobs (sha256, size) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING seq", (sha256, len(content))
    ).fetchone()
    if blob is None:
        blob = db.execute("SELECT seq FROM blobs WHERE sha256 = ?", (sha256,)).fetchone()
    else:
        view = memoryview(content)
        for number, start in enumerate(range(0, len(content), _CHUNK)):
            db.execute("INSERT INTO chunks VALUES (?, ?, ?)", (blob[0], number, view[start : start + _CHUNK]))
    db.execute("INSERT INTO attachments VALUES (?, ?, ?)", (seq, position, blob[0]))


def _keys(db: sqlite3.Connection, new: NewMessage) -> Keys:
    if not new.identity.weak:
        return Keys(new.identity.mail, new.identity.delivery)
    # Two identical alerts are two mails: what tells them apart is the message that was first within the window.
    message = new.message
    first = _claim_identity(db, new.identity.mail, message.id, message.received_at, weak=True)
    return Keys((first or message.id).encode(), message.id.encode())

"""Storing a message with all that is owed for it, inside one transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from postroom.identity import Identity
from postroom.ids import new_id
from postroom.message import Message
from postroom.plan import Plan
from postroom.store.states import DeliveryState, MessageState

WEAK_IDENTITY_MS = 600_000
"""For so long identical documents without Message-ID and Received count as one."""

_CHUNK = 1_000_000
_LONGEST_SUBJECT = 1_000
_MOST_PARTICIPANTS = 50


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


@dataclass(frozen=True, slots=True)
class Stored:
    """`id` is the message's; of the earlier one where the document was absorbed."""

    id: str
    absorbed: bool


def insert(db: sqlite3.Connection, new: NewMessage) -> Stored:
    """Stores a message, its attachments and its deliveries, or absorbs a document that came before."""
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
    sender = message.from_
    from_address = sender.address if sender else None
    conversation = _conversation(db, message, from_address) or seq
    db.execute(
        "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            seq,
            message.id,
            now,
            message.ingress,
            message.recipient.address,
            message.return_path.address,
            from_address,
            sender.name if sender else None,
            message.subject[:_LONGEST_SUBJECT] if message.subject else message.subject,
            MessageState.ROUTED if new.plan.steps else MessageState.UNMATCHED,
            None,
            new.rule_set,
            "\n".join(new.plan.matched),
            conversation,
            message.size,
            len(message.attachments),
        ),
    )
    db.execute("INSERT INTO contents VALUES (?, ?)", (seq, new.block))
    _remember_thread(db, message, conversation, from_address)
    for position, content in enumerate(new.contents):
        _insert_attachment(db, seq, position, message.attachments[position].sha256, content)
    if new.plan.steps:
        _insert_deliveries(db, new, seq, conversation)
    return Stored(message.id, absorbed=False)


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


def _conversation(db: sqlite3.Connection, message: Message, from_address: str | None) -> int | None:
    """The conversation that the newest known thread key leads to.

    A key counts only where the sender took part or the recipient is the same, so that nobody who merely learned a
    Message-ID can join, and block, the conversation of others.
    """
    own = (message.message_id,) if message.message_id else ()
    for key in message.references + own:
        row = db.execute(
            "SELECT k.conversation FROM thread_keys k JOIN participants p ON p.conversation = k.conversation"
            " WHERE k.key = ? AND p.address IN (?, ?) ORDER BY k.conversation LIMIT 1",
            (_digest(key), (from_address or "").lower(), message.recipient.address.lower()),
        ).fetchone()
        if row is not None:
            conversation: int = row[0]
            return conversation
    return None


def _remember_thread(db: sqlite3.Connection, message: Message, conversation: int, from_address: str | None) -> None:
    keys = message.references + ((message.message_id,) if message.message_id else ())
    if not keys:
        return
    # The keys that it refers to are remembered too: a reply can overtake the mail that it answers.
    db.executemany("INSERT OR IGNORE INTO thread_keys VALUES (?, ?)", [(_digest(key), conversation) for key in keys])
    people = [message.recipient.address, from_address or "", *(each.address for each in message.to + message.cc)]
    addresses = dict.fromkeys(address.lower() for address in people[:_MOST_PARTICIPANTS] if address)
    db.executemany("INSERT OR IGNORE INTO participants VALUES (?, ?)", [(conversation, each) for each in addresses])


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


def _insert_deliveries(db: sqlite3.Connection, new: NewMessage, seq: int, conversation: int) -> None:
    now = new.message.received_at
    mail = new.identity.mail
    if new.identity.weak:
        # Two identical alerts are two mails: what tells them apart is the message that was first within the window.
        first = _claim_identity(db, mail, new.message.id, now, weak=True) or new.message.id
        mail = first.encode()
    for step in new.plan.steps:
        once = _digest(f"{step.rule}\0{step.action}", mail)
        values = msgspec.json.encode(step.values).decode() if step.values else None
        row = [new_id(), seq, conversation, step.rule, step.action, step.destination, values]
        done = db.execute(
            "INSERT INTO deliveries (id, message, conversation, rule, action, destination, extracted, state, once,"
            " next_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?) ON CONFLICT (once) DO NOTHING",
            (*row, once, now, now),
        ).rowcount
        if not done:
            first_id = db.execute("SELECT id FROM deliveries WHERE once = ?", (once,)).fetchone()[0]
            db.execute(
                "INSERT INTO deliveries (id, message, conversation, rule, action, destination, extracted, state,"
                " reason, next_at, created_at, finished_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *row,
                    DeliveryState.SUPPRESSED,
                    f"the same mail reached two recipients; see {first_id}",
                    now,
                    now,
                    now,
                ),
            )


def _digest(text: str, more: bytes = b"") -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass") + b"\0" + more, digest_size=12).digest()

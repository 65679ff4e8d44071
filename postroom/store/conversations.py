"""Which conversation a mail continues, inside the transaction that stores it.

The evidence, best first; the first that leads anywhere decides:

1. a signed token in the address that the mail was sent to,
2. a Message-ID that we made,
3. the Message-ID of a stored mail (of its References and In-Reply-To, newest first), where the sender took part in
   that conversation or the recipient is the same,
4. the key of an item in the subject (`[APP-42]`), where the sender took part in that item's conversation.

Where a rule correlates mails by a key of its own, that key counts after these. The words of a subject never do.
"""

from __future__ import annotations

import hashlib
import sqlite3

from postroom.mail.addresses import address_key
from postroom.message import Message
from postroom.recognise import Ties

_LONGEST_TOLD = 200


def find(
    db: sqlite3.Connection, message: Message, ties: Ties, sender: bytes | None, addressee: bytes | None
) -> tuple[int, str] | None:
    """The conversation that a mail continues, and by which evidence; None where it begins one."""
    signed = [] if ties.token is None else [(ties.token, "the token in the address that it was sent to")]
    signed += [(number, f"our own Message-ID {key}") for key, number in ties.ours]
    for conversation, evidence in signed:
        if _exists(db, conversation):
            return conversation, evidence
    own = (message.message_id,) if message.message_id else ()
    for key in message.references + own:
        row = db.execute(
            "SELECT k.conversation FROM thread_keys k WHERE k.key = ? AND ("
            " EXISTS (SELECT 1 FROM messages m WHERE m.conversation = k.conversation AND m.sender = ?)"
            " OR EXISTS (SELECT 1 FROM messages m WHERE m.conversation = k.conversation AND m.addressee = ?))"
            " ORDER BY k.conversation LIMIT 1",
            (thread_digest(key), sender, addressee),
        ).fetchone()
        if row is not None:
            return row[0], f"the Message-ID {key[:_LONGEST_TOLD]}, which is known"
    for item in ties.items:
        row = db.execute(
            "SELECT i.conversation FROM items i WHERE i.reference = ? AND EXISTS"
            " (SELECT 1 FROM messages m WHERE m.conversation = i.conversation AND m.sender = ?)"
            " ORDER BY i.at DESC LIMIT 1",
            (item, sender),
        ).fetchone()
        if row is not None:
            return row[0], f"the item {item} in its subject, where the sender took part"
    return None


def remember(db: sqlite3.Connection, message: Message, conversation: int) -> None:
    """Makes the mail's thread keys lead to its conversation."""
    # The keys that it refers to are remembered too: a reply can overtake the mail that it answers.
    keys = message.references + ((message.message_id,) if message.message_id else ())
    db.executemany(
        "INSERT OR IGNORE INTO thread_keys VALUES (?, ?)", [(thread_digest(key), conversation) for key in keys]
    )


def is_alone(db: sqlite3.Connection, seq: int) -> bool:
    """Whether a message (its seq) began a conversation of which it is all there is."""
    rows = db.execute("SELECT seq FROM messages WHERE conversation = ? LIMIT 2", (seq,)).fetchall()
    return [row[0] for row in rows] == [seq]


def move(db: sqlite3.Connection, seq: int, message: Message, conversation: int, evidence: str) -> None:
    """Makes a message that is alone a part of another conversation. What still leads to its own leads nowhere."""
    db.execute("UPDATE messages SET conversation = ?, found_by = ? WHERE seq = ?", (conversation, evidence, seq))
    remember(db, message, conversation)


def thread_digest(key: str) -> bytes:
    """A thread key as the store holds it."""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass") + b"\0", digest_size=12).digest()


def sender_key(message: Message) -> bytes | None:
    """Whose mail it is: the From address, else the envelope sender. Equal for addresses that are equal."""
    sender = message.from_.address if message.from_ else ""
    return key_of_address(sender or message.return_path.address)


def addressee_key(message: Message) -> bytes | None:
    """To which of our addresses it was sent."""
    return key_of_address(message.recipient.address)


def key_of_address(address: str) -> bytes | None:
    """Eight bytes that are equal for equal addresses; None for the empty one."""
    if not address:
        return None
    return hashlib.blake2b(address_key(address).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _exists(db: sqlite3.Connection, conversation: int) -> bool:
    # A token may be older than the store: of a mail that was erased, or of another store under the same key.
    return db.execute("SELECT 1 FROM messages WHERE conversation = ? LIMIT 1", (conversation,)).fetchone() is not None

"""The loop brake: two programs that answer each other, or one that will not stop, are held and not delivered."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from postroom.fields import Rate


@dataclass(frozen=True, slots=True)
class Brake:
    """How much mail is let through; what comes beyond waits for a person. None: any amount."""

    per_conversation: Rate | None = None
    per_sender: Rate | None = None

    def reason(self, db: sqlite3.Connection, conversation: int | None, sender: bytes | None, now: int) -> str | None:
        """Why a message is to be held; None where it may pass. Held messages count too, so that a loop stays held.

        `conversation` is None for a message that begins one, `sender` where nobody sent it.
        """
        if conversation is not None and _reached(db, "conversation", conversation, self.per_conversation, now):
            return f"loop brake: {_told(self.per_conversation)} in this conversation (mail.loop_brake.per_conversation)"
        if sender is not None and _reached(db, "sender", sender, self.per_sender, now):
            return f"loop brake: {_told(self.per_sender)} from this sender (mail.loop_brake.per_sender)"
        return None

    def is_near(self, db: sqlite3.Connection, sender: bytes | None, coming: int, now: int) -> bool:
        """Whether a sender may pass the limit with so many messages more."""
        return sender is not None and _reached(db, "sender", sender, self.per_sender, now, coming - 1)


def _reached(
    db: sqlite3.Connection, column: str, value: int | bytes, rate: Rate | None, now: int, coming: int = 0
) -> bool:
    if rate is None:
        return False
    before = rate.count - coming
    if before <= 0:
        return True
    row = db.execute(
        f"SELECT 1 FROM messages WHERE {column} = ? AND received_at > ? LIMIT 1 OFFSET ?",
        (value, now - int(rate.seconds * 1000), before - 1),
    ).fetchone()
    return row is not None


_SPANS = {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", 86400.0: "a day"}


def _told(rate: Rate | None) -> str:
    assert rate is not None
    return f"more than {rate.count} in {_SPANS.get(rate.seconds, f'{rate.seconds:g} seconds')}"

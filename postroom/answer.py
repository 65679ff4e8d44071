"""How mail of ours is to look that answers a message: marked as automatic, and signed so that its answers find back.

RFC 3834 says what an automatic answer carries, and what must never get one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from postroom.mail.folding import fold_domain
from postroom.mail.kinds import Kind
from postroom.mail.subjects import base_subject
from postroom.mail.tokens import loop_mark, own_message_id, reply_token, tagged
from postroom.message import Message

_UNANSWERED = (Kind.BOUNCE, Kind.AUTO_REPLY, Kind.LIST, Kind.LOOP)
_MOST_REFERENCES = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer by mail must carry. Its envelope sender is the null sender."""

    to: str
    subject: str
    headers: dict[str, str]
    """Every header of it but To, Subject, From and Date."""


class Answering:
    """Knows the installation's key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def address(self, conversation: int, message: Message) -> str:
        """The address that a message was sent to, with the token of its conversation: what is sent there continues it.

        Empty where the message names no recipient.
        """
        return tagged(message.recipient.address, reply_token(self._key, conversation))

    def own_headers(self, conversation: int, message: Message, unique: str) -> dict[str, str]:
        """What any mail of ours about a message must carry that is no answer to it, such as a forward.

        `unique` as in `answer`.
        """
        return {
            "Message-ID": own_message_id(self._key, conversation, unique, _id_domain(message)),
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
            "X-Loop": loop_mark(self._key),
        }

    def answer(self, conversation: int, message: Message, unique: str) -> Answer | None:
        """How to answer a message by mail; None where nobody or a program would get it.

        `unique` tells this answer from all others: letters, digits and hyphens.
        """
        to = message.reply_to[0] if message.reply_to else message.from_
        kinds = {verdict.kind for verdict in message.kinds}
        if (
            to is None
            or not to.domain
            or not message.recipient.domain
            or not message.return_path.address
            or kinds.intersection(_UNANSWERED)
            or _is_suppressed(message)
        ):
            return None
        headers = {
            "Message-ID": own_message_id(self._key, conversation, unique, _id_domain(message)),
            "Reply-To": self.address(conversation, message),
            "Auto-Submitted": "auto-replied",
            "X-Auto-Response-Suppress": "All",
            "X-Loop": loop_mark(self._key),
        }
        if message.message_id:
            older = [key for key in reversed(message.references[:_MOST_REFERENCES]) if key != message.message_id]
            headers["In-Reply-To"] = message.message_id
            headers["References"] = " ".join([*older, message.message_id])
        return Answer(to.address, f"Re: {base_subject(message.subject or '')}".strip(), headers)


def _id_domain(message: Message) -> str:
    """The domain of a Message-ID of ours: that of the recipient, in ASCII, where that is one."""
    domain = fold_domain(message.recipient.domain or "")
    return domain if re.fullmatch(r"[a-z0-9.-]+", domain) else "localhost"


def _is_suppressed(message: Message) -> bool:
    """The sender asks for no automatic answers (Microsoft's MS-OXCMAIL, 2.1.3.2.20)."""
    asked = {word.strip().lower() for word in (message.header("X-Auto-Response-Suppress") or "").split(",")}
    return bool(asked & {"all", "autoreply", "oof"})

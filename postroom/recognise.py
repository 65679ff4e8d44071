"""What a mail is, and what may tie it to a conversation: found before the rules are asked, from the mail alone.

Needs nothing but the mail and the installation's key; the store then follows the ties (store/conversations.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from postroom.mail.authentication import authentication
from postroom.mail.bounces import returned_keys
from postroom.mail.kinds import Kind, classify
from postroom.mail.subjects import item_keys
from postroom.mail.tokens import loop_mark, read_message_id, untagged
from postroom.message import Address, Message


@dataclass(frozen=True, slots=True)
class Ties:
    """What may tie a mail to a conversation, beside the thread keys in its `references`. Best evidence first."""

    token: int | None = None
    """The conversation of the signed token in the address that the mail was sent to."""
    ours: tuple[tuple[str, int], ...] = ()
    """The Message-IDs of ours that it refers to, with their conversations."""
    items: tuple[str, ...] = ()
    """Keys of items in its subject (`APP-42`): they count only where the sender took part already."""


NO_TIES = Ties()


class Recogniser:
    """Knows our own marks by the installation's key. Safe to use from several threads."""

    def __init__(self, key: bytes, trusted_authserv_ids: Collection[str] = ()) -> None:
        self._key = key
        self._trusted = frozenset(each.lower() for each in trusted_authserv_ids)
        self._loop_mark = loop_mark(key)

    def recognise(self, message: Message, contents: Sequence[bytes] = ()) -> tuple[Message, Ties]:
        """The message with its kinds, without our token in its recipient, and its ties.

        `contents` are its attachments: a bounce takes its thread keys from the mail that it returns.
        """
        recipient, envelope, token = message.recipient, message.envelope_recipient, None
        if "+c" in recipient.address or "+C" in recipient.address:
            found = untagged(self._key, recipient.address)
            if found is not None:
                envelope = recipient.address
                recipient, token = Address(found[0], recipient.name), found[1]
        kinds = classify(
            headers=message.headers,
            return_path=message.return_path.address,
            sender=message.from_.address if message.from_ else None,
            subject=message.subject,
            text=message.text,
            attachment_types=[attachment.content_type for attachment in message.attachments],
            answers=_answers(message, token),
            own_loop=self._own_loop(message),
        )
        references = message.references
        if any(verdict.kind == Kind.BOUNCE for verdict in kinds):
            references = returned_keys(message.text, _reports(message, contents)) or references
        known = replace(
            message,
            recipient=recipient,
            envelope_recipient=envelope,
            kinds=kinds,
            references=references,
            auth=authentication(message.headers, self._trusted),
        )
        ours = tuple([(key, number) for key in references if (number := read_message_id(self._key, key)) is not None])
        items = item_keys(message.subject) if message.subject and "[" in message.subject else ()
        return known, Ties(token, ours, items) if token is not None or ours or items else NO_TIES

    def _own_loop(self, message: Message) -> str | None:
        """Why the mail is one of ours that came back; None where it is not."""
        if message.message_id and read_message_id(self._key, message.message_id) is not None:
            return f"its Message-ID {message.message_id} is one of ours"
        if any(value.strip() == self._loop_mark for value in message.header_all("X-Loop")):
            return f"X-Loop: {self._loop_mark}"
        return None


def _answers(message: Message, token: int | None) -> str | None:
    """Why the mail is an answer to another; None where nothing but its subject could say so."""
    if token is not None:
        return "our token in the recipient"
    return f"it refers to {message.references[0]}" if message.references else None


def _reports(message: Message, contents: Sequence[bytes]) -> list[bytes]:
    """The parts of a bounce in which the returned mail or its headers stand."""
    return [
        content
        for attachment, content in zip(message.attachments, contents, strict=False)
        if attachment.content_type.startswith(("message/", "text/"))
    ]

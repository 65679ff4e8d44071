"""Which documents are the same delivery, and which deliveries are the same mail."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from postroom.message import Message


@dataclass(frozen=True, slots=True)
class Identity:
    """Two hashes of 16 bytes.

    `delivery` is equal for one mail to one recipient, however often the provider sends it. `mail` leaves the recipient
    out: one mail to two of our addresses. A `weak` identity rests on the content alone, for the mail has neither
    Message-ID nor Received: it counts only within ten minutes, since two identical alerts are two alerts.
    """

    delivery: bytes
    mail: bytes
    weak: bool


def identify(message: Message) -> Identity:
    """The identity of a message. Headers that are added under way take no part, but for the oldest Received."""
    # The oldest Received header was written by the first host that took the mail: it is the same on every path.
    received = (
        None
        if message.message_id
        else next((value for name, value in reversed(message.headers) if name.lower() == "received"), None)
    )
    parts = (
        message.ingress,
        message.message_id or "",
        received or "",
        message.from_.address if message.from_ else "",
        message.header("Date") or "",
        message.subject or "",
        message.text or "",
        message.html or "",
        *(attachment.sha256 for attachment in message.attachments),
    )
    # The length keeps two neighbouring parts from borrowing each other's letters.
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    mail = hashlib.blake2b(b"".join(b"%d:%b" % (len(part), part) for part in encoded), digest_size=16)
    delivery = mail.copy()
    delivery.update(b"to:" + message.recipient.address.lower().encode("utf-8", "surrogatepass"))
    return Identity(delivery.digest(), mail.digest(), not message.message_id and received is None)

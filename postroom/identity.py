"""Which documents are the same delivery, and which deliveries are the same mail."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from postroom.mail.addresses import address_key
from postroom.message import Message

_DATE = re.compile(r"(\d{1,2}) ([A-Za-z]{3}) (\d{4}) (\d{1,2}):(\d{2}):(\d{2})", re.ASCII)
_MONTHS = {
    name: number
    for number, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Two keys of 16 bytes: the time that the Date header names, then a hash.

    The time first keeps today's keys together: an index of pure hashes would touch another page for each mail.

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
    # Texts hold no NUL: one between two parts keeps them from borrowing each other's letters.
    mail = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=12)
    delivery = mail.copy()
    recipient = address_key(message.envelope_recipient or message.recipient.address)
    delivery.update(b"to:" + recipient.encode("utf-8", "surrogatepass"))
    time = _time_key(parts[4])
    return Identity(time + delivery.digest(), time + mail.digest(), not message.message_id and received is None)


def _time_key(date: str) -> bytes:
    """Four bytes that grow with the date, zone left aside; zeros where it has not the usual form."""
    found = _DATE.search(date)
    month = _MONTHS.get(found[2].lower()) if found else None
    if found is None or month is None:
        return bytes(4)
    days = (int(found[3]) * 12 + month) * 31 + int(found[1])
    seconds = ((days * 24 + int(found[4])) * 60 + int(found[5])) * 60 + int(found[6])
    return (seconds & 0xFFFFFFFF).to_bytes(4, "big")

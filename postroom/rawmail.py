"""Raw mail as messages: for files that people have, samples of rules, and ways in that get the mail as it is."""

from __future__ import annotations

import hashlib
import mailbox
from collections.abc import Iterator, Sequence
from pathlib import Path

from postroom.mail.addresses import parse_addresses
from postroom.mail.encoded_words import decode_words
from postroom.mail.mime import RawMail, read_mime
from postroom.mail.texts import clean
from postroom.message import Address, Attachment, Message
from postroom.normalise import normalise

LARGEST = 100_000_000
"""Bytes of one mail that are read from a file."""


def message_of(
    raw: bytes, *, ingress: str, recipient: str | None = None, return_path: str | None = None
) -> tuple[Message, tuple[bytes, ...]]:
    """The message of a raw mail, and the contents of its attachments. Takes any bytes.

    `recipient` and `return_path` are the envelope; where they are None, its traces in the headers are taken.
    """
    return message_from(read_mime(raw), ingress=ingress, recipient=recipient, return_path=return_path)


def message_from(
    mail: RawMail,
    *,
    ingress: str,
    recipient: str | None = None,
    return_path: str | None = None,
    notices: Sequence[str] = (),
    client_ip: str | None = None,
    spam_score: float | None = None,
) -> tuple[Message, tuple[bytes, ...]]:
    """The same of a mail that is told apart already, with what the provider knows of it."""
    sender, addressee = envelope_of(mail)
    message = normalise(
        ingress=ingress,
        recipient=addressee if recipient is None else recipient,
        return_path=sender if return_path is None else return_path,
        headers=mail.shown_headers(),
        from_=addresses_of(mail, "from"),
        to=addresses_of(mail, "to"),
        cc=addresses_of(mail, "cc"),
        reply_to=addresses_of(mail, "reply-to"),
        subject=subject_of(mail),
        text=mail.text,
        html=mail.html,
        attachments=tuple(
            Attachment(
                name=each.name,
                content_type=each.content_type,
                size=len(each.content),
                sha256=hashlib.sha256(each.content).hexdigest(),
                content_id=each.content_id,
                inline=each.inline,
            )
            for each in mail.files
        ),
        notices=[*mail.notices, *notices],
        client_ip=client_ip,
        spam_score=spam_score,
    )
    return message, tuple(each.content for each in mail.files)


def outline(raw: bytes, mail: RawMail) -> bytes:
    """The source with the contents of its files named by hash: what is kept beside the files themselves.

    Files of a few bytes stay as they are, and so does whatever cannot be found again for certain.
    """
    kept: list[bytes | memoryview] = []
    view = memoryview(raw)
    at = 0
    for file in mail.files:
        passage = file.passage
        if passage.size < _WORTH_NAMING:
            continue
        start = at
        for _ in range(_TRIES):
            start = raw.find(passage.head, start)
            if start < 0 or hash(view[start : start + passage.size]) == passage.check:
                break
            start += 1
        else:
            continue
        if start < 0:
            continue
        kept += [view[at:start], f"sha256:{hashlib.sha256(file.content).hexdigest()}".encode()]
        at = start + passage.size
    return b"".join([*kept, view[at:]])


_WORTH_NAMING = 200
"""Bytes of a file in its transfer encoding."""
_TRIES = 4
"""Places that are looked at for one file: those of a hostile mail would take no end."""


def subject_of(mail: RawMail) -> str | None:
    """The subject as people see it; None where the mail has none."""
    value = mail.header("subject")
    return None if value is None else clean(" ".join(decode_words(value).split("\n")))


def addresses_of(mail: RawMail, name: str) -> tuple[Address, ...]:
    """The mailboxes of all headers of a name (in lower case), display names decoded."""
    values = [value for key, value in mail.headers if key.lower() == name]
    return tuple(
        [
            Address(clean(address), clean(decode_words(label)))
            for value in values
            for label, address in parse_addresses(value)
        ]
    )


def envelope_of(mail: RawMail) -> tuple[str, str]:
    """Envelope sender and recipient as the headers show them: of a mail in a file, the envelope itself is gone.

    Without such traces, they are the first addresses of From and To.
    """
    path = mail.header("return-path")
    sender = _first(mail, "from") if path is None else _bare(path)
    for name in ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to"):
        if found := _bare(mail.header(name) or ""):
            return sender, found
    return sender, _first(mail, "to")


def raw_mails(path: Path) -> Iterator[bytes]:
    """The mails of a file: one .eml, or an mbox. Raises OSError, and ValueError where a mail is too large."""
    with path.open("rb") as file:
        is_box = path.suffix == ".mbox" or file.read(5) == b"From "
    if is_box:
        box = mailbox.mbox(path, create=False)
        try:
            for key in box.iterkeys():
                yield _bounded(box.get_bytes(key), path)
        finally:
            box.close()
    else:
        if path.stat().st_size > LARGEST:
            raise ValueError(_TOO_LARGE)
        yield path.read_bytes()


_TOO_LARGE = f"a mail of it is larger than {LARGEST // 1_000_000} MB"


def _bounded(raw: bytes, path: Path) -> bytes:
    if len(raw) > LARGEST:
        raise ValueError(_TOO_LARGE)
    return raw


def _first(mail: RawMail, name: str) -> str:
    found = addresses_of(mail, name)
    return found[0].address if found else ""


def _bare(value: str) -> str:
    return value.strip().removeprefix("<").removesuffix(">").strip()

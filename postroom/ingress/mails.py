"""What many ways in have in common: one mail for each envelope recipient, of the source of a mail or of its parts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from postroom.ids import new_id
from postroom.ingress.base import Mail, Refusal, Ticket
from postroom.mail.addresses import parse_addresses
from postroom.mail.charsets import decode_text
from postroom.mail.encoded_words import decode_words
from postroom.mail.mime import read_mime
from postroom.mail.texts import clean
from postroom.message import Address, Attachment
from postroom.normalise import normalise
from postroom.rawmail import message_from, outline

MOST_RECIPIENTS = 1_000
"""Of one request."""

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Found:
    """A file as a provider hands it over, decoded."""

    name: str
    content_type: str
    content: bytes
    content_id: str = ""
    inline: bool = False


def mails_of_source(
    raw: bytes,
    payload: Callable[[bytes], bytes],
    *,
    ingress: str,
    recipients: Sequence[str],
    return_path: str | None,
    notices: Sequence[str] = (),
    client_ip: str | None = None,
    spam_score: float | None = None,
    ticket: Ticket | None = None,
) -> tuple[Mail, ...]:
    """The mail of a source (RFC 5322), once for each recipient.

    `payload` makes the provider's document of the source in which files are named by hash. Without `recipients`, and
    where `return_path` is None, the traces of the envelope in the headers are taken.
    """
    mail = read_mime(raw)
    addressed = unique(recipients)
    message, contents = message_from(
        mail,
        ingress=ingress,
        recipient=addressed[0] if addressed else None,
        return_path=None if return_path is None else bare(return_path),
        notices=notices,
        client_ip=client_ip,
        spam_score=spam_score,
    )
    return _for_each(Mail(message, payload(outline(raw, mail)), contents, ticket), addressed)


def mails_of_parts(
    payload: bytes,
    *,
    ingress: str,
    recipients: Sequence[str],
    return_path: str,
    headers: Pairs,
    text: str | None,
    html: str | None,
    files: Iterable[Found] = (),
    subject: str | None = None,
    from_: tuple[Address, ...] = (),
    to: tuple[Address, ...] = (),
    cc: tuple[Address, ...] = (),
    reply_to: tuple[Address, ...] = (),
    message_id: str | None = None,
    notices: Sequence[str] = (),
    client_ip: str | None = None,
    spam_score: float | None = None,
    ticket: Ticket | None = None,
) -> tuple[Mail, ...]:
    """A mail that the provider took apart, once for each recipient. Addresses that are not given are the headers'."""
    attachments, contents = attached(files)
    folded = {name.lower(): value for name, value in reversed(headers)}
    addressed = unique(recipients)
    message = normalise(
        ingress=ingress,
        recipient=addressed[0] if addressed else "",
        return_path=bare(return_path),
        headers=tuple([(name, clean(decode_words(value))) for name, value in headers]),
        # Told apart before encoded words are resolved: names may hold commas.
        from_=from_ or addresses(folded.get("from")),
        to=to or addresses(folded.get("to")),
        cc=cc or addresses(folded.get("cc")),
        reply_to=reply_to or addresses(folded.get("reply-to")),
        subject=clean(decode_words(folded["subject"])) if subject is None and "subject" in folded else subject,
        text=text,
        html=html,
        attachments=attachments,
        notices=notices,
        message_id=message_id,
        client_ip=client_ip,
        spam_score=spam_score,
    )
    return _for_each(Mail(message, payload, contents, ticket), addressed)


def _for_each(mail: Mail, recipients: Sequence[str]) -> tuple[Mail, ...]:
    others = [msgspec.structs.replace(mail.message, id=new_id(), recipient=Address(each)) for each in recipients[1:]]
    return (mail, *(replace(mail, message=message) for message in others))


def readable(outline: bytes) -> str:
    """An outline as the text that stands in a document in place of the source."""
    return clean(decode_text(outline))


def attached(files: Iterable[Found]) -> tuple[tuple[Attachment, ...], tuple[bytes, ...]]:
    """The files as attachments, and their contents."""
    found = list(files)
    made = [
        Attachment(
            name=file_name(each.name),
            content_type=each.content_type.partition(";")[0].strip().lower() or "application/octet-stream",
            size=len(each.content),
            sha256=hashlib.sha256(each.content).hexdigest(),
            content_id=bare(each.content_id),
            inline=each.inline,
        )
        for each in found
    ]
    return tuple(made), tuple(each.content for each in found)


def file_name(name: str) -> str:
    """A name without folders; empty where nothing is left of it."""
    last = " ".join(clean(name).replace("\\", "/").rpartition("/")[2].split())[:500]
    return "" if last in (".", "..") else last


def addresses(header: str | None) -> tuple[Address, ...]:
    """The mailboxes of a header's value."""
    return tuple([Address(clean(each), clean(decode_words(name))) for name, each in parse_addresses(header or "")])


def bare(address: str) -> str:
    """An address without blanks and angle brackets around it."""
    return clean(address).strip().removeprefix("<").removesuffix(">").strip()


def unique(recipients: Iterable[str]) -> list[str]:
    """The addresses without brackets, none twice. Raises Refusal(400) where they are too many."""
    found = list(dict.fromkeys(filter(None, map(bare, recipients))))
    if len(found) > MOST_RECIPIENTS:
        raise Refusal(400, f"the mail has more than {MOST_RECIPIENTS:,} recipients")
    return found


def number(value: Any) -> float | None:
    """A score, also one that is written as text; None where it is none."""
    try:
        found = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def texts(value: Any) -> list[str]:
    """The texts of a list, or the one text; whatever else there is, is left out."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def header_pairs(headers: Any) -> list[tuple[str, str]]:
    """Name and value of each header, of a mapping to texts or lists of texts; what is neither is left out."""
    if not isinstance(headers, dict):
        return []
    return [(clean(name), clean(value)) for name, values in headers.items() for value in texts(values)]

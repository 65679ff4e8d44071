"""A raw mail as the document that SocketLabs would post: for `postroom send`, for samples and for tests."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from postroom.mail.mime import File, read_mime
from postroom.message import Address
from postroom.rawmail import addresses_of, envelope_of, raw_mails, subject_of


def documents(path: Path, recipient: str | None = None) -> Iterator[dict[str, Any]]:
    """The documents in a file: an .eml, an mbox, a provider's .json, or .jsonl with one document a line.

    `recipient` replaces the envelope recipient. Raises OSError, and ValueError where the file is none of these.
    """
    if path.suffix in (".json", ".jsonl"):
        lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
        found = (msgspec.json.decode(line) for line in lines if line.strip())
        for document in found:
            if not isinstance(document, dict):
                raise ValueError(f"{path} holds no JSON object")
            document = document.get("payload", document)
            yield {**document, "InboundRcptTo": recipient} if recipient else document
    else:
        for raw in raw_mails(path):
            yield document_of(raw, recipient)


def document_of(raw: bytes, recipient: str | None = None) -> dict[str, Any]:
    """One raw mail (RFC 5322) as a SocketLabs document, without the Secret Key. Takes whatever bytes there are."""
    mail = read_mime(raw)
    sender, addressee = envelope_of(mail)
    senders = addresses_of(mail, "from")
    return {
        "Message": {
            "To": _people(addresses_of(mail, "to")),
            "Cc": _people(addresses_of(mail, "cc")),
            "Bcc": None,
            "From": _person(senders[0]) if senders else None,
            "ReplyTo": next((_person(each) for each in addresses_of(mail, "reply-to")), None),
            "Subject": subject_of(mail),
            "TextBody": mail.text,
            "TextCharSet": None if mail.text is None else "utf-8",
            "HtmlBody": mail.html,
            "HtmlCharSet": None if mail.html is None else "utf-8",
            "MessageId": None,
            "MailingId": None,
            "CustomHeaders": [{"Name": name, "Value": value} for name, value in mail.shown_headers()],
            "Attachments": _attachments([each for each in mail.files if not each.inline]),
            "EmbeddedMedia": _attachments([each for each in mail.files if each.inline]),
        },
        "InboundMailFrom": sender,
        "InboundRcptTo": recipient or addressee,
        "InboundIpAddress": None,
        "ErrorLog": "; ".join(mail.notices) or None,
        "SpamScore": 0,
        "SpamDetails": None,
    }


def _attachments(files: Sequence[File]) -> list[dict[str, Any]] | None:
    return [
        {
            "Name": each.name or None,
            "ContentType": each.content_type,
            "Content": base64.b64encode(each.content).decode(),
            "ContentId": each.content_id or None,
            "CustomHeaders": None,
        }
        for each in files
    ] or None


def _people(addresses: Sequence[Address]) -> list[dict[str, Any]] | None:
    return [_person(each) for each in addresses] or None


def _person(address: Address) -> dict[str, Any]:
    return {"EmailAddress": address.address, "FriendlyName": address.name or None}

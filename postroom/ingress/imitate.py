"""A raw mail as the document that SocketLabs would post: for `postroom send`, for samples and for tests."""

from __future__ import annotations

import base64
import email.policy
import mailbox
from collections.abc import Iterator
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses
from pathlib import Path
from typing import Any

import msgspec

_CHARSETS = {
    "gb2312": "gb18030",
    "ks_c_5601-1987": "cp949",
    "shift_jis": "cp932",
    "iso-8859-1": "cp1252",
    "us-ascii": "cp1252",
}


def documents(path: Path, recipient: str | None = None) -> Iterator[dict[str, Any]]:
    """The documents in a file: an .eml, an mbox, a provider's .json, or .jsonl with one document a line.

    `recipient` replaces the envelope recipient. Raises ValueError where the file is none of these.
    """
    if path.suffix in (".json", ".jsonl"):
        lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
        found = (msgspec.json.decode(line) for line in lines if line.strip())
        for document in found:
            if not isinstance(document, dict):
                raise ValueError(f"{path} holds no JSON object")
            document = document.get("payload", document)
            yield {**document, "InboundRcptTo": recipient} if recipient else document
    elif path.suffix == ".mbox" or path.read_bytes()[:5] == b"From ":
        box = mailbox.mbox(path, create=False)
        for key in box.iterkeys():
            yield document_of(box.get_bytes(key), recipient)
    else:
        yield document_of(path.read_bytes(), recipient)


def document_of(raw: bytes, recipient: str | None = None) -> dict[str, Any]:
    """One raw mail (RFC 5322) as a SocketLabs document, without the Secret Key. Takes whatever bytes there are."""
    mail = email.message_from_bytes(raw, policy=email.policy.compat32)
    headers = [{"Name": name, "Value": _decoded(str(value))} for name, value in mail.items()]
    texts: dict[str, tuple[str, str]] = {}
    attachments: list[dict[str, Any]] = []
    media: list[dict[str, Any]] = []
    for part in _leaves(mail):
        kind = part.get_content_type()
        if kind in ("text/plain", "text/html") and kind not in texts and part.get_content_disposition() != "attachment":
            texts[kind] = _text(part)
        else:
            (media if part.get("Content-ID") else attachments).append(_attachment(part))
    senders, to = _people(mail, "From"), _people(mail, "To")
    return_path = (
        _bare(str(mail.get("Return-Path", ""))) if "Return-Path" in mail else (senders or [_NOBODY])[0]["EmailAddress"]
    )
    envelope = recipient or _bare(str(mail.get("Delivered-To") or mail.get("X-Original-To") or ""))
    plain, html = texts.get("text/plain", (None, None)), texts.get("text/html", (None, None))
    return {
        "Message": {
            "To": to or None,
            "Cc": _people(mail, "Cc") or None,
            "Bcc": None,
            "From": senders[0] if senders else None,
            "ReplyTo": next(iter(_people(mail, "Reply-To")), None),
            "Subject": _decoded(str(mail["Subject"])) if "Subject" in mail else None,
            "TextBody": plain[0],
            "TextCharSet": plain[1],
            "HtmlBody": html[0],
            "HtmlCharSet": html[1],
            "MessageId": None,
            "MailingId": None,
            "CustomHeaders": headers,
            "Attachments": attachments or None,
            "EmbeddedMedia": media or None,
        },
        "InboundMailFrom": return_path,
        "InboundRcptTo": envelope or (to[0]["EmailAddress"] if to else ""),
        "InboundIpAddress": None,
        "ErrorLog": None,
        "SpamScore": 0,
        "SpamDetails": None,
    }


_NOBODY = {"EmailAddress": "", "FriendlyName": None}


def _leaves(mail: Message) -> Iterator[Message]:
    for part in mail.walk():
        # A multipart without its boundary arrives as text: it is a leaf then.
        if not part.is_multipart():
            yield part
        elif part.get_content_type() == "message/rfc822" and part is not mail:
            return


def _text(part: Message) -> tuple[str, str]:
    declared = (part.get_content_charset() or "utf-8").lower()
    data = _bytes(part)
    for charset in (_CHARSETS.get(declared, declared), "utf-8", "cp1252"):
        try:
            return data.decode(charset), declared
        except (LookupError, UnicodeDecodeError):
            continue
    return data.decode("utf-8", "replace"), declared


def _bytes(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else str(part.get_payload()).encode("utf-8", "replace")


def _attachment(part: Message) -> dict[str, Any]:
    return {
        "Name": part.get_filename(),
        "ContentType": part.get_content_type(),
        "Content": base64.b64encode(_bytes(part)).decode(),
        "ContentId": _bare(str(part.get("Content-ID", ""))) or None,
        "CustomHeaders": None,
    }


def _people(mail: Message, header: str) -> list[dict[str, Any]]:
    values = [str(value).replace(";", ",") for value in mail.get_all(header, [])]
    pairs = getaddresses(values)
    return [
        {"EmailAddress": address, "FriendlyName": _decoded(name) or None} for name, address in pairs if "@" in address
    ]


def _bare(value: str) -> str:
    return value.strip().removeprefix("<").removesuffix(">").strip()


def _decoded(value: str) -> str:
    try:
        words = decode_header(value)
    except (ValueError, LookupError):
        return value
    text = ""
    for word, charset in words:
        if isinstance(word, str):
            text += word
            continue
        try:
            text += word.decode(_CHARSETS.get((charset or "ascii").lower(), charset or "ascii"))
        except (LookupError, UnicodeDecodeError):
            text += word.decode("utf-8", "replace")
    return " ".join(text.split()) if "\n" in text else text

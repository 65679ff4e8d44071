"""A mail built anew from what is stored of it: for sending on. Only few ways in bring its own bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from postroom import outgoing
from postroom.integration import JobAttachment
from postroom.mail.addresses import parse_addresses
from postroom.message import Address, Message
from postroom.outgoing import Part

_OF_ADDRESSES = {"from", "to", "cc", "reply-to", "sender"}
_OF_THE_BODY = re.compile(r"content-.*|mime-version|bcc", re.IGNORECASE)


def original_headers(message: Message) -> list[bytes]:
    """The headers as the mail had them, in their order, but those of its body: that is made anew."""
    kept, seen = [], set()
    for name, value in message.headers:
        lower = name.lower()
        if _OF_THE_BODY.fullmatch(name):
            continue
        seen.add(lower)
        if lower in _OF_ADDRESSES and not value.isascii():
            kept.append(outgoing.mailboxes_header(name, [Address(a, shown) for shown, a in parse_addresses(value)]))
        else:
            kept.append(outgoing.kept_header(name, value))
    # Some providers list these beside the headers, not among them.
    lists = {"From": [message.from_] if message.from_ else [], "To": message.to, "Cc": message.cc}
    kept += [outgoing.mailboxes_header(name, boxes) for name, boxes in lists.items() if name.lower() not in seen]
    if "subject" not in seen and message.subject:
        kept.append(outgoing.header("Subject", message.subject))
    if "message-id" not in seen and message.message_id:
        kept.append(outgoing.keys_header("Message-ID", message.message_id))
    return kept


def original_body(message: Message, attachments: Sequence[JobAttachment], token: str, notes: Sequence[str]) -> Part:
    """The mail's texts and files, built anew: alternatives, pictures beside their HTML, files.

    `token` makes its boundaries: letters and digits that no other mail has.
    """

    def file(each: JobAttachment, content_id: str = "") -> Part:
        info = each.info
        return outgoing.file_part(info.name, info.content_type, info.size, each.chunks, content_id=content_id)

    body = outgoing.text_part("\n\n".join([message.text or "", *notes]))
    shown = [each for each in attachments if each.info.inline and each.info.content_id and message.html]
    if message.html:
        html = outgoing.text_part(message.html, "html")
        if shown:
            html = outgoing.multipart("related", f"=_r{token}", [html, *(file(a, a.info.content_id) for a in shown)])
        body = outgoing.multipart("alternative", f"=_a{token}", [body, html])
    rest = [file(each) for each in attachments if each not in shown]
    return outgoing.multipart("mixed", f"=_m{token}", [body, *rest]) if rest else body

"""From the parts of a mail, as a provider or our MIME parser gives them, to a Message: one road for every way in."""

from __future__ import annotations

from collections.abc import Sequence

from postroom.ids import new_id, now_ms
from postroom.mail.addresses import parse_addresses
from postroom.mail.encoded_words import decode_words
from postroom.mail.markup import html_to_text
from postroom.mail.threads import message_key, thread_keys
from postroom.message import Address, Attachment, Message


def normalise(
    *,
    ingress: str,
    recipient: str,
    return_path: str,
    headers: tuple[tuple[str, str], ...],
    from_: tuple[Address, ...],
    to: tuple[Address, ...],
    cc: tuple[Address, ...],
    reply_to: tuple[Address, ...],
    subject: str | None,
    text: str | None,
    html: str | None,
    attachments: tuple[Attachment, ...],
    notices: Sequence[str],
    message_id: str | None = None,
    client_ip: str | None = None,
    spam_score: float | None = None,
) -> Message:
    """A message received now, not yet classed.

    Addresses that are not given are those of the headers, and the text is made from the HTML where the mail has none.
    `recipient` and `return_path` are those of the envelope. `message_id` counts where the headers have none.
    """
    told = list(notices)
    size = sum(len(part.encode("utf-8", "replace")) for part in (subject or "", text or "", html or ""))
    size += sum(len(name) + len(value) + 4 for name, value in headers)
    size += sum(attachment.size for attachment in attachments)
    if html and not (text and text.strip()):
        try:
            text = html_to_text(html)
        except Exception as error:
            # The mail is worth more than its plain text.
            told.append(f"no text could be made of the HTML ({type(error).__name__})")
    if not recipient:
        # Refusing it would lose a real mail: without a recipient it waits as unmatched, or goes where other fields say.
        told.append("no envelope recipient was named")
    folded = {name.lower(): value for name, value in reversed(headers)}
    from_, to, cc, reply_to = (
        given or (_addresses(folded[name]) if name in folded else ())
        for given, name in ((from_, "from"), (to, "to"), (cc, "cc"), (reply_to, "reply-to"))
    )
    return Message(
        id=new_id(),
        received_at=now_ms(),
        ingress=ingress,
        recipient=Address(recipient),
        return_path=Address(return_path),
        from_=from_[0] if from_ else None,
        to=to,
        cc=cc,
        reply_to=reply_to,
        subject=subject,
        text=text,
        html=html,
        headers=headers,
        attachments=attachments,
        message_id=message_key(folded.get("message-id")) or message_key(message_id),
        references=thread_keys(folded.get("in-reply-to"), folded.get("references")),
        client_ip=client_ip,
        spam_score=spam_score,
        size=size,
        notices=tuple(told),
    )


def _addresses(header: str) -> tuple[Address, ...]:
    return tuple([Address(address, decode_words(name)) for name, address in parse_addresses(header)])

"""Mailgun Routes: a form for each recipient, posted by the action `forward("https://.../inbound/NAME")`.

The contract (Mailgun's user manual, "Receiving, forwarding and storing messages: receive via HTTP", "Securing
webhooks"):

- `multipart/form-data` (or urlencoded where there are no attachments). Where the URL ends in `mime`, or the form has
  `body-mime`, the mail comes as it is; else Mailgun has taken it apart: `body-plain`, `body-html`, `message-headers`
  (JSON), `attachment-1`..., `content-id-map`. `recipient` and `sender` are the envelope.
- Known by `signature`: HMAC-SHA256 of `timestamp` and `token` under the signing key. It says nothing of the rest, so
  each token is good for one document (see store/tickets.py), and a timestamp older than `max_age` is refused. Mailgun
  sends again for eight hours with the signature it made first: a shorter age would lose mail after an outage.
- **200** stored, or stored before. **406**, of which Mailgun knows to stop, where no mail can be made of the form: an
  event, a stored message without its attachments, a form that breaks off. **401** a wrong signature, a stale timestamp,
  a token that another document has used: Mailgun sends again, and a wrong key may be mended by then. **415** neither
  form, **503** send again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import Any

from postroom.fields import Seconds, Secret, setting
from postroom.ingress.base import Accepted, Ingress, Refusal, Request, Ticket
from postroom.ingress.credentials import fresh, signed
from postroom.ingress.forms import Form, Part, read_form
from postroom.ingress.jsonbody import decode_json
from postroom.ingress.mails import Found, bare, mails_of_parts, mails_of_source, number, readable
from postroom.mail.texts import clean

_MASKED = frozenset(("signature",))
_AHEAD = 600.0
"""Seconds that Mailgun's clock may be ahead of ours."""


@dataclasses.dataclass(frozen=True)
class Options:
    signing_key: list[Secret] = setting("the HTTP webhook signing key of the account; several while it is changed")
    max_age: Seconds = setting(
        "requests that were signed longer ago are refused; Mailgun sends again for 8 hours", default=Seconds(9 * 3600)
    )


class Mailgun(Ingress):
    kind = "mailgun"
    summary = "Mailgun Routes, taken apart or as raw MIME, by the signature of each request."
    Options = Options
    unfit = 406

    def accept(self, request: Request) -> Accepted:
        form = read_form(request)
        timestamp, token = form.text("timestamp") or "", form.text("token") or ""
        if not token or not signed(form.text("signature") or "", f"{timestamp}{token}".encode(), self._keys):
            raise Refusal(401, "the signature does not match")
        if not fresh(timestamp, self.options.max_age, ahead=_AHEAD):
            raise Refusal(401, "the timestamp is stale")
        if form.raw("event") is not None or form.raw("event-data") is not None:
            raise Refusal(400, "this is an event, and no mail: point a route here, and no webhook")
        recipients, sender = [form.text("recipient") or ""], form.text("sender") or ""
        source = form.raw("body-mime")
        if source is None and form.raw("attachments") is not None:
            raise Refusal(400, "the message was stored by Mailgun, without its attachments: use forward(), not store()")
        document = form.payload(_MASKED)
        expires = time.time() + self.options.max_age + _AHEAD
        ticket = Ticket(
            hashlib.sha256(f"mailgun:{token}".encode()).digest(),
            # Not what was masked: a signature is one of the token.
            hashlib.sha256(document).digest(),
            int(expires * 1000),
        )
        if source is not None:
            del document  # as large as the mail, which is held once more
            return Accepted(
                mails_of_source(
                    source,
                    lambda outline: _outlined(form, outline),
                    ingress=self.name,
                    recipients=recipients,
                    return_path=sender,
                    ticket=ticket,
                )
            )
        headers = _headers(form)
        known = {name.lower(): value for name, value in headers}
        return Accepted(
            mails_of_parts(
                document,
                ingress=self.name,
                recipients=recipients,
                return_path=sender or known.get("x-envelope-from", ""),
                headers=headers,
                subject=form.text("subject"),
                text=form.text("body-plain"),
                html=form.text("body-html"),
                files=_files(form),
                message_id=form.text("Message-Id"),
                client_ip=known.get("x-originating-ip"),
                spam_score=number(known.get("x-mailgun-sscore")),
                ticket=ticket,
            )
        )

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Route action", f'forward("{url}")'), ("Signing key", "copy it from Mailgun into config.yaml")]

    @property
    def _keys(self) -> list[Secret]:
        keys: list[Secret] = self.options.signing_key
        return keys


def _outlined(form: Form, outline: bytes) -> bytes:
    text = readable(outline)

    def shown(part: Part) -> str | None:
        return text if part.name == "body-mime" else None

    return form.payload(_MASKED, shown)


def _headers(form: Form) -> list[tuple[str, str]]:
    given = form.raw("message-headers")
    if not given:
        return []
    found: Any = decode_json(given)[0]
    return [
        (clean(pair[0]), clean(pair[1]))
        for pair in (found if isinstance(found, list) else [])
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)
    ]


def _files(form: Form) -> list[Found]:
    ids: dict[str, str] = {}
    given = form.raw("content-id-map")
    mapped: Any = decode_json(given)[0] if given else {}
    for content_id, name in mapped.items() if isinstance(mapped, dict) else ():
        if isinstance(name, str) and bare(content_id):
            # Of two parts with one id, JSON keeps the last (RFC 2392 wants ids unique).
            ids[name] = bare(content_id)
    return [
        Found(part.filename or "", part.content_type, part.content, ids.get(part.name, ""), part.name in ids)
        for part in form.files
    ]

"""Twilio SendGrid's Inbound Parse: a form for each mail, taken apart or as it is ("POST the raw, full MIME message").

The contract (Twilio's docs, "Setting up the Inbound Parse webhook", "Securing your Inbound Parse webhooks"):

- `multipart/form-data`. Taken apart: `headers` (a block of text), `from`, `to`, `subject`, `text`, `html`,
  `attachment1`... with `attachment-info` and `content-ids`; fields may be in other charsets, which `charsets` names.
  As it is: `email`. `envelope` is JSON with `to` (a list) and `from`.
- Known by a security policy: an ECDSA signature (P-256, SHA-256) of timestamp and body in
  `X-Twilio-Email-Event-Webhook-Signature`, checked with `public_key`; or by a name and a password in the URL (HTTP
  Basic authentication); by both where both are set.
- **200** stored. **401**, **400** (no mail in it), **415**: SendGrid may drop the mail for a 4xx, and tells nobody: try
  the set-up out before the MX record points there. **503** and all 5xx are tried again for three days.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from postroom.fields import Seconds, Secret, setting
from postroom.ingress.base import Accepted, Ingress, Refusal, Request
from postroom.ingress.credentials import fresh, require_login, with_login
from postroom.ingress.forms import Form, Part, read_form
from postroom.ingress.jsonbody import decode_json
from postroom.ingress.mails import Found, addresses, mails_of_parts, mails_of_source, number, readable, texts
from postroom.ingress.publickeys import fault_of_key, verified
from postroom.mail.charsets import decode_text
from postroom.mail.mime import read_mime
from postroom.mail.texts import clean

_SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
_TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"


@dataclasses.dataclass(frozen=True)
class Options:
    public_key: list[str] = setting(
        "the public key of the security policy; several while it is changed", default_factory=list
    )
    username: str = setting("user name in the URL that SendGrid is given", default="postroom")
    password: list[Secret] = setting("its password; several while it is changed", default_factory=list)
    max_age: Seconds = setting(
        "requests that were signed longer ago are refused; SendGrid sends again for 3 days",
        default=Seconds(4 * 86400),
    )


class SendGrid(Ingress):
    kind = "sendgrid"
    summary = "SendGrid's Inbound Parse, taken apart or as raw MIME, by a signature or a password in its URL."
    Options = Options

    @classmethod
    def faults(cls, options: Any) -> Sequence[str]:
        if not options.public_key and not options.password:
            return ["it needs public_key or password: without either, anybody could post mail"]
        return [fault for key in options.public_key if (fault := fault_of_key(key, "public_key"))]

    def accept(self, request: Request) -> Accepted:
        if self.options.password:
            require_login(request, self.options.username, self.options.password)
        if self.options.public_key:
            timestamp = request.header(_TIMESTAMP)
            signature, keys = request.header(_SIGNATURE), self.options.public_key
            if not verified(keys, signature, timestamp.encode(), request.body, "sha256"):
                raise Refusal(401, "the signature does not match")
            if not fresh(timestamp, self.options.max_age):
                raise Refusal(401, "the timestamp of the signature is stale")
        form = read_form(request)
        envelope = _object(form, "envelope")
        recipients, sender = texts(envelope.get("to")), envelope.get("from")
        known: dict[str, Any] = {
            "ingress": self.name,
            "recipients": recipients,
            "client_ip": form.text("sender_ip"),
            "spam_score": number(form.text("spam_score")),
        }
        source = form.raw("email")
        if source is not None:
            if not source.strip():
                raise Refusal(400, "the mail is empty")
            return_path = sender if isinstance(sender, str) else None
            payload = _Outlined(form)
            return Accepted(mails_of_source(source, payload, return_path=return_path, **known))
        if form.raw("headers") is None and form.raw("from") is None:
            raise Refusal(400, "the form holds no mail: neither `email` nor `headers` nor `from`")
        headers = read_mime((form.raw("headers") or b"").strip() + b"\r\n\r\n").headers
        charsets = _object(form, "charsets")

        def text(name: str) -> str | None:
            charset = charsets.get(name)
            return form.text(name, charset if isinstance(charset, str) else None)

        return Accepted(
            mails_of_parts(
                form.payload((), lambda part: _decoded(part, charsets)),
                return_path=sender if isinstance(sender, str) else "",
                headers=headers,
                from_=addresses(text("from")),
                to=addresses(text("to")),
                cc=addresses(text("cc")),
                subject=text("subject"),
                text=text("text"),
                html=text("html"),
                files=_files(form),
                **known,
            )
        )

    def panel(self, url: str) -> list[tuple[str, str]]:
        named = [with_login(url, self.options.username, each) for each in self.options.password[:1]]
        return [("Destination URL", named[0] if named else url)]


@dataclasses.dataclass(frozen=True)
class _Outlined:
    form: Form

    def __call__(self, outline: bytes) -> bytes:
        text = readable(outline)
        return self.form.payload((), lambda part: text if part.name == "email" else None)


def _decoded(part: Part, charsets: dict[str, Any]) -> str | None:
    charset = charsets.get(part.name)
    return clean(decode_text(part.content, charset)) if isinstance(charset, str) else None


def _object(form: Form, name: str) -> dict[str, Any]:
    given = form.raw(name)
    found = decode_json(given)[0] if given and given.strip() else {}
    return found if isinstance(found, dict) else {}


def _files(form: Form) -> list[Found]:
    told, ids = _object(form, "attachment-info"), _object(form, "content-ids")
    by_name = {name: content_id for content_id, name in ids.items() if isinstance(name, str)}
    found = []
    for part in form.files:
        about = told.get(part.name)
        content_id = by_name.get(part.name, "")
        name = about.get("filename") if isinstance(about, dict) else None
        found.append(
            Found(
                name if isinstance(name, str) else part.filename or "",
                part.content_type,
                part.content,
                content_id,
                bool(content_id),
            )
        )
    return found

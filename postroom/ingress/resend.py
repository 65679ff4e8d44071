"""Resend's `email.received` webhook: a notice without the mail, which is fetched from Resend's API.

The contract (Resend's docs, "email.received", "Verify webhook requests", "Retrieve received email"; Svix's docs,
"Verifying webhooks manually"):

- The webhook names the mail by `data.email_id` and holds neither bodies nor headers nor attachments. The mail as it is
  lies behind `raw.download_url` of the API's answer: it is fetched before anything is answered, so that a mail is
  acknowledged only once it is here whole. Where that takes longer than Resend waits, the mail is stored all the same,
  and the next attempt finds it there.
- Known by Svix's signature (Standard Webhooks): HMAC-SHA256 of id, timestamp and body under the webhook's secret, and
  a timestamp of the last five minutes, which is new for each attempt.
- The envelope's recipients are not named. A message is made for each address of To, Cc and Bcc, of those in `domains`
  where domains are set: without them, a copy to a stranger becomes a message too.
- **200** stored; also for events that are no received mail, for Resend closes an endpoint that goes on refusing.
  **401** the signature. **400** no such notice, or the mail is gone. **415** no JSON. **503** the API did not give the
  mail now. Resend sends again whatever is not 2xx, for a day and more.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import logging
import re
from collections.abc import Sequence
from typing import Any

from postroom.exchange import Http
from postroom.fields import Secret, Url, secrets_of, setting
from postroom.ingress.base import Accepted, Ingress, Mail, Refusal, Request
from postroom.ingress.credentials import fresh, one_of
from postroom.ingress.fetching import fetch
from postroom.ingress.jsonbody import JSON_TYPES, Members, decode_json, encode_json, read_document, require_type
from postroom.ingress.mails import Found, addresses, header_pairs, mails_of_parts, mails_of_source, readable, texts
from postroom.mail.addresses import address_key, split_address
from postroom.mail.folding import fold_domain

log = logging.getLogger("postroom.inbound")

_TOLERANCE = 300.0
"""Seconds, as Svix's own libraries have it."""
_LARGEST = 60_000_000
"""Bytes of a raw mail: Resend takes 40 MB of attachments."""
_ANSWER = 10_000_000
"""Bytes of the API's answer, which holds the bodies."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclasses.dataclass(frozen=True)
class Options:
    signing_secret: list[Secret] = setting("the webhook's signing secret (whsec_...); several while it is changed")
    api_key: Secret = setting("API key with full access, by which mails are fetched")
    domains: list[str] = setting(
        "receiving domains: addresses of others become no message; empty: every address does", default_factory=list
    )
    api_url: Url = setting("where Resend's API is", default=Url("https://api.resend.com"))


class Resend(Ingress):
    kind = "resend"
    summary = "Resend's received mails, by the signature of the webhook; each mail is fetched from its API."
    Options = Options
    asks = True

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.http = Http(timeout=60, secrets=secrets_of(options))

    @classmethod
    def faults(cls, options: Any) -> Sequence[str]:
        return [
            "signing_secret is none: it begins with whsec_, base64 follows"
            for secret in options.signing_secret
            if secret and _key(secret) is None
        ][:1]

    def accept(self, request: Request) -> Accepted:
        require_type(request, JSON_TYPES)
        self._authenticate(request)
        event = read_document(request)
        if event.text("type") != "email.received":
            log.info("ingress %r passed over an event that is no received mail", self.name)
            return Accepted(())
        data = event.object("data")
        number = (data.text("email_id") if data else None) or ""
        if data is None or not _ID.fullmatch(number):
            raise Refusal(400, "data.email_id names no mail")
        return Accepted(self._mails(event, data, number, request))

    def _authenticate(self, request: Request) -> None:
        number, timestamp, given = (
            request.header(f"svix-{part}") or request.header(f"webhook-{part}")
            for part in ("id", "timestamp", "signature")
        )
        before = f"{number}.{timestamp}.".encode()
        wanted = []
        for secret in self.options.signing_secret:
            made = hmac.new(_key(secret) or b"", before, hashlib.sha256)
            made.update(request.body)
            wanted.append(b"v1," + base64.b64encode(made.digest()))
        # Several signatures stand side by side while Resend changes its secret.
        matches = [one_of(each.encode(), wanted) for each in given[:4000].split()]
        if not any(matches):
            raise Refusal(401, "the signature does not match")
        if not fresh(timestamp, _TOLERANCE, ahead=_TOLERANCE):
            raise Refusal(401, "the timestamp of the signature is stale")

    def _mails(self, event: Members, data: Members, number: str, request: Request) -> tuple[Mail, ...]:
        key = {"Authorization": f"Bearer {self.options.api_key}"}
        url = f"{self.options.api_url.rstrip('/')}/emails/receiving/{number}"
        answer, scrub = decode_json(fetch(self.http, url, what="the mail", limit=_ANSWER, headers=key))
        if not isinstance(answer, dict):
            raise Refusal(503, "Resend's API answered with something else than a mail")
        mail = Members(answer, "", scrub)
        recipients = self._recipients(data, mail)
        raw = mail.object("raw")
        source = raw.text("download_url") if raw else None
        if source:
            content = fetch(self.http, source, what="the raw mail", limit=_LARGEST)
            request.hold(len(content))

            def outlined(outline: bytes) -> bytes:
                kept = {"event": event.source, "raw": readable(outline)}
                return encode_json(kept)

            return mails_of_source(content, outlined, ingress=self.name, recipients=recipients, return_path=None)
        files = self._files(mail, request)
        return mails_of_parts(
            encode_json({"event": event.source, "email": mail.source}),
            ingress=self.name,
            recipients=recipients,
            return_path="",
            headers=header_pairs(mail.get("headers")),
            from_=addresses(mail.text("from")),
            to=addresses(", ".join(texts(mail.get("to")))),
            cc=addresses(", ".join(texts(mail.get("cc")))),
            reply_to=addresses(", ".join(texts(mail.get("reply_to")))),
            subject=mail.text("subject"),
            text=mail.text("text"),
            html=mail.text("html"),
            files=files,
            message_id=mail.text("message_id"),
        )

    def _files(self, mail: Members, request: Request) -> list[Found]:
        found = []
        for each in mail.objects("attachments"):
            url = each.text("download_url")
            if not url:
                raise Refusal(503, "Resend's API gave neither the raw mail nor its attachments")
            content = fetch(self.http, url, what="an attachment", limit=_LARGEST)
            request.hold(len(content))
            content_id = each.text("content_id") or ""
            inline = each.text("content_disposition") == "inline" and bool(content_id)
            name, kind = each.text("filename") or "", each.text("content_type") or ""
            found.append(Found(name, kind, content, content_id, inline))
        return found

    def _recipients(self, data: Members, mail: Members) -> list[str]:
        named = [
            address.address
            for source in (data, mail)
            for member in ("to", "cc", "bcc")
            for value in texts(source.get(member))
            for address in addresses(value)
        ]
        found: dict[str, str] = {}
        for each in named:
            found.setdefault(address_key(each), each)
        unique = list(found.values())
        domains = {fold_domain(domain) for domain in self.options.domains}
        ours = [each for each in unique if fold_domain(split_address(each)[1] or "") in domains]
        # A mail that came by a list names none of our addresses: it becomes one message all the same.
        return ours or (unique[:1] if domains else unique)

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Endpoint URL", url), ("Event type", "email.received"), ("Signing secret", "copy it into config.yaml")]


def _key(secret: str) -> bytes | None:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True) or None
    except (binascii.Error, ValueError):
        return None

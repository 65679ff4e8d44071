"""Mailchimp Transactional (Mandrill) inbound: a form with up to a thousand events, posted to a route's URL.

The contract (Mailchimp Transactional's docs, "What is the format of inbound email webhooks?", "Authenticating webhook
requests"):

- `mandrill_events` is a JSON list; of its events those named `inbound` are mails: `msg.raw_msg` is the source,
  `msg.email` the envelope's recipient. Others are passed over. A message of its own for each event.
- Known by `X-Mandrill-Signature`: base64 of HMAC-SHA1 under the webhook's key over the URL as Mandrill was given it,
  then name and value of each field, sorted. The URL is the public one of this ingress, unless `url` is set.
- **200** all mails of the request are stored; also to HEAD and to the empty list signed with `test-webhook`, by which
  Mandrill looks whether the URL is there. **401** a wrong signature. **400** no list of events. **415** no form.
  Mandrill sends again whatever is not answered 200: **503** send again. An event that is no mail at all does not hold
  up the others of its request: it is left out and logged.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import logging
from collections.abc import Sequence
from typing import Any

from postroom.fields import Secret, Url, setting
from postroom.ingress.base import Accepted, Ingress, Mail, Refusal, Request
from postroom.ingress.credentials import one_of
from postroom.ingress.forms import Form, read_form
from postroom.ingress.jsonbody import Members, decode_json, encode_json
from postroom.ingress.mails import Found, header_pairs, mails_of_parts, mails_of_source, number, readable

log = logging.getLogger("postroom.inbound")

_TEST_KEY = b"test-webhook"


@dataclasses.dataclass(frozen=True)
class Options:
    webhook_key: list[Secret] = setting("the key that Mandrill shows beside the webhook; several while it is changed")
    url: Url | None = setting("the URL as Mandrill was given it, where it is not the public one", default=None)


class Mandrill(Ingress):
    kind = "mandrill"
    summary = "Mailchimp Transactional (Mandrill) inbound, several mails a request, by a signature of its fields."
    Options = Options
    probes = frozenset(("HEAD",))

    def accept(self, request: Request) -> Accepted:
        url = self.options.url or request.url
        form = read_form(request)
        given, signed = request.header("X-Mandrill-Signature").strip().encode(), _signed(url, form)
        events = form.raw("mandrill_events")
        if not one_of(given, [_signature(key.encode(), signed) for key in self.options.webhook_key]):
            if (events or b"").strip() == b"[]" and one_of(given, [_signature(_TEST_KEY, signed)]):
                return Accepted(())
            raise Refusal(401, "the signature does not match")
        if events is None:
            raise Refusal(400, "the form has no mandrill_events")
        found, scrub = decode_json(events)
        if not isinstance(found, list):
            raise Refusal(400, "mandrill_events must be a list")
        return Accepted(tuple(mail for each in found for mail in self._mails(each, scrub)))

    def _mails(self, event: Any, scrub: Any) -> Sequence[Mail]:
        message = event.get("msg") if isinstance(event, dict) else None
        if not isinstance(message, dict) or event.get("event", "inbound") != "inbound":
            log.warning("ingress %r passed over an event that is no inbound mail", self.name)
            return ()
        try:
            return self._mail(event, Members(message, "msg.", scrub))
        except Refusal as refusal:
            log.error("ingress %r left out a mail that cannot be read: %s", self.name, refusal.reason)
            return ()

    def _mail(self, event: dict[str, Any], message: Members) -> Sequence[Mail]:
        recipient, sender = message.text("email") or "", message.text("sender")
        report = message.object("spam_report")
        score = number(report.get("score")) if report else None
        source = message.text("raw_msg")
        if source is not None:

            def outlined(outline: bytes) -> bytes:
                message.source["raw_msg"] = readable(outline)
                for files in ("attachments", "images"):
                    _named_by_hash(message, files)
                return encode_json(event)

            return mails_of_source(
                source.encode(),
                outlined,
                ingress=self.name,
                recipients=[recipient],
                return_path=sender,
                spam_score=score,
            )
        files = [*_named_by_hash(message, "attachments"), *_named_by_hash(message, "images")]
        headers = header_pairs(message.get("headers"))
        return mails_of_parts(
            encode_json(event),
            ingress=self.name,
            recipients=[recipient],
            return_path=sender or "",
            headers=headers,
            subject=message.text("subject"),
            text=message.text("text"),
            html=message.text("html"),
            files=files,
            spam_score=score,
        )

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Webhook URL", self.options.url or url), ("Webhook key", "copy it from Mandrill into config.yaml")]


def _signed(url: str, form: Form) -> bytes:
    fields = sorted((part.name.encode(), part.content) for part in form.parts)
    return b"".join([url.encode(), *(piece for field in fields for piece in field)])


def _signature(key: bytes, data: bytes) -> bytes:
    return base64.b64encode(hmac.new(key, data, hashlib.sha1).digest())


def _named_by_hash(message: Members, member: str) -> list[Found]:
    """The files of a mapping from names to files, whose contents are named by hash from then on."""
    value = message.get(member)
    found = []
    for name, each in value.items() if isinstance(value, dict) else ():
        if not isinstance(each, dict) or not isinstance(each.get("content"), str):
            continue
        file = Members(each, f"msg.{member}.{name}.", message.scrub)
        is_base64 = member == "images" or each.get("base64") is not False
        content = file.take_base64("content") if is_base64 else each["content"].encode("utf-8", "replace")
        each["content"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        inline = member == "images"
        content_id = file.text("name") or name if inline else ""
        found.append(Found(file.text("name") or name, file.text("type") or "", content, content_id, inline))
    return found

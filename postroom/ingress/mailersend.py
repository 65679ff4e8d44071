"""MailerSend's inbound routes: one JSON document for each mail, the mail as it is inside.

The contract (MailerSend's API reference, "Inbound routing", "Verifying a request's signature"):

- `type` is `inbound.message`; `data.raw` is the source, `data.recipients.rcptTo` the envelope's recipients,
  `data.sender` its sender.
- Known by the header `Signature`: HMAC-SHA256 of the body, in hexadecimal digits, under the route's secret.
- **200** stored. **401** the signature. **400** another kind of event. **415**, **503** send again. How often
  MailerSend sends again, and at which statuses, its docs say only for its other webhooks.
"""

from __future__ import annotations

import dataclasses
import hashlib

from postroom.fields import Secret, setting
from postroom.ingress.base import Accepted, Ingress, Refusal, Request
from postroom.ingress.credentials import signed
from postroom.ingress.jsonbody import Members, encode_json, read_document, require_type
from postroom.ingress.mails import mails_of_source, readable


@dataclasses.dataclass(frozen=True)
class Options:
    secret: list[Secret] = setting("the secret of the inbound route; several while it is changed")


class MailerSend(Ingress):
    kind = "mailersend"
    summary = "MailerSend's inbound routes, by the signature of each document."
    Options = Options

    def accept(self, request: Request) -> Accepted:
        require_type(request)
        if not signed(request.header("Signature"), request.body, self.options.secret):
            raise Refusal(401, "the signature does not match")
        document = read_document(request)
        data = document.object("data")
        source = data.text("raw") if data else None
        if document.text("type") != "inbound.message" or data is None or source is None:
            raise Refusal(400, "this is no inbound.message with a raw mail: it belongs to another webhook")
        recipients, sender = data.object("recipients"), data.object("sender")
        named = recipients.objects("rcptTo") if recipients else []

        def outlined(outline: bytes) -> bytes:
            data.source["raw"] = readable(outline)
            for file in data.objects("attachments"):
                _named_by_hash(file)
            return encode_json(document.source)

        return Accepted(
            mails_of_source(
                source.encode(),
                outlined,
                ingress=self.name,
                recipients=[each.text("email") or "" for each in named],
                return_path=(sender.text("email") or "") if sender else None,
            )
        )

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Forward to endpoint", url), ("Secret", "copy it from MailerSend into config.yaml")]


def _named_by_hash(file: Members) -> None:
    name = file.key("content")
    if name is not None and isinstance(file.source[name], str):
        # The files are read from the source of the mail; of this second copy only a name is kept.
        file.source[name] = f"sha256-of-base64:{hashlib.sha256(file.source[name].encode()).hexdigest()}"

"""Postal's HTTP endpoints (a mail server of one's own): the raw message, one request for each recipient.

The contract (Postal's docs, "Receiving e-mail by HTTP", "Webhooks: verifying signatures"):

- The endpoint's format is "raw message", its encoding JSON: `rcpt_to`, `mail_from`, `message` in base64 where `base64`.
- Known by `X-Postal-Signature-256`, or in older versions `X-Postal-Signature`: RSA with SHA-256 or SHA-1 over the body,
  under the key of the installation, whose public half `postal default-dkim-record` shows (`p=`).
- **200** stored. **401** the signature. **400** no raw message, **415**: Postal tries these up to 18 times, then the
  sender gets a bounce. **429** in place of 503: at a 5xx Postal gives up at once and bounces the mail.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from postroom.fields import setting
from postroom.ingress.base import Accepted, Ingress, Refusal, Request
from postroom.ingress.jsonbody import encode_json, read_document, require_type
from postroom.ingress.mails import mails_of_source, readable
from postroom.ingress.publickeys import fault_of_key, verified


@dataclasses.dataclass(frozen=True)
class Options:
    public_key: list[str] = setting("what follows p= in `postal default-dkim-record`; several while it is changed")


class Postal(Ingress):
    kind = "postal"
    summary = "Postal's HTTP endpoints, raw messages in JSON, by the signature of the installation."
    Options = Options
    busy = 429

    @classmethod
    def faults(cls, options: Any) -> Sequence[str]:
        return [fault for key in options.public_key if (fault := fault_of_key(key, "public_key"))]

    def accept(self, request: Request) -> Accepted:
        require_type(request)
        keys, body = self.options.public_key, request.body
        given, older = request.header("X-Postal-Signature-256"), request.header("X-Postal-Signature")
        if not (verified(keys, given, b"", body, "sha256") if given else verified(keys, older, b"", body, "sha1")):
            raise Refusal(401, "the signature does not match")
        del body
        document = read_document(request)
        if document.get("message") is None:
            raise Refusal(400, "the document holds no raw message: it is an event, or of another format")
        is_base64 = document.get("base64") is True
        source = document.take_base64("message") if is_base64 else (document.text("message") or "").encode()

        def outlined(outline: bytes) -> bytes:
            document.source["message"] = readable(outline)
            return encode_json(document.source)

        return Accepted(
            mails_of_source(
                source,
                outlined,
                ingress=self.name,
                recipients=[document.text("rcpt_to") or ""],
                return_path=document.text("mail_from") or "",
            )
        )

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("URL", url), ("Encoding", "send as JSON"), ("Format", "raw message")]

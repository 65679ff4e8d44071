"""Raw MIME: a mail as it is, posted to `/inbound/NAME` by a mail server of one's own.

The contract:

- The body is the mail (RFC 5322), its type `message/rfc822`. The envelope stands in headers: `X-Envelope-From` (empty
  or `<>` for a bounce) and `X-Envelope-To`, which may come several times or hold several addresses with commas between:
  each recipient becomes a message of its own. Without them, the traces in the mail's headers are taken (Return-Path;
  Delivered-To, X-Original-To), then From and To. `X-Client-Address` may name the host that handed the mail in.
- **200** the mail is on the disk. **401** where `Authorization: Bearer TOKEN` names none of our tokens. **415** where
  the type is another. **400** where the body is empty. **503** send it again.
- What makes a mail is for the MIME reader to say: any bytes are taken.

A mail server hands mail over by a pipe: contrib/postroom-pipe turns 5xx, 408 and 429 into "try again later", other
refusals into a bounce, and 401 into "try again later" too, since that is a fault of the set-up and not of the mail.
"""

from __future__ import annotations

import dataclasses
import re

from postroom.fields import Secret, setting
from postroom.ingress.base import Accepted, Ingress, Refusal, Request
from postroom.ingress.credentials import one_of
from postroom.ingress.mails import mails_of_source
from postroom.mail.texts import clean

_ADDRESS = re.compile(r"(?:\"(?:[^\"\\]|\\.)*\"|[^,\"]|\")+")
"""What stands between commas, but for those in a quoted local part."""
_LONGEST_LIST = 100_000


@dataclasses.dataclass(frozen=True)
class Options:
    token: list[Secret] = setting("bearer token of whoever posts mail; several while it is changed")


class Raw(Ingress):
    kind = "raw"
    summary = "A mail as it is (message/rfc822) from a mail server of your own, by a bearer token."
    Options = Options

    def accept(self, request: Request) -> Accepted:
        scheme, _, given = request.header("Authorization").partition(" ")
        tokens = [token.encode() for token in self.options.token]
        if scheme.lower() != "bearer" or not one_of(given.strip().encode(), tokens):
            raise Refusal(401, "the bearer token does not match")
        if request.content_type != "message/rfc822":
            given = request.content_type[:100] or "missing"
            raise Refusal(415, f"the content type must be message/rfc822; it is {given}")
        sender = request.header("X-Envelope-From") if "HTTP_X_ENVELOPE_FROM" in request.environ else None
        recipients = addresses_in(request.header("X-Envelope-To"))
        body = bytes(request.take_body())
        if not body.strip():
            raise Refusal(400, "the body is empty; a mail was expected")
        return Accepted(
            mails_of_source(
                body,
                lambda outline: outline,
                ingress=self.name,
                recipients=recipients,
                return_path=sender,
                client_ip=clean(request.header("X-Client-Address")).strip()[:100] or None,
            )
        )

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("URL", url), ("Content-Type", "message/rfc822"), ("Bearer token", str(self.options.token[0]))]


def addresses_in(header: str) -> list[str]:
    """The addresses of a header in which commas separate them."""
    return [each.strip() for each in _ADDRESS.findall(header[:_LONGEST_LIST])]

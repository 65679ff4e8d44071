"""SparkPost's relay webhooks: a JSON list with a mail in each entry.

The contract (SparkPost's API reference, "Relay webhooks"):

- Each entry has `msys.relay_message` with `content.email_rfc822` (base64 where `email_rfc822_is_base64`), `rcpt_to` and
  `msg_from`.
- Known by the header `X-MessageSystems-Webhook-Token`, which SparkPost sends where the webhook has an `auth_token`; or
  by a name and a password in the URL (HTTP Basic authentication).
- **200** all mails are stored. **401** the token. **400** no list of relayed messages, **415**; SparkPost sends again
  whatever is not 200: **503** send again. An entry that is no relayed mail does not hold up the others: it is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from postroom.ingress.base import Accepted, Ingress, Mail, Refusal, Request
from postroom.ingress.credentials import Login, has_login, one_of
from postroom.ingress.jsonbody import Members, Scrub, decode_json, encode_json, require_type
from postroom.ingress.mails import mails_of_source, readable

log = logging.getLogger("postroom.inbound")

_TOKEN = "X-MessageSystems-Webhook-Token"


class SparkPost(Ingress):
    kind = "sparkpost"
    summary = "SparkPost's relay webhooks, several mails a request, by a token or a password in the URL."
    Options = Login

    def accept(self, request: Request) -> Accepted:
        given = request.header(_TOKEN).encode()
        token_matches = one_of(given, [password.encode() for password in self.options.password])
        if not token_matches and not has_login(request, self.options.username, self.options.password):
            raise Refusal(401, "the token does not match")
        require_type(request)
        found, scrub = decode_json(request.take_body())
        if not isinstance(found, list):
            raise Refusal(400, "the document must be a list of relayed messages")
        return Accepted(tuple(mail for each in found for mail in self._mails(each, scrub)))

    def _mails(self, entry: Any, scrub: Scrub) -> Sequence[Mail]:
        inner = entry.get("msys") if isinstance(entry, dict) else None
        relayed = inner.get("relay_message") if isinstance(inner, dict) else None
        content = relayed.get("content") if isinstance(relayed, dict) else None
        if not isinstance(relayed, dict) or not isinstance(content, dict):
            log.warning("ingress %r passed over an entry that is no relayed mail", self.name)
            return ()
        message, mail = Members(relayed, "relay_message.", scrub), Members(content, "content.", scrub)
        try:
            is_base64 = mail.get("email_rfc822_is_base64") is True
            source = mail.take_base64("email_rfc822") if is_base64 else (mail.text("email_rfc822") or "").encode()

            def outlined(outline: bytes) -> bytes:
                content["email_rfc822"] = readable(outline)
                return encode_json(entry)

            return mails_of_source(
                source,
                outlined,
                ingress=self.name,
                recipients=[message.text("rcpt_to") or ""],
                return_path=message.text("msg_from"),
            )
        except Refusal as refusal:
            log.error("ingress %r left out a mail that cannot be read: %s", self.name, refusal.reason)
            return ()

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Target", url), ("Authentication token", str(self.options.password[0]))]

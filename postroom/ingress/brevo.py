"""Brevo's inbound parsing: a JSON document with a list of mails.

The contract (Brevo's developer docs, "Inbound parsing webhooks", "Secure webhook calls"):

- `items`: for each mail `Headers` (a mapping to a text or to a list), `RawTextBody`, `RawHtmlBody`, `From`, `To`,
  `Subject`, `SpamScore`, `Attachments`. The envelope's recipient is the header Delivered-To (else `Recipients`, else
  the first of `To`), its sender Return-Path.
- Attachments come as tokens. With `api_key`, they are fetched from Brevo's API before anything is answered; where that
  fails, the request is refused for now as a whole. Without it, each is named in a notice and stays at Brevo.
- Brevo signs nothing: it is known by a name and a password in the URL (HTTP Basic authentication), or by the password
  as its bearer token.
- **200** all mails are stored. **401**, **400** (no list of mails: an event of another webhook), **415**, **503** (an
  attachment is not there yet, or send again). How often Brevo sends again, its docs do not say.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from postroom.exchange import Http
from postroom.fields import Secret, Url, secrets_of, setting
from postroom.ingress.base import Accepted, Ingress, Mail, Refusal, Request
from postroom.ingress.credentials import Login, require_login, with_login
from postroom.ingress.fetching import fetch
from postroom.ingress.jsonbody import Members, encode_json, read_document
from postroom.ingress.mails import Found, header_pairs, mails_of_parts, number, texts
from postroom.message import Address

log = logging.getLogger("postroom.inbound")

_LARGEST = 30_000_000
"""Bytes of one attachment."""


@dataclasses.dataclass(frozen=True)
class Options(Login):
    api_key: Secret | None = setting("API key by which attachments are fetched; without it they stay", default=None)
    api_url: Url = setting("where Brevo's API is", default=Url("https://api.brevo.com/v3"))


class Brevo(Ingress):
    kind = "brevo"
    summary = "Brevo's inbound parsing, several mails a request, by a password in its URL; attachments are fetched."
    Options = Options
    asks = True

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.http = Http(timeout=10, secrets=secrets_of(options))

    def accept(self, request: Request) -> Accepted:
        require_login(request, self.options.username, self.options.password)
        document = read_document(request)
        if not isinstance(document.get("items"), list):
            raise Refusal(400, "the document has no list of items: the events of other webhooks are no mail")
        return Accepted(tuple(mail for item in document.objects("items") for mail in self._mails(item, request)))

    def _mails(self, item: Members, request: Request) -> Sequence[Mail]:
        headers = header_pairs(item.get("Headers"))
        known = {name.lower(): value for name, value in reversed(headers)}
        to = _people(item, "To")
        delivered = [value for name, value in headers if name.lower() == "delivered-to"][:1]
        files, notices = self._files(item, request)
        return mails_of_parts(
            encode_json(item.source),
            ingress=self.name,
            recipients=delivered or texts(item.get("Recipients")) or [each.address for each in to[:1]],
            return_path=known.get("return-path", ""),
            headers=headers,
            from_=_people(item, "From"),
            to=to,
            cc=_people(item, "Cc"),
            reply_to=_people(item, "ReplyTo"),
            subject=item.text("Subject"),
            text=item.text("RawTextBody"),
            html=item.text("RawHtmlBody"),
            files=files,
            message_id=item.text("MessageId"),
            notices=notices,
            spam_score=number(item.get("SpamScore")),
        )

    def _files(self, item: Members, request: Request) -> tuple[list[Found], list[str]]:
        found, notices = [], []
        for each in item.objects("Attachments"):
            name, token = each.text("Name") or "", each.text("DownloadToken") or ""
            if self.options.api_key is None or not token:
                notices.append(f"an attachment was not fetched: {name[:300] or 'without a name'}")
                continue
            url = f"{self.options.api_url.rstrip('/')}/inbound/attachments/{quote(token[:2000], safe='')}"
            key = {"api-key": str(self.options.api_key)}
            content = fetch(self.http, url, what="an attachment", limit=_LARGEST, headers=key)
            request.hold(len(content))
            content_id = each.text("ContentID") or ""
            found.append(Found(name, each.text("ContentType") or "", content, content_id, bool(content_id)))
        return found, notices

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Webhook URL", with_login(url, self.options.username, self.options.password[0]))]


def _people(item: Members, name: str) -> tuple[Address, ...]:
    value = item.get(name)
    members = item.objects(name) if isinstance(value, list) else [item.object(name)]
    return tuple([Address(each.text("Address") or "", each.text("Name") or "") for each in members if each is not None])

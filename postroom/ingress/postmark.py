"""Postmark's inbound webhook: one JSON document for each mail.

The contract (Postmark's developer docs, "Inbound webhook", "Parse an email"; support, "Inbound webhook retries"):

- Postmark signs nothing. It is known by a name and a password in the URL, which it sends as HTTP Basic authentication,
  or by the password as a bearer token in a header of one's own. Its addresses are published ("IPs for firewalls"):
  `allow_ips` takes them beside.
- `OriginalRecipient` is the envelope's recipient; its sender is the topmost Return-Path among `Headers`, which leave
  out From, To, Subject and Date. `RawEmail` is there where the stream says so: it is read in place of the rest.
- **200** stored. **403**, the only status of which Postmark knows to stop, where no mail can be made of the document.
  **401** and all others are tried again ten times within ten and a half hours; then the mail waits at Postmark as
  "Inbound Error", from where people can send it again. **415** no JSON, **503** send again.
"""

from __future__ import annotations

import hashlib

from postroom.ingress.base import Accepted, Ingress, Refusal, Request
from postroom.ingress.credentials import Login, require_login, with_login
from postroom.ingress.jsonbody import Members, encode_json, read_document
from postroom.ingress.mails import Found, addresses, mails_of_parts, mails_of_source, number, readable
from postroom.message import Address


class Postmark(Ingress):
    kind = "postmark"
    summary = "Postmark's inbound webhook, by a password in its URL."
    Options = Login
    unfit = 403

    def accept(self, request: Request) -> Accepted:
        require_login(request, self.options.username, self.options.password)
        document = read_document(request)
        record = document.text("RecordType")
        if record not in (None, "Inbound"):
            raise Refusal(400, f"this is an event ({record[:40]}), and no mail: it belongs to another webhook")
        headers = [(each.text("Name") or "", each.text("Value") or "") for each in document.objects("Headers")]
        known = {name.lower(): value for name, value in reversed(headers)}
        files = [_file(each) for each in document.objects("Attachments")]
        recipients = [document.text("OriginalRecipient") or ""]
        return_path, score = known.get("return-path", ""), number(known.get("x-spam-score"))
        source = document.text("RawEmail")
        if source:

            def outlined(outline: bytes) -> bytes:
                document.source[document.key("RawEmail") or "RawEmail"] = readable(outline)
                return encode_json(document.source)

            return Accepted(
                mails_of_source(
                    source.encode(),
                    outlined,
                    ingress=self.name,
                    recipients=recipients,
                    return_path=return_path,
                    spam_score=score,
                )
            )
        if "date" not in known and (date := document.text("Date")):
            headers.append(("Date", date))
        return Accepted(
            mails_of_parts(
                encode_json(document.source),
                ingress=self.name,
                recipients=recipients,
                return_path=return_path,
                headers=headers,
                from_=_people(document, "FromFull", "From"),
                to=_people(document, "ToFull", "To"),
                cc=_people(document, "CcFull", "Cc"),
                reply_to=addresses(document.text("ReplyTo")),
                subject=document.text("Subject"),
                text=document.text("TextBody"),
                html=document.text("HtmlBody"),
                files=files,
                spam_score=score,
            )
        )

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Webhook URL", with_login(url, self.options.username, self.options.password[0]))]


def _file(member: Members) -> Found:
    # The documents by which Postmark tries a URL out say Data in place of Content.
    name = "Content" if member.key("Content") else "Data"
    content = member.take_base64(name)
    member.source[name] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    content_id = member.text("ContentID") or ""
    return Found(member.text("Name") or "", member.text("ContentType") or "", content, content_id, bool(content_id))


def _people(document: Members, name: str, plain: str) -> tuple[Address, ...]:
    value = document.get(name)
    members = document.objects(name) if isinstance(value, list) else [document.object(name)]
    found = [Address(each.text("Email") or "", each.text("Name") or "") for each in members if each is not None]
    return tuple(found) or addresses(document.text(plain))

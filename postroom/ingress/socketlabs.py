"""SocketLabs Inbound Parse: one JSON document for each envelope recipient, posted to `/inbound/NAME`.

The contract (knowledge base "Inbound Message Processing and the Inbound API"; API reference "Inbound"):

- The document carries the Secret Key in its body (`SecretKey`), and mostly no Server ID. Several servers and keys can
  be valid at once: the Secret Key selects the server, and the Server ID, where both sides name one, must agree.
- **401** where the Secret Key is none of ours. **400** where the body is no such document. **415** where it is neither
  JSON nor a form. **200** with the Validation Key in the body to the validation request and to every accepted message,
  once the message is stored.
- The validation request is JSON, a form or a query string: `Type=Validation`.
- Names are matched without regard to case, for two generations of the vendor's library spell them differently. Unknown
  members are kept in the payload. Any member may be null.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl

from postroom.fields import Secret, setting
from postroom.ingress.base import Accepted, Ingress, Mail, Refusal, Request
from postroom.ingress.jsonbody import Members, encode_json, read_document
from postroom.message import Address, Attachment
from postroom.normalise import normalise

_MASK = "***"
_FORM = "application/x-www-form-urlencoded"


@dataclasses.dataclass(frozen=True)
class Server:
    """One server of the account, or one of two keys while they are rotated."""

    secret_key: Secret = setting("the Secret Key that the control panel shows")
    validation_key: Secret = setting("the Validation Key that the control panel shows")
    server_id: int | None = setting("the Server ID; checked where a document carries one", default=None)


@dataclasses.dataclass(frozen=True)
class Options:
    servers: list[Server] = setting("the servers whose documents are taken; several while keys are rotated")


class SocketLabs(Ingress):
    kind = "socketlabs"
    summary = "SocketLabs Inbound Parse, by the Secret Key in each document."
    Options = Options

    def accept(self, request: Request) -> Accepted:
        query = Members(dict(request.query), "")
        if (query.get("Type") or "").lower() == "validation":
            return self._validate(query)
        if request.content_type == _FORM:
            form = Members(_form(request.take_body()), "")
            if str(form.get("Type") or "").lower() != "validation":
                self._server(form)
                raise Refusal(400, "a form is taken only as a validation request (Type=Validation)")
            return self._validate(form)
        document = read_document(request)
        if str(document.get("Type") or "").lower() == "validation" and document.get("Message") is None:
            return self._validate(document)
        server = self._server(document)
        return Accepted((self._mail(document),), {"ValidationKey": str(server.validation_key)})

    def panel(self, url: str) -> list[tuple[str, str]]:
        rows = [("Endpoint URL", url)]
        for server in self.options.servers:
            rows += [("Secret Key", str(server.secret_key)), ("Validation Key", str(server.validation_key))]
        return rows

    def _validate(self, document: Members) -> Accepted:
        return Accepted((), {"ValidationKey": str(self._server(document).validation_key)})

    def _server(self, document: Members) -> Server:
        """The server whose Secret Key the document carries. Takes the same time wherever in the list it stands."""
        given = document.get("SecretKey")
        key = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else b""
        number = document.get("ServerId")
        found: Server | None = None
        for server in self.options.servers:
            same_key = hmac.compare_digest(key, server.secret_key.encode())
            same_server = number is None or server.server_id is None or str(number) == str(server.server_id)
            if same_key and same_server and found is None:
                found = server
        if found is None:
            raise Refusal(401, "the Secret Key or the Server ID does not match")
        return found

    def _mail(self, document: Members) -> Mail:
        content = document.object("Message")
        if content is None:
            raise Refusal(400, "the document has no Message")
        attachments: list[Attachment] = []
        contents: list[bytes] = []
        for member, inline in (("Attachments", False), ("EmbeddedMedia", True)):
            for each in content.objects(member):
                attachment, data = _attachment(each, inline)
                attachments.append(attachment)
                contents.append(data)
        error_log = document.text("ErrorLog")
        message = normalise(
            ingress=self.name,
            recipient=_bare(document.text("InboundRcptTo") or ""),
            return_path=_bare(document.text("InboundMailFrom") or ""),
            headers=_headers(content),
            from_=_addresses(content, "From"),
            to=_addresses(content, "To"),
            cc=_addresses(content, "Cc"),
            reply_to=_addresses(content, "ReplyTo"),
            subject=content.text("Subject"),
            text=content.text("TextBody"),
            html=content.text("HtmlBody"),
            attachments=tuple(attachments),
            notices=[error_log] if error_log else [],
            # Often null although the mail has one among its headers.
            message_id=content.text("MessageId"),
            client_ip=document.text("InboundIpAddress"),
            spam_score=document.number("SpamScore"),
        )
        for key in document.source:
            if key.lower() == "secretkey":
                document.source[key] = _MASK
        return Mail(message, encode_json(document.source), tuple(contents))


def _form(body: bytes | bytearray) -> dict[str, Any]:
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000))
    except ValueError:
        raise Refusal(400, "the form has too many fields") from None


def _headers(content: Members) -> tuple[tuple[str, str], ...]:
    source, scrub = content.get("CustomHeaders"), content.scrub
    try:
        # The spelling and the types of nearly every document; anything else goes the careful way.
        if all(type(each["Name"]) is str and type(each["Value"]) is str for each in source):
            return tuple([(scrub(each["Name"]), scrub(each["Value"])) for each in source])
    except (TypeError, KeyError):
        pass
    members = content.objects("CustomHeaders")
    return tuple((each.text("Name") or "", each.text("Value") or "") for each in members)


def _addresses(content: Members, name: str) -> tuple[Address, ...]:
    value = content.get(name)
    members = content.objects(name) if isinstance(value, list) else [content.object(name)]
    found = []
    for member in members:
        if member is None:
            continue
        address = _bare(member.text("EmailAddress") or "")
        label = (member.text("FriendlyName") or "").strip()
        if address or label:
            found.append(Address(address, label))
    return tuple(found)


def _bare(address: str) -> str:
    """The address without blanks and angle brackets around it."""
    return address.strip().removeprefix("<").removesuffix(">").strip()


def _attachment(member: Members, inline: bool) -> tuple[Attachment, bytes]:
    data = member.take_base64("Content")
    digest = hashlib.sha256(data).hexdigest()
    member.source["Content"] = f"sha256:{digest}"
    attachment = Attachment(
        name=(member.text("Name") or "").strip(),
        content_type=(member.text("ContentType") or "application/octet-stream").strip().lower(),
        size=len(data),
        sha256=digest,
        content_id=_bare(member.text("ContentId") or ""),
        inline=inline,
    )
    return attachment, data

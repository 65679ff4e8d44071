"""CloudMailin: a JSON document, a form, or a form with the raw mail, posted to the target of an address.

The contract (CloudMailin's docs, "HTTP POST formats", "HTTP status codes", "Ensuring that email webhooks come from
CloudMailin"):

- `headers`, `envelope` (`from`, `to`, `recipients`, `remote_ip`), `plain`, `html`, `attachments`: as JSON, or as
  `multipart/form-data` with names such as `headers[subject]`, `envelope[recipients][0]`, `attachments[0]`. In the
  normalised formats the names of headers are in lower case with `_` for `-`. In the raw format the field `message`
  holds the mail as it is. Attachments in a store of one's own come as URLs: they are named in a notice, not fetched.
- Known by a name and a password in the URL (HTTP Basic authentication), which its docs recommend. Its signatures belong
  to the withdrawn original format and are not read.
- **200** stored. **401**, **400** and **415**: CloudMailin refuses the mail, and the sender learns of it. **503** and
  all 5xx: the sending server is told to try again later.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from postroom.ingress.base import Accepted, Ingress, Mail, Refusal, Request
from postroom.ingress.credentials import Login, require_login, with_login
from postroom.ingress.forms import Form, Part, read_form
from postroom.ingress.jsonbody import JSON_TYPES, Members, encode_json, read_document
from postroom.ingress.mails import Found, header_pairs, mails_of_parts, mails_of_source, readable, texts
from postroom.mail.texts import clean

_STEP = re.compile(r"\[([^\[\]]{0,200})\]")
_MOST_STEPS = 6


class CloudMailin(Ingress):
    kind = "cloudmailin"
    summary = "CloudMailin in JSON, as a form or as raw MIME, by a password in its URL."
    Options = Login

    def accept(self, request: Request) -> Accepted:
        require_login(request, self.options.username, self.options.password)
        if request.content_type in JSON_TYPES:
            return Accepted(self._of_document(read_document(request)))
        return Accepted(self._of_form(read_form(request)))

    def _of_document(self, document: Members) -> tuple[Mail, ...]:
        files, notices = [], []
        for each in document.objects("attachments"):
            if each.key("content") is None:
                notices.append(_elsewhere(each.text("file_name"), each.text("url")))
                continue
            content = each.take_base64("content")
            each.source["content"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
            content_id = each.text("content_id") or ""
            inline = bool(content_id) and (each.text("disposition") or "").lower() != "attachment"
            name, kind = each.text("file_name") or "", each.text("content_type") or ""
            files.append(Found(name, kind, content, content_id, inline))
        envelope, headers = document.object("envelope"), document.get("headers")
        if envelope is None and not isinstance(headers, dict):
            raise Refusal(400, "the document holds no mail: neither envelope nor headers")
        return mails_of_parts(
            encode_json(document.source),
            headers=_headers(headers),
            text=document.text("plain"),
            html=document.text("html"),
            files=files,
            notices=notices,
            **self._envelope({} if envelope is None else envelope.source),
        )

    def _of_form(self, form: Form) -> tuple[Mail, ...]:
        fields = _nested(form)
        envelope = fields.get("envelope")
        known = self._envelope(envelope if isinstance(envelope, dict) else {})
        source = form.raw("message")
        if source is not None:

            def outlined(outline: bytes) -> bytes:
                text = readable(outline)
                # The raw mail comes as a file in some accounts: its name goes, the text is what is kept.
                kept = Form([Part(part.name, part.content) if part.name == "message" else part for part in form.parts])
                return kept.payload((), lambda part: text if part.name == "message" else None)

            if not source.strip():
                raise Refusal(400, "the mail is empty")
            return mails_of_source(source, outlined, **known)
        if not isinstance(envelope, dict) and not isinstance(fields.get("headers"), dict):
            raise Refusal(400, "the form holds no mail: neither message nor envelope nor headers")
        urls = [value for name, value in _flat(form) if re.fullmatch(r"attachments\[\d{1,6}\]\[url\]", name)]
        return mails_of_parts(
            form.payload(),
            headers=_headers(fields.get("headers")),
            text=form.text("plain"),
            html=form.text("html"),
            files=[Found(part.filename or "", part.content_type, part.content) for part in form.files],
            notices=[_elsewhere(None, url) for url in urls],
            **known,
        )

    def _envelope(self, envelope: dict[str, Any]) -> dict[str, Any]:
        sender, address = envelope.get("from"), envelope.get("remote_ip")
        recipients = envelope.get("recipients")
        listed = texts(list(recipients.values()) if isinstance(recipients, dict) else recipients)
        return {
            "ingress": self.name,
            "recipients": listed or texts(envelope.get("to")),
            "return_path": sender if isinstance(sender, str) else "",
            "client_ip": address if isinstance(address, str) else None,
        }

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Target", with_login(url, self.options.username, self.options.password[0]))]


def _headers(headers: Any) -> list[tuple[str, str]]:
    """The headers; names of the normalised formats as they are in mails."""
    if isinstance(headers, dict):
        headers = {name: list(value.values()) if isinstance(value, dict) else value for name, value in headers.items()}
    return [(_header_name(name), value) for name, value in header_pairs(headers)]


def _header_name(name: str) -> str:
    if name != name.lower():
        return name
    words = name.replace("_", "-").split("-")
    return "-".join("ID" if word == "id" else "MIME" if word == "mime" else word.capitalize() for word in words)


def _flat(form: Form) -> list[tuple[str, str]]:
    return [(part.name, clean(part.content.decode("utf-8", "replace"))) for part in form.parts if part.filename is None]


def _nested(form: Form) -> dict[str, Any]:
    """`a[b][c]` as mappings inside of mappings; what contradicts an earlier name is left out."""
    made: dict[str, Any] = {}
    for name, value in _flat(form):
        first, _, rest = name.partition("[")
        steps = [first, *_STEP.findall("[" + rest if rest else "")][:_MOST_STEPS]
        at = made
        for step in steps[:-1]:
            inner = at.setdefault(step, {})
            if not isinstance(inner, dict):
                break
            at = inner
        else:
            # An empty step counts up: headers[received][].
            at.setdefault(steps[-1] or str(len(at)), value)
    return made


def _elsewhere(name: str | None, url: str | None) -> str:
    return f"an attachment was not fetched: {(name or url or 'without a name')[:300]}"

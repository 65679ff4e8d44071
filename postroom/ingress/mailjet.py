"""Mailjet's Parse API: one JSON document for each mail.

The contract (Mailjet's developer docs, "Parse API: inbound emails"):

- `Sender` and `Recipient` are the envelope. `Headers` maps names to texts or lists of texts. `Parts` tells of each part
  its headers and where its content is (`ContentRef`): `Text-part` and `Html-part` as text, `Attachment1`... and
  `InlineAttachment1`... in base64.
- Mailjet signs nothing: it is known by a name and a password in the URL (HTTP Basic authentication).
- **200** stored. **401**, **400** (no such document), **415**, **503** send again. For how long Mailjet sends again,
  its docs do not say for this API.
"""

from __future__ import annotations

import hashlib
import re

from postroom.ingress.base import Accepted, Ingress, Refusal, Request
from postroom.ingress.credentials import Login, require_login, with_login
from postroom.ingress.jsonbody import Members, encode_json, read_document
from postroom.ingress.mails import Found, header_pairs, mails_of_parts, number
from postroom.mail.mime import read_mime

_FILE = re.compile(r"(?:Inline)?Attachment\d{1,6}")


class Mailjet(Ingress):
    kind = "mailjet"
    summary = "Mailjet's Parse API, by a password in its URL."
    Options = Login

    def accept(self, request: Request) -> Accepted:
        require_login(request, self.options.username, self.options.password)
        document = read_document(request)
        if document.get("Headers") is None and document.get("Recipient") is None:
            raise Refusal(400, "the document holds no mail: neither Headers nor Recipient")
        parts = {each.text("ContentRef"): each for each in document.objects("Parts")}
        files = [_file(document, name, parts.get(name)) for name in list(document.source) if _FILE.fullmatch(name)]
        return Accepted(
            mails_of_parts(
                encode_json(document.source),
                ingress=self.name,
                recipients=[document.text("Recipient") or ""],
                return_path=document.text("Sender") or "",
                headers=header_pairs(document.get("Headers")),
                subject=document.text("Subject"),
                text=document.text("Text-part"),
                html=document.text("Html-part"),
                files=files,
                spam_score=number(document.get("SpamAssassinScore")),
            )
        )

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Url of the parse route", with_login(url, self.options.username, self.options.password[0]))]


def _file(document: Members, name: str, part: Members | None) -> Found:
    content = document.take_base64(name)
    document.source[name] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    told = header_pairs(part.get("Headers")) if part else []
    # The headers of a part are read as those of a mail that consists of it. Its content is decoded already.
    lines = [f"{key}: {' '.join(value.split())}" for key, value in told if key.lower() != "content-transfer-encoding"]
    mail = read_mime("\r\n".join([*lines, "", ""]).encode())
    if not mail.files:
        kind = next((value for key, value in told if key.lower() == "content-type"), "")
        return Found("", kind, content)
    (about,) = mail.files[:1]
    return Found(about.name, about.content_type, content, about.content_id, about.inline)

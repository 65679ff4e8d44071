"""Forms: `multipart/form-data` (RFC 7578) and `application/x-www-form-urlencoded`, read piece by piece.

The parts of a form are what stands in memory, never a second copy of the whole: the body is given up as it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from postroom.ingress.base import Refusal, Request
from postroom.ingress.jsonbody import encode_json
from postroom.mail.charsets import decode_text
from postroom.mail.texts import clean

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MASK = "***"

_MOST_FIELDS = 2_000


@dataclass(slots=True)
class Part:
    """One field of a form. `filename` is None where it is no file."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str = ""
    """Media type in lower case, without parameters."""


@dataclass(slots=True)
class Form:
    """The fields in the order of the request. Names compare as they are written."""

    parts: list[Part] = field(default_factory=list)

    def raw(self, name: str) -> bytes | None:
        """The first field of a name; None where there is none."""
        return next((part.content for part in self.parts if part.name == name), None)

    def text(self, name: str, charset: str | None = None) -> str | None:
        """The first field of a name as text without NUL; None where there is none."""
        content = self.raw(name)
        return None if content is None else clean(decode_text(content, charset or "utf-8"))

    @property
    def files(self) -> list[Part]:
        return [part for part in self.parts if part.filename is not None]

    def payload(self, masked: Collection[str] = (), shown: Callable[[Part], str | None] = lambda part: None) -> bytes:
        """The form as a JSON object, files named by hash, the fields in `masked` without their values.

        `shown` gives another text for a field; None: the field as it is.
        """
        found: dict[str, Any] = {}
        for part in self.parts:
            value: Any
            if part.name in masked:
                value = MASK
            elif part.filename is not None:
                digest = f"sha256:{hashlib.sha256(part.content).hexdigest()}"
                value = {"filename": part.filename, "content_type": part.content_type, "content": digest}
            else:
                other = shown(part)
                value = clean(decode_text(part.content, "utf-8")) if other is None else other
            earlier = found.get(part.name)
            if earlier is None:
                found[part.name] = value
            else:
                found[part.name] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
        return encode_json(found)


def read_form(request: Request) -> Form:
    """The form in the body, which the request forgets.

    Raises Refusal: 415 where it is no form, 400 where it cannot be read.
    """
    if request.content_type == URLENCODED:
        return _urlencoded(request.take_body())
    if request.content_type == MULTIPART:
        # Only the web process reads forms, and only some ways in: the library is loaded with the first.
        from postroom.ingress.multipart import read_parts

        return Form([Part(*each) for each in read_parts(request.header("Content-Type"), request.take_body)])
    raise Refusal(
        415, f"the content type must be {MULTIPART} or {URLENCODED}, not {request.content_type[:100] or '(none)'}"
    )


def _urlencoded(body: bytes | bytearray) -> Form:
    try:
        # By Latin-1 every byte comes back as it was: the charset of a field is told by others.
        text = body.decode("latin-1")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, encoding="latin-1")
    except ValueError:
        raise Refusal(400, "the form has too many fields") from None
    return Form(
        [Part(clean(decode_text(name.encode("latin-1"), "utf-8")), value.encode("latin-1")) for name, value in pairs]
    )

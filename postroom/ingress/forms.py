"""Forms: `multipart/form-data` (RFC 7578) and `application/x-www-form-urlencoded`, read piece by piece.

The parts of a form are what stands in memory, never a second copy of the whole: the body is given up as it is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import NEED_DATA, Data, Epilogue, Field, File, MultipartDecoder

from postroom.ingress.base import Refusal, Request
from postroom.ingress.jsonbody import encode_json
from postroom.mail.charsets import decode_text
from postroom.mail.texts import clean

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MASK = "***"

_PIECE = 64 * 1024
_LONGEST_HEAD = 256 * 1024
"""Bytes before the parts, or of one part's headers."""
_MOST_HEADS = 1_000_000
"""Bytes of the headers of all parts: they cost a hundred times what contents cost."""
_MOST_PARTS = 2_000
_BACKSLASH = re.compile(rb"\\(?![\"\\])")


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


class _Decoder(MultipartDecoder):
    _heads = 0

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        # A file's name in another charset than UTF-8 must not cost the mail, and a backslash in it escapes nothing.
        self._heads += len(data)
        if self._heads > _MOST_HEADS:
            raise RequestEntityTooLarge
        plain = bytes(data).decode("utf-8", "replace").encode()
        return super()._parse_headers(_BACKSLASH.sub(rb"\\\\", plain))


def read_form(request: Request) -> Form:
    """The form in the body, which the request forgets.

    Raises Refusal: 415 where it is no form, 400 where it cannot be read.
    """
    if request.content_type == URLENCODED:
        return _urlencoded(request.take_body())
    if request.content_type == MULTIPART:
        boundary = parse_options_header(request.header("Content-Type"))[1].get("boundary", "")
        if not boundary or len(boundary) > 200:
            raise Refusal(400, "the Content-Type names no boundary")
        return _multipart(request.take_body(), boundary)
    raise Refusal(
        415, f"the content type must be {MULTIPART} or {URLENCODED}, not {request.content_type[:100] or '(none)'}"
    )


def _urlencoded(body: bytes | bytearray) -> Form:
    try:
        # By Latin-1 every byte comes back as it was: the charset of a field is told by others.
        text = body.decode("latin-1")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARTS, encoding="latin-1")
    except ValueError:
        raise Refusal(400, "the form has too many fields") from None
    return Form(
        [Part(clean(decode_text(name.encode("latin-1"), "utf-8")), value.encode("latin-1")) for name, value in pairs]
    )


def _multipart(body: bytes | bytearray, boundary: str) -> Form:
    decoder = _Decoder(boundary.encode("utf-8", "replace"), _LONGEST_HEAD, max_parts=_MOST_PARTS)
    form = Form()
    left = body if isinstance(body, bytearray) else bytearray(body)
    content = bytearray()
    try:
        while left:
            decoder.receive_data(bytes(left[:_PIECE]))
            del left[:_PIECE]  # costs nothing at the front, and gives the memory back
            content = _take_events(decoder, form, content)
        decoder.receive_data(None)
        _take_events(decoder, form, content)
    except RequestEntityTooLarge:
        raise Refusal(400, "the form has too many parts, or headers without end") from None
    except (ValueError, AttributeError):
        raise Refusal(400, "the form breaks off, or is none") from None
    return form


def _take_events(decoder: MultipartDecoder, form: Form, content: bytearray) -> bytearray:
    """Adds what is there; the content of the part that has begun."""
    while (event := decoder.next_event()) is not NEED_DATA:
        if isinstance(event, Field | File):
            # Also where the name is one that cannot be read, such as `filename="folder\\"`.
            is_file = isinstance(event, File) or "filename" in event.headers.get("Content-Disposition", "").lower()
            filename = clean(event.filename) if isinstance(event, File) else "" if is_file else None
            kind = event.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            form.parts.append(Part(clean(event.name or ""), b"", filename, clean(kind)))
            content = bytearray()
        elif isinstance(event, Data):
            content += event.data
            if not event.more_data:
                form.parts[-1].content = bytes(content)
                content = bytearray()
        elif isinstance(event, Epilogue):
            break
    return content

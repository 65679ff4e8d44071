"""The parts of a `multipart/form-data` body (RFC 7578), by Werkzeug's decoder, fed in pieces."""

from __future__ import annotations

import re
from collections.abc import Callable

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import NEED_DATA, Data, Epilogue, Field, File, MultipartDecoder

from postroom.ingress.base import Refusal
from postroom.mail.texts import clean

MOST_PARTS = 2_000
_PIECE = 64 * 1024
_LONGEST_HEAD = 256 * 1024
"""Bytes before the parts, or of one part's headers."""
_MOST_HEADS = 1_000_000
"""Bytes of the headers of all parts: they cost a hundred times what contents cost."""
_BACKSLASH = re.compile(rb"\\(?![\"\\])")
Read = tuple[str, bytes, str | None, str]
"""Name, content, filename (None where it is no file), media type in lower case without parameters."""


class _Decoder(MultipartDecoder):
    _heads = 0

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        # A file's name in another charset than UTF-8 must not cost the mail, and a backslash in it escapes nothing.
        self._heads += len(data)
        if self._heads > _MOST_HEADS:
            raise RequestEntityTooLarge
        plain = bytes(data).decode("utf-8", "replace").encode()
        return super()._parse_headers(_BACKSLASH.sub(rb"\\\\", plain))


def read_parts(content_type: str, take_body: Callable[[], bytes | bytearray]) -> list[Read]:
    """The parts in the order of the body, which `take_body` gives up. Raises Refusal: 400 where it cannot be read."""
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary or len(boundary) > 200:
        raise Refusal(400, "the Content-Type names no boundary")
    body = take_body()
    decoder = _Decoder(boundary.encode("utf-8", "replace"), _LONGEST_HEAD, max_parts=MOST_PARTS)
    parts: list[Read] = []
    left = body if isinstance(body, bytearray) else bytearray(body)
    del body
    content = bytearray()
    try:
        while left:
            decoder.receive_data(bytes(left[:_PIECE]))
            del left[:_PIECE]  # costs nothing at the front, and gives the memory back
            content = _take_events(decoder, parts, content)
        decoder.receive_data(None)
        _take_events(decoder, parts, content)
    except RequestEntityTooLarge:
        raise Refusal(400, "the form has too many parts, or headers without end") from None
    except (ValueError, AttributeError):
        raise Refusal(400, "the form breaks off, or is none") from None
    return parts


def _take_events(decoder: MultipartDecoder, parts: list[Read], content: bytearray) -> bytearray:
    """Adds what is there; the content of the part that has begun."""
    while (event := decoder.next_event()) is not NEED_DATA:
        if isinstance(event, Field | File):
            # Also where the name is one that cannot be read, such as `filename="folder\\"`.
            is_file = isinstance(event, File) or "filename" in event.headers.get("Content-Disposition", "").lower()
            filename = clean(event.filename) if isinstance(event, File) else "" if is_file else None
            kind = event.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            parts.append((clean(event.name or ""), b"", filename, clean(kind)))
            content = bytearray()
        elif isinstance(event, Data):
            content += event.data
            if not event.more_data:
                name, _, filename, kind = parts[-1]
                parts[-1] = (name, bytes(content), filename, kind)
                content = bytearray()
        elif isinstance(event, Epilogue):
            break
    return content

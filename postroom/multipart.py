"""A multipart/form-data body (RFC 7578) that is made as it is sent: files go through in chunks, its length is known.

form = Form([("upload_type", "composer")], [attachment.as_file("file")])
http.post(url, data=form.chunks(), size=form.size, headers={"Content-Type": form.content_type})
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """One file of a form. `size` in bytes; `chunks()` yields them from the start on every call."""

    field: str
    name: str
    content_type: str
    size: int
    chunks: Callable[[], Iterable[bytes]]


class Form:
    """Fields first, then files, in the order given. May be sent several times."""

    def __init__(self, fields: Iterable[tuple[str, str]] = (), files: Iterable[File] = ()) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        opening = f"--{boundary}\r\nContent-Disposition: form-data; name="
        texts = [f'{opening}"{_quoted(name)}"\r\n\r\n{value}\r\n'.encode() for name, value in fields]
        self._fields = b"".join(texts)
        self._files = [
            (
                f'{opening}"{_quoted(file.field)}"; filename="{_quoted(file.name)}"\r\n'
                f"Content-Type: {_type(file.content_type)}\r\n\r\n".encode(),
                file,
            )
            for file in files
        ]
        self._end = f"--{boundary}--\r\n".encode()

    @property
    def size(self) -> int:
        """Of the whole body in bytes."""
        return len(self._fields) + sum(len(head) + file.size + 2 for head, file in self._files) + len(self._end)

    def chunks(self) -> Iterator[bytes]:
        """The body, a piece at a time."""
        if self._fields:
            yield self._fields
        for head, file in self._files:
            yield head
            yield from file.chunks()
            yield b"\r\n"
        yield self._end


def _quoted(name: str) -> str:
    """A name as browsers write it (HTML, 4.10.21.8): UTF-8, with percent codes for what would end it."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


def _type(content_type: str) -> str:
    # It comes from a stranger's mail: nothing but a plain type gets into a header.
    plain = re.fullmatch(r"[\w.+-]{1,100}/[\w.+-]{1,100}", content_type, re.ASCII)
    return content_type if plain else "application/octet-stream"

"""Encoded words in headers: `=?utf-8?Q?caf=C3=A9?=` (RFC 2047), as they really occur."""

from __future__ import annotations

import binascii
import re

from postroom.mail.charsets import decode_text
from postroom.mail.transfer import decode_base64

_WORD = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*)\?=")


def decode_words(text: str) -> str:
    """The text with its encoded words resolved.

    Words side by side are joined before they are decoded: programs cut characters of several bytes in two. What is no
    proper encoded word stays as it is.
    """
    if "=?" not in text:
        return text
    made: list[str] = []
    pending: list[bytes] = []
    charset, at = None, 0
    for found in _WORD.finditer(text):
        between = text[at : found.start()]
        at = found.end()
        own = found[1].partition("*")[0].lower()
        apart = charset is None or between.strip()
        if apart or own != charset:
            made.append(decode_text(b"".join(pending), charset))
            pending, charset = [], own
        if apart:
            # White space between two encoded words is no part of the text (RFC 2047, 6.2).
            made.append(between)
        pending.append(_bytes(found[2], found[3]))
    return "".join([*made, decode_text(b"".join(pending), charset), text[at:]])


def _bytes(encoding: str, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return decode_base64(data) if encoding in "bB" else binascii.a2b_qp(data.replace(b"_", b"=20"))

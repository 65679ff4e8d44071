"""Character sets of mails, which are often declared wrongly or not at all."""

from __future__ import annotations

import codecs
from functools import lru_cache

_WIDER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "iso-8859-1": "cp1252",
    "latin-1": "cp1252",
    "latin1": "cp1252",
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "iso-8859-8-i": "iso-8859-8",
    "utf8": "utf-8",
    "unicode-1-1-utf-7": "utf-7",
}
"""What programs really write where they declare the older, smaller set."""
_NOT_OF_MAIL = frozenset(("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"))
"""Codecs that Python counts among those of texts, but no mail is written in. Some take quadratic time."""
_UNKNOWN_8BIT = ("unknown-8bit", "x-unknown", "unknown", "binary", "8bit", "7bit")


def decode_text(data: bytes, declared: str | None = None) -> str:
    """The text of bytes in the declared character set; else in UTF-8, else in Windows-1252, else what can be read."""
    for name in (_codec(declared or ""), "utf-8", "cp1252"):
        if name is None:
            continue
        try:
            return data.decode(name)
        except UnicodeError:
            continue
    return data.decode("utf-8", "replace")


@lru_cache(maxsize=256)
def _codec(declared: str) -> str | None:
    """Python's name of a declared character set; None where there is none that a mail could be in."""
    name = declared.strip().strip("\"'").lower().partition("*")[0]
    if not name or name in _UNKNOWN_8BIT or len(name) > 60 or not name.isascii():
        return None
    try:
        found = codecs.lookup(_WIDER.get(name, name))
    except (LookupError, ValueError):
        return None
    return found.name if found.name not in _NOT_OF_MAIL and found._is_text_encoding else None

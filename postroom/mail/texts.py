"""Text at the border: what cannot be stored or shown is taken out once, when the mail comes in."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]+")


def clean(text: str) -> str:
    """The text without NUL and without lone surrogates (raw 8-bit bytes beside encoded words leave such)."""
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("", text)

"""How two texts are compared: Unicode NFC and without case; domains as IDNA.

ASCII takes a short road everywhere: it is nearly all of the mail there is.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

import idna
import re2

_LONGEST_DOMAIN = 255
_MARKS: Any = re2.compile(r"\pM{31}")


def nfc(text: str) -> str:
    """Unicode normalisation form C.

    Text with more than 30 combining marks in a row (no language writes that; UAX 15 calls it not stream-safe) stays
    as it is: to sort the marks takes a time quadratic in their number.
    """
    if text.isascii() or _MARKS.search(text.encode("utf-8", "replace")) is not None:
        return text
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """The form in which texts are equal without regard to case."""
    if text.isascii():
        return text.lower()
    return nfc(nfc(text).casefold())


def fold_domain(domain: str) -> str:
    """A domain in lower case, each label of it as its A-label (`xn--...`) where IDNA2008 has one (RFC 5891, UTS 46).

    A dot at its end, which makes it absolute, is left out.
    """
    if len(domain) > _LONGEST_DOMAIN:
        return map_domain(domain)
    return domain.lower().removesuffix(".") if domain.isascii() else _a_labels(domain)


def spell_domain(domain: str) -> str:
    """A folded domain as people write it: A-labels as the letters they stand for."""
    if "xn--" not in domain or len(domain) > _LONGEST_DOMAIN:
        return domain
    return _u_labels(domain)


@lru_cache(maxsize=4096)
def _a_labels(domain: str) -> str:
    return ".".join(_a_label(label) for label in map_domain(domain).removesuffix(".").split("."))


@lru_cache(maxsize=4096)
def _u_labels(domain: str) -> str:
    return ".".join(_u_label(label) for label in domain.split("."))


def map_domain(text: str) -> str:
    """The mapping of UTS 46 (lower case, NFC, full-width dots) without a step to A-labels; also for parts of domains.

    Unlike `fold` it keeps the German ß, which makes another domain than ss.
    """
    if text.isascii():
        return text.lower()
    if len(text) > _LONGEST_DOMAIN:
        return fold(text)
    try:
        return idna.uts46_remap(text, std3_rules=False, transitional=False)
    except (idna.IDNAError, UnicodeError):
        return fold(text)


def _a_label(label: str) -> str:
    if label.isascii():
        return label.lower()
    try:
        return idna.alabel(label).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return label


def _u_label(label: str) -> str:
    try:
        return idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return label

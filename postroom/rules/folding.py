"""How two texts are compared: Unicode NFC and without case; domains as IDNA.

ASCII takes a short road everywhere: it is nearly all of the mail there is.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import idna

from postroom.message import Address
from postroom.rules.patterns import has_endless_marks

LONGEST = 1_000_000
"""Characters of one value that tests and patterns look at. What follows is neither compared nor searched."""
_LONGEST_DOMAIN = 255


def nfc(text: str) -> str:
    """Unicode normalisation form C.

    Text with more than 30 combining marks in a row (no language writes that; UAX 15 calls it not stream-safe) stays
    as it is: to sort the marks takes a time quadratic in their number.
    """
    if text.isascii() or has_endless_marks(text):
        return text
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """The form in which texts are equal without regard to case."""
    if text.isascii():
        return text.lower()
    return nfc(nfc(text).casefold())


@lru_cache(maxsize=4096)
def fold_domain(domain: str) -> str:
    """A domain in lower case, each label of it as its A-label (`xn--...`) where IDNA2008 has one (RFC 5891, UTS 46)."""
    if domain.isascii():
        return domain.lower()
    if len(domain) > _LONGEST_DOMAIN:
        return map_domain(domain)
    return ".".join(_a_label(label) for label in map_domain(domain).split("."))


@lru_cache(maxsize=4096)
def spell_domain(domain: str) -> str:
    """A folded domain as people write it: A-labels as the letters they stand for."""
    if "xn--" not in domain or len(domain) > _LONGEST_DOMAIN:
        return domain
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


def fold_address(address: Address) -> str:
    """An address without regard to case, its domain as in `fold_domain`."""
    local, domain = address.local, address.domain
    if local is None or domain is None:
        return fold(address.address)
    return f"{fold(local)}@{fold_domain(domain)}" if address.address else ""


def fold_text(kind: str, text: str) -> str:
    """A text that an operator wrote, in the form in which values of this kind are equal.

    `kind` is `text`, `domain` or `address`.
    """
    if kind == "domain":
        return fold_domain(text)
    if kind == "address":
        return fold_address(Address(text))
    return fold(text)


def fold_part(kind: str, text: str) -> tuple[str, ...]:
    """A part of a value (for `contains` and its like) in the forms in which it may occur in a value's spellings."""
    if text.isascii():
        return (text.lower(),)
    if kind == "text":
        return (fold(text),)
    if kind == "domain":
        return (map_domain(text),)
    local, at, domain = text.rpartition("@")
    if at:
        return (f"{fold(local)}@{map_domain(domain)}",)
    return tuple(dict.fromkeys((fold(text), map_domain(text))))


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

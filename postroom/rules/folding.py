"""How a text that an operator wrote is compared with the values of a field."""

from __future__ import annotations

from postroom.mail.addresses import address_key
from postroom.mail.folding import fold, fold_domain, map_domain

LONGEST = 1_000_000
"""Characters of one value that tests and patterns look at. What follows is neither compared nor searched."""


def fold_text(kind: str, text: str) -> str:
    """A text that an operator wrote, in the form in which values of this kind are equal.

    `kind` is `text`, `domain` or `address`.
    """
    if kind == "domain":
        return fold_domain(text)
    if kind == "address":
        return address_key(text)
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

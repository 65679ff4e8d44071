"""Subjects: the words that mail programs put in front of them, and the keys of items in them."""

from __future__ import annotations

import re

LONGEST = 2_000
"""Characters of a subject that are looked at for prefixes and keys."""

# fmt: off
_REPLY_WORDS = (
    "re", "aw", "antw", "antwort", "sv", "vs", "ref", "rif", "res", "odp", "ynt", "vá", "atb", "rép", "回复", "回覆",
    "答复", "答覆", "返信", "отв", "ответ", "απ", "σχετ", "תגובה", "رد", "回信",
)
_FORWARD_WORDS = (
    "fwd", "fw", "wg", "tr", "rv", "enc", "vb", "vl", "doorst", "pd", "ilt", "转发", "轉寄", "轉發", "転送", "전달", "továbbítás", "πρθ", "הועבר", "إعادة توجيه", "пересл",
)
# fmt: on
_WORDS = "|".join(sorted(map(re.escape, (*_REPLY_WORDS, *_FORWARD_WORDS)), key=len, reverse=True))
_PREFIX = re.compile(
    rf"(?P<word>{_WORDS})(?:\s?\[\d{{1,4}}\]|\s?\(\d{{1,4}}\)|\^\d{{1,4}}|\*\d{{1,4}}|\d{{1,3}})?\s?[:：]\s*",
    re.IGNORECASE,
)
_REPLY = frozenset(_REPLY_WORDS)
_TAG = re.compile(r"\[[^\[\]]{1,80}\]\s*")
_END = re.compile(r"\s*\(fwd\)$", re.IGNORECASE)
_BRACKETS = re.compile(r"\[([^\[\]]{1,200})\]")
_KEY = re.compile(r"[A-Z][A-Z0-9_]{0,19}-\d{1,9}", re.IGNORECASE)
_NUMBER = re.compile(r"(?:^|[\s\w/.:-])#(\d{1,12})$")
_MOST_KEYS = 10


def base_subject(subject: str) -> str:
    """The subject without reply and forward prefixes, its white space collapsed (after RFC 5256, 2.1).

    Prefixes of many languages count, repeated and with counters (`AW: Re[2]: FW:`); not any word with a colon. A list's
    tag between them stays, once: `Re: [list] Re: hi` is `[list] hi`. Of a longer subject, LONGEST characters are looked
    at for prefixes.
    """
    head, rest = subject[:LONGEST], subject[LONGEST:]
    tag, at = "", len(head) - len(head.lstrip())
    while True:
        if prefix := _PREFIX.match(head, at):
            at = prefix.end()
            continue
        found = _TAG.match(head, at)
        # A tag counts as one only where a prefix stands before or behind it; `[list] hi` is left as it is.
        if found is None or not (_PREFIX.match(head, found.end()) or (tag and found[0].strip() == tag)):
            break
        tag = tag or found[0].strip()
        at = found.end()
    left = " ".join(f"{head[at:]}{rest}".split())
    for _ in range(5):
        if found := _END.search(left[-20:]):
            left = left[: len(left) - len(found[0])]
    if tag and not left.startswith(tag):
        left = f"{tag} {left}".rstrip()
    return left


def has_reply_prefix(subject: str) -> bool:
    """True where the first prefix is one of an answer; list tags may stand before it."""
    return _first_prefix(subject) in _REPLY


def has_forward_prefix(subject: str) -> bool:
    """True where the first prefix is one of a forwarded mail; list tags may stand before it."""
    word = _first_prefix(subject)
    return bool(word) and word not in _REPLY


def item_keys(subject: str) -> tuple[str, ...]:
    """Keys in square brackets that may name items of a tracker, in their order, without repeats, at most ten.

    `[APP-42]` gives `APP-42`; `[#17]`, `[Support - Bug #17]` and `[owner/repo#17]` give `17`.
    """
    found: dict[str, None] = {}
    for inside in _BRACKETS.findall(subject[:LONGEST]):
        text = inside.strip()
        if _KEY.fullmatch(text):
            found[text.upper()] = None
        elif number := _NUMBER.search(text):
            found[number[1]] = None
    return tuple(found)[:_MOST_KEYS]


def _first_prefix(subject: str) -> str:
    head = subject[:LONGEST]
    at = len(head) - len(head.lstrip())
    for _ in range(5):
        if prefix := _PREFIX.match(head, at):
            return prefix["word"].lower()
        tag = _TAG.match(head, at)
        if tag is None:
            break
        at = tag.end()
    return ""

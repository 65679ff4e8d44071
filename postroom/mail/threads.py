"""Thread keys: the Message-IDs that tie mails to a conversation (RFC 5322, 3.6.4)."""

from __future__ import annotations

import re

_KEY = re.compile(r"<[^<>\s]{1,995}>")
_MOST = 20
_LONGEST = 100_000


def thread_keys(in_reply_to: str | None, references: str | None) -> tuple[str, ...]:
    """Every `<...>` of In-Reply-To, then of References, newest first, without repeats, at most twenty.

    Keys are never split on blanks: where a provider unfolded a long header badly, none stand between them.
    """
    found: dict[str, None] = {}
    if in_reply_to:
        found.update(dict.fromkeys(_KEY.findall(in_reply_to[:_LONGEST])))
    if references:
        found.update(dict.fromkeys(reversed(_KEY.findall(references[-_LONGEST:]))))
    return tuple(found)[:_MOST]


def message_key(value: str | None) -> str | None:
    """The Message-ID with its angle brackets; None where the header holds none. A bare `id@host` gets its brackets."""
    if not value:
        return None
    found = _KEY.search(value[:_LONGEST])
    if found:
        return found[0]
    bare = value.strip()
    return f"<{bare}>" if re.fullmatch(r"[^<>\s]{1,990}@[^<>\s]+", bare[:995]) else None

"""Keys by which programs use the API: how one is made, and who it is that shows one.

    Authorization: Bearer prt_...

A key is shown once, when it is made; the store holds its SHA-256 alone. It has a name and a role, and may expire.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import sqlite3
from collections.abc import Callable
from functools import partial

from postroom.ids import now_ms
from postroom.store import tokens
from postroom.store.history import History
from postroom.store.writer import Writer

PREFIX = "prt_"
"""By it, programs that look for leaked secrets know a key."""
NAME = re.compile(r"\w[\w .@+-]{0,63}", re.ASCII)
SEEN_EVERY_MS = 5 * 60_000
"""So often at most is it written down that a key was used."""
_KEY = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")

TokenUser = Callable[[str | None], tuple[str, str] | None]
"""Takes an Authorization header. The name to record in events, and the role; None where it holds no key that counts."""

log = logging.getLogger(__name__)


def new_key() -> str:
    """A fresh key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> bytes:
    """What the store knows a key by. A plain hash will do: nobody guesses 256 bits."""
    return hashlib.sha256(key.encode()).digest()


def make(writer: Writer, name: str, role: str, days: float | None, who: str) -> str:
    """A new token; its key, which cannot be told again. `days`: after which it expires.

    Raises ValueError with a sentence where the name is none, or taken.
    """
    if not NAME.fullmatch(name):
        raise ValueError("A token's name has 1 to 64 letters, digits, blanks and . _ @ + -")
    key, now = new_key(), now_ms()
    expires_at = None if days is None else now + round(days * 86_400_000)
    writer.run(partial(tokens.add, hash=hash_of(key), name=name, role=role, expires_at=expires_at, who=who, now=now))
    return key


def who_of(name: str) -> str:
    """How a key is named in events: as no person may be."""
    return f"{name} (token)"


def token_user(history: History, writer: Writer) -> TokenUser:
    """The function that tells by an Authorization header which program it is.

    The key is looked up by its hash: how long that takes says nothing of keys that exist. At most once in five minutes
    its use is written down.
    """

    def who(header: str | None) -> tuple[str, str] | None:
        scheme, _, key = (header or "").strip().partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not _KEY.fullmatch(key):
            return None
        found = history.read(partial(tokens.find, hash=hash_of(key)))
        now = now_ms()
        if found is None or (found.expires_at is not None and found.expires_at <= now):
            return None
        if found.used_at is None or now - found.used_at >= SEEN_EVERY_MS:
            try:
                writer.run(partial(tokens.used, seq=found.seq, now=now))
            except sqlite3.Error:
                # A full disk keeps nobody from looking.
                log.exception("the use of a token could not be written down", extra={"token": found.name})
        return who_of(found.name), found.role

    return who

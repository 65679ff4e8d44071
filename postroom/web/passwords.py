"""Passwords of the dashboard's people: hashing, checking, and which are too weak to be taken."""

from __future__ import annotations

import secrets
from functools import cache

SHORTEST = 12
LONGEST = 1000
_USUAL = ("password", "postroom", "qwertz", "qwerty", "letmein", "123456", "abcdef", "asdfgh", "111111", "000000")


def hash_password(password: str) -> str:
    """The hash to keep for a password."""
    from werkzeug.security import generate_password_hash  # commands that hash nothing do without

    return generate_password_hash(password, method="scrypt")


def is_right(password_hash: str, password: str) -> bool:
    """Is it the password of that hash?"""
    from werkzeug.security import check_password_hash

    try:
        return len(password) <= LONGEST and check_password_hash(password_hash, password)
    except ValueError:
        # A hash that somebody mistyped in config.yaml.
        return False


@cache
def nobody() -> str:
    """The hash of no password: an unknown name costs the same work as a known one."""
    return hash_password(secrets.token_hex())


def generated() -> str:
    """A fresh password of 108 random bits."""
    return secrets.token_urlsafe(14)[:18]


def weakness(password: str, name: str) -> str:
    """Why a password is not taken, as a sentence; empty for one that is.

    Length is what counts (NIST SP 800-63B, 5.1.1.2): no classes of characters are asked for.
    """
    if len(password) < SHORTEST:
        return f"A password has at least {SHORTEST} characters."
    if len(password) > LONGEST:
        return f"A password has at most {LONGEST} characters."
    # What is left without the words that everybody tries first.
    rest = password.lower()
    for word in (name.lower(), *_USUAL):
        rest = rest.replace(word, "") if word else rest
    if len(set(rest)) < 5:
        return "This password is one of those that are guessed first: take several words, or a generated one."
    return ""

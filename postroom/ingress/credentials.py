"""By what requests are known to be genuine. Every comparison takes the same time, whatever is compared."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from postroom.fields import Secret, setting
from postroom.ingress.base import Refusal, Request


@dataclass(frozen=True)
class Login:
    """A name and a password in the URL that the provider is given: it sends them as HTTP Basic authentication."""

    username: str = setting("user name in the URL that the provider is given", default="postroom")
    password: list[Secret] = setting("its password; several while it is changed")


def require_login(request: Request, username: str, passwords: Sequence[Secret]) -> None:
    """Basic authentication (RFC 7617), or one of the passwords as a bearer token (RFC 6750). Raises Refusal(401)."""
    if not has_login(request, username, passwords):
        raise Refusal(401, "the user name or the password does not match")


def has_login(request: Request, username: str, passwords: Sequence[Secret]) -> bool:
    """Whether a request carries the name and one of the passwords, or one of them as a bearer token."""
    scheme, _, given = request.header("Authorization").partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return False
        return one_of(pair, [f"{username}:{password}".encode() for password in passwords])
    return scheme.lower() == "bearer" and one_of(given.encode(), [password.encode() for password in passwords])


def with_login(url: str, username: str, password: str) -> str:
    """A URL that holds a name and a password, each percent-encoded."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{quote(username, safe='')}:{quote(password, safe='')}@{parts.netloc}").geturl()


def one_of(given: bytes, wanted: Iterable[bytes]) -> bool:
    """Whether it is one of them. Takes the same time wherever in the list it stands."""
    found = False
    for each in wanted:
        found |= hmac.compare_digest(given, each)
    return found


def signed(given: str, data: bytes | bytearray, keys: Sequence[Secret]) -> bool:
    """Whether a signature in hexadecimal digits is the HMAC-SHA256 of the data under one of the keys."""
    made = [hmac.new(key.encode(), data, hashlib.sha256).hexdigest().encode() for key in keys]
    return one_of(given.strip().lower().encode(), made)


def fresh(timestamp: str, max_age: float, *, ahead: float = 600.0) -> bool:
    """Whether a time in seconds since 1970 is at most `max_age` seconds ago, and not far ahead of our clock."""
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 12:
        return False
    return -ahead <= time.time() - int(timestamp) <= max_age

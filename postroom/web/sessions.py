"""Sessions: a signed cookie holds an id, the store knows its SHA-256, whose it is, and from where it was used last."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import re
import secrets
import sqlite3
from collections.abc import Sequence
from functools import partial

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface

from postroom.ids import now_ms
from postroom.store import audit, sessions
from postroom.store.history import History
from postroom.store.sessions import Session
from postroom.store.writer import Writer

SEEN_EVERY_MS = 5 * 60_000
"""So often at most is it written down that a session was used."""
# What browsers say of themselves; those that call themselves others first.
_BROWSERS = (
    ("Edg", "Edge"), ("OPR", "Opera"), ("SamsungBrowser", "Samsung Internet"), ("Vivaldi", "Vivaldi"),
    ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("Chrom", "Chrome"), ("CriOS", "Chrome"), ("Safari", "Safari"),
    ("curl", "curl"), ("python", "Python"),
)  # fmt: skip
_SYSTEMS = (
    ("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"), ("Linux", "Linux"), ("BSD", "BSD"),
)  # fmt: skip

log = logging.getLogger(__name__)


class CookieInterface(SecureCookieSessionInterface):
    """Flask's, with `Secure` wherever the request came by https (by a trusted proxy's word, too)."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


class Book:
    """The sessions in the store."""

    def __init__(self, history: History, writer: Writer) -> None:
        self._history, self._writer = history, writer

    def begin(self, name: str, mark: str, address: str, agent: str, *, note: bool = True) -> str:
        """A new session of a person: its id, for the cookie. `note`: the login is put on record."""
        id, now = secrets.token_urlsafe(32), now_ms()

        def work(db: sqlite3.Connection) -> None:
            sessions.start(db, _hash(id), name, mark, address, agent, now)
            if note:
                audit.note(db, name, "login", f"from {address}, {agent}", now)

        self._writer.run(work)
        return id

    def find(self, id: str, address: str) -> Session | None:
        """The living session of an id. That it was used is written down, at most once in five minutes."""
        now = now_ms()
        found = self._history.read(partial(sessions.find, hash=_hash(id), now=now))
        if found is not None and now - found.seen_at >= SEEN_EVERY_MS:
            try:
                self._writer.run(partial(sessions.seen, seq=found.seq, address=address, now=now))
            except sqlite3.Error:
                # A full disk keeps nobody from looking.
                log.exception("the use of a session could not be written down")
        return found

    def of(self, name: str) -> list[Session]:
        """The living sessions of a person, newest first."""
        return self._history.read(partial(sessions.of, name=name, now=now_ms()))

    def end(self, name: str, *, who: str, seq: int | None = None, but: int | None = None) -> int:
        """Ends sessions of a person: one, all but one, or all. How many there were. `who` did it is put on record."""

        def work(db: sqlite3.Connection) -> int:
            count = sessions.end(db, name, seq=seq, but=but)
            if count:
                audit.note(db, who, "end sessions", f"{name}: {count}", now_ms())
            return count

        return self._writer.run(work)

    def leave(self, name: str, seq: int) -> None:
        """A person logs out."""

        def work(db: sqlite3.Connection) -> None:
            if sessions.end(db, name, seq=seq):
                audit.note(db, name, "logout", None, now_ms())

        self._writer.run(work)


def device(user_agent: str) -> str:
    """`Firefox on Linux`: what people know their browsers by. Of what is no browser, its own first word."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    word = re.sub(r"[^\w./+-].*", "", user_agent, flags=re.ASCII | re.DOTALL)[:40]
    return browser or system or word or "an unknown program"


def network(address: str | None) -> str:
    """One host's addresses are one key: IPv6 gives each customer a whole /64."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, ipaddress.IPv6Address) and not parsed.ipv4_mapped:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def is_known(found: Sequence[Session], address: str) -> bool:
    """Is one of these sessions used from the network of an address?"""
    return any(network(each.address) == address for each in found)


def _hash(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()

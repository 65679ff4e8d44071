"""Login by the word of a proxy in front: Authelia, oauth2-proxy and their like.

The proxy names the person in a header of each request. It is believed only where the connection itself comes from an
address that config.yaml lists, whatever X-Forwarded-For says: from anywhere else the header is as if it were not there.

WSGI cannot tell `Remote-User` from `Remote_User`. A proxy must let neither through from outside; see docs/dashboard.md.
"""

from __future__ import annotations

import ipaddress
import logging
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from postroom.dashboard_config import ProxyLogin
from postroom.ids import now_ms
from postroom.store import audit, people
from postroom.store.writer import Writer

_NOTED_EVERY_MS = 12 * 3_600_000
_MOST_NOTED = 1000

log = logging.getLogger(__name__)


class Proxy:
    """What the configured proxies say of requests."""

    def __init__(self, settings: ProxyLogin, writer: Writer) -> None:
        self._settings, self._writer = settings, writer
        self._networks = [ipaddress.ip_network(each, strict=False) for each in settings.from_]
        self._noted: dict[str, int] = {}
        self._lock = threading.Lock()

    def person(self, environ: Mapping[str, Any]) -> str | None:
        """The name that a believed proxy gives; None where there is none."""
        name = _header(environ, self._settings.header)
        if not name:
            return None
        if not self._believed(peer_of(environ)):
            log.warning("a login header was ignored: not from a listed proxy", extra={"peer": peer_of(environ)})
            return None
        if not people.NAME.fullmatch(name) or name in audit.RESERVED:
            log.warning("a proxy named somebody whom the dashboard cannot take", extra={"user": name[:80]})
            return None
        return name

    def role(self, environ: Mapping[str, Any], roles: Sequence[str], stored: str | None) -> str | None:
        """The role of that person: by the groups, else that of the stored user of the name, else the default."""
        if self._settings.roles_header:
            groups = {each.strip().lower() for each in _header(environ, self._settings.roles_header).split(",")}
            for role in reversed(roles):
                if groups & {role, f"postroom-{role}"}:
                    return role
        if stored is not None:
            return stored
        return None if self._settings.role == "none" else self._settings.role

    def note(self, name: str, address: str) -> None:
        """That a person is here by the word of a proxy is put on record twice a day, not at each request."""
        now = now_ms()
        with self._lock:
            if now - self._noted.get(name, 0) < _NOTED_EVERY_MS:
                return
            if len(self._noted) >= _MOST_NOTED:
                self._noted.clear()
            self._noted[name] = now
        try:
            detail = f"from {address}, by the word of the proxy"
            self._writer.run(partial(audit.note, who=name, what="login", detail=detail, now=now))
        except sqlite3.Error:
            log.exception("a login could not be put on record")

    def _believed(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def peer_of(environ: Mapping[str, Any]) -> str:
    """Who is at the other end of the connection: before X-Forwarded-For was read."""
    original = environ.get("werkzeug.proxy_fix.orig") or environ
    return str(original.get("REMOTE_ADDR") or "")


def _header(environ: Mapping[str, Any], name: str) -> str:
    return str(environ.get(f"HTTP_{name.upper().replace('-', '_')}", "")).strip()

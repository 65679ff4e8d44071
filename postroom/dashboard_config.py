"""The section `dashboard` of config.yaml: who may look, and by whose word."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from postroom.fields import setting

ROLES = ("viewer", "operator", "editor")
"""Each may do what those before it may."""
_RESERVED = ("postroom", "somebody")
"""Who did it where the log names no person."""


@dataclass(frozen=True)
class User:
    password_hash: str = setting("made by `postroom init`, or by werkzeug's generate_password_hash")
    role: Literal["viewer", "operator", "editor"] = setting("what the person may do", default="viewer")


@dataclass(frozen=True)
class ProxyLogin:
    """People whom a proxy in front has logged in."""

    from_: list[str] = setting("addresses and networks of the proxies whose word is taken; nobody else's is")
    header: str = setting("in which they name the person", default="Remote-User")
    role: Literal["none", "viewer", "operator", "editor"] = setting(
        "of people whom nothing else gives one; none: they are not let in", default="viewer"
    )
    roles_header: str | None = setting(
        "in which they list the person's groups; those named as a role, or postroom- and a role, count", default=None
    )


@dataclass(frozen=True)
class Dashboard:
    users: dict[str, User] | None = setting("people by name; absent: one admin with a generated password", default=None)
    proxy_login: ProxyLogin | None = setting("login by a proxy in front, such as Authelia", default=None)


def faults(dashboard: Dashboard) -> Iterator[str]:
    """A sentence on each thing that types do not tell."""
    for name in dashboard.users or ():
        if name in _RESERVED:
            yield f"users: '{name}' is a name that the audit log uses itself; choose another"
    proxy = dashboard.proxy_login
    if proxy is None:
        return
    for network in proxy.from_:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield f"proxy_login: from: '{network}' is no address and no network"
    for key, header in (("header", proxy.header), ("roles_header", proxy.roles_header)):
        if header is not None and not re.fullmatch(r"[A-Za-z0-9-]+", header):
            yield f"proxy_login: {key}: '{header}' is no name of a header; use letters, digits and -"

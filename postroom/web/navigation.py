"""The links at the top of each page: those that exist, and that the current user may follow."""

from __future__ import annotations

from collections.abc import Callable

from flask import current_app, request

_LINKS = (
    ("/", "Overview", "viewer"),
    ("/messages", "Messages", "viewer"),
    ("/rules", "Rules", "viewer"),
    ("/destinations", "Destinations", "viewer"),
    ("/people", "People", "editor"),
)
_BELOW = {"/tokens": "/people", "/audit": "/people", "/deliveries": "/messages"}
"""Pages that belong to one of the links, though their paths do not begin with its."""


def links(may: Callable[[str], bool]) -> list[tuple[str, str, bool]]:
    """Path and name of each, and whether the page that is asked for belongs to it."""
    exist = {rule.rule for rule in current_app.url_map.iter_rules()}
    here = f"/{request.path.split('/')[1]}"
    here = _BELOW.get(here, here)
    return [(path, name, here == path) for path, name, role in _LINKS if path in exist and may(role)]

"""The list of messages.

| URL | what |
| --- | --- |
| `GET /messages` | the messages: `state`, `q` (search), `before` (paging) |
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue

from postroom.store.history import COUNT_CAP, FILTERS, History

_PAGE = 50
_ALWAYS = ("", "pending", "retrying", "dead", "unmatched")
"""Filters that are offered even while nothing meets them."""
_TABS = (
    ("", "All"),
    ("pending", "Under way"),
    ("retrying", "Retrying"),
    ("dead", "Dead"),
    ("held", "Held"),
    ("unmatched", "Unmatched"),
    ("dropped", "Dropped"),
    ("discarded", "Discarded"),
)


def routes(pages: Blueprint, *, history: History, ingresses: Sequence[str] = (), public_url: str = "") -> None:
    """Adds the list to the pages of mail. `ingresses` and `public_url`: see dashboard.blueprint."""

    @pages.get("/messages")
    def messages() -> ResponseReturnValue:
        state, search = request.args.get("state", ""), request.args.get("q", "").strip()
        before = request.args.get("before", type=int)
        if state and state not in FILTERS:
            abort(400, "There is no such state to look for.")
        if before is not None and not 0 < before < 2**63:
            abort(400, "There is no such page.")
        rows = history.messages(search=search, state=state, before=before, limit=_PAGE + 1)
        base = (public_url or request.url_root).rstrip("/")
        counts = history.counts()
        return render_template(
            "messages.html",
            rows=rows[:_PAGE],
            older=rows[_PAGE - 1].seq if len(rows) > _PAGE else None,
            before=before,
            state=state,
            search=search,
            tabs=[tab for tab in _TABS if tab[0] in _ALWAYS or tab[0] == state or counts[tab[0]]],
            counts=counts,
            cap=COUNT_CAP,
            endpoints=[f"{base}/inbound/{name}" for name in ingresses],
        )

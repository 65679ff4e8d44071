"""The dashboard's first page: where mail goes now, what it does over time, and what needs a person.

| URL | what |
| --- | --- |
| `GET /` | the overview; `range`: 1h, 24h, 7d, 30d, 90d. With `q`, `state` or `before` 302 to `/messages` |

htmx asks for the same URL every ten seconds and gets the part that changes.
"""

from __future__ import annotations

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from postroom.web import auth


def blueprint() -> Blueprint:
    """The page."""
    pages = Blueprint("overview", __name__)
    pages.before_request(auth.require_login)

    @pages.get("/")
    def overview() -> ResponseReturnValue:
        return redirect(url_for("dashboard.messages", **request.args.to_dict()))

    return pages

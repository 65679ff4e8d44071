"""The dashboard's audit log: what people did, and who logged in. For editors only.

| URL | what |
| --- | --- |
| `GET /audit` | newest first: `who`, `what` (filters), `before` (paging) |
| `GET /audit.csv` | the same as CSV (RFC 4180), the newest hundred thousand |
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue

from postroom.export import lines
from postroom.store import audit
from postroom.store.history import History
from postroom.web import auth, display

_PAGE = 50
_CSV_PAGE = 1000
_CSV_MOST = 100_000
_LONGEST = 200


def blueprint(history: History) -> Blueprint:
    """The page."""
    pages = Blueprint("audit", __name__)
    pages.before_request(auth.require_login)
    pages.before_request(lambda: auth.require_role("editor"))

    def filters() -> dict[str, str]:
        return {name: request.args.get(name, "")[:_LONGEST] for name in ("who", "what")}

    @pages.get("/audit")
    def log() -> ResponseReturnValue:
        before = request.args.get("before", type=int)
        if before is not None and not 0 < before < 2**62:
            abort(400, "There is no such page.")
        chosen = filters()
        rows = _read(history, chosen, before, _PAGE + 1)
        return render_template(
            "audit.html",
            rows=rows[:_PAGE],
            older=rows[_PAGE - 1].seq if len(rows) > _PAGE else None,
            before=before,
            chosen=chosen,
            actors=history.read(audit.actors),
            kinds=history.read(audit.kinds),
        )

    @pages.get("/audit.csv")
    def export() -> ResponseReturnValue:
        response = Response(_csv(history, filters()), content_type="text/csv; charset=utf-8")
        response.headers.set("Content-Disposition", "attachment", filename="audit.csv")
        return response

    return pages


def _csv(history: History, chosen: dict[str, str]) -> Iterator[bytes]:
    """Page by page: no snapshot is held while a slow reader takes its time."""
    yield lines([("seq", "at", "who", "what", "detail", "message", "delivery")])
    before, count = None, 0
    while count < _CSV_MOST:
        rows = _read(history, chosen, before, _CSV_PAGE)
        yield lines([_cells(row) for row in rows])
        if len(rows) < _CSV_PAGE:
            return
        before, count = rows[-1].seq, count + len(rows)


def _read(history: History, chosen: dict[str, str], before: int | None, limit: int) -> list[audit.Entry]:
    return history.read(partial(audit.entries, who=chosen["who"], what=chosen["what"], before=before, limit=limit))


def _cells(row: audit.Entry) -> list[str]:
    given = (row.detail, row.message, row.delivery)
    return [str(row.seq), display.iso(row.at), row.who, row.what, *(each or "" for each in given)]

"""The dashboard's pages of mail: everything about one message. messages.py has the list, actions.py what people do.

| URL | what |
| --- | --- |
| `GET /messages/ID` | one message: deliveries, why, the mail (`view=raw`: its document), conversation, what happened |
| `GET /messages/ID/payload`, `/messages/ID/attachments/N` | downloads, never shown in place |
| `GET /messages/ID/html` | its HTML made harmless, for the frame on that page |

All of them need a login. A page shows what is in the store and computes the trace anew; nothing here writes.
"""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from urllib.parse import quote
from uuid import UUID

from flask import Blueprint, Flask, Response, abort, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from postroom.acting import Acting
from postroom.bodies import split_of
from postroom.mail.safe_html import safe_html
from postroom.message import Message
from postroom.plan import Trace
from postroom.store.history import History
from postroom.store.records import MessageDetail, MessageRow
from postroom.store.states import MessageState
from postroom.timeline import timeline
from postroom.web import actions, auth, display, from_mail, messages

Explain = Callable[[int, Message, tuple[str, ...] | None, tuple[str, ...]], Trace | None]

_MOST_RAW = 300_000
"""Bytes of a raw document that a page shows."""
_TITLES = {
    400: "That request could not be understood",
    403: "You may not do that",
    404: "There is nothing here",
    413: "That is too large",
    500: "Something went wrong here",
}

log = logging.getLogger(__name__)


def blueprint(
    *,
    history: History,
    explain: Explain,
    acting: Acting,
    rule_set_of: from_mail.RuleSetOf,
    active_number: Callable[[], int],
    destinations: Sequence[str],
    problems: Callable[[], Sequence[str]],
    ingresses: Sequence[str] = (),
    public_url: str = "",
) -> Blueprint:
    """The pages. `explain` takes a rule set's seq, a message, the items that it saw and the rules left out; `problems`
    are sentences that every page shows at its top. `rule_set_of`, `active_number`, `destinations`: see from_mail.

    `ingresses` and `public_url` make the endpoint URLs that the empty list shows a newcomer.
    """
    pages = Blueprint("dashboard", __name__)
    display.install(pages)
    pages.before_request(auth.require_login)
    pages.context_processor(lambda: {"problems": list(problems()), "meanings": display.MEANINGS})

    messages.routes(pages, history=history, ingresses=ingresses, public_url=public_url)
    actions.routes(pages, history=history, acting=acting)
    from_mail.routes(
        pages, history=history, rule_set_of=rule_set_of, active_number=active_number, destinations=destinations
    )

    @pages.get("/messages/<uuid:id>")
    def message(id: UUID) -> ResponseReturnValue:
        detail = history.message(str(id))
        if detail is None:
            abort(404, "No message has this id. It may have been pruned or erased.")
        return render_template(
            "message.html",
            detail=detail,
            row=detail.row,
            mail=detail.message,
            trace=_trace(explain, detail.row, detail.message),
            split=None if detail.message is None else split_of(detail.message),
            raw=_raw(history, detail) if request.args.get("view") == "raw" else None,
            story=timeline(detail),
            thread=sorted((detail.row, *detail.conversation), key=lambda each: each.seq),
            discardable=(MessageState.HELD, MessageState.UNMATCHED),
        )

    @pages.get("/messages/<uuid:id>/payload")
    def payload(id: UUID) -> ResponseReturnValue:
        body = history.payload(str(id))
        if body is None:
            abort(404, "This payload is not in the store, or no longer.")
        ending = "json" if body.lstrip()[:1] in (b"{", b"[") else "txt"
        return _download(Response(body), f"payload-{id}.{ending}", len(body))

    @pages.get("/messages/<uuid:id>/attachments/<int:position>")
    def attachment(id: UUID, position: int) -> ResponseReturnValue:
        found = history.attachment(str(id), position) if position < 2**31 else None
        if found is None:
            abort(404, "This attachment is not in the store, or no longer.")
        part, size, chunks = found
        # The first piece is read now: a fault of the store is a 500, not a broken download.
        body = chain([next(chunks, b"")], chunks)
        return _download(Response(body), part.name or f"attachment-{position + 1}", size)

    @pages.get("/messages/<uuid:id>/html")
    def html(id: UUID) -> ResponseReturnValue:
        detail = history.message(str(id))
        if detail is None or detail.message is None or not detail.message.html:
            abort(404, "This mail has no HTML in the store, or no longer.")
        return _framed(safe_html(detail.message.html))

    return pages


def install_error_pages(app: Flask, plain: Sequence[str] = ("inbound", "api", "health")) -> None:
    """Errors look like the rest of the dashboard. `plain` names the blueprints whose errors stay bare text, and the
    first parts of paths for which no route was found."""

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> ResponseReturnValue:
        if error.response is not None:
            return error
        code = error.code or 500
        if request.blueprint in plain or request.path.split("/")[1] in plain:
            answer = Response(f"{code} {error.name}\n", code, mimetype="text/plain")
        else:
            title = _TITLES.get(code, error.name)
            if isinstance(error, CSRFError):
                sentence = "The form was too old or came from another site. Please go back, reload, and try again."
            else:
                sentence = (error.description or "") if code in (400, 403, 404) and request.blueprint else ""
            answer = Response(render_template("error.html", code=code, title=title, sentence=sentence), code)
        # Retry-After, Allow and the like.
        answer.headers.extend((name, value) for name, value in error.get_headers() if name.lower() != "content-type")
        return answer


def _trace(explain: Explain, row: MessageRow, message: Message | None) -> Trace | None:
    if message is None:
        return None
    try:
        return explain(row.rule_set, message, row.saw_items, row.left_out)
    except Exception:
        # The page is where one looks when something is wrong: it says what it can.
        log.exception("the trace could not be computed", extra={"message_id": message.id})
        return None


@dataclass(frozen=True, slots=True)
class _Raw:
    """The provider's document, to be looked at."""

    text: str
    indented: bool
    cut: bool


def _raw(history: History, detail: MessageDetail) -> _Raw | None:
    body = history.payload(detail.row.id) if detail.payload_size is not None else None
    if body is None:
        return None
    text, indented = body[:_MOST_RAW].decode("utf-8", "replace"), False
    if len(body) <= _MOST_RAW and text.lstrip()[:1] in ("{", "["):
        try:
            text, indented = json.dumps(json.loads(text), indent=2, ensure_ascii=False), True
        except (ValueError, RecursionError):
            # No JSON after all: it is shown as it is.
            pass
    return _Raw(text[:_MOST_RAW], indented, len(body) > _MOST_RAW or len(text) > _MOST_RAW)


def _framed(document: str) -> Response:
    """A stranger's HTML for a frame of ours: no script, no style of its own, nothing from the network."""
    style = url_for("static", filename="mail.css")
    head = f'<!doctype html><meta charset="utf-8"><title>The mail</title><link rel="stylesheet" href="{style}">'
    response = Response(f'{head}<body dir="auto">{document}', mimetype="text/html")
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self';"
        " sandbox allow-popups allow-popups-to-escape-sandbox"
    )
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _download(response: Response, name: str, size: int) -> Response:
    """Something of a stranger's, for the disk only: no browser may open it in place or guess its type."""
    response.headers["Content-Type"] = "application/octet-stream"
    # RFC 6266: the name in ASCII for old programs, the real one in UTF-8 for all others.
    shown = _file_name(name)
    names = {
        "filename": unicodedata.normalize("NFKD", shown).encode("ascii", "ignore").decode().strip() or "attachment"
    }
    if names["filename"] != shown:
        names["filename*"] = f"UTF-8''{quote(shown, safe='')}"
    response.headers.set("Content-Disposition", "attachment", **names)
    response.headers["Content-Length"] = str(size)
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _file_name(name: str) -> str:
    shown = display.line(name.replace("/", "_").replace("\\", "_").replace('"', "'"), 150)
    return shown.strip(". ") or "attachment"

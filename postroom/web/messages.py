"""The list of messages: search, filters, export.

| URL | what |
| --- | --- |
| `GET /messages` | the messages: `state`, `q` (a search, see store/query.py), `before` or `after` (paging, by seq) |
| `GET /messages/export.csv`, `/messages/export.json` | all that `q` and `state` find, see postroom/export.py |

htmx asks for the same URL as one types and while one looks, and gets the part that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue

from postroom import export
from postroom.acting import LIMIT
from postroom.store import filters
from postroom.store.history import COUNT_CAP, FILTERS, Found, History
from postroom.store.query import conditions, with_condition, without_condition

PAGE = 50
ACTS = (
    ("retry", "Retry"),
    ("replay", "Replay"),
    ("re-route", "Re-route"),
    ("release", "Release"),
    ("discard", "Discard"),
    ("cancel", "Cancel"),
)
"""What may be done to many messages: see postroom/acts.py."""

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
_AGES = (("last hour", "1h"), ("last day", "1d"), ("last week", "7d"), ("last month", "30d"))
HELP = (
    ("printer fire", "both words, each as the beginning of a word in subject, addresses, text or names of files"),
    ('"printer fire"', "the same: quotation marks keep blanks and colons from meaning anything"),
    ("-printer", "without it; before a key too, as in -kind:bounce"),
    ("to:bugs@example.com", "in the recipient"),
    ("from:ada", "in the sender's address or name"),
    ("subject:crash", "in the subject"),
    ('rule:"Crash reports"', "matched by this rule, by its whole name"),
    ("dest:jira", "a delivery to this destination"),
    ("state:held", f"a state: {', '.join(FILTERS)}"),
    ("kind:bounce", "how the mail was classed: new, reply, bounce, auto_reply, list, automated, loop"),
    ("has:attachment", "with files"),
    ("in:0198c0de-0000-7000-8000-000000000000", "the conversation of the message with this id"),
    ("before:2026-11-24", "received before this day (UTC), or so long ago: before:2h, before:3d"),
    ("after:7d", "received since then"),
    ("APP-42", "the reference of an item, or an id"),
)
"""Examples of the search, with what they mean: each key is among them."""
_EXPORT_SECONDS = 20.0
"""For one page of an export."""
_EXPORT_PAGE = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """A link that narrows the search, or widens it again where it is in it already."""

    title: str
    search: str
    """What the search is then."""
    active: bool = False


def routes(pages: Blueprint, *, history: History, ingresses: Sequence[str] = (), public_url: str = "") -> None:
    """Adds the list to the pages of mail. `ingresses` and `public_url`: see dashboard.blueprint."""

    @pages.get("/messages")
    def messages() -> ResponseReturnValue:
        search, state = asked()
        before, after = _seq("before"), _seq("after")
        page = history.find(search, state=state, before=before, after=after, limit=PAGE + 1)
        if after is not None and len(page.rows) <= PAGE:
            # What follows does not fill a page: that is the first one.
            after = None
            page = history.find(search, state=state, limit=PAGE + 1)
        more = len(page.rows) > PAGE
        rows = page.rows[1:] if after is not None and more else page.rows[:PAGE]
        counts = history.counts()
        whole = not is_fragment()
        base = (public_url or request.url_root).rstrip("/")
        answer = Response(
            render_template(
                "messages.html" if whole else "_results.html",
                page=page,
                rows=rows,
                older=rows[-1].seq if rows and (more or after is not None) else None,
                newer=rows[0].seq if rows and (before is not None or after is not None) else None,
                live=before is None and after is None,
                typed=request.headers.get("HX-Trigger") == "q",
                state=state,
                search=search,
                chips=[Filter(each, without_condition(search, at)) for at, each in enumerate(conditions(search))],
                filters=_filters(search, history.read(filters.names)),
                help=HELP,
                tabs=[tab for tab in _TABS if tab[0] in _ALWAYS or tab[0] == state or counts[tab[0]]],
                counts=counts,
                cap=COUNT_CAP,
                limit=LIMIT,
                acts=ACTS,
                endpoints=[f"{base}/inbound/{name}" for name in ingresses],
            )
        )
        answer.headers["Vary"] = "HX-Request"
        return answer

    @pages.get("/messages/export.csv")
    def export_csv() -> ResponseReturnValue:
        return _download(export.as_csv(found()), "text/csv; charset=utf-8; header=present", "csv")

    @pages.get("/messages/export.json")
    def export_json() -> ResponseReturnValue:
        return _download(export.as_json(found()), "application/json", "json")

    def found() -> export.Pages:
        search, state = asked()

        def page(before: int | None) -> Found:
            return history.find(search, state=state, before=before, limit=_EXPORT_PAGE, seconds=_EXPORT_SECONDS)

        return page


def asked(values: Callable[[str, str], str] | None = None) -> tuple[str, str]:
    """The search and the state that a request asks for. 400 where there is no such state."""
    get = values or request.args.get
    search, state = (get("q", "") or "").strip(), get("state", "") or ""
    if state and state not in FILTERS:
        abort(400, "There is no such state to look for.")
    return search, state


def is_fragment() -> bool:
    """Whether htmx asks for a part. Where it restores a page of the past, it wants the whole."""
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers


def _seq(name: str) -> int | None:
    seq = request.args.get(name, type=int)
    if seq is not None and not 0 < seq < 2**63:
        abort(400, "There is no such page.")
    return seq


def _filters(search: str, known: dict[str, list[str]]) -> list[tuple[str, list[Filter]]]:
    now = [each.lower() for each in conditions(search)]

    def link(title: str, key: str, value: str) -> Filter:
        alone = with_condition("", key, value)
        if alone.lower() in now:
            return Filter(title, without_condition(search, now.index(alone.lower())), True)
        return Filter(title, with_condition(search, key, value, instead_of=key))

    def links(key: str, values: Iterable[str]) -> list[Filter]:
        return [link(value.replace("_", " ") if key == "kind" else value, key, value) for value in values]

    groups = [
        ("Received", [link(title, "after", age) for title, age in _AGES]),
        ("Destination", links("dest", known["dest"])),
        ("Kind", links("kind", known["kind"])),
        ("Files", [link("with attachments", "has", "attachment")]),
        ("Rule", links("rule", known["rule"])),
    ]
    return [(title, found) for title, found in groups if found]


def _download(pieces: Iterator[bytes], mimetype: str, ending: str) -> Response:
    # The first two are read now: a fault of the store is a 500, not a broken download.
    body = chain([next(pieces, b""), next(pieces, b"")], pieces)
    response = Response(body, content_type=mimetype)
    response.headers.set("Content-Disposition", "attachment", filename=f"messages.{ending}")
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response

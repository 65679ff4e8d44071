"""Every page of the dashboard, in one place: a test compares the list with the program's own routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.browser.mailroom import Mailroom

_NOBODY = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Shown:
    """A page as it is opened in tests. `path`: from the ids of the filled instance."""

    name: str
    rule: str
    """Of the route."""
    path: Callable[[Mailroom], str]
    who: str | None = "edda"
    answers: int = 200
    without: tuple[str, ...] = field(default=())
    """Rules of axe-core that are not ours to keep here."""
    framed: bool = False
    """Is it a stranger's HTML, with no heading of ours?"""


def _at(path: str) -> Callable[[Mailroom], str]:
    return lambda room: path.format(**{name.replace(" ", "_"): id for name, id in room.ids.items()})


def _message(name: str, message: str) -> Shown:
    return Shown(name, "/messages/<uuid:id>", _at(f"/messages/{{{message}}}"))


_ACTS_OF_A_MESSAGE = '/messages/<uuid:id>/<any("retry", "replay", "cancel", "re-route", "release", "discard"):act>'
_ACTS_OF_A_DELIVERY = '/deliveries/<uuid:id>/<any("retry", "replay", "cancel"):act>'

PAGES = [
    Shown("login", "/login", _at("/login"), who=None),
    Shown("overview", "/", _at("/")),
    Shown("overview of an hour", "/", _at("/?range=1h")),
    Shown("overview of a quarter", "/", _at("/?range=90d")),
    Shown("messages", "/messages", _at("/messages")),
    Shown("messages of a state", "/messages", _at("/messages?state=dead")),
    Shown("messages found", "/messages", _at("/messages?q=from:jo+has:attachment")),
    Shown("messages with a slip", "/messages", _at("/messages?q=before:yesterdayish")),
    Shown("messages, none", "/messages", _at("/messages?q=thereisnosuchword")),
    _message("message delivered", "first"),
    _message("message of a conversation", "reply_2"),
    _message("message dead", "strict"),
    _message("message retrying", "slow"),
    _message("message behind a circuit", "gone"),
    _message("message held", "wait"),
    _message("message unmatched", "nobody_0"),
    _message("message dropped", "away"),
    _message("message with files", "attachments"),
    _message("message hostile", "everywhere"),
    Shown("message raw", "/messages/<uuid:id>", _at("/messages/{everywhere}?view=raw")),
    Shown(
        "html of a mail",
        "/messages/<uuid:id>/html",
        _at("/messages/{all_html}/html"),
        framed=True,
        without=("html-has-lang", "page-has-heading-one", "landmark-one-main", "region", "empty-heading"),
    ),
    Shown("rule of a mail", "/messages/<uuid:id>/make-rule", _at("/messages/{first}/make-rule")),
    Shown("rule of a hostile mail", "/messages/<uuid:id>/make-rule", _at("/messages/{everywhere}/make-rule")),
    Shown("test of a mail", "/messages/<uuid:id>/make-test", _at("/messages/{first}/make-test")),
    *(
        Shown(f"{act} a message?", _ACTS_OF_A_MESSAGE, _at(f"/messages/{{{message}}}/{act}"))
        for act, message in (("retry", "strict"), ("cancel", "slow"), ("re-route", "first"), ("release", "wait"))
    ),
    Shown("retry a delivery?", _ACTS_OF_A_DELIVERY, lambda room: f"/deliveries/{room.of_strict}/retry"),
    Shown("destinations", "/destinations", _at("/destinations")),
    Shown("test a destination?", "/destinations/<name>/test", _at("/destinations/archive/test")),
    Shown("retry all dead?", "/destinations/<name>/retry", _at("/destinations/strict/retry")),
    Shown("rules", "/rules", _at("/rules")),
    Shown("rule file", "/rules/file", _at("/rules/file?path=20-bugs.yaml&line=5")),
    Shown("rule file in the draft", "/rules/file", _at("/rules/file?path=40-monitoring.yaml")),
    Shown("draft", "/rules/draft", _at("/rules/draft")),
    Shown("tests of the rules", "/rules/test", _at("/rules/test")),
    Shown("explain, nothing chosen", "/rules/explain", _at("/rules/explain")),
    Shown("explain a mail", "/rules/explain", _at("/rules/explain?message={first}")),
    Shown("explain a hostile mail", "/rules/explain", _at("/rules/explain?message={everywhere}")),
    Shown("backtest", "/rules/backtest", _at("/rules/backtest?since=30d")),
    Shown("rule sets", "/rules/history", _at("/rules/history")),
    Shown("rule set", "/rules/history/<int:seq>", _at("/rules/history/1")),
    Shown("people", "/people", _at("/people")),
    Shown("tokens", "/tokens", _at("/tokens")),
    Shown("audit log", "/audit", _at("/audit")),
    Shown("account", "/account", _at("/account")),
    Shown("nothing here", "", _at(f"/messages/{_NOBODY}"), answers=404),
    Shown("no such page", "", _at("/no-such-page"), answers=404),
    Shown("no such state", "", _at("/messages?state=nonsense"), answers=400),
]

NO_PAGES = {
    "/static/<path:filename>": "files of ours",
    "/messages/<uuid:id>/payload": "a download",
    "/messages/<uuid:id>/attachments/<int:position>": "a download",
    "/messages/export.csv": "a download",
    "/messages/export.json": "a download",
    "/audit.csv": "a download",
    "/rules/draft.zip": "a download",
    "/rules/schema.json": "for the editor",
    "/healthz": "for programs",
    "/readyz": "for programs",
    "/metrics": "for programs",
}
"""What answers GET and is no page, and why."""

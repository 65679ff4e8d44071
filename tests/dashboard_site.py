"""The dashboard as an application of its own, for tests: real pages on a real store, no other part of the program."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from dashboard_store import StoreBuilder
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from postroom.acting import Acting
from postroom.acts import Outcome
from postroom.dashboard_config import Dashboard
from postroom.message import Message
from postroom.plan import ConditionTrace, Plan, RuleTrace, Trace
from postroom.rules import compile_rules
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.web import auth, dashboard, destinations, overview, staff
from postroom.web.proxy_login import Proxy
from postroom.web.refusals import Refused

ROOT = Path(__file__).parent.parent
PASSWORD = "correct horse"
NOBODY = "00000000-0000-7000-8000-000000000000"
# Quick ones: the tests log in a hundred times.
HASHES = {name: generate_password_hash(PASSWORD, "pbkdf2:sha256:1") for name in ("vera", "otto", "edda")}

TRACE = Trace(
    rules=(
        RuleTrace(
            "Crash reports",
            "rules/20-support.yaml",
            14,
            0,
            "matched",
            "every condition is met",
            conditions=(
                ConditionTrace("subject contains crash", True, "<script>alert(1)</script>"),
                ConditionTrace("not", True, "", (ConditionTrace("from.domain is example.com", False, "example.org"),)),
            ),
            values={"version": "2.1", "alert": {"host": "<b>web1</b>"}},
            destinations=("jira",),
            stops=True,
        ),
        RuleTrace("Rest", "rules/90-rest.yaml", 3, 1, "not reached", "'Crash reports' stops"),
    ),
    plan=Plan(matched=("Crash reports",)),
)


class Site:
    """One application on one store, and what was asked of it."""

    def __init__(self, path: Path, settings: Dashboard | None = None) -> None:
        """`settings`: people are those of the store, unless they name some, in place of three of the test."""
        self.store = StoreBuilder(path)
        self.history, self.writer = History(path), Writer(path)
        self.settings = settings
        self.users = {
            name: auth.User(HASHES[name], role)
            for name, role in (("vera", "viewer"), ("otto", "operator"), ("edda", "editor"))
        }
        self.acted: list[tuple[str, str, str]] = []
        """Act, id, who."""
        self.possible = True
        self.retried: list[tuple[str, str]] = []
        """Delivery, who."""
        self.problems: list[str] = []
        self.ways = [
            destinations.Way("jira", "jira", "Makes an issue.", "consistent search", False),
            destinations.Way("ops-hook", "webhook", "Posts JSON.", "native key", False),
        ]
        self.check: Callable[[str], tuple[bool, Sequence[str]]] = lambda name: (True, ("You are postroom.",))
        self.concerns: list[overview.Concern] = []
        self.refusals: dict[str, Refused] = {}
        self.explain: Callable[[int, Message], Trace | None] = lambda rule_set, message: TRACE
        self.app = self._make()

    def _make(self) -> Flask:
        app = Flask("postroom", template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static"))
        app.secret_key = "a secret of the test"
        proxy = self.settings.proxy_login if self.settings else None
        csrf = auth.install(
            app, self._everybody, self.history, self.writer, Proxy(proxy, self.writer) if proxy else None
        )
        for pages in staff.blueprints(self.settings or Dashboard(), self.history, self.writer, lambda: self.problems):
            app.register_blueprint(pages)
        dashboard.install_error_pages(app)
        inbound = Blueprint("inbound", __name__)
        inbound.post("/inbound/<name>")(lambda name: "the key")
        csrf.exempt(inbound)
        app.register_blueprint(inbound)
        app.register_blueprint(
            dashboard.blueprint(
                history=History(self.store.path),
                explain=lambda rule_set, message, *known: self.explain(rule_set, message),
                acting=cast("Acting", _Acting(self)),
                rule_set_of=lambda number: compile_rules({}, None),
                active_number=lambda: 1,
                destinations=("jira", "ops-hook"),
                problems=lambda: self.problems,
                ingresses=("socketlabs",),
                public_url="https://mail.example.com/",
            )
        )
        app.register_blueprint(
            overview.blueprint(
                history=self.history,
                ways=self.ways,
                concerns=lambda: self.concerns,
                refusals=lambda: self.refusals,
                ingresses=("socketlabs",),
                public_url="https://mail.example.com/",
            )
        )
        app.register_blueprint(
            destinations.blueprint(
                history=self.history,
                ways=self.ways,
                deeds=destinations.Deeds(
                    pause=lambda *_: False,
                    resume=lambda *_: False,
                    check=lambda name, who: self.check(name),
                    test=lambda name, who: self.store.message(f"Test of {name} by {who}"),
                    retry=self._retry_many,
                ),
                problems=lambda: self.problems,
            )
        )
        return app

    def _everybody(self) -> Mapping[str, auth.Person]:
        if self.settings is None:
            return self.users
        if self.settings.users is not None:
            return self.settings.users
        return {name: auth.User(*rest) for name, rest in self.history.users().items()}

    def _retry_many(self, ids: Sequence[str], who: str) -> int:
        self.acted += [("retry", id, who) for id in ids]
        return len(ids)

    def client(self, name: str = "") -> FlaskClient:
        """A browser; logged in if a name is given."""
        client = self.app.test_client()
        if name:
            assert log_in(client, name).status_code == 303
        return client


class _Acting:
    """Notes what people want done."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def act(self, act: str, id: str, who: str, **_: object) -> Outcome:
        if not site_has(self._site, id):
            return Outcome(done=False, sentence="Nothing there.", found=False)
        self._site.acted.append((act, id, who))
        return Outcome(done=self._site.possible, sentence="It is done." if self._site.possible else "Nothing to do.")


def site_has(site: Site, id: str) -> bool:
    """Whether a message or delivery has this id."""
    return site.history.message(id) is not None or site.history.delivery(id) is not None


def token(answer: TestResponse) -> str:
    """The CSRF token of a page."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', answer.text)
    assert found
    return found.group(1)


def log_in(client: FlaskClient, name: str, password: str = PASSWORD, **more: str) -> TestResponse:
    """Fills in the login form."""
    form = {"csrf_token": token(client.get("/login")), "name": name, "password": password, **more}
    return client.post("/login", data=form)


def post(client: FlaskClient, url: str, form_of: str = "/messages") -> TestResponse:
    """Presses a button on a page."""
    return client.post(url, data={"csrf_token": token(client.get(form_of))})

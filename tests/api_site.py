"""The API as an application of its own, for tests: real routes on a real store, no other part of the program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dashboard_site import TRACE
from dashboard_store import StoreBuilder
from flask import Flask
from werkzeug.test import TestResponse

from postroom.acting import Acting
from postroom.message import Message
from postroom.plan import Trace
from postroom.rules import compile_rules
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.web import api
from postroom.web.destinations import Way

TOKENS = {"Bearer vera": ("vera (token)", "viewer"), "Bearer otto": ("otto (token)", "operator"),
          "Bearer edda": ("edda (token)", "editor")}  # fmt: skip
RULES = """\
rules:
  - {name: Crashes, when: {subject: {contains: crash}}, then: [jira]}
"""
WAYS = (
    Way("jira", "jira", "Issues in Jira", "finds what it made", False),
    Way("hook", "webhook", "POST", "a key", True),
)


class ApiSite:
    """One application on one store."""

    def __init__(self, path: Path) -> None:
        self.store = StoreBuilder(path)
        self.writer = Writer(path)
        self.history = History(path)
        self.rules = compile_rules({"rules.yaml": RULES}, None, kinds={"jira": "jira", "hook": "webhook"})
        self.explain: Callable[[int, Message], Trace | None] = lambda rule_set, message: TRACE
        self.app = Flask("postroom")
        api.install(
            self.app,
            authenticate=lambda header: TOKENS.get(header or ""),
            history=self.history,
            writer=self.writer,
            explain=lambda rule_set, message, *known: self.explain(rule_set, message),
            acting=Acting(self.writer, self.history, lambda: (self.rules.evaluate, 1), ("jira",)),
            ways=WAYS,
            check=lambda name: (name == "jira", ["it is asked"]),
        )

    def get(self, path: str, who: str = "vera", **query: Any) -> TestResponse:
        """GET as somebody."""
        return self.ask("GET", path, who, **({"query_string": query} if query else {}))

    def post(self, path: str, body: Any = None, who: str = "otto") -> TestResponse:
        """POST as somebody, with a body of JSON if one is given."""
        return self.ask("POST", path, who, **({} if body is None else {"json": body}))

    def ask(self, method: str, path: str, who: str = "vera", **more: Any) -> TestResponse:
        """Any request."""
        headers = {**({"Authorization": f"Bearer {who}"} if who else {}), **more.pop("headers", {})}
        return self.app.test_client().open(f"/api/v1{path}", method=method, headers=headers, **more)

"""The program's web part for tests of the API: wired as it runs, on a folder of its own, without its processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dashboard_store import StoreBuilder
from werkzeug.test import TestResponse

import app
from postroom.ids import now_ms
from postroom.store import rulesets, tokens
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.web.tokens import hash_of
from tests.instance import Instance

RULES = """\
rules:
  - name: Crashes
    when: {subject: {contains: crash}}
    then: [jira]
    rules:
      - {name: Printers, when: {subject: {contains: printer}}, then: [hook]}
tests:
  - {name: a crash goes to the developers, message: {subject: A crash}, expect: [{rule: Crashes, jira: {}}]}
"""
ROLES = {"vera": "viewer", "otto": "operator", "edda": "editor"}
KEYS = {name: f"prt_{name:_<43}" for name in ROLES}


class ApiSite:
    """One program on one store. Rule set 1 is empty: that of all messages that `store` makes; 2 is active."""

    def __init__(self, folder: Path, rules: str = RULES, **sections: Any) -> None:
        hook = {"kind": "webhook", "url": "http://127.0.0.1:9/", "allow_private": True, "paused": True}
        # By its name a tracker: a file that makes items.
        jira = {"kind": "file", "path": "jira.jsonl", "items": True}
        self.house = Instance(folder, rules=rules, destinations={"jira": jira, "hook": hook}, **sections)
        self.config, kinds = app.load_config(self.house.config_file)
        self.config.data_dir.mkdir(parents=True)
        self.store = StoreBuilder(self.house.database)
        self.history, writer = History(self.house.database), Writer(self.house.database)
        rule_set = app.load_rules(self.config, kinds)
        writer.run(lambda db: rulesets.publish(db, rule_set.hash, rule_set.files, now_ms()))
        for name, key in KEYS.items():
            writer.run(
                lambda db, name=name, key=key: tokens.add(db, hash_of(key), name, ROLES[name], None, "t", now_ms())
            )
        self.store.db.execute("DELETE FROM events")
        self.app = app.create_app(self.config, kinds)

    def get(self, path: str, who: str = "vera", **query: Any) -> TestResponse:
        """GET as somebody."""
        return self.ask("GET", path, who, **({"query_string": query} if query else {}))

    def post(self, path: str, body: Any = None, who: str = "otto") -> TestResponse:
        """POST as somebody, with a body of JSON if one is given."""
        return self.ask("POST", path, who, **({} if body is None else {"json": body}))

    def ask(self, method: str, path: str, who: str = "vera", **more: Any) -> TestResponse:
        """Any request; with the key of a name, or with `who` as it is."""
        headers = {**({"Authorization": f"Bearer {KEYS.get(who, who)}"} if who else {}), **more.pop("headers", {})}
        return self.app.test_client().open(f"/api/v1{path}", method=method, headers=headers, **more)

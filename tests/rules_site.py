"""The whole web process on real rule files and a real store, and people who use its pages without JavaScript."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from dashboard_site import HASHES, log_in, token
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import app as program
from postroom.ids import now_ms
from postroom.store import rulesets
from postroom.store.database import FILE_NAME, connect, migrate
from postroom.store.search_index import index_next
from tests.instance import SECRET_KEY, VALIDATION_KEY, document

BUGS = """\
rules:
  - name: Crashes
    description: They go to the archive.
    when: {subject: {word: crash}}
    then: [archive]
    stop: true
  - name: Invoices
    when: {recipient.user: billing}
    first_only: true
    rules:
      - {name: With a number, when: {subject: {matches: '\\d'}}, then: [archive]}
      - {name: Others, mode: disabled, when: always, then: [hold: {reason: no number}]}

tests:
  - name: a crash is archived
    message: {recipient: support@x.example, subject: A crash}
    expect: [{rule: Crashes, archive: {}}]
"""
REST = """\
rules:
  - name: Rest
    when: unmatched
    then: [other: {title: "{{ subject }}"}]
"""


class House:
    """The web process on a folder, without its watching thread and without a dispatcher."""

    def __init__(self, folder: Path) -> None:
        self.rules = folder / "rules"
        self.rules.mkdir(parents=True)
        (self.rules / "10-bugs.yaml").write_text(BUGS)
        (self.rules / "90-rest.yaml").write_text(REST)
        config = {
            "server": {"listen": "127.0.0.1:8025"},
            "data_dir": "data",
            "rules_dir": "rules",
            "ingress": {"socketlabs": {"servers": [{"secret_key": SECRET_KEY, "validation_key": VALIDATION_KEY}]}},
            "destinations": {"archive": {"kind": "file"}, "other": {"kind": "file", "path": "other.jsonl"}},
            "dashboard": {
                "users": {
                    name: {"password_hash": HASHES[name], "role": role}
                    for name, role in (("vera", "viewer"), ("otto", "operator"), ("edda", "editor"))
                }
            },
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        self.config, kinds = program.load_config(folder / "config.yaml")
        self.config.data_dir.mkdir()
        database = self.config.data_dir / FILE_NAME
        migrate(database)
        self.db = connect(database)
        active = program.load_rules(self.config, kinds)
        rulesets.publish(self.db, active.hash, active.files, now_ms())
        self.app = program.create_app(self.config, kinds)

    def receive(self, subject: str, recipient: str = "support@x.example") -> str:
        """A mail comes in, and is found by the search; its id."""
        answer = self.app.test_client().post(
            "/inbound/socketlabs", json=document(subject, recipient=recipient, text="Text.")
        )
        assert answer.status_code == 200, answer.text
        self.db.execute("BEGIN")
        index_next(self.db, 100)
        self.db.execute("COMMIT")
        (id,) = answer.get_json()["messages"]
        return str(id)

    def active(self) -> dict[str, str]:
        """The files of the active rule set."""
        seq = rulesets.active(self.db)
        assert seq is not None
        return rulesets.files_of(self.db, seq)

    def events(self) -> list[tuple[str, str]]:
        """Who made which rule set active, oldest first."""
        return [
            tuple(row) for row in self.db.execute("SELECT who, detail FROM events WHERE what = 'rules' ORDER BY seq")
        ]


class Person:
    """A browser without JavaScript."""

    def __init__(self, house: House, name: str) -> None:
        self.client: FlaskClient = house.app.test_client()
        assert log_in(self.client, name).status_code == 303
        self.token = token(self.client.get("/rules"))

    def page(self, path: str, status: int = 200, /, **query: Any) -> str:
        answer = self.client.get(path, query_string=query or None)
        assert answer.status_code == status, answer.text
        return answer.text

    def press(self, path: str, status: int = 200, /, **form: str) -> str:
        """Sends a form, and follows where it leads."""
        answer = self.send(path, **form)
        assert answer.status_code == status, answer.text
        return answer.text

    def send(self, path: str, /, **form: str) -> TestResponse:
        return self.client.post(path, data={"csrf_token": self.token, **form}, follow_redirects=True)

    def write(self, path: str, text: str, do: str = "save", status: int = 200) -> str:
        """Opens a file in the editor and presses a button with this text in it."""
        found = re.search(r'name="was" value="([^"]*)"', self.page("/rules/file", path=path))
        assert found
        return self.press(f"/rules/file?path={path}", status, text=text.replace("\n", "\r\n"), was=found[1], do=do)

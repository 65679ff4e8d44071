"""The whole web process inside a test: real pages, rules and store, mail that comes in as from a provider.

Nothing is delivered: there is no dispatcher. `settle` says how deliveries went.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import app as program
from postroom.ids import now_ms
from postroom.message import Message
from postroom.rules import RuleSet
from postroom.store.content import unpack
from postroom.store.database import FILE_NAME, connect, migrate
from postroom.store.history import History
from postroom.store.rulesets import publish
from postroom.store.search_index import index_next
from tests.dashboard_site import HASHES, log_in, token
from tests.instance import document

RULES = """\
rules:
  - name: Crash reports
    when: {recipient.user: bugs, subject: {contains: crash}}
    then:
      - tracker: {title: "{{ subject }}"}
      - chat
    stop: true
  - name: To be looked at
    when: {recipient.user: sales}
    then: [hold: {reason: a person looks at it}]
"""


class MailHouse:
    """One application on a folder of its own. Its people: vera (viewer), otto (operator), edda (editor)."""

    def __init__(self, folder: Path, rules: str = RULES) -> None:
        self.folder = folder
        (folder / "rules").mkdir(parents=True, exist_ok=True)
        (folder / "rules" / "10.yaml").write_text(rules, encoding="utf-8")
        roles = {"vera": "viewer", "otto": "operator", "edda": "editor"}
        (folder / "config.yaml").write_text(
            yaml.safe_dump(
                {
                    "server": {"public_url": "https://mail.example.com"},
                    "data_dir": str(folder / "data"),
                    "rules_dir": str(folder / "rules"),
                    "ingress": {"socketlabs": {"servers": [{"secret_key": "sk", "validation_key": "vk"}]}},
                    "destinations": {name: {"kind": "file", "path": f"{name}.jsonl"} for name in ("tracker", "chat")},
                    "dashboard": {
                        "users": {name: {"role": role, "password_hash": HASHES[name]} for name, role in roles.items()}
                    },
                }
            ),
            encoding="utf-8",
        )
        config, kinds = program.load_config(folder / "config.yaml")
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self.path = config.data_dir / FILE_NAME
        migrate(self.path)
        self.db = connect(self.path)
        self.rule_set = self._publish(program.load_rules(config, kinds))
        self.app = program.create_app(config, kinds)
        self.history = History(self.path)
        self.config, self.kinds = config, kinds

    def change_rules(self, rules: str) -> None:
        """Other rules are active from now on."""
        (self.folder / "rules" / "10.yaml").write_text(rules, encoding="utf-8")
        self.rule_set = self._publish(program.load_rules(self.config, self.kinds))
        # A web process that runs asks once a second; a new one asks at once.
        self.app = program.create_app(self.config, self.kinds)

    def _publish(self, rule_set: RuleSet) -> RuleSet:
        publish(self.db, rule_set.hash, dict(rule_set.files), now_ms(), "a test")
        return rule_set

    def receive(self, *args: Any, **more: Any) -> str:
        """One mail comes in, see tests.instance.document. Returns the message's id."""
        body = document(*args, secret="sk", **more)
        answer = self.app.test_client().post("/inbound/socketlabs", json=body)
        assert answer.status_code == 200, answer.text
        (id,) = self.db.execute("SELECT id FROM messages ORDER BY seq DESC LIMIT 1").fetchone()
        return str(id)

    def index(self) -> None:
        """What came is in the index of the search."""
        while index_next(self.db, 500):
            pass

    def message(self, id: str) -> Message:
        """A message as it is stored."""
        (data,) = self.db.execute(
            "SELECT data FROM contents WHERE message = (SELECT seq FROM messages WHERE id = ?)", (id,)
        ).fetchone()
        return unpack(data)[0]

    def states(self, id: str) -> dict[str, str]:
        """The state of each delivery of a message, by destination; the newest where there are several."""
        return dict(
            self.db.execute(
                "SELECT destination, state FROM deliveries WHERE message = (SELECT seq FROM messages WHERE id = ?)"
                " ORDER BY seq",
                (id,),
            ).fetchall()
        )

    def delivery(self, id: str, destination: str) -> str:
        """The id of a message's newest delivery to a destination."""
        (found,) = self.db.execute(
            "SELECT id FROM deliveries WHERE message = (SELECT seq FROM messages WHERE id = ?) AND destination = ?"
            " ORDER BY seq DESC LIMIT 1",
            (id, destination),
        ).fetchone()
        return str(found)

    def settle(self, id: str, destination: str, state: str, *, error: str | None = None) -> None:
        """A delivery of a message ended so, after one attempt."""
        delivery, now = self.delivery(id, destination), now_ms()
        self.db.execute(
            "UPDATE deliveries SET state = ?, reason = ?, attempts = 1, tries = 1, finished_at = ?,"
            " reference = CASE WHEN ?1 = 'delivered' THEN 'REF-1' END WHERE id = ?",
            (state, error, now, delivery),
        )
        self.db.execute(
            "INSERT INTO attempts (delivery, number, started_at, took_ms, result, error)"
            " SELECT seq, 1, ?, 20, ?, ? FROM deliveries WHERE id = ?",
            (now, "delivered" if state == "delivered" else "refused", error, delivery),
        )

    def events(self) -> list[tuple[str, str]]:
        """Who did what, in order, logins and rules aside."""
        rows = self.db.execute("SELECT who, what FROM events WHERE message IS NOT NULL ORDER BY seq")
        return [(row["who"], row["what"]) for row in rows]

    def client(self, name: str) -> Visitor:
        """Somebody who is logged in."""
        client = self.app.test_client()
        assert log_in(client, name).status_code == 303
        return Visitor(client)


class Visitor:
    """A browser without scripts."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, url: str, **query: str | int) -> str:
        """A page that is there."""
        answer = self.client.get(url, query_string=query or None)
        assert answer.status_code == 200, (answer.status_code, url)
        return answer.text

    def ask(self, url: str, **more: Any) -> TestResponse:
        """GET, whatever the answer."""
        return self.client.get(url, **more)

    def post(self, url: str, form_of: str = "/messages", **fields: Any) -> TestResponse:
        """Sends a form, with the token of a page's."""
        return self.client.post(url, data={"csrf_token": token(self.client.get(form_of)), **fields})

    def submit(self, page: str, form: str, **changes: Any) -> TestResponse:
        """Sends the form of a page that has this id, with its hidden fields; `changes` are what a person fills in."""
        action, fields = form_of(page, form)
        return self.client.post(action, data={**fields, **changes})


def form_of(page: str, id: str) -> tuple[str, dict[str, str]]:
    """The address of a form on a page, and its hidden fields."""
    found = re.search(rf'<form[^>]*\bid="{id}"[^>]*>.*?</form>', page, re.DOTALL)
    assert found, f"no form {id}"
    action = re.search(r'action="([^"]*)"', found[0])
    assert action
    hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', found[0])
    # Fields elsewhere on the page may belong to it.
    hidden += re.findall(rf'<input type="hidden" name="([^"]*)" value="([^"]*)" form="{id}"', page)
    return unescape(action[1]), {name: unescape(value) for name, value in hidden}


def unescape(text: str) -> str:
    """Text of a page as it was before it was escaped."""
    import html

    return html.unescape(text)

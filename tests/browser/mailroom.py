"""A running instance that has seen everything: mail and deliveries in every state, three people, hostile mail."""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from werkzeug.security import generate_password_hash

from postroom.ids import now_ms
from postroom.store import destinations, people
from postroom.store.database import connect, migrate
from tests.browser import hostile
from tests.instance import ROOT, Instance, document, hook, message_id_of, until
from tests.servers import Receiver, Reply, closed_port

PASSWORD = "correct horse battery"
PEOPLE = {"vera": "viewer", "otto": "operator", "edda": "editor", "egon": "editor"}
"""Of the two editors edda has a draft of the rules all the time."""
SAMPLES = sorted((ROOT / "rules" / "samples").glob("*.eml"))
DESKS = ("support", "bugs", "billing", "contact", "operations", "forum")

RULES = """\
rules:
  - {name: Slow, when: {recipient.user: slow}, then: [slow], stop: true}
  - {name: Strict, when: {recipient.user: strict}, then: [strict, archive], stop: true}
  - {name: Gone, when: {recipient.user: gone}, then: [gone], stop: true}
  - {name: Paused, when: {recipient.user: paused}, then: [paused], stop: true}
  - {name: Closed, when: {recipient.user: closed}, then: [closed], stop: true}
  - {name: Wait, when: {recipient.user: wait}, then: [hold: {reason: somebody should look at it}], stop: true}
  - {name: Away with it, when: {recipient.user: away}, then: [drop: {reason: nobody wants it}], stop: true}
  - name: Hostile
    when: {recipient.user: hostile}
    extract: {word: {from: subject, matches: '(\\S+)'}}
    then:
      - archive: {title: "{{ subject }} {{ word }}", body: "{{ from.name }} {{ from }}\\n{{ text }}"}
      - strict: {title: "{{ subject }}"}
    stop: true
"""

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass
class Mailroom:
    """The instance, and the ids of what tests look for, by what it shows."""

    instance: Instance
    receiver: Receiver
    trap: Receiver
    """Where everything in hostile mail points: nothing may ever come here."""
    ids: dict[str, str] = field(default_factory=dict)
    hostile: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.instance.port}"

    def send(self, name: str, *args: Any, **members: Any) -> str:
        """Posts a mail as the provider does, and keeps its id under a name."""
        self.ids[name] = self.instance.post(document(*args, **members)).message
        return self.ids[name]

    @property
    def of_strict(self) -> str:
        """The id of a dead delivery."""
        rows = self.instance.deliveries(self.ids["strict"])
        return next(str(row["id"]) for row in rows if row["destination"] == "strict")


def build(folder: Path, receiver: Receiver, trap: Receiver) -> Mailroom:
    """Starts it and waits until every delivery is where it will stay. The caller ends `instance`."""
    receiver.answer = lambda request: {
        "/slow": Reply(503, b"busy"),
        "/strict": Reply(400, hostile.answer(trap.url).encode(), {"Content-Type": "text/html"}),
    }.get(request.path)
    patient = {"retry": ["0s", "2h"], "circuit": {"failures": 0}}
    broken = {"retry": ["0s", "2h"], "circuit": {"failures": 1, "probe": "2h"}}
    instance = Instance(
        folder,
        rules=RULES,
        destinations={
            **{name: {"kind": "file", "path": f"{name}.jsonl", "items": True} for name in DESKS},
            "slow": hook(f"{receiver.url}/slow", **patient),
            "strict": hook(f"{receiver.url}/strict", **patient),
            "gone": hook(f"http://127.0.0.1:{closed_port()}/", **broken),
            "paused": hook(f"{receiver.url}/paused"),
            "closed": hook(f"{receiver.url}/closed", paused=True),
        },
        mail={
            "trusted_authserv_ids": ["mx.socketlabs.com"],
            "loop_brake": {"per_conversation": "100000/h", "per_sender": "100000/h"},
        },
    )
    rules = folder / "rules"
    (rules / "rules.yaml").rename(rules / "05-every-state.yaml")
    for path in (ROOT / "rules").glob("*.yaml"):
        shutil.copy(path, rules)
    shutil.copytree(ROOT / "rules" / "samples", rules / "samples")
    instance.data_dir.mkdir(mode=0o700)
    migrate(instance.database)
    db = connect(instance.database)
    db.execute("BEGIN IMMEDIATE")
    for name, role in PEOPLE.items():
        people.add(db, name, generate_password_hash(PASSWORD, "scrypt"), role, now_ms())
    destinations.pause(db, "paused", "otto", "the other side moves house", now_ms())
    db.execute("COMMIT")
    db.close()
    room = Mailroom(instance, receiver, trap)
    instance.start()
    try:
        _fill(room)
    except BaseException:
        instance.kill()
        raise
    return room


def _fill(room: Mailroom) -> None:
    sent = room.instance.command("send", *map(str, SAMPLES))
    assert sent.returncode == 0, sent.stderr
    for name in ("slow", "strict", "gone", "paused", "closed", "wait", "away"):
        room.send(name, f"A mail for {name}", recipient=f"{name}@customer.example")
    # A circuit opens when two deliveries have failed.
    room.send("gone too", "A second mail for gone", recipient="gone@customer.example")
    # Some for tests to spend.
    for number in range(6):
        room.send(f"strict {number}", f"Refused, number {number}", recipient="strict@customer.example")
        room.send(f"wait {number}", f"Waits, number {number}", recipient="wait@customer.example")
        room.send(f"nobody {number}", f"For nobody, number {number}", recipient="nobody@customer.example")
    _converse(room)
    room.send(
        "attachments",
        "Files of all sorts",
        recipient="support@customer.example",
        attachments=[
            {"Name": name, "ContentType": kind, "Content": base64.b64encode(content).decode(), "ContentId": cid}
            for name, kind, content, cid in (
                ("report.pdf", "application/pdf", b"%PDF-1.4 nothing", None),
                ("überlänge" * 20 + ".txt", "text/plain", b"hello", None),
                ("dot.png", "image/png", PICTURE, "<dot@1>"),
            )
        ],
    )
    # The standard library writes lone surrogates as escapes, as providers may.
    for name, body in hostile.mails(room.trap.url):
        room.ids[name] = room.instance.post(json.dumps(body).encode()).message
        room.hostile.append(room.ids[name])
    _draft(room, "40-monitoring.yaml", "# An edit that is not active.\nrules: [{name: Cut off\n")
    until(lambda: _settled(room.instance), "every delivery is where it stays", 60)


def _converse(room: Mailroom) -> None:
    first = document("The heating is cold", recipient="support@customer.example")
    room.ids["first"] = room.instance.post(first).message
    room.instance.wait_for_states(room.ids["first"], "delivered")
    last = message_id_of(first)
    for number in range(1, 4):
        text = f"Still cold, day {number}.\r\n\r\nOn Monday, Jo wrote:\r\n> It is cold\r\n\r\n-- \r\nJo\r\n"
        reply = document("Re: The heating is cold", text=text, recipient="support@customer.example", in_reply_to=last)
        room.ids[f"reply {number}"] = room.instance.post(reply).message
        last = message_id_of(reply)


def _draft(room: Mailroom, path: str, text: str) -> None:
    """Saves an edit of a rule file as edda does."""
    with requests.Session() as session:

        def post(url: str, **fields: str) -> None:
            hidden = dict(re.findall(r'name="(csrf_token|was)" value="([^"]*)"', session.get(url, timeout=20).text))
            session.post(url, data={**hidden, **fields}, timeout=20).raise_for_status()

        post(f"{room.base}/login", name="edda", password=PASSWORD)
        post(f"{room.base}/rules/file?path={path}", text=text, do="save")


def _settled(instance: Instance) -> bool:
    """Nothing is under way: what waits is paused, or waits for hours."""
    soon = now_ms() + 600_000
    query = (
        "SELECT 1 FROM deliveries WHERE state IN ('pending', 'sending', 'retrying') AND next_at < ?"
        " AND destination NOT IN ('paused', 'closed', 'gone') LIMIT 1"
    )
    opened = instance.rows("SELECT 1 FROM destinations WHERE name = 'gone' AND opened_at IS NOT NULL")
    return bool(opened) and not instance.rows(query, soon)

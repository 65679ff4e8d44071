"""Conversations that go through the real dispatcher to a stand-in that meets a fault."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

import app
from postroom import config
from postroom.integration import Guarantee, Integration
from postroom.store import keys, rulesets
from postroom.store.database import connect, migrate
from postroom.testing.faults import Faulty
from tests.instance import Instance, document, message_id_of
from tests.kinds import KINDS
from tests.servers import Receiver
from tests.standin_settings import settings
from tests.standins import Standin, standins

SECONDS = 20.0
LAG = 0.15
"""Seconds by which searches lag here, instead of the real minutes."""
STANDINS = {kind: each for kind, each in standins().items() if each.speaks_http and kind in KINDS}
TITLE = "The printer in the cellar is on fire"
TEXTS = ("It burns, and there is nobody here to put it out.", "Now the neighbour's desk burns as well, please hurry.")
FILES = (("a.txt", "b.png"), ("a.txt", "c.txt"))
"""Names of the attachments of the first and the second mail: the second repeats one."""
CLOSING = "The fire brigade has been here, and the fire is out."


class Case(Faulty):
    """One destination: a stand-in of its own, and the fault that its n-th changing request meets (0: none)."""

    def __init__(self, name: str, standin: Standin, fault: str, at: int) -> None:
        super().__init__(standin, fault, at, patience=2 * SECONDS)
        self.name = name
        self.standin = standin
        self.fault = fault

    @property
    def guarantee(self) -> Guarantee:
        integration = self.standin.integration()
        return integration.guarantee_of(integration.options)

    @property
    def items(self) -> bool:
        integration = self.standin.integration()
        return integration.opens_items(integration.options)

    def settings(self) -> dict[str, Any]:
        return settings(self.standin, timeout="40s", retry=["0s"] * 8)

    def mails(self) -> list[dict[str, Any]]:
        to = f"{self.name}@customer.example"
        first = document(TITLE, text=TEXTS[0], recipient=to, attachments=_files(0))
        tie = message_id_of(first)
        second = document(f"Re: {TITLE}", text=TEXTS[1], recipient=to, in_reply_to=tie, attachments=_files(1))
        return [first, second, document("Out", text=CLOSING, recipient=to, in_reply_to=tie)]

    def made(self) -> dict[str, Any]:
        """What there is at the destination now. Numbers, tokens and keys in texts count as the same."""
        standin = self.standin
        return {
            "items": standin.made(),
            "texts": sorted(map(_told, standin.texts())),
            "comments": sorted(map(_told, standin.comments())),
            "attached": sorted(standin.attached()),
            "state": standin.state(),
        }


def _files(mail: int) -> list[dict[str, Any]]:
    content = {name: f"{name} of mail {mail}".encode() for name in FILES[mail]}
    types = {"txt": "text/plain", "png": "image/png"}
    return [
        {"Name": name, "ContentType": types[name[-3:]], "Content": base64.b64encode(data).decode(), "ContentId": None}
        for name, data in content.items()
    ]


def _told(text: str) -> str:
    return re.sub(r"[\w%-]*\d[\w%-]*", "0", text)


@contextlib.contextmanager
def cases_of(folder: Path, wanted: Sequence[tuple[str, str, int]]) -> Iterator[list[Case]]:
    """Cases of (kind, fault, number), each with its server."""
    with contextlib.ExitStack() as stack:
        made = []
        for kind, fault, at in wanted:
            name = f"{kind}_{fault.replace(' ', '_')}_{at}"
            home = folder / name
            home.mkdir(parents=True)
            standin = STANDINS[kind](home, stack.enter_context(Receiver()))
            standin.lag = LAG if lags(KINDS[kind]) else 0.0
            made.append(Case(name, standin, fault, at))
        yield made


def instance_of(folder: Path, cases: Sequence[Case], **sections: Any) -> Instance:
    rules: list[dict[str, Any]] = [
        {
            "name": "Out",
            "when": {"subject": "Out"},
            "then": [{"update": {"state": "closed", "body": "{{ text }}"}}],
            "stop": True,
        }
    ]
    rules += [
        {
            "name": case.name,
            "when": {"recipient.user": case.name},
            "then": [{case.name: {"title": "{{ subject }}", "body": "{{ text }}"}}],
        }
        for case in cases
    ]
    text = json.dumps({"rules": rules})
    destinations = {case.name: case.settings() for case in cases}
    return Instance(folder, rules=text, destinations=destinations, **sections)


def run(folder: Path, cases: Sequence[Case]) -> None:
    """Delivers the mails of all cases by a dispatcher in a thread, and waits until nothing is owed."""
    instance = instance_of(folder, cases)
    found, kinds = app.load_config(instance.config_file)
    rule_set = app.load_rules(dataclasses.replace(found, rules=config.Rules(require_tests=False)), kinds)
    found.data_dir.mkdir(parents=True)
    migrate(instance.database)
    db = connect(instance.database)
    db.execute("BEGIN IMMEDIATE")
    rulesets.publish(db, rule_set.hash, rule_set.files, 1)
    db.execute("COMMIT")
    db.close()
    keys.session_key(found.data_dir)
    keys.mail_key(found.data_dir)
    client = app.create_app(found, kinds).test_client()
    for posted in (mail for case in cases for mail in case.mails()):
        answer = client.post("/inbound/socketlabs", data=msgspec.json.encode(posted), content_type="application/json")
        assert answer.status_code == 200, answer.text
    dispatcher = app.create_dispatcher(found, kinds, None)
    thread = threading.Thread(target=dispatcher.run, daemon=True)
    thread.start()
    try:
        instance.wait_until_quiet(SECONDS)
    except AssertionError:
        owed = [each for each in described(instance) if ": delivered: " not in each]
        raise AssertionError("\n".join(["still owed:", *owed])) from None
    finally:
        dispatcher.stop()
        thread.join(SECONDS)
    _require_delivered(instance, cases)


def _require_delivered(instance: Instance, cases: Sequence[Case]) -> None:
    """Whatever the fault was: it was got over."""
    items = {case.name for case in cases if case.items}
    wrong = [
        each for row, each in zip(instance.deliveries(), described(instance), strict=True)
        if row["state"] != "delivered" and (row["destination"] in items or row["state"] != "suppressed")
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def described(instance: Instance) -> list[str]:
    return [f"{row['destination']}: {row['subject']}: {row['state']}: {row['reason']}" for row in instance.deliveries()]


def lags(kind: type[Integration]) -> bool:
    """Whether its searches see late what is new."""
    return kind.guarantee is Guarantee.LAGGING_SEARCH

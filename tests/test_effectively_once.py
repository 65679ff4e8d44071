"""Effectively once, over every kind: whatever becomes of an answer, in the end each thing was made, and made once.

A conversation of three mails goes through the real dispatcher to a kind's stand-in: the first makes an item, the second
comments on it, the third closes it. Without faults once, to see what there must be; then with a fault at each request
that changes something there, one after the other, each in a conversation and at a stand-in of its own.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

import app
from postroom import config
from postroom.fields import Rate, Seconds
from postroom.integration import Guarantee, Integration
from postroom.store import keys, rulesets
from postroom.store.database import connect, migrate
from tests.instance import Instance, document, message_id_of
from tests.kinds import KINDS, job
from tests.servers import CLOSE, Receiver, Reply, Request
from tests.standins import Standin, standins

SECONDS = 20.0
LAG = 0.15
"""Seconds by which searches lag here, instead of the real minutes."""
STANDINS = {kind: each for kind, each in standins().items() if each.speaks_http and kind in KINDS}
TITLE = "The printer in the cellar is on fire"
TEXTS = ("It burns, and there is nobody here to put it out.", "Now the neighbour's desk burns as well, please hurry.")
FILES = (("a.txt", "b.png"), ("a.txt", "c.txt"))
"""Names of the attachments of the first and the second mail: the second repeats one."""
OPEN = ("pending", "sending", "retrying")
CLOSING = "The fire brigade has been here, and the fire is out."


@dataclass
class Case:
    """One destination: a stand-in of its own, and the fault that its n-th changing request meets (0: none)."""

    name: str
    standin: Standin
    fault: str = ""
    at: int = 0
    changing: list[Request] = field(default_factory=list)
    met: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    """Of the kill: the dispatcher that waits for the answer is dead."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.standin.receiver.answer = self._answer

    @property
    def guarantee(self) -> Guarantee:
        integration = self.standin.integration()
        return integration.guarantee_of(integration.options)

    @property
    def items(self) -> bool:
        integration = self.standin.integration()
        return type(integration).opens_items(integration.options)

    def _answer(self, request: Request) -> Reply | None:
        with self._lock:
            hit = False
            if self.standin.mutates(request):
                self.changing.append(request)
                hit = len(self.changing) == self.at
        if hit and self.fault == "refused before":
            self.met.set()
            return Reply(503)
        well = self.standin.well
        reply: Reply | None = well(request) if callable(well) else well
        if not hit:
            return reply
        self.met.set()
        if self.fault == "killed":
            self.over.wait(2 * SECONDS)
        return Reply(500) if self.fault == "failed after" else CLOSE

    def settings(self) -> dict[str, Any]:
        return {
            "kind": self.standin.kind,
            "allow_private": True,
            "timeout": "40s",
            "retry": ["0s"] * 8,
            **{name: _plain(value) for name, value in self.standin.options().items()},
        }

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

    def seen(self) -> str:
        """For people who read of a failure."""
        fault = f"{self.fault} at {self.changing[self.at - 1].method} {self.changing[self.at - 1].path}: "
        return f"{self.name}: {fault if self.met.is_set() and self.at <= len(self.changing) else ''}"


def _files(mail: int) -> list[dict[str, Any]]:
    content = {name: f"{name} of mail {mail}".encode() for name in FILES[mail]}
    types = {"txt": "text/plain", "png": "image/png"}
    return [
        {"Name": name, "ContentType": types[name[-3:]], "Content": base64.b64encode(data).decode(), "ContentId": None}
        for name, data in content.items()
    ]


def _told(text: str) -> str:
    return re.sub(r"[\w%-]*\d[\w%-]*", "0", text)


def _plain(value: Any) -> Any:
    """A setting as people write it."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Seconds):
        return f"{value:g}s"
    if isinstance(value, Rate):
        return f"{value.count}/{value.seconds:g}s"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name.rstrip("_"): _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)


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


def _instance(folder: Path, cases: Sequence[Case], **sections: Any) -> Instance:
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
    instance = _instance(folder, cases)
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
        owed = [each for each in _described(instance) if ": delivered: " not in each]
        raise AssertionError("\n".join(["still owed:", *owed])) from None
    finally:
        dispatcher.stop()
        thread.join(SECONDS)
    _require_delivered(instance, cases)


def _require_delivered(instance: Instance, cases: Sequence[Case]) -> None:
    """Whatever the fault was: it was got over."""
    items = {case.name for case in cases if case.items}
    wrong = [
        each for row, each in zip(instance.deliveries(), _described(instance), strict=True)
        if row["state"] != "delivered" and (row["destination"] in items or row["state"] != "suppressed")
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def _described(instance: Instance) -> list[str]:
    return [f"{row['destination']}: {row['subject']}: {row['state']}: {row['reason']}" for row in instance.deliveries()]


def lags(kind: type[Integration]) -> bool:
    """Whether its searches see late what is new."""
    return kind.guarantee is Guarantee.LAGGING_SEARCH


@pytest.fixture(autouse=True)
def _searches_lag_little(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS.values():
        if lags(kind):
            monkeypatch.setattr(kind, "search_lag", 2 * LAG)


@dataclass
class Reference:
    """What a conversation makes without faults, and how many requests changed something for it."""

    made: dict[str, Any]
    changing: int
    items: bool


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Reference]:
    known: dict[str, Reference] = {}

    def reference(kind: str) -> Reference:
        if kind not in known:
            folder = tmp_path_factory.mktemp(f"well_{kind}")
            with cases_of(folder / "standins", [(kind, "", 0)]) as (case,):
                run(folder, [case])
                known[kind] = Reference(case.made(), len(case.changing), case.items)
        return known[kind]

    return reference


def require(reference: Reference, case: Case) -> list[str]:
    """How what a case made differs from what was to be made."""
    found = case.made()
    if not case.met.is_set():
        return [f"{case.name}: the fault was never met"]
    if case.guarantee is Guarantee.NONE and case.fault != "refused before":
        # A duplicate is possible, and said to be. Nothing may be missing.
        low = [name for name in ("items",) if found[name] < reference.made[name]]
        return [f"{case.seen()}{name} are missing" for name in low]
    return [
        f"{case.seen()}{name} are {found[name]}, not {expected}"
        for name, expected in reference.made.items()
        if found[name] != expected
    ]


@pytest.mark.parametrize("kind", sorted(STANDINS))
def test_without_faults(references: Callable[[str], Reference], kind: str) -> None:
    reference = references(kind)
    made, standin = reference.made, STANDINS[kind]
    if not reference.items:
        assert made["items"] == 2 and made["comments"] == []
        return
    assert made["items"] == 1 and len(made["texts"]) == 1, made
    assert len(made["comments"]) == 2, made
    assert TEXTS[0] in _plainly(made["texts"][0]), made
    comments = [_plainly(each) for each in made["comments"]]
    assert [sum(text in each for each in comments) for text in (TEXTS[1], CLOSING)] == [1, 1], made
    if standin.takes_attachments:
        assert made["attached"] == sorted(name for names in FILES for name in names), made
    assert made["state"] == "closed" or (made["state"] == "" and standin.state is Standin.state), made


def _plainly(text: str) -> str:
    """Without what markups put before signs."""
    return re.sub(r"\\(?=\W)", "", text).replace("&#39;", "'").replace("&#x27;", "'")


@pytest.mark.parametrize("fault", ["closed after", "failed after", "refused before"])
@pytest.mark.parametrize("kind", sorted(STANDINS))
def test_a_fault_at_any_request(references: Callable[[str], Reference], tmp_path: Path, kind: str, fault: str) -> None:
    reference = references(kind)
    wanted = [(kind, fault, at) for at in range(1, reference.changing + 1)]
    with cases_of(tmp_path / "standins", wanted) as cases:
        run(tmp_path, cases)
        wrong = [each for case in cases for each in require(reference, case)]
    assert not wrong, "\n".join(wrong)


def test_the_standins_of_lagging_searches_lag(tmp_path: Path) -> None:
    """Else what this file says of such kinds would prove little."""
    for kind in filter(lambda each: lags(KINDS[each]), STANDINS):
        (tmp_path / kind).mkdir()
        with Receiver() as receiver:
            standin = STANDINS[kind](tmp_path / kind, receiver)
            standin.lag = 3600
            integration, once = standin.integration(), job()
            receipt = integration.deliver(once)
            assert integration.find(once) is None, kind
            standin.lag = 0
            assert integration.find(once) == receipt, kind


# Kill -9: one process delivers for all kinds, and each case waits at its request until it is dead.


@dataclass
class Killed:
    cases: dict[str, list[Case]]
    described: dict[str, list[str]]
    traceback: bool


@pytest.fixture(scope="module")
def killed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    references: Callable[[str], Reference],
) -> Iterator[Killed]:
    folder = tmp_path_factory.mktemp("killed")
    chosen = {
        each.callspec.params["kind"]
        for each in request.session.items
        if isinstance(each, pytest.Function) and each.originalname == "test_kill_at_any_request"
    }
    wanted, broken = [], {}
    for kind in sorted(chosen):
        try:
            wanted += [(kind, "killed", at) for at in range(1, references(kind).changing + 1)]
        except Exception as error:
            broken[kind] = error
    (folder / "plugins").mkdir()
    lines = [
        f"from integrations import {kind.__module__.rpartition('.')[2]} as module; "
        f"module.{kind.__name__}.search_lag = {2 * LAG}"
        for kind in KINDS.values()
        if lags(kind)
    ]
    (folder / "plugins" / "searches_lag_little.py").write_text("\n".join(lines))
    with cases_of(folder / "standins", wanted) as cases:
        instance = _instance(folder, cases, plugins_dir="plugins")
        try:
            _kill_once(instance, cases)
            described = _described(instance)
        finally:
            instance.kill()
        yield Killed(
            {kind: [case for case in cases if case.standin.kind == kind] for kind in chosen},
            {case.name: [each for each in described if each.startswith(f"{case.name}:")] for case in cases},
            "Traceback" in instance.log(),
        )


def _kill_once(instance: Instance, cases: Sequence[Case]) -> None:
    instance.start()
    for posted in (mail for case in cases for mail in case.mails()):
        assert instance.post(posted).status == 200
    deadline = time.monotonic() + 2 * SECONDS
    while (late := [case for case in cases if not case.met.is_set()]) and time.monotonic() < deadline:
        time.sleep(0.05)
        owed = {row["destination"] for row in instance.deliveries() if row["state"] in OPEN}
        if not owed & {case.name for case in late}:
            break  # They ended before the kill: their tests say so.
    os.kill(instance.dispatcher(), signal.SIGKILL)
    for case in cases:
        case.over.set()
    with contextlib.suppress(AssertionError):  # each kind's test says what became of its own
        instance.wait_until_quiet(2 * SECONDS)


@pytest.mark.parametrize("kind", sorted(STANDINS))
def test_kill_at_any_request(references: Callable[[str], Reference], killed: Killed, kind: str) -> None:
    reference = references(kind)
    wrong = [each for case in killed.cases[kind] for each in require(reference, case)]
    told = [each for case in killed.cases[kind] for each in killed.described[case.name]]
    wrong += [
        each for each in told if ": delivered: " not in each and (reference.items or ": suppressed: " not in each)
    ]
    assert not wrong, "\n".join(wrong)
    assert not killed.traceback

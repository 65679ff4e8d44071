"""`postroom backtest`: the stored mail under edited rules, through the real command line, on real data folders."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroom import backtest
from postroom.ids import new_id, now_ms
from postroom.plan import Plan, Step, Verdict
from postroom.rules import compile_rules
from postroom.store import rulesets
from postroom.store.content import pack, unpack
from postroom.store.database import connect
from tests.instance import ROOT, Instance, document, message_id_of

THEN = """\
rules:
  - name: Crashes
    when: {subject: {contains: crash}}
    then: [archive]
    stop: true
  - name: Invoices
    when: {recipient: billing@customer.example}
    then: [archive]
"""
NOW = """\
rules:
  - name: Crashes
    when: {subject: {contains: crash}}
    then: [other]
    stop: true
  - name: Spam
    when: {subject: {contains: cheap}}
    then: [{drop: {reason: spam}}]
    stop: true
  - name: Invoices
    when: {recipient: billing@customer.example}
    then: [archive]
  - name: Rest
    when: unmatched
    then: [{hold: {reason: look}}]
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Four mails routed under THEN, the program running, and NOW in a folder beside; rules on disk are THEN."""
    instance = Instance(
        tmp_path_factory.mktemp("backtest"), rules=THEN, destinations={"other": {"kind": "file", "path": "other.jsonl"}}
    )
    try:
        instance.start()
        for subject, recipient in (
            ("A crash", "support@customer.example"),
            ("Invoice 7", "billing@customer.example"),
            ("cheap \x1b[31mpills", "billing@customer.example"),
            ("Hello", "support@customer.example"),
        ):
            assert instance.post(document(subject, recipient=recipient)).status == 200
        instance.wait_until_quiet()
        folder = instance.folder / "edited"
        folder.mkdir()
        (folder / "rules.yaml").write_text(NOW)
        yield instance
    finally:
        instance.kill()


def report(instance: Instance, *words: str) -> dict[str, Any]:
    done = instance.command("backtest", "--json", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "no progress bar where nobody looks"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_same_rules_change_nothing(house: Instance) -> None:
    found = report(house)
    assert (found["judged"], found["changed"], found["cannot_be_judged"], found["mails"]) == (4, 0, 0, [])
    assert found["rules"]["Crashes"] == {"before": 1, "after": 1, "changed": 0}
    text = house.command("backtest").stdout
    assert text.startswith("4 mails judged") and "nothing would change" in text


def test_what_would_change(house: Instance) -> None:
    found = report(house, "--rules", "edited")
    assert (found["judged"], found["changed"]) == (4, 3)
    assert found["rules"] == {
        "Crashes": {"before": 1, "after": 1, "changed": 1},
        "Invoices": {"before": 2, "after": 1, "changed": 1},
        "Spam": {"before": 0, "after": 1, "changed": 1},
        "Rest": {"before": 0, "after": 1, "changed": 1},
    }
    assert found["destinations"] == {
        "archive": {"before": 3, "after": 1, "changed": 2},
        "other": {"before": 0, "after": 1, "changed": 1},
        "drop": {"before": 0, "after": 1, "changed": 1},
        "hold": {"before": 0, "after": 1, "changed": 1},
    }
    hello, cheap, crash = found["mails"]
    assert [mail["subject"] for mail in found["mails"]] == ["Hello", "cheap \x1b[31mpills", "A crash"], "newest first"
    assert (hello["before"], hello["after"]) == ("unmatched", "held")
    assert (hello["away"], hello["new"]) == ([], [{"rule": "Rest", "what": "hold"}])
    assert (cheap["before"], cheap["after"]) == ("routed", "dropped")
    assert cheap["away"] == [{"rule": "Invoices", "what": "archive"}]
    assert cheap["new"] == [{"rule": "Spam", "what": "drop"}]
    assert (crash["away"], crash["new"]) == (
        [{"rule": "Crashes", "what": "archive"}],
        [{"rule": "Crashes", "what": "other"}],
    )
    ids = {row["id"]: row["subject"] for row in house.rows("SELECT id, subject FROM messages")}
    assert ids[crash["id"]] == "A crash"


def test_what_would_change_for_people(house: Instance) -> None:
    done = house.command("backtest", "--rules", "edited", "--limit", "2")
    assert done.returncode == 0
    text = done.stdout
    assert re.search(r"^  archive +3 -> 1 +changes for 2 mails$", text, re.MULTILINE)
    assert re.search(r"^  Crashes +1 -> 1 +changes for 1 mail$", text, re.MULTILINE)
    assert "3 mails would go another way:" in text
    assert re.search(r"[0-9a-f-]{36}  routed -> dropped\n    to billing@customer.example: cheap", text)
    assert "    - Invoices: archive\n    + Spam: drop\n" in text
    assert "A crash" not in text and "and 1 more" in text
    assert "\x1b" not in text, "a mail must not paint on the screen"
    assert "A crash" in house.command("backtest", "--rules", "edited").stdout


def test_edited_files_of_the_folder_in_use(house: Instance) -> None:
    """A program that runs takes the edit at once: here it is stopped. The mail stays with the rules of its time."""
    assert house.stop() == 0
    try:
        house.write_rules(NOW)
        before = _hashes(house)
        assert report(house)["changed"] == 3
        assert house.command("backtest").returncode == 0
        assert _hashes(house) == before, "it only reads"
    finally:
        house.write_rules(THEN)
        house.start()


def test_invalid_rules(house: Instance, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rules:\n  - {name: Bad, when: {subjct: x}, then: [archiv]}\n")
    done = house.command("backtest", "--rules", str(tmp_path))
    assert done.returncode == 1
    assert "did you mean 'subject'?" in done.stderr and "2 problems found" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--since", "soon"), "'soon' is no duration; write such as"),
        (("--rules", "nowhere"), "'nowhere' does not exist"),
        (("--limit", "-1"), "--limit"),
        (("extra",), "unexpected extra argument"),
    ],
)
def test_used_wrongly(house: Instance, words: tuple[str, ...], told: str) -> None:
    done = house.command("backtest", *words)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr


def test_before_anything_came(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    done = instance.command("backtest")
    assert done.returncode == 1
    assert "nothing was received yet" in done.stderr
    assert not instance.data_dir.exists()


def test_a_bar_where_somebody_looks(house: Instance) -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / "app.py"), "backtest", "--config", str(house.config_file)],
            cwd=house.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=True,
        )  # fmt: skip
        bar = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert re.search(r"judging .*100%", bar)
    assert b"nothing would change" in done.stdout


def test_since_and_what_cannot_be_judged(tmp_path: Path) -> None:
    store = _Store(tmp_path, THEN)
    old = store.mail("A crash", age_days=40)
    pruned, lost, broken = store.mail("A crash"), store.mail("A crash"), store.mail("A crash")
    store.mail("A crash")
    store.db.execute("DELETE FROM contents WHERE message = (SELECT seq FROM messages WHERE id = ?)", (pruned,))
    store.db.execute("UPDATE messages SET rule_set = 99 WHERE id = ?", (lost,))
    store.db.execute(
        "UPDATE contents SET data = x'00' WHERE message = (SELECT seq FROM messages WHERE id = ?)", (broken,)
    )
    store.instance.write_rules(NOW)
    found = report(store.instance)
    assert (found["judged"], found["changed"], found["cannot_be_judged"]) == (1, 1, 3)
    assert found["reasons"] == {backtest.PRUNED: 1, backtest.NO_RULES: 1, backtest.FAULT: 1}
    text = store.instance.command("backtest").stdout
    assert "3 mails cannot be judged:" in text and f"  1: {backtest.PRUNED}" in text
    older = report(store.instance, "--since", "8w")
    assert (older["judged"], older["mails"][-1]["id"]) == (2, old)


def test_rule_sets_that_can_no_longer_be_read(tmp_path: Path) -> None:
    """The language of an older version may have had words that this one has not."""
    store = _Store(tmp_path, THEN)
    store.mail("A crash")
    files = {"old.yaml": "rules: [{name: Old, when: {smell: bad}, then: [archive]}]"}
    store.db.execute("BEGIN IMMEDIATE")
    seq = rulesets.publish(store.db, "old", files, 1)
    store.db.execute("COMMIT")
    store.db.execute("UPDATE messages SET rule_set = ?", (seq,))
    found = report(store.instance)
    assert (found["judged"], found["reasons"]) == (0, {backtest.NO_RULES: 1})


def test_rules_that_ask_for_items(tmp_path: Path, make_instance: Any) -> None:
    """A rule of today may ask what none asked when the mail came: the earlier mails of its conversation tell it."""
    tracker = {"kind": "redmine", "url": "http://127.0.0.1:9", "api_key": "k", "allow_private": True, "paused": True}
    then = "rules: [{name: All, when: always, then: [tracker: {project: p}]}]\n"
    instance = make_instance(rules=then, destinations={"tracker": tracker}).start()
    first = document("A question")
    assert instance.post(first).status == 200
    assert instance.post(document("Re: A question", in_reply_to=message_id_of(first))).status == 200
    now = (
        "rules:\n  - {name: Goes on, when: {item: {exists: true}}, then: [update], stop: true}\n"
        "  - {name: All, when: always, then: [tracker: {project: p}]}\n"
    )
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "rules.yaml").write_text(now)
    found = report(instance, "--rules", str(tmp_path / "edited"))
    (mail,) = found["mails"]
    assert mail["subject"] == "Re: A question"
    assert mail["away"] == [{"rule": "All", "what": "tracker"}]
    assert mail["new"] == [{"rule": "Goes on", "what": "update"}]


def test_items_are_those_that_the_mail_saw(tmp_path: Path) -> None:
    rules = "rules: [{name: Goes on, when: {item: archive}, then: [archive]}]\n"
    store = _Store(tmp_path, rules)
    saw, none = store.mail("with"), store.mail("without")
    store.db.execute("UPDATE messages SET saw_items = 'archive' WHERE id = ?", (saw,))
    store.db.execute("UPDATE messages SET saw_items = '' WHERE id = ?", (none,))
    store.instance.write_rules("rules: []\n")
    (mail,) = report(store.instance)["mails"]
    assert mail["id"] == saw


def test_many_mails_take_no_time(tmp_path: Path) -> None:
    store = _Store(tmp_path, THEN)
    count = 5_000
    store.many("A crash", count)
    store.instance.write_rules(NOW)
    rule_set = compile_rules({"rules.yaml": NOW}, None)
    advanced: list[int] = []
    start = time.perf_counter()
    found = backtest.run(
        store.instance.database, rule_set, timezone="UTC", makers=(), since=0, keep=10,
        started=lambda total: advanced.append,
    )  # fmt: skip
    taken = time.perf_counter() - start
    assert (found.judged, found.changed, len(found.mails), sum(advanced)) == (count, count, 10, count)
    assert taken < count / 1000, f"{count / taken:.0f} a second"
    sequence = [mail.received_at for mail in found.mails]
    assert sequence == sorted(sequence, reverse=True)


def test_acts_and_their_difference() -> None:
    plan = Plan(
        steps=(
            Step("A", 0, "jira"),
            Step("A", 1, "jira"),
            Step("B", 0, "", update=True),
            Step("B", 1, "jira", update=True),
        ),
        holds=(Verdict("C", "x"),),
        drops=(Verdict("D", "y"),),
    )  # fmt: skip
    acts = backtest.acts_of(plan)
    assert [(act.rule, act.what) for act in acts] == [
        ("A", "jira"), ("A", "jira"), ("B", "update"), ("B", "update jira"), ("C", "hold"), ("D", "drop"),
    ]  # fmt: skip
    assert backtest.difference(acts, acts[::-1]) == ((), ()), "the order is no change"
    assert backtest.difference(acts, acts[1:]) == ((acts[0],), ()), "one of two alike"
    assert backtest.state_of(plan) == "held"


class _Store:
    """A data folder filled without a running program: one rule set, and mails routed under it."""

    def __init__(self, folder: Path, rules: str) -> None:
        self.instance = Instance(folder, rules=rules, destinations={"other": {"kind": "file", "path": "other.jsonl"}})
        self.instance.start()
        assert self.instance.post(document("model")).status == 200
        self.instance.wait_until_quiet()
        assert self.instance.stop() == 0
        self.db: sqlite3.Connection = connect(self.instance.database)
        self._row = dict(self.db.execute("SELECT * FROM messages").fetchone())
        block = self.db.execute("SELECT data FROM contents").fetchone()[0]
        self._message, self._payload = unpack(block)
        for table in ("messages", "contents", "deliveries", "attempts"):
            self.db.execute(f"DELETE FROM {table}")
        self._seq = 0

    def mail(self, subject: str, age_days: float = 0) -> str:
        self._seq += 1
        id, at = new_id(), now_ms() - int(age_days * 86_400_000)
        row = {
            **self._row,
            "seq": self._seq,
            "id": id,
            "received_at": at,
            "subject": subject,
            "conversation": self._seq,
        }
        self.db.execute(f"INSERT INTO messages VALUES ({','.join('?' * len(row))})", tuple(row.values()))
        message = msgspec.structs.replace(self._message, id=id, received_at=at, subject=subject)
        self.db.execute("INSERT INTO contents VALUES (?, ?)", (self._seq, pack(message, self._payload)))
        return id

    def many(self, subject: str, count: int) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        for _ in range(count):
            self.mail(subject)
        self.db.execute("COMMIT")


def _hashes(instance: Instance) -> dict[str, str]:
    found = sorted(path for path in instance.data_dir.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found if path.stat().st_size}

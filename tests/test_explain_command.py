"""`postroom explain`: files, standard input and stored messages, through the real command line on real data folders."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.mail.tokens import reply_token
from postroom.store import keys
from postroom.store.database import connect
from tests.instance import ROOT, Instance, document, message_id_of

RULES = """\
rules:
  - name: Held
    when: {subject: {contains: secret}}
    then: [{hold: {reason: a person must look}}]
  - name: Crashes
    when:
      recipient.user: bugs
      subject: {contains: [crash, traceback]}
    extract:
      version: {from: text, matches: 'version (\\d+\\.\\d+)'}
    limit: {per: "{{ from }}", count: 5, window: 2h, over: hold}
    correlate: {by: "{{ version }}", window: 1d}
    then:
      - archive:
          title: "[{{ version }}] {{ subject }}"
          body: "{{ text }}"
          footer: "{{ message_url }} {{ reply_address }}"
          attachments: {name: {ends_with: .log}}
      - hook: {title: "{{ subject }}", data: {version: "{{ version }}"}}
    stop: true
  - name: Letters
    when: {recipient.user: letters}
    then: [archive]
"""
MAIL = b"""\
From: =?utf-8?q?J=C3=B6?= <jo@example.org>
To: Bugs <bugs@customer.example>
Subject: A crash
Message-ID: <%d@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x

It is version 2.1.
--x
Content-Type: text/plain; name=save.log
Content-Disposition: attachment; filename=save.log

log
--x
Content-Type: image/png
Content-Disposition: attachment; filename=shot.png

png
--x--
"""
HOOK = {"kind": "webhook", "url": "http://127.0.0.1:9/hook", "allow_private": True, "paused": True}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """A folder where the program never ran: there is no data folder."""
    return Instance(tmp_path_factory.mktemp("explain-bare"), rules=RULES, destinations={"hook": HOOK})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("explain"), rules=RULES, destinations={"hook": HOOK})
    try:
        yield instance.start()
    finally:
        instance.kill()


def explained(instance: Instance, *words: str) -> list[dict[str, Any]]:
    done = instance.command("explain", "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def piped(instance: Instance, data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "explain", "-", "--config", str(instance.config_file), *words],
        cwd=instance.folder, input=data, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_raw_mail_for_people(bare: Instance, tmp_path: Path) -> None:
    (tmp_path / "crash.eml").write_bytes(MAIL % 1)
    done = bare.command("explain", str(tmp_path / "crash.eml"))
    assert done.returncode == 0, done.stderr
    why, _, sent = done.stdout.partition("what would be sent:")
    for line in (
        "from        Jö <jo@example.org>, envelope <jo@example.org>",
        "  Held: not matched (",
        "    - subject contains secret   ['A crash']",
        "  Crashes: matched (every condition holds)",
        "      + recipient.user is bugs   ['bugs']",
        "  Letters: not reached (rule 'Crashes' stopped the evaluation)",
    ):
        assert line in why, line
    for line in (
        "  correlated by rule 'Crashes': with mails of the key '2.1', each within a day",
        "  limited by rule 'Crashes': 5 in 2 hours for 'jo@example.org'; beyond them: hold",
        "  1. archive, by rule 'Crashes'\n",
        "     extracted    version = 2.1\n",
        "     title        [2.1] A crash\n",
        "     body         It is version 2.1.\n",
        f"     footer       http://127.0.0.1:{bare.port}/messages/",
        " bugs+TOKEN@customer.example\n",
        "     attachment   save.log, text/plain, 3 bytes\n",
        "  2. hook, by rule 'Crashes'\n",
        '     data         {"version":"2.1"}\n',
        "     attachment   shot.png, image/png, 3 bytes\n",
    ):
        assert line in sent, line
    assert sent.count("shot.png") == 1, "the first action takes the log alone"
    assert not bare.data_dir.exists(), "nothing is made"


def test_json(bare: Instance, tmp_path: Path) -> None:
    (tmp_path / "crash.eml").write_bytes(MAIL % 1)
    (found,) = explained(bare, str(tmp_path / "crash.eml"))
    assert found["source"] == str(tmp_path / "crash.eml")
    assert (found["state"], found["reason"], found["routed"], found["found_by"]) == ("routed", None, None, None)
    assert found["message"]["ingress"] == "socketlabs" and found["message"]["kinds"] == ["new"]
    outcomes = {rule["rule"]: rule["outcome"] for rule in found["trace"]["rules"]}
    assert outcomes == {"Held": "not matched", "Crashes": "matched", "Letters": "not reached"}
    (condition,) = found["trace"]["rules"][0]["conditions"]
    assert (condition["met"], condition["seen"]) == (False, "'A crash'")
    assert found["plan"]["matched"] == ["Crashes"]
    assert [step["destination"] for step in found["plan"]["steps"]] == ["archive", "hook"]
    archive, hook = found["contents"]
    assert (archive["destination"], archive["content"]["title"]) == ("archive", "[2.1] A crash")
    assert archive["attachments"] == [{"name": "save.log", "content_type": "text/plain", "size": 3}]
    assert hook["content"]["fields"] == {"data": {"version": "2.1"}}
    assert len(found["rule_set"]) == 64


def test_every_form_of_file(bare: Instance, tmp_path: Path) -> None:
    def subjects(name: str, data: bytes, *words: str) -> list[str]:
        (tmp_path / name).write_bytes(data)
        found = explained(bare, str(tmp_path / name), *words)
        # From standard input it is the same, whatever the name would have said.
        done = piped(bare, data, "--json", *words)
        assert done.returncode == 0, done.stderr
        shown = [json.loads(line) for line in done.stdout.splitlines()]
        assert [each["message"]["subject"] for each in shown] == [each["message"]["subject"] for each in found]
        assert {each["source"] for each in shown} == {"standard input"}
        assert {each["message"]["recipient"] for each in found + shown} == {words[1] if words else RECIPIENT}
        return [each["message"]["subject"] for each in found]

    recipient = RECIPIENT
    one = document("one", recipient=recipient, secret="of another house", ServerId=17)
    bare_document = {name: value for name, value in one.items() if name != "SecretKey"}
    lines = [document(f"line {number}", recipient=recipient) for number in range(3)]
    box = b"".join(b"From jo Mon May 20 10:01:04 2013\n" + MAIL % number + b"\n" for number in (2, 3))
    assert subjects("a.eml", MAIL % 1) == ["A crash"]
    assert subjects("a.mbox", box) == ["A crash", "A crash"]
    assert subjects("a.json", json.dumps(one).encode()) == ["one"]
    assert subjects("a.txt", b"\n" + json.dumps(bare_document, indent=2).encode()) == ["one"]
    assert subjects("payload.json", json.dumps({"note": "sample", "payload": one}).encode()) == ["one"]
    assert subjects("bom.json", b"\xef\xbb\xbf" + json.dumps(one).encode()) == ["one"]
    many = "".join(json.dumps(each if number else {"payload": each}) + "\n\n" for number, each in enumerate(lines))
    assert subjects("a.jsonl", many.encode()) == ["line 0", "line 1", "line 2"]
    assert subjects("b.eml", MAIL % 1, "--to", "else@customer.example") == ["A crash"]
    assert subjects("b.json", json.dumps(one).encode(), "--to", "else@customer.example") == ["one"]
    lonely = json.dumps({**one, "ErrorLog": "\ud800"}).encode()
    assert subjects("lonely.json", lonely) == ["one"], "a lone surrogate refuses no real mail"


RECIPIENT = "bugs@customer.example"


def test_several_mails_are_parted_for_people(bare: Instance, tmp_path: Path) -> None:
    box = b"".join(b"From jo Mon May 20 10:01:04 2013\n" + MAIL % number + b"\n" for number in (2, 3))
    (tmp_path / "a.mbox").write_bytes(box)
    text = bare.command("explain", str(tmp_path / "a.mbox")).stdout
    assert text.count("what would be sent:") == 2
    assert text.count(f"\n\n{tmp_path / 'a.mbox'}\n") == 1, "a blank line between them"


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("empty.eml", b"", "it is empty"),
        ("blank.json", b" \n", "it is empty"),
        ("words.txt", b"Only words, no mail.\n", "it is neither a mail (there are no headers) nor"),
        ("image.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(99), "it is neither a mail"),
        ("open.json", b"{", "the body is no valid JSON"),
        ("list.json", b"[1]", "it holds JSON, but no object"),
        ("other.json", b'{"a": 1}', "the document has no Message"),
        ("shape.json", b'{"Message": {"Subject": 5}}', "Message.Subject must be a text or null, not a number"),
        ("check.json", b'{"Type": "Validation"}', "it is a validation request, which holds no mail"),
        ("second.jsonl", b'{"Message": {}}\n{"Message": \n', "line 2: the body is no valid JSON"),
        ("deep.json", b'{"a":' * 100_000, "the JSON is nested too deeply"),
    ],
)
def test_what_is_no_mail(bare: Instance, tmp_path: Path, name: str, data: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(data)
    done = bare.command("explain", str(tmp_path / name))
    assert done.returncode == 1
    assert f"{tmp_path / name} cannot be read as mail: {told}" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    if not name.endswith(".jsonl"):
        through = piped(bare, data)
        assert through.returncode == 1
        assert b"standard input cannot be read as mail: " in through.stderr and b"Traceback" not in through.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Missing argument"),
        (("no-such.eml",), "there is no file no-such.eml, and it is no id of a message"),
        (("rules",), "rules is a folder: name a file in it"),
        (("0198aaaa", "--to", "a@b.example"), "--to is for files"),
        (("config.yaml", "--rules", "nowhere"), "'nowhere' does not exist"),
    ],
)
def test_used_wrongly(bare: Instance, words: tuple[str, ...], told: str) -> None:
    done = bare.command("explain", *words)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr


def test_invalid_rules_and_other_rules(bare: Instance, tmp_path: Path) -> None:
    (tmp_path / "crash.eml").write_bytes(MAIL % 1)
    (tmp_path / "rules.yaml").write_text("rules:\n  - {name: Bad, when: {subjct: x}, then: [archiv]}\n")
    done = bare.command("explain", str(tmp_path / "crash.eml"), "--rules", str(tmp_path))
    assert done.returncode == 1
    assert "did you mean 'subject'?" in done.stderr and "2 problems found" in done.stderr
    (tmp_path / "rules.yaml").write_text("rules:\n  - {name: Mine, when: {subject: A crash}, then: [archive]}\n")
    (found,) = explained(bare, str(tmp_path / "crash.eml"), "--rules", str(tmp_path))
    assert found["plan"]["matched"] == ["Mine"]


def test_held_unmatched_and_notices(bare: Instance) -> None:
    held = document("a secret crash", recipient=RECIPIENT, text="version 2.1")
    text = piped(bare, json.dumps(held).encode()).stdout.decode()
    assert "  nothing: it is held by rule 'Held': a person must look; without that, this would be sent:" in text
    assert "  1. archive, by rule 'Crashes'" in text
    found = json.loads(piped(bare, json.dumps(held).encode(), "--json").stdout)
    assert (found["state"], found["reason"]) == ("held", "rule 'Held': a person must look")
    assert found["plan"]["holds"] == [{"rule": "Held", "reason": "a person must look"}]
    nobody = document("Hello", recipient="nobody@customer.example")
    text = piped(bare, json.dumps(nobody).encode()).stdout.decode()
    assert "nothing: no rule plans anything, so it waits for a person as unmatched" in text


def test_hostile_text_is_shown_harmless(bare: Instance) -> None:
    hostile = document("\x1b[31mred \u202eevil", recipient="letters@customer.example", text="{{ 1 + 1 }}\x1b]0;x\x07")
    shown = piped(bare, json.dumps(hostile).encode()).stdout.decode()
    assert "\x1b" not in shown and "\u202e" not in shown and "\x07" not in shown
    assert "{{ 1 + 1 }}" in shown, "a mail is never evaluated"


def test_a_template_that_fails_says_so(bare: Instance, tmp_path: Path) -> None:
    rules = "rules: [{name: Long, when: always, then: [{archive: {title: \"{{ 'x' * 90000000 }}\"}}]}]\n"
    (tmp_path / "rules.yaml").write_text(rules)
    done = piped(bare, MAIL % 1, "--rules", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert b"     nothing: rule 'Long', archive: title: " in done.stdout


def test_a_stored_message(house: Instance, tmp_path: Path) -> None:
    posted = document(
        "A crash", recipient=RECIPIENT, text="version 3.4",
        attachments=[{"Name": "a.log", "ContentType": "text/plain", "Content": base64.b64encode(b"x").decode()}],
    )  # fmt: skip
    message = house.post(posted).message
    (row,) = house.rows("SELECT conversation, rule_set FROM messages WHERE id = ?", message)
    (found,) = explained(house, message)
    assert found["source"] == f"message {message}"
    assert found["routed"] == {
        "rule_set": row["rule_set"], "todays": True, "state": "routed", "readable": True, "left_out": [], "away": [],
        "new": [],
    }  # fmt: skip
    assert found["contents"][0]["attachments"] == [{"name": "a.log", "content_type": "text/plain", "size": 1}]
    token = reply_token(keys.mail_key(house.data_dir), row["conversation"])
    url = f"http://127.0.0.1:{house.port}/messages/{message}"
    assert found["contents"][0]["content"]["footer"] == f"{url} bugs+{token}@customer.example"
    # What the dispatcher froze is what was explained.
    house.wait_for_states(message, "delivered", "pending")
    detail = house.history().message(message)
    assert detail is not None and detail.deliveries[0].content is not None
    assert detail.deliveries[0].content.title == found["contents"][0]["content"]["title"]
    assert detail.deliveries[0].content.footer == found["contents"][0]["content"]["footer"]

    text = house.command("explain", message[:34].upper()).stdout
    assert f"routed      under rule set {row['rule_set']}, which is today's; it is routed" in text
    (tmp_path / "rules.yaml").write_text("rules: [{name: Mine, when: always, then: [archive]}]\n")
    text = house.command("explain", message, "--rules", str(tmp_path)).stdout
    assert f"routed      under rule set {row['rule_set']}; it is routed. Today's rules decide otherwise:" in text
    for line in ("- Crashes: archive", "- Crashes: hook", "+ Mine: archive"):
        assert f"            {line}\n" in text
    (tmp_path / "rules.yaml").write_text(f"# a comment\n{RULES}")
    assert "Today's rules decide the same" in house.command("explain", message, "--rules", str(tmp_path)).stdout


def test_a_message_that_a_person_released(start_instance: Any) -> None:
    """The rules that held it are passed over, as they were when it was released."""
    instance = start_instance(rules=RULES, destinations={"hook": HOOK})
    message = instance.post(document("a secret crash", recipient=RECIPIENT, text="version 2.1")).message
    (found,) = explained(instance, message)
    assert (found["state"], found["routed"]["state"], found["routed"]["left_out"]) == ("held", "held", [])
    db = connect(instance.database)
    db.execute("UPDATE messages SET state = 'routed'")
    assert db.execute("SELECT held_by FROM messages").fetchone()[0] == "Held"
    db.close()
    (found,) = explained(instance, message)
    assert (found["state"], found["routed"]["left_out"], found["routed"]["away"]) == ("routed", ["Held"], [])
    assert found["plan"]["matched"] == ["Crashes"]
    text = instance.command("explain", message).stdout
    assert "when a person released it, without Held, which is today's" in text
    assert "Held: not reached (it is left out here)" in text
    back = json.loads(instance.command("backtest", "--json").stdout)
    assert "hold" not in back["destinations"] and back["rules"]["Crashes"]["before"] == 2


def test_rules_whose_own_tests_fail_are_explained(bare: Instance, tmp_path: Path) -> None:
    """One looks why they fail: that must not wait until they pass."""
    (tmp_path / "rules.yaml").write_text(
        "rules: [{name: Mine, when: always, then: [archive]}]\n"
        "tests: [{name: wrong, message: {recipient: a@b.example}, expect: []}]\n"
    )
    (tmp_path / "crash.eml").write_bytes(MAIL % 1)
    (found,) = explained(bare, str(tmp_path / "crash.eml"), "--rules", str(tmp_path))
    assert found["plan"]["matched"] == ["Mine"]


def test_a_file_that_continues_a_conversation(house: Instance, tmp_path: Path) -> None:
    first = document("Letter", recipient="letters@customer.example", sender="ann@example.org")
    message = house.post(first).message
    (row,) = house.rows("SELECT conversation FROM messages WHERE id = ?", message)
    known = document(
        "Re: Letter", recipient="letters@customer.example", sender="ann@example.org", in_reply_to=message_id_of(first)
    )
    (tmp_path / "known.json").write_text(json.dumps(known))
    (found,) = explained(house, str(tmp_path / "known.json"))
    assert found["found_by"] == f"the Message-ID {message_id_of(first)}, which is known"
    assert found["message"]["kinds"] == ["reply"]
    token = reply_token(keys.mail_key(house.data_dir), row["conversation"])
    tagged = document("More", recipient=f"letters+{token}@customer.example")
    (tmp_path / "tagged.json").write_text(json.dumps(tagged))
    (found,) = explained(house, str(tmp_path / "tagged.json"))
    assert found["found_by"] == "the token in the address that it was sent to"
    assert found["message"]["recipient"] == "letters@customer.example", "the token is taken off"
    assert found["plan"]["matched"] == ["Letters"]


def test_items_of_the_conversation(make_instance: Any) -> None:
    tracker = {"kind": "redmine", "url": "http://127.0.0.1:9", "api_key": "k", "allow_private": True, "paused": True}
    rules = (
        'rules:\n  - {name: Goes on, when: {item: {exists: true}}, then: [update: {body: "More: {{ reply_text }}"}]}\n'
        "  - {name: All, when: {subject: {starts_with: A}}, then: [tracker: {project: p}]}\n"
        "  - {name: Other, when: {subject: {starts_with: Only}}, then: [update]}\n"
    )
    instance = make_instance(rules=rules, destinations={"tracker": tracker}).start()
    first = document("A question")
    assert instance.post(first).status == 200
    follows = document("Re: A question", text="And this.", in_reply_to=message_id_of(first))
    answer = instance.post(follows).message
    for (found,) in (
        explained(instance, answer),
        [json.loads(piped(instance, json.dumps(follows).encode(), "--json").stdout)],
    ):
        (sent,) = found["contents"]
        assert (sent["destination"], sent["comments"], sent["fault"]) == ("tracker", True, "")
        assert (sent["content"]["body"].strip(), sent["content"]["update"]) == ("More: And this.", True)
    assert "1. tracker, by rule 'Goes on', a comment on the item there" in instance.command("explain", answer).stdout
    text = piped(instance, json.dumps(document("Only an update")).encode()).stdout.decode()
    assert "nothing: the conversation has no item to comment on" in text


def test_messages_that_cannot_be_explained(start_instance: Any) -> None:
    instance = start_instance(rules=RULES, destinations={"hook": HOOK})
    message = instance.post(document("Letter", recipient="letters@customer.example")).message
    instance.wait_until_quiet()
    for unknown in ("01980000-0000-7000-8000-000000000001", "ffff"):
        done = instance.command("explain", unknown)
        assert done.returncode == 1
        assert f"there is no message {unknown}" in done.stderr
    db = connect(instance.database)
    db.execute("UPDATE messages SET rule_set = 99")
    assert "under rule set 99, which can no longer be read" in instance.command("explain", message).stdout
    db.execute("DELETE FROM contents")
    db.close()
    done = instance.command("explain", message)
    assert done.returncode == 1
    assert f"the text of message {message} is no longer kept, so it cannot be explained" in done.stderr
    nothing = instance.command("explain", "no-mail-of-mine")
    assert nothing.returncode == 2


def test_it_only_reads(start_instance: Any, tmp_path: Path) -> None:
    instance = start_instance(rules=RULES, destinations={"hook": {**HOOK, "paused": False, "retry": ["0s"]}})
    message = instance.post(document("A crash", recipient=RECIPIENT, text="version 3.4")).message
    instance.wait_until_quiet()
    (tmp_path / "crash.eml").write_bytes(MAIL % 1)
    assert instance.stop() == 0
    before = _files(instance)
    assert before["mail.key"] and before["postroom.db"]
    assert instance.command("explain", message).returncode == 0
    assert instance.command("explain", str(tmp_path / "crash.eml")).returncode == 0
    assert piped(instance, MAIL % 2).returncode == 0
    assert _files(instance) == before
    (instance.data_dir / "mail.key").unlink()
    assert instance.command("explain", message).returncode == 0
    assert not (instance.data_dir / "mail.key").exists(), "no key is made by whoever only looks"


def _files(instance: Instance) -> dict[str, str]:
    found = sorted(path for path in instance.data_dir.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found if path.stat().st_size}

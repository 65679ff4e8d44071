"""The commands as people and scripts run them: output, exit codes, --json."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.instance import ARCHIVE_ALL, ROOT, SECRET_KEY, VALIDATION_KEY, Instance, document, run_command
from tests.servers import closed_port

MAIL = b"""\
From: =?utf-8?q?J=C3=B6?= <jo@example.org>
To: Support <support@customer.example>
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from a file
Message-ID: <%d@example.org>

Hello.
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("cli"))
    try:
        yield instance.start()
    finally:
        instance.kill()


def test_used_wrongly_is_2(tmp_path: Path) -> None:
    for words in (["nonsense"], ["check", "--nonsense"], ["check", "extra"], ["show"], ["history", "--limit", "0"],
                  ["send", "no-such-file.eml"], ["check", "--config", str(tmp_path)]):  # fmt: skip
        done = run_command(*words, cwd=tmp_path)
        assert done.returncode == 2, (words, done.stdout, done.stderr)
        assert "Usage" in done.stderr or "Error" in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_and_version_are_0(tmp_path: Path) -> None:
    for words in (["-h"], ["--version"], ["check", "--help"]):
        assert run_command(*words, cwd=tmp_path).returncode == 0, words
    listed = run_command("--help", cwd=tmp_path).stdout
    for command in ("serve", "init", "check", "send", "history", "show", "retry", "demo"):
        assert f"  {command} " in listed


def test_without_a_configuration_it_says_what_to_do(tmp_path: Path) -> None:
    for command in ("check", "serve", "history"):
        done = run_command(command, cwd=tmp_path)
        assert done.returncode == 1
        assert "config.yaml:1:1: there is no such file; `postroom init` writes one" in done.stderr
        assert "1 problem found" in done.stderr


def test_init_check_and_serve_on_a_fresh_folder(tmp_path: Path) -> None:
    port = closed_port()
    done = run_command(
        "init", "--listen", f"127.0.0.1:{port}", "--public-url", "https://mail.example.com", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    file = tmp_path / "config.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert "https://mail.example.com/inbound/socketlabs" in done.stdout
    shown = {label: re.search(rf"{label}: +(\S+)", done.stdout) for label in ("Secret Key", "Validation Key")}
    for found in shown.values():
        assert found and len(found[1]) >= 24 and found[1] in text
    (tmp_path / "rules").mkdir(exist_ok=True)
    (tmp_path / "rules" / "all.yaml").write_text(ARCHIVE_ALL)
    checked = run_command("check", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith("well: 1 ways in")

    again = run_command("init", cwd=tmp_path)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert file.read_text() == text

    other = tmp_path / "other"
    other.mkdir()
    assert run_command("init", cwd=other).returncode == 0
    keys = set(re.findall(r'_key: "([^"]+)"', text + (other / "config.yaml").read_text()))
    assert len(keys) == 4, "fresh secrets each time"


def test_check_lists_all_problems(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    assert instance.command("check").returncode == 0
    instance.write_rules("rules:\n  - name: Bad\n    when: {subjct: x}\n    then: [archiv]\n")
    done = instance.command("check")
    assert done.returncode == 1
    assert re.search(r"rules\.yaml:3:12: .*'subjct'.*did you mean 'subject'\?", done.stderr)
    assert re.search(r"rules\.yaml:4:12: .*'archiv'.*did you mean 'archive'\?", done.stderr)
    assert "2 problems found" in done.stderr
    assert instance.command("serve").returncode == 1, "nor does it start"
    assert not instance.data_dir.exists()


def test_send_takes_every_kind_of_file(house: Instance, tmp_path: Path) -> None:
    one, box = tmp_path / "one.eml", tmp_path / "many.mbox"
    single, lines = tmp_path / "one.json", tmp_path / "many.jsonl"
    one.write_bytes(MAIL % 1)
    box.write_bytes(b"".join(b"From jo Mon May 20 10:01:04 2013\n" + MAIL % number + b"\n" for number in (2, 3)))
    single.write_text(json.dumps(document("from json", secret="SECRET")))
    lines.write_text("".join(json.dumps({"payload": document(f"line {number}")}) + "\n" for number in range(12)))
    before = house.census()["messages"]
    done = house.command("send", str(one), str(box), str(single))
    assert done.returncode == 0, done.stderr
    ids = re.findall(r"accepted as ([0-9a-f-]{36})", done.stdout)
    assert len(ids) == 4
    stored, _ = house.stored(ids[0])
    assert (stored.subject, stored.from_ and stored.from_.name, stored.text) == ("Grüße from a file", "Jö", "Hello.\n")
    assert stored.recipient.address == "support@customer.example"
    many = house.command("send", str(lines), "--to", "else@customer.example")
    assert many.returncode == 0
    assert "12 of 12 accepted" in many.stdout
    assert house.census()["messages"] == before + 16
    recipients = house.rows("SELECT DISTINCT recipient FROM messages WHERE subject LIKE 'line %'")
    assert [row[0] for row in recipients] == ["else@customer.example"]


def test_send_says_what_is_wrong(house: Instance, tmp_path: Path) -> None:
    good, bad = tmp_path / "one.eml", tmp_path / "bad.json"
    good.write_bytes(MAIL % 99)
    bad.write_text("{")
    broken = house.command("send", str(bad))
    assert broken.returncode == 1
    assert "bad.json cannot be read as mail" in broken.stderr
    nobody = house.command("send", str(good), "--url", f"http://127.0.0.1:{closed_port()}")
    assert nobody.returncode == 1
    assert "does not answer" in nobody.stderr
    nowhere = house.command("send", str(good), "--ingress", "nowhere")
    assert nowhere.returncode == 1
    wrong = tmp_path / "shape.json"
    wrong.write_text('{"Message": {"Subject": 5}}')
    refused = house.command("send", str(wrong))
    assert refused.returncode == 1
    assert "refused with 400" in refused.stderr
    for done in (broken, nobody, nowhere, refused):
        assert "Traceback" not in done.stderr and SECRET_KEY not in done.stdout + done.stderr


def test_send_imitates_one_provider(tmp_path: Path) -> None:
    other = Instance(tmp_path, ingress={"gun": {"kind": "mailgun", "signing_key": "k" * 32}})
    (tmp_path / "one.eml").write_bytes(MAIL % 1)
    named = other.command("send", "one.eml", "--ingress", "gun")
    assert (named.returncode, named.stderr) == (1, "Error: the ingress gun is of the kind mailgun, not socketlabs\n")
    # Not the first of the file, but the first that it can imitate; nobody listens there.
    other.config["ingress"] = dict(reversed(other.config["ingress"].items()))
    other.write_config()
    first = other.command("send", "one.eml")
    assert first.returncode == 1 and "/inbound/socketlabs does not answer" in first.stderr
    del other.config["ingress"]["socketlabs"]
    other.write_config()
    none = other.command("send", "one.eml")
    assert (none.returncode, none.stderr) == (1, "Error: config.yaml has no ingress of the kind socketlabs\n")


def test_history_and_show(house: Instance) -> None:
    hostile = "\x1b[31mred\x1b[0m \u202eevil"
    message = house.post(document(f"Needle {hostile}", sender="ada@example.org")).message
    house.wait_for_states(message, "delivered")

    def listed(*words: str) -> list[dict[str, Any]]:
        done = house.command("history", "--json", *words)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    assert listed("nothing-like-that") == []
    (row,) = listed("--limit", "1", "ada@example.org", "needle")
    assert (row["id"], row["state"], row["recipient"]) == (message, "routed", "support@customer.example")
    assert row["deliveries"][0]["state"] == "delivered"
    assert house.command("history", "--state", "nonsense").returncode == 2
    text = house.command("history", "needle").stdout
    assert message in text and "archive: delivered" in text
    assert "\x1b" not in text and "\u202e" not in text

    done = house.command("show", message)
    assert done.returncode == 0
    for part in (
        message,
        "ada@example.org",
        "Needle",
        "archive: delivered",
        "attempt 1",
        "Everything: matched",
        "It burns.",
    ):
        assert part in done.stdout, part
    assert "\x1b" not in done.stdout
    whole = json.loads(house.command("show", "--json", message[:30]).stdout)
    assert whole["message"]["row"]["id"] == message
    assert whole["trace"]["rules"][0]["outcome"] == "matched"
    missing = house.command("show", "01980000-0000-7000-8000-000000000001")
    assert missing.returncode == 1
    assert "there is no message" in missing.stderr


def test_a_message_that_no_rule_wanted(make_instance: Any) -> None:
    instance: Instance = make_instance(rules="rules: [{name: A, when: {subject: A}, then: [archive]}]\n").start()
    message = instance.post(document("B")).message
    rows = json.loads(instance.command("history", "--state", "unmatched", "--json").stdout)
    assert [row["id"] for row in rows] == [message]
    shown = instance.command("show", message).stdout
    assert "unmatched" in shown and "A: not matched" in shown
    assert instance.stop() == 0
    # What is on record can be read while nothing runs.
    assert message in instance.command("history").stdout
    assert instance.command("show", message).returncode == 0


def test_commands_before_anything_came(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    for words in (["history"], ["show", "0198"], ["retry", "0198"]):
        done = instance.command(*words)
        assert done.returncode == 1, words
        assert "nothing was received yet" in done.stderr


def test_retry_of_what_cannot_be_retried(house: Instance) -> None:
    message = house.post(document("already there")).message
    (delivery,) = house.wait_for_states(message, "delivered")
    for target in (message, delivery["id"], "01980000-0000-7000-8000-000000000001"):
        done = house.command("retry", target)
        assert done.returncode == 1
        assert "nothing to retry" in done.stderr
    assert house.deliveries(message)[0]["attempts"] == 1


def test_serve_shows_the_way_in_but_no_key(house: Instance) -> None:
    log = house.log()
    assert f"http://127.0.0.1:{house.port}/inbound/socketlabs" in log
    assert len(re.findall(r"Login: +admin / \S{12,}", log)) == 1
    assert SECRET_KEY not in log and VALIDATION_KEY not in log
    assert stat.S_IMODE(house.data_dir.stat().st_mode) == 0o700


def test_a_second_instance_on_the_same_folder_delivers_nothing(house: Instance, tmp_path: Path) -> None:
    config = tmp_path / "second.yaml"
    text = house.config_file.read_text().replace(f":{house.port}", f":{closed_port()}")
    config.write_text(text.replace("data_dir: data", f"data_dir: {house.data_dir}").replace(
        "rules_dir: rules", f"rules_dir: {house.folder / 'rules'}"))  # fmt: skip
    done = run_command("dispatch", "--config", str(config), cwd=tmp_path)
    assert done.returncode == 1
    assert "another dispatcher works on" in done.stderr


def test_demo(tmp_path: Path) -> None:
    done = run_command("demo", cwd=tmp_path, timeout=100)
    assert done.returncode == 0, done.stderr
    report = done.stdout.partition("What became of them:")[2]
    went = re.findall(r"-> (.+)", report)
    assert len(went) >= 6
    places = {name for line in went for name in re.findall(r"(\w+) \(delivered\)", line)}
    assert len(places) >= 6, places
    samples = list((ROOT / "rules" / "samples").glob("*.eml"))
    assert len(went) == len(samples)
    assert not list(tmp_path.iterdir()), "the folder was thrown away"

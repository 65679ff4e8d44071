"""Live reload: edits of the rule files reach the running program by themselves, good ones within two seconds."""

from __future__ import annotations

import os
import re
import shutil
import time

import requests

from tests.conftest import Start
from tests.instance import Instance, document, until

SECONDS = 2.0
"""What RULES promise."""
NOT_TAKEN = "the rules on disk were not taken"


def rule(name: str, title: str = "a mail") -> str:
    """A rule that takes all mail of these tests; it says so by an address, for nothing may follow `always`."""
    when = "{recipient: support@customer.example}"
    return f"rules:\n  - name: {name}\n    when: {when}\n    then: [archive: {{title: '{title}'}}]\n    stop: true\n"


def routed(house: Instance) -> tuple[str, int]:
    """The rule that takes a new mail, or nothing, and the number of the rule set that it stands in."""
    (row,) = house.rows("SELECT matched, rule_set FROM messages WHERE id = ?", house.post(document()).message)
    return row[0], row[1]


def becomes(house: Instance, name: str) -> int:
    """Mail is routed by that rule within two seconds from now; the number of the rule set."""
    start = time.monotonic()
    while True:
        found, rule_set = routed(house)
        if found == name:
            return rule_set
        late = time.monotonic() - start
        assert late < SECONDS, f"after {late:.2f} s mail is still routed by '{found}':\n{house.log()[-2000:]}"
        time.sleep(0.02)


def notes(house: Instance) -> list[str]:
    answer = house.get("/readyz")
    assert answer.status == 200, "it does accept and deliver"
    assert answer.json()["problems"] == []
    found: list[str] = answer.json()["notes"]
    return found


def refused(house: Instance) -> str:
    """The note, once there is one: within two seconds."""
    note = until(lambda: notes(house), "/readyz says that the rules were not taken", SECONDS)[0]
    assert "postroom_rules_rejected 1" in metrics(house)
    return note


def mended(house: Instance) -> None:
    until(lambda: not notes(house), "/readyz says nothing more of the rules", SECONDS)
    assert "postroom_rules_rejected 0" in metrics(house)


def metrics(house: Instance) -> list[str]:
    answer = house.get("/metrics")
    assert answer.status == 200
    lines = answer.body.decode().splitlines()
    assert all(re.fullmatch(r"# (?:HELP|TYPE) \S.*|[a-z_]+(?:\{[a-z]+=\"[a-z]+\"\})? \d+", line) for line in lines), (
        lines
    )
    return lines


def dashboard(house: Instance) -> str:
    """The list of messages, as somebody sees it who has logged in."""
    with requests.Session() as browser:
        base = f"http://127.0.0.1:{house.port}"
        found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(f"{base}/login", timeout=10).text)
        assert found
        form = {"csrf_token": found[1], "name": "admin", "password": house.password()}
        assert browser.post(f"{base}/login", data=form, timeout=10).status_code == 200
        page = browser.get(f"{base}/messages", timeout=10)
        assert "Log out" in page.text
        return page.text


def test_an_edit_is_active_within_two_seconds(start_instance: Start) -> None:
    house = start_instance(rules=rule("First"))
    process = house.pid
    before = routed(house)
    assert before[0] == "First"
    for name in ("Second", "Third"):
        house.write_rules(rule(name))
        becomes(house, name)
    assert house.pid == process and len(house.log().split("Endpoint:")) == 2, "no restart"
    sets = [row[0] for row in house.rows("SELECT rule_set FROM messages ORDER BY seq")]
    assert sets == sorted(sets) and len(set(sets)) == 3, "each mail says under which it was routed, in order"
    events = [tuple(row) for row in house.rows("SELECT what, who, detail FROM events ORDER BY seq")]
    expected = [("rules", "rules folder", f"rule set {seq} is active: 1 file") for seq in sorted(set(sets))]
    assert events == expected
    assert f"rule set {sets[-1]} is active: 1 file" in house.log()


def test_mail_of_before_is_sent_as_its_own_rules_say(start_instance: Start) -> None:
    archive = {"kind": "file", "rate": "1/2s"}
    house = start_instance(rules=rule("First", "first edition"), destinations={"archive": archive})
    house.wait_for_states(house.post(document("goes at once")).message, "delivered")
    waiting = house.post(document("waits for its turn")).message
    house.write_rules(rule("Second", "second edition"))
    until(lambda: house.rows("SELECT 1 FROM events WHERE detail LIKE 'rule set 2 %'"), "the edit is active", SECONDS)
    (delivery,) = house.deliveries(waiting)
    assert (delivery["state"], delivery["content"]) == ("pending", None), "not rendered yet, or this test shows nothing"
    assert routed(house)[0] == "Second"
    house.wait_until_quiet()
    lines = (house.data_dir / "delivered.jsonl").read_text().splitlines()
    assert [re.findall("first edition|second edition", line) for line in lines] == [
        ["first edition"],
        ["first edition"],
        ["second edition"],
    ]


def test_a_bad_edit_changes_nothing_and_is_told(start_instance: Start) -> None:
    house = start_instance(rules=rule("Good"))
    good = routed(house)
    house.write_rules(rule("Bad").replace("when:", "wen:"))
    assert refused(house) == f"{NOT_TAKEN}: 2 problems; the last good ones stay"
    time.sleep(0.6)
    assert routed(house) == good
    page = dashboard(house)
    assert NOT_TAKEN in page
    assert "rules/rules.yaml:3:5: unknown key" in page and "&#39;wen&#39;" in page
    assert "rules/rules.yaml:2:5: &#39;when&#39; is missing" in page
    warnings = re.findall(r"WARNING postroom\.watch: .*\n(rules/rules\.yaml:.*\nrules/rules\.yaml:.*)", house.log())
    assert len(warnings) == 1, "once for one edit"
    assert "wen" in warnings[0]
    assert not house.rows("SELECT 1 FROM events WHERE what = 'rules' AND detail NOT LIKE 'rule set 1 %'")
    # Another bad edit is told anew; a good one ends it.
    house.write_rules("rules: [{name: ")
    until(lambda: house.log().count(f"WARNING postroom.watch: {NOT_TAKEN}") == 2, "the next bad edit", SECONDS)
    assert routed(house) == good
    house.write_rules(rule("Better"))
    becomes(house, "Better")
    mended(house)
    assert NOT_TAKEN not in dashboard(house)


def test_the_dashboard_lists_ten_problems(start_instance: Start) -> None:
    house = start_instance(rules=rule("Good"))
    house.write_rules(
        "rules:\n" + "".join(f"  - {{name: R{n}, when: always, then: [nowhere{n}]}}\n" for n in range(23))
    )
    assert refused(house).startswith(f"{NOT_TAKEN}: 23 problems")
    page = dashboard(house)
    assert [f"nowhere{n}&#39;" in page for n in range(11)] == [True] * 10 + [False]
    assert "and 13 more problems of the rules" in page
    assert house.log().count("no destination 'nowhere") == 23, "the log has them all"


def test_files_that_come_and_go(start_instance: Start) -> None:
    house = start_instance(rules=rule("Base"))
    folder = house.folder / "rules"
    assert routed(house)[0] == "Base"
    (folder / "05-first.yaml").write_text(rule("First"))
    becomes(house, "First")
    (folder / "05-first.yaml").rename(folder / "zz-last.yaml")
    becomes(house, "Base")
    (folder / "zz-last.yaml").rename(folder / "00-again.yml")
    becomes(house, "First")
    (folder / "00-again.yml").rename(folder / "00-again.yml~")
    becomes(house, "Base")
    # A folder that is made elsewhere and moved in, renamed, linked, and taken away.
    made = house.folder / "elsewhere" / "deeper"
    made.mkdir(parents=True)
    (made / "x.yaml").write_text(rule("Deep"))
    made.parent.rename(folder / "10-new")
    becomes(house, "Deep")
    (folder / "10-new").rename(folder / "zz-new")
    becomes(house, "Base")
    (folder / "zz-new").rename(house.folder / "elsewhere")
    (folder / "11-link").symlink_to(house.folder / "elsewhere")
    becomes(house, "Deep")
    (house.folder / "elsewhere" / "deeper" / "x.yaml").write_text(rule("Deep, edited where the link leads"))
    becomes(house, "Deep, edited where the link leads")
    (folder / "11-link").unlink()
    becomes(house, "Base")
    assert notes(house) == []


def test_editors_write_in_many_ways(start_instance: Start) -> None:
    house = start_instance(rules=rule("Edit0"))
    file = house.folder / "rules" / "rules.yaml"
    assert routed(house)[0] == "Edit0"
    # A new file beside it, moved over it: same size, same time of modification.
    old = file.stat()
    beside = file.with_name(".rules.yaml.swp")
    beside.write_text(rule("Edit1"))
    os.utime(beside, ns=(old.st_atime_ns, old.st_mtime_ns))
    beside.replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    becomes(house, "Edit1")
    # In place, and the old time of modification put back.
    file.write_text(rule("Edit2"))
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    becomes(house, "Edit2")
    # The old one renamed to a backup, the new one written in two halves.
    file.rename(file.with_name("rules.yaml~"))
    with file.open("w") as half:
        half.write(rule("Edit3")[:40])
        half.flush()
        time.sleep(0.7)
        assert routed(house)[0] == "Edit2", "half a file is no good edit"
        half.write(rule("Edit3")[40:])
    becomes(house, "Edit3")
    mended(house)
    # What editors leave lying about is no edit.
    seq = routed(house)[1]
    for name in (".rules.yaml.swp", "4913", "rules.yaml~", "#rules.yaml#", "~rules.yaml"):
        file.with_name(name).write_text("rules: [{bad")
    file.with_name(".#rules.yaml").symlink_to("jo@host.1234")
    time.sleep(1)
    assert routed(house) == ("Edit3", seq) and notes(house) == []


def test_a_folder_that_is_gone_and_a_last_file(start_instance: Start) -> None:
    house = start_instance(rules=rule("Kept"))
    folder, away = house.folder / "rules", house.folder / "unmounted"
    kept = routed(house)
    folder.rename(away)
    assert refused(house) == f"{NOT_TAKEN}: 1 problem; the last good ones stay"
    assert f"{folder} is gone; to have no rules, leave a file that says rules: []" in dashboard(house)
    assert routed(house) == kept
    folder.mkdir()
    until(lambda: f"{folder} has no rule file left" in house.log(), "the empty folder is told", SECONDS)
    assert routed(house) == kept
    folder.rmdir()
    away.rename(folder)
    mended(house)
    assert routed(house) == kept
    (folder / "rules.yaml").unlink()
    refused(house)
    assert routed(house) == kept
    # To have no rules, on purpose.
    house.write_rules("rules: []")
    assert becomes(house, "") == kept[1] + 1
    mended(house)
    shutil.rmtree(folder)
    refused(house)
    assert routed(house) == ("", kept[1] + 1)


def test_earlier_content_is_the_earlier_rule_set(start_instance: Start) -> None:
    house = start_instance(rules=rule("First"))
    first = routed(house)[1]
    house.write_rules(rule("Second"))
    second = becomes(house, "Second")
    assert second != first
    house.write_rules(rule("First"))
    assert becomes(house, "First") == first
    assert len(house.rows("SELECT 1 FROM rule_sets")) == 2
    details = [row[0] for row in house.rows("SELECT detail FROM events WHERE what = 'rules' ORDER BY seq")]
    assert details == [f"rule set {seq} is active: 1 file" for seq in (first, second, first)]
    # A start on the same rules changes nothing and is no event.
    house.stop()
    house.start()
    assert routed(house) == ("First", first)
    assert len(house.rows("SELECT 1 FROM events WHERE what = 'rules'")) == 3


def test_metrics_count_what_waits(start_instance: Start) -> None:
    house = start_instance(rules="rules:\n  - {name: Held, when: {subject: wait}, then: [hold]}\n")
    house.post(document("wait")), house.post(document("nobody wants it"))
    found = metrics(house)
    assert 'postroom_messages_waiting{state="held"} 1' in found
    assert 'postroom_messages_waiting{state="unmatched"} 1' in found
    assert 'postroom_messages_waiting{state="dead"} 0' in found
    assert "postroom_ready 1" in found

"""The pages of the rules: tree, editor, drafts, explain, backtest."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom import backtest
from postroom.rules import compile_rules, read_files
from postroom.store.database import FILE_NAME
from tests.rules_site import BUGS, REST, House, Person


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "house")
    yield made
    made.db.close()


@pytest.fixture
def edda(house: House) -> Person:
    return Person(house, "edda")


def branch(page: str, rule: str) -> str:
    """What the tree says of one rule."""
    found = re.search(rf'<li class="branch[^>]*>(?:(?!<li class="branch).)*?>{re.escape(rule)}</a>.*?</li>', page, re.S)
    assert found, page
    return found[0]


# The tree


def test_the_tree_shows_rules_with_their_traffic_and_tests(house: House, edda: Person) -> None:
    house.receive("A crash")
    house.receive("A crash again")
    house.receive("Invoice 7", "billing@x.example")
    page = edda.page("/rules")
    crashes = branch(page, "Crashes")
    assert "<strong>2</strong>" in crashes and "last now" in crashes and "stops" in crashes
    link = re.search(r'href="([^"]*after[^"]*)"', crashes)
    assert link and html.unescape(link[1]).endswith("?q=rule:%22Crashes%22+after:30d")
    assert edda.page(html.unescape(link[1])).count('class="subject"') == 2
    assert "first of its children only" in branch(page, "Invoices")
    assert "depth-1" in branch(page, "With a number") and "<strong>1</strong>" in branch(page, "With a number")
    others = branch(page, "Others")
    assert "never matched" in others and "disabled" in others
    assert "never matched" in branch(page, "Rest")
    assert "2 rules have never matched" in page
    assert "1 test passes" in page and "no tests" in page


def test_mail_of_long_ago_does_not_count(house: House, edda: Person) -> None:
    house.receive("A crash")
    house.db.execute("UPDATE messages SET received_at = received_at - 40 * 86400000")
    crashes = branch(edda.page("/rules"), "Crashes")
    assert "<strong>0</strong>" in crashes and "1 month ago" in crashes


# Who may


def test_viewers_read_and_change_nothing(house: House) -> None:
    id = house.receive("A crash")
    for name in ("vera", "otto"):
        person = Person(house, name)
        for path in (
            "/rules",
            "/rules/file?path=10-bugs.yaml",
            "/rules/draft",
            "/rules/test",
            "/rules/history",
            "/rules/history/1",
            f"/rules/explain?message={id}",
            "/rules/backtest",
            "/rules/schema.json",
        ):
            person.page(path)
        assert "Save draft" not in person.page("/rules/file", path="10-bugs.yaml")
        for path in (
            "/rules/file?path=10-bugs.yaml",
            "/rules/new",
            "/rules/rename",
            "/rules/delete",
            "/rules/draft/activate",
            "/rules/draft/discard",
            "/rules/draft/settle",
            "/rules/history/1/draft",
            "/rules/history/1/restore",
        ):
            person.press(path, 403, text="rules: []", path="x.yaml")
        person.page("/rules/backtest", 403, since="7d")


def test_strangers_and_forms_without_a_token_get_nothing(house: House, edda: Person) -> None:
    for path in ("/rules", "/rules/schema.json", "/rules/draft.zip"):
        assert house.app.test_client().get(path).status_code == 303
    assert edda.client.post("/rules/draft/activate").status_code == 400


# The editor


def test_a_text_is_checked_saved_tested_and_made_active(house: House, edda: Person) -> None:
    wrong = BUGS.replace("subject: {word", "subjct: {word")
    page = edda.write("10-bugs.yaml", wrong, "check")
    assert "10-bugs.yaml:4:12" in page and "unknown field &#39;subjct&#39;" in page
    assert "Nothing is edited" in edda.page("/rules/draft"), "to check is not to save"
    assert "unknown field" in edda.write("10-bugs.yaml", wrong)
    assert 'id="activate" disabled' in edda.page("/rules/draft")
    page = edda.press("/rules/draft/activate", 409)
    assert "nothing was written" in page and house.active()["10-bugs.yaml"] == BUGS
    failing = BUGS.replace("word: crash", "word: crush")
    page = edda.write("10-bugs.yaml", failing, "test")
    assert (
        "1 of 1 fail" in page and "- rule &#39;Crashes&#39;: archive" in page and "+ rule &#39;Rest&#39;: other" in page
    )
    page = edda.press("/rules/draft/activate", 409)
    assert "a crash is archived" in page and (house.rules / "10-bugs.yaml").read_text() == BUGS
    good = BUGS.replace("word: crash", "word: [crash, traceback]")
    page = edda.write("10-bugs.yaml", good, "review")
    assert "word: [crash, traceback]" in page and "+1" in page and "−1" in page
    page = edda.press("/rules/draft/activate")
    assert "The rules are active" in page
    assert (house.rules / "10-bugs.yaml").read_text() == good == house.active()["10-bugs.yaml"]
    assert house.events()[-1] == ("edda", "rule set 2 is active: 2 files")
    assert "Nothing is edited" in edda.page("/rules/draft"), "the draft is used up"
    house.receive("A traceback")
    assert "<strong>1</strong>" in branch(edda.page("/rules"), "Crashes"), "mail goes by them at once"


def test_problems_as_one_types(edda: Person) -> None:
    def check(path: str, text: str) -> Any:
        answer = edda.send("/rules/check", path=path, text=text)
        return answer.get_json() if answer.status_code == 200 else answer.status_code

    assert check("10-bugs.yaml", BUGS) == {"busy": False, "problems": []}
    (one,) = check("90-rest.yaml", REST.replace("other:", "othr:"))["problems"]
    assert (one["file"], one["line"], one["column"]) == ("90-rest.yaml", 4, 12)
    assert "no destination 'othr' in config.yaml; did you mean 'other'?" in one["message"]
    assert check("90-rest.yaml", REST.replace("name: Rest", "name: Crashes"))["problems"], "the other files count"
    assert check("nowhere.yaml", "") == 404


def test_the_schema_names_the_destinations(edda: Person) -> None:
    answer = edda.client.get("/rules/schema.json")
    action = json.loads(answer.text)["definitions"]["action"]
    assert {"archive", "other", "hold", "drop", "update"} <= set(json.dumps(action).split('"'))
    again = edda.client.get("/rules/schema.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_two_windows_do_not_overwrite_each_other(edda: Person) -> None:
    found = re.search(r'name="was" value="([^"]*)"', edda.page("/rules/file", path="90-rest.yaml"))
    assert found
    edda.write("90-rest.yaml", REST + "# the first window\n")
    url = "/rules/file?path=90-rest.yaml"
    page = edda.press(url, 409, text=REST + "# the second\n", was=found[1], do="save")
    assert "Saved elsewhere meanwhile" in page and "# the second" in page and "# the first window" in page
    shown = re.search(r'name="was" value="([^"]*)"', page)
    assert shown
    assert "# the second" in edda.press(url, text=REST + "# the second\n", was=shown[1], do="save")


def test_long_files_are_saved_and_very_long_ones_refused(edda: Person) -> None:
    long = REST + "# a comment of some length, many times\n" * 20_000
    edda.write("90-rest.yaml", long)
    assert f"+{20_000}" in edda.page("/rules/draft") or "too many to compare" in edda.page("/rules/draft")
    edda.write("90-rest.yaml", REST + "# a comment of some length, many times\n" * 30_000, status=413)


def test_drafts_are_of_one_person_each(house: House, edda: Person) -> None:
    edda.write("90-rest.yaml", REST + "# mine\n")
    vera = Person(house, "vera")
    assert "# mine" not in vera.page("/rules/file", path="90-rest.yaml")
    assert "edda" in vera.page("/rules") and "has a draft of 90-rest.yaml" in vera.page("/rules")
    assert "Nothing is edited" in vera.page("/rules/draft")
    edda.write("90-rest.yaml", REST)
    assert "has a draft" not in vera.page("/rules"), "a text that is the disk's is no edit"


def test_texts_come_back_as_they_were_written(house: House, edda: Person) -> None:
    text = "\n# begins with an empty line, <b>&amp; ends so\n" + REST + "\n\n"
    edda.write("90-rest.yaml", text)
    edda.press("/rules/draft/activate")
    assert (house.rules / "90-rest.yaml").read_text() == text
    assert "&lt;b&gt;&amp;amp;" in edda.page("/rules/file", path="90-rest.yaml")


# Explain and backtest


def test_explain_under_the_draft(house: House, edda: Person) -> None:
    id = house.receive("A crash <script>alert(1)</script>")
    assert id in edda.page("/rules/explain") and id in edda.page("/rules/explain", q="crash")
    page = edda.page("/rules/explain", message=id)
    assert "decides the same" in page and "Crashes" in page and "<script>alert" not in page
    edda.write(
        "10-bugs.yaml", BUGS.replace("then: [archive]\n    stop", "then: [hold: {reason: look at it}]\n    stop")
    )
    page = edda.page("/rules/explain", message=id)
    assert "Otherwise than rule set 1" in page and "look at it" in page and "Under your" in page
    for strange in ("nothing", "00000000-0000-7000-8000-000000000000"):
        edda.page("/rules/explain", 404, message=strange)


def test_backtest_shows_what_would_go_elsewhere(house: House, edda: Person) -> None:
    crash, other = house.receive("A crash"), house.receive("Hello")
    assert "Nothing would change" in edda.page("/rules/backtest", since="7d")
    edda.write("10-bugs.yaml", BUGS.replace("then: [archive]\n    stop", "then: [other]\n    stop"))
    page = edda.page("/rules/backtest", since="7d", most="500")
    assert "1 mail of 2 would go another way" in page
    assert f"/messages/{crash}" in page and f"/messages/{other}" not in page
    assert "<strong>archive</strong>" in page and "<strong>other</strong>" in page
    edda.page("/rules/backtest", 400, since="long")
    edda.page("/rules/backtest", 400, since="7d", most="1000000")


def test_a_bounded_backtest_says_what_it_left_aside(house: House) -> None:
    for subject in ("One", "Two", "Three"):
        house.receive(subject)
    rule_set = compile_rules(read_files(house.rules), None)

    def run(most: int | None, seconds: float | None = None) -> backtest.Report:
        return backtest.run(
            house.config.data_dir / FILE_NAME,
            rule_set,
            timezone="UTC",
            makers=(),
            since=0,
            keep=None,
            started=lambda count: lambda step: None,
            most=most,
            seconds=seconds,
        )

    assert [(each.judged, each.cut) for each in (run(None), run(3), run(2))] == [(3, False), (3, False), (2, True)]
    slow = run(3, seconds=0)
    assert (slow.judged, slow.cut) == (1, True), "one at least, whatever the time"

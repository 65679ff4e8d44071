"""The `tests` of rule files: run by the command, by `check`, before an edit is taken. The shipped ones too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

import app
from postroom import cli
from postroom.config import field_sets
from postroom.plan import Step
from postroom.problems import InvalidFiles
from postroom.rawmail import message_of
from postroom.rules import Rule
from postroom.rules.extracts import find_all
from postroom.rules.facts import Facts
from tests.corpus import EML, needs_eml

ROOT = Path(__file__).parents[1]

CONFIG = """
data_dir: data
destinations:
  jira: {kind: redmine, url: http://127.0.0.1:1, api_key: k, project: x}
  chat: {kind: file, path: chat.jsonl}
"""
RULES = """
rules:
  - name: Crashes
    when: {subject: {word: crash}}
    extract: {version: {from: text, matches: 'version (\\S+)', default: unknown}}
    then:
      - jira: {title: "{{ subject }} ({{ version }})", private: true, custom_fields: {Labels: a}}
      - chat: {body: "see {{ from }}"}
    stop: true
  - name: Staff
    when: {from.domain: example.com, item: jira}
    then: [update: {state: closed, body: done}]
    stop: true
  - {name: Held, when: {subject: wait}, then: [hold: {reason: "{{ subject }} for it"}]}
  - {name: Few, when: {subject: many}, limit: {per: all, count: 1, window: 1h, over: drop}, then: [chat]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "rules").mkdir()
    return tmp_path


def run(folder: Path, tests: str, *words: str) -> tuple[int, str]:
    """Exit code and output of `postroom test` for these tests."""
    (folder / "rules" / "a.yaml").write_text(f"{RULES}\ntests:\n{tests}")
    found = CliRunner().invoke(
        cli.commands, ["test", "--config", str(folder / "config.yaml"), *words], obj=app.house(), standalone_mode=False
    )
    if found.exception is not None:
        raise found.exception
    return found.return_value or 0, found.output


CRASH = "{subject: A crash, text: version 2.1, from: jo@example.org}"
PASSING = [
    f"message: {CRASH}\n    expect: [{{rule: Crashes}}]",
    f"message: {CRASH}\n    expect: [{{rule: Crashes, chat: {{body: see jo@example.org}}}}, {{rule: Crashes, jira: {{}}}}]",
    f"message: {CRASH}\n    expect: [{{rule: Crashes, jira: {{title: A crash (2.1), private: yes}}}}, {{rule: Crashes, chat: }}]",
    f"message: {CRASH}\n    expect: [{{rule: Crashes, jira: {{custom_fields: {{Labels: a}}}}}}, {{rule: Crashes, chat: {{}}}}]",
    "message: {subject: nothing}\n    expect: []",
    "message: {subject: wait}\n    expect: [{rule: Held, hold: {reason: wait for it}}]",
    "message: {subject: wait}\n    expect: [{rule: Held}]",
    f"earlier: [{CRASH}]\n    message: {{from: kim@example.com, subject: 'Re: A crash that was', header: {{References: <test-1@postroom.invalid>}}}}"
    "\n    expect: [{rule: Crashes}]",
    "earlier: [{subject: crash, message_id: <9@x>}]\n    message: {from: kim@example.com, subject: mended, recipient: a@b, header: {References: <9@x>}}"
    "\n    expect: []",
    "earlier: [{subject: crash, message_id: <9@x>, recipient: a@b}]\n    message: {from: kim@example.com, subject: mended, recipient: a@b, header: {References: <9@x>}}"
    "\n    expect: [{rule: Staff, update: {state: closed, destination: jira, body: done}}]",
    "message: {subject: many}\n    expect: [{rule: Few, chat: {}}]",
    "earlier: [{subject: many}]\n    message: {subject: many, text: again}\n    expect: [{rule: Few, drop: {}}]",
    "earlier: [{subject: many, received_at: 2026-01-01}]\n    message: {subject: many, received_at: 2026-01-02T10:00:00Z}\n    expect: [{rule: Few}]",
]  # fmt: skip


@pytest.mark.parametrize("test", PASSING)
def test_passes(folder: Path, test: str) -> None:
    code, output = run(folder, f"  - name: one\n    {test}\n")
    assert code == 0, output
    assert "1 of 1 tests pass" in output


FAILING = [
    (f"message: {CRASH}\n    expect: []", ["+ rule 'Crashes': jira", "+ rule 'Crashes': chat"]),
    (f"message: {CRASH}\n    expect: [{{rule: Crashes, jira: {{}}}}]", ["+ rule 'Crashes': chat"]),
    ("message: {subject: x}\n    expect: [{rule: Crashes, jira: {}}]", ["- rule 'Crashes': jira"]),
    ("message: {subject: x}\n    expect: [{rule: Crashes}]", ["- rule 'Crashes': anything"]),
    (
        f"message: {CRASH}\n    expect: [{{rule: Crashes, jira: {{title: A crash}}}}, {{rule: Crashes, chat: {{}}}}]",
        ["- rule 'Crashes': jira: title: 'A crash'", "+ rule 'Crashes': jira: title: 'A crash (2.1)'"],
    ),
    ("message: {subject: wait}\n    expect: [{rule: Held, hold: {reason: no}}]", ["- rule 'Held': hold: reason: 'no'"]),
    ("message: nowhere.eml\n    expect: []", ["+ the sample nowhere.eml is not there"]),
]  # fmt: skip


@pytest.mark.parametrize(("test", "lines"), FAILING)
def test_fails_and_says_how(folder: Path, test: str, lines: list[str]) -> None:
    code, output = run(folder, f"  - name: one\n    {test}\n")
    assert code == 1 and "0 of 1 tests pass" in output
    for line in lines:
        assert line in output, output


def test_some_tests_and_json(folder: Path) -> None:
    both = f"  - name: good one\n    {PASSING[0]}\n  - name: bad one\n    {FAILING[0][0]}\n"
    assert run(folder, both, "-k", "GOOD")[0] == 0
    code, output = run(folder, both, "--json")
    found: list[dict[str, Any]] = json.loads(output)
    assert code == 1 and [each["passed"] for each in found] == [True, False]
    assert found[1]["differences"] == ["+ rule 'Crashes': jira", "+ rule 'Crashes': chat"]
    assert found[1]["line"] > found[0]["line"] and found[1]["file"].endswith("a.yaml")


def test_rules_whose_tests_fail_are_not_taken(folder: Path) -> None:
    run(folder, f"  - name: bad one\n    {FAILING[0][0]}\n")
    config, kinds = app.load_config(folder / "config.yaml")
    with pytest.raises(InvalidFiles, match=r"test 'bad one' fails: .*rule 'Crashes': jira"):
        app.load_rules(config, kinds)
    (folder / "config.yaml").write_text(f"{CONFIG}\nrules: {{require_tests: false}}\n")
    config, kinds = app.load_config(folder / "config.yaml")
    assert len(app.load_rules(config, kinds).cases) == 1


SLIPS = [
    ("message: {subjet: x}\n    expect: []", "unknown field 'subjet' in message of test 'one'; did you mean 'subject'?"),
    ("message: {subject: x}", "test 'one': 'expect' is missing; where nothing is to happen, write expect: []"),
    ("expect: []", "test 'one': 'message' is missing"),
    ("message: {subject: x}\n    expects: []\n    expect: []", "unknown key 'expects' in test 'one'; did you mean 'expect'?"),
    ("message: {subject: x}\n    expect: {rule: Crashes}", "expect of test 'one' is a list"),
    ("message: {subject: x}\n    expect: [{rule: Crash}]", "there is no rule 'Crash'; did you mean 'Crashes'?"),
    ("message: {subject: x}\n    expect: [{jira: {}}]", "'rule' is missing: which rule is it to be?"),
    ("message: {subject: x}\n    expect: [{rule: Crashes, jirra: {}}]", "'jirra' is no destination and no built-in action"),
    ("message: {subject: x}\n    expect: [{rule: Crashes, jira: {}, chat: {}}]", "one entry names one action"),
    ("message: {received_at: noon}\n    expect: []", "'noon' is no time; write such as 2026-11-22T10:00:00Z"),
    ("message: {spam_score: high}\n    expect: []", "'high' is no number"),
    ("message: [x]\n    expect: []", "is a mapping of fields, or the path of a sample"),
]  # fmt: skip


@pytest.mark.parametrize(("test", "problem"), SLIPS)
def test_slips(folder: Path, test: str, problem: str) -> None:
    with pytest.raises(InvalidFiles) as caught:
        run(folder, f"  - name: one\n    {test}\n")
    (found,) = caught.value.problems
    assert problem in found.message
    assert found.place.line > RULES.count("\n")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Configuration and kinds of a fresh installation."""
    home = tmp_path_factory.mktemp("shipped")
    shutil.copytree(ROOT / "rules", home / "rules")
    path = home / "config.yaml"
    CliRunner().invoke(cli.commands, ["init", "--config", str(path)], obj=app.house(), catch_exceptions=False)
    return app.load_config(path)


def test_the_shipped_rules_pass_their_tests(shipped: tuple[Any, Any]) -> None:
    rule_set = app.load_rules(*shipped)
    assert len(rule_set.cases) >= 25
    assert [str(each.problem()) for each in app.test_rules(*shipped, rule_set) if not each.passed] == []
    tested = {expected.rule for case in rule_set.cases for expected in case.expect}
    untested = {rule.name for rule in _all(rule_set.rules) if rule.actions} - tested
    assert untested <= {"Loops", "Support without anybody"}, "each shipped rule stands in a test"


def _all(rules: tuple[Rule, ...]) -> list[Rule]:
    return [each for rule in rules for each in (rule, *_all(rule.rules))]


MARK = "{{ 1337 * 3 }}{% if true %}{{ 'in' ~ 'jected' }}{% endif %}"


@needs_eml
def test_every_mail_renders_through_every_shipped_rule(shipped: tuple[Any, Any]) -> None:
    config, kinds = shipped
    rule_set, fields = app.load_rules(config, kinds), field_sets(config, kinds)
    actions = [
        (rule, number) for rule in _all(rule_set.rules) for number, each in enumerate(rule.actions) if each.destination
    ]
    assert len(actions) > 10
    for path in EML:
        message, _ = message_of(path.read_bytes(), ingress="mime")
        message = replace(message, subject=f"{message.subject or ''} {MARK}", text=f"{message.text or ''}\n{MARK}")
        for rule, number in actions:
            values = dict.fromkeys((each.name for each in _extracts(rule_set.rules, rule.name)), MARK)
            for extract in _extracts(rule_set.rules, rule.name):
                if extract.groups:
                    values[extract.name] = dict.fromkeys(extract.groups, MARK)  # type: ignore[assignment]
            values |= find_all(rule.extracts, Facts(message), {}) or {}
            step = Step(rule.name, number, rule.actions[number].destination, values)
            content = rule_set.render(
                step, message, message_url="https://x.example", fields=fields[step.destination], reply_address="a@b"
            )
            shown = f"{content.title}\n{content.body}\n{content.footer}"
            assert "4011" not in shown.replace((message.text or "") + (message.subject or ""), ""), path
            assert "injected" not in shown, (path, rule.name)


def _extracts(rules: tuple[Rule, ...], name: str, outer: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """Of a rule and its parents."""
    for rule in rules:
        here = (*outer, *rule.extracts)
        if rule.name == name:
            return here
        if found := _extracts(rule.rules, name, here):
            return found
    return ()

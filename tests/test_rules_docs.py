"""docs/rules.md is the reference of the language: what the program knows stands there, and its examples are good."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from postroom.cli import commands
from postroom.fields import FieldSet, setting
from postroom.initial import write_config
from postroom.mail.kinds import Kind
from postroom.rules import actions, cases, compile_rules, extracts, loader, measure_reader, modes, stateful
from postroom.rules.condition_reader import OTHER_FIELDS
from postroom.rules.facts import ADDRESS_FIELDS, ADDRESS_PARTS, FIELDS
from postroom.rules.measures import COMPARISONS, SIZES, WEEKDAYS
from postroom.rules.operators import OPERATORS
from postroom.rules.ruleset import RuleSet
from postroom.rules.sandbox import FILTERS, TESTS
from postroom.rules.template_names import ADDRESS, ATTACHMENT, NAMES, TIME
from postroom.ruletests import run_cases


@dataclasses.dataclass(frozen=True)
class IssueFields:
    project: str = setting("key of the project")
    labels: list[str] = setting("labels", default_factory=list)


ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
WHOLE = [block for block in BLOCKS if re.match(r"(rules|lists|conditions|defaults):", block)]


def section(heading: str) -> str:
    """The text below a heading, to the next of its level or above."""
    level = heading.partition(" ")[0]
    begin = TEXT.index(f"\n{heading}\n") + len(heading) + 2
    end = re.search(rf"^#{{2,{len(level)}}} ", TEXT[begin:], re.MULTILINE)
    return TEXT[begin:][: end.start() if end else None]


def first_cells(text: str) -> set[str]:
    """The words in code that stand in the first column of the tables of a section."""
    cells = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def in_code(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


SECTIONS: list[tuple[str, Iterable[str]]] = [
    ("## Files", loader._FILE_KEYS),
    ("## Rules", loader._RULE_KEYS),
    ("### Mode", modes.WORDS),
    ("## Extract", extracts.KEYS),
    ("## Correlate", stateful.CORRELATE_KEYS),
    ("## Limit", stateful.LIMIT_KEYS),
    ("## Actions", (*actions.COMMON, *actions._BESIDE, *actions.BUILTINS)),
    ("### Fields", measure_reader._RECEIVED_KEYS),
    ("### Tests", (*OPERATORS, *COMPARISONS)),
    ("## Tests of rules", (*cases.CASE_KEYS, *cases.MAIL_KEYS)),
]


@pytest.mark.parametrize(("heading", "names"), SECTIONS, ids=[heading for heading, _ in SECTIONS])
def test_each_key_has_a_row_in_the_table_of_its_section(heading: str, names: Iterable[str]) -> None:
    assert set(names) - first_cells(section(heading)) == set()


def test_the_tables_of_keys_name_no_others() -> None:
    exact = {
        "## Files": loader._FILE_KEYS,
        "## Extract": extracts.KEYS,
        "## Correlate": stateful.CORRELATE_KEYS,
        "## Limit": stateful.LIMIT_KEYS,
        "## Tests of rules": (*cases.CASE_KEYS, *cases.MAIL_KEYS),
    }
    for heading, names in exact.items():
        assert first_cells(section(heading)) == set(names)
    rules = section("## Rules").partition("\n### ")[0]
    assert first_cells(rules) == set(loader._RULE_KEYS)
    fields = first_cells(section("### Tests"))
    assert {word for word in fields if word.isidentifier()} == {*OPERATORS, *COMPARISONS}


def test_each_field_is_in_the_tables() -> None:
    there = {re.split(r"[:\s]", word)[0] for word in first_cells(section("### Fields"))}
    parts = {f"{field}.{part}" for field in ADDRESS_FIELDS for part in ADDRESS_PARTS}
    assert set(FIELDS) - parts - there == set()
    assert set(OTHER_FIELDS) - there == set()
    assert {f"X.{part}" for part in ADDRESS_PARTS} - there == set()
    known = {*FIELDS, *OTHER_FIELDS, *measure_reader._RECEIVED_KEYS, *(f"X.{part}" for part in ADDRESS_PARTS)}
    assert there - known == {"version", "alert.state"}
    assert set(SIZES) <= there


def test_words_that_are_values_stand_there() -> None:
    fields, acts = in_code(section("### Fields")), in_code(section("## Actions"))
    assert set(Kind) - fields == set()
    assert set(measure_reader._ATTACHMENT_KEYS) - fields == set()
    assert {WEEKDAYS[0], f"{WEEKDAYS[0]}-{WEEKDAYS[4]}"} - fields == set()
    assert {*actions.STATES, *(name for names in actions.BUILTINS.values() for name in names)} - acts == set()
    assert set(measure_reader._ATTACHMENT_KEYS) - acts == set()
    assert set(stateful.OVER) - in_code(section("## Limit")) == set()
    assert set(stateful.NOT_YET) - in_code(section("## Limit")) == set()
    assert {"always", "unmatched", "all: [CONDITION, ..]", "any: [CONDITION, ..]", "not: CONDITION"} - first_cells(
        section("## Conditions")
    ) == set()


def test_the_fields_of_built_in_actions_stand_in_their_rows() -> None:
    for name, fields in actions.BUILTINS.items():
        row = next(line for line in section("## Actions").splitlines() if line.startswith(f"| `{name}` |"))
        assert set(fields) - in_code(row) == set()


def test_all_of_templates_is_there() -> None:
    text = section("## Templates")
    words = in_code(text)
    rows = {word.partition("[")[0] for word in first_cells(text)}
    assert set(NAMES) - rows == set()
    assert set(FILTERS) - words == set()
    assert set(TESTS) - words == set()
    for shape in (ADDRESS, ATTACHMENT, TIME):
        assert {f".{name}" for name in shape.attributes} - words == set()


def test_each_filter_that_is_named_exists() -> None:
    listed = re.search(r"^Filters: (.*?)\.$", section("## Templates"), re.MULTILINE | re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`([^`]+)`", listed[1])) == set(FILTERS)


def test_each_command_around_the_rules_is_there() -> None:
    tools = section("## Tools")
    for name in ("check", "test", "explain", "backtest", "schema"):
        assert name in commands.commands
        assert f"| `postroom {name}" in tools


@pytest.mark.parametrize("block", WHOLE, ids=[block.splitlines()[1].strip() for block in WHOLE])
def test_an_example_loads_without_a_problem(block: str) -> None:
    compile_rules({"a.yaml": block}, None)


def test_the_tests_in_the_examples_pass(tmp_path: Path) -> None:
    destinations = {name: FieldSet(name, IssueFields) for name in ("jira", "archive")}
    files = [block for block in WHOLE if "\ntests:" in block]
    assert files
    for block in files:
        outcomes = run_cases(compile_rules({"a.yaml": block}, destinations), tmp_path, destinations, {"jira"})
        assert len(outcomes) >= 3
        assert [outcome.differences for outcome in outcomes if not outcome.passed] == []


def test_defaults_give_what_the_text_says() -> None:
    """The issue is made in APP, with both labels and the footer."""
    (block,) = [block for block in WHOLE if "labels+: [crash]" in block]
    (rule,) = compile_rules({"a.yaml": block}, {"jira": FieldSet("jira", IssueFields)}).rules
    fields = rule.actions[0].fields
    assert (fields["project"], fields["labels"]) == ("APP", ["email", "crash"])
    assert "message_url" in fields["footer"].source


def test_there_are_examples_and_no_block_is_half_a_file() -> None:
    assert len(WHOLE) >= 8
    begun = re.compile(r"(rules|lists|conditions|defaults|tests):|# yaml-language-server:")
    assert [block for block in BLOCKS if not begun.match(block)] == []


def test_the_tutorial_loads_beside_the_shipped_rules_and_its_tests_pass(tmp_path: Path) -> None:
    import app

    tutorial = section("## Ten minutes")
    mine = "\n".join(re.findall(r"^```yaml\n(.*?)^```", tutorial, re.MULTILINE | re.DOTALL))
    (tmp_path / "rules").mkdir()
    for path in (ROOT / "rules").rglob("*"):
        if path.is_file():
            copy = tmp_path / "rules" / path.relative_to(ROOT / "rules")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (tmp_path / "rules" / "05-mine.yaml").write_text(mine, encoding="utf-8")
    write_config(tmp_path / "config.yaml", listen="127.0.0.1:8025", public_url=None, rules_dir="rules")
    found, kinds = app.load_config(tmp_path / "config.yaml")
    rule_set: RuleSet = app.load_rules(found, kinds)  # Raises where a test fails.
    assert rule_set.rules[0].name == "Job applications"
    slip = tmp_path / "rules" / "05-mine.yaml"
    slip.write_text(mine.replace("subject: {word", "subjct: {word"), encoding="utf-8")
    told = re.search(r"^(rules/05-mine.yaml:.*)$", tutorial, re.MULTILINE)
    assert told is not None
    with pytest.raises(Exception, match=re.escape(told[1].removeprefix("rules/"))):
        app.load_rules(found, kinds)

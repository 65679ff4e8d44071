"""The index of rules: it asks few rules where there are many, and all of them where it cannot tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.message import Address, Message
from postroom.rules import RuleSet, compile_rules, index
from postroom.rules.facts import Facts
from postroom.rules.index import Index
from postroom.rules.needs import literals
from postroom.rules.patterns import compile_re2


def everything_indexed(rules: RuleSet) -> RuleSet:
    return replace(rules, _index=Index(rules.rules, fewest=0))


def mail(**given: Any) -> Message:
    fields: dict[str, Any] = {"id": "1", "received_at": 0, "ingress": "test", "recipient": Address("ada@example.com")}
    return Message(**fields | given)


def rules_when(*conditions: str, lists: str = "") -> RuleSet:
    """One rule for each condition, all of them indexed."""
    made = [f"  - {{name: '{number}', when: {{{when}}}, then: [x]}}" for number, when in enumerate(conditions)]
    return everything_indexed(compile_rules({"a.yaml": "\n".join([lists, "rules:", *made])}, None))


def asked(rules: RuleSet, message: Message) -> list[str]:
    """Names of the rules that the index leaves to be evaluated."""
    return [rule.name for rule in rules._index.candidates(rules.rules, Facts(message))]


ALONE = [
    "subject: crash",
    "subject: [other, crash]",
    "subject: {contains: ras}",
    "subject: {word: [other, crash]}",
    "subject: {starts_with: cra}",
    "subject: {ends_with: ash}",
    "subject: {glob: 'c*sh'}",
    "subject: {glob: '*ash'}",
    "subject: {in: few}",
    "subject: {matches: 'c.+h'}",
    "subject: {matches: 'CRASH', case_sensitive: false}",
    "subject: {matches: ['other', '^crash$'], case_sensitive: true}",
    "subject: {contains: ras, starts_with: cr}",
    "all: [{not: {subject: other}}, {subject: crash}]",
    "any: [{subject: crash}, {text: other}]",
    "recipient: other@example.com, subject: {contains: crash}",
]


@pytest.mark.parametrize("condition", ALONE)
def test_only_rules_that_may_match_are_asked(condition: str) -> None:
    lists = "lists: {few: [crash, 'other*']}"
    rules = rules_when(condition, "recipient: nobody@example.com", lists=lists)
    met = "recipient: other" in condition
    assert asked(rules, mail(subject="Crash", recipient=Address("other@example.com" if met else "a@b.c"))) == (
        ["0"] if "case_sensitive: true" not in condition else []
    )
    assert asked(rules, mail(subject="quiet")) == []
    assert asked(rules, mail()) == []


@pytest.mark.parametrize(
    "condition",
    [
        "not: {subject: crash}",
        "subject: {exists: false}",
        "subject: {glob: '*'}",
        "any: [{subject: crash}, {not: {text: other}}]",
        'recipient.domain: {contains: "\u00ad"}',
        "all: [unmatched]",
    ],
)
def test_what_no_index_can_tell_is_asked_for_every_mail(condition: str) -> None:
    assert asked(rules_when(condition), mail(subject="quiet", text="quiet")) == ["0"]


def test_of_several_conditions_the_index_takes_the_one_that_fewest_rules_share() -> None:
    shared = [f"recipient: ada@example.com, subject: {{contains: token{number}x}}" for number in range(50)]
    assert asked(rules_when(*shared), mail(subject="about token7x")) == ["7"]
    shared = [rf"subject: {{matches: 'host{number} (\w+) is unavailable'}}" for number in range(50)]
    assert asked(rules_when(*shared), mail(subject="host7 abc is unavailable")) == ["7"]


def test_values_extracted_on_the_way_are_not_indexed() -> None:
    text = """rules:
  - name: Parent
    when: always
    extract: {host: {from: subject, matches: '^(\\w+)'}}
    rules:
      - {name: One, when: {host: web1}, then: [x]}
      - {name: Two, when: {host: web2}, then: [x]}
"""
    rules = everything_indexed(compile_rules({"a.yaml": text}, None))
    assert rules.evaluate(mail(subject="web2 is down")).matched == ("Parent", "Two")


@pytest.mark.parametrize("spelt", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"])
@pytest.mark.parametrize("seen", ["bücher.example", "Bücher.Example", "xn--bcher-kva.example"])
def test_domains_meet_in_every_spelling(spelt: str, seen: str) -> None:
    lists = f"lists: {{domains: ['{spelt}'], boxes: ['*@{spelt}']}}"
    rules = rules_when(
        f"to.domain: '{spelt}'",
        f"to: 'ada@{spelt}'",
        "to.domain: {in: domains}",
        "to: {in: boxes}",
        f"to: {{ends_with: '@{spelt}'}}",
        "to: {matches: '@bücher'}",
        lists=lists,
    )
    message = mail(to=(Address("x@example.org"), Address(f"ada@{seen}"), Address("y@example.org")))
    assert rules.evaluate(message).matched == tuple("012345")


def test_case_counts_where_it_is_asked_to() -> None:
    rules = rules_when(
        "subject: {matches: 'Crash', case_sensitive: true}",
        "subject: {matches: 'Crash'}",
        "subject: {matches: 'a|Crash', case_sensitive: true}",
    )
    assert rules.evaluate(mail(subject="crash")).matched == ("1", "2")
    assert rules.evaluate(mail(subject="Crash")).matched == ("0", "1", "2")


def test_a_letter_that_changes_with_its_case_is_found() -> None:
    # Small, j and the caron are one letter; capital, they are two, and the pattern's j is the first of them.
    rules = rules_when("subject: {matches: 'jan j'}", "subject: {contains: '\u01f0'}")
    assert rules.evaluate(mail(subject="JAN J\u030c")).matched == ("0", "1")


HUGE = r"(?:\pL{1,200}x){4}"


def test_patterns_that_no_set_can_take_are_asked_one_by_one() -> None:
    rules = rules_when(
        *(f"subject: {{matches: 'a|{HUGE}{number}'}}" for number in range(2)), "subject: {matches: 'b|c'}"
    )
    assert asked(rules, mail(subject="zzz")) == ["0", "1"]
    assert rules.evaluate(mail(subject="bäxäxäxäx1")).matched == ("1", "2")


def test_sets_that_are_too_large_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_MEMORY_AT_MOST", 60_000)
    rules = rules_when(*(rf"subject: {{matches: 'a{number}\d|b{number}\d'}}" for number in range(300)))
    assert asked(rules, mail(subject="b77x b778")) == ["7", "77"]
    (search,) = rules._index._lists[id(rules.rules)]._searches
    assert len(search._sets) > 3


def test_a_set_that_runs_out_of_memory_leaves_every_rule_to_be_asked() -> None:
    class Exhausted:
        def Match(self, text: bytes) -> None:  # noqa: N802  as in re2.Set
            return None

    rules = rules_when("subject: {contains: crash}", "subject: {contains: smoke}", "text: {contains: fire}")
    asked(rules, mail())
    for search in rules._index._lists[id(rules.rules)]._searches:
        search._sets = [(Exhausted(), positions) for _, positions in search._sets]
    assert asked(rules, mail(subject="crash", text="")) == ["0", "1", "2"]


def test_few_rules_are_asked_without_an_index() -> None:
    rules = compile_rules({"a.yaml": "rules: [{name: A, when: {subject: x}, then: [x]}]"}, None)
    assert asked(rules, mail()) == ["A"]


LITERALS = [
    ("version (\\d+)", ["version "]),
    ("^\\[web1\\] (\\w+) is (down|up)$", ["[web1] ", " is "]),
    ("a.*crash report", ["crash report"]),
    ("crash?", ["cras"]),
    ("crash+es", ["crash"]),
    ("crash{0,2}ed it", ["ed it", "cras"]),
    ("crash{0,2}ed", ["cras"]),
    ("[[:alpha:]crash]smoke[]abc]fire[^]abc]", ["smoke", "fire"]),
    ("(?:nothing|no)? of (?P<x>this(is))that", [" of ", "that"]),
    ("crash|smoke", []),
    ("(crash|smoke)", []),
    ("(?i)crash", []),
    ("\\Qcrash\\E", []),
    ("\\x41crash", []),
    ("(?m)^crash", ["crash"]),
    ("\\p{Greek}crash\\PNfire", ["crash", "fire"]),
    ("cra{sh", []),
    ("fir", ["fir"]),
    ("fi", []),
]


@pytest.mark.parametrize(("pattern", "found"), LITERALS)
def test_the_texts_that_a_pattern_needs(pattern: str, found: list[str]) -> None:
    assert literals(pattern) == found


SYNTAX = [
    "a",
    "b",
    "c",
    "abc",
    "K",
    "ſ",
    "é",
    "\\.",
    "\\d",
    ".",
    "^",
    "$",
    "(",
    ")",
    "(?:",
    "(?P<x>",
    "|",
    "*",
    "+",
    "?",
]
SYNTAX += [
    "{2}",
    "{0,1}",
    "{",
    "}",
    "[",
    "]",
    "[^",
    "-",
    "\\pL",
    "\\x41",
    "(?i)",
    "(?s)",
    "\\Q",
    "\\E",
    "[[:alpha:]]",
    "\\b",
]


@settings(deadline=None, max_examples=1000)
@given(st.lists(st.sampled_from(SYNTAX), min_size=1, max_size=10).map("".join), st.text("abcKkſsé.1", max_size=12))
def test_what_a_pattern_matches_holds_the_texts_that_it_needs(pattern: str, text: str) -> None:
    try:
        regex = compile_re2(pattern)
    except ValueError:
        return
    if regex.search(text.encode()) is not None:
        assert all(compile_re2(f"\\Q{needed}\\E").search(text.encode()) for needed in literals(pattern))

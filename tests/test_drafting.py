"""Rules and tests made from mail: they load, the rule matches its mail, and the test passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app import item_makers
from postroom.config import field_sets
from postroom.drafting import Happened, case_draft, happened, rule_draft
from postroom.fields import FieldSet
from postroom.message import Address, Attachment, Message
from postroom.plan import Plan
from postroom.recognise import Recogniser
from postroom.rules import RuleSet, compile_rules
from postroom.ruletests import run_cases
from postroom.web.from_mail import draft_of_case
from tests.corpus import needs_socketlabs
from tests.mail_house import MailHouse
from tests.test_corpus import documents

# Rules that look at everything that a test has to carry.
RULES = """\
rules:
  - name: Bounces of what has an item
    when: {kind: [reply, bounce], item: {exists: true}}
    then: [update]
  - name: Lists
    when: {any: [{header: {List-Id: {exists: true}}}, {kind: list}]}
    then: [chat: {title: "{{ headers['List-Id'] }}"}]
  - name: Bounces
    when: {kind: bounce}
    then: [hold: {reason: it came back}]
    stop: true
  - name: Automatic
    when: {kind: [auto_reply, automated]}
    then: [drop: {reason: a program wrote it}]
    stop: true
  - name: With files
    when: {attachment: {name: {glob: "*.*"}}}
    then: [tracker: {title: "{{ subject }}", body: "{{ attachments | length }}"}]
  - name: By HTML
    when: {html: {contains: "<table"}}
    then: [chat]
  - name: By X-Mailer
    when: {header: {X-Mailer: {exists: true}}}
    then: [chat]
  - name: To several
    when: {all: [{to: {exists: true}}, {cc: {exists: true}}]}
    then: [chat]
  - name: Long ones
    when: {text: {matches: '(?s).{400,}'}}
    then: [chat]
  - name: Of a name
    when: {from.name: {exists: true}, reply_text: {exists: true}}
    extract:
      first: {from: from.name, matches: '^(\\w+)', default: nobody}
    then: [tracker: {title: "{{ first }}"}]
  - name: Whatever is left
    when: unmatched
    then: [tracker]
"""


@dataclass(frozen=True, slots=True)
class NoFields:
    """A destination that takes nothing of its own."""


FIELDS = {name: FieldSet("file", NoFields) for name in ("tracker", "chat")}


def loaded(text: str, rules: str = RULES) -> RuleSet:
    """The rules with one more file; raises where it does not load."""
    return compile_rules({"00-draft.yaml": text, "10.yaml": rules}, FIELDS)


def mail(**more: object) -> Message:
    fields: dict[str, object] = {
        "id": "01980000-0000-7000-8000-0000000000ab",
        "received_at": 1_795_000_000_000,
        "ingress": "socketlabs",
        "recipient": Address("bugs@example.com"),
        "return_path": Address("jo@example.org"),
        "from_": Address("jo@example.org", "Jo"),
        "subject": "Crash in 2.1",
        "text": "It crashed.\nAgain.\n",
        **more,
    }
    known, _ = Recogniser(b"a key").recognise(Message(**fields))  # type: ignore[arg-type]
    return known


# Rules


def matches(message: Message, text: str, name: str = "") -> bool:
    rule_set = loaded(text)
    names = [rule.name for rule in rule_set.rules if rule.file == "00-draft.yaml"]
    return all(each in rule_set.evaluate(message).matched for each in names) and bool(names)


def test_a_rule_says_what_is_likely_meant() -> None:
    text = rule_draft(mail(), "tracker")
    assert text == (
        "rules:\n"
        "  - name: Crash in 2.1\n"
        "    when:\n"
        "      recipient: bugs@example.com\n"
        "      from: jo@example.org\n"
        "      # The mail meets these, too. Take away the # of those that are meant:\n"
        "      #subject:\n"
        "      #  contains: Crash in 2.1\n"
        "      #from.domain: example.org\n"
        "      #kind: new\n"
        "    then:\n"
        "      - tracker\n"
        "    stop: true\n"
    )
    assert matches(mail(), text)


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"headers": (("List-Id", "The list <dev.example.org>"),)}, "List-Id:\n          contains: dev.example.org"),
        ({"return_path": Address("")}, "kind: bounce"),
        ({"headers": (("Auto-Submitted", "auto-replied"),)}, "kind: auto_reply"),
        ({"from_": None}, "subject:\n        contains: Crash in 2.1"),
        ({"recipient": Address(""), "from_": None, "subject": None}, "kind: new"),
        ({"subject": "Re: AW: Crash in 2.1"}, "#  contains: Crash in 2.1"),
        ({"subject": "yes"}, "contains: 'yes'"),
        ({"subject": "{{ 7 * 7 }} #1: *@x \"q\" 'p' \\d"}, "name: '{{ 7 * 7 }} #1: *@x \"q\" ''p'' \\d'"),
        ({"subject": "a\u202eb gnitros \x08\x1b[31m evil"}, "name: ab gnitros [31m evil"),
        ({"subject": "x" * 200_000}, "name: " + "x" * 60 + "\n"),
        ({"recipient": Address("a b\n@x")}, "from: jo@example.org"),
    ],
)
def test_conditions_that_are_proposed(more: dict[str, object], part: str) -> None:
    message = mail(**more)
    text = rule_draft(message, "tracker")
    assert part in text
    assert matches(message, text)
    assert matches(
        message, text.replace("      #", "      ").replace("       The mail meets", "      # The mail meets")
    )


def test_a_name_that_is_taken() -> None:
    text = rule_draft(mail(subject="Lists"), "", {"Lists"})
    assert "name: Lists (0000ab)" in text and "- hold:" in text
    assert matches(mail(subject="Lists"), text)


# Tests


def runs(text: str, rules: str = RULES, makers: tuple[str, ...] = ("tracker",)) -> list[tuple[str, ...]]:
    rule_set = loaded(text, rules)
    return [outcome.differences for outcome in run_cases(rule_set, Path(), FIELDS, makers)]


def test_a_test_says_what_came_and_what_happened() -> None:
    text = case_draft(mail(), [Happened("Of a name", "tracker")], rules_text=RULES)
    assert "put made-up names" in text
    assert text.endswith(
        "tests:\n"
        "  - name: Crash in 2.1 (0000ab)\n"
        "    message:\n"
        "      recipient: bugs@example.com\n"
        "      return_path: jo@example.org\n"
        "      from: '\"Jo\" <jo@example.org>'\n"
        "      subject: Crash in 2.1\n"
        "      text: |\n"
        "        It crashed.\n"
        "        Again.\n"
        "      received_at: '2026-11-18T11:06:40Z'\n"
        "    expect:\n"
        "      - rule: Of a name\n"
        "        tracker: {}\n"
    )
    assert runs(text) == [()]


@pytest.mark.parametrize(
    "more",
    [
        {"text": "\tindented\n  more \n\n", "html": "<table>x</table>"},
        {"text": "a\r\nb\x08\x1b\x00".replace("\0", ""), "subject": None},
        {"text": "\u202eevil\u2028line\u200b\ufeff end\n"},
        {"text": "- no: yes\n# not a comment\n{{ x }}\n..."},
        {"from_": Address("jo@example.org", 'Jo "the, Doe" \\ <x>')},
        {"from_": Address("jo@example.org", "Jö 東")},
        {"from_": Address('"odd local"@example.org', "")},
        {"from_": Address("no-at-all", ""), "headers": (("From", "no-at-all"),)},
        {"to": tuple(Address(f"a{n}@example.com", "x") for n in range(300)), "cc": (Address("c@example.com"),)},
        {"attachments": (Attachment("a.pdf", "application/pdf", 1000, "0" * 64), Attachment("", "", 0, "1" * 64))},
        {"recipient": Address(""), "spam_score": 3.5, "client_ip": "192.0.2.7"},
        {"headers": (("X-Mailer", "m"), ("Received", "a"), ("List-Id", "x\ty"), ("X-Other", "z"))},
        {"subject": "null", "text": "~"},
    ],
)
def test_whatever_a_mail_has(more: dict[str, object]) -> None:
    message = mail(**more)
    plan = compile_rules({"10.yaml": RULES}, None).evaluate(message)
    text = case_draft(message, happened(plan), rules_text=RULES)
    assert runs(text) == [()]
    assert not any(sign in text for sign in "\x08\x1b\u202e\u2028\u200b\ufeff")
    assert "X-Other" not in text


def test_what_a_plan_does() -> None:
    rule_set = compile_rules({"10.yaml": RULES}, None)
    assert happened(rule_set.evaluate(mail(return_path=Address("")))) == [Happened("Bounces", "hold")]
    assert happened(Plan()) == []
    bounce = rule_set.evaluate(mail(subject="Re: x"), lambda _: ("tracker",))
    assert Happened("Bounces of what has an item", "update", "tracker") in happened(
        bounce, [("Bounces of what has an item", "tracker"), ("Bounces of what has an item", "tracker")]
    )


def test_a_conversation_comes_before_it() -> None:
    first = mail(message_id="<1@example.org>")
    reply = mail(
        id="01980000-0000-7000-8000-0000000000ac", subject="Re: Crash in 2.1", received_at=first.received_at + 60_000
    )
    rule_set = compile_rules({"10.yaml": RULES}, None)
    plan = rule_set.evaluate(reply, lambda _: ("tracker",))
    expect = happened(plan, [("Bounces of what has an item", "tracker")])
    text = case_draft(reply, expect, rules_text=RULES, earlier=[first], continues=True)
    assert "earlier:" in text and "In-Reply-To: <1@example.org>" in text
    assert runs(text) == [()]


# The whole corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailHouse]:
    house = MailHouse(tmp_path_factory.mktemp("drafting"), RULES)
    client = house.app.test_client()
    for name, document in documents():
        answer = client.post("/inbound/socketlabs", json={**document, "SecretKey": "sk"})
        assert answer.status_code == 200, name
    yield house


@needs_socketlabs
def test_rules_of_all_mail_match_it(corpus: MailHouse) -> None:
    ids = [id for (id,) in corpus.db.execute("SELECT id FROM messages ORDER BY seq")]
    assert len(ids) > 250
    files, wide, names = {}, {}, set(corpus.rule_set.evaluate(corpus.message(ids[0])).matched)
    for id in ids:
        text = rule_draft(corpus.message(id), "tracker", names)
        files[f"{id}.yaml"] = text.replace("    stop: true\n", "").replace("  - name: ", f"  - name: &n {id} # ", 1)
        wide[f"{id}.yaml"] = "\n".join(
            line.replace("      #", "      ", 1) if line.startswith("      #") and "# The mail" not in line else line
            for line in files[f"{id}.yaml"].splitlines()
        )
    for each in (files, wide):
        rule_set = compile_rules(each, None)
        for id in ids:
            assert id in rule_set.evaluate(corpus.message(id)).matched, each[f"{id}.yaml"]


@needs_socketlabs
def test_tests_of_all_mail_pass(corpus: MailHouse) -> None:
    ids = [id for (id,) in corpus.db.execute("SELECT id FROM messages ORDER BY seq")]
    rules = dict(corpus.rule_set.files)
    texts = {}
    for id in ids:
        detail = corpus.history.message(id)
        assert detail is not None
        texts[id] = draft_of_case(corpus.history, detail, corpus.rule_set)
    fields = field_sets(corpus.config, corpus.kinds)
    rule_set = compile_rules({**rules, **{f"{id}.yaml": text for id, text in texts.items()}}, fields)
    assert len(rule_set.cases) == len(ids)
    outcomes = run_cases(rule_set, corpus.folder, fields, item_makers(corpus.config, corpus.kinds))
    failed = {outcome.case.file: outcome.differences for outcome in outcomes if not outcome.passed}
    assert not failed, (len(failed), next(iter(failed.items())))

"""What matches what: tables of condition, mail and answer, through rule files and the public interface."""

from __future__ import annotations

from typing import Any

import pytest

from postroom.message import Address, Message
from postroom.plan import Plan, RuleTrace
from postroom.rules import RuleSet, compile_rules


def mail(**given: Any) -> Message:
    fields: dict[str, Any] = {
        "id": "0198",
        "received_at": 1_763_000_000_000,
        "ingress": "test",
        "recipient": Address("Support+Tok@Example.com"),
        "return_path": Address("bounce@news.example.org"),
        "from_": Address("Jo.Smith@Example.org", "Jo Smith <boss@corp.example>"),
        "to": (Address("support@example.com"), Address("ada@other.example", "Ada")),
        "subject": "Crash in Version 2.1 (straße)",
        "text": "Hello,\nit is version 2.1 of foo_bar.\nC++ and Žluťoučký.",
        "headers": (("Received", "by one"), ("X-Host", "Web-1"), ("received", "by two"), ("X-Empty", "")),
    }
    return Message(**fields | given)


def rules(text: str) -> RuleSet:
    return compile_rules({"a.yaml": text}, None)


def matches(condition: str, message: Message) -> bool:
    """Asks evaluate and explain, and the negation of the condition as well."""
    both = "lists: {vip: [ada@x.example, '*@bigcustomer.example', jo.smith@example.org], words: ['crash*', '?x'],\n"
    both += "  domains: [bücher.example, '*.example.net']}\nrules:\n"
    both += f"  - {{name: A, when: {{{condition}}}, then: [x]}}\n"
    both += f"  - {{name: B, when: {{not: {{all: [{{{condition}}}]}}}}, then: [x]}}"
    plan = rules(both).evaluate(message)
    assert rules(both).explain(message).plan == plan
    assert plan.matched in (("A",), ("B",))
    return plan.matched == ("A",)


TRUE = [
    "subject: CRASH in version 2.1 (STRASSE)",
    "subject: [nothing, 'crash in version 2.1 (straße)']",
    "subject: {contains: STRASSE}",
    "subject: {contains: [nothing, crash]}",
    "subject: {starts_with: crash, ends_with: ')'}",
    "subject: {word: version}",
    "subject: {word: [nothing, straße]}",
    "subject: {word: 2.1}",
    "subject: {glob: '*version ?.?*'}",
    "subject: {glob: 'crash*'}",
    "subject: {glob: '*(straße)'}",
    "subject: {matches: 'version (\\d+)'}",
    "subject: {matches: Version, case_sensitive: true}",
    "subject: {matches: ['nothing', '^crash']}",
    "subject: {in: words}",
    "subject: {in: [vip, words]}",
    "subject: {exists: true}",
    "subject: {exists: true, contains: crash}",
    "text: {word: foo_bar}",
    "text: {contains: ŽLUŤOUČKÝ}",
    "text: {word: c++}",
    "text: {glob: 'hello*version*'}",
    "text: {matches: '(?m)^it is'}",
    "recipient: support+tok@example.com",
    "recipient.user: SUPPORT",
    "recipient.detail: tok",
    "recipient.domain: [a.example, example.com]",
    "from: jo.smith@example.org",
    "from: {in: vip}",
    "from.name: {contains: boss@corp}",
    "from.domain: {ends_with: .ORG}",
    "from.detail: {exists: false}",
    "from: {ends_with: '@example.org'}",
    "to: ada@other.example",
    "to: {starts_with: ada, ends_with: other.example}",
    "to.name: Ada",
    "cc: {exists: false}",
    "cc.domain: {exists: false}",
    "return_path: bounce@news.example.org",
    "return_path.name: {exists: false}",
    "header: {X-HOST: web-1}",
    "header: {x-host: {exists: true}, received: by two}",
    "header: {X-Empty: ''}",
    "header: {X-None: {exists: false}}",
    "any: [{subject: nothing}, {text: {contains: hello}}]",
    "all: [{subject: {contains: crash}}, {text: {contains: hello}}]",
    "not: {subject: nothing}",
    "not: {any: [{subject: nothing}, {text: nothing}]}",
    "not: {cc: anyone@example.com}",
]
FALSE = [
    "subject: Crash",
    "subject: {word: vers}",
    "subject: {word: crash in v}",
    "subject: {glob: crash}",
    "subject: {glob: '?'}",
    "subject: {matches: version, case_sensitive: true}",
    "subject: {exists: false}",
    "subject: {contains: crash, starts_with: version}",
    "text: {word: foo}",
    "from: boss@corp.example",
    "from: {contains: boss}",
    "from: {matches: Smith}, from.domain: corp.example",
    "from.domain: corp.example",
    "recipient: support@example.com",
    "recipient.user: support tok",
    "to: {starts_with: support, ends_with: other.example}",
    "cc: {contains: a}",
    "cc: {matches: ''' '''}",
    "not: {to: ada@other.example}",
    "header: {X-Host: web-1, X-None: a}",
    "header: {X-None: {glob: '*'}}",
    "all: [{subject: {contains: crash}}, {text: nothing}]",
]


@pytest.mark.parametrize("condition", TRUE)
def test_a_condition_that_holds(condition: str) -> None:
    assert matches(condition, mail())


@pytest.mark.parametrize("condition", FALSE)
def test_a_condition_that_does_not_hold(condition: str) -> None:
    assert not matches(condition, mail())


@pytest.mark.parametrize("part", ["", ".user", ".domain", ".detail", ".name"])
def test_the_null_sender_is_the_empty_text_in_every_part_and_exists(part: str) -> None:
    bounce = mail(return_path=Address())
    assert matches(f"return_path{part}: ''", bounce)
    assert matches(f"return_path{part}: {{exists: true}}", bounce)
    assert not matches(f"return_path{part}: {{contains: a}}", bounce)


ABSENT = {"subject": None, "text": None, "from_": None, "to": (), "cc": (), "headers": ()}


@pytest.mark.parametrize("field", ["subject", "text", "from", "from.domain", "from.name", "to", "to.user", "cc"])
@pytest.mark.parametrize("test", ["{glob: '*'}", "{contains: a}", "{matches: '()'}", "''", "{exists: true}"])
def test_what_is_absent_meets_no_test(field: str, test: str) -> None:
    if not (field in ("from", "to", "cc") and test == "''"):
        assert not matches(f"{field}: {test}", mail(**ABSENT))
    assert matches(f"{field}: {{exists: false}}", mail(**ABSENT))


@pytest.mark.parametrize(
    ("address", "user", "detail"),
    [
        ("user@d.example", "user", None),
        ("user+@d.example", "user", ""),
        ("a+b+c@d.example", "a", "b+c"),
        ('"x y"@d.example', "x y", None),
    ],
)
def test_the_parts_of_an_address(address: str, user: str, detail: str | None) -> None:
    message = mail(recipient=Address(address))
    assert matches(f"recipient.user: '{user}'", message)
    assert matches("recipient.detail: " + ("{exists: false}" if detail is None else f"'{detail}'"), message)


def test_a_text_without_at_has_no_parts() -> None:
    message = mail(return_path=Address("root"))
    assert matches("return_path: root", message)
    assert matches("return_path.user: {exists: false}, return_path.domain: {exists: false}", message)


@pytest.mark.parametrize("spelt", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "bücher。example"])
def test_both_spellings_of_a_domain_are_equal(spelt: str) -> None:
    message = mail(from_=Address(f"Jo@{spelt}"))
    for condition in (
        "from: jo@bücher.example",
        "from: jo@xn--bcher-kva.example",
        "from.domain: Bücher.example",
        "from.domain: xn--bcher-kva.example",
        "from.domain: {in: domains}",
        "from: {ends_with: '@bücher.example'}",
        "from: {ends_with: xn--bcher-kva.example}",
        "from: {glob: '*@bücher.example'}",
        "from: {glob: '*@BÜ*'}",
        "from.domain: {contains: ücher}",
        "from: {matches: '@bücher'}",
    ):
        assert matches(condition, message), condition


def test_the_german_sharp_s_makes_a_domain_of_its_own() -> None:
    message = mail(from_=Address("jo@straße.example"))
    assert matches("from.domain: straße.example", message)
    assert not matches("from.domain: strasse.example", message)


def test_a_domain_that_idna_refuses_still_compares() -> None:
    message = mail(from_=Address("a@Ho_st.☃\u200d.Example"))
    assert matches('from.domain: "ho_st.☃\u200d.example"', message)


def test_texts_compare_in_normal_form() -> None:
    assert matches("subject: {contains: é}", mail(subject="Cafe\u0301"))
    assert matches("subject: {matches: 'é$'}", mail(subject="Cafe\u0301"))
    assert matches("subject: {word: café}", mail(subject="au Cafe\u0301!"))


FLOW = """
rules:
  - {name: first, when: {subject: {contains: a}}, then: [x, y]}
  - name: parent
    when: {subject: {contains: b}}
    then: [x]
    rules:
      - {name: child, when: {subject: {contains: c}}, then: [z], stop: true}
      - {name: other child, when: always, then: [w]}
  - {name: nobody, when: unmatched, then: [desk]}
  - {name: stopper, when: {subject: {contains: d}}, stop: true}
  - {name: last, when: always, then: [log]}
  - {name: after all, when: unmatched, then: [never]}
"""


@pytest.mark.parametrize(
    ("subject", "matched", "destinations"),
    [
        ("a", "first, last", "x y log"),
        ("ab", "first, parent, other child, last", "x y x w log"),
        ("abc", "first, parent, child", "x y x z"),
        ("c", "nobody, last", "desk log"),
        ("d", "nobody, stopper", "desk"),
        ("ad", "first, stopper", "x y"),
    ],
)
def test_the_order_of_evaluation(subject: str, matched: str, destinations: str) -> None:
    plan = rules(FLOW).evaluate(mail(subject=subject))
    assert ", ".join(plan.matched) == matched
    assert " ".join(step.destination for step in plan.steps) == destinations


def test_unmatched_may_stand_among_other_conditions() -> None:
    text = "rules: [{name: A, when: {all: [unmatched, {subject: {contains: crash}}]}, then: [x]}]"
    assert rules(text).evaluate(mail()).matched == ("A",)
    assert rules(text).evaluate(mail(subject="Hi")).matched == ()
    first = text.replace("[{name: A", "[{name: B, when: always, then: [y]}, {name: A")
    assert rules(first).evaluate(mail()).matched == ("B",)


def test_steps_count_the_actions_of_their_rule() -> None:
    plan = rules(FLOW).evaluate(mail(subject="a"))
    assert [(step.rule, step.action) for step in plan.steps] == [("first", 0), ("first", 1), ("last", 0)]


def extracted(extract: str, message: Message) -> dict[str, Any] | None:
    plan = rules(f"rules:\n  - name: A\n    when: always\n    extract: {{{extract}}}\n    then: [x]\n").evaluate(
        message
    )
    return plan.steps[0].values if plan.steps else None


@pytest.mark.parametrize(
    ("extract", "values"),
    [
        (r"v: {from: text, matches: 'VERSION (\S+)'}", {"v": "2.1"}),
        (r"v: {from: text, matches: 'version \S+'}", {"v": "version 2.1"}),
        (r"v: {from: text, matches: ['none (x)', 'foo(_\w+)']}", {"v": "_bar"}),
        (r"v: {from: text, matches: 'hello(,\s+)it'}", {"v": ","}),
        (r"v: {from: text, matches: 'nothing'}", None),
        (r"v: {from: text, matches: 'nothing', default: unknown}", {"v": "unknown"}),
        (r"v: {from: text, matches: 'nothing', default: ''}", {"v": ""}),
        (r"v: {from: text, matches: 'VERSION', case_sensitive: true, default: none}", {"v": "none"}),
        (r"v: {from: text, matches: 'version(x)?'}", {"v": ""}),
        (r"v: {from: cc, matches: '.*', default: -}", {"v": "-"}),
        (r"v: {from: header.received, matches: 'by t(.*)'}", {"v": "wo"}),
        (r"v: {from: to.domain, matches: '^other(.*)'}", {"v": ".example"}),
        (r"v: {from: from, matches: '^(\w+)'}", {"v": "Jo"}),
        (r"a: {from: subject, matches: '(?P<what>\w+) in (?P<name>\w+)'}", {"a": {"what": "Crash", "name": "Version"}}),
        (r"a: {from: subject, matches: ['(?P<x>no)', '(?P<y>crash)']}", {"a": {"x": "", "y": "Crash"}}),
        (r"a: {from: subject, matches: '(?P<x>no)', default: none}", {"a": {"x": "none"}}),
        (r"a: {from: subject, matches: '(?P<x>no)(?P<y>no)', default: {y: z}}", {"a": {"x": "", "y": "z"}}),
        (
            r"a: {from: subject, matches: '(?P<x>c\w+)'}, b: {from: a.x, matches: 'r(.)'}",
            {"a": {"x": "Crash"}, "b": "a"},
        ),
    ],
)
def test_extracted_values(extract: str, values: dict[str, Any] | None) -> None:
    assert extracted(extract, mail()) == values


def test_children_see_the_values_of_their_parents_and_siblings_do_not_share() -> None:
    text = """
rules:
  - name: one
    when: always
    extract: {v: {from: subject, matches: '(\\w+)'}}
    rules:
      - {name: one a, when: {v: CRASH}, then: [x], extract: {w: {from: v, matches: 'c.'}}}
      - {name: one b, when: {not: {v: crash}}, then: [x]}
  - name: two
    when: always
    extract: {v: {from: text, matches: '(\\w+)'}}
    rules:
      - {name: two a, when: {v: {in: greetings}}, then: [y]}
lists: {greetings: [hello]}
"""
    plan = rules(text).evaluate(mail())
    assert plan.matched == ("one", "one a", "two", "two a")
    assert [step.values for step in plan.steps] == [{"v": "Crash", "w": "Cr"}, {"v": "Hello"}]


def trace_of(text: str, message: Message) -> dict[str, RuleTrace]:
    return {rule.rule: rule for rule in rules(text).explain(message).rules}


def test_a_trace_says_why() -> None:
    found = trace_of(FLOW, mail(subject="abc"))
    assert {name: (rule.outcome, rule.reason) for name, rule in found.items()} == {
        "first": ("matched", "subject contains a: the subject is 'abc'"),
        "parent": ("matched", "subject contains b: the subject is 'abc'"),
        "child": ("matched", "subject contains c: the subject is 'abc'"),
        "other child": ("not reached", "rule 'child' stopped the evaluation"),
        "nobody": ("not reached", "rule 'child' stopped the evaluation"),
        "stopper": ("not reached", "rule 'child' stopped the evaluation"),
        "last": ("not reached", "rule 'child' stopped the evaluation"),
        "after all": ("not reached", "rule 'child' stopped the evaluation"),
    }
    assert [(rule.depth, rule.line) for rule in found.values()][:4] == [(0, 3), (0, 4), (1, 8), (1, 9)]
    assert trace_of(FLOW, mail(subject="x"))["child"].reason == "its parent 'parent' did not match"


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("{subject: {contains: [x9, y9]}}", "subject contains x9, y9: the subject is 'Crash in Version 2.1 (straße)'"),
        ("{cc: a@b.example}", "cc is a@b.example: the mail has no cc"),
        (
            "{subject: {contains: crash}, text: {starts_with: x}}",
            "text starts with x: the text is 'Hello, it is version",
        ),
        ("{any: [{subject: x}, {text: y}]}", "none of 2 conditions holds, the first: subject is x: the subject is"),
        ("{not: {subject: {word: crash}}}", "not: subject has the word crash: the subject is 'Crash"),
        ("{header: {Received: x}}", "header Received is x: the header Received is 'by one', 'by two'"),
        ("{subject: {exists: false}}", "subject does not exist: the subject is"),
        ("{header: {X-Long: x}}", "header X-Long is x: the header X-Long is '" + "l" * 117 + "...'"),
    ],
)
def test_the_reason_names_the_first_thing_that_failed(when: str, reason: str) -> None:
    message = mail(headers=(("Received", "by one"), ("received", "by two"), ("X-Long", "l" * 5000)))
    (rule,) = trace_of(f"rules: [{{name: A, when: {when}, then: [x]}}]", message).values()
    assert rule.outcome == "not matched"
    assert rule.reason.startswith(reason)


def test_the_trace_of_a_value_that_is_not_found() -> None:
    text = "rules: [{name: A, when: always, extract: {v: {from: subject, matches: 'x9'}}, then: [x]}]"
    (rule,) = trace_of(text, mail(subject="Hi")).values()
    assert (rule.outcome, rule.reason) == ("not matched", "the value 'v' was not found in subject: the subject is 'Hi'")


def test_no_rules_match_nothing() -> None:
    assert rules("").evaluate(mail()) == Plan()

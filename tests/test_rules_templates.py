"""Templates: what they give, which slips are found at load, and that no mail can make them do harm."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Literal

import pytest

from postroom.fields import FieldSet, Json, Seconds, setting
from postroom.message import Address, Attachment, Message
from postroom.plan import Content, Step
from postroom.problems import InvalidFiles
from postroom.rules import RenderError, compile_rules


@dataclasses.dataclass(frozen=True)
class Fields:
    key: str = setting("a text", default="")
    labels: list[str] = setting("texts", default_factory=list)
    priority: Literal["low", "high"] | None = setting("a word", default=None)
    points: int | None = setting("a number", default=None)
    score: float | None = setting("a number", default=None)
    watch: bool = setting("yes or no", default=False)
    wait: Seconds | None = setting("a time", default=None)
    more: dict[str, str] = setting("texts by name", default_factory=dict)
    data: Json = setting("anything", default=None)


FIELDS = FieldSet("demo", Fields)


def mail(**given: Any) -> Message:
    fields: dict[str, Any] = {
        "id": "0198",
        "received_at": 1_763_000_000_000,
        "ingress": "test",
        "recipient": Address("support+tok@example.com"),
        "from_": Address("jo@example.org", "Jo Smith"),
        "to": (Address("support@example.com", "Support"), Address("ada@other.example")),
        "subject": "Crash",
        "text": "version 2.1\nsecond line",
        "headers": (
            ("Received", "one"),
            ("X-Host", "web1"),
            ("received", "two"),
            ("Date", "13 Nov 2025 01:56:40 +0000"),
        ),
        "attachments": (
            Attachment("a.txt", "text/plain", 10, "0" * 64),
            Attachment("b.png", "image/png", 2500, "1" * 64),
        ),
        "message_id": "<1@example.org>",
    }
    return Message(**fields | given)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''").replace("\n", "\n\n") + "'"


def action(fields: str, message: Message | None = None) -> Content:
    text = f"""rules:
  - name: Demo rule
    when: always
    extract:
      version: {{from: text, matches: 'version (\\S+)', default: none}}
      alert: {{from: text, matches: '(?P<word>\\w+) (?P<number>\\S+)', default: none}}
    then: [demo: {{{fields}}}]
"""
    rules = compile_rules({"a.yaml": text}, {"demo": FIELDS})
    message = message or mail()
    (step,) = rules.evaluate(message).steps
    return rules.render(step, message, message_url="https://post.example/m/0198", fields=FIELDS)


def rendered(template: str, message: Message | None = None, field: str = "data") -> Any:
    return action(f"{field}: {quoted(template)}", message).fields[field]


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ subject }}: {{ from.name }} <{{ from }}>", "Crash: Jo Smith <jo@example.org>"),
        (
            "{{ recipient.user }} {{ recipient.detail }} {{ recipient.domain }} {{ from.detail }}",
            "support tok example.com ",
        ),
        ("{{ version }} {{ alert.word }} {{ alert['number'] }}", "2.1 version 2.1"),
        ("{{ headers['x-HOST'] }} {{ headers['X-None'] }}{{ headers.all('Received') | join('+') }}", "web1 one+two"),
        ("{{ to }}.", "support@example.com, ada@other.example."),
        ("{% for one in to %}{{ loop.index }}{{ one.name or one }}{% endfor %}", "1Support2ada@other.example"),
        ("{{ attachments | map(attribute='name') | join(' ') }}", "a.txt b.png"),
        ("{% if subject | lower == 'crash' %}yes{% else %}no{% endif %}", "yes"),
        ("{% set word = subject ~ '!' %}{{ word | upper }}", "CRASH!"),
        ("{{ rule }} {{ message_id }} {{ message_url }}", "Demo rule <1@example.org> https://post.example/m/0198"),
        ("{{ date }} / {{ received_at.strftime('%d.%m.%Y') }}", "2025-11-13T01:56:40Z / 13.11.2025"),
        ("score {{ spam_score }}.", "score ."),
        ("{{ return_path }}|{{ html }}|{{ cc }}", "||"),
        ("{{ text.splitlines()[0].upper() }}!", "VERSION 2.1!"),
        ("{{ subject | replace('a', 'A') }}{{ subject[0] }}{{ 2 * 3 + 1 }}", "CrAshC7"),
        ("{{ 'a<b' | escape }} {{ [1, 'é'] | tojson }}", 'a&lt;b [1, "é"]'),
    ],
)
def test_what_templates_give(template: str, value: str) -> None:
    assert rendered(template) == value


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ to }}", ["support@example.com", "ada@other.example"]),
        ("{{ attachments | map(attribute='size') | list }}", [10, 2500]),
        ("{{ attachments | map(attribute='size') }}", [10, 2500]),
        ("{{ attachments | length }}", 2),
        ("{{ alert }}", {"word": "version", "number": "2.1"}),
        ("{{ subject == 'Crash' }}", True),
        ("{{ spam_score }}", None),
        (" {{ attachments | length }}", " 2"),
        ("{{ 1 }}{{ 2 }}", "12"),
        ("{{ version }}", "2.1"),
        ("{{ received_at }}", "2025-11-13T02:13:20Z"),
    ],
)
def test_a_single_expression_keeps_its_type(template: str, value: object) -> None:
    found = rendered(template)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ("labels: '{{ to }}'", {"labels": ["support@example.com", "ada@other.example"]}),
        ("labels: ['v{{ version }}', '{{ return_path }}', x]", {"labels": ["v2.1", "x"]}),
        ("labels: one", {"labels": ["one"]}),
        ("key: '{{ to }}'", {"key": "support@example.com, ada@other.example"}),
        ('priority: \'{{ "high" if version else "low" }}\'', {"priority": "high"}),
        ("priority: '{{ return_path }}'", {"priority": None}),
        ("points: '{{ attachments | length }}'", {"points": 2}),
        ("points: '0{{ 7 }}'", {"points": 7}),
        ("points: 0123", {"points": 123}),
        ("score: '{{ version }}'", {"score": 2.1}),
        ("watch: '{{ subject == \"Crash\" }}'", {"watch": True}),
        ("watch: no", {"watch": False}),
        ("wait: 5m", {"wait": 300.0}),
        ("more: {a: '{{ subject }}', b: 1}", {"more": {"a": "Crash", "b": "1"}}),
        ("data: {a: ['{{ subject }}', {b: no, c: }]}", {"data": {"a": ["Crash", {"b": "no", "c": None}]}}),
        ("key: 1.10", {"key": "1.10"}),
    ],
)
def test_values_become_what_their_field_declares(fields: str, values: dict[str, Any]) -> None:
    assert action(fields).fields == values


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("priority: '{{ subject }}'", "rule 'Demo rule', demo: priority: 'Crash' is none of low, high"),
        ("points: '{{ version }}'", "rule 'Demo rule', demo: points: '2.1' is no whole number"),
        ("more: '{{ subject }}'", "rule 'Demo rule', demo: more: 'Crash' is no mapping"),
        ("title: '{{ to[5].name }}'", "rule 'Demo rule', demo: title: list object has no element 5"),
        ("body: '{{ 1 / (attachments | length - 2) }}'", "rule 'Demo rule', demo: body: division by zero"),
        ("body: '{{ subject + 1 }}'", "rule 'Demo rule', demo: body: + is for numbers; join texts with ~"),
    ],
)
def test_what_cannot_be_rendered_says_rule_and_field(fields: str, reason: str) -> None:
    with pytest.raises(RenderError) as caught:
        action(fields)
    assert caught.value.reason.startswith(reason)


def test_what_an_action_says_when_the_rule_says_nothing() -> None:
    assert action("") == Content("Crash", "version 2.1\nsecond line", "", {}, (0, 1))
    empty = mail(subject=None, text=None, from_=None, headers=(), attachments=())
    assert action("", empty) == Content("(no subject)", "", "", {}, ())
    assert action("attachments: none").attachments == ()
    assert action("title: ' {{ subject }}'", mail(subject="a\r\n  b\n")).title == "a b"
    assert action("title: '{{ subject }}'", mail(subject="")).title == "(no subject)"
    assert rendered("{{ from }}{{ from.name }}{{ from.user }}{{ date.year }}.", empty) == "2025."


def test_a_step_of_another_rule_set_is_refused() -> None:
    rules = compile_rules({"a.yaml": "rules: [{name: A, when: always, then: [demo]}]"}, {"demo": FIELDS})
    for step in (Step("B", 0, "demo"), Step("A", 1, "demo")):
        with pytest.raises(RenderError):
            rules.render(step, mail(), message_url="", fields=FIELDS)


SLIPS = {
    "{{ subjct }}": "unknown name 'subjct'; did you mean 'subject'?",
    "{{ from.nmae }}": "an address has no 'nmae'; did you mean 'name'?",
    "{{ alert.numbr }}": "a value with parts has no 'numbr'; did you mean 'number'?",
    "{{ alert['numbr'] }}": "a value with parts has no 'numbr'; did you mean 'number'?",
    "{% for a in attachments %}{{ a.nam }}{% endfor %}": "an attachment has no 'nam'; did you mean 'name'?",
    "{{ attachments | map(attribute='nam') | list }}": "an attachment has no 'nam'; did you mean 'name'?",
    "{{ (attachments | first).typ }}": "an attachment has no 'typ'; it has name, content_type, size",
    "{% if no %}{{ subject }}{% endif %}": "unknown name 'no'",
    "{% if false %}{{ subject | uper }}{% endif %}": "unknown filter 'uper'; did you mean 'upper'?",
    "{{ to | map('uper') | list }}": "unknown filter 'uper'; did you mean 'upper'?",
    "{{ subject is defned }}": "unknown test 'is defned'; did you mean 'defined'?",
    "{{ subject.uper() }}": "a text has no 'uper'; did you mean 'upper'?",
    "{{ from.name() }}": "'name' of address is a value",
    "{{ subject.format(1) }}": "a text has no 'format'",
    "{{ subject.__class__ }}": "a text has no '__class__'",
    "{{ ''.__class__.__mro__ }}": "a text has no '__class__'",
    "{{ subject | attr('x') }}": "unknown filter 'attr'",
    "{{ 'x' | center(1000000000) }}": "unknown filter 'center'",
    "{{ range(1000000000) }}": "there is no function 'range'",
    "{{ lipsum() }}": "there is no function 'lipsum'",
    "{{ 9 ** 9 }}": "** is not available in templates",
    "{% include 'x' %}": "{% include %} is not available",
    "{% macro a() %}{% endmacro %}": "{% macro %} is not available",
    "{{ subject": "this is no template: unexpected end of template",
    "{% if subject %}": "this is no template: ",
    "{{ subject" + " | upper" * 80 + " }}": "this is no template: it is nested too deep",
    "{{ subject" + " | upper" * 20_000 + " }}": "this is no template: it is nested too deep",
    "{{ " + "(" * 5_000 + ")" * 5_000 + " }}": "this is no template: it is nested too deep",
    "{% if rule %}" * 80 + "{% endif %}" * 80: "this is no template: it is nested too deep",
    "{{ own }}": "unknown name 'own'",
}


@pytest.mark.parametrize(("template", "expected"), SLIPS.items())
def test_a_slip_in_a_template_is_found_at_load(template: str, expected: str) -> None:
    with pytest.raises(InvalidFiles) as caught:
        rendered(template)
    assert str(caught.value.problems[0]).startswith(f"rules/a.yaml:7:25: demo: data: {expected}")


BOMBS = {
    "{{ 'x' * 1000000000 }}": "* is for numbers",
    "{{ [1] * 1000000000 }}": "* is for numbers",
    "{{ '%1000000000d' % 1 }}": "% is for numbers",
    "{{ text | replace('x', text) }}": "a text gets longer than",
    "{{ text | indent(1000000000) }}": "a text gets longer than",
    "{% for a in text %}{% for b in text %}{% for c in text %}{% endfor %}{% endfor %}{% endfor %}": "loops go on for",
    "{% for a in text %}{% endfor %}": "loops go on for",
    "{{ text }}{{ text }}{{ text }}": "the text gets longer than 1,000,000 characters",
    "{{ text ~ text ~ text }}": "a text gets longer than",
    "{{ text + text + text }}": "a text gets longer than",
    "{% set a = text[:9999] %}" + "{% set a = a ~ a %}" * 40: "a text gets longer than",
    "{% set a = 9999999 %}" + "{% set a = a * a %}" * 40: "a number gets too large",
}


@pytest.mark.parametrize(("template", "expected"), BOMBS.items())
def test_a_template_that_grows_ends_soon_with_a_sentence(template: str, expected: str) -> None:
    begun = time.monotonic()
    with pytest.raises(RenderError) as caught:
        rendered(template, mail(text="x" * 400_000))
    assert expected in caught.value.reason
    assert time.monotonic() - begun < 5


def test_a_huge_text_is_cut_with_a_note() -> None:
    body = action("", mail(text="x" * 3_000_000)).body
    assert body.endswith("x\n[cut here: 2,500,000 more characters in the mail]")
    assert len(body) < 600_000


HOSTILE = [
    "{{ 7 * 7 }}",
    "{% for x in range(10) %}{{ x }}{% endfor %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "[1, 2]",
    "!!python/object/apply:os.system [id]",
    "{# comment #}",
    "*alias &anchor",
    "${HOME}",
    "'; DROP TABLE messages; --",
    "\\1 \\g<0> %s %(x)s {0}",
    "null",
    "true",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_mail_is_evaluated(text: str) -> None:
    message = mail(
        subject=text, text=f"version {text}", from_=Address(f"{text}@x.example", text), headers=(("X-Host", text),)
    )
    content = action(
        "data: ['{{ subject }}', 'a {{ subject }}', '{{ from.name }}', \"{{ headers['X-Host'] }}\"]", message
    )
    assert content.fields["data"] == [text, f"a {text}", text, text]
    assert content.title == text
    assert content.body == f"version {text}"


def test_a_year_that_no_calendar_has_is_the_time_of_receipt() -> None:
    assert rendered("{{ date.year }}", mail(headers=(("Date", "Thu, 13 Nov 99999 01:00:00 +9900"),))) == 2025


def test_variables_of_the_environment_are_no_business_of_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    assert action("key: '${SECRET}', title: '${SECRET}'").fields == {"key": "${SECRET}"}

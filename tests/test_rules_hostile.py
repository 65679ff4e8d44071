"""Hostile patterns and hostile mails: no rule takes more than linear time on any of them."""

from __future__ import annotations

import time

import pytest

from postroom.message import Address, Message
from postroom.rules import compile_rules
from postroom.rules.ruleset import RuleSet

PATTERNS = [
    r"(a+)+$", r"(a|aa)*b", r"(.*)*x", r"^(\w+\s?)*$", r"(x+x+)+y", r"(?:a?){50}a{50}", r"([a-z]+)+\d", r"(.*?,){11}P", "(a*)*c",
]  # fmt: skip
TESTS = ["matches: '{}'", "matches: ['{}', zzz]", "matches: '{}', case_sensitive: true"]
OTHERS = [
    "{contains: [aaaa, zzz]}", "{word: [aaaa, zzz]}", "{glob: '*a*a*a*a*b'}", "{glob: ['a*', '*b', '?c*']}", "{starts_with: aaa}",
    "{ends_with: zzz}", "{in: many}",
]  # fmt: skip
FIELDS = ["subject", "base_subject", "text", "html", "reply_text", "from", "from.name", "addressed.domain"]


def rules() -> RuleSet:
    tests = [f"{{{test.format(pattern)}}}" for pattern in PATTERNS for test in TESTS] + OTHERS
    lines = ["lists: {many: ['*a*b*', '*@x.example', aaa]}", "rules:"]
    for number, test in enumerate(tests):
        field = FIELDS[number % len(FIELDS)]
        lines.append(
            f"  - {{name: r{number}, when: {{any: [{{{field}: {test}}}, {{header: {{X-Y: {test}}}}}]}}, then: [x]}}"
        )
    lines.append(
        "  - {name: extracting, when: always, extract: {v: {from: text, matches: '(a+)+(b+)+$', default: ''}}, then: [x],"
        " correlate: {by: '{{ subject }}/{{ v }}', window: 1h}, limit: {per: '{{ from }}', count: 1, window: 1h}}"
    )
    return compile_rules({"a.yaml": "\n".join(lines)}, None)


RULES = rules()
HOSTILE = [
    "a" * 3_000_000, "a " * 1_000_000, "x" * 1_000_000 + "y", "," * 1_000_000, "Re: " * 500_000, "\u0301" * 500_000, "ä" * 1_000_000,
    "<" * 1_000_000, "\n" * 1_000_000, "ab" * 1_000_000, "@" * 1_000_000, "\U0001f600" * 500_000,
]  # fmt: skip


def mail(text: str, headers: tuple[tuple[str, str], ...] = ()) -> Message:
    return Message(
        id="1", received_at=0, ingress="x", recipient=Address(f"{text[:1000]}@x.example"), from_=Address("a@b", text),
        to=(Address(text),), subject=text, text=text, html=text, headers=headers,
    )  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=[repr(each[:4]) for each in HOSTILE])
def test_long_texts(text: str) -> None:
    started = time.process_time()
    RULES.evaluate(mail(text))
    short = time.process_time() - started
    # A dozen fields of up to a million characters each, searched by a hundred tests: about a tenth of a second each.
    assert short < 5, "linear, however large the constant"


def test_twice_the_text_takes_twice_the_time() -> None:
    def took(length: int) -> float:
        message = mail("aB " * length)
        best = 9.0
        for _ in range(3):
            started = time.process_time()
            RULES.evaluate(message)
            best = min(best, time.process_time() - started)
        return best

    small, large = took(20_000), took(160_000)
    assert large / small < 8 * 3, "eight times the text, not sixty-four times the time"


def test_ten_thousand_headers() -> None:
    headers = tuple((f"X-{number % 7}" if number % 3 else "X-Y", "a" * 200) for number in range(10_000))
    started = time.process_time()
    RULES.evaluate(mail("hello", headers))
    assert time.process_time() - started < 5

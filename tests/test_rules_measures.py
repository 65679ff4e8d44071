# ruff: noqa: E501 - tables read best with a case in one line
"""Conditions on what is no text: sizes, files, networks, times, items, authentication; and named conditions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.fields import FieldSet
from postroom.mail.authentication import METHODS, authentication
from postroom.message import Address, Attachment, Message
from postroom.plan import Correlation
from postroom.problems import InvalidFiles
from postroom.recognise import Recogniser
from postroom.rules import RuleSet, compile_rules
from postroom.rules.facts import ItemsOf


@dataclasses.dataclass(frozen=True)
class NoFields:
    pass


DESTINATIONS = {name: FieldSet("chat", NoFields) for name in ("chat", "tracker")}


def at(text: str, zone: str = "UTC") -> int:
    """`2026-11-24 09:30` in milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def file(name: str = "a.pdf", kind: str = "application/pdf", size: int = 1000) -> Attachment:
    return Attachment(name, kind, size, "00" * 32)


def mail(**given: Any) -> Message:
    fields: dict[str, Any] = {
        "id": "0198",
        "received_at": at("2026-11-24 09:30"),  # a Tuesday
        "ingress": "socketlabs",
        "recipient": Address("support@example.com"),
        "return_path": Address("jo@example.org"),
        "subject": "Hello",
    }
    return Message(**fields | given)


def holds(condition: str, message: Message, *, conditions: str = "{}", items: ItemsOf | None = None) -> bool:
    """Asks evaluate and explain, and the negation of the condition as well."""
    when = f"{{{condition}}}" if ":" in condition else condition
    negated = f"{{not: {{all: [{when}]}}}}"
    text = f"conditions: {conditions}\nrules:\n  - {{name: A, when: {when}, then: [chat]}}\n"
    text += f"  - {{name: B, when: {negated}, then: [chat]}}"
    rules = compile_rules({"a.yaml": text}, DESTINATIONS)
    plan = rules.evaluate(message, items)
    trace = rules.explain(message, items)
    assert trace.plan == plan
    assert plan.matched in (("A",), ("B",))
    assert all(each.reason and len(each.reason) < 1000 for each in trace.rules)
    return plan.matched == ("A",)


def problems_of(text: str) -> list[str]:
    with pytest.raises(InvalidFiles) as caught:
        compile_rules({"a.yaml": text}, DESTINATIONS)
    return [str(problem).removeprefix("rules/a.yaml:") for problem in caught.value.problems]


# Numbers

NUMBERS: list[tuple[str, dict[str, Any], bool]] = [
    ("size: {above: 1MB}", {"size": 1_000_001}, True),
    ("size: {above: 1MB}", {"size": 1_000_000}, False),
    ("size: {at_least: 1MB}", {"size": 1_000_000}, True),
    ("size: {below: 1MiB}", {"size": 1_048_575}, True),
    ("size: {below: 1MiB}", {"size": 1_048_576}, False),
    ("size: {at_most: 1.5kB}", {"size": 1500}, True),
    ("size: {above: 1kB, below: 2kB}", {"size": 1500}, True),
    ("size: {above: 1kB, below: 2kB}", {"size": 2000}, False),
    ("size: 2000", {"size": 2000}, True),
    ("size: {is: [1kB, 2kB]}", {"size": 2000}, True),
    ("size: [1kB, 2kB]", {"size": 1500}, False),
    ("size: {exists: true}", {}, True),
    ("spam_score: {above: 4.5}", {"spam_score": 4.6}, True),
    ("spam_score: {above: 4.5}", {"spam_score": 4.5}, False),
    ("spam_score: {at_least: -1}", {"spam_score": -0.5}, True),
    ("spam_score: 0", {"spam_score": 0.0}, True),
    ("spam_score: {below: 100}", {}, False),
    ("spam_score: {exists: false}", {}, True),
    ("spam_score: {exists: true}", {"spam_score": 0.0}, True),
    ("attachment_count: 0", {}, True),
    ("attachment_count: {at_least: 2}", {"attachments": (file(), file())}, True),
    ("attachment_count: {above: 2}", {"attachments": (file(), file())}, False),
]


@pytest.mark.parametrize(("condition", "given", "expected"), NUMBERS)
def test_numbers(condition: str, given: dict[str, Any], expected: bool) -> None:
    assert holds(condition, mail(**given)) is expected


def test_a_number_is_told_as_people_write_it() -> None:
    rules = compile_rules({"a.yaml": "rules: [{name: A, when: {spam_score: {above: 4.5}}, then: [chat]}]"}, None)
    assert rules.explain(mail(spam_score=3.0)).rules[0].reason == "spam_score is above 4.5: the spam_score is 3"
    assert rules.explain(mail()).rules[0].reason == "spam_score is above 4.5: the mail has no spam_score"


# Attachments

PDF, PNG, BIG = file("Invoice.PDF"), file("shot.png", "image/png", 50), file("dump.zip", "application/zip", 5_000_000)
ATTACHMENTS: list[tuple[str, tuple[Attachment, ...], bool]] = [
    ("attachment: {name: {ends_with: .pdf}}", (PNG, PDF), True),
    ("attachment: {name: invoice.pdf}", (PDF,), True),
    ("attachment: {name: [a.pdf, invoice.pdf]}", (PDF,), True),
    ("attachment: {name: {glob: 'inv*.p?f'}}", (PDF,), True),
    ("attachment: {name: {matches: '^inv.*pdf$'}}", (PDF,), True),
    ("attachment: {name: {matches: 'pdf$', case_sensitive: true}}", (PDF,), False),
    ("attachment: {name: {starts_with: inv, ends_with: .pdf}}", (PDF,), True),
    ("attachment: {name: {ends_with: .exe}}", (PDF, PNG), False),
    ("attachment: {name: {contains: ''''}}", (PDF, PNG), False),
    ("attachment: {type: image/png}", (PDF, PNG), True),
    ("attachment: {type: {starts_with: image/}}", (PDF,), False),
    ("attachment: {size: {above: 1MB}}", (PDF, BIG), True),
    ("attachment: {size: {above: 1MB}}", (PDF, PNG), False),
    ("attachment: {size: 50}", (PNG,), True),
    # One and the same attachment must meet all of them.
    ("attachment: {type: image/png, size: {above: 1MB}}", (PNG, BIG), False),
    ("attachment: {name: {ends_with: .zip}, type: application/zip, size: {above: 1MB}}", (PNG, BIG), True),
    ("attachment: {name: {exists: true}}", (), False),
    ("attachment: {exists: true}", (PDF,), True),
    ("attachment: {exists: true}", (), False),
    ("attachment: {exists: false}", (), True),
    ("attachment: {exists: false}", (PDF,), False),
]


@pytest.mark.parametrize(("condition", "files", "expected"), ATTACHMENTS)
def test_attachments(condition: str, files: tuple[Attachment, ...], expected: bool) -> None:
    assert holds(condition, mail(attachments=files)) is expected


# Networks

NETWORKS = [
    ("ip: {within: 192.0.2.0/24}", "192.0.2.7", True),
    ("ip: {within: 192.0.2.0/24}", "192.0.3.7", False),
    ("ip: {within: [198.51.100.0/24, 192.0.2.0/24]}", "192.0.2.7", True),
    ("ip: 192.0.2.7", "192.0.2.7", True),
    ("ip: {is: 192.0.2.7}", "192.0.2.8", False),
    ("ip: {within: 192.0.2.7/24}", "192.0.2.200", True),
    ("ip: {within: 192.0.2.0/24}", "::ffff:192.0.2.7", True),
    ("ip: {within: '2001:db8::/32'}", "2001:db8:1::5", True),
    ("ip: {within: '2001:db8::/32'}", "192.0.2.7", False),
    ("ip: {within: 0.0.0.0/0}", "2001:db8::1", False),
    ("ip: {within: 0.0.0.0/0}", None, False),
    ("ip: {within: 0.0.0.0/0}", "", False),
    ("ip: {within: 0.0.0.0/0}", "not an address", False),
    ("ip: {within: 0.0.0.0/0}", " 192.0.2.7 ", True),
]


@pytest.mark.parametrize(("condition", "address", "expected"), NETWORKS)
def test_networks(condition: str, address: str | None, expected: bool) -> None:
    assert holds(condition, mail(client_ip=address)) is expected


# Times

TIMES = [
    ("received: {weekday: tue}", "2026-11-24 09:30", True),
    ("received: {weekday: [mon, wed]}", "2026-11-24 09:30", False),
    ("received: {weekday: Tuesday}", "2026-11-24 09:30", True),
    ("received: {weekday: mon-fri}", "2026-11-24 09:30", True),
    ("received: {weekday: mon-fri}", "2026-11-28 09:30", False),
    ("received: {weekday: fri-mon}", "2026-11-29 09:30", True),
    ("received: {weekday: fri-mon}", "2026-11-24 09:30", False),
    ("received: {between: 09:00-17:00}", "2026-11-24 09:00", True),
    ("received: {between: 09:00-17:00}", "2026-11-24 16:59", True),
    ("received: {between: 09:00-17:00}", "2026-11-24 17:00", False),
    ("received: {between: 9:00-24:00}", "2026-11-24 23:59", True),
    ("received: {between: [09:00-12:00, 13:00-17:00]}", "2026-11-24 12:30", False),
    ("received: {between: [09:00-12:00, 13:00-17:00]}", "2026-11-24 13:00", True),
    ("received: {between: 22:00-06:00}", "2026-11-24 22:00", True),
    ("received: {between: 22:00-06:00}", "2026-11-24 03:00", True),
    ("received: {between: 22:00-06:00}", "2026-11-24 06:00", False),
    ("received: {between: 22:00-06:00}", "2026-11-24 12:00", False),
    # Of a night, the day counts on which it began.
    ("received: {weekday: mon, between: 22:00-06:00}", "2026-11-24 03:00", True),
    ("received: {weekday: tue, between: 22:00-06:00}", "2026-11-24 03:00", False),
    ("received: {weekday: tue, between: 22:00-06:00}", "2026-11-24 23:00", True),
    ("received: {date: 2026-12-31, between: 22:00-06:00}", "2027-01-01 05:59", True),
    ("received: {from: 2026-11-24}", "2026-11-24 00:00", True),
    ("received: {from: 2026-11-25}", "2026-11-24 23:59", False),
    ("received: {until: 2026-11-24}", "2026-11-24 23:59", True),
    ("received: {until: 2026-11-23}", "2026-11-24 00:00", False),
    ("received: {from: 2026-11-24, until: 2026-11-24}", "2026-11-24 12:00", True),
    ("received: {date: [2026-12-24, 2026-11-24]}", "2026-11-24 12:00", True),
    ("received: {date: 2026-12-24}", "2026-11-24 12:00", False),
    ("received: {weekday: wed, timezone: Asia/Tokyo}", "2026-11-24 15:30", True),
    ("received: {between: 00:00-01:00, timezone: Asia/Tokyo}", "2026-11-24 15:30", True),
    ("received: {date: 2026-11-23, timezone: America/New_York}", "2026-11-24 04:59", True),
    # Summer time: 09:00 in Berlin is 07:00 in July and 08:00 in January.
    ("received: {between: 09:00-09:01, timezone: Europe/Berlin}", "2026-07-01 07:00", True),
    ("received: {between: 09:00-09:01, timezone: Europe/Berlin}", "2026-01-15 08:00", True),
]


@pytest.mark.parametrize(("condition", "when", "expected"), TIMES)
def test_times(condition: str, when: str, expected: bool) -> None:
    assert holds(condition, mail(received_at=at(when))) is expected


def test_the_zone_of_the_configuration_counts_where_a_rule_names_none() -> None:
    text = "rules: [{name: A, when: {received: {between: 09:00-10:00}}, then: [chat]}]"
    message = mail(received_at=at("2026-11-24 09:30", "Europe/Berlin"))
    assert compile_rules({"a.yaml": text}, None, timezone="Europe/Berlin").evaluate(message).matched == ("A",)
    assert compile_rules({"a.yaml": text}, None).evaluate(message).matched == ()


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]))
def test_a_span_and_the_rest_of_the_day_share_each_time(moment: int, zone: str) -> None:
    message = mail(received_at=moment)
    text = f"""rules:
  - {{name: Day, when: {{received: {{between: 06:30-22:15, timezone: {zone}}}}}, then: [chat]}}
  - {{name: Night, when: {{received: {{between: 22:15-06:30, timezone: {zone}}}}}, then: [chat]}}
"""
    assert len(_compiled(text).evaluate(message).matched) == 1


_SETS: dict[str, RuleSet] = {}


def _compiled(text: str) -> RuleSet:
    if text not in _SETS:
        _SETS[text] = compile_rules({"a.yaml": text}, None)
    return _SETS[text]


# Items

ITEMS: list[tuple[str, tuple[str, ...], bool]] = [
    ("item: {exists: true}", ("tracker",), True),
    ("item: {exists: true}", (), False),
    ("item: {exists: false}", (), True),
    ("item: {exists: false}", ("chat",), False),
    ("item: tracker", ("chat", "tracker"), True),
    ("item: tracker", ("chat",), False),
    ("item: [chat, tracker]", ("chat",), True),
]


@pytest.mark.parametrize(("condition", "there", "expected"), ITEMS)
def test_items(condition: str, there: tuple[str, ...], expected: bool) -> None:
    assert holds(condition, mail(), items=lambda _: there) is expected


def test_items_are_asked_only_where_a_rule_wants_to_know_and_with_the_correlations_so_far() -> None:
    rules = compile_rules({"a.yaml": """rules:
  - name: Outer
    when: {subject: {contains: alert}}
    correlate: {by: "{{ subject }}", window: 1h}
    rules: [{name: Inner, when: {item: {exists: true}}, then: [chat]}]
"""}, DESTINATIONS)  # fmt: skip
    asked: list[list[Correlation]] = []

    def items(correlations: Sequence[Correlation]) -> tuple[str, ...]:
        asked.append(list(correlations))
        return ("chat",)

    plan = rules.evaluate(mail(subject="Alert"), items)
    assert plan.asked_items and plan.needs_store and plan.matched == ("Outer", "Inner")
    assert asked == [[Correlation("Outer", "Outer", "alert", 3600)]]
    plan = rules.evaluate(mail(subject="nothing"), items)
    assert not plan.asked_items and not plan.needs_store and len(asked) == 1
    assert rules.evaluate(mail(subject="Alert")).asked_items


# The way in, and authentication

FIELDS: list[tuple[str, dict[str, Any], bool]] = [
    ("ingress: socketlabs", {}, True),
    ("ingress: SocketLabs", {}, True),
    ("ingress: [other, socketlabs]", {}, True),
    ("ingress: other", {}, False),
    ("auth.spf: pass", {"auth": (("spf", "pass"),)}, True),
    ("auth.dmarc: [fail, none]", {"auth": (("spf", "pass"), ("dmarc", "none"))}, True),
    ("auth.dkim: pass", {"auth": (("spf", "pass"),)}, False),
    ("auth.dkim: {exists: false}", {"auth": (("spf", "pass"),)}, True),
    ("auth.dkim: {exists: true}", {"auth": (("dkim", "fail"),)}, True),
]


@pytest.mark.parametrize(("condition", "given", "expected"), FIELDS)
def test_ingress_and_authentication(condition: str, given: dict[str, Any], expected: bool) -> None:
    assert holds(condition, mail(**given)) is expected


RESULTS = [
    ("mx.example.com; spf=pass smtp.mailfrom=example.org; dkim=fail; dmarc=none", "spf=pass dkim=fail dmarc=none"),
    ("MX.Example.Com 1; SPF=Pass", "spf=pass"),
    ("mx.example.com", ""),
    ("mx.example.com; none", ""),
    ("other.example.com; spf=pass", ""),
    ("evil.example mx.example.com; spf=pass", ""),
    ("", ""),
    (";spf=pass", ""),
    ("mx.example.com; dkim = pass (2048-bit key); spf/1 = softfail", "dkim=pass spf=softfail"),
    ("mx.example.com (our (inner) host); spf=neutral (a (b) c; dmarc=pass)", "spf=neutral"),
    (r"mx.example.com; spf=fail (a \) ; dmarc=pass)", "spf=fail"),
    (r'mx.example.com; spf=fail smtp.mailfrom="a; dmarc=pass"@evil.example', "spf=fail"),
    (r'mx.example.com; spf=fail reason="a\"; dmarc=pass; \""', "spf=fail"),
    ("mx.example.com; spf=fail (never ends; dmarc=pass", "spf=fail"),
    ('mx.example.com; spf=fail "never ends; dmarc=pass', "spf=fail"),
    ("mx.example.com; spf=fail (" + "long " * 300 + "; dmarc=pass)", "spf=fail"),
    ("mx.example.com; arc=pass; iprev=pass; x-spf=pass; spfx=pass", ""),
    # Of several signatures one that passes is enough, of anything else all must pass.
    ("mx.example.com; dkim=fail header.d=a.example; dkim=pass header.d=b.example", "dkim=pass"),
    ("mx.example.com; dmarc=pass header.from=a.example; dmarc=fail header.from=b.example", "dmarc=fail"),
    # Anybody's HELO name passes.
    ("mx.example.com; spf=pass smtp.helo=evil.example; spf=fail smtp.mailfrom=bank.example", "spf=fail"),
    ("mx.example.com; spf=none smtp.helo=mail.example; spf=pass smtp.mailfrom=example.org", "spf=pass"),
    ("mx.example.com; spf=pass smtp.helo=mail.example", "spf=pass"),
]


@pytest.mark.parametrize(("value", "expected"), RESULTS)
def test_results_of_authentication(value: str, expected: str) -> None:
    found = authentication([("authentication-RESULTS", value)], frozenset({"mx.example.com"}))
    assert " ".join(f"{method}={result}" for method, result in found) == expected


def test_the_topmost_header_of_a_trusted_host_counts() -> None:
    headers = [
        ("Received", "by mx"),
        ("Authentication-Results", "evil.example; dmarc=pass"),
        ("Authentication-Results", "mx.example.com; spf=fail"),
        ("Authentication-Results", "mx.example.com; spf=pass; dkim=pass"),
    ]
    assert authentication(headers, {"mx.example.com"}) == (("spf", "fail"), ("dkim", "pass"))
    assert authentication(headers, ()) == ()
    assert authentication([("ARC-Authentication-Results", "mx.example.com; spf=pass")], {"mx.example.com"}) == ()


@given(st.text() | st.text('mx;=()"\\ spfdkimpass/1', max_size=60))
def test_any_header_has_results_or_none(value: str) -> None:
    found = authentication([("Authentication-Results", f"mx; {value}")], {"mx"})
    assert all(method in METHODS and result.isascii() for method, result in found)


def test_a_message_is_told_its_results_by_the_hosts_of_the_configuration() -> None:
    message = mail(headers=(("Authentication-Results", "mx.example.com; spf=pass"),))
    assert Recogniser(b"k" * 32, ["MX.example.com"]).recognise(message)[0].auth == (("spf", "pass"),)
    assert Recogniser(b"k" * 32).recognise(message)[0].auth == ()


# Named conditions

NAMED = """{office: {received: {weekday: mon-fri, between: 09:00-17:00}}, vip: {from.domain: vip.example}, late: {not: office},
  both: {all: [vip, {any: [late, {subject: {contains: urgent}}]}]}, every: always}"""


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("office", True),
        ("late", False),
        ("not: office", False),
        ("not: late", True),
        ("all: [office, vip]", True),
        ("any: [late, vip]", True),
        ("all: [late, vip]", False),
        ("both", True),
        ("not: both", False),
        ("not: {all: [both, late]}", True),
        ("every", True),
    ],
)
def test_named_conditions(condition: str, expected: bool) -> None:
    message = mail(from_=Address("ada@vip.example"), subject="Urgent")
    assert holds(condition, message, conditions=NAMED) is expected


def test_named_conditions_serve_every_file() -> None:
    using = "rules: [{name: A, when: office, then: [chat]}]"
    naming = "conditions: {office: {subject: hello}}"
    assert compile_rules({"a.yaml": using, "b.yaml": naming}, None).evaluate(mail()).matched == ("A",)
    with pytest.raises(InvalidFiles) as caught:
        compile_rules({"a.yaml": naming, "b.yaml": naming}, None)
    assert str(caught.value) == "rules/b.yaml:1:14: the condition 'office' stands twice (first in rules/a.yaml:1)"


def test_a_named_condition_knows_no_extracted_values() -> None:
    text = """conditions: {old: {version: 1}}
rules:
  - name: A
    when: always
    extract: {version: {from: subject, matches: '(.*)'}}
    rules: [{name: B, when: old, then: [chat]}]
"""
    (found,) = problems_of(text)
    assert found.startswith("1:20: unknown field 'version' in condition 'old'")


CIRCLES = {
    "{a: {not: a}}": ["1:23: the condition 'a' uses itself: a -> a"],
    "{a: {not: b}, b: {any: [c, {subject: x}]}, c: {all: [a]}}": [
        "1:66: the condition 'a' uses itself: a -> b -> c -> a"
    ],
}


@pytest.mark.parametrize(("conditions", "expected"), CIRCLES.items())
def test_conditions_that_use_themselves(conditions: str, expected: list[str]) -> None:
    assert problems_of(f"conditions: {conditions}") == expected
    assert problems_of(f"conditions: {conditions}\nrules: [{{name: A, when: a, then: [chat]}}]") == expected


def test_conditions_that_multiply_are_refused_at_once() -> None:
    """Each uses the one before twice: thirty lines would be a thousand million conditions."""
    lines = [f"  c{number}: {{any: [c{number - 1}, c{number - 1}]}}" for number in range(1, 31)]
    found = problems_of("conditions:\n  c0: {subject: x}\n" + "\n".join(lines))
    assert found == ["11:3: the condition 'c9' is made of too many others (at most 1000)"]


# Slips

SLIPS = {
    "{size: {above: big}}": "3:20: above of size in rule 'A': 'big' is no size; write such as 500kB, 64MB or 1GB",
    "{size: 1 Mb}": "3:12: the test of size in rule 'A': '1 Mb' is no size; write such as 500kB, 64MB or 1GB",
    "{size: {over: 1MB}}": "3:13: unknown operator 'over' in the test of size in rule 'A'",
    "{size: {abov: 1MB}}": "3:13: unknown operator 'abov' in the test of size in rule 'A'; did you mean 'above'?",
    "{size: {}}": "3:12: the test of size in rule 'A' is empty",
    "{size: {exists: true, above: 1}}": "3:12: size in rule 'A': exists stands alone",
    "{spam_score: {above: high}}": "3:26: above of spam_score in rule 'A': 'high' is no number",
    "{spam_score: {above: 5, below: []}}": "3:36: below of spam_score in rule 'A' is an empty list; name at least one value",
    "{attachment_count: many}": "3:24: the test of attachment_count in rule 'A': 'many' is no",
    "{attachment: yes}": "3:18: attachment in rule 'A' takes tests of name, type and size, such as {name: {ends_with: .pdf}}",
    "{attachment: {nam: x}}": "3:19: unknown key 'nam' in attachment in rule 'A'; did you mean 'name'?",
    "{attachment: {name: {endswith: x}}}": "3:26: unknown operator 'endswith' in the test of attachment name in rule 'A'; did you mean 'ends_with'?",
    "{attachment: {name: {matches: '(?=x)'}}}": "3:35: matches of attachment name in rule 'A': RE2 has no look-ahead",
    "{attachment: {size: {above: x}}}": "3:33: above of attachment size in rule 'A': 'x' is no size; write such as 500kB, 64MB or 1GB",
    "{attachment: {size: {exists: true}}}": "3:26: unknown operator 'exists' in the test of attachment size in rule 'A'; it takes is, above, below, at_least, at_most",
    "{attachment: {exists: true, name: x}}": "3:18: attachment in rule 'A': exists stands alone",
    "{ip: {within: 192.0.2.0/33}}": "3:19: within of ip in rule 'A': '192.0.2.0/33' is no network; write such as 192.0.2.0/24",
    "{ip: {wthin: 192.0.2.0/24}}": "3:11: unknown operator 'wthin' in the test of ip in rule 'A'; did you mean 'within'?",
    "{ip: {within: 192.0.2.0/24, is: 1.1.1.1}}": "3:10: the test of ip in rule 'A' takes within: with networks, such as 192.0.2.0/24",
    "{received: mon}": "3:16: received in rule 'A' takes a mapping, such as {weekday: [mon, tue], between: 09:00-17:00}",
    "{received: {weekday: moon}}": "3:26: weekday of received in rule 'A': 'moon' is no weekday; write such as mon, or mon-fri",
    "{received: {weekday: monkey}}": "3:26: weekday of received in rule 'A': 'monkey' is no weekday; write such as mon, or mon-fri",
    "{received: {weekday: [mon, mo]}}": "3:32: weekday of received in rule 'A': 'mo' is no weekday; write such as mon, or mon-fri",
    "{received: {between: 9-17}}": "3:26: between of received in rule 'A': '9-17' is no span of a day; write such as 09:00-17:00 or 22:00-06:00",
    "{received: {between: 09:00-09:00}}": "3:26: between of received in rule 'A': '09:00-09:00' is no span of a day",
    "{received: {between: 09:00-25:00}}": "3:26: between of received in rule 'A': '09:00-25:00' is no span of a day",
    "{received: {between: 09:60-10:00}}": "3:26: between of received in rule 'A': '09:60-10:00' is no span of a day",
    "{received: {from: 24.12.2026}}": "3:23: from of received in rule 'A': '24.12.2026' is no date; write such as 2026-12-24",
    "{received: {date: 2026-02-30}}": "3:23: date of received in rule 'A': '2026-02-30' is no date; write such as 2026-12-24",
    "{received: {from: [2026-01-01, 2026-02-01]}}": "3:23: from of received in rule 'A' takes one date",
    "{received: {from: 2026-12-24, until: 2026-12-23}}": "3:16: received in rule 'A': it ends (2026-12-23) before it begins (2026-12-24)",
    "{received: {timezone: Europe/Berlim, weekday: mon}}": "3:27: timezone of received in rule 'A': there is no time zone 'Europe/Berlim'; write such as Europe/Berlin",
    "{received: {timezone: ../../etc/passwd, weekday: mon}}": "3:27: timezone of received in rule 'A': there is no time zone '../../etc/passwd'",
    "{received: {weekdays: mon}}": "3:17: unknown key 'weekdays' in received in rule 'A'; did you mean 'weekday'?",
    "{item: {exist: true}}": "3:12: item in rule 'A' takes a destination, or {exists: true}",
    "{item: trackr}": "3:12: item in rule 'A': no destination 'trackr' in config.yaml; did you mean 'tracker'?",
    "{auth.spf: passed}": "3:16: the test of auth.spf in rule 'A': there is no result 'passed'; did you mean 'pass'?",
    "{auth.spff: pass}": "3:6: unknown field 'auth.spff' in rule 'A'; did you mean 'auth.spf'?",
    "{atachment: {exists: true}}": "3:6: unknown field 'atachment' in rule 'A'; did you mean 'attachment'?",
    "ofice": "3:5: there is no condition 'ofice' (in rule 'A'); did you mean 'office'?",
    "{not: ofice}": "3:11: there is no condition 'ofice' (in rule 'A'); did you mean 'office'?",
    "{any: [ofice, {subject: x}]}": "3:12: there is no condition 'ofice' (in rule 'A'); did you mean 'office'?",
}


@pytest.mark.parametrize(("when", "expected"), SLIPS.items())
def test_a_slip_is_found(when: str, expected: str) -> None:
    text = f"conditions: {{office: {{subject: x}}}}\nrules: [{{name: A, then: [chat], when:\n    {when}}}]"
    found = problems_of(text)
    assert len(found) == 1
    assert found[0].startswith(expected)


UNUSED = {
    "{a: {subjct: x}}": "1:18: unknown field 'subjct' in condition 'a'; did you mean 'subject'?",
    "{a: {received: {weekday: x}}}": "1:38: weekday of received in condition 'a': 'x' is no weekday",
    "{always: {subject: x}}": "1:14: no condition can be named 'always': the word has a meaning already",
    "[a]": "1:13: conditions must be a mapping of names to conditions, such as staff: {from.domain: example.com}",
    "{a: }": "1:17: condition 'a' is empty",
}


@pytest.mark.parametrize(("conditions", "expected"), UNUSED.items())
def test_a_slip_in_a_condition_that_no_rule_uses_is_found(conditions: str, expected: str) -> None:
    (found,) = problems_of(f"conditions: {conditions}")
    assert found.startswith(expected)


def test_whether_the_client_is_known() -> None:
    for wanted, ip, met in (
        ("true", "192.0.2.1", True),
        ("true", None, False),
        ("false", None, True),
        ("false", "::1", False),
    ):
        text = f"rules: [{{name: A, when: {{ip: {{exists: {wanted}}}}}, then: [x]}}]"
        message = Message(id="1", received_at=0, ingress="x", recipient=Address("a@b"), client_ip=ip)
        rules = compile_rules({"a.yaml": text}, None)
        assert bool(rules.evaluate(message).steps) is met
        assert rules.explain(message).plan == rules.evaluate(message)


def test_what_is_not_known_yet_has_no_place_in_a_reason() -> None:
    text = 'rules: [{name: A, when: always, then: [hold: {reason: "see {{ message_url }}"}]}]'
    with pytest.raises(InvalidFiles, match="hold: reason: 'message_url' is not known before the mail is stored"):
        compile_rules({"a.yaml": text}, None)

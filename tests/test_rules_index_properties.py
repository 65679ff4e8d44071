"""The index of rules decides as evaluation rule by rule does, whatever the rules and the mails."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroom.mail.kinds import Verdict
from postroom.message import Address, Message
from postroom.problems import InvalidFiles
from postroom.rules import RuleSet, compile_rules
from postroom.rules.facts import Facts
from postroom.rules.index import NO_INDEX, Index

# Few enough that conditions and mails often meet; with letters whose forms without case are others than one expects:
# the Kelvin sign, the long s, a J with a caron (one letter only when small), a soft hyphen, a mark that stands alone.
WORDS = ["crash", "Crash in web1", "web1", "web", "K", "k\u212a", "\u017fs", "J\u030c", "straße", "STRASSE", "a\u00adb"]
WORDS += ["é", "e\u0301", "\u0301", "İ", "Σς", "_", "+", "*", "a.b", "[web1]"]
DOMAINS = ["bücher.example", "xn--bcher-kva.example", "BÜCHER.example", "example.com", "sub.example.com", "faß.de"]
USERS = ["ada", "Ada+tok", "straße", "K", "bücher"]

word = st.sampled_from(WORDS)
texts = st.lists(word, max_size=3).map(" ".join) | word | st.text(max_size=4)
mailboxes = st.builds("{}@{}".format, st.sampled_from(USERS), st.sampled_from(DOMAINS))
addresses = st.builds(Address, mailboxes | st.sampled_from(["", "root"]), texts)
messages = st.builds(
    Message,
    id=st.just("1"),
    received_at=st.just(0),
    ingress=st.just("test"),
    recipient=addresses,
    return_path=addresses,
    from_=st.none() | addresses,
    to=st.lists(addresses, max_size=3).map(tuple),
    subject=st.none() | texts,
    text=st.none() | texts,
    kinds=st.sampled_from([(), (Verdict("new", ""),), (Verdict("reply", ""), Verdict("list", ""))]),
    headers=st.lists(st.tuples(st.sampled_from(["X-A", "x-a", "X-B"]), texts), max_size=3).map(tuple),
)

operands = st.lists(word | st.sampled_from(DOMAINS + USERS), min_size=1, max_size=2) | word
globs = st.sampled_from(
    ["*", "?", "w*", "*1", "*r*s?", "*@example.com", "*.example.com", "ada*@*", "bü*", "*ß*", "?\u030c"]
)
PATTERNS = [
    "crash.*web1",
    "^web",
    "WEB1$",
    "k",
    "s+",
    "j\u030c?",
    r"\[web1\]",
    "(?:a|b)(c|k)?",
    "cra[s-z]h",
    r"\bweb\d",
]
PATTERNS += [
    r"\pM",
    "()",
    "crash|web",
    "(?i)K",
    "(?m)^crash$",
    "xn--bcher",
    "bücher",
    "x{0}crash",
    "crashh?",
    "straß?e",
]
operations = st.one_of(
    st.tuples(st.sampled_from(["is", "contains", "word", "starts_with", "ends_with"]), operands),
    st.tuples(st.just("matches"), st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2)),
    st.tuples(st.just("glob"), st.lists(globs, min_size=1, max_size=2)),
    st.tuples(st.just("in"), st.sampled_from(["some", "exact", ["some", "exact"]])),
    st.tuples(st.just("exists"), st.just("true")),
)


def with_case(tests: dict[str, Any], case_sensitive: bool) -> dict[str, Any]:
    return tests | {"case_sensitive": "true"} if case_sensitive and "matches" in tests else tests


tests = st.builds(with_case, st.lists(operations, min_size=1, max_size=2).map(dict), st.booleans())
TEXTS = ["subject", "text", "from.name", "from.user", "to.user"]
ADDRESSES = ["from.domain", "to.domain", "recipient", "from", "to", "addressed", "return_path"]
leaves = st.one_of(
    st.tuples(st.sampled_from(TEXTS + ADDRESSES), tests),
    st.tuples(st.sampled_from(ADDRESSES[2:6]), mailboxes),
    st.tuples(st.sampled_from(ADDRESSES[:2]), st.sampled_from(DOMAINS)),
    st.tuples(st.sampled_from(["subject", "text"]), operands),
    st.tuples(st.just("kind"), st.sampled_from(["new", ["reply", "list"]])),
    st.tuples(st.just("header"), st.tuples(st.sampled_from(["X-A", "x-b"]), tests).map(lambda pair: dict([pair]))),
    st.tuples(st.sampled_from(TEXTS), st.just({"exists": "false"})),
).map(lambda pair: dict([pair]))


@st.composite
def conditions(draw: st.DrawFn, depth: int = 0) -> Any:
    form = draw(st.sampled_from(["leaf", "leaf", "all", "any", "not", "unmatched"] if depth < 3 else ["leaf"]))
    if form == "leaf":
        return draw(leaves)
    if form == "not":
        return {"not": {"all": [draw(conditions(depth + 1))]}}
    if form == "unmatched":
        return {draw(st.sampled_from(["all", "any"])): ["unmatched", draw(leaves)]}
    return {form: [draw(conditions(depth + 1)) for _ in range(draw(st.integers(1, 3)))]}


whens = st.integers(0, 9).flatmap(lambda n: st.sampled_from(["always", "unmatched"]) if n == 9 else conditions())


@st.composite
def rule_sets(draw: st.DrawFn) -> str:
    number = 0

    def rule(depth: int) -> dict[str, Any]:
        nonlocal number
        number += 1
        name = f"Rule {number}"
        made: dict[str, Any] = {"name": name, "when": draw(whens), "then": ["x"]}
        if depth < 2 and draw(st.integers(0, 3)) == 0:
            if draw(st.booleans()):
                made["extract"] = {f"v{number}": {"from": "subject", "matches": "(web.?)", "default": "none"}}
            made["rules"] = [rule(depth + 1) for _ in range(draw(st.integers(1, 4)))]
            if "extract" in made:
                number += 1
                child = {"name": f"Rule {number}", "when": {f"v{made['name'][5:]}": "web1"}, "then": ["x"]}
                made["rules"].append(child)
            if draw(st.booleans()):
                del made["then"]
        if made["when"] != "always" and draw(st.integers(0, 3)) == 0:
            made["stop"] = "true"
        return made

    rules = [rule(0) for _ in range(draw(st.integers(1, 8)))]
    lists = {
        "some": ["crash*", "*@bücher.example", "K", "example.com"],
        "exact": ["Crash in web1", "ada@xn--bcher-kva.example", "faß.de", *(f"user{n}@example.com" for n in range(20))],
    }
    return json.dumps({"lists": lists, "rules": rules}, ensure_ascii=False)


def everything_indexed(rules: RuleSet) -> RuleSet:
    return replace(rules, _index=Index(rules.rules, fewest=0))


def rule_by_rule(rules: RuleSet) -> RuleSet:
    return replace(rules, _index=NO_INDEX)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(rule_sets(), st.lists(messages, min_size=1, max_size=6))
def test_the_index_decides_as_rule_by_rule(text: str, mails: list[Message]) -> None:
    try:
        rules = compile_rules({"a.yaml": text}, None)
    except InvalidFiles:
        return  # Few: what is drawn can be a slip, such as a domain in place of an address.
    indexed, plain = everything_indexed(rules), rule_by_rule(rules)
    for message in mails:
        assert indexed.evaluate(message) == plain.evaluate(message)


def mail(**given: Any) -> Message:
    fields: dict[str, Any] = {"id": "1", "received_at": 0, "ingress": "test", "recipient": Address("ada@example.com")}
    return Message(**fields | given)


class Drawn:
    """Conditions and mails of very few words, evenly drawn, so that most tests meet something in some mail."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.words = self.rng.sample(WORDS, 3)
        self.boxes = [f"{self.rng.choice(USERS)}@{self.rng.choice(DOMAINS)}" for _ in range(2)]

    def text(self) -> str:
        return " ".join(self.rng.choices(self.words, k=self.rng.randint(1, 3)))

    def mail(self) -> Message:
        rng = self.rng
        box = [Address(rng.choice(self.boxes), self.text()) for _ in range(3)]
        given = {"subject": self.text(), "text": self.text(), "headers": (("X-A", self.text()), ("x-a", self.text()))}
        return mail(recipient=box[0], from_=box[1], to=tuple(rng.sample(box, rng.randint(0, 3))), **given)

    def test(self, address: bool) -> Any:
        rng = self.rng
        operator = rng.choice(["is", "contains", "word", "starts_with", "ends_with", "glob", "in", "matches"])
        if operator == "in":
            return {"in": rng.choice(["some", "exact"])}
        if operator == "matches":
            source = rng.choice(PATTERNS) if rng.random() < 0.4 else re2.escape(rng.choice(self.words)) + rng.choice(
                ["", "?", "{0,2}", "*.", ".*" + re2.escape(rng.choice(self.words))]
            )  # fmt: skip
            return with_case({"matches": [source, "nothing"][: rng.randint(1, 2)]}, rng.random() < 0.5)
        whole = rng.choice(self.boxes) if address else self.text()
        at = rng.randrange(len(whole))
        piece = whole[at : at + rng.randint(1, 4)].strip() or whole
        operand = (
            whole if operator == "is" else rng.choice([whole, whole[: at + 1].strip() or whole, whole[at:], piece])
        )
        if operator == "glob":
            operand = rng.choice([f"*{piece}*", f"{whole[:at]}*", f"*{whole[at:]}", f"{whole[:at]}?{whole[at + 1 :]}"])
        return {operator: [operand, "nothing@nothing.example"][: rng.randint(1, 2)]}

    def condition(self, depth: int = 0) -> Any:
        form = self.rng.choice(["leaf", "leaf", "leaf", "all", "any", "not"] if depth < 2 else ["leaf"])
        if form == "not":
            return {"not": {"all": [self.condition(depth + 1)]}}
        if form != "leaf":
            return {form: [self.condition(depth + 1) for _ in range(self.rng.randint(1, 3))]}
        field = self.rng.choice([*TEXTS[:3], "header", *ADDRESSES])
        test = self.test(field in ADDRESSES)
        return {"header": {"X-A": test}} if field == "header" else {field: test}


@settings(deadline=None, max_examples=800)
@given(st.integers(0, 2**32))
def test_the_index_misses_no_rule_that_holds(seed: int) -> None:
    drawn = Drawn(seed)
    lists = {"some": [f"{drawn.words[0]}*", f"*{drawn.boxes[0][2:]}"], "exact": [drawn.text(), *drawn.boxes]}
    whens = [drawn.condition() for _ in range(12)]
    rules = []
    for number, when in enumerate(whens):
        text = {"lists": lists, "rules": [{"name": str(number), "when": when, "then": ["x"]}]}
        try:
            rules += compile_rules({"a.yaml": json.dumps(text, ensure_ascii=False)}, None).rules
        except InvalidFiles:
            continue  # A slip that the loader finds, such as a domain that is tested for an address.
    made = tuple(rules)
    found = Index(made, fewest=0)
    for message in (drawn.mail() for _ in range(6)):
        facts = Facts(message)
        candidates = {rule.name for rule in found.candidates(made, facts)}
        missed = [
            whens[int(rule.name)]
            for rule in made
            if rule.condition.holds(Facts(message)) and rule.name not in candidates
        ]
        assert not missed, (message, missed)

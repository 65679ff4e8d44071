"""From the YAML of `when` to compiled conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field

from postroom.mail.kinds import Kind
from postroom.mail.subjects import base_subject
from postroom.problems import did_you_mean, listed
from postroom.rules import conditions, operators
from postroom.rules.conditions import Condition
from postroom.rules.facts import ADDRESS_FIELDS, FIELDS, kind_of
from postroom.rules.measure_reader import read_attachment, read_ip, read_item, read_number, read_received
from postroom.rules.measures import NUMBERS
from postroom.rules.operators import OPERATORS, WORDS, Operator
from postroom.rules.patterns import PatternError, Regex, compile_re2
from postroom.rules.reading import EMPTY, Reading
from postroom.rules.template_names import MEANT
from postroom.yamlfile import Mapping, Node, Scalar, Sequence


@dataclass(frozen=True, slots=True)
class Extracted:
    """The extracted values that a rule and its children may use."""

    fields: MappingType[str, str] = field(default_factory=dict)
    """Name as rules write it (`version`, `alert.state`) to the key in Facts."""
    own: frozenset[str] = frozenset()
    """Names that the rule at hand extracts itself: not yet known in its own `when`."""


@dataclass(frozen=True, slots=True)
class ConditionReader:
    reading: Reading
    where: str
    """For problems: `rule 'Crash reports'`."""
    extracted: Extracted

    def when(self, node: Node) -> Condition | None:
        """A whole `when`. None, and reported, where it is not valid; so it is for all methods here."""
        if isinstance(node, Scalar):
            if node.value == "always":
                return conditions.always()
            return self._word(node, "always, unmatched")
        if isinstance(node, Sequence):
            self.reading.report(node, f"when in {self.where} is a list; write all: [..] or any: [..] above it")
            return None
        return self._mapping(node)

    def _word(self, node: Scalar, words: str) -> Condition | None:
        if node.value == "unmatched":
            return conditions.unmatched()
        if node.value in self.reading.conditions:
            return self.named(node)
        if node.is_null or not node.value:
            of_rule = not self.where.startswith("condition ")
            mend = "; for every mail write when: always" if of_rule else ""
            self.reading.report(node, f"{'when in ' if of_rule else ''}{self.where} {EMPTY}{mend}")
            return None
        if hint := did_you_mean(node.value, (*self.reading.conditions, *words.split(", "))):
            self.reading.report(node, f"there is no condition '{node.value}' (in {self.where}){hint}")
            return None
        message = f"'{node.value}' is no condition in {self.where}; write a mapping such as {{subject: Hello}}"
        self.reading.report(node, f"{message}, {words}, or the name of one in conditions:")
        return None

    def named(self, name: Scalar) -> Condition | None:
        """The condition of a name that is known."""
        reading = self.reading
        if name.value in reading.reading_conditions:
            chain = reading.reading_conditions[reading.reading_conditions.index(name.value) :]
            circle = " -> ".join([*chain, name.value])
            reading.report(name, f"the condition '{name.value}' uses itself: {circle}")
            return None
        if name.value not in reading.known_conditions:
            # Without the extracted values of the rule: a name means the same everywhere.
            reader = ConditionReader(reading, f"condition '{name.value}'", Extracted())
            outer, reading.named_parts = reading.named_parts, 1
            reading.reading_conditions.append(name.value)
            found: Condition | None = reader.when(reading.conditions[name.value])
            reading.reading_conditions.pop()
            parts, reading.named_parts = reading.named_parts, outer
            if found is not None and parts > _MOST_PARTS:
                # Each of a chain that uses the one before it twice doubles them: a mail would be looked at for ever.
                place = reading.condition_places[name.value]
                what = f"the condition '{name.value}'"
                reading.report(place, f"{what} is made of too many others (at most {_MOST_PARTS})")
                found = None
            reading.known_conditions[name.value] = found, parts
        known: Condition | None
        known, parts = reading.known_conditions[name.value]
        reading.named_parts += parts
        return known

    def _mapping(self, node: Mapping) -> Condition | None:
        if not node.entries:
            self.reading.report(node, f"a condition in {self.where} is empty; for every mail write when: always")
            return None
        found = [self._entry(key, value) for key, value in node.entries]
        good = [condition for condition in found if condition is not None]
        return conditions.all_of(good) if len(good) == len(found) else None

    def _entry(self, key: Scalar, node: Node) -> Condition | None:
        name = key.value
        if name == "all" or name == "any":
            return self._several(name, node)
        if name == "not":
            if isinstance(node, Scalar) and node.value in self.reading.conditions:
                inner = self.named(node)
                return None if inner is None else conditions.negated(inner)
            if isinstance(node, Scalar) and (hint := did_you_mean(node.value, self.reading.conditions)):
                self.reading.report(node, f"there is no condition '{node.value}' (in {self.where}){hint}")
                return None
            if not isinstance(node, Mapping) or len(node.entries) != 1:
                message = "not: takes one condition of one entry, such as not: {subject: Hello}"
                message += "" if isinstance(node, (Mapping, Sequence)) else ", or the name of one in conditions:"
                several = isinstance(node, (Mapping, Sequence))
                more = "; for several write not: {any: [..]} or not: {all: [..]}" if several else ""
                self.reading.report(node, f"{message} (in {self.where}){more}")
                return None
            inner = self._mapping(node)
            return None if inner is None else conditions.negated(inner)
        if name == "header":
            return self._headers(node)
        if name in NUMBERS:
            return read_number(self.reading, name, node, self.where)
        if name in _OTHERS:
            return _OTHERS[name](self.reading, node, self.where)
        if name == "attachment":
            return read_attachment(self.reading, node, self.where, self.text_operators)
        if name in self.extracted.fields:
            return self._field(self.extracted.fields[name], name, "text", node)
        if name in FIELDS:
            return self._field(name, name, kind_of(name), node)
        self._unknown_field(key)
        return None

    def _several(self, name: str, node: Node) -> Condition | None:
        if not isinstance(node, Sequence) or not node.items:
            example = f"{name}: [{{subject: Hello}}, {{from.domain: example.com}}]"
            self.reading.report(node, f"{name}: in {self.where} takes a list of conditions, such as {example}")
            return None
        found = [self._item(item) for item in node.items]
        good = [condition for condition in found if condition is not None]
        if len(good) != len(found):
            return None
        return conditions.all_of(good) if name == "all" else conditions.any_of(good)

    def _item(self, node: Node) -> Condition | None:
        if isinstance(node, Scalar):
            return self._word(node, "unmatched")
        if isinstance(node, Sequence):
            self.reading.report(
                node, f"a list where a condition is needed in {self.where}; write all: [..] or any: [..]"
            )
            return None
        return self._mapping(node)

    def _headers(self, node: Node) -> Condition | None:
        if not isinstance(node, Mapping) or not node.entries:
            self.reading.report(
                node, f"header: in {self.where} takes names with tests, such as header: {{X-Priority: 1}}"
            )
            return None
        found: list[Condition] = []
        for key, value in node.entries:
            if not is_header_name(key.value):
                self.reading.report(key, f"'{key.value}' is no name of a header (in {self.where})")
                continue
            condition = self._field(f"header.{key.value.lower()}", f"header {key.value}", "text", value)
            if condition is not None:
                found.append(condition)
        return conditions.all_of(found) if len(found) == len(node.entries) else None

    def text_operators(self, label: str, node: Node) -> list[Operator] | None:
        """The operators of a text that is no field of its own: the name of an attachment. Only `of_value` counts."""
        return self._operators(label, label, "text", node)

    def _field(self, field_: str, label: str, kind: str, node: Node) -> Condition | None:
        found = self._operators(field_, label, kind, node)
        return None if found is None else conditions.field_test(field_, label, found)

    def _operators(self, field_: str, label: str, kind: str, node: Node) -> list[Operator] | None:
        if not isinstance(node, Mapping):
            operator = self._operator("is", field_, label, kind, node, False)
            return None if operator is None else [operator]
        if not node.entries:
            self.reading.report(node, f"the test of {label} in {self.where} is empty")
            return None
        case_sensitive = self._case_sensitive(node, label)
        given: list[Operator | None] = []
        for key, value in node.entries:
            if key.value == "case_sensitive":
                continue
            if key.value not in OPERATORS:
                self._unknown_operator(key, label, kind)
                given.append(None)
                continue
            given.append(self._operator(key.value, field_, label, kind, value, case_sensitive))
        good = [operator for operator in given if operator is not None]
        if len(good) < len(given) or not good:
            return None
        if len(good) > 1 and any(operator.words == "does not exist" for operator in good):
            reason = "what does not exist meets no other test; exists: false must stand alone"
            self.reading.report(node, f"{label} in {self.where}: {reason}")
            return None
        others = [operator for operator in good if operator.words != "exists"]
        return others or good

    def _case_sensitive(self, node: Mapping, label: str) -> bool:
        for key, value in node.entries:
            if key.value == "case_sensitive":
                if node.get("matches") is None:
                    reason = f"stands beside matches only; other tests of {label} never look at case"
                    self.reading.report(key, f"case_sensitive in {self.where} {reason}")
                return bool(self.reading.flag(value, "case_sensitive"))
        return False

    def _operator(
        self, name: str, field_: str, label: str, kind: str, node: Node, case_sensitive: bool
    ) -> Operator | None:
        what = f"the test of {label} in {self.where}" if name == "is" else f"{name} of {label} in {self.where}"
        if name == "exists":
            wanted = self.reading.flag(node, what)
            return None if wanted is None else operators.exists(field_, wanted)
        scalars = self.reading.texts(node, what, empty=name == "is")
        if scalars is None:
            return None
        texts = [scalar.value for scalar in scalars]
        if name == "matches":
            compiled = [self._pattern(scalar, what, case_sensitive) for scalar in scalars]
            good = [regex for regex in compiled if regex is not None]
            return operators.matches(field_, texts, good) if len(good) == len(compiled) else None
        if name == "in":
            tests = [self.reading.list_test(scalar, kind, what) for scalar in scalars]
            known = [test for test in tests if test is not None]
            return operators.in_lists(field_, texts, known) if len(known) == len(tests) else None
        if name == "is":
            possible = [self._can_be(scalar, label, kind, what) for scalar in scalars]
            if not all(possible):
                return None
            return operators.equal(field_, kind, texts)
        possible = [self._can_have(scalar, label, kind, what) for scalar in scalars]
        if not all(possible):
            return None
        if name == "contains":
            return operators.contains(field_, kind, texts)
        if name == "word":
            return operators.word(field_, kind, texts)
        if name == "starts_with":
            return operators.starts_with(field_, kind, texts)
        if name == "ends_with":
            return operators.ends_with(field_, kind, texts)
        try:
            return operators.glob(field_, kind, texts)
        except PatternError as error:
            self.reading.report(node, f"{what}: {error}")
            return None

    def _pattern(self, scalar: Scalar, what: str, case_sensitive: bool) -> Regex | None:
        try:
            return compile_re2(scalar.value, case_sensitive=case_sensitive)
        except PatternError as error:
            self.reading.report(scalar, f"{what}: {error}")
            return None

    def _can_be(self, scalar: Scalar, label: str, kind: str, what: str) -> bool:
        """Finds operands which no address part can equal: slips that would never match and never show."""
        text = scalar.value
        if label == "kind" and text.lower() not in list(Kind):
            hint = did_you_mean(text, list(Kind)) or f"; there are {listed(list(Kind))}"
            self.reading.report(scalar, f"{what}: there is no kind of mail '{text}'{hint}")
            return False
        if label.startswith("auth.") and text.lower() not in _AUTH_RESULTS:
            hint = did_you_mean(text, _AUTH_RESULTS) or f"; there are {listed(_AUTH_RESULTS)}"
            self.reading.report(scalar, f"{what}: there is no result '{text}'{hint}")
            return False
        ways_in = self.reading.ingresses
        if label == "ingress" and ways_in and text.lower() not in [name.lower() for name in ways_in]:
            hint = did_you_mean(text, ways_in) or f"; there are {listed(ways_in)}"
            self.reading.report(scalar, f"{what}: config.yaml has no ingress '{text}'{hint}")
            return False
        if label == "base_subject" and base_subject(text) != text.strip():
            self.reading.report(
                scalar, f"{what}: base_subject has no Re: and the like; write {base_subject(text) or '...'}"
            )
            return False
        if label == "attachment type" and "/" not in text:
            mend = f"a type has two parts, such as application/pdf; or write {{ends_with: /{text}}}"
            self.reading.report(scalar, f"{what}: {mend}")
            return False
        if (kind != "text" or label.startswith("attachment ")) and "*" in text:
            mend = f'for * and ? write {{glob: "{text}"}}'
            self.reading.report(scalar, f"{what}: a plain value is compared as it stands; {mend}")
            return False
        if kind == "address" and "@" not in text and "." in text:
            self.reading.report(scalar, f"{what}: '{text}' is no address; for a domain write {label}.domain: {text}")
            return False
        if kind == "address" and (found := _SEVERAL.match(text)):
            mend = "several stand in a list: [a@example.com, b@example.com]"
            if not found[1]:
                mend = f"write {text.strip(' >').rpartition('<')[2].rpartition(':')[2]}" if text != "<>" else "write ''"
            if not found[1] and "<" not in text and "@" not in text:
                mend = f"for the display name write {label}.name: {text}"
            self.reading.report(scalar, f"{what}: '{text}' is no bare address; {mend}")
            return False
        if kind == "domain" and "/" in text:
            self.reading.report(
                scalar, f"{what}: '{text}' is no domain; write {text.split('//')[-1].partition('/')[0]}"
            )
            return False
        return self._can_have(scalar, label, kind, what)

    def _can_have(self, scalar: Scalar, label: str, kind: str, what: str) -> bool:
        """Finds operands, of any operator that compares letters, which no address part can have in it."""
        text = scalar.value
        if kind == "domain" and "@" in text:
            domain = text.rpartition("@")[2] or "example.com"
            self.reading.report(scalar, f"{what}: a domain has no @; write {domain}")
            return False
        part = label.rpartition(".")[2] if label in FIELDS else ""
        if part == "user" and ("@" in text or "+" in text):
            user = text.partition("@")[0].partition("+")[0]
            mend = f"write {user}" if user else "what stands behind + is detail"
            self.reading.report(scalar, f"{what}: user is what stands before + and @; {mend}")
            return False
        if part == "detail" and (text.startswith("+") or "@" in text):
            detail = text.removeprefix("+").partition("@")[0]
            self.reading.report(scalar, f"{what}: detail is what stands between + and @; write {detail or '...'}")
            return False
        return True

    def _unknown_operator(self, key: Scalar, label: str, kind: str) -> None:
        if kind == "address" and key.value in ("domain", "user", "detail", "name"):
            self.reading.report(
                key, f"'{key.value}' is a part, not an operator, in {self.where}; write {label}.{key.value}: ..."
            )
            return
        self.reading.unknown(key, "operator", OPERATORS, f"the test of {label} in {self.where}")

    def _unknown_field(self, key: Scalar) -> None:
        name = key.value
        if name.partition(".")[0] in self.extracted.own:
            message = (
                f"'{name}' in {self.where} is extracted after the rule's own when; test it in a rule below it (rules:)"
            )
            self.reading.report(key, message)
            return
        groups = [known for known in self.extracted.fields if known.startswith(f"{name}.")]
        if groups:
            self.reading.report(key, f"'{name}' in {self.where} has parts; write one of {', '.join(groups)}")
            return
        if name.startswith("header."):
            self.reading.report(key, f"write header: {{{name[7:]}: ...}} in {self.where}")
            return
        if name in ("always", "unmatched"):
            mend = "when: always" if name == "always" else "when: unmatched, or all: [unmatched, ..]"
            self.reading.report(key, f"'{name}' stands alone, without a value, in {self.where}; write {mend}")
            return
        if name in WORDS or name == "exists":
            self.reading.report(
                key, f"'{name}' is an operator and needs a field in {self.where}, such as subject: {{{name}: ...}}"
            )
            return
        if name in self.reading.conditions:
            mend = f"when: {name}, not: {name}, or all: [{name}, ..]"
            self.reading.report(
                key, f"the condition '{name}' stands alone, without a value, in {self.where}; write {mend}"
            )
            return
        if name in MEANT:
            self.reading.report(key, f"unknown field '{name}' in {self.where}; did you mean '{MEANT[name]}'?")
            return
        known = (*FIELDS, *OTHER_FIELDS, "all", "any", "not", *self.extracted.fields, *self.reading.conditions)
        texts = (name for name in FIELDS if name not in ADDRESS_FIELDS and name.partition(".")[0] not in ADDRESS_FIELDS)
        self.reading.unknown_field(key, known, self.where, (*ADDRESS_FIELDS, *texts, *OTHER_FIELDS))


_OTHERS = {"ip": read_ip, "item": read_item, "received": read_received}
OTHER_FIELDS = ("header", *NUMBERS, "attachment", *_OTHERS)
"""Fields of conditions that are no texts, or none by themselves."""
_MOST_PARTS = 1000
_SEVERAL = re.compile(r"[^\"]*?(?:([,;])|[<>\s]|^mailto:)")
"""What a bare address does not have; what stands in quotes is left alone."""
_AUTH_RESULTS = ("pass", "fail", "none", "neutral", "softfail", "policy", "temperror", "permerror", "bestguesspass")
"""RFC 8601, 2.7; the last is what some hosts write for DMARC."""


def is_header_name(name: str) -> bool:
    """RFC 5322, 3.6.8: printable ASCII without the colon."""
    return bool(name) and all("!" <= char <= "~" and char != ":" for char in name)

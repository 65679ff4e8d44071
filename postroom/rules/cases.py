"""The `tests` of rule files: a mail, what came before it, and everything that is expected to happen."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from postroom.problems import Place, did_you_mean
from postroom.rules.actions import BUILTINS
from postroom.rules.reading import Reading
from postroom.yamlfile import Mapping, Node, Scalar, Sequence

MAIL_KEYS = (
    "recipient", "from", "to", "cc", "reply_to", "return_path", "subject", "text", "html", "header", "attachments",
    "message_id", "received_at", "ip", "spam_score", "ingress",
)  # fmt: skip
CASE_KEYS = ("name", "message", "earlier", "expect")
_FILE_KEYS = ("name", "type", "size")


@dataclass(frozen=True, slots=True)
class MailSpec:
    """A mail as a test writes it: fields, or a file relative to the rule file."""

    place: Place
    sample: str = ""
    fields: MappingType[str, Any] = field(default_factory=dict)
    """Texts and lists of texts as written; `header` a mapping; `attachments` a list of mappings."""
    received_at: int | None = None
    """Milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One thing that is to happen."""

    place: Place
    rule: str
    action: str = ""
    """A destination or a built-in action; empty: any actions of that rule."""
    fields: MappingType[str, Any] = field(default_factory=dict)
    """Those that are compared; texts, lists and mappings of text."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test."""

    name: str
    file: str
    """Path of the rule file below the rules folder: samples are relative to it."""
    place: Place
    message: MailSpec
    earlier: tuple[MailSpec, ...]
    expect: tuple[Expected, ...]


def read_cases(node: Node, file: str, reading: Reading) -> list[Case]:
    """The valid ones; what is wrong is reported. Called once the rules are read: their names are known."""
    if not isinstance(node, Sequence):
        reading.report(node, f"tests of {file}: a list of tests is needed, each beginning with - name:")
        return []
    found = [_case(item, file, reading) for item in node.items]
    return [case for case in found if case is not None]


def _case(node: Node, file: str, reading: Reading) -> Case | None:
    if not isinstance(node, Mapping):
        reading.report(node, f"tests of {file}: a test is a mapping that begins with - name:")
        return None
    before = len(reading.problems)
    given = node.get("name")
    name = None if given is None else reading.text(given, "the name of a test")
    if given is None:
        reading.report(node, "a test needs a name")
    where = f"test '{name.value}'" if name is not None else f"the test in line {node.place.line}"
    if name is not None and (first := reading.case_places.setdefault(name.value, name.place)) is not name.place:
        reading.report(name, f"the name '{name.value}' is taken (by the test in {first.path}:{first.line})")
    for key, _ in node.entries:
        if key.value not in CASE_KEYS:
            reading.unknown(key, "key", CASE_KEYS, where)
    message = expect = None
    if (mail := node.get("message")) is None:
        reading.report(node, f"{where}: 'message' is missing: a mapping of fields, or the path of a sample")
    else:
        message = _mail(mail, f"message of {where}", reading)
    if (expected := node.get("expect")) is None:
        reading.report(node, f"{where}: 'expect' is missing; where nothing is to happen, write expect: []")
    else:
        expect = _expect(expected, where, reading)
    earlier: list[MailSpec | None] = []
    if (before_it := node.get("earlier")) is not None:
        items = before_it.items if isinstance(before_it, Sequence) else (before_it,)
        earlier = [_mail(item, f"earlier of {where}", reading) for item in items]
    if len(reading.problems) > before or message is None or expect is None or name is None:
        return None
    return Case(name.value, file, node.place, message, tuple(each for each in earlier if each), tuple(expect))


def _mail(node: Node, what: str, reading: Reading) -> MailSpec | None:
    if isinstance(node, Scalar):
        path = reading.text(node, what)
        return None if path is None else MailSpec(node.place, sample=path.value)
    if not isinstance(node, Mapping):
        reading.report(node, f"{what} is a mapping of fields, or the path of a sample")
        return None
    before = len(reading.problems)
    fields: dict[str, Any] = {}
    received_at = None
    for key, value in node.entries:
        label = f"{key.value} in {what}"
        if key.value not in MAIL_KEYS:
            reading.unknown(key, "field", MAIL_KEYS, what)
        elif key.value == "header":
            if isinstance(value, Mapping):
                texts = {name.value: reading.texts(item, label, empty=True) for name, item in value.entries}
                fields["header"] = {name: [text.value for text in found or ()] for name, found in texts.items()}
            else:
                reading.report(value, f"{label} is a mapping of names to texts")
        elif key.value == "attachments":
            fields["attachments"] = _files(value, label, reading)
        elif key.value in ("to", "cc", "reply_to"):
            found = reading.texts(value, label)
            fields[key.value] = [text.value for text in found or ()]
        elif (text := reading.text(value, label, empty=True)) is not None:
            if key.value == "received_at":
                received_at = _time(text, label, reading)
            elif key.value == "spam_score" and not _is_number(text.value):
                reading.report(text, f"{label}: '{text.value}' is no number")
            else:
                fields[key.value] = text.value
    return MailSpec(node.place, "", fields, received_at) if len(reading.problems) == before else None


def _files(node: Node, what: str, reading: Reading) -> list[dict[str, str]]:
    items = node.items if isinstance(node, Sequence) else (node,)
    found: list[dict[str, str]] = []
    for item in items:
        if isinstance(item, Scalar):
            text = reading.text(item, what)
            found.append({"name": "" if text is None else text.value})
            continue
        if not isinstance(item, Mapping):
            reading.report(item, f"{what} is a list of names, or of mappings such as {{name: a.pdf, size: 20kB}}")
            continue
        parts: dict[str, str] = {}
        for key, value in item.entries:
            if key.value not in _FILE_KEYS:
                reading.unknown(key, "key", _FILE_KEYS, what)
            elif (text := reading.text(value, what, empty=True)) is not None:
                parts[key.value] = text.value
        found.append(parts)
    return found


def _time(text: Scalar, what: str, reading: Reading) -> int | None:
    try:
        found = datetime.fromisoformat(text.value)
    except ValueError:
        reading.report(text, f"{what}: '{text.value}' is no time; write such as 2026-11-22T10:00:00Z")
        return None
    zoned = found if found.tzinfo is not None else found.replace(tzinfo=reading.zone)
    return int(zoned.astimezone(UTC).timestamp() * 1000)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _expect(node: Node, where: str, reading: Reading) -> list[Expected] | None:
    if not isinstance(node, Sequence):
        reading.report(node, f"expect of {where} is a list, such as [{{rule: Crash reports, jira: {{}}}}]")
        return None
    found = [_expected(item, where, reading) for item in node.items]
    good = [each for each in found if each is not None]
    return good if len(good) == len(found) else None


def _expected(node: Node, where: str, reading: Reading) -> Expected | None:
    what = f"expect of {where}"
    if not isinstance(node, Mapping):
        reading.report(node, f"{what}: each entry is a mapping such as {{rule: Crash reports, jira: {{}}}}")
        return None
    given = node.get("rule")
    rule = None if given is None else reading.text(given, f"rule in {what}")
    if given is None:
        reading.report(node, f"{what}: 'rule' is missing: which rule is it to be?")
    elif rule is not None and rule.value not in reading.rule_places:
        reading.report(rule, f"{what}: there is no rule '{rule.value}'{did_you_mean(rule.value, reading.rule_places)}")
        return None
    others = [(key, value) for key, value in node.entries if key.value != "rule"]
    if len(others) > 1:
        reading.report(node, f"{what}: one entry names one action; write an entry for each")
        return None
    if rule is None:
        return None
    if not others:
        return Expected(node.place, rule.value)
    ((key, value),) = others
    known = None if reading.destinations is None else (*reading.destinations, *BUILTINS)
    if known is not None and key.value not in known:
        hint = did_you_mean(key.value, known)
        reading.report(key, f"{what}: '{key.value}' is no destination and no built-in action{hint}")
        return None
    if isinstance(value, Scalar) and value.is_null:
        value = Mapping((), value.place)
    if not isinstance(value, Mapping):
        reading.report(value, f"{what}: {key.value} takes the fields to compare, or {{}} for any")
        return None
    return Expected(node.place, rule.value, key.value, {name.value: _plain(item) for name, item in value.entries})


def _plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return None if node.is_null else node.value
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    return {key.value: _plain(value) for key, value in node.entries}

"""From one mail to a rule, or to a test of the rules: YAML to go on from.

Both are read back by the loader as they are. What a mail says stands in them as values only, of conditions and of
tests: never in a template.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import yaml

from postroom.mail.addresses import parse_addresses
from postroom.mail.folding import fold
from postroom.mail.kinds import Kind
from postroom.mail.subjects import base_subject
from postroom.message import Address, Message
from postroom.plan import Plan

MOST_EARLIER = 6
"""Mails before it that a test tells at most."""

_WIDTH = 110
_LONGEST_CONDITION = 60
_LONGEST_SUBJECT = 20_000
_LONGEST_TEXT = 60_000
_LONGEST_HEADER = 4_000
_MOST_ADDRESSES = 200
_MOST_FILES = 200
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# What turns the direction of a text, or cannot be seen: it is written as an escape, so that people see what is there.
_UNSEEN = re.compile("[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\u00ad]")
_BREAKS = re.compile(r"\s{2,}|[\t\r\n]")
_LIST_ID = re.compile(r"<([^<>\s]{3,})>\s*$")
_SPECIAL_KINDS = (Kind.BOUNCE, Kind.AUTO_REPLY, Kind.LIST, Kind.AUTOMATED)
_TOLD_BY = frozenset(
    (
        "auto-submitted", "precedence", "content-type", "x-failed-recipients", "list-id", "list-post",
        "list-unsubscribe", "list-subscribe", "list-help", "list-owner", "list-archive", "x-autoreply",
        "x-autorespond", "x-autoresponse", "x-autoreply-from", "x-auto-reply-from", "x-mail-autoreply",
    )
)  # fmt: skip
"""Headers that say what kind of mail it is."""
_OWN_FIELDS = {"from": "from", "to": "to", "cc": "cc", "reply-to": "reply_to"}
_REFERRING = ("in-reply-to", "references")
_MOST_RECEIVED = 25


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that the mail led to, as a test expects it."""

    rule: str
    what: str
    """A destination, `update`, `hold` or `drop`."""
    destination: str = ""
    """Of an `update`: where the item is."""


def happened(plan: Plan, updated: Iterable[tuple[str, str]] = ()) -> list[Happened]:
    """What a plan does with a mail that comes for the first time.

    `updated` are the rules and destinations of the deliveries that an `update`
    led to: how many there are, only the store knows.
    """
    if plan.holds:
        return [Happened(each.rule, "hold") for each in plan.holds]
    if plan.drops:
        return [Happened(each.rule, "drop") for each in plan.drops]
    places = list(dict.fromkeys(updated))
    found: list[Happened] = []
    for step in plan.steps:
        if not step.update:
            found.append(Happened(step.rule, step.destination))
            continue
        found += [
            Happened(step.rule, "update", destination)
            for rule, destination in places
            if rule == step.rule and step.destination in ("", destination)
        ]
    return found


def rule_draft(message: Message, destination: str, taken: Collection[str] = ()) -> str:
    """A rule file with one rule that matches this mail, and sends it to a destination (empty: holds it).

    The conditions that are likely to be meant stand in it; others that the mail meets too stand behind `#`. `taken` are
    the names of the rules that there are.
    """
    likely, others = _conditions(message)
    action: Any = destination or {"hold": {"reason": "a person looks at it first"}}
    rule = {
        "name": _free_name(message, taken),
        "when": likely or "always",
        "then": [action],
        "stop": True,
    }
    lines = _dump({"rules": [rule]}).splitlines()
    if others:
        at = next(number for number, line in enumerate(lines) if line.startswith("    then:"))
        extra = ["      # The mail meets these, too. Take away the # of those that are meant:"]
        for name, value in others.items():
            extra += [f"      #{line}" for line in _dump({name: value}).splitlines()]
        lines[at:at] = extra if likely else []
    return "\n".join(lines) + "\n"


def case_draft(
    message: Message,
    expect: Sequence[Happened],
    *,
    rules_text: str,
    earlier: Sequence[Message] = (),
    continues: bool = False,
    exact_breaks: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """A rule file with one test: this mail, the mails of its conversation before it, and everything that happened.

    `rules_text` is the text of all rule files: headers, HTML and the like stand in the test where a rule speaks of
    them. `continues`: the mail was found to continue the conversation of the earlier ones. `exact_breaks`: lines end as
    they do in the mail, which is hard to read: for rules that see a difference. `notes` are put above.
    """
    told = rules_text.lower()
    before = list(earlier)[-MOST_EARLIER:]
    spec = _mail(message, told)
    if exact_breaks and message.text:
        spec["text"] = _CONTROLS.sub("", message.text[:_LONGEST_TEXT])
    if before or message.references:
        spec["message_id"] = _clean(message.message_id or "<this@postroom.invalid>")
    if continues and before:
        _tie(spec, message, before)
    case: dict[str, Any] = {"name": f"{_words(message) or 'a mail'} ({message.id[-6:]})"}
    if before:
        case["earlier"] = [
            {**_mail(each, told), "message_id": _key(each, number)} for number, each in enumerate(before, 1)
        ]
    case |= {"message": spec, "expect": [_expected(each) for each in expect]}
    hints = [
        "This test holds a real mail. Before you keep it, put made-up names, addresses and texts in place of those:",
        "rules see the same as long as the parts that they look at stay as they are.",
        *notes,
    ]
    return "".join(f"# {_line(hint)}\n" for hint in hints) + _dump({"tests": [case]})


def _conditions(message: Message) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those that are likely to be meant, and others that hold as well."""
    likely: dict[str, Any] = {}
    others: dict[str, Any] = {}
    if recipient := _value(message.recipient.address):
        likely["recipient"] = recipient
    kinds = [verdict.kind for verdict in message.kinds]
    special = [kind for kind in kinds if kind in _SPECIAL_KINDS]
    list_id = _list_id(message)
    sender = _value(message.from_.address) if message.from_ else None
    if list_id:
        likely["header"] = {"List-Id": {"contains": list_id}}
    elif special and special != [Kind.LIST]:
        likely["kind"] = special[0]
    elif sender:
        likely["from"] = sender
    subject = _subject(message)
    if subject and not list_id and (special or not sender):
        likely["subject"] = {"contains": subject}
    elif subject:
        others["subject"] = {"contains": subject}
    if sender and "from" not in likely:
        others["from"] = sender
    if message.from_ and (domain := _value(message.from_.domain or "")):
        others["from.domain"] = domain
    if kinds and "kind" not in likely:
        others["kind"] = kinds[0]
    if message.attachments:
        others["attachment_count"] = {"at_least": "1"}
    if not likely and others:
        name, value = next(iter(others.items()))
        likely[name] = others.pop(name) if name in others else value
    return likely, others


def _list_id(message: Message) -> str | None:
    found = _LIST_ID.search((message.header("List-Id") or "")[:_LONGEST_HEADER])
    return _value(found[1]) if found else None


def _subject(message: Message) -> str | None:
    """Words of the subject that stand in it just so: its longest part without breaks, cut between two words."""
    subject = base_subject(message.subject or "")[:_LONGEST_SUBJECT]
    parts = _BREAKS.split(_CONTROLS.sub("\n", _UNSEEN.sub("\n", subject)))
    longest = max((part.strip() for part in parts), key=len, default="")
    if len(longest) > _LONGEST_CONDITION:
        longest = longest[:_LONGEST_CONDITION].rpartition(" ")[0]
    # A text that folds to nothing, or to something else at its ends, would not be found again.
    return longest if len(longest) > 1 and fold(longest) in fold(message.subject or "") else None


def _value(text: str) -> str | None:
    """A value that a condition compares; None where YAML or a person could not read it."""
    bad = not text.strip() or _CONTROLS.search(text) or _BREAKS.search(text) or len(text) > 300
    return None if bad else text


def _words(message: Message) -> str:
    return _line(base_subject(message.subject or ""))[:_LONGEST_CONDITION].strip()


def _free_name(message: Message, taken: Collection[str]) -> str:
    name = _words(message) or "Mail"
    if name not in taken:
        return name
    return f"{name} ({message.id[-6:]})"


def _mail(message: Message, told: str) -> dict[str, Any]:
    """A mail as a test writes it. `told`: the text of the rules, in small letters."""
    spec: dict[str, Any] = {}
    headers: dict[str, list[str]] = {}
    if message.recipient.address.strip():
        spec["recipient"] = _clean(message.recipient.address)
    spec["return_path"] = _clean(message.return_path.address)
    named: dict[str, tuple[Address, ...]] = {
        "from": (message.from_,) if message.from_ else (),
        "to": message.to,
        "cc": message.cc,
        "reply-to": message.reply_to,
    }
    for header, boxes in named.items():
        written = [_box(box) for box in boxes[:_MOST_ADDRESSES]]
        if not boxes:
            continue
        if None in written:
            headers[header.title()] = [_clean(value)[:_LONGEST_HEADER] for value in message.header_all(header)[:1]]
        else:
            spec[_OWN_FIELDS[header]] = written[0] if len(written) == 1 else written
    if message.subject is not None:
        spec["subject"] = _clean(message.subject[:_LONGEST_SUBJECT])
    if message.text is not None:
        spec["text"] = _clean(message.text[:_LONGEST_TEXT])
    if message.html and ("html" in told or "markdown" in told or not message.text):
        spec["html"] = _clean(message.html[:_LONGEST_TEXT])
    for name, value in message.headers:
        if _speaks(message, name.lower(), told) and (value.strip() or name.lower() not in _REFERRING):
            headers.setdefault(_clean(name), []).append(_clean(value)[:_LONGEST_HEADER])
    if headers:
        spec["header"] = {name: values[0] if len(values) == 1 else values for name, values in headers.items() if values}
    if message.attachments:
        spec["attachments"] = [
            {
                "name": _line(each.name),
                "type": _line(each.content_type) or "application/octet-stream",
                "size": str(each.size),
            }
            for each in message.attachments[:_MOST_FILES]
        ]
    moment = datetime.fromtimestamp(message.received_at / 1000, UTC)
    spec["received_at"] = f"{moment:%Y-%m-%dT%H:%M:%S}Z"
    if message.client_ip:
        spec["ip"] = _clean(message.client_ip)
    if message.spam_score is not None:
        spec["spam_score"] = str(message.spam_score)
    if "ingress" in told:
        spec["ingress"] = message.ingress
    return spec


def _speaks(message: Message, name: str, told: str) -> bool:
    """Whether a header says of what kind the mail is, or a rule speaks of it."""
    if name in _OWN_FIELDS or name in ("subject", "message-id", *_REFERRING):
        return name in _REFERRING
    if name == "received":
        return len(message.header_all("received")) > _MOST_RECEIVED or '"received"' in told
    if name == "authentication-results":
        return "auth." in told
    return name in _TOLD_BY or bool(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", told))


def _box(box: Address) -> str | None:
    """A mailbox as a header has it; None where it could not be read again."""
    name, address = _clean(box.name), _clean(box.address)
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    for text in (f'"{quoted}" <{address}>' if name else address, f"<{address}>"):
        found = parse_addresses(text)
        if len(found) == 1 and found[0] == (name, address):
            return text
    found = parse_addresses(address)
    return address if len(found) == 1 and found[0][1] == address else None


def _key(message: Message, number: int) -> str:
    return _clean(message.message_id or f"<earlier-{number}@postroom.invalid>")


def _tie(spec: dict[str, Any], message: Message, before: Sequence[Message]) -> None:
    """Ties the mail to those before it where its own headers do not: our own marks cannot be made again."""
    keys = [_key(each, number) for number, each in enumerate(before, 1)]
    if not set(message.references) & set(keys):
        spec.setdefault("header", {})["In-Reply-To"] = keys[-1]


def _expected(each: Happened) -> dict[str, Any]:
    fields = {"destination": each.destination} if each.what == "update" else {}
    return {"rule": each.rule, each.what: fields}


def plain_breaks(message: Message) -> Message:
    """The mail with the line ends that a test gives its text."""
    return message if message.text is None else msgspec.structs.replace(message, text=_clean(message.text))


def _clean(text: str) -> str:
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _line(text: str) -> str:
    return " ".join(
        _UNSEEN.sub("", _CONTROLS.sub("", text.replace("\n", " ").replace("\r", " ").replace("\t", " "))).split()
    )


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stand as they are read, where YAML lets them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None
    if _UNSEEN.search(text) or "\x85" in text:
        style = '"'
    elif "\n" in text:
        # A line that begins or ends with blanks would not be seen, or not be YAML.
        readable = not re.search(r"\t|\r|[ ]$|^[ ]|\A\s", text, re.MULTILINE) and text.strip()
        style = "|" if readable else '"'
    elif "\t" in text or "\r" in text:
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def _dump(data: Any) -> str:
    text = yaml.dump(data, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=_WIDTH)
    # The emitter leaves them as they are: in double quotes, where alone they stand, an escape means the same.
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

"""Runs the `tests` of rule files: each mail goes through recognition, rules and a store as a real one does.

The store is one in memory, undone after each test. Nothing is sent.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from postroom.fields import FieldSet, parse_size
from postroom.identity import identify
from postroom.ids import now_ms
from postroom.ingress.files import mails_of
from postroom.mail.addresses import parse_addresses
from postroom.message import Address, Attachment, Message
from postroom.normalise import normalise
from postroom.plan import Content, Step
from postroom.problems import Problem
from postroom.recognise import Recogniser, Ties
from postroom.rules import RenderError, RuleSet
from postroom.rules.cases import Case, Expected, MailSpec
from postroom.store import schema
from postroom.store.brake import Brake
from postroom.store.conversations import addressee_key, sender_key
from postroom.store.messages import Inserter, NewMessage
from postroom.store.states import DeliveryState, MessageState

_KEY = b"of no installation"
_APART_MS = 60_000
"""Between the mails of one test, where they name no times."""
_SOMEBODY = "somebody@example.org"
_MESSAGE_URL = "https://postroom.example/messages/test"


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that a mail led to."""

    rule: str
    action: str
    """A destination, or a built-in action."""
    fields: Mapping[str, Any]
    """What would be sent; of `hold` and `drop` the reason."""
    fault: str = ""
    """Why it could not be rendered."""

    def __str__(self) -> str:
        told = f"rule {self.rule!r}: {self.action}"
        return f"{told}: {self.fault}" if self.fault else told


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test went."""

    case: Case
    differences: tuple[str, ...]
    """One line each, `- ` before what was expected and `+ ` before what happened; none where the test passed."""

    @property
    def passed(self) -> bool:
        return not self.differences

    def problem(self) -> Problem:
        """The failed test as a problem of its rule file."""
        return Problem(self.case.place, f"test '{self.case.name}' fails: {'; '.join(self.differences)}")


def run_cases(
    rule_set: RuleSet,
    folder: Path,
    destinations: Mapping[str, FieldSet],
    makers: Collection[str],
    trusted_authserv_ids: Collection[str] = (),
    cases: Sequence[Case] | None = None,
) -> list[Outcome]:
    """Runs tests of a rule set, all of them unless `cases` names some.

    `folder` is that of the rules: samples are relative to their rule file. `makers`: the destinations that make items.
    """
    runner = _Runner(rule_set, folder, destinations, makers, trusted_authserv_ids)
    try:
        return [runner.run(case) for case in (rule_set.cases if cases is None else cases)]
    finally:
        runner.close()


class _Runner:
    def __init__(
        self,
        rule_set: RuleSet,
        folder: Path,
        destinations: Mapping[str, FieldSet],
        makers: Collection[str],
        trusted_authserv_ids: Collection[str],
    ) -> None:
        self._rules = rule_set
        self._folder = folder
        self._destinations = destinations
        self._recogniser = Recogniser(_KEY, trusted_authserv_ids)
        self._inserter = Inserter(Brake(), makers)
        self._db = schema.in_memory()

    def close(self) -> None:
        self._db.close()

    def run(self, case: Case) -> Outcome:
        self._db.execute("BEGIN")
        try:
            return self._run(case)
        except (ValueError, OSError) as error:
            return Outcome(case, (f"+ {error}",))
        finally:
            self._db.execute("ROLLBACK")

    def _run(self, case: Case) -> Outcome:
        at = case.message.received_at or now_ms()
        for number, spec in enumerate(case.earlier, 1):
            before = at - _APART_MS * (len(case.earlier) + 1 - number)
            for message, ties in self._messages(case, spec, number, spec.received_at or before):
                self._store(message, ties)
        messages = self._messages(case, case.message, 0, at)
        happened = [each for message, ties in messages for each in self._happened(self._store(message, ties), message)]
        return Outcome(case, tuple(_differences(case.expect, happened)))

    def _messages(self, case: Case, spec: MailSpec, number: int, received_at: int) -> list[tuple[Message, Ties]]:
        if spec.sample:
            path = self._folder / Path(case.file).parent / spec.sample
            # Rules are edited on the dashboard, too: nobody is to read other files of this machine by them.
            if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(self._folder)):
                raise ValueError(f"the sample {spec.sample} does not lie below the rules folder")
            if not path.is_file():
                raise ValueError(f"the sample {spec.sample} is not there (looked for {path})")
            try:
                found = list(mails_of(path, ingress="test"))
            except ValueError as error:
                raise ValueError(f"the sample {spec.sample} cannot be read: {error}") from None
        else:
            found = [(_message(spec.fields, f"<test-{number}@postroom.invalid>"), ())]
        return [
            self._recogniser.recognise(replace(message, received_at=spec.received_at or received_at), contents)
            for message, contents in found
        ]

    def _store(self, message: Message, ties: Ties) -> int:
        """The message's number in the store; of the earlier one where it is the same mail again."""
        plan = self._rules.evaluate(message)
        new = NewMessage(
            message=message,
            identity=identify(message),
            block=b"",
            contents=(),
            plan=plan,
            rule_set=1,
            ties=ties,
            sender=sender_key(message),
            addressee=addressee_key(message),
            replan=partial(self._rules.evaluate, message) if plan.asked_items else None,
        )
        (stored,) = self._inserter.insert_all(self._db, [new])
        seq: int = self._db.execute("SELECT seq FROM messages WHERE id = ?", (stored.id,)).fetchone()[0]
        return seq

    def _happened(self, seq: int, message: Message) -> list[Happened]:
        row = self._db.execute("SELECT * FROM messages WHERE seq = ?", (seq,)).fetchone()
        if row["state"] in (MessageState.HELD, MessageState.DROPPED):
            return self._verdicts(row, message)
        rows = self._db.execute("SELECT * FROM deliveries WHERE message = ? ORDER BY seq", (seq,)).fetchall()
        return [self._sent(each, row, message) for each in rows if each["state"] == DeliveryState.PENDING]

    def _verdicts(self, row: sqlite3.Row, message: Message) -> list[Happened]:
        items = tuple((row["saw_items"] or "").splitlines())
        plan = self._rules.evaluate(message, lambda _: items)
        word = "hold" if row["state"] == MessageState.HELD else "drop"
        verdicts = plan.holds if word == "hold" else plan.drops
        found = [Happened(each.rule, word, {"reason": each.reason}) for each in verdicts]
        # A limit that holds or drops stands for its rule.
        limits = [limit.rule for limit in plan.limits if limit.over == word and f"rule '{limit.rule}'" in row["reason"]]
        return [*found, *(Happened(rule, word, {"reason": row["reason"]}) for rule in limits)]

    def _sent(self, delivery: sqlite3.Row, row: sqlite3.Row, message: Message) -> Happened:
        rule = self._rules.rule(delivery["rule"])
        action = rule.actions[delivery["action"]]
        fields = self._destinations.get(delivery["destination"])
        if fields is None:
            return Happened(rule.name, action.label, {}, f"no destination '{delivery['destination']}'")
        values = _values(self._rules, message, delivery, row)
        step = Step(rule.name, delivery["action"], delivery["destination"], values, bool(action.builtin))
        try:
            content = self._rules.render(
                step,
                message,
                message_url=_MESSAGE_URL,
                reply_address=message.recipient.address,
                continues=row["found_by"] is not None,
                fields=fields,
            )
        except RenderError as error:
            return Happened(rule.name, action.label, {}, error.reason)
        shown = _shown(content, message)
        return Happened(rule.name, action.label, {**shown, "destination": delivery["destination"]})


def _values(rules: RuleSet, message: Message, delivery: sqlite3.Row, row: sqlite3.Row) -> dict[str, Any]:
    items = tuple((row["saw_items"] or "").splitlines())
    for step in rules.evaluate(message, lambda _: items).steps:
        if (step.rule, step.action) == (delivery["rule"], delivery["action"]):
            return step.values
    return {}


def _shown(content: Content, message: Message) -> dict[str, Any]:
    return {
        "title": content.title,
        "body": content.body,
        "footer": content.footer,
        "state": content.state or None,
        "attachments": [message.attachments[position].name for position in content.attachments],
        **content.fields,
    }


def _differences(expect: Sequence[Expected], happened: Sequence[Happened]) -> list[str]:
    left = list(happened)
    found: list[str] = []
    for wanted in expect:
        if not wanted.action:
            # Any actions of the rule, but one at least.
            of_rule = [each for each in left if each.rule == wanted.rule]
            left = [each for each in left if each.rule != wanted.rule]
            found += [f"+ {each}" for each in of_rule if each.fault]
            if not of_rule:
                found.append(f"- rule {wanted.rule!r}: anything")
            continue
        alike = [each for each in left if (each.rule, each.action) == (wanted.rule, wanted.action)]
        if not alike:
            found.append(f"- rule {wanted.rule!r}: {wanted.action}")
            continue
        best = min(alike, key=lambda each: len(_unlike(wanted, each)))
        left.remove(best)
        found += _unlike(wanted, best)
    found += [f"+ {each}" for each in left]
    return found


def _unlike(wanted: Expected, happened: Happened) -> list[str]:
    if happened.fault:
        return [f"+ {happened}"]
    lines: list[str] = []
    for name, value in wanted.fields.items():
        seen = happened.fields.get(name)
        if not _same(value, seen):
            lines.append(f"- rule {wanted.rule!r}: {wanted.action}: {name}: {_told(value)}")
            lines.append(f"+ rule {wanted.rule!r}: {wanted.action}: {name}: {_told(seen)}")
    return lines


def _same(wanted: Any, seen: Any) -> bool:
    """Tests are written as texts: a number or a flag equals the text that stands for it."""
    if isinstance(wanted, list):
        items = seen if isinstance(seen, (list, tuple)) else [seen]
        return len(wanted) == len(items) and all(map(_same, wanted, items))
    if isinstance(wanted, dict):
        return isinstance(seen, dict) and all(_same(value, seen.get(key)) for key, value in wanted.items())
    if isinstance(seen, (list, tuple)):
        return len(seen) == 1 and _same(wanted, seen[0])
    if wanted is None or seen is None:
        return (wanted or None) is (seen or None) or wanted == seen
    if isinstance(seen, bool):
        return str(wanted).strip().lower() in (("true", "yes", "on") if seen else ("false", "no", "off"))
    return str(wanted).strip() == str(seen).strip()


def _told(value: Any) -> str:
    text = " ".join(str(value).split())
    return repr(text if len(text) <= 200 else f"{text[:200]}...") if isinstance(value, str) else text[:200]


def _message(given: Mapping[str, Any], message_id: str) -> Message:
    # A mail from nobody would be a bounce: where a test names no sender, it means somebody.
    fields = given if "from" in given or "return_path" in given else {**given, "from": _SOMEBODY}
    headers = [(name, value) for name, values in fields.get("header", {}).items() for value in values]
    named = {name.lower() for name, _ in headers}
    for name in ("from", "to", "cc", "reply_to", "subject"):
        if name in fields and (header := name.replace("_", "-")) not in named:
            value = fields[name]
            headers.append((header.title(), ", ".join(value) if isinstance(value, list) else value))
    attachments = tuple(_attachment(position, each) for position, each in enumerate(fields.get("attachments", ())))
    recipient = fields.get("recipient") or _first(fields.get("to")) or ""
    sender = _first(fields.get("from")) or ""
    return normalise(
        ingress=fields.get("ingress", "test"),
        recipient=_bare(recipient),
        return_path=_bare(fields.get("return_path", sender)),
        headers=tuple(headers),
        from_=_addresses(fields.get("from")),
        to=_addresses(fields.get("to")),
        cc=_addresses(fields.get("cc")),
        reply_to=_addresses(fields.get("reply_to")),
        subject=fields.get("subject"),
        text=fields.get("text"),
        html=fields.get("html"),
        attachments=attachments,
        notices=(),
        message_id=fields.get("message_id", message_id),
        client_ip=fields.get("ip"),
        spam_score=float(fields["spam_score"]) if "spam_score" in fields else None,
    )


def _attachment(position: int, parts: Mapping[str, str]) -> Attachment:
    name = parts.get("name", "")
    size = int(parse_size(parts.get("size", "1000")))
    digest = hashlib.sha256(f"{position} {name}".encode("utf-8", "replace")).hexdigest()
    return Attachment(name, parts.get("type") or _type_of(name), size, digest)


def _type_of(name: str) -> str:
    ending = name.rpartition(".")[2].lower()
    known = {"pdf": "application/pdf", "png": "image/png", "jpg": "image/jpeg", "txt": "text/plain", "csv": "text/csv"}
    return known.get(ending, "application/octet-stream")


def _addresses(value: str | list[str] | None) -> tuple[Address, ...]:
    texts = [value] if isinstance(value, str) else value or []
    return tuple(Address(address, name) for text in texts for name, address in parse_addresses(text))


def _first(value: str | list[str] | None) -> str:
    found = _addresses(value)
    return found[0].address if found else ""


def _bare(text: str) -> str:
    found = parse_addresses(text)
    return found[0][1] if found else text.strip()

"""`postroom explain`: why each rule did or did not match a mail, and what would be sent for it. It only reads.

A mail in a file is taken as if it came in now; a stored one as it came then, under today's rules.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from postroom import backtest, listing
from postroom.answer import Answering
from postroom.config import Config
from postroom.fields import FieldSet
from postroom.ids import now_ms
from postroom.ingress.files import mails_of
from postroom.mail.tokens import tagged
from postroom.message import Message
from postroom.plan import Content, Correlation, Plan, Trace
from postroom.problems import InvalidFiles
from postroom.recognise import Recogniser
from postroom.rulebook import RuleBook
from postroom.rules import RenderError, RuleSet
from postroom.store import conversations, keys, past, verdicts
from postroom.store.database import FILE_NAME, connect
from postroom.store.records import MessageDetail

ItemsOf = Callable[[Sequence[Correlation]], tuple[str, ...]]
_MOST_LINES = 60
_WIDEST = 500


class SentFile(msgspec.Struct, frozen=True):
    """An attachment that goes along."""

    name: str
    content_type: str
    size: int


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What one destination would get for one step of the plan."""

    rule: str
    action: int
    destination: str
    """Empty for an `update` of a conversation that has no item."""
    comments: bool
    """It comments on an item that is there."""
    values: dict[str, Any]
    """What the rule extracted."""
    content: Content | None
    """None where there is nothing to send: `fault` says why."""
    attachments: tuple[SentFile, ...] = ()
    fault: str = ""


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """How a stored mail was routed, beside what today's rules make of it."""

    rule_set: int
    todays: bool
    """It was routed under the rules that stand in the files today."""
    state: str
    """What it is now."""
    left_out: tuple[str, ...] = ()
    """Rules that held it and were passed over when a person released it: so they are here."""
    readable: bool = True
    """False where its rule set is gone or can no longer be read: then nothing can be compared."""
    away: tuple[backtest.Act, ...] = ()
    new: tuple[backtest.Act, ...] = ()
    """What today's rules decide otherwise."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one mail under one rule set."""

    source: str
    message: dict[str, Any]
    rule_set: str
    """The hash of the rules that it was judged under."""
    found_by: str | None
    """By which evidence it continues a conversation."""
    routed: Routed | None
    """None for a mail in a file."""
    state: str
    """What the rules make of it: `routed`, `held`, `dropped` or `unmatched`."""
    reason: str | None
    trace: dict[str, Any]
    plan: Plan
    contents: tuple[Sent, ...]


class Explainer:
    """Explains mails under one rule set."""

    def __init__(
        self,
        config: Config,
        rule_set: RuleSet,
        *,
        fields: Mapping[str, FieldSet],
        makers: frozenset[str],
        message_url: Callable[[str], str],
    ) -> None:
        """`fields`: what rules may fill in, by destination; `makers`: the destinations that make items."""
        self._config = config
        self._rule_set = rule_set
        self._fields = fields
        self._makers = makers
        self._message_url = message_url
        key = keys.known_mail_key(config.data_dir)
        self._answering = None if key is None else Answering(key)
        # Where no key was made yet, no token of ours is out there: one that nobody has signs none.
        self._recogniser = Recogniser(key or secrets.token_bytes(32), config.mail.trusted_authserv_ids)
        database = config.data_dir / FILE_NAME
        self._database = database
        self._db: sqlite3.Connection | None = connect(database, read_only=True) if database.exists() else None

    def close(self) -> None:
        """Lets go of the store."""
        if self._db is not None:
            self._db.close()

    def files(self, path: Path, shown: str, recipient: str | None) -> Iterator[Explained]:
        """Each mail of a file, as if the first ingress received it now.

        `shown` names the file for people; `recipient` replaces the envelope recipient.
        Raises OSError, and ValueError with the reason where the file holds no mail.
        """
        ingress = next(iter(self._config.ingress), "file")
        for read, contents in mails_of(path, ingress=ingress, recipient=recipient):
            message, ties = self._recogniser.recognise(read, contents)
            found: tuple[int, str] | None = None
            if self._db is not None:
                sender, addressee = conversations.sender_key(message), conversations.addressee_key(message)
                found = conversations.find(self._db, message, ties, sender, addressee)
            # A new conversation gets its number when it is stored: there is no token yet.
            address = tagged(message.recipient.address, "TOKEN")
            yield self._explain(
                message,
                shown,
                self._items_now(found),
                found_by=found[1] if found else None,
                reply_address=self._reply_address(found[0], message) if found else address,
            )

    def stored(self, detail: MessageDetail) -> Explained:
        """A stored mail. Raises ValueError where its text was pruned."""
        message, row = detail.message, detail.row
        if message is None:
            raise ValueError(f"the text of message {row.id} is no longer kept, so it cannot be explained")
        assert self._db is not None
        before = past.PastItems(self._db, self._makers).before

        def items(_: object) -> tuple[str, ...]:
            return before(row.conversation, row.seq) if row.saw_items is None else row.saw_items

        return self._explain(
            message,
            f"message {row.id}",
            items,
            found_by=row.found_by,
            reply_address=self._reply_address(row.conversation, message),
            without=(without := past.left_out(self._db, row.seq)),
            routed=lambda plan: self._routed(detail, message, items, without, plan),
        )

    def _explain(
        self,
        message: Message,
        source: str,
        items: ItemsOf,
        *,
        found_by: str | None,
        reply_address: str,
        without: frozenset[str] = frozenset(),
        routed: Callable[[Plan], Routed] | None = None,
    ) -> Explained:
        trace = self._rule_set.explain(message, items, without)
        plan = trace.plan
        state, reason = verdicts.state_of(plan, {})
        there = items(plan.correlations)
        return Explained(
            source=source,
            message=_summary(message),
            rule_set=self._rule_set.hash,
            found_by=found_by,
            routed=None if routed is None else routed(plan),
            state=str(state),
            reason=reason,
            trace={"rules": trace.rules},
            plan=plan,
            contents=tuple(self._sent(message, plan, there, reply_address)),
        )

    def _sent(self, message: Message, plan: Plan, there: tuple[str, ...], reply_address: str) -> list[Sent]:
        found = []
        for step in plan.steps:
            places = [step.destination]
            if step.update:
                places = [each for each in there if step.destination in ("", each)]
            if not places:
                at = f" at {step.destination}" if step.destination else ""
                fault = f"the conversation has no item{at} to comment on"
                found.append(
                    Sent(rule=step.rule, action=step.action, destination=step.destination, comments=False,
                         values=step.values, content=None, fault=fault)
                )  # fmt: skip
            for place in places:
                owed = msgspec.structs.replace(step, destination=place)
                comments = step.update or (step.reuse and place in there)
                content, fault = None, ""
                try:
                    content = self._rule_set.render(
                        owed,
                        message,
                        message_url=self._message_url(message.id),
                        fields=self._fields[place],
                        reply_address=reply_address,
                        continues=comments,
                    )
                except RenderError as error:
                    fault = error.reason
                except Exception as error:
                    # As the dispatcher has it: whatever a mail makes of a rule, it costs its own delivery only.
                    fault = f"the content could not be made ({type(error).__name__})"
                files = [message.attachments[position] for position in (content.attachments if content else ())]
                found.append(
                    Sent(
                        rule=step.rule,
                        action=step.action,
                        destination=place,
                        comments=comments,
                        values=step.values,
                        content=content,
                        attachments=tuple(SentFile(each.name, each.content_type, each.size) for each in files),
                        fault=fault,
                    )
                )
        return found

    def _routed(
        self, detail: MessageDetail, message: Message, items: ItemsOf, without: frozenset[str], plan: Plan
    ) -> Routed:
        row, left_out = detail.row, tuple(sorted(without))
        try:
            then = RuleBook(self._database, {}, self._config.mail.timezone).rule_set(row.rule_set)
        except (KeyError, InvalidFiles):
            return Routed(rule_set=row.rule_set, todays=False, state=row.state, left_out=left_out, readable=False)
        was = backtest.acts_of(then.evaluate(message, items, without))
        away, new = backtest.difference(was, backtest.acts_of(plan))
        todays = then.hash == self._rule_set.hash
        return Routed(rule_set=row.rule_set, todays=todays, state=row.state, left_out=left_out, away=away, new=new)

    def _items_now(self, found: tuple[int, str] | None) -> ItemsOf:
        """What tells the items of the conversation that a mail of now continues."""
        db = self._db

        def items(correlations: Sequence[Correlation]) -> tuple[str, ...]:
            if db is None:
                return ()
            place = found or verdicts.correlated(db, correlations, now_ms())
            return verdicts.items_of(db, place[0] if place else None, self._makers)

        return items

    def _reply_address(self, conversation: int, message: Message) -> str:
        return "" if self._answering is None else self._answering.address(conversation, message)


def _summary(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "received_at": message.received_at,
        "ingress": message.ingress,
        "recipient": message.recipient.address,
        "return_path": message.return_path.address,
        "from_address": message.from_.address if message.from_ else None,
        "from_name": message.from_.name if message.from_ else None,
        "subject": message.subject,
        "kinds": [verdict.kind for verdict in message.kinds],
        "size": message.size,
        "attachments": len(message.attachments),
        "notices": message.notices,
    }


def as_json(explained: Explained) -> str:
    """One line: a file may hold many mails."""
    return msgspec.json.encode(explained).decode()


def told(explained: Explained) -> str:
    """One mail for people."""
    mail, plan = explained.message, explained.plan
    lines = [
        explained.source,
        f"from        {mail['from_name'] or ''} <{mail['from_address'] or ''}>, envelope <{mail['return_path']}>",
        f"recipient   {mail['recipient']}",
        f"subject     {listing.one_line(mail['subject'] or '(no subject)', 200)}",
        f"kind        {', '.join(mail['kinds']) or 'none'}",
        "continues   " + (f"a conversation, found by {explained.found_by}" if explained.found_by else "nothing"),
        *_routed_lines(explained.routed),
        "",
        "why:",
        *listing.why(Trace(explained.trace["rules"], plan)),
        "",
        "what would be sent:",
        *_outcome(explained),
    ]
    for each in plan.correlations:
        span = verdicts.told_span(each.window)
        lines.append(f"  correlated by rule '{each.rule}': with mails of the key '{each.key}', each within {span}")
    for limit in plan.limits:
        per = f" for '{limit.key}'" if limit.key else ""
        within = verdicts.told_span(limit.window)
        lines.append(f"  limited by rule '{limit.rule}': {limit.count} in {within}{per}; beyond them: {limit.over}")
    lines += [f"  note: {notice}" for notice in plan.notices]
    for number, sent in enumerate(explained.contents, 1):
        lines += ["", *_sent_lines(number, sent)]
    return listing.safe("\n".join(lines))


def _routed_lines(routed: Routed | None) -> list[str]:
    if routed is None:
        return []
    line = f"routed      under rule set {routed.rule_set}"
    if routed.left_out:
        line += f", when a person released it, without {', '.join(routed.left_out)}"
    if not routed.readable:
        return [f"{line}, which can no longer be read; it is {routed.state}"]
    if routed.todays:
        return [f"{line}, which is today's; it is {routed.state}"]
    if not routed.away and not routed.new:
        return [f"{line}; it is {routed.state}. Today's rules decide the same"]
    return [
        f"{line}; it is {routed.state}. Today's rules decide otherwise:",
        *backtest.changes(routed.away, routed.new, "            "),
    ]


def _outcome(explained: Explained) -> list[str]:
    also = "; without that, this would be sent:" if explained.contents else ""
    if explained.state == "unmatched":
        return ["  nothing: no rule plans anything, so it waits for a person as unmatched"]
    if explained.state == "routed":
        return []
    return [f"  nothing: it is {explained.state} by {explained.reason}{also}"]


def _sent_lines(number: int, sent: Sent) -> list[str]:
    place = sent.destination or "update"
    how = ", a comment on the item there" if sent.comments else ""
    lines = [f"  {number}. {place}, by rule '{sent.rule}'{how}"]
    if sent.values:
        lines.append("     extracted    " + ", ".join(_values(sent.values)))
    content = sent.content
    if content is None:
        return [*lines, f"     nothing: {sent.fault}"]
    lines.append(f"     title        {content.title[:_WIDEST]}")
    for name, text in (("body", content.body), ("footer", content.footer)):
        rows = text.splitlines()
        lines += [
            f"     {name if at == 0 else '':12} {row[:_WIDEST]}".rstrip() for at, row in enumerate(rows[:_MOST_LINES])
        ]
        if len(rows) > _MOST_LINES:
            lines.append(f"     {'':12} ... {len(rows) - _MOST_LINES} more lines; --json has them")
    for name, value in content.fields.items():
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        lines.append(f"     {name:12} {shown[:_WIDEST]}")
    if content.state:
        lines.append(f"     state        {content.state}")
    for file in sent.attachments:
        lines.append(f"     attachment   {file.name or '(no name)'}, {file.content_type}, {file.size} bytes")
    return lines


def _values(values: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _values({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            found.append(f"{name} = {listing.one_line(str(value), 200)}")
    return found

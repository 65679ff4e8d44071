"""What the commands print: lists of messages, and one message whole, for people and as JSON for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from postroom.plan import ConditionTrace, Trace
from postroom.rulebook import RuleBook
from postroom.store.records import DeliveryDetail, MessageDetail, MessageRow

_TEXT_LINES = 30


def as_json(value: Any) -> str:
    """Any of the store's records as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def messages(rows: Sequence[MessageRow]) -> str:
    """A line for each message, and one for each of its deliveries."""
    if not rows:
        return "no messages"
    lines = []
    for row in rows:
        lines.append(f"{when(row.received_at)}  {row.state:9}  {row.id}")
        subject = one_line(row.subject or "(no subject)", 100)
        lines.append(f"    {row.from_address or '(no sender)'} -> {row.recipient}: {subject}")
        for delivery in row.deliveries:
            receipt = " ".join(filter(None, (delivery.reference, delivery.url)))
            lines.append(f"    {delivery.destination}: {delivery.state}" + (f" {receipt}" if receipt else ""))
    return safe("\n".join(lines))


def message(detail: MessageDetail, trace: Trace | None) -> str:
    """Everything about one message."""
    row = detail.row
    lines = [
        f"message     {row.id}",
        f"received    {when(row.received_at)} by {row.ingress}",
        f"from        {row.from_name or ''} <{row.from_address or ''}>, envelope <{row.return_path}>",
        f"recipient   {row.recipient}",
        f"subject     {one_line(row.subject or '(no subject)', 200)}",
        f"state       {row.state}" + (f": {row.reason}" if row.reason else ""),
        *_kinds(detail),
        "continues   " + (f"a conversation, found by {row.found_by}" if row.found_by else "nothing: it is new"),
        f"size        {row.size} bytes, {row.attachments} attachments",
    ]
    for delivery in detail.deliveries:
        lines += ["", *_delivery(delivery)]
    lines += ["", "why:", *why(trace)]
    lines += [f"  note: {notice}" for notice in trace.plan.notices] if trace else []
    if detail.events:
        lines += ["", "what happened beside:"]
        lines += [
            f"  {when(event.at)}  {event.who}: {event.what} {event.detail or ''}".rstrip() for event in detail.events
        ]
    if detail.message is not None:
        text = (detail.message.text or "(no text)").splitlines()
        lines += ["", "text:", *(f"  {one_line(line, 200)}" for line in text[:_TEXT_LINES])]
        if len(text) > _TEXT_LINES:
            lines.append(f"  ... {len(text) - _TEXT_LINES} more lines")
    return safe("\n".join(lines))


def trace_of(detail: MessageDetail, database: Path, timezone: str) -> Trace | None:
    """Why each rule did or did not match, computed again; None once the text was pruned.

    `timezone`: of `received`, where a rule names none.
    """
    if detail.message is None:
        return None
    row = detail.row
    return RuleBook(database, {}, timezone).explain(row.rule_set, detail.message, row.saw_items, row.left_out)


def _kinds(detail: MessageDetail) -> list[str]:
    if detail.message is None:
        return [f"kind        {', '.join(detail.row.kinds)}"]
    verdicts = detail.message.kinds
    return [f"{'' if position else 'kind':12}{each.kind}: {each.evidence}" for position, each in enumerate(verdicts)]


def _delivery(delivery: DeliveryDetail) -> list[str]:
    row = delivery.row
    lines = [f"{row.destination}: {row.state}, by rule '{row.rule}'   delivery {row.id}"]
    if row.reference or row.url:
        lines.append("  receipt " + " ".join(filter(None, (row.reference, row.url))))
    if row.reason:
        lines.append(f"  {row.reason}")
    for attempt in delivery.attempts:
        status = f" {attempt.status}" if attempt.status else ""
        took = f" in {attempt.took_ms} ms" if attempt.took_ms is not None else ""
        lines.append(
            f"  attempt {attempt.number}  {when(attempt.started_at)}  {attempt.result}{status}{took}"
            + (f": {attempt.error}" if attempt.error else "")
        )
    return lines


def why(trace: Trace | None) -> list[str]:
    """Lines that tell of each rule whether it matched, and what each of its conditions saw."""
    if trace is None:
        return ["  the text of this message is no longer kept, so it cannot be told again"]
    lines = []
    for rule in trace.rules:
        indent = "  " * (rule.depth + 1)
        lines.append(f"{indent}{rule.rule}: {rule.outcome}" + (f" ({rule.reason})" if rule.reason else ""))
        lines += [f"{indent}  {line}" for condition in rule.conditions for line in _condition(condition)]
    return lines or ["  there were no rules"]


def _condition(condition: ConditionTrace) -> list[str]:
    mark = "+" if condition.met else "-"
    lines = [f"{mark} {condition.condition}" + (f"   [{condition.seen}]" if condition.seen else "")]
    return lines + [f"  {line}" for child in condition.children for line in _condition(child)]


def when(ms: int) -> str:
    """A time as people read it, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def one_line(text: str, width: int) -> str:
    """A text in one line of at most so many characters."""
    return textwrap.shorten(text, width, placeholder="...")


def safe(text: str) -> str:
    """The text without what a terminal would obey: a mail must not paint on the operator's screen."""
    return "".join(char if char == "\n" or char.isprintable() else " " for char in text)

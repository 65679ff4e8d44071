"""What history tells: plain records, encoded as they are by `msgspec.json.encode`.

Times are milliseconds since 1970 (UTC). Texts come from strangers' mail: whoever shows them escapes them.
"""

from __future__ import annotations

import msgspec

from postroom.message import Message
from postroom.plan import Content


class DeliverySummary(msgspec.Struct, frozen=True):
    """A delivery in one line."""

    id: str
    destination: str
    state: str
    reference: str | None
    url: str | None


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A message in one line of a list. `subject` is cut after 1,000 characters."""

    seq: int
    """Newer messages have greater ones: what paging goes by."""
    id: str
    received_at: int
    ingress: str
    recipient: str
    return_path: str
    from_address: str | None
    from_name: str | None
    subject: str | None
    state: str
    reason: str | None
    rule_set: int
    matched: tuple[str, ...]
    conversation: int
    size: int
    attachments: int
    """How many."""
    kinds: tuple[str, ...]
    """How the mail was classed: see postroom.mail.kinds."""
    saw_items: tuple[str, ...] | None
    """The destinations where its conversation had an item when it was routed; None where no rule asked."""
    left_out: tuple[str, ...]
    """Rules that held it and were passed over when a person released it."""
    found_by: str | None
    """The evidence by which it continues its conversation; None where it began one."""
    deliveries: tuple[DeliverySummary, ...] = ()


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a delivery. `took_ms` is None where nobody saw it end."""

    number: int
    started_at: int
    took_ms: int | None
    result: str
    status: int | None
    error: str | None
    answer: str | None


class StepRecord(msgspec.Struct, frozen=True):
    """A step that a delivery has finished: an item made, an attachment uploaded."""

    step: str
    reference: str
    at: int


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with the message it belongs to."""

    seq: int
    id: str
    message: str
    """The message's id."""
    rule: str
    action: int
    destination: str
    state: str
    reason: str | None
    attempts: int
    """How many there were."""
    tries: int
    """How many of them count towards giving up."""
    next_at: int
    lease_until: int | None
    uncertain: bool
    """True where the last attempt may have happened, although nobody saw the answer."""
    created_at: int
    finished_at: int | None
    reference: str | None
    url: str | None


class DeliveryDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with all its attempts and finished steps, and what it sends once that was rendered."""

    row: DeliveryRow
    attempts: tuple[Attempt, ...]
    steps: tuple[StepRecord, ...]
    content: Content | None


class Item(msgspec.Struct, frozen=True):
    """The item that a conversation has at a destination."""

    destination: str
    reference: str
    url: str | None
    at: int


class Event(msgspec.Struct, frozen=True):
    """Something that happened beside attempts."""

    at: int
    who: str
    what: str
    detail: str | None
    delivery: str | None = None
    """The id of the delivery that it is about; None where it is about the message."""


class MessageDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on record about one message."""

    row: MessageRow
    message: Message | None
    """None once its text was pruned."""
    payload_size: int | None
    """In bytes; None once the payload was pruned."""
    stored: tuple[int, ...]
    """Positions of the attachments whose bytes are still in the store."""
    deliveries: tuple[DeliveryDetail, ...]
    items: tuple[Item, ...]
    events: tuple[Event, ...]
    conversation: tuple[MessageRow, ...]
    """The newest other messages of the same conversation, at most fifty, oldest first."""

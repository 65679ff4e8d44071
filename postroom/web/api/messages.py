"""`/messages` and `/deliveries`: what came, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from postroom.message import Message
from postroom.plan import Trace
from postroom.store.history import FILTERS, History
from postroom.store.query import LONGEST
from postroom.store.records import DeliveryRow, MessageDetail, MessageRow
from postroom.store.states import DeliveryState
from postroom.web.api.contract import (
    UNSET,
    Before,
    Call,
    Download,
    Fault,
    Id,
    Limit,
    Name,
    OneId,
    Route,
    Unset,
    given,
)

Explain = Callable[[int, Message, tuple[str, ...] | None, tuple[str, ...]], Trace | None]

if TYPE_CHECKING:
    Filter = str
else:
    Filter = Literal[FILTERS]
Search = Annotated[str, Meta(max_length=LONGEST, description="A search, in the language of the search field.")]


class MessagesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages."""

    q: Search = ""
    state: Filter | Unset = UNSET
    before: Before | Unset = UNSET
    limit: Limit = 50


class MessagePage(msgspec.Struct, frozen=True):
    """Messages, newest first."""

    rows: list[MessageRow]
    next: int | None
    """What `before` is for the next page; None on the last."""
    problems: tuple[str, ...]
    """Sentences on what of the search makes no sense."""
    cut: bool
    """True where time was up before all was looked at."""


class WholeMessage(msgspec.Struct, frozen=True):
    """Everything on record about one message, as `postroom show --json` prints it."""

    message: MessageDetail
    trace: Trace | None
    """Why each rule did or did not match; None where that can no longer be told."""


class AttachmentPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a path names."""

    id: Id
    n: Annotated[int, Meta(ge=0, le=2**31 - 1, description="The position of the attachment, counted from 0.")]


class DeliveriesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which deliveries."""

    state: DeliveryState | Unset = UNSET
    destination: Name | Unset = UNSET
    before: Before | Unset = UNSET
    limit: Limit = 50


class DeliveryPage(msgspec.Struct, frozen=True):
    """Deliveries, newest first."""

    rows: list[DeliveryRow]
    next: int | None
    """What `before` is for the next page; None on the last."""


NO_MESSAGE = {404: "No message has this id."}
_NOT_KEPT = {404: "There is no such thing in the store, or no longer."}


def routes(history: History, explain: Explain) -> list[Route]:
    """`explain` takes a rule set's number, a message, the items that it saw and the rules left out."""

    def messages(call: Call) -> MessagePage:
        query: MessagesQuery = call.query
        found = history.find(query.q, state=given(query.state) or "", before=given(query.before), limit=query.limit + 1)
        rows = found.rows[: query.limit]
        return MessagePage(rows, rows[-1].seq if len(found.rows) > query.limit else None, found.problems, found.cut)

    def message(call: Call) -> WholeMessage:
        detail = detail_of(call)
        return WholeMessage(detail, traced(detail))

    def trace(call: Call) -> Trace:
        found = traced(detail_of(call))
        if found is None:
            raise Fault(404, "The text of this message, or its rule set, is no longer kept.")
        return found

    def traced(detail: MessageDetail) -> Trace | None:
        row = detail.row
        if detail.message is None:
            return None
        return explain(row.rule_set, detail.message, row.saw_items, row.left_out)

    def detail_of(call: Call) -> MessageDetail:
        found = history.message(call.path.id.lower())
        if found is None:
            raise Fault(404, "No message has this id. It may have been pruned or erased.")
        return found

    def payload(call: Call) -> Download:
        body = history.payload(call.path.id.lower())
        if body is None:
            raise Fault(404, "This payload is not in the store, or no longer.")
        return Download([body], len(body))

    def attachment(call: Call) -> Download:
        found = history.attachment(call.path.id.lower(), call.path.n)
        if found is None:
            raise Fault(404, "This attachment is not in the store, or no longer.")
        _, size, chunks = found
        # The first piece is read now: a fault of the store is a 503, not a broken download.
        return Download(chain([next(chunks, b"")], chunks), size)

    def deliveries(call: Call) -> DeliveryPage:
        query: DeliveriesQuery = call.query
        rows = history.deliveries(
            state=given(query.state) or "",
            destination=given(query.destination) or "",
            before=given(query.before),
            limit=query.limit + 1,
        )
        return DeliveryPage(rows[: query.limit], rows[query.limit - 1].seq if len(rows) > query.limit else None)

    def delivery(call: Call) -> DeliveryRow:
        found = history.delivery(call.path.id.lower())
        if found is None:
            raise Fault(404, "No delivery has this id.")
        return found

    return [
        Route("GET", "/messages", "The newest messages that meet a search.", messages, MessagePage,
              query=MessagesQuery),
        Route("GET", "/messages/{id}", "Everything about one message.", message, WholeMessage, takes=OneId,
              faults=NO_MESSAGE),
        Route("GET", "/messages/{id}/trace", "Why each rule did or did not match, computed anew.", trace, Trace,
              takes=OneId, faults=_NOT_KEPT),
        Route("GET", "/messages/{id}/payload", "What the provider sent, with credentials masked.", payload, Download,
              takes=OneId, faults=_NOT_KEPT),
        Route("GET", "/messages/{id}/attachments/{n}", "The bytes of an attachment.", attachment, Download,
              takes=AttachmentPath, faults=_NOT_KEPT),
        Route("GET", "/deliveries", "The newest deliveries.", deliveries, DeliveryPage, query=DeliveriesQuery),
        Route("GET", "/deliveries/{id}", "One delivery.", delivery, DeliveryRow, takes=OneId,
              faults={404: "No delivery has this id."}),
    ]  # fmt: skip

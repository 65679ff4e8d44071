"""`/statistics` and `/events`: how much came and went, and who did what."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from postroom.ids import now_ms
from postroom.store import audit, statistics
from postroom.store.history import History
from postroom.web.api.contract import UNSET, Before, Call, Limit, Route, Unset, given

_HOUR = 3_600_000
SPANS = {"1h": _HOUR, "6h": 6 * _HOUR, "24h": 24 * _HOUR, "7d": 168 * _HOUR, "30d": 720 * _HOUR, "90d": 2160 * _HOUR}


if TYPE_CHECKING:
    Span = str
else:
    Span = Literal[tuple(SPANS)]


class StatisticsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which time, up to now."""

    range: Span = "24h"


class Statistics(msgspec.Struct, frozen=True):
    """Counts of a time, kept behind the mail by a second or so."""

    since: int
    until: int
    waiting: dict[str, int]
    """Messages now, in all and by what they wait for; 10,001 means more than 10,000."""
    flows: list[statistics.Flow]
    slots: list[statistics.Slot]
    latencies: dict[str, statistics.Latency]
    """By destination, and under the empty name over all."""


Word = Annotated[str, Meta(max_length=200)]


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events."""

    who: Word | Unset = UNSET
    what: Word | Unset = UNSET
    before: Before | Unset = UNSET
    limit: Limit = 50


class EventPage(msgspec.Struct, frozen=True):
    """Events, newest first."""

    rows: list[audit.Entry]
    next: int | None
    """What `before` is for the next page; None on the last."""


def routes(history: History) -> list[Route]:
    """Of one store."""

    def figures(call: Call) -> Statistics:
        until = now_ms()
        since = until - SPANS[call.query.range]

        def query(db: sqlite3.Connection) -> Statistics:
            return Statistics(
                since=since,
                until=until,
                waiting=waiting,
                flows=statistics.flows(db, since, until),
                slots=statistics.slots(db, since, until),
                latencies=statistics.latencies(db, since, until),
            )

        waiting = history.counts()
        return history.read(query)

    def events(call: Call) -> EventPage:
        limit = call.query.limit
        rows = history.read(
            partial(
                audit.entries,
                who=given(call.query.who) or "",
                what=given(call.query.what) or "",
                before=given(call.query.before),
                limit=limit + 1,
            )
        )
        return EventPage(rows[:limit], rows[limit - 1].seq if len(rows) > limit else None)

    return [
        Route("GET", "/statistics", "Traffic, arrivals, outcomes and latency of a time, and what waits now.", figures,
              Statistics, query=StatisticsQuery),
        Route("GET", "/events", "What people did: logins, decisions, changes.", events, EventPage, "editor",
              query=EventsQuery),
    ]  # fmt: skip

"""Everything that happened to one message, in the order of time, with who did it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from postroom.store.records import Attempt, DeliveryDetail, DeliveryRow, Event, MessageDetail
from postroom.store.states import DeliveryState

OURSELVES = "postroom"

_PEOPLE = {
    "retry": "asked for another try",
    "replay": "asked for another delivery",
    "cancel": "took back the delivery",
    "re-route": "routed it under today's rules",
    "release": "released it",
    "discard": "discarded it",
    "absorbed": "got the same document again, and absorbed it",
}
_ROUTES = ("release", "re-route")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened."""

    at: int
    who: str
    """A person, `postroom` itself, or the way in."""
    what: str
    """What they did, as the rest of a sentence that begins with `who`."""
    detail: str = ""
    state: str = ""
    """A state of deliveries or messages, or the result of an attempt, that tells how it went."""
    delivery: str = ""
    """The id of the delivery that it is about."""
    count: int = 1
    """So many times in a row, until `until`."""
    until: int = 0


def timeline(detail: MessageDetail) -> list[Entry]:
    """The entries, oldest first; what is alike and follows upon itself is one."""
    row = detail.row
    places = {each.row.id: each.row.destination for each in detail.deliveries}
    found: list[tuple[int, int, Entry]] = [(row.received_at, 0, _receipt(detail))]
    found += [(event.at, 2, _event(event, places)) for event in detail.events]
    routed = any(event.what in _ROUTES for event in detail.events)
    owed: defaultdict[int, list[DeliveryRow]] = defaultdict(list)
    for each in detail.deliveries:
        owed[each.row.created_at].append(each.row)
        found += [(entry.at, 4, entry) for entry in _tries(each)]
    first = owed.pop(row.received_at, [])
    found.append((row.received_at, 1, _routing(detail, first, routed_later=routed)))
    found += [(at, 3, _owing(at, rows)) for at, rows in owed.items()]
    return list(_together(entry for _, _, entry in sorted(found, key=lambda each: each[:2])))


def _receipt(detail: MessageDetail) -> Entry:
    row = detail.row
    sender = row.from_address or row.return_path or "nobody"
    return Entry(
        at=row.received_at, who=f"ingress {row.ingress}", what=f"received it from {sender} for {row.recipient}"
    )


def _routing(detail: MessageDetail, owed: list[DeliveryRow], *, routed_later: bool) -> Entry:
    row = detail.row
    if routed_later:
        # The rules and the state on record are those of the last time.
        return Entry(at=row.received_at, who=OURSELVES, what="judged it by the rules of then", detail=_owed(owed))
    matched = f"matched: {', '.join(row.matched)}" if row.matched else "no rule matched"
    decided = any(event.what == "discard" for event in detail.events)
    why = "" if decided else row.reason or ""
    return Entry(
        at=row.received_at,
        who=OURSELVES,
        what=f"judged it by rule set {row.rule_set}",
        detail="; ".join(filter(None, (matched, why, _owed(owed)))),
        state="" if decided else row.state,
    )


def _owing(at: int, rows: list[DeliveryRow]) -> Entry:
    return Entry(
        at=at,
        who=OURSELVES,
        what="owes it to a destination" if len(rows) == 1 else f"owes {len(rows)} deliveries of it",
        detail=_owed(rows),
        delivery=rows[0].id if len(rows) == 1 else "",
    )


def _owed(rows: list[DeliveryRow]) -> str:
    told = []
    for row in rows:
        never = row.state == DeliveryState.SUPPRESSED and row.attempts == 0 and row.finished_at == row.created_at
        told.append(f"{row.destination} by '{row.rule}'" + (f", but {row.reason}" if never and row.reason else ""))
    return f"to {'; to '.join(told)}" if told else ""


def _tries(detail: DeliveryDetail) -> Iterator[Entry]:
    row = detail.row
    for attempt in detail.attempts:
        yield Entry(
            at=attempt.started_at,
            who=OURSELVES,
            what=f"tried {row.destination}, attempt {attempt.number}",
            detail=_went(attempt, row),
            state=attempt.result,
            delivery=row.id,
        )
    for step in detail.steps:
        yield Entry(
            at=step.at,
            who=OURSELVES,
            what=f"finished a step at {row.destination}",
            detail=f"{step.step} {step.reference}".strip(),
            delivery=row.id,
        )
    if row.finished_at is None or row.finished_at == row.created_at:
        return
    if row.state == DeliveryState.DEAD:
        yield Entry(
            at=row.finished_at,
            who=OURSELVES,
            what=f"gave up the delivery to {row.destination}",
            detail=row.reason or "",
            state=row.state,
            delivery=row.id,
        )
    elif row.state == DeliveryState.SUPPRESSED:
        yield Entry(
            at=row.finished_at,
            who=OURSELVES,
            what=f"has nothing to do at {row.destination}",
            detail=row.reason or "",
            state=row.state,
            delivery=row.id,
        )


def _went(attempt: Attempt, row: DeliveryRow) -> str:
    parts = [f"HTTP {attempt.status}" if attempt.status is not None else "", attempt.error or ""]
    if attempt.result == DeliveryState.DELIVERED and attempt.number == row.attempts:
        parts.append(row.reference or "")
    return ", ".join(filter(None, parts))


def _event(event: Event, places: dict[str, str]) -> Entry:
    place = places.get(event.delivery or "", "")
    what = _PEOPLE.get(event.what, event.what)
    detail = event.detail or ""
    return Entry(
        at=event.at,
        who=event.who,
        what=f"{what} to {place}" if event.what == "cancel" and place else f"{what} of {place}" if place else what,
        detail="" if detail == place or event.what == "absorbed" else detail,
        delivery=event.delivery or "",
    )


def _together(entries: Iterable[Entry]) -> Iterator[Entry]:
    last: Entry | None = None
    for entry in entries:
        if last is not None and _alike(last, entry):
            last = msgspec.structs.replace(last, count=last.count + 1, until=entry.at)
            continue
        if last is not None:
            yield last
        last = entry
    if last is not None:
        yield last


def _alike(one: Entry, other: Entry) -> bool:
    return (one.who, one.what, one.detail, one.state, one.delivery) == (
        other.who,
        other.what,
        other.detail,
        other.state,
        other.delivery,
    )

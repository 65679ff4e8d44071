"""The mail of the past in bulk, for judging it again: newest first, page by page, read only."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from postroom.message import Message
from postroom.store.content import unpack
from postroom.store.searching import first_seq_at
from postroom.store.states import LEFT_OUT

_PAGE = 200
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class PastMail:
    """One stored message, as far as it takes to judge it again."""

    seq: int
    id: str
    received_at: int
    recipient: str
    subject: str | None
    rule_set: int
    """The number of the one that it was routed under."""
    conversation: int
    saw_items: tuple[str, ...] | None
    """See records.MessageRow."""
    left_out: frozenset[str]
    """Rules that held it, and were passed over when a person released it."""
    block: bytes | None
    """See store.content.unpack; None once the text was pruned."""


@dataclass(frozen=True, slots=True)
class Span:
    """What there is to judge at one moment: what comes in later is left aside."""

    since: int
    first: int
    last: int
    count: int


def span(db: sqlite3.Connection, since: int, most: int | None = None) -> Span:
    """The messages that were received at a time (milliseconds since 1970) or after it; only the newest, at most `most`.

    With `most`, it costs no more than they do, however many messages there are.
    """
    if most is not None:
        first = first_seq_at(db, since)
        seqs = [
            row[0]
            for row in db.execute("SELECT seq FROM messages WHERE seq >= ? ORDER BY seq DESC LIMIT ?", (first, most))
        ]
        return Span(since, seqs[-1], seqs[0], len(seqs)) if seqs else Span(since, 1, 0, 0)
    first, last, count = db.execute(
        "SELECT COALESCE(MIN(seq), 1), COALESCE(MAX(seq), 0), COUNT(*) FROM messages WHERE received_at >= ?", (since,)
    ).fetchone()
    return Span(since, first, last, count)


def pages(db: sqlite3.Connection, within: Span) -> Iterator[list[PastMail]]:
    """The messages of a span, newest first. No snapshot is held between two pages: the WAL can shrink meanwhile."""
    before = within.last + 1
    while True:
        rows = db.execute(
            "SELECT m.seq, m.id, m.received_at, m.recipient, m.subject, m.rule_set, m.conversation, m.saw_items,"
            f" c.data, {LEFT_OUT}"
            " FROM messages m LEFT JOIN contents c ON c.message = m.seq"
            " WHERE m.seq >= ? AND m.seq < ? AND m.received_at >= ? ORDER BY m.seq DESC LIMIT ?",
            (within.first, before, within.since, _PAGE),
        ).fetchall()
        if not rows:
            return
        before = rows[-1]["seq"]
        yield [_past_mail(row) for row in rows]


def _past_mail(row: sqlite3.Row) -> PastMail:
    told = row["saw_items"]
    return PastMail(
        seq=row["seq"],
        id=row["id"],
        received_at=row["received_at"],
        recipient=row["recipient"],
        subject=row["subject"],
        rule_set=row["rule_set"],
        conversation=row["conversation"],
        saw_items=None if told is None else tuple(told.splitlines()),
        left_out=_names(row["left_out"]),
        block=row["data"],
    )


def left_out(db: sqlite3.Connection, seq: int) -> frozenset[str]:
    """The rules that were passed over when a person released a message (its seq)."""
    row = db.execute(f"SELECT {LEFT_OUT} FROM messages m WHERE m.seq = ?", (seq,)).fetchone()
    return _names(row["left_out"] if row else None)


def _names(lines: str | None) -> frozenset[str]:
    return frozenset((lines or "").splitlines())


def earlier_of(db: sqlite3.Connection, *, conversation: int, seq: int, most: int) -> list[Message]:
    """The mails of a conversation before the message of that seq, oldest first: the first one, and the last ones.

    Those whose text was pruned are left out.
    """
    rows = db.execute(
        "SELECT c.data FROM (SELECT seq FROM messages WHERE conversation = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3)"
        " m JOIN contents c ON c.message = m.seq UNION"
        " SELECT c.data FROM (SELECT seq FROM messages WHERE conversation = ?1 AND seq < ?2 ORDER BY seq LIMIT 1)"
        " m JOIN contents c ON c.message = m.seq",
        (conversation, seq, most - 1),
    )
    return sorted((unpack(row[0])[0] for row in rows), key=lambda each: (each.received_at, each.id))


class PastItems:
    """Which items a conversation had when a mail came, for mails of which no rule asked it then.

    It is told by the deliveries of its earlier mails, those that were given up or cancelled left aside.
    """

    def __init__(self, db: sqlite3.Connection, makers: Collection[str]) -> None:
        """`makers`: the destinations that make items."""
        self._db = db
        self._makers = frozenset(makers)
        self._known: dict[int, list[tuple[str, int]]] = {}

    def before(self, conversation: int, seq: int) -> tuple[str, ...]:
        """The destinations where the conversation had an item before the message of that seq."""
        found = self._known.get(conversation)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            rows = self._db.execute(
                "SELECT d.destination, MIN(m.seq) FROM messages m JOIN deliveries d ON d.message = m.seq"
                " WHERE m.conversation = ? AND d.state IN ('pending', 'sending', 'retrying', 'delivered')"
                " GROUP BY d.destination ORDER BY d.destination",
                (conversation,),
            )
            found = self._known[conversation] = [(row[0], row[1]) for row in rows if row[0] in self._makers]
        return tuple([destination for destination, first in found if first < seq])

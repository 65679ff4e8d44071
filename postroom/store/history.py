"""What happened to the mail: read-only queries, shared by the dashboard, the API and the commands."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from postroom.ids import now_ms
from postroom.message import Attachment
from postroom.store import content, database, people, searching
from postroom.store.query import Term, parse
from postroom.store.records import (
    Attempt,
    DeliveryDetail,
    DeliveryRow,
    DeliverySummary,
    Event,
    Item,
    MessageDetail,
    MessageRow,
    StepRecord,
)
from postroom.store.states import DELIVERIES_IN, LEFT_OUT, MESSAGES_IN, UNDER_WAY, DeliveryState, MessageState

T = TypeVar("T")

COUNT_CAP = 1_000
"""A count of more than that is told as one more."""

_OPEN = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.RETRYING)

_MOST = 500
_NEIGHBOURS = 50

_ROW = f"""m.seq, m.id, m.received_at, m.ingress, m.recipient, m.return_path, m.from_address, m.from_name,
  substr(m.subject, 1, 1000) AS subject, m.state, m.reason, m.rule_set, m.matched, m.conversation, m.size,
  m.attachments, m.kinds, m.found_by, m.saw_items,
  {LEFT_OUT}"""

_DELIVERY = """d.seq, d.id, m.id AS message, d.rule, d.action, d.destination, d.state, d.reason, d.attempts, d.tries,
  d.next_at, d.lease_until, d.uncertain, d.created_at, d.finished_at, d.reference, d.url"""

FILTERS = (*MESSAGES_IN, *DELIVERIES_IN)
"""What `state` may be: a state of messages; `dead` (any dead delivery), `retrying`, `pending` (any under way)."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of messages. `problems` are sentences on what of the search makes no sense; `cut`: time was up."""

    rows: list[MessageRow]
    problems: tuple[str, ...] = ()
    cut: bool = False


class History:
    """One file, one read-only connection per thread, opened when it is first needed.

    Make it before or after a fork, but query it only after: a connection does not survive one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def messages(
        self, *, search: str = "", state: str = "", before: int | None = None, limit: int = 50
    ) -> list[MessageRow]:
        """The newest messages that meet a search (see query.py); only those older than the message `before` (its seq).

        Raises ValueError for a `state` that is none of FILTERS.
        """
        return self.find(search, state=state, before=before, limit=limit).rows

    def find(
        self,
        search: str = "",
        *,
        state: str = "",
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
        seconds: float = 2.0,
    ) -> Found:
        """As `messages`, with what of the search makes no sense, and whether time (`seconds`) was up before all was
        looked at. `after`: those that follow next upon the message of that seq, in place of the newest."""
        query = parse(search, now_ms(), FILTERS)
        if state:
            if state not in FILTERS:
                raise ValueError(f"'{state}' is no state to look for; known are {', '.join(FILTERS)}")
            query = dataclasses.replace(query, terms=(*query.terms, Term("state", state)))
        with self._snapshot() as db:
            most = max(0, min(limit, _MOST))
            hits = searching.search(db, query, before=before, after=after, limit=most, seconds=seconds)
            marks = ", ".join("?" * len(hits.seqs))
            rows = db.execute(
                f"SELECT {_ROW} FROM messages m WHERE m.seq IN ({marks}) ORDER BY m.seq DESC", hits.seqs
            ).fetchall()
            return Found(_with_deliveries(db, rows), query.problems, hits.cut)

    def counts(self) -> dict[str, int]:
        """How many messages there are in all and by each filter but `routed`; COUNT_CAP + 1 means more than that."""
        parts = {"all": "SELECT 1 FROM messages"}
        for name, condition in MESSAGES_IN.items():
            if name != MessageState.ROUTED:
                parts[name] = f"SELECT 1 FROM messages m WHERE {condition}"
        for name, condition in DELIVERIES_IN.items():
            # The inner limit keeps SQLite from walking all deliveries in the order of their messages.
            some = f"SELECT message FROM deliveries WHERE {condition} LIMIT {4 * COUNT_CAP}"
            parts[name] = f"SELECT DISTINCT message FROM ({some})"
        columns = ", ".join(
            f"(SELECT count(*) FROM ({query} LIMIT {COUNT_CAP + 1})) AS '{name}'" for name, query in parts.items()
        )
        with self._snapshot() as db:
            return dict(db.execute(f"SELECT {columns}").fetchone())

    def users(self) -> dict[str, tuple[str, str]]:
        """The dashboard's people: password hash and role by name."""
        with self._snapshot() as db:
            return people.users(db)

    def message(self, id: str) -> MessageDetail | None:
        """Everything about one message; None where there is no such id."""
        with self._snapshot() as db:
            row = db.execute(f"SELECT {_ROW} FROM messages m WHERE m.id = ?", (id,)).fetchone()
            if row is None:
                return None
            seq, conversation = row["seq"], row["conversation"]
            block = db.execute("SELECT data FROM contents WHERE message = ?", (seq,)).fetchone()
            neighbours = db.execute(
                f"""SELECT {_ROW} FROM messages m WHERE m.conversation = ? AND m.seq <> ?
                    ORDER BY m.seq DESC LIMIT {_NEIGHBOURS}""",
                (conversation, seq),
            ).fetchall()
            this, *others = _with_deliveries(db, [row, *reversed(neighbours)])
            stored = db.execute(
                """SELECT a.position FROM attachments a JOIN blobs b ON b.seq = a.blob WHERE a.message = ?
                   ORDER BY a.position""",
                (seq,),
            )
            events = db.execute(
                f"""SELECT e.at, e.who, e.what, e.detail, d.id
                    FROM (SELECT * FROM events WHERE message = ? ORDER BY seq DESC LIMIT {_MOST}) e
                    LEFT JOIN deliveries d ON d.seq = e.delivery ORDER BY e.seq""",
                (seq,),
            )
            items = db.execute(
                "SELECT destination, reference, url, at FROM items WHERE conversation = ? ORDER BY at", (conversation,)
            )
            message, payload = content.unpack(block["data"]) if block else (None, None)
            return MessageDetail(
                row=this,
                message=message,
                payload_size=None if payload is None else len(payload),
                stored=tuple(position for (position,) in stored),
                deliveries=_details(db, seq),
                items=tuple(Item(*item) for item in items),
                events=tuple(Event(*event) for event in events),
                conversation=tuple(others),
            )

    def deliveries(
        self, *, state: str = "", destination: str = "", before: int | None = None, limit: int = 50
    ) -> list[DeliveryRow]:
        """The newest deliveries, of one state or destination if asked; only those older than `before` (its seq)."""
        conditions = ["1"]
        values: list[Any] = []
        if state:
            conditions.append(f"d.state = '{DeliveryState(state)}'")
            if state in _OPEN:
                conditions.append(f"d.{UNDER_WAY}")
            if not destination and (state in _OPEN or state == DeliveryState.DEAD):
                # A partial index has these few by destination: they need not be looked for among all.
                few = f"state = '{state}'" + (f" AND {UNDER_WAY}" if state in _OPEN else "")
                conditions.append(f"d.seq IN (SELECT seq FROM deliveries WHERE {few})")
        if destination:
            conditions.append("d.destination = ?")
            values.append(destination)
        if before is not None:
            conditions.append("d.seq < ?")
            values.append(before)
        with self._snapshot() as db:
            rows = db.execute(
                f"""SELECT {_DELIVERY} FROM deliveries d JOIN messages m ON m.seq = d.message
                    WHERE {" AND ".join(conditions)} ORDER BY d.seq DESC LIMIT ?""",
                (*values, max(0, min(limit, _MOST))),
            ).fetchall()
        return [_delivery(row) for row in rows]

    def delivery(self, id: str) -> DeliveryRow | None:
        """One delivery; None where there is no such id."""
        with self._snapshot() as db:
            row = db.execute(
                f"SELECT {_DELIVERY} FROM deliveries d JOIN messages m ON m.seq = d.message WHERE d.id = ?", (id,)
            ).fetchone()
        return None if row is None else _delivery(row)

    def payload(self, id: str) -> bytes | None:
        """The provider's payload of a message; None where there is no such message, or it was pruned."""
        block = self._db.execute(
            "SELECT data FROM contents WHERE message = (SELECT seq FROM messages WHERE id = ?)", (id,)
        ).fetchone()
        return content.unpack(block["data"])[1] if block else None

    def attachment(self, id: str, position: int) -> tuple[Attachment, int, Iterator[bytes]] | None:
        """An attachment with its stored size and its bytes in pieces; None where it is unknown or was pruned."""
        with self._snapshot() as db:
            found = db.execute(
                """SELECT b.seq, b.size, c.data FROM messages m JOIN attachments a ON a.message = m.seq
                   JOIN blobs b ON b.seq = a.blob JOIN contents c ON c.message = m.seq
                   WHERE m.id = ? AND a.position = ?""",
                (id, position),
            ).fetchone()
        if found is None:
            return None
        message, _ = content.unpack(found["data"])
        if not 0 <= position < len(message.attachments):
            return None
        return message.attachments[position], found["size"], self._chunks(found["seq"])

    def _chunks(self, blob: int) -> Iterator[bytes]:
        # A query for each piece: a slow reader must not hold a snapshot open, which would keep the WAL from shrinking.
        position = -1
        while True:
            row = self._db.execute(
                "SELECT position, data FROM chunks WHERE blob = ? AND position > ? ORDER BY position LIMIT 1",
                (blob, position),
            ).fetchone()
            if row is None:
                return
            position = row["position"]
            yield row["data"]

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What a query of another module finds, at one moment."""
        with self._snapshot() as db:
            return query(db)

    @property
    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = database.connect(self._path, read_only=True)
            self._local.db = db
        return db

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """Several queries that see the same moment."""
        db = self._db
        db.execute("BEGIN")
        try:
            yield db
        finally:
            db.execute("COMMIT")


def _with_deliveries(db: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[MessageRow]:
    if not rows:
        return []
    by_message: defaultdict[int, list[DeliverySummary]] = defaultdict(list)
    marks = ", ".join("?" * len(rows))
    for message, *summary in db.execute(
        f"""SELECT message, id, destination, state, reference, url FROM deliveries WHERE message IN ({marks})
            ORDER BY seq""",
        [row["seq"] for row in rows],
    ):
        by_message[message].append(DeliverySummary(*summary))
    return [
        MessageRow(
            **{
                **dict(row),
                "matched": _names(row["matched"]),
                "kinds": tuple(row["kinds"].split()),
                "saw_items": _items(row["saw_items"]),
                "left_out": _items(row["left_out"]) or (),
            },
            deliveries=tuple(by_message[row["seq"]]),
        )
        for row in rows
    ]


def _details(db: sqlite3.Connection, message: int) -> tuple[DeliveryDetail, ...]:
    rows = db.execute(
        f"""SELECT {_DELIVERY}, d.content FROM deliveries d JOIN messages m ON m.seq = d.message
            WHERE d.message = ? ORDER BY d.seq""",
        (message,),
    ).fetchall()
    attempts = _grouped(
        db.execute(
            """SELECT a.delivery, a.number, a.started_at, a.took_ms, a.result, a.status, a.error, a.answer
               FROM attempts a JOIN deliveries d ON d.seq = a.delivery WHERE d.message = ?
               ORDER BY a.delivery, a.number, a.seq""",
            (message,),
        )
    )
    steps = _grouped(
        db.execute(
            """SELECT s.delivery, s.step, s.reference, s.at FROM steps s JOIN deliveries d ON d.seq = s.delivery
               WHERE d.message = ? ORDER BY s.delivery, s.at, s.step""",
            (message,),
        )
    )
    return tuple(
        DeliveryDetail(
            row=_delivery(row),
            attempts=tuple(Attempt(**attempt) for attempt in attempts[row["seq"]]),
            steps=tuple(StepRecord(**step) for step in steps[row["seq"]]),
            content=content.unpack_content(row["content"]) if row["content"] is not None else None,
        )
        for row in rows
    )


def _grouped(rows: Iterable[sqlite3.Row]) -> defaultdict[int, list[dict[str, Any]]]:
    groups: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        values = dict(row)
        groups[values.pop("delivery")].append(values)
    return groups


def _delivery(row: sqlite3.Row) -> DeliveryRow:
    values = {name: row[name] for name in DeliveryRow.__struct_fields__}
    return DeliveryRow(**{**values, "uncertain": bool(row["uncertain"])})


def _items(told: str | None) -> tuple[str, ...] | None:
    return None if told is None else tuple(told.splitlines())


def _names(matched: str) -> tuple[str, ...]:
    return tuple(matched.split("\n")) if matched else ()

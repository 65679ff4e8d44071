"""The outbox: deliveries that are not yet final. Claims by lease, results, people's actions.

Every function works inside the transaction of its caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from postroom.store.states import AttemptResult, DeliveryState

_OPEN = "('pending', 'sending', 'retrying')"
_DUE = "('pending', 'retrying')"


@dataclass(frozen=True, slots=True)
class Owed:
    """A delivery that may be claimed now."""

    seq: int
    id: str
    message: int
    conversation: int
    rule: str
    action: int
    destination: str
    values: dict[str, Any]
    attempt: int
    """Number of the attempt that comes next, over the whole life of the delivery."""
    tries: int
    """Failures since it became due or was retried by a person: the place in the retry schedule."""
    uncertain: bool
    """True where an earlier attempt's result is unknown."""
    content: bytes | None
    """Frozen content; None before the first claim."""
    rule_set: int
    unknown_at: int | None = None
    """When the last attempt ended whose result is unknown."""
    own_item: bool = False
    """It makes an item of its own, though the conversation has one."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one try ended."""

    number: int
    started_at: int
    took_ms: int
    result: AttemptResult
    status: int | None = None
    error: str | None = None
    answer: str | None = None


def due(db: sqlite3.Connection, destination: str, now: int, limit: int, *, fewest_tries: bool = False) -> list[Owed]:
    """What may be claimed for a destination: due, and no earlier delivery of its conversation there still open.

    Nor any other under way there: a retried head and a follower must not both open the item. `fewest_tries`: what was
    tried least comes first, in place of what is due longest.
    """
    # `state IN open` stands beside `= 'sending'`, for only so does SQLite see that the partial index serves.
    rows = db.execute(
        f"SELECT d.seq, d.id, d.message, d.conversation, d.rule, d.action, d.destination, d.extracted, d.attempts,"
        f" d.tries, d.uncertain, d.content, COALESCE(d.rule_set, m.rule_set), d.own_item, d.unknown_at"
        f" FROM deliveries d JOIN messages m ON m.seq = d.message"
        f" WHERE d.destination = ? AND d.state IN {_DUE} AND d.next_at <= ?"
        f" AND NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.destination = d.destination"
        f"  AND e.conversation = d.conversation AND e.state IN {_OPEN} AND e.seq < d.seq)"
        f" AND NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.destination = d.destination"
        f"  AND e.conversation = d.conversation AND e.state IN {_OPEN} AND e.state = 'sending')"
        f" ORDER BY {'d.tries, ' if fewest_tries else ''}d.next_at, d.seq LIMIT ?",
        (destination, now, limit),
    ).fetchall()
    return [
        Owed(
            seq=row[0],
            id=row[1],
            message=row[2],
            conversation=row[3],
            rule=row[4],
            action=row[5],
            destination=row[6],
            values=msgspec.json.decode(row[7]) if row[7] else {},
            attempt=row[8] + 1,
            tries=row[9],
            uncertain=bool(row[10]),
            content=row[11],
            rule_set=row[12],
            own_item=bool(row[13]),
            unknown_at=row[14],
        )
        for row in rows
    ]


def next_due(db: sqlite3.Connection, destinations: Sequence[str], now: int) -> int | None:
    """When the next delivery to one of these destinations becomes due after now; None where none will.

    What is due already and was not claimed waits for another of its conversation: its end rings the bell.
    """
    times = [
        row[0]
        for name in destinations
        if (
            row := db.execute(
                f"SELECT MIN(next_at) FROM deliveries WHERE destination = ? AND state IN {_DUE} AND next_at > ?",
                (name, now),
            ).fetchone()
        )[0]
        is not None
    ]
    return min(times, default=None)


def claim(db: sqlite3.Connection, owed: Owed, content: bytes | None, lease: str, until: int) -> bool:
    """Takes a delivery for one attempt and freezes its content. False where it was taken or changed meanwhile."""
    return bool(
        db.execute(
            f"UPDATE deliveries SET state = 'sending', attempts = ?, lease = ?, lease_until = ?,"
            f" content = COALESCE(content, ?) WHERE seq = ? AND state IN {_DUE} AND attempts = ?",
            (owed.attempt, lease, until, content, owed.seq, owed.attempt - 1),
        ).rowcount
    )


def give_back(db: sqlite3.Connection, owed: Owed, lease: str) -> None:
    """Undoes a claim whose attempt was not begun."""
    db.execute(
        "UPDATE deliveries SET state = CASE WHEN tries > 0 THEN 'retrying' ELSE 'pending' END, attempts = attempts - 1,"
        " lease = NULL, lease_until = NULL WHERE seq = ? AND lease = ? AND state = 'sending'",
        (owed.seq, lease),
    )


def steps_of(db: sqlite3.Connection, seq: int) -> dict[str, str]:
    """Steps that earlier attempts finished, with their references."""
    return dict(db.execute("SELECT step, reference FROM steps WHERE delivery = ?", (seq,)).fetchall())


def record_step(db: sqlite3.Connection, seq: int, step: str, reference: str, now: int) -> None:
    """Commits that a step is done, so that no later attempt does it again."""
    db.execute("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?)", (seq, step, reference, now))


def item_of(db: sqlite3.Connection, conversation: int, destination: str) -> tuple[str, str | None] | None:
    """Reference and URL of the item that a conversation has at a destination."""
    row = db.execute(
        "SELECT reference, url FROM items WHERE conversation = ? AND destination = ?", (conversation, destination)
    ).fetchone()
    return None if row is None else (row[0], row[1])


def delivered(
    db: sqlite3.Connection,
    owed: Owed,
    lease: str,
    attempt: Attempt,
    *,
    reference: str | None,
    url: str | None,
    opens_item: bool,
    now: int,
) -> bool:
    """Records a delivery that succeeded. False where the lease was lost meanwhile: then nothing is recorded."""
    done = db.execute(
        "UPDATE deliveries SET state = 'delivered', reason = NULL, reference = ?, url = ?, lease = NULL,"
        " lease_until = NULL, uncertain = 0, finished_at = ? WHERE seq = ? AND lease = ? AND state = 'sending'",
        (reference, url, now, owed.seq, lease),
    ).rowcount
    if not done:
        return False
    if opens_item and reference:
        _insert_item(db, owed.conversation, owed.destination, reference, url, owed.seq, now)
    _add_attempt(db, owed.seq, attempt)
    _free_followers(db, owed.destination, owed.conversation, now)
    return True


def suppressed(db: sqlite3.Connection, owed: Owed, lease: str, reason: str, now: int) -> bool:
    """Ends a delivery that has nothing to do. False where the lease was lost meanwhile: then nothing is recorded."""
    done = db.execute(
        "UPDATE deliveries SET state = 'suppressed', reason = ?, attempts = attempts - 1, lease = NULL,"
        " lease_until = NULL, finished_at = ? WHERE seq = ? AND lease = ? AND state = 'sending'",
        (reason, now, owed.seq, lease),
    ).rowcount
    if done:
        _free_followers(db, owed.destination, owed.conversation, now)
    return bool(done)


def failed(
    db: sqlite3.Connection,
    owed: Owed,
    lease: str,
    attempt: Attempt,
    *,
    retry_at: int | None,
    counts: bool = True,
    opens_item: bool,
    item_gone: bool,
    now: int,
) -> bool:
    """Records an attempt that failed: to be retried at `retry_at`, or dead where that is None.

    One that does not count uses up no place of the retry schedule. False where the lease was lost meanwhile: then
    nothing is recorded.
    """
    state = DeliveryState.DEAD if retry_at is None else DeliveryState.RETRYING
    unknown = attempt.result is AttemptResult.UNKNOWN
    done = db.execute(
        "UPDATE deliveries SET state = ?, reason = ?, tries = tries + ?, next_at = COALESCE(?, next_at), lease = NULL,"
        " lease_until = NULL, uncertain = MAX(uncertain, ?), unknown_at = COALESCE(?, unknown_at), finished_at = ?"
        " WHERE seq = ? AND lease = ? AND state = 'sending'",
        (
            state,
            attempt.error,
            int(counts),
            retry_at,
            unknown,
            now if unknown else None,
            now if retry_at is None else None,
            owed.seq,
            lease,
        ),
    ).rowcount
    if not done:
        return False
    _add_attempt(db, owed.seq, attempt)
    if item_gone:
        db.execute(
            "DELETE FROM items WHERE conversation = ? AND destination = ?", (owed.conversation, owed.destination)
        )
    if retry_at is None:
        makers = (owed.destination,) if opens_item else ()
        _adopt_item(db, owed.seq, owed.conversation, owed.destination, makers, now)
        _free_followers(db, owed.destination, owed.conversation, now)
    else:
        # Followers cannot go before it: they need not be looked at until then.
        db.execute(
            f"UPDATE deliveries SET next_at = ? WHERE destination = ? AND conversation = ? AND state IN {_DUE}"
            f" AND seq > ? AND next_at < ?",
            (retry_at, owed.destination, owed.conversation, owed.seq, retry_at),
        )
    return True


def reap(
    db: sqlite3.Connection,
    now: int,
    *,
    until: int,
    alive: Collection[int],
    rounds: Mapping[str, int],
    makers: Collection[str] = (),
) -> int:
    """Frees deliveries whose lease ended before `until`, but for those that are still `alive` (their seqs).

    What the lost attempt did is unknown: the next one looks before it makes anything. It counts as a try: a delivery
    that ends the program each time is dead after as many as its destination's schedule has (`rounds`). Returns how
    many were freed.
    """
    rows = db.execute(
        "SELECT seq, attempts, tries, destination, conversation FROM deliveries"
        " WHERE state = 'sending' AND lease_until <= ?",
        (until,),
    ).fetchall()
    lost = [row for row in rows if row[0] not in alive]
    reason = "the program ended, or hung, before the result was recorded"
    for seq, number, tries, destination, conversation in lost:
        given_up = destination in rounds and tries + 1 >= rounds[destination]
        db.execute(
            "UPDATE deliveries SET state = ?, reason = ?, uncertain = 1, unknown_at = ?, tries = tries + 1,"
            " next_at = ?, lease = NULL, lease_until = NULL, finished_at = ? WHERE seq = ?",
            (
                DeliveryState.DEAD if given_up else DeliveryState.RETRYING,
                reason,
                now,
                now,
                now if given_up else None,
                seq,
            ),
        )
        _add_attempt(db, seq, Attempt(number, now, 0, AttemptResult.UNKNOWN, error=reason))
        if given_up:
            _adopt_item(db, seq, conversation, destination, makers, now)
            _free_followers(db, destination, conversation, now)
    return len(lost)


def retry(db: sqlite3.Connection, delivery_id: str, who: str, now: int) -> bool:
    """A person asks for another round of attempts, with the same content and key, beginning now.

    False where there is no such delivery, or it is neither dead nor waiting for its next attempt.
    """
    row = db.execute(
        "UPDATE deliveries SET state = 'retrying', tries = 0, next_at = ?, finished_at = NULL"
        " WHERE id = ? AND state IN ('dead', 'retrying') RETURNING seq, message",
        (now, delivery_id),
    ).fetchone()
    if row is None:
        return False
    db.execute(
        "INSERT INTO events (at, who, what, message, delivery) VALUES (?, ?, 'retry', ?, ?)",
        (now, who, row[1], row[0]),
    )
    return True


def cancel(
    db: sqlite3.Connection, delivery_id: str, who: str, now: int, makers: Collection[str] = ()
) -> tuple[str, bool] | None:
    """A person takes back what is not delivered yet: what waits behind it goes on.

    Its destination, and whether an attempt may have got through all the same. None where there is no such delivery, or
    it waits for no attempt: what is being tried now cannot be taken back.
    """
    row = db.execute(
        "UPDATE deliveries SET state = 'cancelled', reason = ?, finished_at = ?"
        f" WHERE id = ? AND state IN {_DUE} RETURNING seq, message, destination, conversation, uncertain",
        (f"taken back by {who}", now, delivery_id),
    ).fetchone()
    if row is None:
        return None
    seq, message, destination, conversation, uncertain = row
    _adopt_item(db, seq, conversation, destination, makers, now)
    _free_followers(db, destination, conversation, now)
    db.execute(
        "INSERT INTO events (at, who, what, message, delivery, detail) VALUES (?, ?, 'cancel', ?, ?, ?)",
        (now, who, message, seq, destination),
    )
    return destination, bool(uncertain)


def _adopt_item(
    db: sqlite3.Connection, seq: int, conversation: int, destination: str, makers: Collection[str], now: int
) -> None:
    """An item that a delivery made before it died is the conversation's all the same."""
    steps = steps_of(db, seq) if destination in makers else {}
    if "item" in steps:
        _insert_item(db, conversation, destination, steps["item"], steps.get("url"), seq, now)


def _insert_item(
    db: sqlite3.Connection, conversation: int, destination: str, reference: str, url: str | None, seq: int, now: int
) -> None:
    db.execute(
        "INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, ?)", (conversation, destination, reference, url, seq, now)
    )


def _free_followers(db: sqlite3.Connection, destination: str, conversation: int, now: int) -> None:
    db.execute(
        f"UPDATE deliveries SET next_at = ? WHERE destination = ? AND conversation = ? AND state IN {_DUE}"
        f" AND next_at > ?",
        (now, destination, conversation, now),
    )


def _add_attempt(db: sqlite3.Connection, seq: int, attempt: Attempt) -> None:
    db.execute(
        "INSERT INTO attempts (delivery, number, started_at, took_ms, result, status, error, answer)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            seq,
            attempt.number,
            attempt.started_at,
            attempt.took_ms,
            attempt.result,
            attempt.status,
            attempt.error,
            attempt.answer,
        ),
    )

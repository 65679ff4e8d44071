"""Finds messages, newest first: by the index where they are in it, one by one where they are not in it yet."""

from __future__ import annotations

import re
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from postroom.store.query import Query, Term, match_expression, pieces
from postroom.store.search_index import ATTACHMENT, facets_of, indexed_upto, texts_of
from postroom.store.states import DELIVERIES_IN, MESSAGES_IN

_FACETS = {"rule", "dest", "kind", "has"}
_WORDS = ("", "to", "from", "subject")
_MANY = 2_000
_FREQUENT = 20_000
_LONGEST_TAIL = 300
_MOST_LOOKED_UP = 500
_ID_START = re.compile(r"[0-9a-f][0-9a-f-]{3,35}", re.ASCII)
_NOTHING = '"0zqx0no0word0is0so0"'
"""What has neither letters nor digits finds nothing."""
_STEP = 20_000
"""Of SQLite's own steps between looks at the clock."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The seqs of messages, newest first. `cut`: time was up, and older ones may be missing."""

    seqs: tuple[int, ...]
    cut: bool = False


def search(
    db: sqlite3.Connection,
    query: Query,
    *,
    before: int | None,
    limit: int,
    after: int | None = None,
    seconds: float = 2.0,
) -> Hits:
    """The newest messages that meet every condition, at most `limit`, and only those with a smaller seq than `before`.

    `after`: in place of the newest, those that follow next upon the message of that seq. It gives up after so many
    seconds, with what it has.
    """
    upto = indexed_upto(db)
    ceiling = before if before is not None else 2**62
    if query.before is not None:
        ceiling = min(ceiling, first_seq_at(db, query.before))
    floor = first_seq_at(db, query.after) if query.after is not None else 0
    floor = max(floor, 0 if after is None else after + 1)
    if ceiling <= floor:
        return Hits(())
    named = _named(db, query, floor, ceiling)
    found: list[int] = []
    if after is None:
        found = _tail(db, query, max(upto, floor - 1), ceiling, limit, newest=True)
    cut = False
    if len(found) < limit:
        rest = limit - len(found)
        indexed, cut = _indexed(
            db, query, floor, min(ceiling, upto + 1), rest, newest=after is None, ends=time.monotonic() + seconds
        )
        found += indexed
    if after is not None and len(found) < limit and not cut:
        found += _tail(db, query, max(upto, floor - 1), ceiling, limit - len(found), newest=False)
    merged = sorted({*found, *named}, reverse=after is None)[:limit]
    return Hits(tuple(sorted(merged, reverse=True)), cut)


def _indexed(
    db: sqlite3.Connection, query: Query, floor: int, ceiling: int, limit: int, *, newest: bool, ends: float
) -> tuple[list[int], bool]:
    """What the index finds until a moment of the monotonic clock, and whether there was no more time."""
    sql, values = _statement(query, floor, ceiling, limit, newest, _many(db, query) | _frequent(db, query))
    db.set_progress_handler(lambda: int(time.monotonic() > ends), _STEP)
    found: list[int] = []
    try:
        for row in db.execute(sql, values):
            found.append(row[0])
    except sqlite3.OperationalError as error:
        if "interrupt" not in str(error):
            raise
        return found, True
    finally:
        db.set_progress_handler(None, 0)
    return found, False


def _many(db: sqlite3.Connection, query: Query) -> frozenset[str]:
    """The states asked for that very many deliveries are in."""
    asked = {term.value for term in query.terms if term.key == "state"} & DELIVERIES_IN.keys()
    some = "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE {} LIMIT {})"
    return frozenset(
        state for state in asked if db.execute(some.format(DELIVERIES_IN[state], _MANY)).fetchone()[0] == _MANY
    )


def _frequent(db: sqlite3.Connection, query: Query) -> frozenset[str]:
    """Last words that stand in very many mails: each stands for itself alone, not for all words that begin so.

    To merge the places of all these costs more than a page may take; a whole word's are walked in order.
    """
    last = {found[-1] for term in query.terms if term.key in _WORDS and (found := pieces(term.value))}
    some = f"SELECT count(*) FROM (SELECT 1 FROM search WHERE search MATCH ? ORDER BY rowid DESC LIMIT {_FREQUENT})"
    return frozenset(
        word for word in last if len(word) > 1 and db.execute(some, (f'"{word}"',)).fetchone()[0] == _FREQUENT
    )


def _statement(
    query: Query, floor: int, ceiling: int, limit: int, newest: bool, many: frozenset[str]
) -> tuple[str, list[Any]]:
    """SQL over the indexed messages. What is rarest leads, so that it is walked in order and the rest looked up.

    `many`: states that are so frequent that messages are asked one by one, and words that stand for themselves alone.
    """
    words = [term for term in query.terms if term.key in _WORDS]
    facets = [term for term in query.terms if term.key in _FACETS]
    positive = [term for term in facets if not term.negated]
    conditions: list[str] = []
    values: list[Any] = []
    matched = [match_expression(term, many) or _NOTHING for term in words if not term.negated]
    unmatched = [each for term in words if term.negated and (each := match_expression(term, many))]
    leader, seq = "messages m", "m.seq"
    joined = ""
    if matched:
        leader, seq = "search s", "s.rowid"
        expression = " AND ".join(f"({each})" for each in matched)
        without = " OR ".join(f"({each})" for each in unmatched)
        expression = f"({expression}) NOT ({without})" if without else expression
        conditions.append("search MATCH ?")
        values.append(expression)
        joined = " JOIN messages m ON m.seq = s.rowid"
    elif positive:
        leader, seq = "facet_messages f", "f.message"
        conditions.append("f.facet = (SELECT seq FROM facets WHERE name = ?)")
        values.append(_facet(positive.pop(0)))
        joined = " JOIN messages m ON m.seq = f.message"
    if not matched:
        for expression in unmatched:
            conditions.append(f"NOT EXISTS (SELECT 1 FROM search WHERE search MATCH ? AND rowid = {seq})")
            values.append(expression)
    for term in (*positive, *(term for term in facets if term.negated)):
        conditions.append(
            f"{'NOT ' if term.negated else ''}EXISTS (SELECT 1 FROM facet_messages e WHERE e.message = {seq}"
            " AND e.facet = (SELECT seq FROM facets WHERE name = ?))"
        )
        values.append(_facet(term))
    for term in query.terms:
        if term.key in ("state", "in"):
            condition, given = _by_state(term, many) if term.key == "state" else _by_conversation(term)
            conditions.append(f"NOT ({condition})" if term.negated else condition)
            values += given
    conditions.append(f"{seq} >= ? AND {seq} < ?")
    values += (floor, ceiling)
    where = " AND ".join(conditions)
    order = f"{seq} DESC" if newest else seq
    return f"SELECT {seq} FROM {leader}{joined} WHERE {where} ORDER BY {order} LIMIT ?", [*values, limit]


def _facet(term: Term) -> str:
    return ATTACHMENT if term.key == "has" else f"{term.key}:{term.value}"


def _by_state(term: Term, many: frozenset[str]) -> tuple[str, list[Any]]:
    if (condition := DELIVERIES_IN.get(term.value)) is not None:
        if term.value in many:
            return f"EXISTS (SELECT 1 FROM deliveries w WHERE w.message = m.seq AND +w.{condition})", []
        return f"m.seq IN (SELECT message FROM deliveries WHERE {condition})", []
    return MESSAGES_IN[term.value], []


def _by_conversation(term: Term) -> tuple[str, list[Any]]:
    return "m.conversation = (SELECT conversation FROM messages WHERE id = ?)", [term.value.lower()]


def _named(db: sqlite3.Connection, query: Query, floor: int, ceiling: int) -> list[int]:
    """Messages that a single word names: by their id or its beginning, a delivery's id, or an item's reference."""
    if len(query.terms) != 1 or query.terms[0].key or query.terms[0].negated:
        return []
    word = query.terms[0].value
    found: list[int] = []
    if _ID_START.fullmatch(word.lower()):
        found += _column(db, "SELECT seq FROM messages WHERE id >= ? AND id < ?", word.lower(), word.lower() + "~")
        found += _column(db, "SELECT message FROM deliveries WHERE id = ?", word.lower())
    if any(char.isdigit() for char in word):
        found += _column(
            db,
            "SELECT m.seq FROM items i JOIN messages m ON m.conversation = i.conversation WHERE i.reference IN (?, ?)",
            word,
            word.upper(),
        )
        found += _column(
            db,
            "SELECT message FROM deliveries WHERE reference >= ? COLLATE NOCASE AND reference < ? COLLATE NOCASE",
            word,
            word + "~",
        )
    return [seq for seq in found if floor <= seq < ceiling]


def _column(db: sqlite3.Connection, sql: str, *values: Any) -> list[int]:
    return [row[0] for row in db.execute(f"{sql} LIMIT {_MOST_LOOKED_UP}", values)]


def first_seq_at(db: sqlite3.Connection, moment: int, table: str = "messages", column: str = "received_at") -> int:
    """The seq of the first row of a table made at a moment or later: seqs grow with time."""
    # One at a time: asked together, SQLite walks the table.
    low = db.execute(f"SELECT COALESCE(MIN(seq), 1) FROM {table}").fetchone()[0]
    high = db.execute(f"SELECT COALESCE(MAX(seq), 0) + 1 FROM {table}").fetchone()[0]
    while low < high:
        middle = (low + high) // 2
        row = db.execute(f"SELECT {column} FROM {table} WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)).fetchone()
        if row is None or row[0] >= moment:
            high = middle
        else:
            low = middle + 1
    return int(low)


def _tail(db: sqlite3.Connection, query: Query, after: int, ceiling: int, limit: int, *, newest: bool) -> list[int]:
    """Messages that are not in the index yet, looked at one by one: the newest, or the oldest, where there are very
    many."""
    rows = db.execute(
        "SELECT m.seq, m.id, m.recipient, m.from_address, m.from_name, m.subject, m.matched, m.kinds, m.attachments,"
        " m.state, m.conversation, c.data FROM messages m LEFT JOIN contents c ON c.message = m.seq"
        f" WHERE m.seq > ? AND m.seq < ? ORDER BY m.seq {'DESC' if newest else 'ASC'} LIMIT {_LONGEST_TAIL}",
        (after, ceiling),
    )
    found: list[int] = []
    for row in rows:
        if all(_meets(db, row, term) != term.negated for term in query.terms):
            found.append(row["seq"])
            if len(found) == limit:
                break
    return found


def _meets(db: sqlite3.Connection, row: sqlite3.Row, term: Term) -> bool:
    if term.key == "state":
        states = {each[0] for each in db.execute("SELECT state FROM deliveries WHERE message = ?", (row["seq"],))}
        if term.value == "pending":
            return bool(states & {"pending", "sending", "retrying"})
        return term.value == row["state"] or term.value in states & {"dead", "retrying"}
    if term.key == "in":
        same = db.execute("SELECT conversation FROM messages WHERE id = ?", (term.value.lower(),)).fetchone()
        return same is not None and same[0] == row["conversation"]
    if term.key in _FACETS:
        owed = db.execute("SELECT destination FROM deliveries WHERE message = ?", (row["seq"],))
        return _facet(term) in facets_of(row, [each[0] for each in owed])
    subject, sender, recipient, text = (each.split() for each in texts_of(row))
    words = {"to": recipient, "from": sender, "subject": subject}.get(term.key, [*subject, *sender, *recipient, *text])
    wanted = pieces(term.value)
    if not term.key and row["id"].startswith(term.value.lower()) and _ID_START.fullmatch(term.value.lower()):
        return True
    if not wanted:
        return False
    whole, last = wanted[:-1], wanted[-1]
    begins = any(word.startswith(last) for word in words) if len(last) > 1 else last in words
    return begins and set(whole) <= set(words)

"""What the search finds messages by: words in a full-text index, and facets (rule, destination, kind, attachment).

Both are filled behind the accepting transaction, oldest message first: `settings` says up to which one. What is not in
yet is looked at by itself. Texts are cut into words by `query.pieces` before they reach the index: a search cuts its
own words the same way.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from postroom.store import content, statistics
from postroom.store.query import pieces

_UPTO = "search_indexed"
_MOST_CHARACTERS = 20_000
"""Of a text that are indexed."""
_MOST_WORDS = 2_000
ATTACHMENT = "has:attachment"


def indexed_upto(db: sqlite3.Connection) -> int:
    """The seq of the last message that is in the index; 0: none."""
    row = db.execute("SELECT value FROM settings WHERE name = ?", (_UPTO,)).fetchone()
    return int(row[0]) if row else 0


def index_next(db: sqlite3.Connection, most: int) -> int:
    """Indexes the oldest messages that are not in yet, inside the caller's transaction. Returns how many there were."""
    upto = indexed_upto(db)
    rows = db.execute(
        "SELECT m.seq, m.received_at, m.ingress, m.state, m.recipient, m.from_address, m.from_name, m.subject,"
        " m.matched, m.kinds, m.attachments, c.data FROM messages m LEFT JOIN contents c ON c.message = m.seq"
        " WHERE m.seq > ? ORDER BY m.seq LIMIT ?",
        (upto, most),
    ).fetchall()
    if not rows:
        return 0
    last = rows[-1]["seq"]
    owed = db.execute(
        "SELECT message, rule, destination FROM deliveries WHERE message > ? AND message <= ?", (upto, last)
    ).fetchall()
    statistics.count_messages(db, rows, owed)
    places: defaultdict[int, list[str]] = defaultdict(list)
    for message, _, destination in owed:
        places[message].append(destination)
    texts = []
    for row in rows:
        add_facets(db, row["seq"], facets_of(row, places[row["seq"]]))
        texts.append((row["seq"], *texts_of(row)))
    db.executemany("INSERT INTO search (rowid, subject, sender, recipient, text) VALUES (?, ?, ?, ?, ?)", texts)
    db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (_UPTO, str(last)))
    return len(rows)


def add_facets(db: sqlite3.Connection, message: int, names: Iterable[str]) -> None:
    """Says that a message is found by these: what a later action adds to it, such as a destination."""
    for name in dict.fromkeys(names):
        db.execute("INSERT OR IGNORE INTO facets (name) VALUES (?)", (name,))
        db.execute(
            "INSERT OR IGNORE INTO facet_messages SELECT seq, ? FROM facets WHERE name = ?",
            (message, name),
        )


@contextmanager
def changing(db: sqlite3.Connection, seq: int) -> Iterator[None]:
    """Around a later change of what a message matched, its state or what it is owed: search and statistics follow.

    It is found by what it was before, too.
    """
    if seq > indexed_upto(db):
        yield
        return
    _count(db, seq, -1)
    yield
    add_facets(db, seq, _count(db, seq, 1))


def _count(db: sqlite3.Connection, seq: int, sign: int) -> list[str]:
    """Adds a message to the statistics, or takes it out. Returns its facets."""
    row: sqlite3.Row = db.execute(
        "SELECT seq, received_at, ingress, state, matched, kinds, attachments FROM messages WHERE seq = ?", (seq,)
    ).fetchone()
    owed = db.execute("SELECT message, rule, destination FROM deliveries WHERE message = ?", (seq,)).fetchall()
    statistics.count_messages(db, [row], owed, sign)
    return facets_of(row, [each["destination"] for each in owed])


def remove(db: sqlite3.Connection, seq: int) -> None:
    """Takes a message out of the index: before its text is pruned or erased, for the index wants to see it again."""
    row = db.execute(
        "SELECT m.seq, m.recipient, m.from_address, m.from_name, m.subject, c.data FROM messages m"
        " LEFT JOIN contents c ON c.message = m.seq WHERE m.seq = ?",
        (seq,),
    ).fetchone()
    if row is None or seq > indexed_upto(db):
        return
    db.execute(
        "INSERT INTO search (search, rowid, subject, sender, recipient, text) VALUES ('delete', ?, ?, ?, ?, ?)",
        (seq, *texts_of(row)),
    )
    db.execute("DELETE FROM facet_messages WHERE message = ?", (seq,))


def facets_of(row: sqlite3.Row, destinations: Iterable[str]) -> list[str]:
    """What a message is found by beside its words. `destinations`: where it is owed."""
    facets = [f"rule:{name}" for name in row["matched"].split("\n") if name]
    facets += [f"kind:{kind}" for kind in row["kinds"].split()]
    facets += [f"dest:{name}" for name in destinations]
    return [*facets, ATTACHMENT] if row["attachments"] else facets


def texts_of(row: sqlite3.Row) -> tuple[str, str, str, str]:
    """Subject, sender, recipient and text of a message, as words separated by blanks."""
    words: list[str] = []
    if row["data"] is not None:
        message = content.unpack(row["data"])[0]
        words = pieces((message.text or "")[:_MOST_CHARACTERS])[:_MOST_WORDS]
        for each in message.attachments[:50]:
            words += pieces(each.name[:200])
        for address in (*message.to[:20], *message.cc[:20]):
            words += pieces(f"{address.address} {address.name}"[:200])
    return (
        " ".join(pieces((row["subject"] or "")[:2_000])),
        " ".join(pieces(f"{row['from_address'] or ''} {row['from_name'] or ''}"[:600])),
        " ".join(pieces((row["recipient"] or "")[:400])),
        " ".join(words),
    )

"""What a person means by ids or by a search, when something is to be done to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from postroom import acts
from postroom.acts import Act
from postroom.ids import now_ms
from postroom.store import redelivery
from postroom.store.history import FILTERS, History
from postroom.store.query import parse
from postroom.store.redelivery import Target
from postroom.store.states import DeliveryState

LIMIT = 1_000
"""So many messages, or deliveries, may be acted on at once."""
_PAGE = 500
_LOOK_IN: dict[str, tuple[str, ...]] = {
    "retry": ("dead", "retrying"),
    "cancel": ("pending",),
    "release": ("held",),
    "discard": ("held", "unmatched"),
}
"""Filters of history that find what an act is possible for."""


def targets(history: History, act: Act, ids: Sequence[str]) -> list[Target]:
    """What an act is about, oldest first: deliveries, those of messages among the ids too; or messages."""
    if act not in acts.ACTS:
        raise ValueError(f"'{act}' is nothing that can be done; known are {', '.join(acts.ACTS)}")
    ids = [each.lower() for each in dict.fromkeys(ids)]
    if act not in acts.ON_DELIVERIES:
        return history.read(lambda db: redelivery.messages(db, ids))

    def look(db: sqlite3.Connection) -> list[Target]:
        known = {each.seq: each for each in redelivery.deliveries(db, ids)}
        known.update({each.seq: each for each in _of_messages(act, redelivery.deliveries(db, ids, of_messages=True))})
        return [known[seq] for seq in sorted(known)]

    return history.read(look)


def _of_messages(act: Act, there: list[Target]) -> list[Target]:
    """Of what was replayed before, only the last is meant: each replay of a message would make twice as many else."""
    if act != "replay":
        return there
    last = {(each.message, each.rule, each.action, each.destination): each.seq for each in there if _was_made(each)}
    made = set(last.values())
    return [each for each in there if not _was_made(each) or each.seq in made]


def _was_made(target: Target) -> bool:
    return target.state == DeliveryState.DELIVERED


def missing(history: History, ids: Sequence[str], targets: Sequence[Target]) -> int:
    """How many ids are neither those of targets nor of messages at all."""
    known = {id for each in targets for id in (each.id, each.message)}
    left = [id for id in ids if id.lower() not in known]
    there = history.read(lambda db: redelivery.messages(db, left)) if left else []
    return len(left) - len(there)


def found(history: History, act: Act, query: str) -> tuple[list[str], bool, tuple[str, ...]]:
    """The messages of a search, whether there are more, and what of it makes no sense: then none."""
    seqs: dict[int, str] = {}
    more = False
    for state in _LOOK_IN.get(act, ("",)):
        before = None
        while True:
            page = history.find(query, state=state, before=before, limit=_PAGE)
            if page.problems:
                return [], False, page.problems
            seqs.update({row.seq: row.id for row in page.rows})
            more = more or page.cut
            if page.cut or len(page.rows) < _PAGE or len(seqs) > 2 * LIMIT:
                break
            before = page.rows[-1].seq
    newest = sorted(seqs, reverse=True)
    return [seqs[seq] for seq in newest[:LIMIT]], more or len(newest) > LIMIT, ()


def picker(query: str) -> Callable[[Target], bool]:
    """Whether a search that names destinations, rules or states of deliveries means a delivery."""
    terms = [term for term in parse(query, now_ms(), FILTERS).terms if term.key in ("dest", "rule", "state")]

    def meant(target: Target) -> bool:
        for term in terms:
            if term.key == "state" and term.value not in ("dead", "retrying"):
                continue
            value = {"dest": target.destination, "rule": target.rule, "state": target.state}[term.key]
            if (value == term.value) == term.negated:
                return False
        return True

    return meant

"""A store with mail in it and people who act on it, without servers: what the tests of acts share."""

from __future__ import annotations

import sqlite3
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from postroom.acting import Acting
from postroom.identity import identify
from postroom.ids import new_id, now_ms
from postroom.message import Address, Message
from postroom.plan import Content
from postroom.recognise import Recogniser
from postroom.rulebook import RuleBook
from postroom.rules import compile_rules
from postroom.store import database, outbox, rulesets, search_index
from postroom.store.brake import Brake
from postroom.store.content import pack, pack_content
from postroom.store.conversations import addressee_key, sender_key
from postroom.store.history import History
from postroom.store.messages import Inserter, NewMessage
from postroom.store.outbox import Attempt, Owed
from postroom.store.states import AttemptResult
from postroom.store.writer import Writer

MAKERS = frozenset(("tracker",))
_numbers = count(1)


class Room:
    """`ada` acts. Destinations are names only; `tracker` makes items. Deliveries end as the tests say."""

    def __init__(self, folder: Path, rules: str) -> None:
        self.path = folder / database.FILE_NAME
        database.migrate(self.path)
        self.writer = Writer(self.path)
        self.history = History(self.path)
        self.book = RuleBook(self.path, {})
        self.recogniser = Recogniser(b"of this room only", ())
        self.acting = Acting(self.writer, self.history, self.book.active, MAKERS)
        self.inserter = Inserter(Brake(), MAKERS)
        self.rules(rules)

    def rules(self, text: str) -> int:
        """Makes these rules the active ones; their number."""
        rule_set = compile_rules({"rules.yaml": text}, None)
        seq = self.writer.run(lambda db: rulesets.publish(db, rule_set.hash, rule_set.files, now_ms()))
        self.book.refresh()
        return seq

    def mail(self, user: str = "support", subject: str = "Hello", **more: Any) -> str:
        """A mail that comes in; its id."""
        message = Message(
            id=new_id(),
            received_at=now_ms(),
            ingress="test",
            recipient=Address(f"{user}@example.com"),
            return_path=Address("jo@example.org"),
            from_=Address("jo@example.org"),
            subject=subject,
            size=100,
            **{"message_id": f"<{next(_numbers)}@example.org>", "text": "Some text.", **more},
        )
        message, ties = self.recogniser.recognise(message, ())
        evaluate, rule_set = self.book.active()
        plan = evaluate(message)
        new = NewMessage(
            message=message,
            identity=identify(message),
            block=pack(message, b"{}"),
            contents=(),
            plan=plan,
            rule_set=rule_set,
            ties=ties,
            sender=sender_key(message),
            addressee=addressee_key(message),
            replan=partial(evaluate, message) if plan.asked_items else None,
        )
        (stored,) = self.writer.run(lambda db: self.inserter.insert_all(db, [new]))
        assert not stored.absorbed
        return stored.id

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self.history.read(lambda db: db.execute(sql, values).fetchall())

    def message(self, id: str) -> sqlite3.Row:
        (row,) = self.rows("SELECT * FROM messages WHERE id = ?", id)
        return row

    def deliveries(self, message: str) -> list[sqlite3.Row]:
        return self.rows(
            "SELECT d.* FROM deliveries d JOIN messages m ON m.seq = d.message WHERE m.id = ? ORDER BY d.seq", message
        )

    def owed(self, message: str) -> list[tuple[str, str, str]]:
        """Rule, destination and state of each delivery."""
        return [(row["rule"], row["destination"], row["state"]) for row in self.deliveries(message)]

    def events(self, message: str) -> list[tuple[str, str, str | None]]:
        detail = self.history.message(message)
        assert detail is not None
        return [(each.what, each.who, each.detail) for each in detail.events]

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of the tables that acts may change."""
        tables = ("messages", "deliveries", "events", "items", "correlations", "limit_uses", "facet_messages")
        return {table: [tuple(row) for row in self.rows(f"SELECT * FROM {table}")] for table in tables}

    def due(self, destination: str) -> list[Owed]:
        """What the dispatcher would take now."""
        return self.history.read(lambda db: outbox.due(db, destination, now_ms() + 10, 100))

    def claim(self, delivery: str) -> Owed:
        """The dispatcher takes a delivery."""
        (row,) = self.rows("SELECT destination FROM deliveries WHERE id = ?", delivery)
        owed = next(each for each in self.due(row["destination"]) if each.id == delivery)
        content = pack_content(Content(title=f"what {delivery} says", body=""))
        assert self.writer.run(lambda db: outbox.claim(db, owed, content, "lease", now_ms() + 60_000))
        return owed

    def end(self, delivery: str, state: str, *, unknown: bool = False, step: str = "") -> None:
        """Brings a pending delivery into a state, as the dispatcher does. `step`: one that it finishes first."""
        if state == "pending":
            return
        if state == "cancelled":
            assert self.acting.cancel(delivery, "eve").done
            return
        owed = self.claim(delivery)
        result = AttemptResult.UNKNOWN if unknown else AttemptResult.FAILED
        attempt = Attempt(owed.attempt, now_ms(), 5, result, error="it failed")
        makes = owed.destination in MAKERS

        def work(db: sqlite3.Connection) -> bool:
            if step:
                outbox.record_step(db, owed.seq, step, "T-1", now_ms())
            if state == "delivered":
                return outbox.delivered(
                    db, owed, "lease", attempt, reference=f"T-{owed.seq}", url=None, opens_item=makes, now=now_ms()
                )
            if state == "suppressed":
                return outbox.suppressed(db, owed, "lease", "nothing to do", now_ms())
            if state in ("dead", "retrying"):
                return outbox.failed(
                    db, owed, "lease", attempt, opens_item=makes, item_gone=False, now=now_ms(),
                    retry_at=None if state == "dead" else now_ms() + 3_600_000,
                )  # fmt: skip
            return state == "sending"

        assert self.writer.run(work)

    def end_all(self, message: str, state: str = "delivered") -> None:
        for row in self.deliveries(message):
            if row["state"] == "pending":
                self.end(row["id"], state)

    def index(self) -> None:
        """The search knows all mail that is there."""
        while self.writer.run(lambda db: search_index.index_next(db, 100)):
            pass

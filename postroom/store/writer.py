"""One writer for all threads of a process: whoever gets the lock commits everything that waits.

This is leader-style group commit. On a fast disk this costs nothing; on a slow one many messages share one flush.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from postroom.store.database import connect

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
Work = Callable[[sqlite3.Connection], T]
GroupWork = Callable[[sqlite3.Connection, Sequence[U]], Sequence[T]]
"""Work on several items at once, with a result for each. Raises where one of them cannot be done."""
Make = Callable[[Sequence[V]], Sequence[Sequence[U] | BaseException]]
"""Makes the items of several threads; an exception in place of items goes to the thread it belongs to. Never raises."""


class _Ticket:
    __slots__ = ("done", "error", "items", "make", "raw", "result", "turn", "work")

    def __init__(self, work: Callable[..., Any], make: Make[Any, Any] | None = None, raw: Any = None) -> None:
        self.work = work
        self.make = make
        """Makes the items of grouped work; None for work that stands alone."""
        self.raw = raw
        self.items: Sequence[Any] = ()
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        # Held until the ticket is committed, or its thread is to lead. A bare lock is the cheapest way to wait.
        self.turn = threading.Lock()
        self.turn.acquire()


class Writer:
    """Runs work inside durable transactions."""

    def __init__(self, path: Path, *, after_commit: Callable[[], None] = lambda: None) -> None:
        """`after_commit` is called after each transaction, and must not raise."""
        self._db = connect(path)
        # SQLite's own wait for another process polls with growing pauses; a file lock wakes the next writer at once.
        self._gate = os.open(path.with_name(path.name + "-write"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._after_commit = after_commit
        self._waiting: list[_Ticket] = []
        self._led = False
        self._lock = threading.Lock()

    def run(self, work: Work[T]) -> T:
        """Runs `work(connection)` in a transaction and returns its result once that is on the disk.

        Work of other threads may share the transaction; each stands in a savepoint of its own, so that one that raises
        takes nothing of the others with it. Raises what `work` raises, and sqlite3.Error where the commit fails.
        """
        result: T = self._wait_for(_Ticket(work))
        return result

    def run_grouped(self, work: GroupWork[U, T], make: Make[V, U], raw: V) -> Sequence[T]:
        """Like `run`, for work that does many items at less cost than one by one: those of all threads are joined.

        `make` makes the items of `raw`, in whichever thread leads and for all threads at once, before the transaction:
        threads that take turns at the interpreter, and at the processor's caches, cost more than the work itself.
        What it answers for `raw` instead of items is raised here. Where joined work raises, the items of each thread
        are done by themselves, so that only the faulty raise.
        """
        ticket = _Ticket(work, make, raw)
        results: Sequence[T] = self._wait_for(ticket)
        return results

    def close(self) -> None:
        """Closes the file after what is under way."""
        self.run(lambda db: None)
        self._db.close()
        os.close(self._gate)

    def _wait_for(self, ticket: _Ticket) -> Any:
        with self._lock:
            self._waiting.append(ticket)
            leads = not self._led
            self._led = True
        if not leads:
            ticket.turn.acquire()
        if not ticket.done:
            self._lead(ticket)
        if ticket.error is not None:
            raise ticket.error
        return ticket.result

    def _lead(self, own: _Ticket) -> None:
        """Commits all that waits, hands the lead on, and only then wakes the others: the next commit begins at once."""
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            self._commit(batch)
            self._after_commit()
        finally:
            # Whatever happened: nobody may wait for a lead that is gone.
            with self._lock:
                follower = self._waiting[0] if self._waiting else None
                self._led = follower is not None
            if follower is not None:
                follower.turn.release()
            for ticket in batch:
                if ticket is not own:
                    ticket.turn.release()

    def _commit(self, batch: list[_Ticket]) -> None:
        db = self._db
        try:
            self._make_items(batch)
            left = [ticket for ticket in batch if ticket.error is None]
            if not left:
                return
            fcntl.flock(self._gate, fcntl.LOCK_EX)
            db.execute("BEGIN IMMEDIATE")
            groups: dict[Any, list[_Ticket]] = {}
            for ticket in left:
                if ticket.make is None:
                    self._in_savepoint(ticket, partial(ticket.work, db))
                else:
                    groups.setdefault(ticket.work, []).append(ticket)
            for work, tickets in groups.items():
                self._run_group(work, tickets)
            db.execute("COMMIT")
        except BaseException as error:
            for ticket in batch:
                ticket.error = ticket.error or error
            if db.in_transaction:
                db.execute("ROLLBACK")
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
            for ticket in batch:
                ticket.done = True

    def _make_items(self, batch: list[_Ticket]) -> None:
        by_maker: dict[Any, list[_Ticket]] = {}
        for ticket in batch:
            if ticket.make is not None:
                by_maker.setdefault(ticket.make, []).append(ticket)
        for make, tickets in by_maker.items():
            for ticket, made in zip(tickets, make([each.raw for each in tickets]), strict=True):
                if isinstance(made, BaseException):
                    ticket.error = made
                else:
                    ticket.items = made

    def _run_group(self, work: Callable[..., Any], tickets: list[_Ticket]) -> None:
        items = [item for ticket in tickets for item in ticket.items]
        joined = _Ticket(work)
        self._in_savepoint(joined, partial(work, self._db, items))
        if joined.error is None:
            results = iter(joined.result)
            for ticket in tickets:
                ticket.result = [next(results) for _ in ticket.items]
            return
        for ticket in tickets:
            self._in_savepoint(ticket, partial(work, self._db, ticket.items))

    def _in_savepoint(self, ticket: _Ticket, work: Callable[[], Any]) -> None:
        db = self._db
        db.execute("SAVEPOINT work")
        try:
            ticket.result = work()
        except BaseException as error:
            # A full disk makes SQLite undo the whole transaction: then nobody's work is done.
            if not db.in_transaction:
                raise
            ticket.error = error
            db.execute("ROLLBACK TO work")
        db.execute("RELEASE work")

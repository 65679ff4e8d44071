"""One writer for all threads of a process: whoever gets the lock commits everything that waits.

This is leader-style group commit. On a fast disk this costs nothing; on a slow one many messages share one flush.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from postroom.store.database import connect

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class _Ticket(Generic[T]):
    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Work[T]) -> None:
        self.work = work
        self.done = False
        self.result: T | None = None
        self.error: BaseException | None = None


class Writer:
    """Runs work inside durable transactions."""

    def __init__(self, path: Path, *, after_commit: Callable[[], None] = lambda: None) -> None:
        """`after_commit` is called after each commit, outside the transaction."""
        self._db = connect(path)
        self._after_commit = after_commit
        self._waiting: deque[_Ticket[Any]] = deque()
        self._lock = threading.Lock()

    def run(self, work: Work[T]) -> T:
        """Runs `work(connection)` in a transaction and returns its result once that is on the disk.

        Work of other threads may share the transaction; each stands in a savepoint of its own, so that one that raises
        takes nothing of the others with it. Raises what `work` raises, and sqlite3.Error where the commit fails.
        """
        ticket = _Ticket(work)
        self._waiting.append(ticket)
        with self._lock:
            if not ticket.done:
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                self._commit(batch)
        if ticket.error is not None:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]  # None only where T is None

    def close(self) -> None:
        """Waits for what is under way, then closes the file."""
        with self._lock:
            self._db.close()

    def _commit(self, batch: list[_Ticket[Any]]) -> None:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            for ticket in batch:
                self._run_one(ticket, alone=len(batch) == 1)
            if db.in_transaction:
                db.execute("COMMIT")
                self._after_commit()
        except BaseException as error:
            for ticket in batch:
                ticket.error = ticket.error or error
            if db.in_transaction:
                db.execute("ROLLBACK")
        finally:
            for ticket in batch:
                ticket.done = True

    def _run_one(self, ticket: _Ticket[Any], *, alone: bool) -> None:
        db = self._db
        try:
            if not alone:
                db.execute("SAVEPOINT work")
            ticket.result = ticket.work(db)
            if not alone:
                db.execute("RELEASE work")
        except BaseException as error:
            # A full disk makes SQLite undo the whole transaction: then nobody's work is done.
            if alone or not db.in_transaction:
                raise
            ticket.error = error
            db.execute("ROLLBACK TO work")
            db.execute("RELEASE work")

"""Keeps search index and statistics up with the mail, in a thread of its own: behind the mail, a little at a time."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from pathlib import Path

from postroom.ids import now_ms
from postroom.store import statistics
from postroom.store.database import connect
from postroom.store.search_index import index_next, indexed_upto
from postroom.store.writer import Writer

log = logging.getLogger(__name__)

_BATCH = 20
"""Mails in one transaction: accepting mail waits for it."""
_LOOK = 0.5
"""Seconds between looks while there is nothing to do."""
_TIDY = 3600.0
_SHARE, _BUSY_SHARE = 3, 30
"""It rests so many times as long as it works, and longer in a rush: mail and deliveries go first."""
_RUSH = 50
"""Mails and attempts a second that are a rush."""


class Indexer:
    """Runs from `start` to `stop`. Only one may run on a data folder: it lives in the dispatcher's process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._stopping = threading.Event()
        self._tidied_at = 0.0
        self._rush = False
        self._seen = (0.0, 0)
        """When it looked last, and the numbers of the newest mail and attempt then, added up."""
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        # A look costs a read; the writer's lock is only taken where there is something to do.
        reads = connect(self._database, read_only=True)
        writer = Writer(self._database)
        try:
            while not self._stopping.is_set():
                self._stopping.wait(self._round(reads, writer))
        finally:
            reads.close()
            writer.close()

    def _round(self, reads: sqlite3.Connection, writer: Writer) -> float:
        """Indexes a batch where there is one. Returns the seconds to rest."""
        try:
            newest = reads.execute("SELECT MAX(seq) FROM messages").fetchone()[0] or 0
            attempts = reads.execute("SELECT MAX(seq) FROM attempts").fetchone()[0] or 0
            if newest <= indexed_upto(reads) and attempts <= statistics.counted_upto(reads):
                return _LOOK
            began = time.monotonic()
            share = _BUSY_SHARE if self._is_rush(began, newest + attempts) else _SHARE

            def work(db: sqlite3.Connection) -> None:
                index_next(db, _BATCH)
                statistics.count_attempts(db, 4 * _BATCH)

            writer.run(work)
            if began > self._tidied_at + _TIDY:
                self._tidied_at = began
                writer.run(lambda db: statistics.forget_short_slots(db, now_ms()))
            return (time.monotonic() - began) * share
        except sqlite3.Error as error:
            # A full disk: the mail itself is refused meanwhile, and the search may lag.
            log.error("the search index cannot be kept up: %s", error)
            return 10.0
        except Exception:
            log.exception("the search index cannot be kept up")
            return 60.0

    def _is_rush(self, now: float, total: int) -> bool:
        """Whether much happens just now."""
        since, before = self._seen
        if now - since >= _LOOK:
            self._rush = (total - before) / (now - since) > _RUSH if since else False
            self._seen = now, total
        return self._rush

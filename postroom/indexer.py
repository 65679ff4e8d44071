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
_SHARE = 3
"""It rests so many times as long as it works: mail and deliveries go first."""


class Indexer:
    """Runs from `start` to `stop`. Only one may run on a data folder: it lives in the dispatcher's process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._stopping = threading.Event()
        self._tidied_at = 0.0
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
            behind = newest > indexed_upto(reads)
            if not behind and not statistics.waits(reads):
                return _LOOK
            began = time.monotonic()
            if behind:
                writer.run(lambda db: index_next(db, _BATCH))
            writer.run(lambda db: statistics.count_attempts(db, 4 * _BATCH))
            if began > self._tidied_at + _TIDY:
                self._tidied_at = began
                writer.run(lambda db: statistics.forget_short_slots(db, now_ms()))
            return (time.monotonic() - began) * _SHARE
        except sqlite3.Error as error:
            # A full disk: the mail itself is refused meanwhile, and the search may lag.
            log.error("the search index cannot be kept up: %s", error)
            return 10.0
        except Exception:
            log.exception("the search index cannot be kept up")
            return 60.0

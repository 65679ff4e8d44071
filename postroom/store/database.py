"""Opening the SQLite file, and its schema by named, append-only migrations."""

from __future__ import annotations

import sqlite3
from pathlib import Path

FILE_NAME = "postroom.db"

_BUSY_MS = 10_000
"""How long a writer waits for another process's transaction; each of them takes milliseconds."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are begun by `BEGIN IMMEDIATE` and ended in plain sight.

    Rows are sqlite3.Row. The connection may pass between threads, one at a time.
    """
    if read_only:
        db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
    else:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    if not read_only:
        # auto_vacuum counts only before the first table is made; WAL lets readers go on while one process writes.
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit is on the disk before it returns. The 200 to the provider rests on it.
        db.execute("PRAGMA synchronous=FULL")
        # A checkpoint copies what changed into the file and flushes twice: rarely, and of many pages, costs least.
        db.execute("PRAGMA wal_autocheckpoint=4000")
    return db


def migrate(path: Path) -> None:
    """Creates the file, or brings it to the newest schema. Each migration is one transaction."""
    # Imported here: the library costs memory that the running processes need not carry.
    from sqlite_utils import Database

    from postroom.store.migrations import migrations

    db = connect(path)
    try:
        migrations.apply(Database(db))
    finally:
        db.close()

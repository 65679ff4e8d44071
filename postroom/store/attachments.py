"""Attachments, streamed out of their chunk rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator


def chunks(db: sqlite3.Connection, sha256: str) -> Iterator[bytes]:
    """The content, at most 1 MB at a time. Raises KeyError where it was pruned."""
    row = db.execute("SELECT seq, size FROM blobs WHERE sha256 = ?", (sha256,)).fetchone()
    if row is None:
        raise KeyError(f"the attachment {sha256[:12]} is no longer kept")
    position = 0
    while (
        chunk := db.execute("SELECT data FROM chunks WHERE blob = ? AND position = ?", (row[0], position)).fetchone()
    ) is not None:
        yield chunk[0]
        position += 1

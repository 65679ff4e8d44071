"""What keeps bodies from filling memory, threads or the disk: past a limit it is 503, and the mail comes again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from postroom.ingress.base import Refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream

PIECE = 256 * 1024
"""Bytes that are read at once; a larger body is counted as it comes in."""


class Gate:
    """Bounds the bytes of bodies in memory and the threads that wait for bodies, and stops before the disk is full."""

    def __init__(self, in_flight: int, data_dir: Path, min_free: int, readers: int) -> None:
        """`in_flight` and `min_free` in bytes. `readers`: how many bodies may be read at once; fewer than the
        server has threads, so that clients which never end theirs leave some for the dashboard and /healthz.
        """
        self._limit = in_flight
        self._data_dir = data_dir
        self._min_free = min_free
        self._readers = readers
        self._reading = 0
        self._bytes = 0
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._free = 0

    @contextmanager
    def passing(self) -> Iterator[Passage]:
        """Room for one body, until its mail is stored. Raises Refusal(503) where there is none."""
        if self.disk_low():
            raise Refusal(503, "the disk is nearly full")
        passage = Passage(self)
        try:
            yield passage
        finally:
            self.add(-passage.held, 0)

    def add(self, count: int, held: int) -> None:
        """Counts bytes. One body larger than the limit passes alone. Raises Refusal(503) where there is no room."""
        with self._lock:
            others = self._bytes - held
            if count > 0 and others > 0 and self._bytes + count > self._limit:
                raise Refusal(503, "too much mail is under way")
            self._bytes += count

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Held while a thread waits for a client. Raises Refusal(503) where too many do."""
        with self._lock:
            if self._reading >= self._readers:
                raise Refusal(503, "too many requests are under way")
            self._reading += 1
        try:
            yield
        finally:
            with self._lock:
                self._reading -= 1

    def disk_low(self) -> bool:
        """True where less than `min_free` bytes are free; looked at once a second at most."""
        now = time.monotonic()
        if now - self._looked_at > 1.0:
            state = os.statvfs(self._data_dir)
            self._free, self._looked_at = state.f_bavail * state.f_frsize, now
        return self._free < self._min_free


class Passage:
    """One body on its way through the gate."""

    __slots__ = ("_gate", "held")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.held = 0
        """Bytes that are counted for this body."""

    def read(self, stream: InputStream, size: int | None, limit: int) -> bytes | bytearray:
        """The body, read once. Bytes count as they come: a length that is only announced keeps nobody out.

        Raises Refusal: 413 past the limit, 400 where the connection ended early, 503 where there is no room.
        """
        with self._gate.reading():
            if size is not None and size <= PIECE:
                self.hold(size)
                body: bytes | bytearray = stream.read(size) if size else b""
            else:
                # Grows in place: joined pieces would take the memory twice.
                body = bytearray()
                while piece := stream.read(PIECE if size is None else min(PIECE, size - len(body))):
                    if len(body) + len(piece) > limit:
                        raise Refusal(413, f"the body is larger than {limit} bytes")
                    self.hold(len(piece))
                    body += piece
        if size is not None and len(body) < size:
            raise Refusal(400, "the body ended before its Content-Length")
        return body

    def hold(self, count: int) -> None:
        """Counts bytes until the passage ends. Raises Refusal(503) where there is no room."""
        self._gate.add(count, self.held)
        self.held += count

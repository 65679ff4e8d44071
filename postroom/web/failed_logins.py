"""Failed logins on record: one event a minute that counts them, however many there are."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection

from postroom.ids import now_ms
from postroom.store import audit
from postroom.store.writer import Writer

WHO = audit.SOMEBODY
WHAT = "login failed"
_MINUTE_MS = 60_000
_MOST_TOLD = 5
_SHOWN = 3


class FailedLogins:
    """Keeps the minute that is under way. Made once for a process."""

    def __init__(self, writer: Writer, clock: Callable[[], int] = now_ms) -> None:
        self._writer, self._clock = writer, clock
        self._lock = threading.Lock()
        self._began = 0
        self._seq = 0
        self._wrong = self._refused = 0
        self._names: dict[str, None] = {}
        self._addresses: dict[str, None] = {}

    def note(self, name: str, address: str, known: Collection[str], *, refused: bool = False) -> None:
        """A name and a password did not fit; `refused`: they were not even looked at, for there were too many.

        A name that is none of the `known` is told by its beginning: people type passwords into the wrong field.
        """
        with self._lock:
            now = self._clock()
            if not self._began <= now < self._began + _MINUTE_MS:
                self._began, self._seq, self._wrong, self._refused = now, 0, 0, 0
                self._names, self._addresses = {}, {}
            shown = name if name in known else f"{name[:_SHOWN]}…" if len(name) > _SHOWN else name
            for kept, value in ((self._names, shown), (self._addresses, address)):
                if value not in kept and len(kept) <= _MOST_TOLD:
                    kept[value] = None
            self._wrong += not refused
            self._refused += refused
            # Wrong ones are slow, each takes the work of a hash. Of those refused, ever fewer are worth a flush.
            if not refused or self._refused & (self._refused - 1) == 0:
                self._write(now)

    def _write(self, now: int) -> None:
        refused = f", at least {self._refused} more refused unheard" if self._refused else ""
        detail = f"{self._wrong} wrong{refused}; as {_told(self._names)}; from {_told(self._addresses)}"

        def work(db: sqlite3.Connection) -> int:
            if not self._seq:
                return audit.note(db, WHO, WHAT, detail, now)
            audit.amend(db, self._seq, detail)
            return self._seq

        self._seq = self._writer.run(work)


def _told(values: Collection[str]) -> str:
    listed = list(values)
    return ", ".join(listed[:_MOST_TOLD]) + (" and others" if len(listed) > _MOST_TOLD else "")

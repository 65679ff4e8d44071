"""Requests to the ways in whose secret was wrong: the overview says so. Kept in memory, for a day."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from postroom.ids import now_ms

_KEPT_MS = 86_400_000
_MOST = 1_000
"""Of each way in."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What one way in refused lately. `last` in milliseconds since 1970."""

    count: int
    last: int

    @property
    def more(self) -> bool:
        """Whether there were more than were counted."""
        return self.count >= _MOST


class Refusals:
    """From several threads at once."""

    def __init__(self) -> None:
        self._times: dict[str, deque[int]] = {}
        self._lock = threading.Lock()

    def note(self, ingress: str) -> None:
        """One more, now."""
        with self._lock:
            self._times.setdefault(ingress, deque(maxlen=_MOST)).append(now_ms())

    def lately(self) -> dict[str, Refused]:
        """By way in, those of the last day."""
        since = now_ms() - _KEPT_MS
        with self._lock:
            kept = {name: [at for at in times if at >= since] for name, times in self._times.items()}
        return {name: Refused(len(times), times[-1]) for name, times in kept.items() if times}

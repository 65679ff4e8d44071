"""The circuit breaker of a destination: one that fails again and again is left alone but for a probe now and then.

While the circuit is open deliveries wait, they do not die. What is open and until when stands in the store, for the
dashboard and for the next start; only the streak of failures is kept in memory.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

_LONGEST = 10
"""The pause between probes grows to so many times the first one."""
_FEWEST = 2
"""Deliveries that must have failed: one alone may be what the destination stumbles over."""


@dataclass(slots=True)
class Circuit:
    """Opens after `failures` in a row (0: never), of at least two deliveries. Times are milliseconds since 1970."""

    failures: int = 10
    probe: float = 30.0
    """Seconds until the first probe."""
    opened_at: int | None = None
    probe_at: int = 0
    _streak: int = field(default=0, init=False)
    _deliveries: set[int] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    def failed(self, delivery: int, now: int) -> bool:
        """Counts a failure that speaks against the destination. True where the circuit is open after it."""
        if not self.failures:
            return False
        with self._lock:
            self._streak += 1
            if len(self._deliveries) < _FEWEST:
                self._deliveries.add(delivery)
            if self.opened_at is None:
                if self._streak < self.failures or len(self._deliveries) < _FEWEST:
                    return False
                self.opened_at = now
            longer = min(2 ** max(self._streak - self.failures, 0), _LONGEST)
            self.probe_at = now + int(self.probe * 1000 * longer)
            return True

    def answered(self) -> bool:
        """The destination works. True where the circuit was open until now."""
        with self._lock:
            was_open = self.opened_at is not None
            self._streak, self.opened_at = 0, None
            self._deliveries.clear()
            return was_open

    def room(self, now: int, under_way: int) -> int | None:
        """How many deliveries it lets go now: None: any number; while it is open one, where a probe is due."""
        if self.opened_at is None:
            return None
        return 1 if now >= self.probe_at and not under_way else 0

"""The brake on guessed passwords: pauses that grow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Brake:
    """For each key `burst` tries at once; behind each further one stands a pause, twice that before it.

    The first pause is `seconds`, none is longer than `longest`. What was not tried for `forget` seconds begins anew.
    Kept in memory, bounded.
    """

    def __init__(
        self,
        burst: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        longest: float = 900,
        forget: float = 3600,
    ) -> None:
        self._burst, self._seconds, self._clock = burst, seconds, clock
        self._longest, self._forget = longest, forget
        # How often, until when there is a pause, and when it was tried last.
        self._used: dict[str, tuple[int, float, float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """0 and one try less, or the seconds to wait until there is one."""
        with self._lock:
            count, until, now = self._now_used(key)
            if until > now:
                return until - now
            if len(self._used) >= 10_000 and key not in self._used:
                # Full of names that somebody makes up: the least used go, so that those under attack stay.
                for other in sorted(self._used, key=lambda one: self._used[one][0])[:5_000]:
                    del self._used[other]
            beyond = count + 1 - self._burst
            pause = min(self._longest, self._seconds * 2.0 ** min(beyond, 30)) if beyond >= 0 else 0.0
            self._used[key] = (count + 1, now + pause, now)
            return 0

    def give_back(self, key: str) -> None:
        """The try was a good one."""
        with self._lock:
            count, _, now = self._now_used(key)
            self._used[key] = (max(0, count - 1), now, now)

    def _now_used(self, key: str) -> tuple[int, float, float]:
        now = self._clock()
        count, until, at = self._used.get(key, (0, now, now))
        return (0, now, now) if now - at > self._forget else (count, until, now)

"""One configured way out as the dispatcher sees it: how much at once, how often, and when again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from postroom.fields import Rate
from postroom.integration import Integration

_SHORTEST_LEASE = 60.0
_LONGEST_WAIT = 86_400.0


@dataclass(slots=True)
class Destination:
    """One configured way out with what the dispatcher must know of it. Times are seconds."""

    integration: Integration
    timeout: float = 15.0
    concurrency: int = 4
    rate: Rate | None = None
    paused: bool = False
    retry: tuple[float, ...] = (0, 5, 300, 1800, 7200, 18000, 36000, 36000)
    under_way: int = 0
    _tokens: float = field(default=0.0, init=False)
    _filled_at: float = field(default=0.0, init=False)

    @property
    def name(self) -> str:
        return self.integration.name

    @property
    def makes_items(self) -> bool:
        return self.integration.opens_items(self.integration.options)

    @property
    def lease(self) -> float:
        """Seconds until a claim is taken for lost. One exchange takes less than half of it; each step renews it."""
        return max(_SHORTEST_LEASE, 4 * self.timeout)

    def allowance(self) -> int:
        """How many deliveries the rate allows now."""
        if self.rate is None:
            return 1_000_000
        now = time.monotonic()
        grown = (now - self._filled_at) * self.rate.count / self.rate.seconds
        self._tokens = float(self.rate.count) if not self._filled_at else min(self.rate.count, self._tokens + grown)
        self._filled_at = now
        return int(self._tokens)

    def spend(self, count: int) -> None:
        """Takes deliveries off what the rate allows."""
        self._tokens -= count

    def pause_after(self, failures: int, wish: float | None) -> float | None:
        """Seconds until the next attempt after so many failures; None where all attempts are used.

        The destination's own wish (Retry-After) can only make the pause longer, and not without bound.
        """
        if failures >= len(self.retry):
            return None
        pause = self.retry[failures] * random.uniform(1.0, 1.2)
        return max(pause, min(wish or 0.0, _LONGEST_WAIT))

"""One configured way out as the dispatcher sees it: how much at once, how often, and when again."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field

from postroom.circuit import Circuit
from postroom.fields import Rate
from postroom.integration import DeliveryError, Integration
from postroom.store.destinations import Standing

_SHORTEST_LEASE = 60.0
_LONGEST_WAIT = 86_400.0
_FIRST_REST, _LONGEST_REST = 2.0, 60.0
_MOST_RESTS = 50
_CREDENTIALS = (401, 403, 407, 530, 534, 535, 538)
"""Statuses that refuse us, not the delivery: of HTTP, and of mail servers (RFC 4954)."""


@dataclass(slots=True)
class Destination:
    """One configured way out with what the dispatcher must know of it. Times are seconds."""

    integration: Integration
    timeout: float = 15.0
    concurrency: int = 4
    rate: Rate | None = None
    paused: bool = False
    retry: tuple[float, ...] = (0, 5, 300, 1800, 7200, 18000, 36000, 36000)
    circuit: Circuit = field(default_factory=Circuit)
    under_way: int = 0
    _held: bool = field(default=False, init=False)
    """Paused by a person, or by its own wish (410)."""
    _adopted: bool = field(default=False, init=False)
    _rests_until: float = field(default=0.0, init=False)
    _rests: int = field(default=0, init=False)
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

    def adopt(self, standing: Standing | None) -> None:
        """Takes over what people put on record: a pause, and an earlier probe of an open circuit.

        Whether the circuit is open is known here first: the record may lag by a moment. Only at the start it counts.
        """
        self._held = standing is not None and standing.paused_at is not None
        if standing is not None and standing.opened_at is not None:
            if not self._adopted:
                self.circuit.opened_at = standing.opened_at
            if self.circuit.is_open:
                self.circuit.probe_at = standing.probe_at
        self._adopted = True

    def room(self, now: int) -> int:
        """How many deliveries may begin now. `now`: milliseconds since 1970."""
        if self.paused or self._held or time.monotonic() < self._rests_until:
            return 0
        room = min(self.concurrency - self.under_way, self.allowance())
        probing = self.circuit.room(now, self.under_way)
        return room if probing is None else min(room, probing)

    def opens_in(self, now: int) -> float:
        """Seconds until it may have room again, by its own clocks; infinite where none of them runs."""
        if self.paused or self._held:
            return math.inf
        waits = [math.inf]
        if (rest := self._rests_until - time.monotonic()) > 0:
            waits.append(rest)
        if self.rate is not None and self.allowance() < 1:
            waits.append(self.rate.seconds / self.rate.count)
        if self.circuit.is_open and self.circuit.probe_at > now and not self.under_way:
            waits.append((self.circuit.probe_at - now) / 1000)
        return min(waits)

    def rest(self, wish: float | None) -> float | None:
        """It asks for fewer requests: nothing of it begins for as long as it wishes, or else longer each time.

        Returns the seconds; None where it has asked so often without taking anything that this is a failure like any
        other.
        """
        self._rests += 1
        own = min(_FIRST_REST * 2 ** min(self._rests - 1, 10), _LONGEST_REST) * random.uniform(0.8, 1.2)
        seconds = min(wish or own, _LONGEST_WAIT)
        self._rests_until = time.monotonic() + seconds
        return seconds if self._rests <= _MOST_RESTS else None

    def rested(self) -> None:
        """It took a request."""
        self._rests = 0

    def is_at_fault(self, error: DeliveryError) -> bool | None:
        """Whether an error speaks against the destination (True), for it (False: it answered), or tells nothing."""
        if error.limited or error.item_gone:
            return False
        if not error.permanent:
            return True
        if error.status is None:
            return None
        return error.status in _CREDENTIALS

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

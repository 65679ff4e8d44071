"""What an integration looked up at its destination, such as the ids of names: remembered for some minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
MOST = 1_000
"""Things that are remembered at once: names may come from mails."""


class Remembered:
    """For all threads of one destination. What is remembered longer than `seconds` ago is looked up again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: dict[Hashable, tuple[float, Any]] = {}

    def get(self, key: Hashable, look: Callable[[], T], *, holds: Callable[[T], bool] = bool) -> T:
        """What `look` returned, earlier or now: it is called where nothing is known of which `holds` is true.

        By default nothing empty is believed for longer than one question. Raises what `look` raises.
        """
        with self._lock:
            found = self._known.get(key)
        if found is not None and time.monotonic() - found[0] < self._seconds and holds(found[1]):
            known: T = found[1]
            return known
        value = look()
        with self._lock:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = (time.monotonic(), value)
        return value

    def forget(self) -> None:
        """All of it: the next question is asked at the destination."""
        with self._lock:
            self._known.clear()

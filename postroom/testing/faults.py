"""Faults at a destination: one of its requests that change something meets one."""

from __future__ import annotations

import threading

from postroom.testing.servers import CLOSE, Reply, Request
from postroom.testing.standin import Standin

FAULTS = ("closed after", "failed after", "refused before")
"""The destination does what is asked, and closes the connection; it does it, and answers 500; it does not: 503."""
KILLED = "killed"
"""The destination does what is asked, and does not answer before `over` is set: meanwhile the sender is killed."""


class Faulty:
    """A stand-in whose n-th request that changes something (from 1) meets a fault; all else goes well."""

    def __init__(self, there: Standin, fault: str = "", at: int = 0, *, patience: float = 60) -> None:
        """`patience`: seconds to wait for `over`."""
        self.changing: list[Request] = []
        """The requests that changed something, or were to."""
        self.met = threading.Event()
        """The fault was met."""
        self.over = threading.Event()
        self._there, self._fault, self._at, self._patience = there, fault, at, patience
        self._lock = threading.Lock()
        there.receiver.answer = self._answer

    def __str__(self) -> str:
        """What fault was met where, for people who read of a failure."""
        if not self.met.is_set():
            return "no fault"
        request = self.changing[self._at - 1]
        return f"{self._fault} at changing request {self._at}, {request.method} {request.path}"

    def _answer(self, request: Request) -> Reply | None:
        there = self._there
        with self._lock:
            hit = False
            if there.mutates(request):
                self.changing.append(request)
                hit = len(self.changing) == self._at
        if hit and self._fault == "refused before":
            self.met.set()
            return Reply(503)
        reply: Reply | None = there.well(request) if callable(there.well) else there.well
        if not hit:
            return reply
        self.met.set()
        if self._fault == KILLED:
            self.over.wait(self._patience)
        return Reply(500) if self._fault == "failed after" else CLOSE

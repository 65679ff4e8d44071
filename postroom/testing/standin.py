"""What a test needs of the system that a kind delivers to: a small server that behaves as the real one does."""

from __future__ import annotations

import abc
import time
from pathlib import Path
from typing import Any, ClassVar

from postroom.integration import Integration
from postroom.testing.jobs import build
from postroom.testing.servers import Receiver, Request


class Standin(abc.ABC):
    """One kind's destination on loopback, and what was made there.

    Make `well` in `reset` (once), or in `__init__` before `super().__init__()` is called.
    """

    kind: ClassVar[Any]
    """The class of the integration."""
    speaks_http: ClassVar[bool] = True
    takes_attachments: ClassVar[bool] = True
    """False where files do not become part of what is made."""
    lag: float = 0.0
    """Seconds during which searches do not find what is new: for kinds of lagging search. Ask `seen`."""

    def __init__(self, data_dir: Path, receiver: Receiver) -> None:
        self.data_dir = data_dir
        self.receiver = receiver
        self.well: Any = getattr(self, "well", None)
        """Answers as the system does when all is well: a function of the request."""
        self.reset()

    def reset(self) -> None:
        """The system is well again; what was made stays."""
        self.receiver.answer = self.well

    def seen(self, made_at: float) -> bool:
        """Whether a search finds by now what was made, or changed, at `made_at` (of `time.monotonic()`)."""
        return time.monotonic() - made_at >= self.lag

    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """Of the destination, as its Options take them; every secret is, or holds, `postroom.testing.SECRET`."""

    @abc.abstractmethod
    def made(self) -> int:
        """How many items there are (issues, topics, messages): comments are none."""

    def comments(self) -> list[str]:
        """The texts of all comments on items."""
        return []

    def texts(self) -> list[str]:
        """The texts of all items."""
        return []

    def attached(self) -> list[str]:
        """The names of all files that belong to an item or a comment, in any order; a file twice stands twice."""
        return []

    def state(self) -> str:
        """`open` or `closed`: the newest item's. Leave it as it is where items have no such state."""
        return ""

    def mutates(self, request: Request) -> bool:
        """Whether a request may change something there: whose answer it hurts to lose."""
        return request.method != "GET"

    def integration(self, **options: Any) -> Integration:
        """A destination that delivers here; `options` beside or instead of its own."""
        return build(self.kind, self.data_dir, timeout=0.5, **(self.options() | options))

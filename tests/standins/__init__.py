"""Stand-ins for the systems that integrations deliver to: one module a kind, with its class `<Kind>Standin`.

They have the documented states, errors and limits. What they speak is HTTP over a real socket.
"""

from __future__ import annotations

import abc
import importlib
import pkgutil
import time
from pathlib import Path
from typing import Any, ClassVar

from postroom.integration import Integration
from tests.kinds import build
from tests.servers import Receiver, Request


class Standin(abc.ABC):
    """One kind's destination on loopback, and what was made there."""

    kind: ClassVar[str]
    speaks_http: ClassVar[bool] = True
    takes_attachments: ClassVar[bool] = True
    """False where files do not become part of what is made."""
    lag: float = 0.0
    """Seconds during which searches do not find what is new: for kinds of lagging search. Ask `seen`."""

    def __init__(self, data_dir: Path, receiver: Receiver) -> None:
        self.data_dir = data_dir
        self.receiver = receiver
        self.well: Any = None
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
        """Of the destination, as its Options take them; every secret is tests.kinds.SECRET."""

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
        """`open` or `closed`: the newest item's."""
        return ""

    def mutates(self, request: Request) -> bool:
        """Whether a request may change something there: whose answer it hurts to lose."""
        return request.method != "GET"

    def integration(self, **options: Any) -> Integration:
        return build(self.kind, self.data_dir, timeout=0.5, **(self.options() | options))


def standins() -> dict[str, type[Standin]]:
    """Every kind's stand-in by kind."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, Standin) and each.__module__ == module.__name__:
                found[each.kind] = each
    return found

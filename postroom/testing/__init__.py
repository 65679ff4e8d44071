"""What the tests of an integration need, without Postroom's own tests.

`IntegrationContract` holds what every kind owes; a module of tests subclasses it:

    class ChatStandin(Standin):
        kind = Chat
        ...

    class TestChat(IntegrationContract):
        standin = ChatStandin

docs/writing-an-integration.md walks through it. Only `IntegrationContract` needs pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postroom.testing.faults import Faulty
from postroom.testing.jobs import SECRET, attachment, build, deliver_in_the_end, job
from postroom.testing.servers import CLOSE, Receiver, Reply, Request, closed_port, raw_server, read_request
from postroom.testing.standin import Standin

if TYPE_CHECKING:
    from postroom.testing.contract import IntegrationContract

__all__ = [
    "CLOSE",
    "SECRET",
    "Faulty",
    "IntegrationContract",
    "Receiver",
    "Reply",
    "Request",
    "Standin",
    "attachment",
    "build",
    "closed_port",
    "deliver_in_the_end",
    "job",
    "raw_server",
    "read_request",
]


def __getattr__(name: str) -> Any:
    if name != "IntegrationContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    pytest.register_assert_rewrite("postroom.testing.contract")
    from postroom.testing.contract import IntegrationContract

    return IntegrationContract

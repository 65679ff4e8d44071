from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

from tests.servers import Receiver
from tests.smtp_sink import Sink
from tests.standins import Standin


class SmtpStandin(Standin):
    """A real mail server. What it was handed counts as made."""

    kind = "smtp"
    speaks_http = False

    def __init__(self, data_dir: Path, receiver: Receiver) -> None:
        self.sink = Sink().__enter__()
        atexit.register(self.sink.__exit__)
        super().__init__(data_dir, receiver)

    def options(self) -> dict[str, Any]:
        return {
            "host": self.sink.host,
            "port": self.sink.port,
            "security": "none",
            "from_": "postroom@example.com",
            "to": ["team@example.net"],
        }

    def made(self) -> int:
        return len(self.sink.handed)

    def texts(self) -> list[str]:
        found = []
        for handed in self.sink.handed:
            body = handed.mail.get_body(("plain",))
            found.append("" if body is None else str(body.get_content()))
        return found

    def attached(self) -> list[str]:
        """Files of the mails that are attached."""
        parts = (part for handed in self.sink.handed for part in handed.mail.walk())
        return [name for part in parts if (name := part.get_filename()) and name != "message.eml"]

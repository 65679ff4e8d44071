"""A real Postfix for tests: started by `.ci/postfix.sh`, on a port of its own, with Postroom behind its domain."""

from __future__ import annotations

import contextlib
import json
import shutil
import smtplib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.real_server import Environment, Script

SCRIPT = Script("postfix", "Postfix", hint=" (it is started as root)")


@dataclass(frozen=True)
class PostfixServer:
    """Where it takes mail for `inbox.test`."""

    port: int
    folder: Path
    environment: Environment = field(repr=False)

    @classmethod
    @contextlib.contextmanager
    def start(cls, url: str, token: str) -> Iterator[PostfixServer]:
        """A fresh one that hands its mail to an ingress."""
        # Users of Postfix must be able to enter its folder: none of pytest's, which are closed to others.
        folder = Path(tempfile.mkdtemp(prefix="postroom-postfix-"))
        folder.chmod(0o755)
        try:
            with SCRIPT.running(folder, URL=url, TOKEN=token) as environment:
                yield cls(int(environment["PORT"]), folder, environment)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def send(self, mail: bytes, *recipients: str, sender: str = "jo@example.org") -> None:
        """Hands a mail in by SMTP."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            client.sendmail(sender, list(recipients), mail)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def queue(self) -> Sequence[dict[str, Any]]:
        """What waits."""
        return [json.loads(line) for line in SCRIPT.run(self.environment, "queue").splitlines()]

"""A real Postfix for tests: started by `.ci/postfix.sh`, on a port of its own, with Postroom behind its domain."""

from __future__ import annotations

import json
import os
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import closed_port

SCRIPT = Path(__file__).parent.parent.parent / ".ci/postfix.sh"


def absent() -> str | None:
    """Why there is no Postfix to start; None where there is one."""
    if subprocess.run([SCRIPT, "present"], check=False).returncode == 0:
        return None
    return "real Postfix absent: its tests are not run; .ci/postfix.sh install (it is started as root)"


@dataclass(frozen=True)
class PostfixServer:
    """Where it takes mail for `inbox.test`."""

    port: int
    folder: Path
    environment: dict[str, str] = field(repr=False)

    @classmethod
    def start(cls, url: str, token: str) -> PostfixServer:
        """Starts a fresh one that hands its mail to an ingress."""
        # Users of Postfix must be able to enter its folder: none of pytest's, which are closed to others.
        folder = Path(tempfile.mkdtemp(prefix="postroom-postfix-"))
        folder.chmod(0o755)
        port = closed_port()
        environment = {**os.environ, "RUN": str(folder), "PORT": str(port), "URL": url, "TOKEN": token}
        made = cls(port, folder, environment)
        made._run("start")
        return made

    def stop(self) -> None:
        self._run("stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def send(self, mail: bytes, *recipients: str, sender: str = "jo@example.org") -> None:
        """Hands a mail in by SMTP."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            client.sendmail(sender, list(recipients), mail)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def queue(self) -> Sequence[dict[str, Any]]:
        """What waits."""
        return [json.loads(line) for line in self._run("queue").splitlines()]

    def _run(self, command: str) -> str:
        # Its output goes to a file: the server would keep a pipe open.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [SCRIPT, command], env=self.environment, check=False, stdout=output, stderr=output, timeout=120
            )
            output.seek(0)
            told = output.read()
        if done.returncode:
            raise RuntimeError(f"{SCRIPT} {command} failed: {told[-3000:]}")
        return told

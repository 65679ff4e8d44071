"""A real Roundup for tests: a fresh one, started by `.ci/roundup.sh`, on a port of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.servers import closed_port

SCRIPT = Path(__file__).parent.parent.parent / ".ci/roundup.sh"


def absent() -> str | None:
    """Why there is no Roundup to start; None where there is one."""
    if subprocess.run([SCRIPT, "present"], check=False).returncode == 0:
        return None
    return "real Roundup absent: its tests are not run; .ci/roundup.sh install"


def _script(command: str, environment: dict[str, str]) -> None:
    # Its output goes to a file: the server would keep a pipe open.
    log = Path(environment["RUN"]) / "script.log"
    with log.open("w") as output:
        done = subprocess.run([SCRIPT, command], env=environment, check=False, stdout=output, stderr=output, timeout=90)
    if done.returncode:
        raise RuntimeError(f"{SCRIPT} {command} failed: {log.read_text()[-3000:]}")


@dataclass(frozen=True)
class RoundupServer:
    """Where its tracker is, and who may use it: the user `postroom`, with the rights of the role User."""

    url: str
    environment: dict[str, str] = field(repr=False)
    username: str = "postroom"
    password: str = "BotPass123"

    @classmethod
    def start(cls, run: Path, *, rate: int = 0) -> RoundupServer:
        """Starts one with its files in the folder `run`. `rate`: calls in half a minute before it answers 429."""
        port = closed_port()
        environment = {**os.environ, "PORT": str(port), "RUN": str(run), "RATE": str(rate)}
        run.mkdir(parents=True, exist_ok=True)
        _script("start", environment)
        return cls(f"http://127.0.0.1:{port}/demo", environment)

    def stop(self) -> None:
        _script("stop", self.environment)

    @property
    def port(self) -> int:
        return int(self.environment["PORT"])

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One call of the administrator's."""
        origin = self.url.removesuffix("/demo")
        headers = {"X-Requested-With": "tests", "Origin": origin, "Referer": self.url, **options.pop("headers", {})}
        login = ("admin", "AdminPass123")
        return requests.request(method, self.url + path, headers=headers, auth=login, timeout=20, **options)

    def read(self, kind: str, number: str | None) -> dict[str, Any]:
        """Something as it is now: its properties, and its `etag`. Links are their numbers."""
        answer = self.call("GET", f"/rest/data/{kind}/{number}")
        answer.raise_for_status()
        data = answer.json()["data"]
        return {name: _plain(value) for name, value in data["attributes"].items()} | {"etag": data["@etag"]}

    def name(self, kind: str, number: str) -> str:
        return str(self.read(kind, number)["username" if kind == "user" else "name"])

    def text(self, number: str) -> str:
        """The text of a message."""
        return self.content("msg", number).decode()

    def content(self, kind: str, number: str) -> bytes:
        """The content of a message or a file."""
        headers = {"Accept": "application/octet-stream"}
        answer = self.call("GET", f"/rest/data/{kind}/{number}/binary_content", headers=headers)
        answer.raise_for_status()
        return answer.content

    def count(self, kind: str, **properties: str) -> int:
        """How many there are with these properties."""
        return int(self.call("GET", f"/rest/data/{kind}", params=properties).json()["data"]["@total_size"])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("id", value)
    return [_plain(each) for each in value] if isinstance(value, list) else value

"""A real Roundup for tests: a fresh one, started by `.ci/roundup.sh`, on a port of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.integration.real_server import Script

SCRIPT = Script("roundup", "Roundup")


@dataclass(frozen=True)
class RoundupServer:
    """Where its tracker is, and who may use it: the user `postroom`, with the rights of the role User."""

    url: str
    port: int
    username: str = "postroom"
    password: str = "BotPass123"

    @classmethod
    @contextlib.contextmanager
    def start(cls, run: Path, *, rate: int = 0) -> Iterator[RoundupServer]:
        """A fresh one with its files in the folder `run`. `rate`: calls in half a minute before it answers 429."""
        with SCRIPT.running(run, RATE=str(rate)) as environment:
            yield cls(f"http://127.0.0.1:{environment['PORT']}/demo", int(environment["PORT"]))

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

"""A real Misago for tests: started once a session by `.ci/misago.sh`, on ports of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.integration.real_server import Environment, Script

SCRIPT = Script("misago", "Misago", ("PORT", "PGPORT"))


@dataclass(frozen=True)
class MisagoServer:
    """Where it is. `admin` moderates; `postroom` is a plain member; categories: First category, Support/Printers."""

    url: str
    environment: Environment = field(repr=False)
    passwords = {"admin": "AdminPass123", "postroom": "PostroomPass123"}

    @classmethod
    @contextlib.contextmanager
    def start(cls, run: Path) -> Iterator[MisagoServer]:
        """A fresh one with its files in the folder `run`. Several may run at once."""
        shutil.copy(SCRIPT.seed() / "snap.tar", run)
        try:
            with SCRIPT.running(run) as environment:
                yield cls(f"http://127.0.0.1:{environment['PORT']}", environment)
        finally:
            SCRIPT.run({**os.environ, "RUN": str(run)}, "drop_cluster")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def browser(self, user: str = "admin") -> requests.Session:
        """A browser in which a user is signed in."""
        browser = requests.Session()
        browser.get(self.url + "/", timeout=20)
        browser.headers["X-CSRFToken"] = browser.cookies["csrftoken"]
        account = {"username": user, "password": self.passwords[user]}
        browser.post(self.url + "/api/auth/", json=account, timeout=20).raise_for_status()
        browser.headers["X-CSRFToken"] = browser.cookies["csrftoken"]
        return browser

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One call as the administrator."""
        with self.browser() as browser:
            return browser.request(method, self.url + path, timeout=20, **options)

    def thread(self, number: str | int) -> dict[str, Any]:
        """A thread with `is_closed`, `category`, and its posts in `posts`, events left out."""
        answer = self.call("GET", f"/api/threads/{number}/posts/")
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told | {"posts": [post for post in told["post_set"]["results"] if not post["is_event"]]}

    def original(self, thread: str | int, post: int) -> str:
        """The text of a post as it was sent."""
        return str(self.call("GET", f"/api/threads/{thread}/posts/{post}/post_editor/").json()["post"])

    def titled(self, title: str) -> list[int]:
        """The numbers of the threads of a title."""
        answer = self.call("GET", "/api/threads/", params={"list": "all"})
        return [each["id"] for each in answer.json()["results"] if each["title"] == title]

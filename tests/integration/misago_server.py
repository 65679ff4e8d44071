"""A real Misago for tests: started once a session by `.ci/misago.sh`, on ports of its own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.servers import closed_port

SCRIPT = Path(__file__).parent.parent.parent / ".ci/misago.sh"


def absent() -> str | None:
    """Why there is no Misago to start; None where there is one."""
    if subprocess.run([SCRIPT, "present"], check=False).returncode == 0:
        return None
    return "real Misago absent: its tests are not run; .ci/misago.sh install"


def _script(command: str, environment: dict[str, str]) -> None:
    # Its output goes to a file: the server would keep a pipe open.
    log = Path(environment["RUN"]) / "script.log"
    with log.open("w") as output:
        done = subprocess.run(
            [SCRIPT, command], env=environment, check=False, stdout=output, stderr=output, timeout=300
        )
    if done.returncode:
        raise RuntimeError(f"{SCRIPT} {command} failed: {log.read_text()[-3000:]}")


def _seed() -> Path:
    """The snapshot of a seeded cluster. Seeding takes half a minute: it is kept as long as the script is the same."""
    version = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:8]
    folder = SCRIPT.parent.parent / ".run" / f"misago-seed-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _script("seed", {**os.environ, "RUN": str(folder), "PGPORT": str(closed_port())})
    return folder / "snap.tar"


@dataclass(frozen=True)
class MisagoServer:
    """Where it is. `admin` moderates; `postroom` is a plain member; categories: First category, Support/Printers."""

    url: str
    environment: dict[str, str] = field(repr=False)
    passwords = {"admin": "AdminPass123", "postroom": "PostroomPass123"}

    @classmethod
    def start(cls, run: Path) -> MisagoServer:
        """Starts a fresh one with its files in the folder `run`. Several may run at once."""
        port = closed_port()
        environment = {**os.environ, "PORT": str(port), "PGPORT": str(closed_port()), "RUN": str(run)}
        run.mkdir(parents=True, exist_ok=True)
        shutil.copy(_seed(), run)
        _script("reset", environment)
        _script("start", environment)
        return cls(f"http://127.0.0.1:{port}", environment)

    def stop(self) -> None:
        _script("stop", self.environment)
        _script("drop_cluster", self.environment)

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

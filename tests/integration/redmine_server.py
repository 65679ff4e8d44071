"""A real Redmine for tests: started once a session by `.ci/redmine.sh`, on a port of its own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.servers import closed_port

SCRIPT = Path(__file__).parent.parent.parent / ".ci/redmine.sh"


def absent() -> str | None:
    """Why there is no Redmine to start; None where there is one."""
    if subprocess.run([SCRIPT, "present"], check=False).returncode == 0:
        return None
    return "real Redmine absent: its tests are not run; .ci/redmine.sh install"


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
    """The folder of a seeded database. Seeding takes some seconds, so it is kept as long as the script is the same."""
    version = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:8]
    folder = SCRIPT.parent.parent / ".run" / f"redmine-seed-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _script("seed", {**os.environ, "RUN": str(folder)})
    return folder


@dataclass(frozen=True)
class RedmineServer:
    """Where it is, the administrator's key, and the identifier of a project with every tracker."""

    url: str
    key: str
    project: str
    environment: dict[str, str] = field(repr=False)

    @classmethod
    def start(cls, run: Path) -> RedmineServer:
        """Starts a fresh one with its files in the folder `run`. Several may run at once."""
        port = closed_port()
        environment = {**os.environ, "PORT": str(port), "RUN": str(run)}
        seed = _seed()
        run.mkdir(parents=True, exist_ok=True)
        for name in ("snap.sqlite3", "key"):
            shutil.copy(seed / name, run)
        _script("reset", environment)
        _script("start", environment)
        return cls(f"http://127.0.0.1:{port}", (run / "key").read_text().strip(), "inbox", environment)

    def stop(self) -> None:
        _script("stop", self.environment)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One call with the administrator's key."""
        return requests.request(method, self.url + path, headers={"X-Redmine-API-Key": self.key}, timeout=20, **options)

    def page(self, path: str) -> str:
        """A page as the administrator's browser gets it."""
        with requests.Session() as browser:
            form = browser.get(self.url + "/login", timeout=20).text
            token = re.search(r'name="authenticity_token" value="([^"]+)"', form)
            assert token
            login = {"authenticity_token": token[1], "username": "admin", "password": "AdminPass123"}
            browser.post(self.url + "/login", data=login, timeout=20).raise_for_status()
            answer = browser.get(self.url + path, timeout=20)
            answer.raise_for_status()
            return answer.text

    def issue(self, number: str | int) -> dict[str, Any]:
        """An issue with its notes (`journals`) and `attachments`."""
        answer = self.call("GET", f"/issues/{number}.json", params={"include": "journals,attachments"})
        answer.raise_for_status()
        return dict(answer.json()["issue"])

    def notes(self, number: str | int) -> list[str]:
        return [journal["notes"] for journal in self.issue(number)["journals"] if journal["notes"]]

    def holding(self, text: str) -> list[dict[str, Any]]:
        """The issues whose description holds a text, whatever their state."""
        filters = {"set_filter": "1", "f[]": "description", "op[description]": "~", "v[description][]": text}
        answer = self.call("GET", "/issues.json", params={**filters, "limit": "100"})
        return [issue for issue in answer.json()["issues"] if text in (issue["description"] or "")]

"""A real Redmine for tests: started once a session by `.ci/redmine.sh`, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.integration.real_server import Script

SCRIPT = Script("redmine", "Redmine")


@dataclass(frozen=True)
class RedmineServer:
    """Where it is, the administrator's key, and the identifier of a project with every tracker."""

    url: str
    key: str
    project: str

    @classmethod
    @contextlib.contextmanager
    def start(cls, run: Path) -> Iterator[RedmineServer]:
        """A fresh one with its files in the folder `run`. Several may run at once."""
        seed = SCRIPT.seed()
        for name in ("snap.sqlite3", "key"):
            shutil.copy(seed / name, run)
        SCRIPT.run({**os.environ, "RUN": str(run)}, "reset")
        with SCRIPT.running(run) as environment:
            yield cls(f"http://127.0.0.1:{environment['PORT']}", (run / "key").read_text().strip(), "inbox")

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

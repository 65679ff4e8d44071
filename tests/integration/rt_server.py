"""A real Request Tracker for tests: a fresh one, started once a session by `.ci/rt.sh`, on a port of its own."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.integration.real_server import Script

SCRIPT = Script("rt", "Request Tracker")


@dataclass(frozen=True)
class RtServer:
    """Where it is, and the token of the user `postroom`. The queue is `General`."""

    url: str
    token: str = field(repr=False)
    admin_token: str = field(repr=False)

    @classmethod
    @contextlib.contextmanager
    def start(cls, run: Path) -> Iterator[RtServer]:
        """A fresh one with its files in the folder `run`. Several may run at once."""
        with SCRIPT.running(run) as environment:
            tokens = ((run / name).read_text() for name in ("token", "admin-token"))
            yield cls(f"http://127.0.0.1:{environment['PORT']}", *tokens)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def call(self, method: str, path: str, **options: Any) -> Any:
        """One call of the administrator's, and its document."""
        headers = {"Authorization": f"token {self.admin_token}"}
        answer = requests.request(method, f"{self.url}/REST/2.0{path}", headers=headers, timeout=30, **options)
        answer.raise_for_status()
        return answer.json()

    def ticket(self, number: str | None) -> dict[str, Any]:
        return dict(self.call("GET", f"/ticket/{number}"))

    def messages(self, number: str | None) -> list[dict[str, Any]]:
        """What people said on a ticket, its opening first: `type`, `text`, and `files` by name."""
        found = []
        history = self.call("GET", f"/ticket/{number}/history", params={"fields": "Type", "per_page": 100})["items"]
        for row in history:
            if row["Type"] not in ("Create", "Comment", "Correspond"):
                continue
            said: dict[str, Any] = {"type": row["Type"], "text": "", "files": {}}
            for link in self.call("GET", f"/transaction/{row['id']}")["_hyperlinks"]:
                if link["ref"] != "attachment":
                    continue
                part = self.call("GET", "/attachment/" + link["_url"].rpartition("/")[2])
                content = base64.b64decode(part.get("Content") or "")
                if part.get("Filename"):
                    said["files"][part["Filename"]] = (part["ContentType"], content)
                elif part["ContentType"] == "text/plain":
                    said["text"] = content.decode()
            found.append(said)
        return found

    def count(self, subject: str) -> int:
        """How many tickets have a subject."""
        return int(self.call("GET", "/tickets", params={"query": f"Subject = '{subject}'"})["total"])

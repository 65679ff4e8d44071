from __future__ import annotations

import base64
import itertools
import re
import time
from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin
from tests.standins.rt import parts_of

STATUSES = ("unread", "deferred", "chatting", "need-eg", "in-progress", "testing", "done-cbb", "resolved")
NAMES = {
    "status": STATUSES,
    "priority": ("critical", "urgent", "bug", "feature", "wish"),
    "keyword": ("printer", "network"),
    "assignedto": ("admin", "anonymous", "postroom"),
    "nosy": ("admin", "anonymous", "postroom"),
}
LINKS = {"status": "status", "priority": "priority", "assignedto": "user"}


def error(status: int, text: str) -> Reply:
    return Reply.of({"error": {"status": status, "msg": text}}, status)


class FakeRoundup:
    """As much of Roundup's REST as the kind uses, with the shapes of a real 2.6 and its template `classic`."""

    def __init__(self) -> None:
        self.issues: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, float] = {}
        """When each once-only token ends that is not used."""
        self.largest = 1 << 20
        self.statuses = STATUSES
        self.version = itertools.count(1)
        self._numbers = itertools.count(1)

    def __call__(self, request: Request) -> Reply:
        login = base64.b64encode(f"postroom:{SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return Reply(401, b"Invalid Login - Invalid login", {"Content-Type": "text/plain"})
        if not all(request.headers.get(name) for name in ("x-requested-with", "origin", "referer")):
            return error(400, "Required Header Missing")
        path = request.path.partition("/rest/data")[2]
        kind, name, token = [*path.strip("/").split("/"), "", ""][:3]
        if request.method == "POST" and name == "@poe" and not token:
            number = f"token-{next(self._numbers)}"
            self.tokens[number] = time.time() + request.json().get("lifetime", 1800)
            link = f"http://roundup/rest/data/{kind}/@poe/{number}"
            return Reply.of({"data": {"link": link, "expires": self.tokens[number]}})
        if request.method == "POST" and name == "@poe":
            if self.tokens.pop(token, 0) < time.time():
                return error(400, f"POE token '{token}' not valid.")
            return self._create_issue(request.json())
        if request.method == "POST":
            return {"msg": self._create_message, "file": self._create_file}[kind](request)
        if name:
            if kind != "issue" or name not in self.issues:
                return error(404, f"no such {kind} {name}")
            return self._change(name, request) if request.method == "PATCH" else self._shown(name)
        return self._list(kind, request)

    def _made(self, store: dict[str, dict[str, Any]], kind: str, made: dict[str, Any]) -> Reply:
        number = str(len(store) + 1)
        store[number] = made
        return Reply.of({"data": {"id": number, "link": f"http://roundup/rest/data/{kind}/{number}"}}, 201)

    def _create_message(self, request: Request) -> Reply:
        return self._made(self.messages, "msg", request.json())

    def _create_file(self, request: Request) -> Reply:
        if len(request.body) > self.largest:
            return Reply(413, b"<html>Request Entity Too Large</html>")
        parts = {name: content for name, _, content in parts_of(request)}
        if not parts["content"]:
            return error(405, "'NoneType' object has no attribute 'upper'")
        return self._made(self.files, "file", {name: content.decode("latin-1") for name, content in parts.items()})

    def _create_issue(self, sent: dict[str, Any]) -> Reply:
        for name in sent:
            if name not in (*NAMES, "title", "messages", "files", "superseder"):
                return error(400, f"Property {name} not found in class issue")
        made = {"files": [], "keyword": [], "status": "1", **sent}
        for name, known in NAMES.items():
            values = [made[name]] if isinstance(made.get(name), str) else made.get(name, [])
            for value in values:
                if value not in known and not (value.isdigit() and 0 < int(value) <= len(known)):
                    return error(400, f"property {name}: '{value}' is not a {name}.")
        if made["status"] in STATUSES:
            made["status"] = str(STATUSES.index(made["status"]) + 1)
        return self._made(self.issues, "issue", {**made, "etag": f'"{next(self.version)}"'})

    def _shown(self, number: str) -> Reply:
        issue = self.issues[number]
        attributes = {
            "title": issue["title"],
            "status": {"id": issue["status"], "link": "x"},
            "messages": [{"id": each, "link": "x"} for each in issue["messages"]],
            "files": [{"id": each, "link": "x"} for each in issue["files"]],
        }
        data = {"id": number, "type": "issue", "attributes": attributes, "@etag": issue["etag"]}
        return Reply.of({"data": data}, ETag=issue["etag"])

    def _change(self, number: str, request: Request) -> Reply:
        issue, changes = self.issues[number], request.json()
        if request.headers.get("if-match") != issue["etag"]:
            return error(412, "If-Match is missing or does not match. Retrieve asset and retry modification if valid.")
        issue["etag"] = f'"{next(self.version)}"'
        if changes.pop("@op") == "add":
            for name, values in changes.items():
                issue[name] = issue[name] + values
            issue["status"] = "3"  # what the template's detector does: there is talk about it
        else:
            issue |= changes
        return Reply.of({"data": {"id": number, "type": "issue", "attribute": changes}})

    def _list(self, kind: str, request: Request) -> Reply:
        query = request.query
        if kind == "status":
            rows = [{"id": str(at), "name": name} for at, name in enumerate(self.statuses, 1)]
        elif kind == "user":
            rows = [{"id": "3", "username": "postroom", "realname": "Postroom Bot", "address": "bot@example.com"}]
        elif kind == "msg":
            rows = [{"id": at} for at, each in self.messages.items() if each["messageid"] == query["messageid:"]]
        else:
            wanted = set(re.split(",", query["messages"]))
            rows = [{"id": number} for number, each in self.issues.items() if wanted & set(each["messages"])]
        return Reply.of({"data": {"collection": rows, "@total_size": len(rows)}})


class RoundupStandin(Standin):
    kind = "roundup"

    def reset(self) -> None:
        self.well = self.well or FakeRoundup()
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": f"{self.receiver.url}/demo", "username": "postroom", "password": Secret(SECRET)}

    def made(self) -> int:
        return len(self.well.issues)

    def texts(self) -> list[str]:
        return [self.well.messages[each["messages"][0]]["content"] for each in self.well.issues.values()]

    def comments(self) -> list[str]:
        return [self.well.messages[at]["content"] for each in self.well.issues.values() for at in each["messages"][1:]]

    def attached(self) -> list[str]:
        return [self.well.files[at]["name"] for each in self.well.issues.values() for at in each["files"]]

    def state(self) -> str:
        *_, issue = self.well.issues.values()
        return "closed" if issue["status"] == "8" else "open"

from __future__ import annotations

from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin


class FakeRedmine:
    """As much of Redmine's API as the kind uses, with the shapes of a real 5.0."""

    def __init__(self) -> None:
        self.issues: dict[int, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.largest = 1 << 20
        self.names = {"trackers": [{"id": 1, "name": "Bug"}, {"id": 2, "name": "Feature"}]}

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("x-redmine-api-key") != SECRET:
            return Reply(401)
        if request.path == "/issues.json":
            issue = request.json()["issue"]
            number = len(self.issues) + 1
            self.issues[number] = {**issue, "notes": []}
            return Reply.of({"issue": {"id": number}}, 201)
        if request.path == "/uploads.json":
            if len(request.body) > self.largest:
                return Reply.of({"errors": ["This file cannot be uploaded because it exceeds the maximum"]}, 422)
            token = f"{len(self.files) + 1}.abc"
            self.files[token] = request.body
            return Reply.of({"upload": {"token": token}}, 201)
        if request.path == "/search.json":
            found = [self._result(number) for number in self.issues if self._holds(number, request.query["q"])]
            return Reply.of({"results": found[::-1], "total_count": len(found)})
        if request.path.startswith("/attachments/"):
            number = request.path.removeprefix("/attachments/").removesuffix(".json")
            return Reply(200 if any(token.startswith(f"{number}.") for token in self.files) else 404, b"{}")
        if request.path.startswith("/issues/"):
            issue = self.issues.get(int(request.path.removeprefix("/issues/").removesuffix(".json")))
            if issue is None:
                return Reply(404)
            issue["notes"].append(request.json()["issue"])
            return Reply(204)
        key = request.path.strip("/").removesuffix(".json").rpartition("/")[2]
        return Reply.of({key: self.names.get(key, [])})

    def _holds(self, number: int, text: str) -> bool:
        issue = self.issues[number]
        return text in issue["description"] or any(text in note["notes"] for note in issue["notes"])

    def _result(self, number: int) -> dict[str, Any]:
        return {"id": number, "title": "Bug", "type": "issue", "description": self.issues[number]["description"]}


class RedmineStandin(Standin):
    kind = "redmine"

    def reset(self) -> None:
        self.well = self.well or FakeRedmine()
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": self.receiver.url, "api_key": Secret(SECRET), "project": "inbox"}

    def made(self) -> int:
        return len(self.well.issues)

from __future__ import annotations

from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

STATUSES = [
    {"id": 1, "name": "New", "is_closed": False},
    {"id": 2, "name": "In Progress", "is_closed": False},
    {"id": 5, "name": "Closed", "is_closed": True},
    {"id": 6, "name": "Rejected", "is_closed": True},
]


class FakeRedmine:
    """As much of Redmine's API as the kind uses, with the shapes of a real 5.0."""

    def __init__(self) -> None:
        self.issues: dict[int, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.largest = 1 << 20
        self.names: dict[str, list[dict[str, Any]]] = {
            "trackers": [{"id": 1, "name": "Bug"}, {"id": 2, "name": "Feature"}],
            "issue_statuses": STATUSES,
            "versions": [{"id": 3, "name": "1.0"}],
        }
        self.allowed: list[int] | None = [2, 5, 6]
        """Statuses that the workflow lets the user set; None: as an older Redmine, it does not tell and allows all."""
        self.obeys = True
        """False: a status is not set, and nothing is said of it."""

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("x-redmine-api-key") != SECRET:
            return Reply(401)
        if request.path == "/issues.json":
            issue = request.json()["issue"]
            number = len(self.issues) + 1
            self.issues[number] = {"status_id": 1, **issue, "notes": []}
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
        if request.path == "/users/current.json":
            user = {"id": 5, "login": "bot", "firstname": "Postroom", "lastname": "Bot", "mail": "bot@example.com"}
            return Reply.of({"user": user})
        if request.path == "/projects/inbox.json":
            return Reply.of({"project": {"id": 1, "name": "Inbox", "trackers": self.names["trackers"]}})
        if request.path.startswith("/projects/") and request.path.count("/") == 2:
            return Reply(404)
        if request.path.startswith("/issues/"):
            return self._issue(int(request.path.removeprefix("/issues/").removesuffix(".json")), request)
        key = request.path.strip("/").removesuffix(".json").rpartition("/")[2]
        return Reply.of({key: self.names.get(key, [])})

    def _issue(self, number: int, request: Request) -> Reply:
        issue = self.issues.get(number)
        if issue is None:
            return Reply(404)
        if request.method == "GET":
            status = next(each for each in STATUSES if each["id"] == issue["status_id"])
            shown = {"id": number, "status": {"id": status["id"], "name": status["name"]}}
            if self.allowed is not None:
                shown["allowed_statuses"] = [each for each in STATUSES if each["id"] in self.allowed]
            return Reply.of({"issue": shown})
        changes = request.json()["issue"]
        if "status_id" in changes and self.obeys:
            issue["status_id"] = changes["status_id"]
        if changes.get("notes"):
            issue["notes"].append(changes)
        return Reply(204)

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

    def texts(self) -> list[str]:
        return [each["description"] for each in self.well.issues.values()]

    def comments(self) -> list[str]:
        return [note["notes"] for each in self.well.issues.values() for note in each["notes"]]

    def attached(self) -> list[str]:
        holders = [holder for each in self.well.issues.values() for holder in (each, *each["notes"])]
        return [upload["filename"] for holder in holders for upload in holder.get("uploads", [])]

    def state(self) -> str:
        *_, issue = self.well.issues.values()
        return "closed" if issue["status_id"] in (5, 6) else "open"

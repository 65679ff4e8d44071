from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable
from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

REPOSITORY = "example/support"


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def invalid(field: str, code: str, **more: Any) -> Reply:
    error = {"resource": "Issue", "field": field, "code": code, **more}
    return Reply.of({"message": "Validation Failed", "errors": [error], "documentation_url": "https://docs"}, 422)


def message(text: str, status: int, **headers: str) -> Reply:
    return Reply.of({"message": text, "documentation_url": "https://docs", "status": str(status)}, status, **headers)


class FakeGithub:
    """As much of GitHub's REST API as the kind uses: one repository, with the documented refusals."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.people = {"octocat", "hubot"}
        self.milestones = [{"number": 1, "title": "v1.0"}, {"number": 7, "title": "Next one"}]
        self.types = {"Bug", "Task"}
        self.repository: dict[str, Any] = {"full_name": REPOSITORY, "has_issues": True, "archived": False}
        self.permissions = {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True}
        self.user: dict[str, Any] | None = {"login": "postroom-bot", "name": "Postroom Bot", "type": "Bot"}
        """None: the token is that of an installation."""
        self.scopes: str | None = "repo"
        self.moved = False
        self.deleted: set[int] = set()
        self.locked: set[int] = set()
        self.seen: Callable[[float], bool] = lambda made_at: True

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {SECRET}":
            return message("Bad credentials", 401)
        if request.headers.get("accept") != "application/vnd.github+json" or "user-agent" not in request.headers:
            return Reply(415)
        if request.headers.get("x-github-api-version") != "2022-11-28":
            return message("Unsupported API version", 400)
        if request.path == "/user":
            scopes = {} if self.scopes is None else {"X-OAuth-Scopes": self.scopes}
            if self.user is None:
                return message("Resource not accessible by integration", 403)
            return Reply.of(self.user, 200, **scopes)
        found = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*)?", request.path)
        if found is None or found[1].lower() != REPOSITORY:
            return message("Not Found", 404)
        if self.moved:
            status = 301 if request.method == "GET" else 307
            return message("Moved Permanently", status, Location="https://api.github.com/repositories/1/issues")
        return self._repository(request, found[2] or "")

    def _repository(self, request: Request, path: str) -> Reply:
        if request.method != "GET" and self.repository["archived"]:
            return message("Repository was archived so is read-only.", 403)
        if path == "":
            return Reply.of({**self.repository, "permissions": self.permissions})
        if path == "/milestones":
            return self._page(request, self.milestones)
        if path == "/issues":
            if not self.repository["has_issues"]:
                return message("Issues has been disabled in this repository.", 410)
            return self._create(request) if request.method == "POST" else self._issues(request)
        number, rest = re.fullmatch(r"/issues/(\d+)(/comments)?", path).groups()  # type: ignore[union-attr]
        issue = next((each for each in self.issues if each["number"] == int(number)), None)
        if int(number) in self.deleted:
            return message("This issue was deleted", 410)
        if issue is None:
            return message("Not Found", 404)
        if rest:
            return self._comment(request, issue) if request.method == "POST" else self._comments(request, issue)
        return self._change(request, issue)

    def _create(self, request: Request) -> Reply:
        body = request.json()
        if not isinstance(body.get("title"), str) or not body["title"].strip():
            return invalid("title", "missing_field")
        if len(body["title"]) > 256:
            return invalid("title", "custom", message="title is too long (maximum is 256 characters)")
        if len(body.get("body") or "") > 65_536:
            return invalid("body", "custom", message="body is too long (maximum is 65536 characters)")
        for name in body.get("assignees", []):
            if name not in self.people:
                return invalid("assignees", "invalid", value=name)
        milestone = next((each for each in self.milestones if each["number"] == body.get("milestone")), None)
        if body.get("milestone") is not None and milestone is None:
            return invalid("milestone", "invalid", value=str(body["milestone"]))
        if body.get("type") is not None and body["type"] not in self.types:
            return invalid("type", "invalid", value=body["type"])
        allowed = self.permissions["push"]
        issue = {
            "number": len(self.issues) + 1,
            "title": body["title"],
            "body": body.get("body"),
            "state": "open",
            "state_reason": None,
            "labels": [{"name": each} for each in body.get("labels", []) if allowed],
            "assignees": [{"login": each} for each in body.get("assignees", []) if allowed],
            "milestone": milestone if allowed else None,
            "type": {"name": body["type"]} if body.get("type") and allowed else None,
            "created_at": now(),
            "updated_at": now(),
            "made_at": time.monotonic(),
            "sent": body,
        }
        self.issues.append(issue)
        return Reply.of({**issue, "html_url": f"https://github.com/{REPOSITORY}/issues/{issue['number']}"}, 201)

    def _issues(self, request: Request) -> Reply:
        query = request.query
        found = [each for each in self.issues if self.seen(each["made_at"]) and each["number"] not in self.deleted]
        if query.get("state", "open") != "all":
            found = [each for each in found if each["state"] == query.get("state", "open")]
        found = [each for each in found if each["updated_at"] >= query.get("since", "")]
        return self._page(request, found if query.get("direction") == "asc" else found[::-1])

    def _change(self, request: Request, issue: dict[str, Any]) -> Reply:
        body = request.json()
        if body.get("state") != issue["state"]:
            issue["state"], issue["state_reason"] = body["state"], body.get("state_reason")
            issue["updated_at"] = now()
        return Reply.of(issue)

    def _comment(self, request: Request, issue: dict[str, Any]) -> Reply:
        if issue["number"] in self.locked:
            return message("Unable to create comment because issue is locked.", 403)
        body = request.json()["body"]
        if len(body) > 65_536:
            return Reply.of({"message": "Body is too long (maximum is 65536 characters)"}, 422)
        comment = {
            "id": 1000 + len(self.comments),
            "issue": issue["number"],
            "body": body,
            "updated_at": now(),
            "made_at": time.monotonic(),
        }
        self.comments.append(comment)
        return Reply.of(comment, 201)

    def _comments(self, request: Request, issue: dict[str, Any]) -> Reply:
        found = [
            each
            for each in self.comments
            if each["issue"] == issue["number"]
            and each["updated_at"] >= request.query.get("since", "")
            and self.seen(each["made_at"])
        ]
        return self._page(request, found)

    def _page(self, request: Request, found: list[dict[str, Any]]) -> Reply:
        size = min(int(request.query.get("per_page", 30)), 100)
        at = (int(request.query.get("page", 1)) - 1) * size
        return Reply.of(found[at : at + size])


class GithubStandin(Standin):
    kind = "github"
    takes_attachments = False

    def reset(self) -> None:
        if self.well is None:
            self.well = FakeGithub()
            self.well.seen = self.seen
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": self.receiver.url, "token": Secret(SECRET), "repository": REPOSITORY}

    def made(self) -> int:
        return len(self.well.issues)

    def texts(self) -> list[str]:
        return [each["body"] for each in self.well.issues]

    def comments(self) -> list[str]:
        return [each["body"] for each in self.well.comments]

    def state(self) -> str:
        return str(self.well.issues[-1]["state"]) if self.well.issues else ""

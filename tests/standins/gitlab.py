from __future__ import annotations

import datetime
import re
from typing import Any
from urllib.parse import unquote

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

PROJECT = "support/sub/inbox"
PROJECT_ID = 42
API = "/api/v4"


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def said(message: Any, status: int, **headers: str) -> Reply:
    return Reply.of({"message": message}, status, **headers)


class FakeGitlab:
    """As much of GitLab's REST API as the kind uses: one project, with the documented refusals."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.files: dict[str, tuple[str, bytes]] = {}
        """Name and content by address in Markdown."""
        self.acted: list[str] = []
        """Lines that GitLab took for quick actions."""
        self.users = [{"id": 5, "username": "Jo.Unal", "name": "Jo Ünal"}]
        self.milestones = [{"id": 900, "iid": 1, "title": "v1.0"}]
        self.largest = 1 << 20
        self.scopes: list[str] | None = ["api"]
        """None: a GitLab that cannot tell."""
        self.project: dict[str, Any] = {
            "id": PROJECT_ID,
            "path_with_namespace": PROJECT,
            "archived": False,
            "issues_access_level": "enabled",
            "permissions": {"project_access": {"access_level": 30}, "group_access": None},
        }
        self.moved = False
        self.locked: set[int] = set()
        self.deleted: set[int] = set()

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("private-token") != SECRET:
            return said("401 Unauthorized", 401)
        path = request.path.removeprefix(API)
        if path == "/user":
            return Reply.of({"id": 9, "username": "postroom", "name": "Postroom Bot"})
        if path == "/personal_access_tokens/self":
            if self.scopes is None:
                return said("404 Not Found", 404)
            return Reply.of({"id": 1, "scopes": self.scopes, "expires_at": "2027-05-01"})
        if path == "/users":
            wanted = request.query["username"].lower()
            return self._page(request, [each for each in self.users if each["username"].lower() == wanted])
        found = re.fullmatch(r"/projects/([^/]+)(/.*)?", path)
        if found is None or unquote(found[1]) not in (PROJECT, str(PROJECT_ID)):
            return said("404 Project Not Found", 404)
        if self.moved and request.method == "GET":
            return said("301 Moved Permanently", 301, Location=f"{API}/projects/43")
        if self.moved:
            return said("405 Method Not Allowed: Non GET methods are not allowed for moved projects", 405)
        return self._project(request, found[2] or "")

    def _project(self, request: Request, path: str) -> Reply:
        if request.method != "GET" and self.project["archived"]:
            return said("403 Forbidden", 403)
        if path == "":
            return Reply.of(self.project)
        if path == "/uploads":
            return self._upload(request)
        if path == "/milestones":
            return self._page(request, [each for each in self.milestones if each["title"] == request.query["title"]])
        if path == "/issues":
            if self.project["issues_access_level"] == "disabled":
                return said("403 Forbidden", 403)
            return self._create(request) if request.method == "POST" else self._issues(request)
        number, rest = re.fullmatch(r"/issues/(\d+)(/notes)?", path).groups()  # type: ignore[union-attr]
        issue = next((each for each in self.issues if each["iid"] == int(number)), None)
        if issue is None or issue["iid"] in self.deleted:
            return said("404 Not found", 404)
        if rest:
            return self._note(request, issue) if request.method == "POST" else self._notes(request, issue)
        if request.method == "PUT":
            return self._change(request, issue)
        return Reply.of({**issue, "discussion_locked": issue["iid"] in self.locked})

    def _create(self, request: Request) -> Reply:
        body = request.json()
        if not str(body.get("title") or "").strip():
            return Reply.of({"error": "title is missing"}, 400)
        if len(body["title"]) > 255:
            return said({"title": ["is too long (maximum is 255 characters)"]}, 400)
        if len(body.get("description") or "") > 1_048_576:
            return said({"description": ["is too long (maximum is 1048576 characters)"]}, 400)
        if body.get("issue_type", "issue") not in ("issue", "incident", "test_case", "task"):
            return Reply.of({"error": "issue_type does not have a valid value"}, 400)
        iid = len(self.issues) + 1
        issue = {
            "id": 7000 + iid,
            "iid": iid,
            "project_id": PROJECT_ID,
            "title": body["title"],
            "description": self._without_actions(body.get("description") or ""),
            "state": "opened",
            "created_at": now(),
            "labels": [each for each in body.get("labels", "").split(",") if each],
            "web_url": f"https://gitlab.example.com/{PROJECT}/-/issues/{iid}",
            "references": {"short": f"#{iid}", "relative": f"#{iid}", "full": f"{PROJECT}#{iid}"},
            "sent": body,
        }
        self.issues.append(issue)
        return Reply.of(issue, 201)

    def _issues(self, request: Request) -> Reply:
        if request.query.get("scope") != "all":
            return Reply.of([])  # else only those that the token's user opened
        found = [each for each in self.issues if each["created_at"] >= request.query.get("created_after", "")]
        found = [each for each in found if each["iid"] not in self.deleted]
        return self._page(request, found if request.query.get("sort") == "asc" else found[::-1])

    def _change(self, request: Request, issue: dict[str, Any]) -> Reply:
        issue["state"] = {"close": "closed", "reopen": "opened"}[request.json()["state_event"]]
        return Reply.of(issue)

    def _note(self, request: Request, issue: dict[str, Any]) -> Reply:
        if issue["iid"] in self.locked:
            return said("403 Forbidden", 403)
        body = request.json()["body"]
        if len(body) > 1_000_000:
            return said({"note": ["is too long (maximum is 1000000 characters)"]}, 400)
        note = {"id": 300 + len(self.notes), "noteable_iid": issue["iid"], "body": self._without_actions(body)}
        self.notes.append(note)
        return Reply.of(note, 201)

    def _notes(self, request: Request, issue: dict[str, Any]) -> Reply:
        found = [each for each in self.notes if each["noteable_iid"] == issue["iid"]]
        return self._page(request, found if request.query.get("sort") == "asc" else found[::-1])

    def _upload(self, request: Request) -> Reply:
        boundary = request.headers["content-type"].partition("boundary=")[2].encode()
        part = request.body.split(b"--" + boundary)[1]
        head, _, content = part.partition(b"\r\n\r\n")
        named = re.search(r'name="file"; filename="([^"]*)"', head.decode())
        if named is None:
            return Reply.of({"error": "file is missing"}, 400)
        if len(content) - 2 > self.largest:
            return Reply(413, b"<html>413 Request Entity Too Large</html>")
        name = re.sub(r"[^\w.+-]", "_", unquote(named[1]))
        address = f"/uploads/{len(self.files) + 1:032x}/{name}"
        self.files[address] = (unquote(named[1]), content[:-2])
        full = f"/-/project/{PROJECT_ID}{address}"
        markdown = f"[{name}]({address})"
        return Reply.of({"id": 1, "alt": name, "url": address, "full_path": full, "markdown": markdown}, 201)

    def _without_actions(self, text: str) -> str:
        """What GitLab keeps of a text: lines such as `/close` act, and are taken out."""
        lines = text.split("\n")
        acts = [line for line in lines if re.match(r"/[a-z_]+( |$)", line)]
        self.acted += acts
        return "\n".join(line for line in lines if line not in acts)

    def _page(self, request: Request, found: list[dict[str, Any]]) -> Reply:
        size = min(int(request.query.get("per_page", 20)), 100)
        at = (int(request.query.get("page", 1)) - 1) * size
        return Reply.of(found[at : at + size])


class GitlabStandin(Standin):
    kind = "gitlab"

    def reset(self) -> None:
        self.well = self.well or FakeGitlab()
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": self.receiver.url, "token": Secret(SECRET), "project": PROJECT}

    def made(self) -> int:
        return len(self.well.issues)

    def texts(self) -> list[str]:
        return [each["description"] for each in self.well.issues]

    def comments(self) -> list[str]:
        return [each["body"] for each in self.well.notes]

    def attached(self) -> list[str]:
        text = "\n".join([*self.texts(), *self.comments()])
        return [self.well.files[address][0] for address in re.findall(r"\((/uploads/[^)]+)\)", text)]

    def state(self) -> str:
        if not self.well.issues:
            return ""
        return "closed" if self.well.issues[-1]["state"] == "closed" else "open"

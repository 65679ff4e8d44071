from __future__ import annotations

import re
from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

TEAM, OTHER_TEAM = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
ASSETS = "https://uploads.linear.app/asset-"
_V4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_CREATE = {"id", "teamId", "title", "description", "labelIds", "priority", "assigneeId", "stateId", "projectId"}
_CREATE |= {"dueDate", "estimate", "parentId", "subscriberIds"}


class Failed(Exception):
    """A request that ends in `errors`."""

    def __init__(self, said: str, kind: str, code: str, status: int = 200) -> None:
        extensions = {"type": kind, "code": code, "statusCode": status, "userError": True}
        self.error = {"message": said, "path": ["x"], "extensions": extensions | {"userPresentableMessage": said}}
        self.status = status


def refused(said: str, status: int = 200) -> Failed:
    return Failed(said, "invalid input", "INPUT_ERROR", status)


class FakeLinear:
    """As much of Linear's GraphQL API as the kind uses: two teams, with the documented shapes of errors."""

    def __init__(self) -> None:
        self.key = SECRET
        self.issues: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []
        self.largest = 1 << 20
        self.stored = 200
        """What the storage answers to an upload."""
        self.duplicate = refused("Entity with that id exists already.")
        self.teams = [{"id": TEAM, "key": "SUP", "name": "Support"}, {"id": OTHER_TEAM, "key": "OPS", "name": "SUP"}]
        self.labels = [
            {"id": "l-workspace", "name": "Mail", "team": None},
            {"id": "l-team", "name": "Mail", "team": {"id": TEAM}},
            {"id": "l-bug", "name": "Bug", "team": None},
            {"id": "l-other", "name": "Pager", "team": {"id": OTHER_TEAM}},
        ]
        self.users = [
            {"id": "u-jo", "name": "Jo Ünal", "displayName": "jo", "email": "jo@example.com", "active": True},
            {"id": "u-left", "name": "Al", "displayName": "al", "email": "al@example.com", "active": False},
        ]
        self.projects = [{"id": "p-1", "name": "Helpdesk", "slugId": "abc123"}]
        self.states = [
            {"id": "s-done", "name": "Done", "type": "completed", "position": 4},
            {"id": "s-shipped", "name": "Shipped", "type": "completed", "position": 3.5},
            {"id": "s-canceled", "name": "Canceled", "type": "canceled", "position": 5},
            {"id": "s-triage", "name": "Triage", "type": "triage", "position": 0},
            {"id": "s-doing", "name": "Doing", "type": "started", "position": 3},
            {"id": "s-todo", "name": "Todo", "type": "unstarted", "position": 2},
            {"id": "s-backlog", "name": "Backlog", "type": "backlog", "position": 1},
        ]

    def __call__(self, request: Request) -> Reply:
        if request.method == "PUT":
            return self._store(request)
        if request.path != "/graphql":
            return Reply(404)
        try:
            if request.headers.get("authorization") != self.key:
                raise Failed("Authentication required", "authentication error", "AUTHENTICATION_ERROR", 401)
            body = request.json()
            name = re.match(r"(?:query|mutation) (\w+)", body["query"])
            assert name is not None and body["query"].count("{") == body["query"].count("}")
            return Reply.of({"data": getattr(self, f"_{name[1].lower()}")(body["variables"], request, body["query"])})
        except Failed as failed:
            return Reply.of({"errors": [failed.error], "data": None}, failed.status)

    def _store(self, request: Request) -> Reply:
        file = self.files[int(request.path.rpartition("/")[2])]
        assert "authorization" not in request.headers, "the storage is another company's"
        if request.headers.get("content-type") != file["contentType"] or request.headers.get("x-goog-signed") != "yes":
            return Reply(403, b"SignatureDoesNotMatch")
        file["content"] = request.body
        return Reply(self.stored)

    def _create(self, variables: dict[str, Any], request: Request, query: str) -> dict[str, Any]:
        given = variables["input"]
        if unknown := set(given) - _CREATE:
            raise refused(f'Field "{unknown.pop()}" is not defined by type "IssueCreateInput".', 400)
        if not isinstance(given.get("priority", 0), int) or not isinstance(given.get("estimate", 0), int):
            raise refused('Variable "$input" got invalid value', 400)
        self._check_id(given, self.issues)
        if given["teamId"] not in (TEAM, OTHER_TEAM):
            raise refused("Entity not found: Team")
        if not given.get("title") or len(given["title"]) > 255:
            raise refused("title must be longer than or equal to 1 and shorter than or equal to 255 characters")
        number = f"SUP-{len(self.issues) + 1}"
        url = f"https://linear.app/example/issue/{number}/a-title"
        state = given.get("stateId") or "s-backlog"
        self.issues.append({**given, "identifier": number, "url": url, "stateId": state, "trashed": None})
        issue = {"id": given["id"], "identifier": number, "url": url}
        return {"issueCreate": {"success": True, "issue": issue}}

    def _check_id(self, given: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        if not _V4.fullmatch(given["id"]):
            raise refused("id must be a UUID")
        if any(each["id"] == given["id"] for each in rows):
            raise self.duplicate

    def _comment(self, variables: dict[str, Any], request: Request, query: str) -> dict[str, Any]:
        given = variables["input"]
        self._check_id(given, self.comments)
        self._found(given["issueId"])
        self.comments.append(given)
        return {"commentCreate": {"success": True, "comment": {"id": given["id"]}}}

    def _found(self, reference: str) -> dict[str, Any]:
        for each in self.issues:
            if reference in (each["identifier"], each["id"]) and not each.get("deleted"):
                return each
        raise refused("Entity not found: Issue - Could not find referenced Issue.")

    def _upload(self, variables: dict[str, Any], request: Request, query: str) -> dict[str, Any]:
        if variables["size"] > self.largest:
            raise refused("File size too large")
        number = len(self.files)
        self.files.append(variables)
        file = {
            "uploadUrl": f"http://{request.headers['host']}/storage/{number}",
            "assetUrl": f"{ASSETS}{number}",
            "headers": [{"key": "x-goog-signed", "value": "yes"}],
        }
        return {"fileUpload": {"success": True, "uploadFile": file}}

    def _update(self, variables: dict[str, Any], request: Request, query: str) -> dict[str, Any]:
        issue = self._found(variables["id"])
        if variables["input"]["stateId"] not in [each["id"] for each in self.states]:
            raise refused("Entity not found: WorkflowState")
        issue.update(variables["input"])
        return {"issueUpdate": {"success": True}}

    def _made(self, variables: dict[str, Any], request: Request, query: str) -> dict[str, Any]:
        issues = [each for each in self.issues if each["id"] == variables["issue"]]
        comments = [each for each in self.comments if each["id"] == variables["comment"]]
        return {"issues": {"nodes": issues}, "comments": {"nodes": comments}}

    def _issue(self, variables: dict[str, Any], request: Request, query: str) -> dict[str, Any]:
        issue = self._found(variables["id"])
        state = next(each for each in self.states if each["id"] == issue["stateId"])
        return {"issue": {**issue, "state": state, "team": {"states": {"nodes": self.states}}}}

    def _viewer(self, variables: dict[str, Any], request: Request, query: str) -> dict[str, Any]:
        person = {"name": "Postroom Bot", "email": "bot@example.com", "organization": {"name": "Example"}}
        return {"viewer": person}

    def _find(self, variables: dict[str, Any], request: Request, query: str) -> dict[str, Any]:
        what = re.search(r"found: (\w+)\(", query)
        assert what is not None
        rows: list[dict[str, Any]] = {
            "teams": self.teams,
            "issueLabels": self.labels,
            "users": self.users,
            "projects": self.projects,
            "workflowStates": [{**each, "team": {"id": TEAM}} for each in self.states],
        }[what[1]]
        return {"found": {"nodes": [each for each in rows if _meets(each, variables["filter"])]}}

    def assets(self, text: str) -> list[str]:
        """The names of the files that a text links to."""
        return [self.files[int(number)]["filename"] for number in re.findall(rf"\({ASSETS}(\d+)\)", text)]


def _meets(value: Any, filters: dict[str, Any]) -> bool:
    for name, wanted in filters.items():
        if name == "or":
            met = any(_meets(value, each) for each in wanted)
        elif name == "eqIgnoreCase":
            met = str(value).casefold() == wanted.casefold()
        elif name == "eq":
            met = value == wanted
        elif name == "null":
            met = (value is None) == wanted
        else:
            met = value is not None and _meets(value[name], wanted)
        if not met:
            return False
    return True


class LinearStandin(Standin):
    kind = "linear"

    def reset(self) -> None:
        self.well = self.well or FakeLinear()
        super().reset()

    def options(self) -> dict[str, Any]:
        # An id needs no look-up: the first request makes the issue.
        return {"url": f"{self.receiver.url}/graphql", "api_key": Secret(SECRET), "team": TEAM}

    def made(self) -> int:
        return len(self.well.issues)

    def texts(self) -> list[str]:
        return [each["description"] for each in self.well.issues]

    def comments(self) -> list[str]:
        return [each["body"] for each in self.well.comments]

    def attached(self) -> list[str]:
        return [name for text in self.texts() + self.comments() for name in self.well.assets(text)]

    def state(self) -> str:
        last = self.well.issues[-1]["stateId"] if self.well.issues else ""
        return "closed" if last in ("s-done", "s-shipped", "s-canceled") else "open"

    def mutates(self, request: Request) -> bool:
        return request.method == "PUT" or b'"query":"mutation' in request.body

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from email import message_from_bytes
from email.policy import HTTP
from typing import Any

from postroom.fields import Secret
from postroom.markdown import adf
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

EMAIL = "bot@example.com"
STATUSES = {"To Do": "new", "In Progress": "indeterminate", "Done": "done", "Won't Do": "done"}
TEXT = 32_767


def refusal(status: int, *messages: str, **errors: str) -> Reply:
    return Reply.of({"errorMessages": list(messages), "errors": errors}, status)


def text_of(body: Any) -> str:
    """The words of a document, or wiki markup as it is."""
    return body if isinstance(body, str) else adf.words(body)


class FakeJira:
    """As much of Jira's REST API as the kind uses: one project, with the documented refusals."""

    def __init__(self, cloud: bool = True) -> None:
        self.cloud = cloud
        self.authorization = "Basic " + base64.b64encode(f"{EMAIL}:{SECRET}".encode()).decode()
        self.issues: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.attachments: list[dict[str, Any]] = []
        self.types = ["Task", "Bug"]
        self.permissions = ["BROWSE_PROJECTS", "CREATE_ISSUES", "ADD_COMMENTS", "CREATE_ATTACHMENTS"]
        self.people = [
            {"accountId": "5b10ac8d82e05b22cc7d4ef5", "displayName": "Jo Ünal", "active": True},
            {"accountId": "712020:aa-bb", "displayName": "Al", "emailAddress": "al@example.com", "active": True},
            {"accountId": "712020:cc-dd", "displayName": "Alice", "emailAddress": "alice@example.com", "active": True},
        ]
        self.hidden = {"jo@example.com": "5b10ac8d82e05b22cc7d4ef5"}
        """Addresses that their owners show nobody."""
        self.fields: list[dict[str, Any]] = [
            {"id": "duedate", "name": "Due date", "schema": {"type": "date", "system": "duedate"}},
            {"id": "summary", "name": "Summary", "schema": {"type": "string", "system": "summary"}},
            {"id": "environment", "name": "Environment", "schema": {"type": "string", "system": "environment"}},
            {"id": "parent", "name": "Parent", "schema": {"type": "issuelink", "system": "parent"}},
            _custom(1, "Customer", "string", "textfield"),
            _custom(2, "Steps", "string", "textarea"),
            _custom(3, "Score", "number", "float"),
            _custom(4, "Severity", "option", "select"),
            _custom(5, "Systems", "array", "multicheckboxes", items="option"),
            _custom(6, "Reviewer", "user", "userpicker"),
            _custom(7, "Team", "string", "textfield"),
            _custom(8, "Team", "string", "textfield"),
            _custom(9, "Cascade", "option-with-child", "cascadingselect"),
        ]
        self.transitions = [
            _transition("11", "Start", "In Progress"),
            _transition("21", "Cancel", "Won't Do"),
            _transition("31", "Finish", "Done"),
            _transition("41", "Reopen", "To Do"),
        ]
        self.needs: dict[str, str] = {}
        """Fields that a transition needs, by its id."""
        self.largest = 1 << 20
        self.may_attach = True
        self.page = 100
        self.seen: Callable[[float], bool] = lambda made_at: True

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("authorization") != self.authorization:
            return refusal(401, "Client must be authenticated to access this resource.")
        prefix = "/rest/api/3" if self.cloud else "/rest/api/2"
        if not request.path.startswith(f"{prefix}/"):
            return Reply(404)
        path = request.path.removeprefix(prefix)
        found = re.fullmatch(r"/issue/([^/]+)(/\w+)?", path)
        if path == "/issue":
            return self._create(request.json())
        if found:
            return self._issue(found[1], found[2] or "", request)
        if path == ("/search/jql" if self.cloud else "/search"):
            return self._search(request.json())
        if path == "/myself":
            return Reply.of({"accountId": "1", "displayName": "Postroom Bot", "emailAddress": EMAIL})
        if path == "/field":
            return Reply.of(self.fields)
        if path == "/user/search":
            return self._people(request.query["query"])
        if path == "/project/SUP":
            return Reply.of({"key": "SUP", "issueTypes": [{"name": each} for each in self.types]})
        if path == "/mypermissions" and request.query.get("projectKey") == "SUP" and request.query["permissions"]:
            names = request.query["permissions"].split(",")
            return Reply.of({"permissions": {each: {"havePermission": each in self.permissions} for each in names}})
        return refusal(404, "No project could be found with key 'X'.")

    def _create(self, document: dict[str, Any]) -> Reply:
        fields = document["fields"]
        if fields["project"] not in ({"key": "SUP"}, {"id": "10000"}):
            return refusal(400, project="valid project is required")
        if fields["issuetype"].get("name", "Task") not in self.types:
            return refusal(400, issuetype="Specify a valid issue type")
        known = {each["id"] for each in self.fields}
        known |= {"project", "issuetype", "summary", "description", "labels", "priority", "assignee", "components"}
        for name in set(fields) - known - {"fixVersions", "versions"}:
            return refusal(400, **{name: f"Field '{name}' cannot be set. It is not on the appropriate screen."})
        if not fields["summary"] or len(fields["summary"]) > 255 or "\n" in fields["summary"]:
            return refusal(400, summary="Summary must be less than 255 characters.")
        if wrong := self._unfit(fields["description"], "description"):
            return wrong
        if any(" " in label for label in fields.get("labels", ())):
            return refusal(400, labels="The label 'a b' contains spaces which is invalid.")
        if fields.get("priority", {}).get("name") == "Never":
            return refusal(400, "Something else", priority="The priority selected is invalid.")
        number = len(self.issues) + 1
        issue = {"id": str(10_000 + number), "key": f"SUP-{number}", "fields": fields, "status": "To Do"}
        self.issues.append({**issue, "made_at": time.monotonic()})
        return Reply.of({"id": issue["id"], "key": issue["key"], "self": "https://x"}, 201)

    def _unfit(self, text: Any, name: str) -> Reply | None:
        if self.cloud != isinstance(text, dict):
            return refusal(400, **{name: "Operation value must be an Atlassian Document"})
        if len(text) > TEXT if isinstance(text, str) else adf.size(text) > TEXT:
            return refusal(400, **{name: "The entered text is too long. It exceeds the allowed limit."})
        return None

    def _issue(self, key: str, rest: str, request: Request) -> Reply:
        issue = next((each for each in self.issues if key in (each["key"], each["id"]) and "gone" not in each), None)
        if issue is None:
            return refusal(404, "Issue does not exist or you do not have permission to see it.")
        if rest == "/comment":
            return self._comment(issue, request) if request.method == "POST" else self._comments(issue, request)
        if rest == "/attachments":
            return self._attach(issue, request)
        if rest == "/transitions":
            return self._move(issue, request) if request.method == "POST" else self._moves(issue)
        status = {"name": issue["status"], "statusCategory": {"key": STATUSES[issue["status"]]}}
        files = [each for each in self.attachments if each["issue"] == issue["key"]]
        every = {"attachment": files, "status": status}
        return Reply.of(
            {"key": issue["key"], "fields": {name: every[name] for name in request.query["fields"].split(",")}}
        )

    def _comment(self, issue: dict[str, Any], request: Request) -> Reply:
        given = request.json()
        if wrong := self._unfit(given["body"], "comment"):
            return wrong
        self.comments.append({**given, "id": str(len(self.comments) + 1), "issue": issue["key"]})
        return Reply.of({"id": self.comments[-1]["id"]}, 201)

    def _comments(self, issue: dict[str, Any], request: Request) -> Reply:
        start, number = int(request.query["startAt"]), min(int(request.query["maxResults"]), self.page)
        newest = [each for each in self.comments[::-1] if each["issue"] == issue["key"]]
        assert request.query["orderBy"] == "-created"
        page = {"startAt": start, "maxResults": number, "total": len(newest)}
        return Reply.of({**page, "comments": newest[start : start + number]})

    def _attach(self, issue: dict[str, Any], request: Request) -> Reply:
        if request.headers.get("x-atlassian-token") != "no-check":
            return Reply(403, b"XSRF check failed")
        if not self.may_attach:
            return refusal(403, "You do not have permission to create attachments for this issue.")
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        (part,) = message_from_bytes(head + request.body, policy=HTTP).iter_parts()  # type: ignore[attr-defined]
        content = part.get_content()
        content = content.encode() if isinstance(content, str) else content
        if len(content) > self.largest:
            return Reply(413)
        assert part.get_param("name", header="content-disposition") == "file"
        row = {"id": str(len(self.attachments) + 500), "issue": issue["key"], "filename": part.get_filename()}
        self.attachments.append({**row, "size": len(content)})
        return Reply.of([self.attachments[-1]])

    def _moves(self, issue: dict[str, Any]) -> Reply:
        moves = [each for each in self.transitions if each["to"]["name"] != issue["status"]]
        needed = {each: {"required": True} for each in self.needs.values()}
        return Reply.of(
            {"transitions": [{**each, "fields": needed if each["id"] in self.needs else {}} for each in moves]}
        )

    def _move(self, issue: dict[str, Any], request: Request) -> Reply:
        given = request.json()
        chosen = next((each for each in self.transitions if each["id"] == given["transition"]["id"]), None)
        if chosen is None:
            return refusal(400, "It seems that you have tried to perform a workflow operation that is not valid.")
        needed = self.needs.get(chosen["id"])
        if needed and needed not in given.get("fields", {}):
            return refusal(400, **{needed: f"{needed.title()} is required."})
        issue["status"] = chosen["to"]["name"]
        return Reply(204)

    def _search(self, query: dict[str, Any]) -> Reply:
        found = re.match(r'(description ~ "\\"([^"]+)\\""|labels = "([^"]+)") ORDER BY created ASC$', query["jql"])
        if found is None:
            return refusal(400, "Error in the JQL Query.")
        text, label = found[2], found[3]
        hits = []
        for each in self.issues:
            fields = each["fields"]
            meets = text in text_of(fields["description"]) if text else label in fields.get("labels", ())
            if meets and self.seen(each["made_at"]):
                hits.append(
                    {"id": each["id"], "key": each["key"], "fields": {n: fields.get(n) for n in query["fields"]}}
                )
        return Reply.of({"issues": hits[: query["maxResults"]]})

    def _people(self, text: str) -> Reply:
        hidden = self.hidden.get(text.lower())
        return Reply.of(
            [
                each
                for each in self.people
                if each["accountId"] == hidden or text.lower() in json.dumps(each, ensure_ascii=False).lower()
            ]
        )


def _custom(number: int, name: str, kind: str, custom: str, **more: str) -> dict[str, Any]:
    schema = {"type": kind, "custom": f"com.atlassian.jira.plugin.system.customfieldtypes:{custom}", **more}
    return {"id": f"customfield_1000{number}", "name": name, "custom": True, "schema": schema}


def _transition(number: str, name: str, to: str) -> dict[str, Any]:
    return {"id": number, "name": name, "to": {"name": to, "statusCategory": {"key": STATUSES[to]}}}


class JiraStandin(Standin):
    kind = "jira"

    def reset(self) -> None:
        if self.well is None:
            self.well = FakeJira()
            self.well.seen = self.seen
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": self.receiver.url, "email": EMAIL, "token": Secret(SECRET), "project": "SUP"}

    def made(self) -> int:
        return len(self.well.issues)

    def texts(self) -> list[str]:
        return [text_of(each["fields"]["description"]) for each in self.well.issues]

    def comments(self) -> list[str]:
        return [text_of(each["body"]) for each in self.well.comments]

    def attached(self) -> list[str]:
        return [each["filename"] for each in self.well.attachments]

    def state(self) -> str:
        last = self.well.issues[-1]["status"] if self.well.issues else "To Do"
        return "closed" if STATUSES[last] == "done" else "open"

    def mutates(self, request: Request) -> bool:
        return request.method != "GET" and "/search" not in request.path

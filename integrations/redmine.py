"""Kind `redmine`: opens an issue in Redmine, and comments on it as the conversation goes on.

https://www.redmine.org/projects/redmine/wiki/Rest_api, proved against 5.0. Redmine knows no idempotency key,
so the last line of each text is the delivery's marker, which Redmine's search finds as soon as the issue is stored.
Files are uploaded first, and come to the issue or the note in the request that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from postroom.composition import compose, not_taken, title_of
from postroom.exchange import Answer
from postroom.fields import Json, Secret, Url
from postroom.integration import (
    DeliveryError,
    Guarantee,
    Http,
    Integration,
    Job,
    Markup,
    Receipt,
    inside,
    number_of,
    setting,
)
from postroom.remembered import Remembered

_WHAT = "issue of Redmine"
_SUBJECT = 255
_KEEP_NAMES = 600.0
"""Seconds for which the ids of names are remembered."""
_REFUSED = "refused: "
"""Begins the recorded reference of an attachment that Redmine did not take."""
_SHOWN = (".bmp", ".gif", ".jpg", ".jpe", ".jpeg", ".png", ".webp")
"""Names of pictures that browsers show."""


@dataclass(frozen=True)
class RedmineOptions:
    url: Url = setting("address of the Redmine, with its path where it has one")
    api_key: Secret = setting("API access key of the user who opens the issues (My account)")
    project: str | None = setting("identifier of the project where a rule names none", default=None)
    formatting: Literal["textile", "markdown"] = setting(
        "text formatting of this Redmine (Administration, Settings, General); CommonMark is `markdown`",
        default="textile",
    )
    states: dict[str, str] = setting(
        "names of the statuses that `state` of an update sets, `open` and `closed`; by default the first that the user "
        "may set and that Redmine counts as such",
        default_factory=dict,
    )


@dataclass(frozen=True)
class RedmineFields:
    project: str | None = setting("identifier or number of the project", default=None)
    tracker: str | None = setting("name or number, such as Bug", default=None)
    status: str | None = setting("name or number", default=None)
    priority: str | None = setting("name or number", default=None)
    category: str | None = setting("name or number; names are those of the project", default=None)
    assignee: str | None = setting(
        "number of a user or group, `me`, or a member's name as Redmine shows it", default=None
    )
    custom_fields: dict[str, str] | None = setting(
        "values by number of the custom field; by name only with an administrator's key", default=None
    )
    private: bool | None = setting("makes the issue private, and the notes of later mail", default=None)
    fields: dict[str, Json] | None = setting(
        "anything else of an issue by its name in Redmine's API: start_date, due_date, estimated_hours, done_ratio, "
        "parent_issue_id, watcher_user_ids, fixed_version_id (the name of a version too)",
        default=None,
    )


class Redmine(Integration):
    """Opens issues and comments on them. The reference is the number of the issue."""

    kind = "redmine"
    summary = "Opens an issue in Redmine; later mail of the conversation becomes notes of it."
    guarantee = Guarantee.CONSISTENT_SEARCH
    example = """\
kind: redmine
url: https://redmine.example.com
api_key: "${REDMINE_KEY}"
project: support
"""
    Options = RedmineOptions
    Fields = RedmineFields

    def __init__(self, name: str, options: RedmineOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        for state in options.states:
            if state not in ("open", "closed"):
                raise ValueError(f"states: '{state}' is none; there are `open` and `closed`")
        self._url = options.url.rstrip("/")
        self._headers = {"X-Redmine-API-Key": str(options.api_key)}
        self._lists = Remembered(_KEEP_NAMES)

    @classmethod
    def markup(cls, options: RedmineOptions) -> Markup:
        return Markup(options.formatting)

    def deliver(self, job: Job) -> Receipt:
        number = job.once(job.part, lambda: self._create(job) if job.item is None else self._comment(job, job.item))
        if job.content.state:
            job.once("state", lambda: self._set_state(number, job.content.state))
        return self._receipt(number)

    def find(self, job: Job) -> Receipt | None:
        """The issue that holds the marker: in one of its notes where we comment on it, or else in its description."""
        parameters: dict[str, str | int] = {"q": job.marker, "issues": 1, "limit": 10}
        results = _rows(self._get("/search.json", parameters), "results")
        if job.item is not None:
            if any(str(row["id"]) == job.item.reference for row in results):
                return self._receipt(number_of(job.item, _WHAT))
            if job.content.update:
                return None
        # Others may quote the marker later: the oldest is the one that was made with it.
        made = [int(row["id"]) for row in results if job.marker in str(row.get("description"))]
        return self._receipt(str(min(made))) if made else None

    def check(self) -> Sequence[str]:
        user = inside(self._get("/users/current.json").json(), "user")
        name = " ".join(str(inside(user, each) or "") for each in ("firstname", "lastname")).strip()
        told = [f"known as {name or 'a user without a name'} ({inside(user, 'mail') or inside(user, 'login')})"]
        for state in self.options.states:
            try:
                self._statuses_of(state)
            except DeliveryError as error:
                if not error.permanent or error.status is not None:
                    raise
                told.append(error.reason)
        project = self.options.project
        if project is None:
            return [*told, "each rule must name a project: the destination names none"]
        answer = self.http.get(
            f"{self._url}/projects/{quote(project, safe='')}.json",
            params={"include": "trackers"},
            headers=self._headers,
            expect=(200, 403, 404),
        )
        if answer.status != 200:
            return [*told, f"there is no project '{project}', or the user may not see it"]
        found = inside(answer.json(), "project")
        trackers = inside(found, "trackers")
        names = [str(inside(each, "name")) for each in trackers] if isinstance(trackers, list) else []
        return [*told, f"sees the project {inside(found, 'name')} with the trackers {', '.join(names) or 'none'}"]

    def _create(self, job: Job) -> str:
        issue = self._attributes(job.content.fields)
        uploads, pictures, notes = self._uploads(job)
        issue["subject"] = title_of(job, _SUBJECT)
        issue["description"] = compose(
            job, self.markup(self.options), title_limit=_SUBJECT, images=pictures, notes=notes
        )
        if uploads:
            issue["uploads"] = uploads
        url = self._url + "/issues.json"
        answer = self.http.post(url, json={"issue": issue}, headers=self._headers, expect=(201, 422))
        if answer.status == 422:
            raise answer.error(f"Redmine refused the issue: {_errors(answer)}", permanent=True)
        number = inside(answer.json(), "issue", "id")
        if not isinstance(number, int):
            raise answer.error("Redmine's answer names no issue", unknown=True)
        return str(number)

    def _comment(self, job: Job, item: Receipt) -> str:
        number = number_of(item, _WHAT)
        uploads, pictures, notes = self._uploads(job)
        issue: dict[str, Any] = {"notes": compose(job, self.markup(self.options), images=pictures, notes=notes)}
        if job.content.fields.get("private"):
            issue["private_notes"] = True
        if uploads:
            issue["uploads"] = uploads
        self._change(number, issue, "the note")
        return number

    def _change(self, number: str, issue: dict[str, Any], what: str) -> None:
        url = f"{self._url}/issues/{number}.json"
        answer = self.http.put(url, json={"issue": issue}, headers=self._headers, expect=(200, 204, 404, 409, 422))
        if answer.status == 404:
            raise answer.error(f"issue {number} is gone from Redmine, or hidden from this user", item_gone=True)
        if answer.status == 409:
            raise answer.error(f"issue {number} was being changed by someone else")
        if answer.status == 422:
            raise answer.error(f"Redmine refused {what}: {_errors(answer)}", permanent=True)

    def _set_state(self, number: str, state: str) -> str:
        issue = self._read(number)
        if self._is_closed(issue) == (state == "closed"):
            return state
        # A new Redmine tells what the workflow lets this user set; an old one takes all in silence.
        allowed = inside(issue, "allowed_statuses")
        ids = [inside(each, "id") for each in allowed] if isinstance(allowed, list) else None
        wanted = self._statuses_of(state)
        possible = [each for each in wanted if ids is None or each in ids]
        if possible:
            self._change(number, {"status_id": possible[0]}, "the status")
        if not possible or self._is_closed(self._read(number)) != (state == "closed"):
            reason = f"the workflow of issue {number} lets this user set no status that is {state}"
            raise DeliveryError(reason, permanent=True)
        return state

    def _read(self, number: str) -> dict[str, Any]:
        answer = self._get(f"/issues/{number}.json", {"include": "allowed_statuses"})
        issue = inside(answer.json(), "issue")
        if not isinstance(issue, dict):
            raise answer.error("Redmine's answer holds no issue", unknown=True)
        return issue

    def _is_closed(self, issue: dict[str, Any]) -> bool:
        status = inside(issue, "status", "id")
        rows = self._list("/issue_statuses.json", "issue_statuses")
        return any(row["id"] == status and row.get("is_closed") is True for row in rows)

    def _statuses_of(self, state: str) -> list[int]:
        """The ids of the statuses that stand for a state, in Redmine's order."""
        if state in self.options.states:
            return [self._id("status", self.options.states[state], "/issue_statuses.json", "issue_statuses")]
        rows = self._list("/issue_statuses.json", "issue_statuses")
        return [row["id"] for row in rows if (row.get("is_closed") is True) == (state == "closed")]

    def _uploads(self, job: Job) -> tuple[list[dict[str, str]], dict[str, str], list[str]]:
        """Uploads what no earlier attempt did.

        Returns what the issue takes, the addresses of pictures by Content-ID, and a line on each file not taken.
        """
        uploads: list[dict[str, str]] = []
        pictures: dict[str, str] = {}
        notes: list[str] = []
        for position, attachment in enumerate(job.attachments):
            info, step = attachment.info, f"attachment:{position}"
            token = job.steps.get(step)
            if token is None or not (token.startswith(_REFUSED) or self._is_fresh(token)):
                try:
                    token = self._upload(info.name, attachment.chunks(), info.size)
                except DeliveryError as error:
                    # A file that belongs to no issue yet is no item: nothing to search for.
                    error.unknown = False
                    raise
                job.record(step, token)
            if token.startswith(_REFUSED):
                notes.append(not_taken(info.name, info.size, token.removeprefix(_REFUSED)))
                continue
            uploads.append({"token": token, "filename": info.name, "content_type": info.content_type})
            if info.content_id and info.name.lower().endswith(_SHOWN):
                # By its number: of files with the same name Redmine would show the newest.
                where = f"{quote(token.partition('.')[0], safe='')}/{quote(info.name, safe='')}"
                pictures[info.content_id] = f"{self._url}/attachments/download/{where}"
        return uploads, pictures, notes

    def _upload(self, name: str, chunks: Any, size: int) -> str:
        answer = self.http.post(
            self._url + "/uploads.json",
            params={"filename": name},
            data=chunks,
            size=size,
            headers={**self._headers, "Content-Type": "application/octet-stream"},
            expect=(201, 413, 422),
        )
        if answer.status == 413:
            return _REFUSED + "it is too large"
        if answer.status == 422:
            return _REFUSED + _errors(answer)
        token = inside(answer.json(), "upload", "token")
        if not isinstance(token, str):
            raise answer.error("Redmine's answer to an upload names no token")
        return token

    def _is_fresh(self, token: str) -> bool:
        """Redmine throws files away that no issue takes within a day, and then ignores their tokens in silence."""
        number = token.partition(".")[0]
        url = f"{self._url}/attachments/{quote(number, safe='')}.json"
        return self.http.get(url, headers=self._headers, expect=(200, 403, 404)).status == 200

    def _attributes(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A rule's fields as Redmine takes them: ids instead of names."""
        project = fields.get("project") or self.options.project
        if not project:
            raise DeliveryError("neither the rule nor the destination names a project", permanent=True)
        home = f"/projects/{quote(str(project), safe='')}"
        issue: dict[str, Any] = {**(fields.get("fields") or {}), "project_id": project}
        if version := issue.get("fixed_version_id"):
            issue["fixed_version_id"] = self._id("version", str(version), f"{home}/versions.json", "versions")
        sources = {
            "tracker": ("tracker_id", "/trackers.json", "trackers"),
            "status": ("status_id", "/issue_statuses.json", "issue_statuses"),
            "priority": ("priority_id", "/enumerations/issue_priorities.json", "issue_priorities"),
            "category": ("category_id", f"{home}/issue_categories.json", "issue_categories"),
            "assignee": ("assigned_to_id", f"{home}/memberships.json", "memberships"),
        }
        for name, (target, path, key) in sources.items():
            if value := fields.get(name):
                issue[target] = value if name == "assignee" and value == "me" else self._id(name, str(value), path, key)
        if custom := fields.get("custom_fields"):
            issue["custom_fields"] = [
                {"id": self._id("custom field", str(name), "/custom_fields.json", "custom_fields"), "value": value}
                for name, value in custom.items()
            ]
        if fields.get("private"):
            issue["is_private"] = True
        return issue

    def _id(self, what: str, value: str, path: str, key: str) -> int:
        """The id of a name. Numbers are ids already."""
        if value.isascii() and value.isdigit():
            return int(value)
        wanted = value.casefold().strip()
        known = _by_name(self._list(path, key, holds=lambda rows: wanted in _by_name(rows)))
        if wanted not in known:
            names = ", ".join(sorted(known)) or "none"
            raise DeliveryError(f"Redmine knows no {what} '{value}'; it has {names}", permanent=True)
        return known[wanted]

    def _list(
        self, path: str, key: str, *, holds: Callable[[list[dict[str, Any]]], bool] = bool
    ) -> list[dict[str, Any]]:
        """What Redmine has of something, remembered for some minutes while `holds` is true of it."""
        try:
            # Lists that come in pages have a limit of 100.
            return self._lists.get(path, lambda: _rows(self._get(path, {"limit": 100}), key), holds=holds)
        except DeliveryError as error:
            error.unknown = False  # Looking makes nothing.
            raise

    def _get(self, path: str, params: dict[str, str | int] | None = None) -> Answer:
        return self.http.get(self._url + path, params=params, headers=self._headers)

    def _receipt(self, number: str) -> Receipt:
        return Receipt(number, f"{self._url}/issues/{number}")


def _by_name(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The ids of rows by name; memberships hold a user or a group."""
    shown = [(row.get("user") or row.get("group") or row) for row in rows]
    named = [row for row in shown if isinstance(row, dict) and isinstance(row.get("id"), int)]
    return {str(row.get("name")).casefold().strip(): row["id"] for row in named}


def _errors(answer: Answer) -> str:
    """Redmine's own sentences: {"errors": ["Subject cannot be blank"]}."""
    errors = answer.mapping.get("errors")
    return "; ".join(map(str, errors if isinstance(errors, list) else [])) or "no reason given"


def _rows(answer: Answer, key: str) -> list[dict[str, Any]]:
    rows = inside(answer.json(), key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("id"), int) for row in rows):
        raise answer.error(f"Redmine's answer holds no {key}", unknown=True)
    return rows

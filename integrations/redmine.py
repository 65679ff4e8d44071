"""Kind `redmine`: opens an issue in Redmine, and comments on it as the conversation goes on.

https://www.redmine.org/projects/redmine/wiki/Rest_api, proved against 5.0. Redmine knows no idempotency key,
so the last line of each text is the delivery's marker, which Redmine's search finds as soon as the issue is stored.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from postroom.composition import compose, title_of
from postroom.exchange import Answer
from postroom.fields import Secret, Url
from postroom.integration import DeliveryError, Guarantee, Http, Integration, Job, Markup, Receipt, setting

_SUBJECT = 255
_SHOWN = (".bmp", ".gif", ".jpg", ".jpe", ".jpeg", ".png", ".webp")
"""Names of pictures that browsers show."""
_KEEP_NAMES = 600.0
"""Seconds for which the ids of names are remembered."""
_REFUSED = "refused: "
"""Begins the recorded reference of an attachment that Redmine did not take."""


@dataclass(frozen=True)
class RedmineOptions:
    url: Url = setting("address of the Redmine, with its path where it has one")
    api_key: Secret = setting("API access key of the user who opens the issues (My account)")
    project: str | None = setting("identifier of the project where a rule names none", default=None)
    formatting: Literal["textile", "markdown"] = setting(
        "text formatting of this Redmine (Administration, Settings, General); CommonMark is `markdown`",
        default="textile",
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


class Redmine(Integration):
    """Opens issues and comments on them. The reference is the number of the issue."""

    kind = "redmine"
    summary = "Opens an issue in Redmine; later mail of the conversation becomes notes of it."
    guarantee = Guarantee.CONSISTENT_SEARCH
    Options = RedmineOptions
    Fields = RedmineFields

    def __init__(self, name: str, options: RedmineOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        self._url = options.url.rstrip("/")
        self._headers = {"X-Redmine-API-Key": str(options.api_key)}
        self._names: dict[str, tuple[float, dict[str, int]]] = {}
        self._lock = threading.Lock()

    @classmethod
    def markup(cls, options: RedmineOptions) -> Markup:
        return Markup(options.formatting)

    def deliver(self, job: Job) -> Receipt:
        done = job.steps.get("item" if job.item is None else "comment")
        if done is not None:
            return self._receipt(done)
        return self._create(job) if job.item is None else self._comment(job, _number(job.item))

    def find(self, job: Job) -> Receipt | None:
        """The issue that holds the marker: in its description, or for a comment in one of its notes."""
        parameters: dict[str, str | int] = {"q": job.marker, "issues": 1, "limit": 10}
        results = _rows(self._get("/search.json", parameters), "results")
        # Others may quote the marker later: the oldest is the one that was made with it.
        made = [int(row["id"]) for row in results if job.marker in str(row.get("description"))]
        if made:
            return self._receipt(str(min(made)))
        wanted = _number(job.item) if job.item is not None else None
        return self._receipt(wanted) if wanted and any(str(row.get("id")) == wanted for row in results) else None

    def _create(self, job: Job) -> Receipt:
        issue = self._attributes(job.content.fields)
        issue["subject"] = title_of(job, _SUBJECT)
        uploads, notes, pictures = self._uploads(job)
        issue["description"] = self._text(job, notes, pictures)
        if uploads:
            issue["uploads"] = uploads
        url = self._url + "/issues.json"
        answer = self.http.post(url, json={"issue": issue}, headers=self._headers, expect=(201, 422))
        if answer.status == 422:
            raise answer.error(f"Redmine refused the issue: {_errors(answer)}", permanent=True)
        number = _inside(answer.json(), "issue", "id")
        if not isinstance(number, int):
            raise answer.error("Redmine's answer names no issue", unknown=True)
        return self._receipt(str(number))

    def _comment(self, job: Job, number: str) -> Receipt:
        uploads, refused, pictures = self._uploads(job)
        issue: dict[str, Any] = {"notes": self._text(job, refused, pictures)}
        if job.content.fields.get("private"):
            issue["private_notes"] = True
        if uploads:
            issue["uploads"] = uploads
        url = f"{self._url}/issues/{number}.json"
        answer = self.http.put(url, json={"issue": issue}, headers=self._headers, expect=(200, 204, 404, 409, 422))
        if answer.status == 404:
            error = answer.error(f"issue {number} is gone from Redmine, or hidden from this user")
            error.item_gone = True
            raise error
        if answer.status == 409:
            raise answer.error(f"issue {number} was being changed by someone else")
        if answer.status == 422:
            raise answer.error(f"Redmine refused the note: {_errors(answer)}", permanent=True)
        return self._receipt(number)

    def _uploads(self, job: Job) -> tuple[list[dict[str, str]], list[str], dict[str, str]]:
        """Uploads what no earlier attempt did.

        Returns what the issue takes, a line on each file not taken, and the addresses of pictures by Content-ID.
        """
        uploads: list[dict[str, str]] = []
        notes: list[str] = []
        pictures: dict[str, str] = {}
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
                why = token.removeprefix(_REFUSED)
                notes.append(f"Attachment not taken by Redmine: {info.name} ({info.size} bytes): {why}")
            else:
                uploads.append({"token": token, "filename": info.name, "content_type": info.content_type})
                if info.content_id and info.name.lower().endswith(_SHOWN):
                    # By its number: of files with the same name Redmine would show the newest.
                    number = token.partition(".")[0]
                    where = f"{quote(number, safe='')}/{quote(info.name, safe='')}"
                    pictures[info.content_id] = f"{self._url}/attachments/download/{where}"
        return uploads, notes, pictures

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
        token = _inside(answer.json(), "upload", "token")
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
        issue: dict[str, Any] = {"project_id": project}
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
        with self._lock:
            since, known = self._names.get(path, (0.0, {}))
        if wanted not in known or time.monotonic() - since > _KEEP_NAMES:
            known = {}
            # Lists that come in pages have a limit of 100.
            for row in _rows(self._get(path, {"limit": 100}), key):
                row = row.get("user") or row.get("group") or row
                known[str(row.get("name")).casefold().strip()] = int(row["id"])
            with self._lock:
                self._names[path] = (time.monotonic(), known)
        if wanted not in known:
            names = ", ".join(sorted(known)) or "none"
            raise DeliveryError(f"Redmine knows no {what} '{value}'; it has {names}", permanent=True)
        return known[wanted]

    def _get(self, path: str, params: dict[str, str | int]) -> Answer:
        return self.http.get(self._url + path, params=params, headers=self._headers)

    def _receipt(self, number: str) -> Receipt:
        return Receipt(number, f"{self._url}/issues/{number}")

    def _text(self, job: Job, notes: list[str], pictures: dict[str, str]) -> str:
        """Body, footer and marker. Pictures of the mail are shown in place."""
        return compose(job, self.markup(self.options), title_limit=_SUBJECT, images=pictures, notes=notes)


def _number(item: Receipt) -> str:
    if not item.reference or not (item.reference.isascii() and item.reference.isdigit()):
        raise DeliveryError(f"the item '{item.reference}' is no issue of Redmine", permanent=True)
    return item.reference


def _errors(answer: Answer) -> str:
    """Redmine's own sentences: {"errors": ["Subject cannot be blank"]}."""
    try:
        errors = answer.json().get("errors")
        return "; ".join(str(error) for error in errors) or "no reason given"
    except (DeliveryError, AttributeError, TypeError):
        return "no reason given"


def _inside(document: Any, *names: str) -> Any:
    """A value inside of nested mappings; None where there is none."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _rows(answer: Answer, key: str) -> list[dict[str, Any]]:
    rows = _inside(answer.json(), key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("id"), int) for row in rows):
        raise answer.error(f"Redmine's answer holds no {key}", unknown=True)
    return rows

"""Kind `gitlab`: opens an issue in GitLab, and comments on it as the conversation goes on.

https://docs.gitlab.com/api/issues/, https://docs.gitlab.com/api/notes/ and
https://docs.gitlab.com/api/project_markdown_uploads/. GitLab has no idempotency key: each text ends in the delivery's
marker, inside of an HTML comment, which GitLab does not show and the API returns. It is looked for in the lists of
issues and notes, which come from the database; the search may go to an index that is late.

Files are uploaded to the project first, belong to nothing yet, and become part of an issue by a link in its text.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from postroom.composition import compose, not_taken, title_of
from postroom.exchange import Answer, retry_after
from postroom.fields import Json, Secret, Url
from postroom.integration import DeliveryError, Guarantee, Http, Integration, Job, JobAttachment, Receipt, setting
from postroom.mail.targets import Markup, escape
from postroom.multipart import Form
from postroom.pages import rows
from postroom.remembered import Remembered

_TITLE = 255
_TEXT = 150_000
"""GitLab takes 1,048,576 characters; but its answer repeats them, and must not be longer than an answer may be."""
_KEEP_NAMES = 600.0
"""Seconds for which the ids of people and milestones are remembered."""
_LEEWAY = 3600.0
"""Seconds by which GitLab's clock may be behind ours."""
_REFUSED = "refused: "
_SORTED_HERE = frozenset(range(200, 500)) - {408, 425}
_MOVED = (301, 302, 307, 308, 405)
"""405: what GitLab answers to a change under the old path of a project."""
_PROJECT = re.compile(r"[0-9]{1,18}|\w[\w.-]*(?:/\w[\w.-]*)+", re.ASCII)
_ROLES = {10: "Guest", 15: "Planner", 20: "Reporter", 30: "Developer", 40: "Maintainer", 50: "Owner"}


@dataclass(frozen=True)
class GitlabOptions:
    url: Url = setting("address of the GitLab, with its path where it has one", default=Url("https://gitlab.com"))
    token: Secret = setting("personal, project or group access token with the scope `api`")
    project: str | None = setting("path (`group/project`) or id of the project where a rule names none", default=None)


@dataclass(frozen=True)
class GitlabFields:
    project: str | None = setting("path (`group/project`) or id of the project", default=None)
    labels: list[str] | None = setting("names of labels; those that do not exist are made", default=None)
    assignee: str | None = setting("user name; a number is a user's id", default=None)
    milestone: str | None = setting("title of a milestone of the project or its groups", default=None)
    type: str | None = setting("`issue`, `incident` or `task`", default=None)
    confidential: bool | None = setting("makes the issue confidential", default=None)
    due_date: str | None = setting("day on which it is due, such as 2027-03-31", default=None)
    fields: dict[str, Json] | None = setting("anything else that GitLab takes with a new issue, by name", default=None)


class Gitlab(Integration):
    """Opens issues and comments on them. The reference is `group/project#12`."""

    kind = "gitlab"
    summary = "Opens an issue in GitLab; later mail of the conversation becomes comments on it."
    guarantee = Guarantee.CONSISTENT_SEARCH
    example = """\
kind: gitlab
url: https://gitlab.example.com
token: "${GITLAB_TOKEN}"
project: support/inbox
"""
    Options = GitlabOptions
    Fields = GitlabFields

    def __init__(self, name: str, options: GitlabOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        if options.project is not None and not _PROJECT.fullmatch(options.project):
            raise ValueError(f"project: '{options.project}' is no project; write group/project, or its id")
        self._url = options.url.rstrip("/")
        self._headers = {"PRIVATE-TOKEN": str(options.token)}
        self._ids = Remembered(_KEEP_NAMES)

    @classmethod
    def markup(cls, options: GitlabOptions) -> Markup:
        return Markup.MARKDOWN

    def deliver(self, job: Job) -> Receipt:
        reference = job.once(job.part, lambda: self._create(job) if job.item is None else self._comment(job))
        if job.content.state:
            job.once("state", lambda: self._set_state(reference, job.content.state))
        return self._receipt(reference)

    def find(self, job: Job) -> Receipt | None:
        """The note with the marker, or the oldest issue with it: others may quote it later."""
        marker = _hidden(job)
        if job.item is not None:
            project, number = _parts(job.item.reference)
            try:
                newest = {"sort": "desc", "order_by": "created_at"}
                notes = self._list(f"{_home(project)}/issues/{number}/notes", newest)
                if any(marker in str(row.get("body")) for row in notes):
                    return self._receipt(f"{project}#{number}")
            except DeliveryError as error:
                if error.status not in (404, *_MOVED):
                    raise  # Else nothing can be there, and `deliver` says so.
            if job.content.update:
                return None
        project = self._project(job)
        since = datetime.datetime.fromtimestamp(job.message.received_at / 1000 - _LEEWAY, datetime.UTC)
        window = {"scope": "all", "order_by": "created_at", "sort": "desc"}
        window["created_after"] = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        issues = self._list(f"{_home(project)}/issues", window)
        found = [row for row in issues if marker in str(row.get("description")) and _is_number(row.get("iid"))]
        return self._receipt(_reference(project, min(found, key=lambda row: row["iid"]))) if found else None

    def check(self) -> Sequence[str]:
        user = self._ask("GET", "/user").mapping
        if not user.get("username"):
            raise DeliveryError("what answers there is no GitLab", permanent=True)
        told = [f"known as {user.get('name')} (@{user['username']})"]
        # Of GitLab 15.5 and later.
        token = self._ask("GET", "/personal_access_tokens/self", also=(400, 403, 404)).mapping
        scopes = token.get("scopes")
        if isinstance(scopes, list) and "api" not in scopes:
            told.append("the token lacks the scope `api`: it may open no issues")
        if isinstance(token.get("expires_at"), str):
            told.append(f"the token ends on {token['expires_at']}")
        project = self.options.project
        if project is None:
            return [*told, "each rule must name a project: the destination names none"]
        return [*told, *_rights(project, self._ask("GET", _home(project)).mapping)]

    def _create(self, job: Job) -> str:
        project, fields = self._project(job), job.content.fields
        assignee = self._assignee(str(fields.get("assignee") or ""))
        milestone = self._milestone(project, str(fields.get("milestone") or ""))
        text = self._text(job, project)
        answer = self._ask(
            "POST",
            f"{_home(project)}/issues",
            json=issue_body(title_of(job, _TITLE), text, fields, assignee, milestone),
            also=(404,),
        )
        if answer.status == 404:
            raise answer.error(f"GitLab knows no project {project} with issues for this token", permanent=True)
        issue = answer.json()
        if not isinstance(issue, dict) or not _is_number(issue.get("iid")):
            raise answer.error("GitLab's answer names no issue", unknown=True)
        return _reference(project, issue)

    def _comment(self, job: Job) -> str:
        project, number = _parts(job.item.reference if job.item else None)
        reference, path = f"{project}#{number}", f"{_home(project)}/issues/{number}"
        try:
            text = self._text(job, project)
        except DeliveryError as error:
            if error.status in (404, *_MOVED):
                error.permanent, error.item_gone = False, True
            raise
        answer = self._ask("POST", f"{path}/notes", json={"body": text}, also=(403, 404, *_MOVED))
        if answer.status == 404:
            raise answer.error(f"{reference} is gone from GitLab, or hidden from this token", item_gone=True)
        if answer.status in _MOVED:
            raise answer.error(f"the project of {reference} has moved", item_gone=True)
        if answer.status == 403:
            issue = self._ask("GET", path, also=(403, 404)).mapping
            if issue.get("discussion_locked") is True:
                raise answer.error(f"{reference} is locked: GitLab takes no comments on it", item_gone=True)
            raise self._error(answer)
        return reference

    def _set_state(self, reference: str, state: str) -> str:
        project, number = _parts(reference)
        path = f"{_home(project)}/issues/{number}"
        now = self._ask("GET", path).mapping.get("state")
        if now != ("closed" if state == "closed" else "opened"):
            self._ask("PUT", path, json={"state_event": "close" if state == "closed" else "reopen"})
        return state

    def _text(self, job: Job, project: str) -> str:
        """The whole text, with links to the files, each of which is uploaded first; inline images stand in place."""
        images, links, notes = {}, [], []
        shown = {unquote(found) for found in re.findall(r"\]\(cid:([^)\s]*)\)", job.content.body)}
        for position, attachment in enumerate(job.attachments):
            info, step = attachment.info, f"attachment:{position}"
            # An address is one of its project: where the item has gone, the next may be in another.
            where, _, address = job.steps.get(step, "").partition(" ")
            if where != project:
                address = self._upload(project, attachment)
                job.record(step, f"{project} {address}")
            if address.startswith(_REFUSED):
                notes.append(not_taken(info.name, info.size, address.removeprefix(_REFUSED)))
            elif info.content_id and info.content_id in shown:
                images[info.content_id] = address
            else:
                links.append(f"[{escape(Markup.MARKDOWN, info.name) or 'file'}]({address})")
        end = "\n\n".join([*links, _hidden(job)])
        return compose(job, Markup.MARKDOWN, title_limit=_TITLE, images=images, notes=notes, marker=end, limit=_TEXT)

    def _upload(self, project: str, attachment: JobAttachment) -> str:
        """The address of the file in Markdown, or why GitLab does not take it."""
        form = Form(files=[attachment.as_file("file")])
        try:
            answer = self._ask(
                "POST",
                f"{_home(project)}/uploads",
                data=form.chunks(),
                size=form.size,
                type_=form.content_type,
                also=(400, 403, 413, 422),
            )
            if answer.status == 413:
                return f"{_REFUSED}it is too large"
            if answer.status >= 400:
                return _REFUSED + _message(answer)
            address = answer.mapping.get("url")
            if not isinstance(address, str) or not address.startswith("/uploads/"):
                raise answer.error("GitLab's answer to an upload names no file")
        except DeliveryError as error:
            error.unknown = False  # A file that nothing leads to is no part of an issue.
            raise
        return re.sub(r"[^\w/.+~%-]", lambda found: quote(found[0]), address)

    def _project(self, job: Job) -> str:
        project = str(job.content.fields.get("project") or self.options.project or "").strip()
        if not project:
            raise DeliveryError("neither the rule nor the destination names a project", permanent=True)
        if not _PROJECT.fullmatch(project):
            raise DeliveryError(f"'{project[:100]}' is no project; it is group/project, or its id", permanent=True)
        return project

    def _assignee(self, name: str) -> int | None:
        name = name.strip().lstrip("@")
        if not name or (name.isascii() and name.isdigit()):
            return int(name) if name else None
        found = self._id("/users", {"username": name}, "username", name)
        if found is None:
            raise DeliveryError(f"GitLab knows no user '{name}'", permanent=True)
        return found

    def _milestone(self, project: str, title: str) -> int | None:
        title = title.strip()
        if not title:
            return None
        filters = {"title": title, "include_ancestors": "true"}
        found = self._id(f"{_home(project)}/milestones", filters, "title", title)
        if found is None:
            raise DeliveryError(f"neither {project} nor its groups have a milestone '{title}'", permanent=True)
        return found

    def _id(self, path: str, filters: dict[str, str], name: str, wanted: str) -> int | None:
        """The id of what bears a name, remembered for some minutes."""

        def look() -> int | None:
            for row in self._list(path, filters):
                if str(row.get(name)).casefold() == wanted.casefold() and _is_number(row.get("id")):
                    return int(row["id"])
            return None

        try:
            return self._ids.get((path, wanted), look)
        except DeliveryError as error:
            error.unknown = False  # Nothing was made yet.
            raise

    def _list(self, path: str, params: dict[str, str]) -> Any:
        return rows(lambda page, size: self._ask("GET", path, params={**params, "page": page, "per_page": size}))

    def _ask(self, method: str, path: str, *, also: Sequence[int] = (), type_: str = "", **options: Any) -> Answer:
        """One exchange: any 2xx, and what is in `also`, comes back."""
        url, headers = f"{self._url}/api/v4{path}", self._headers | ({"Content-Type": type_} if type_ else {})
        answer = self.http.request(method, url, headers=headers, expect=_SORTED_HERE, **options)
        if 200 <= answer.status < 300 or answer.status in also:
            return answer
        raise self._error(answer)

    def _error(self, answer: Answer) -> DeliveryError:
        message = _message(answer)
        if answer.status == 429:
            # The limits of single features come without a header, and are those of a minute.
            wait = retry_after(answer.headers.get("Retry-After"))
            return answer.error(
                f"GitLab asks for fewer requests: {message}", retry_after=60.0 if wait is None else wait, limited=True
            )
        if answer.status == 409 and answer.mapping.get("needs_captcha_response"):
            return answer.error("GitLab takes it for spam and asks for a captcha", permanent=True)
        if answer.status == 409:
            return answer.error(f"GitLab was busy with the same: {message}", unknown=True)
        if answer.status in _MOVED:
            return answer.error("the project has moved: write its new path into the settings", permanent=True)
        if answer.status == 401:
            return answer.error(f"GitLab does not take the token: {message}", permanent=True)
        if answer.status in (400, 422):
            return answer.error(f"GitLab refused it: {message}", permanent=True)
        return answer.error(f"GitLab answered {answer.status}: {message}", permanent=True)

    def _receipt(self, reference: str) -> Receipt:
        project, number = _parts(reference)
        known = "/" in project
        return Receipt(reference, f"{self._url}/{project}/-/issues/{number}" if known else None)


def issue_body(
    title: str, text: str, fields: dict[str, Any], assignee: int | None, milestone: int | None
) -> dict[str, Any]:
    """The body of `POST /projects/:id/issues`."""
    issue: dict[str, Any] = {**(fields.get("fields") or {}), "title": title, "description": text}
    if fields.get("labels"):
        issue["labels"] = ",".join(dict.fromkeys(fields["labels"]))
    if assignee is not None:
        issue["assignee_ids"] = [assignee]
    if milestone is not None:
        issue["milestone_id"] = milestone
    if fields.get("type"):
        issue["issue_type"] = fields["type"]
    if fields.get("confidential") is not None:
        issue["confidential"] = fields["confidential"]
    if fields.get("due_date"):
        issue["due_date"] = fields["due_date"]
    return issue


def _hidden(job: Job) -> str:
    return f"<!-- {job.marker} -->"


def _home(project: str) -> str:
    return f"/projects/{quote(project, safe='')}"


def _parts(reference: str | None) -> tuple[str, str]:
    """Project and number of `group/project#12`."""
    project, _, number = (reference or "").rpartition("#")
    if not _PROJECT.fullmatch(project) or not re.fullmatch(r"[0-9]{1,18}", number):
        raise DeliveryError(f"the item '{reference}' is no issue of GitLab", permanent=True)
    return project, number


def _reference(project: str, issue: dict[str, Any]) -> str:
    """`group/project#12`, also where the project was named by its id."""
    references = issue.get("references")
    full = references.get("full") if isinstance(references, dict) else None
    path = full.removesuffix(f"#{issue['iid']}") if isinstance(full, str) else project
    return f"{path if _PROJECT.fullmatch(path) else project}#{issue['iid']}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _message(answer: Answer) -> str:
    """GitLab's own sentences: {"error"}, {"message": "..."}, {"message": {"title": ["is too long"]}}, or plain text."""
    document = answer.mapping
    found = document.get("message") or document.get("error_description") or document.get("error")
    if isinstance(found, dict):
        found = "; ".join(
            f"{'' if name in ('base', 'error') else f'{name} '}{_listed(said)}" for name, said in found.items()
        )
    elif isinstance(found, list):
        found = _listed(found)
    elif not document and len(answer.text) < 200 and "<" not in answer.text:
        found = answer.text.strip()
    return str(found or "no reason given")[:400]


def _listed(said: Any) -> str:
    return ", ".join(map(str, said)) if isinstance(said, list) else str(said)


def _rights(project: str, found: dict[str, Any]) -> list[str]:
    """What a check tells of a project."""
    name = found.get("path_with_namespace") or project
    if found.get("archived") is True:
        return [f"{name} is archived: nothing can be added"]
    if found.get("issues_access_level") == "disabled" or found.get("issues_enabled") is False:
        return [f"issues are disabled in {name}"]
    permissions = found.get("permissions")
    access = permissions.values() if isinstance(permissions, dict) else ()
    levels = [
        each["access_level"] for each in access if isinstance(each, dict) and _is_number(each.get("access_level"))
    ]
    if not levels:
        return [f"sees {name}, and is no member: GitLab leaves out labels, assignee and milestone in silence"]
    return [f"may open issues in {name} as {_ROLES.get(max(levels), f'a member of level {max(levels)}')}"]

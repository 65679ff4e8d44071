"""Kind `linear`: opens an issue in Linear, and comments on it as the conversation goes on.

https://linear.app/developers/graphql. The ids of issues and comments are chosen here, made of the key of the
delivery: Linear refuses a second one with the same id. In what words it does so is not documented, so whatever was
refused is looked for by its id before the refusal is believed.
"""

from __future__ import annotations

import functools
import hashlib
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postroom.composition import compose, not_taken, place_images, title_of
from postroom.exchange import Answer, retry_after
from postroom.fields import Json, Secret, Url, setting
from postroom.integration import DeliveryError, Guarantee, Http, Integration, Job, JobAttachment, Markup, Receipt
from postroom.mail.targets import escape
from postroom.remembered import Remembered

_TITLE, _BODY = 255, 100_000
_KEEP_NAMES = 600.0  # seconds for which the ids of names are remembered
_REFUSED = "refused: "
"""Begins the recorded reference of an attachment that Linear did not take."""
_PRIORITIES = {"none": 0, "no priority": 0, "urgent": 1, "high": 2, "medium": 3, "normal": 3, "low": 4}
_NUMBERS: dict[str, type[int] | type[float]] = {"estimate": int, "sortOrder": float, "subIssueSortOrder": float}
"""Fields of IssueCreateInput that take numbers."""
_STATES = {"closed": ("completed", "canceled", "duplicate"), "open": ("unstarted", "backlog", "started", "triage")}
"""The types of workflow states that count as closed and as open, those to choose first at the beginning."""
_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}", re.ASCII)
_ADDRESS = re.compile(r"https?://[^\s()<>\\]+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

CREATE = (
    "mutation Create($input: IssueCreateInput!) { issueCreate(input: $input) { success issue { id identifier url } } }"
)
COMMENT = "mutation Comment($input: CommentCreateInput!) { commentCreate(input: $input) { success comment { id } } }"
UPLOAD = (
    "mutation Upload($contentType: String!, $filename: String!, $size: Int!) "
    "{ fileUpload(contentType: $contentType, filename: $filename, size: $size) "
    "{ success uploadFile { uploadUrl assetUrl headers { key value } } } }"
)
UPDATE = "mutation Update($id: String!, $input: IssueUpdateInput!) { issueUpdate(id: $id, input: $input) { success } }"
MADE = (
    "query Made($issue: ID!, $comment: ID!) "
    "{ issues(filter: {id: {eq: $issue}}, includeArchived: true, first: 1) { nodes { identifier url } } "
    "comments(filter: {id: {eq: $comment}}, includeArchived: true, first: 1) { nodes { id } } }"
)
ISSUE = (
    "query Issue($id: String!) { issue(id: $id) { identifier url trashed state { name type } "
    "team { states(first: 100) { nodes { id name type position } } } } }"
)
VIEWER = "query Viewer { viewer { name email organization { name } } }"
FIND = "query Find($filter: %s) { found: %s(filter: $filter, first: 10) { nodes { %s } } }"
LOOKUPS = {
    "team": FIND % ("TeamFilter", "teams", "id key"),
    "label": FIND % ("IssueLabelFilter", "issueLabels", "id team { id }"),
    "user": FIND % ("UserFilter", "users", "id"),
    "project": FIND % ("ProjectFilter", "projects", "id"),
    "status": FIND % ("WorkflowStateFilter", "workflowStates", "id"),
}


@dataclass(frozen=True)
class LinearOptions:
    api_key: Secret = setting("personal API key (Settings, Security & access), or an OAuth access token")
    oauth: bool = setting("the key is an OAuth access token", default=False)
    team: str | None = setting("key, name or id of the team where a rule names none", default=None)
    project: str | None = setting("name or id of the project where a rule names none", default=None)
    states: dict[str, str] = setting(
        "names of the statuses that `closed` and `open` lead to; by default the team's first of that sort",
        default_factory=dict,
    )
    url: Url = setting("address of the GraphQL API", default=Url("https://api.linear.app/graphql"))


@dataclass(frozen=True)
class LinearFields:
    team: str | None = setting("key, name or id of the team", default=None)
    project: str | None = setting("name or id of the project", default=None)
    labels: list[str] | None = setting("names or ids of labels of the team or the workspace", default=None)
    priority: str | None = setting("urgent, high, medium, low or none, or 0 to 4", default=None)
    assignee: str | None = setting("e-mail address, display name, full name or id of a user", default=None)
    status: str | None = setting("name or id of the first status", default=None)
    fields: dict[str, Json] | None = setting(
        "further fields by their names in IssueCreateInput, such as `dueDate` or `estimate`", default=None
    )


class _Refused(DeliveryError):
    """Linear understood the request and will not do it."""


class Linear(Integration):
    """Opens issues and comments on them. The reference is the identifier of the issue, such as ENG-12."""

    kind = "linear"
    summary = "Opens an issue in Linear; later mail of the conversation becomes comments on it."
    guarantee = Guarantee.NATIVE_KEY
    example = "kind: linear\napi_key: {file: secrets/linear-key}\nteam: SUP\n"
    Options = LinearOptions
    Fields = LinearFields

    def __init__(self, name: str, options: LinearOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        if unknown := sorted(set(options.states) - set(_STATES)):
            raise ValueError(f"states: '{unknown[0]}' is neither closed nor open")
        self._headers = {"Authorization": f"Bearer {options.api_key}" if options.oauth else str(options.api_key)}
        self._names = Remembered(_KEEP_NAMES)

    @classmethod
    def markup(cls, options: LinearOptions) -> Markup:
        return Markup.MARKDOWN

    def deliver(self, job: Job) -> Receipt:
        reference = job.steps.get(job.part)
        if reference is None:
            made = self.find(job) if job.uncertain else None
            if made is None:
                made = self._create(job) if job.item is None else self._comment(job, job.item)
            if job.item is not None and made.reference != job.item.reference:
                # An earlier attempt opened an issue of its own, before the conversation had this one.
                return made
            reference = made.reference or ""
            job.record(job.part, reference)
            if job.item is None and made.url:
                job.record("url", made.url)
        else:
            known = job.item.url if job.item is not None else None
            made = Receipt(reference, known or job.once("url", lambda: str(self._issue(reference).get("url"))))
        if job.content.state in _STATES:
            job.once("state", lambda: self._settle(reference, job.content.state))
        return made

    def find(self, job: Job) -> Receipt | None:
        """The issue that has the id of this delivery; for a comment the issue where it stands."""
        data = self._look(MADE, {"issue": id_of(job.key, "item"), "comment": id_of(job.key, "comment")})
        issues = _nodes(data.get("issues"))
        if issues:
            return _receipt(issues[0])
        return job.item if job.item is not None and _nodes(data.get("comments")) else None

    def check(self) -> Sequence[str]:
        options: LinearOptions = self.options
        viewer = _mapping(self._look(VIEWER, {}).get("viewer"))
        organization = _mapping(viewer.get("organization")).get("name")
        told = [f"known as {viewer.get('name')} ({viewer.get('email')}) in {organization}"]
        team = ""
        wanted = [("team", options.team), ("project", options.project)]
        for what, value in [*wanted, *(("status", each) for each in options.states.values())]:
            if value and (team or what != "status"):
                try:
                    found = self._id(what, value, team)
                    team = found if what == "team" else team
                    told.append(f"there is the {what} '{value}'")
                except _Refused as error:
                    told.append(error.reason)
        return told

    def _create(self, job: Job) -> Receipt:
        ids = self._ids(job.content.fields)
        made = self._made(job, CREATE, {"input": issue_input(job, ids, self._text(job))}, "issueCreate")
        return made if isinstance(made, Receipt) else _receipt(made.get("issue"))

    def _comment(self, job: Job, item: Receipt) -> Receipt:
        given = {"id": id_of(job.key, "comment"), "issueId": item.reference or "", "body": self._text(job)}
        try:
            made = self._made(job, COMMENT, {"input": given}, "commentCreate")
        except _Refused:
            self._issue(given["issueId"], comment=True)
            raise
        return made if isinstance(made, Receipt) else item

    def _made(self, job: Job, query: str, variables: dict[str, Any], name: str) -> Receipt | dict[str, Any]:
        """What a mutation made, or where it was refused because that was there already: what was found."""
        try:
            made = _mapping(self._ask(query, variables).get(name))
            if not made.get("success"):
                raise _Refused("Linear refused it and gave no reason", permanent=True)
        except _Refused:
            if (found := self.find(job)) is not None:
                return found
            raise
        return made

    def _text(self, job: Job) -> str:
        """The text, with images in their places and links to all other attachments at the end."""
        images: dict[str, str] = {}
        notes, links = [], []
        for position, attachment in enumerate(job.attachments):
            info = attachment.info
            address = job.once(f"attachment:{position}", functools.partial(self._upload, attachment))
            placed = {info.content_id: address}
            if address.startswith(_REFUSED):
                notes.append(not_taken(info.name, info.size, address.removeprefix(_REFUSED)))
            elif info.content_id and place_images(job.content.body, placed) != place_images(job.content.body, {}):
                images |= placed
            else:
                links.append(f"[{escape(Markup.MARKDOWN, ' '.join(info.name.split()))}]({address})")
        marker = "\n\n".join(links)
        return compose(job, Markup.MARKDOWN, title_limit=_TITLE, images=images, notes=notes, marker=marker, limit=_BODY)

    def _upload(self, attachment: JobAttachment) -> str:
        """The address of a file at Linear. It belongs to nothing until a text links to it: a repeat does no harm."""
        info = attachment.info
        kind = info.content_type if _TYPE.fullmatch(info.content_type) else "application/octet-stream"
        try:
            data = self._ask(UPLOAD, {"contentType": kind, "filename": info.name, "size": info.size})
            file = _mapping(_mapping(data.get("fileUpload")).get("uploadFile"))
            address, target = file.get("assetUrl"), file.get("uploadUrl")
            if not (isinstance(address, str) and isinstance(target, str) and _ADDRESS.fullmatch(address)):
                raise DeliveryError("Linear's answer says not where to upload")
            headers = {"Content-Type": kind, "Cache-Control": "public, max-age=31536000"}
            headers |= {str(each.get("key")): str(each.get("value")) for each in _rows(file.get("headers"))}
            # The host is of Linear's naming, and gets no key.
            expect = (200, 201, 204, 413, 415, 422)
            answer = self.http.put(target, data=attachment.chunks(), size=info.size, headers=headers, expect=expect)
        except _Refused as error:
            return _REFUSED + error.reason
        except DeliveryError as error:
            error.unknown = False
            raise
        return address if answer.status < 400 else f"{_REFUSED}Linear's storage answered {answer.status}"

    def _settle(self, reference: str, wanted: str) -> str:
        """Brings the issue into a status that counts as `wanted`, unless it is in one. Returns the status's name."""
        issue = self._issue(reference)
        present = _mapping(issue.get("state"))
        if present.get("type") in _STATES[wanted]:
            return str(present.get("name"))
        states = _nodes(_mapping(issue.get("team")).get("states"))
        states.sort(key=lambda each: each["position"] if isinstance(each.get("position"), int | float) else 0)
        named = self.options.states.get(wanted)
        chosen = [each for kind in _STATES[wanted] for each in states if each.get("type") == kind]
        if named:
            chosen = [each for each in states if named.casefold() in (str(each.get("name")).casefold(), each.get("id"))]
        if not chosen:
            names = ", ".join(str(each.get("name")) for each in states) or "none"
            what = f"'{named}'" if named else f"that counts as {wanted}"
            raise _Refused(f"{reference} has no status {what}; its team has {names}", permanent=True)
        self._ask(UPDATE, {"id": reference, "input": {"stateId": chosen[0].get("id")}})
        return str(chosen[0].get("name"))

    def _issue(self, reference: str, *, comment: bool = False) -> dict[str, Any]:
        """An issue's status and its team's. Raises where it is no more; then a `comment` goes into a new one."""
        try:
            issue = _mapping(self._look(ISSUE, {"id": reference}).get("issue"))
            if not issue.get("trashed"):
                return issue
            said = "it is in the trash"
        except _Refused as error:
            said = error.reason
        reason = f"issue {reference} is gone from Linear, or hidden from this key: {said}"
        raise DeliveryError(reason, permanent=not comment, item_gone=comment)

    def _ids(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A rule's fields as Linear takes them: ids instead of names."""
        given = fields.get("team") or self.options.team
        if not given:
            raise DeliveryError("neither the rule nor the destination names a team", permanent=True)
        ids: dict[str, Any] = {"teamId": (team := self._id("team", str(given)))}
        if project := fields.get("project") or self.options.project:
            ids["projectId"] = self._id("project", str(project))
        if labels := fields.get("labels"):
            ids["labelIds"] = list(dict.fromkeys(self._id("label", str(each), team) for each in labels))
        if assignee := fields.get("assignee"):
            ids["assigneeId"] = self._id("user", str(assignee))
        if status := fields.get("status"):
            ids["stateId"] = self._id("status", str(status), team)
        return ids

    def _id(self, what: str, value: str, team: str = "") -> str:
        """The id of a name. Ids are taken as they are. Raises _Refused where there is none."""
        if _UUID.fullmatch(value):
            return value
        key = (what, value.strip().casefold(), team)
        return self._names.get(key, lambda: self._looked_up(what, value.strip(), team))

    def _looked_up(self, what: str, value: str, team: str) -> str:
        nodes = _nodes(self._look(LOOKUPS[what], {"filter": filter_of(what, value, team)}).get("found"))
        # A label of the team goes before one of the workspace, a team's key before another's name.
        key = value.casefold()
        nodes.sort(key=lambda each: not (_mapping(each.get("team")) or str(each.get("key")).casefold() == key))
        if not nodes or not isinstance(nodes[0].get("id"), str):
            raise _Refused(f"Linear has no {what} '{value}' that this key sees", permanent=True)
        return str(nodes[0]["id"])

    def _look(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._ask(query, variables)
        except DeliveryError as error:
            error.unknown = False
            raise

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        answer = self.http.post(self.options.url, json=body, headers=self._headers, expect=(200, 400, 401, 403))
        document = _mapping(answer.json()) if answer.status == 200 or b'"errors"' in answer.body else {}
        if errors := _rows(document.get("errors")):
            raise _error(answer, errors)
        if answer.status != 200:
            raise answer.error(f"Linear answered {answer.status}", permanent=True)
        data = document.get("data")
        if not isinstance(data, dict):
            raise answer.error("Linear's answer holds no data", unknown=True)
        return data


def id_of(key: str, part: str) -> str:
    """The id of a delivery's issue or comment: the same over all attempts, in the form of a UUID of version 4."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"{key}/{part}".encode()).digest()[:16], version=4))


def issue_input(job: Job, ids: Mapping[str, Any], description: str) -> dict[str, Any]:
    """IssueCreateInput. Raises DeliveryError for a value that it cannot hold."""
    fields = job.content.fields
    given = {"id": id_of(job.key, "item"), "title": title_of(job, _TITLE), "description": description, **ids}
    if priority := str(fields.get("priority") or "").strip().lower():
        number = _PRIORITIES.get(priority, int(priority) if priority in ("0", "1", "2", "3", "4") else None)
        if number is None:
            raise DeliveryError(f"priority: '{priority}' is none of urgent, high, medium, low, none", permanent=True)
        given["priority"] = number
    for name, value in (fields.get("fields") or {}).items():
        try:
            given[name] = _NUMBERS[name](value) if name in _NUMBERS else value
        except (TypeError, ValueError):
            raise DeliveryError(f"fields: {name} takes a number", permanent=True) from None
    return given


def filter_of(what: str, value: str, team: str) -> dict[str, Any]:
    """The filter that finds a thing by its name."""
    same = {"eqIgnoreCase": value}
    if what == "team":
        return {"or": [{"key": same}, {"name": same}]}
    if what == "label":
        return {"name": same, "or": [{"team": {"id": {"eq": team}}}, {"team": {"null": True}}]}
    if what == "user":
        return {"active": {"eq": True}, "or": [{"email": same}, {"displayName": same}, {"name": same}]}
    if what == "status":
        return {"name": same, "team": {"id": {"eq": team}}}
    return {"or": [{"name": same}, {"slugId": same}]}


def _error(answer: Answer, errors: list[dict[str, Any]]) -> DeliveryError:
    """The sort of what a GraphQL answer says is wrong. https://linear.app/developers/rate-limiting"""
    extensions = [_mapping(each.get("extensions")) for each in errors]
    codes = {str(each.get(name)).lower().replace("_", " ") for each in extensions for name in ("code", "type")}
    said = "; ".join(
        str(more.get("userPresentableMessage") or each.get("message") or "no reason given")
        for each, more in zip(errors, extensions, strict=True)
    )
    if "ratelimited" in codes:
        return answer.error(f"Linear asks for fewer requests: {said}", retry_after=_reset(answer), limited=True)
    if answer.status == 401 or "authentication error" in codes:
        return answer.error(f"Linear does not accept the key: {said}", permanent=True)
    if codes & {"internal error", "internal server error", "lock timeout", "network error"}:
        return answer.error(f"Linear failed: {said}", unknown=True)
    told = answer.error(f"Linear refused it: {said}", permanent=True)
    return _Refused(told.reason, permanent=True, status=told.status, answer=told.answer)


def _reset(answer: Answer) -> float | None:
    """Seconds until the limits that are used up are filled again: Linear gives milliseconds since 1970."""
    wish = retry_after(answer.headers.get("Retry-After"))
    for limit in () if wish else ("Requests", "Complexity", "Endpoint-Requests"):
        reset = answer.headers.get(f"X-RateLimit-{limit}-Reset") or ""
        if answer.headers.get(f"X-RateLimit-{limit}-Remaining") == "0" and re.fullmatch(r"[0-9]{13}", reset):
            wish = max(wish or 0.0, int(reset) / 1000 - time.time())
    return wish


def _receipt(issue: Any) -> Receipt:
    reference, url = (_mapping(issue).get(name) for name in ("identifier", "url"))
    if not isinstance(reference, str) or not isinstance(url, str):
        raise DeliveryError("Linear's answer names no issue", unknown=True)
    return Receipt(reference, url)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _nodes(connection: Any) -> list[dict[str, Any]]:
    return _rows(_mapping(connection).get("nodes"))

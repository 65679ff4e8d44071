"""Kind `jira`: opens an issue in Jira, and comments on it as the conversation goes on.

Cloud by version 3 of its REST API (https://developer.atlassian.com/cloud/jira/platform/rest/v3/), with texts in the
Atlassian Document Format; Data Center by version 2 (https://docs.atlassian.com/software/jira/docs/api/REST/latest/),
with texts in wiki markup. Jira has no idempotency key: the delivery's marker is the last line of each text (or a label
of the issue), and is searched for by JQL, whose index is late. Comments and attachments are read from the issue.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from integrations._jira_api import JiraApi, gone, inside, issue_path, mapping, rows, said
from integrations._jira_shapes import SUMMARY, TEXT, comment_body, issue_fields, size, words, written
from postroom.composition import compose, not_taken, place_images
from postroom.fields import Json, Secret, Url, setting
from postroom.integration import DeliveryError, Guarantee, Http, Integration, Job, JobAttachment, Markup, Receipt
from postroom.mail.targets import escape
from postroom.multipart import File, Form
from postroom.remembered import Remembered

_KEEP = 600.0  # seconds for which fields and accounts are remembered
_PAGE, _MOST_COMMENTS = 100, 1_000
_REFUSED = "refused: "
"""Begins the recorded reference of an attachment that Jira did not take."""
_STATES = {"closed": ("done",), "open": ("new", "indeterminate", "undefined")}
"""Keys of status categories, those to choose first at the beginning."""
_ACCOUNT = re.compile(r"[0-9a-f]{24}|[\w-]+:[\w:-]+", re.ASCII)
_PERMISSIONS = ("BROWSE_PROJECTS", "CREATE_ISSUES", "ADD_COMMENTS", "CREATE_ATTACHMENTS", "TRANSITION_ISSUES")


@dataclass(frozen=True)
class JiraOptions:
    url: Url = setting("address of the Jira, such as https://example.atlassian.net")
    deployment: Literal["cloud", "data_center"] = setting("`cloud`, or `data_center` for one's own", default="cloud")
    email: str | None = setting(
        "e-mail address of the account; on Data Center its user name, or nothing for a personal access token",
        default=None,
    )
    token: Secret = setting("API token; on Data Center a personal access token, or the password of the user name")
    web: Url | None = setting("address that people use, where `url` is one of api.atlassian.com", default=None)
    project: str | None = setting("key of the project where a rule names none", default=None)
    type: str = setting("name or id of the issue type where a rule names none", default="Task")
    marker: Literal["text", "label"] = setting(
        "where an issue carries what Postroom searches for: the last line of its description, or a label",
        default="text",
    )
    states: dict[str, str] = setting(
        "names of the transitions, or of the statuses they lead to, for `closed` and `open`; by default the first that "
        "leads to such a category of status",
        default_factory=dict,
    )
    resolution: str | None = setting("name of the resolution, where the transition asks for one", default=None)
    internal_comments: bool = setting(
        "comments in projects of Jira Service Management are internal notes: the customer does not see them",
        default=False,
    )


@dataclass(frozen=True)
class JiraFields:
    project: str | None = setting("key of the project", default=None)
    type: str | None = setting("name or id of the issue type", default=None)
    labels: list[str] | None = setting("labels; blanks in them become `_`", default=None)
    priority: str | None = setting("name or id", default=None)
    assignee: str | None = setting(
        "account id, e-mail address or name of a person; on Data Center a user name", default=None
    )
    components: list[str] | None = setting("names of components of the project", default=None)
    fix_versions: list[str] | None = setting("names of versions", default=None)
    affects_versions: list[str] | None = setting("names of versions", default=None)
    fields: dict[str, Json] | None = setting("any further fields, by name or by id", default=None)


class Jira(Integration):
    """Opens issues and comments on them. The reference is the key of the issue, such as SUP-12."""

    kind = "jira"
    summary = "Opens an issue in Jira, Cloud or Data Center; later mail of the conversation becomes comments on it."
    guarantee = Guarantee.LAGGING_SEARCH
    search_lag = 30.0
    example = """\
kind: jira
url: https://example.atlassian.net
email: bot@example.com
token: {file: secrets/jira-token}
project: SUP
"""
    Options = JiraOptions
    Fields = JiraFields

    def __init__(self, name: str, options: JiraOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        if unknown := sorted(set(options.states) - set(_STATES)):
            raise ValueError(f"states: '{unknown[0]}' is neither closed nor open")
        self._cloud = options.deployment == "cloud"
        if self._cloud and not options.email:
            raise ValueError("email: Jira Cloud needs the e-mail address of the account")
        user, token = options.email, str(options.token)
        self._ask = JiraApi(http, options.url, cloud=self._cloud, user=user, token=token).ask
        self._web = (options.web or options.url).rstrip("/")
        self._known = Remembered(_KEEP)

    @classmethod
    def markup(cls, options: JiraOptions) -> Markup:
        return Markup.MARKDOWN

    def deliver(self, job: Job) -> Receipt:
        if job.item is None:
            reference = job.once("item", lambda: self._create(job))
            if refused := self._attach(job, reference):
                job.once("note", lambda: self._note(job, reference, refused))
        else:
            reference = job.item.reference or ""
            job.once("comment", lambda: self._comment(job, reference))
        if job.content.state in _STATES:
            job.once("state", lambda: self._settle(reference, job.content.state))
        return self._receipt(reference)

    def find(self, job: Job) -> Receipt | None:
        """The issue where a comment has the marker, or the oldest issue with it: others may quote it later."""
        if job.item is not None:
            if self._has_comment(job.item.reference or "", job.marker):
                return self._receipt(job.item.reference or "")
            if job.content.update:
                return None
        labelled = self.options.marker == "label"
        where = f'labels = "{job.marker}"' if labelled else f'description ~ "\\"{job.marker}\\""'
        query = {"jql": f"{where} ORDER BY created ASC", "fields": ["description", "labels"], "maxResults": 20}
        path = "/search/jql" if self._cloud else "/search"
        made = []
        for row in rows(inside(self._ask("POST", path, json=query, looks=True), "issues")):
            fields = mapping(row.get("fields"))
            if job.marker in words(fields.get("description")) or job.marker in str(fields.get("labels")):
                made.append(row)
        made.sort(key=lambda row: int(row["id"]) if str(row.get("id")).isdigit() else 0)
        return self._receipt(str(made[0].get("key"))) if made else None

    def check(self) -> Sequence[str]:
        options: JiraOptions = self.options
        me = mapping(inside(self._ask("GET", "/myself")))
        told = [f"known as {me.get('displayName')} ({me.get('emailAddress') or me.get('accountId') or me.get('name')})"]
        if not (key := options.project):
            return told
        answer = self._ask("GET", f"/project/{quote(key, safe='')}", also=(404,))
        if answer.status == 404:
            return [*told, f"there is no project {key}, or this account may not see it"]
        types = [str(each.get("name")) for each in rows(inside(answer, "issueTypes"))]
        if types and not options.type.isdigit() and options.type.casefold() not in map(str.casefold, types):
            told.append(f"{key} has no issue type '{options.type}'; it has {', '.join(types)}")
        wanted: dict[str, str | int] = {"projectKey": key, "permissions": ",".join(_PERMISSIONS)}
        rights = mapping(inside(self._ask("GET", "/mypermissions", params=wanted), "permissions"))
        for has, text in ((True, "may"), (False, "may not")):
            names = [each for each in _PERMISSIONS if (mapping(rights.get(each)).get("havePermission") is True) is has]
            if names:
                told.append(f"{text} in {key}: {', '.join(names).lower().replace('_', ' ')}")
        return told

    def _create(self, job: Job) -> str:
        options: JiraOptions = self.options
        given = job.content.fields
        project = given.get("project") or options.project
        if not project:
            raise DeliveryError("neither the rule nor the destination names a project", permanent=True)
        labelled = options.marker == "label"
        fields = issue_fields(
            job,
            project=str(project),
            issue_type=str(given.get("type") or options.type),
            description=self._text(job, "" if labelled else job.marker),
            assignee=self._assignee(str(given.get("assignee") or "").strip()),
            catalogue=self._catalogue() if given.get("fields") else (),
            cloud=self._cloud,
            label=job.marker if labelled else "",
        )
        answer = self._ask("POST", "/issue", json={"fields": fields}, what="the issue")
        key = inside(answer, "key")
        if not isinstance(key, str):
            raise answer.error("Jira's answer names no issue", unknown=True)
        return key

    def _comment(self, job: Job, key: str) -> str:
        # Files first: so the comment can name those that Jira did not take.
        return self._say(key, self._text(job, job.marker, self._attach(job, key)))

    def _note(self, job: Job, key: str, notes: Sequence[str]) -> str:
        """A comment on what became of the attachments: the description stands already."""
        if job.uncertain and self._has_comment(key, job.marker):
            return key
        text = "\n\n".join(escape(Markup.MARKDOWN, each) for each in notes)
        return self._say(key, written(text, self._cloud, marker=job.marker))

    def _say(self, key: str, body: Any) -> str:
        comment = comment_body(body, internal=self.options.internal_comments)
        answer = self._ask("POST", f"{issue_path(key)}/comment", json=comment, also=(404,), what="the comment")
        if answer.status == 404:
            raise gone(key, answer)
        if not inside(answer, "id"):
            raise answer.error("Jira's answer names no comment", unknown=True)
        return key

    def _text(self, job: Job, marker: str, notes: Sequence[str] = ()) -> Any:
        images = {} if self._cloud else _placed(job)
        inline = {each: f"cid:{quote(each, safe='')}" for each in images}

        def make(most: int, limit: int | None) -> Any:
            text = compose(job, Markup.MARKDOWN, title_limit=SUMMARY, images=inline, notes=notes, marker="", limit=most)
            return written(text, self._cloud, marker=marker, images=images, limit=limit)

        text = make(TEXT - 100, None)
        # Jira's markups may need more signs for the same words.
        return text if size(text) <= TEXT else make(TEXT // 3, TEXT)

    def _has_comment(self, key: str, marker: str) -> bool:
        start, number = 0, _PAGE
        while start < _MOST_COMMENTS:
            page: dict[str, str | int] = {"startAt": start, "maxResults": number, "orderBy": "-created"}
            answer = self._ask("GET", f"{issue_path(key)}/comment", params=page, also=(404,))
            if answer.truncated and number > 1:  # long comments
                number //= 10
                continue
            if answer.status == 404:
                break  # `deliver` says so
            comments = rows(inside(answer, "comments"))
            if any(marker in words(each.get("body")) for each in comments):
                return True
            start += len(comments)
            total = inside(answer, "total")
            if not comments or not isinstance(total, int) or start >= total:
                break
        return False

    # Attachments

    def _attach(self, job: Job, key: str) -> list[str]:
        """Attaches what no earlier attempt did. Returns a note on each file that Jira did not take."""
        if not job.attachments:
            return []
        others: set[str] = set()
        if job.item is not None:
            # What hangs there from earlier mail is not ours, whatever its name.
            before = job.once(f"attached before:{key}", lambda: " ".join(str(row["id"]) for row in self._files(key)))
            others = set(before.split())
        notes, names = [], _placed(job) if not self._cloud else {}
        for position, attachment in enumerate(job.attachments):
            info = attachment.info
            name = names.get(info.content_id) or info.name
            make = functools.partial(self._upload, job, key, attachment, name, others)
            done = job.once(f"attachment:{key}:{position}", make)
            if done.startswith(_REFUSED):
                notes.append(not_taken(info.name, info.size, done.removeprefix(_REFUSED)))
            else:
                others.add(done)
        return notes

    def _upload(self, job: Job, key: str, attachment: JobAttachment, name: str, others: Collection[str]) -> str:
        info = attachment.info
        if job.uncertain:
            for row in self._files(key):
                same = _bare(str(row.get("filename"))) == _bare(name) and row.get("size") == info.size
                if same and str(row["id"]) not in others:
                    return str(row["id"])
        form = Form((), [File("file", name, info.content_type, info.size, attachment.chunks)])
        answer = self._ask(
            "POST",
            f"{issue_path(key)}/attachments",
            also=(400, 403, 404, 413, 415, 422),
            data=form.chunks(),
            size=form.size,
            headers={"Content-Type": form.content_type, "X-Atlassian-Token": "no-check"},
        )
        if answer.status >= 400:
            why = "it is too large" if answer.status == 413 else f"Jira answered {answer.status}"
            return _REFUSED + (said(answer) or why)
        made = rows(answer.json())
        if not made or not made[0].get("id"):
            raise answer.error("Jira's answer names no attachment", unknown=True)
        return str(made[0]["id"])

    def _files(self, key: str) -> list[dict[str, Any]]:
        answer = self._ask("GET", issue_path(key), params={"fields": "attachment"}, also=(404,))
        if answer.status == 404:
            raise gone(key, answer)
        return [row for row in rows(inside(answer, "fields", "attachment")) if row.get("id")]

    # State

    def _settle(self, key: str, wanted: str) -> str:
        """Brings the issue into a status of the wanted category, unless it is in one. Returns the status's name."""
        look = self._ask("GET", issue_path(key), params={"fields": "status"}, what=f"a look at {key}")
        present = mapping(inside(look, "fields", "status"))
        if _category(present) in _STATES[wanted]:
            return str(present.get("name"))
        path = f"{issue_path(key)}/transitions"
        there = rows(inside(self._ask("GET", path, params={"expand": "transitions.fields"}), "transitions"))
        told = ", ".join(f"{row.get('name')} (to {mapping(row.get('to')).get('name')})" for row in there) or "none"
        named = self.options.states.get(wanted)
        chosen = [row for kind in _STATES[wanted] for row in there if _category(mapping(row.get("to"))) == kind]
        if named:
            name = named.casefold()
            chosen = [row for row in there if name in (str(row.get("name")).casefold(), row.get("id"))]
            chosen += [row for row in there if name == str(mapping(row.get("to")).get("name")).casefold()]
        if not chosen:
            what = f"'{named}'" if named else f"to a status that counts as {wanted}"
            from_there = f"{key} has no transition {what} from {present.get('name')}; there are: {told}"
            raise DeliveryError(from_there, permanent=True)
        request: dict[str, Any] = {"transition": {"id": chosen[0].get("id")}}
        if self.options.resolution and "resolution" in mapping(chosen[0].get("fields")):
            request["fields"] = {"resolution": {"name": self.options.resolution}}
        what = f"the transition '{chosen[0].get('name')}' of {key} (there are: {told})"
        self._ask("POST", path, json=request, what=what)
        return str(mapping(chosen[0].get("to")).get("name"))

    # Look-ups

    def _assignee(self, given: str) -> dict[str, str] | None:
        if not given or not self._cloud:
            return {"name": given} if given else None
        if _ACCOUNT.fullmatch(given):
            return {"id": given}

        def look() -> str:
            people = rows(self._ask("GET", "/user/search", params={"query": given, "maxResults": 20}).json())
            people = [each for each in people if each.get("active") is not False and each.get("accountId")]
            exact = [
                each
                for each in people
                if given.casefold() in (str(each.get(name)).casefold() for name in ("emailAddress", "displayName"))
            ]
            # Most people hide their addresses, by which Jira finds them all the same.
            if len(found := exact or people) != 1:
                raise DeliveryError(f"Jira shows {len(found) or 'no'} people as '{given}'", permanent=True)
            return str(found[0]["accountId"])

        return {"id": self._known.get(f"account {given.casefold()}", look)}

    def _catalogue(self) -> list[dict[str, Any]]:
        def look() -> list[dict[str, Any]]:
            answer = self._ask("GET", "/field")
            return [] if answer.truncated else rows(answer.json())

        # A list that is too long to be read stays so.
        return self._known.get("fields", look, holds=lambda known: True)

    # Requests

    def _receipt(self, key: str) -> Receipt:
        return Receipt(key, f"{self._web}/browse/{quote(key, safe='')}")


def _placed(job: Job) -> dict[str, str]:
    """Names for the images that the text shows in place, by Content-ID: an issue may have files of their own names."""
    names = {}
    for position, each in enumerate(job.attachments):
        content_id = each.info.content_id
        shown = content_id and place_images(job.content.body, {content_id: "x"}) != place_images(job.content.body, {})
        if shown:
            names[content_id] = f"{job.key[-8:]}-{position}-{re.sub(r'[^a-zA-Z0-9.]+', '-', each.info.name)[-80:]}"
    return names


def _bare(name: str) -> str:
    """A name without what Jira may have changed in it."""
    return "".join(char for char in unicodedata.normalize("NFKC", name).casefold() if char.isalnum())


def _category(status: dict[str, Any]) -> Any:
    return mapping(status.get("statusCategory")).get("key")

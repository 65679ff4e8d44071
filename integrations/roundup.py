"""Kind `roundup`: opens an issue in a Roundup tracker, and adds messages to it as the conversation goes on.

https://www.roundup-tracker.org/docs/rest.html, proved against 2.6 with its template `classic`. A text is a message of
its own, made first and shown nowhere until an issue holds it. It carries a `messageid` that is made of the delivery's
key: Roundup finds it exactly and at once, and with it the issue that holds it. An issue is made by a link that Roundup
takes once only, so that even a request which it gets late makes no second one. A message is added to an issue only
where that is as it was read (If-Match), and does not hold it yet.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from postroom.composition import compose, not_taken, title_of
from postroom.exchange import Answer
from postroom.fields import Json, Secret, Url
from postroom.integration import (
    DeliveryError,
    Form,
    Guarantee,
    Http,
    Integration,
    Job,
    JobAttachment,
    Markup,
    Receipt,
    inside,
    number_of,
    setting,
)
from postroom.remembered import Remembered

_WHAT = "issue of Roundup"
_TITLE = 250
_KEEP_NAMES = 600.0
"""Seconds for which the statuses are remembered."""
_REFUSALS = (400, 403, 405, 409, 415, 422)
"""Roundup tells a faulty value by any of the first four."""
_NOT_TAKEN = "refused: "
"""Begins the recorded reference of an attachment that Roundup did not take."""
_USUAL = {"open": ("chatting", "open", "unread", "new"), "closed": ("resolved", "closed", "done")}
"""Statuses of the templates that come with Roundup; the first that a tracker has is taken."""


@dataclass(frozen=True)
class RoundupOptions:
    url: Url = setting(
        "address of the tracker as its config.ini has it under `web`, such as https://example.com/support"
    )
    username: str = setting("user who opens the issues, with the permission `Rest Access`")
    password: Secret = setting("its password")
    states: dict[str, str] = setting(
        "statuses that `state` of an update sets: `open` and `closed`; by default `chatting` (or open, unread, new) "
        "and `resolved` (or closed, done)",
        default_factory=dict,
    )


@dataclass(frozen=True)
class RoundupFields:
    priority: str | None = setting("name or number, such as urgent or bug", default=None)
    status: str | None = setting("name or number of the first status", default=None)
    assignee: str | None = setting("user name", default=None)
    labels: list[str] | None = setting("names of keywords that the tracker has", default=None)
    nosy: list[str] | None = setting("user names, who are told of the issue by mail", default=None)
    fields: dict[str, Json] | None = setting(
        "any other property of an issue in this tracker's schema, by name, such as superseder", default=None
    )


class Roundup(Integration):
    """Opens issues and adds messages to them. The reference is the number of the issue."""

    kind = "roundup"
    summary = "Opens an issue in a Roundup tracker; later mail of the conversation becomes messages of it."
    guarantee = Guarantee.CONSISTENT_SEARCH
    example = """\
kind: roundup
url: https://issues.example.com/support
username: postroom
password: "${ROUNDUP_PASSWORD}"
"""
    Options = RoundupOptions
    Fields = RoundupFields

    def __init__(self, name: str, options: RoundupOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        for state in options.states:
            if state not in _USUAL:
                raise ValueError(f"states: '{state}' is none; there are `open` and `closed`")
        self._url = options.url.rstrip("/")
        parts = urlsplit(self._url)
        login = base64.b64encode(f"{options.username}:{options.password}".encode()).decode()
        # Without the last three Roundup takes a request for one that a foreign page made a browser send: it knows one
        # Origin, that of its `web`.
        self._headers = {
            "Authorization": f"Basic {login}",
            "X-Requested-With": "Postroom",
            "Origin": f"{parts.scheme}://{parts.netloc}",
            "Referer": f"{self._url}/",
        }
        self._statuses = Remembered(_KEEP_NAMES)

    def deliver(self, job: Job) -> Receipt:
        number = job.once(job.part, lambda: self._create(job) if job.item is None else self._comment(job, job.item))
        if job.content.state:
            job.once("state", lambda: self._set_state(number, job.content.state))
        return self._receipt(number)

    def find(self, job: Job) -> Receipt | None:
        """The issue that holds our message."""
        messages = self._messages(job)
        issues = self._issues(messages) if messages else []
        if job.item is not None:
            if job.item.reference in issues:
                return self._receipt(number_of(job.item, _WHAT))
            if job.content.update:
                return None
        return self._receipt(min(issues, key=int)) if issues else None

    def check(self) -> Sequence[str]:
        name = self.options.username
        users = self._collection("/user", {"username:": name, "@fields": "username,realname,address"})
        told = []
        for user in users:
            if user.get("username") == name:
                known = ", ".join(str(user[key]) for key in ("realname", "address") if user.get(key))
                told.append(f"known as {name}" + (f" ({known})" if known else ""))
        told = told or [f"the tracker takes the password, and does not show the user {name}"]
        for state in _USUAL:
            try:
                self._status(state)
            except DeliveryError as error:
                if not error.permanent or error.status is not None:
                    raise
                told.append(error.reason)
        return told

    def _create(self, job: Job) -> str:
        message, files = self._message(job)
        issue = issue_body(title_of(job, _TITLE), message, files, job.content.fields)
        token = self._token(job)
        answer = self._post(f"/issue/@poe/{quote(token, safe='')}", issue)
        if answer.status == 400 and "POE token" in _sentence(answer):
            made = self._issues([message])
            if made:
                return min(made, key=int)
            # Whoever used it up may be at work still: the next attempt looks again before it gets a new one.
            job.record("token", "")
            raise answer.error("the once-only link was used already, and no issue is there yet", unknown=True)
        return self._id_of(answer, "issue")

    def _token(self, job: Job) -> str:
        """A token that makes one issue. It is on record before it is used: a later attempt uses the same."""
        expires, _, token = job.steps.get("token", "").partition(" ")
        # While there is time enough to use it.
        if token and float(expires) > time.time() + self.http.timeout:
            return token
        answer = self.http.post(self._api("/issue/@poe"), json={"lifetime": 3600}, headers=self._headers)
        token = str(inside(answer.json(), "data", "link")).rpartition("/@poe/")[2]
        expires = inside(answer.json(), "data", "expires")
        if not token or not isinstance(expires, int | float):
            raise answer.error("Roundup's answer names no once-only link")
        job.record("token", f"{int(expires)} {token}")
        return token

    def _comment(self, job: Job, item: Receipt) -> str:
        number = number_of(item, _WHAT)
        message, files = self._message(job)
        issue, attributes = self._read(number)
        if message in _ids(attributes, "messages"):
            return number
        added = {"@op": "add", "messages": [message], **({"files": files} if files else {})}
        self._patch(number, issue, added)
        return number

    def _message(self, job: Job) -> tuple[str, list[str]]:
        """The numbers of our message, which nothing shows yet, and of its files."""
        files, notes = [], []
        for position, attachment in enumerate(job.attachments):
            number = job.once(f"attachment:{position}", lambda attachment=attachment: self._upload(attachment))  # type: ignore[misc]
            if number.startswith(_NOT_TAKEN):
                notes.append(not_taken(attachment.info.name, attachment.info.size, number.removeprefix(_NOT_TAKEN)))
            else:
                files.append(number)

        def make() -> str:
            before = self._messages(job) if job.uncertain else []
            text = compose(job, Markup.PLAIN, title_limit=_TITLE, notes=notes, marker="")
            body = message_body(text, self.options.username, self._message_id(job), files)
            return before[0] if before else self._id_of(self._post("/msg", body), "message")

        return job.once("message", make), files

    def _upload(self, attachment: JobAttachment) -> str:
        info = attachment.info
        if not info.size:
            return _NOT_TAKEN + "Roundup takes no empty file"
        form = Form([("name", info.name), ("type", info.content_type)], [attachment.as_file("content")])
        headers = {**self._headers, "Content-Type": form.content_type}
        try:
            answer = self.http.post(
                self._api("/file"), data=form.chunks(), size=form.size, headers=headers, expect=(201, 413, *_REFUSALS)
            )
            if answer.status == 413:
                return _NOT_TAKEN + "it is too large"
            if answer.status != 201:
                return _NOT_TAKEN + _sentence(answer)
            return self._id_of(answer, "file")
        except DeliveryError as error:
            error.unknown = False  # A file that no issue holds is shown nowhere: another may be made.
            raise

    def _messages(self, job: Job) -> list[str]:
        """The numbers of the messages with our id, the oldest first."""
        rows = self._collection("/msg", {"messageid:": self._message_id(job)})
        return sorted((row["id"] for row in rows), key=int)

    def _issues(self, messages: Sequence[str]) -> list[str]:
        return [row["id"] for row in self._collection("/issue", {"messages": ",".join(messages)})]

    def _message_id(self, job: Job) -> str:
        """Where Roundup tells people of a message by mail, this is the Message-ID of that mail."""
        return f"<{job.marker}@{urlsplit(self._url).hostname}>"

    def _set_state(self, number: str, state: str) -> str:
        wanted, closed = self._status(state), self._status("closed")
        issue, attributes = self._read(number)
        present = str(inside(attributes, "status", "id"))
        if (present == closed) != (state == "closed"):
            self._patch(number, issue, {"@op": "replace", "status": wanted})
        return state

    def _status(self, state: str) -> str:
        """The number of the status that stands for a state. Raises a permanent DeliveryError where there is none."""

        def look() -> dict[str, str]:
            return {str(row.get("name")): row["id"] for row in self._collection("/status", {"@fields": "name"})}

        known = self._statuses.get("statuses", look)
        names = (self.options.states[state],) if state in self.options.states else _USUAL[state]
        for name in names:
            if name in known:
                return known[name]
        listed = ", ".join(known) or "none"
        raise DeliveryError(f"there is no status '{names[0]}' for `{state}`; there are {listed}", permanent=True)

    def _read(self, number: str) -> tuple[Answer, Any]:
        """An issue as it is now, and its properties."""
        answer = self._get(f"/issue/{number}", expect=(200, 403, 404, 410))
        if answer.status in (404, 410):
            raise answer.error(f"issue {number} is gone from Roundup", item_gone=True)
        if answer.status == 403:
            raise answer.error(f"Roundup does not show issue {number}: {_sentence(answer)}", permanent=True)
        return answer, inside(answer.json(), "data", "attributes")

    def _patch(self, number: str, seen: Answer, changes: dict[str, Any]) -> None:
        """Changes an issue that is still as it was seen."""
        headers = {**self._headers, "If-Match": str(inside(seen.json(), "data", "@etag"))}
        answer = self.http.patch(
            self._api(f"/issue/{number}"), json=changes, headers=headers, expect=(200, 412, *_REFUSALS)
        )
        if answer.status == 412:
            raise answer.error(f"issue {number} was being changed by someone else")
        if answer.status == 409 and "retired" in _sentence(answer):
            raise answer.error(f"issue {number} is retired in Roundup", item_gone=True)
        if answer.status != 200:
            raise answer.error(f"Roundup refused the change: {_sentence(answer)}", permanent=True)

    def _post(self, path: str, document: dict[str, Any]) -> Answer:
        return self.http.post(self._api(path), json=document, headers=self._headers, expect=(200, 201, *_REFUSALS))

    def _id_of(self, answer: Answer, what: str) -> str:
        """The number of what was made."""
        if answer.status in _REFUSALS:
            raise answer.error(f"Roundup refused the {what}: {_sentence(answer)}", permanent=True)
        number = inside(answer.json(), "data", "id")
        if not _is_number(number):
            raise answer.error(f"Roundup's answer names no {what}", unknown=True)
        return str(number)

    def _collection(self, path: str, params: dict[str, str | int]) -> list[dict[str, Any]]:
        answer = self._get(path, params=params)
        rows = inside(answer.json(), "data", "collection")
        if not isinstance(rows, list) or not all(isinstance(row, dict) and _is_number(row.get("id")) for row in rows):
            raise answer.error("Roundup's answer holds no list", unknown=True)
        return rows

    def _get(self, path: str, **options: Any) -> Answer:
        return self.http.get(self._api(path), headers=self._headers, **options)

    def _api(self, path: str) -> str:
        return f"{self._url}/rest/data{path}"

    def _receipt(self, number: str) -> Receipt:
        return Receipt(number, f"{self._url}/issue{number}")


def message_body(text: str, author: str, message_id: str, files: Sequence[str]) -> dict[str, Any]:
    """The document of `POST /rest/data/msg`. The date `.` is now."""
    message = {"content": text, "author": author, "date": ".", "messageid": message_id}
    return message | ({"files": list(files)} if files else {})


def issue_body(title: str, message: str, files: Sequence[str], fields: dict[str, Any]) -> dict[str, Any]:
    """The document of `POST /rest/data/issue`."""
    issue: dict[str, Any] = {**(fields.get("fields") or {}), "title": title, "messages": [message]}
    if files:
        issue["files"] = list(files)
    names = {"priority": "priority", "status": "status", "assignee": "assignedto", "labels": "keyword", "nosy": "nosy"}
    return issue | {target: fields[name] for name, target in names.items() if fields.get(name)}


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19


def _ids(attributes: Any, name: str) -> list[Any]:
    """The numbers in a list of links."""
    links = inside(attributes, name)
    return [inside(link, "id") for link in links] if isinstance(links, list) else []


def _sentence(answer: Answer) -> str:
    """Roundup's own words: {"error": {"status": 400, "msg": "..."}}."""
    return str(inside(answer.mapping, "error", "msg") or "no reason given")[:400]

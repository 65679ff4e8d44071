"""Kind `rt`: opens a ticket in Request Tracker, and comments on it as the conversation goes on.

https://docs.bestpractical.com/rt/5.0.3/RT/REST2.html, proved against 5.0.3. RT knows no idempotency key. A ticket is
made with a link to the mail's page that holds the delivery's marker, in one transaction of its database, and TicketSQL
finds links exactly and at once. A comment ends in the marker, which is looked for in the texts of its ticket. Ticket
and comment come with their attachments in one request each: there is no half of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

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
    Markup,
    Receipt,
    inside,
    number_of,
    setting,
)
from postroom.multipart import File
from postroom.remembered import Remembered

_WHAT = "ticket of RT"
_SUBJECT = 200
"""What RT keeps of a subject, in bytes of UTF-8."""
_LINK = 240
"""What they keep of the target of a link."""
_KEEP_NAMES = 600.0
"""Seconds for which queues and users are remembered."""
_CLOSED = frozenset(("resolved", "rejected", "deleted"))
"""Inactive statuses of RT's default lifecycle."""
_MESSAGES = ("Comment", "Correspond")


@dataclass(frozen=True)
class RtOptions:
    url: Url = setting("address of the Request Tracker, with its path where it has one")
    token: Secret = setting("authentication token of the user who opens the tickets (Settings, Auth Tokens)")
    queue: str | None = setting("name of the queue where a rule names none", default=None)
    update_type: Literal["comment", "correspond"] = setting(
        "what later mail becomes: a comment, or correspondence, which RT mails to the requestors", default="comment"
    )
    states: dict[str, str] = setting(
        "statuses that `state` of an update sets: `open` and `closed`; by default `open` and `resolved`",
        default_factory=dict,
    )


@dataclass(frozen=True)
class RtFields:
    queue: str | None = setting("name of the queue", default=None)
    status: str | None = setting("first status, such as new or open", default=None)
    priority: str | None = setting("number, or one of the names of this RT, such as High", default=None)
    assignee: str | None = setting("user name of the owner, who must have the right to own tickets", default=None)
    requestors: list[str] | None = setting("addresses or user names; by default nobody", default=None)
    cc: list[str] | None = setting("addresses or user names, who get the correspondence", default=None)
    admin_cc: list[str] | None = setting("addresses or user names, who get the comments too", default=None)
    custom_fields: dict[str, Json] | None = setting("values of custom fields of the queue, by name", default=None)
    fields: dict[str, Json] | None = setting(
        "anything else of a ticket by its name in RT, such as Due, TimeEstimated, DependsOn", default=None
    )


class Rt(Integration):
    """Opens tickets and comments on them. The reference is the number of the ticket."""

    kind = "rt"
    summary = "Opens a ticket in Request Tracker; later mail of the conversation becomes comments on it."
    guarantee = Guarantee.CONSISTENT_SEARCH
    example = """\
kind: rt
url: https://rt.example.com
token: "${RT_TOKEN}"
queue: General
"""
    Options = RtOptions
    Fields = RtFields

    def __init__(self, name: str, options: RtOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        for state in options.states:
            if state not in ("open", "closed"):
                raise ValueError(f"states: '{state}' is none; there are `open` and `closed`")
        self._url = options.url.rstrip("/")
        self._headers = {"Authorization": f"token {options.token}"}
        self._states = {"open": "open", "closed": "resolved"} | options.states
        self._known = Remembered(_KEEP_NAMES)

    def deliver(self, job: Job) -> Receipt:
        number = job.once(job.part, lambda: self._create(job) if job.item is None else self._comment(job, job.item))
        if job.content.state:
            job.once("state", lambda: self._set_state(number, job.content.state))
        return self._receipt(number)

    def find(self, job: Job) -> Receipt | None:
        """The ticket with our link, or the ticket with a comment that ends in the marker."""
        if job.item is not None:
            if self._has_comment(number_of(job.item, _WHAT), job.marker):
                return self._receipt(number_of(job.item, _WHAT))
            if job.content.update:
                return None
        query = f"RefersTo = '{link_of(job)}'"
        answer = self._get("/tickets", {"query": query, "orderby": "id", "order": "ASC"})
        numbers = [int(row["id"]) for row in _items(answer) if str(row.get("id", "")).isdecimal()]
        return self._receipt(str(min(numbers))) if numbers else None

    def check(self) -> Sequence[str]:
        version = inside(self._get("/rt").json(), "Version")
        told = [f"Request Tracker {version} takes the token"]
        # RT does not say whose token it is, but the token does: version, number of the user, secret.
        owner = re.match(r"\d+-(\d+)-", str(self.options.token))
        if owner:
            user = self._get(f"/user/{owner[1]}").json()
            told.append(f"known as {inside(user, 'Name')} ({inside(user, 'EmailAddress') or 'without address'})")
        queue = self.options.queue
        if queue is None:
            return [*told, "each rule must name a queue: the destination names none"]
        answer = self._get(f"/queue/{quote(queue, safe='')}", expect=(200, 403, 404))
        if answer.status != 200:
            return [*told, f"there is no queue '{queue}', or the user may not see it"]
        links = inside(answer.json(), "_hyperlinks")
        may = any(inside(link, "ref") == "create" for link in (links if isinstance(links, list) else []))
        return [*told, f"may{'' if may else ' not'} create tickets in {queue}"]

    def _create(self, job: Job) -> str:
        fields = job.content.fields
        queue = str(fields.get("queue") or self.options.queue or "").strip()
        if not queue:
            raise DeliveryError("neither the rule nor the destination names a queue", permanent=True)
        # RT makes the ticket all the same where it does not know these, and says nothing.
        self._require_fields(queue, fields.get("custom_fields") or {})
        self._require_user(fields.get("assignee"))

        def document(notes: Sequence[str]) -> dict[str, Any]:
            limit = subject_limit(job)
            text = compose(job, Markup.PLAIN, title_limit=limit, notes=notes, marker="")
            return ticket_body(queue, title_of(job, limit), text, fields, link_of(job))

        answer = self._send("/ticket", job, document, expect=(201, 400, 403))
        if answer.status != 201:
            raise answer.error(f"RT refused the ticket: {_message(answer)}", permanent=True)
        number = str(inside(answer.json(), "id"))
        if not _is_number(number):
            raise answer.error("RT's answer names no ticket", unknown=True)
        return number

    def _comment(self, job: Job, item: Receipt) -> str:
        number = number_of(item, _WHAT)

        def document(notes: Sequence[str]) -> dict[str, Any]:
            return message_body(compose(job, Markup.PLAIN, notes=notes))

        path = f"/ticket/{number}/{self.options.update_type}"
        answer = self._send(path, job, document, expect=(201, 400, 403, 404))
        if answer.status == 201:
            return number
        # RT says the same, 400, of what it does not take and of a ticket that is not there.
        seen = self._get(f"/ticket/{number}", expect=(200, 403, 404)) if answer.status == 400 else answer
        if seen.status == 404:
            raise answer.error(f"ticket {number} is gone from RT", item_gone=True)
        raise answer.error(f"RT refused the {self.options.update_type}: {_message(answer)}", permanent=True)

    def _send(self, path: str, job: Job, document: Any, *, expect: tuple[int, ...]) -> Answer:
        """Posts a document with the attachments; without them where they are too much for the server."""
        notes = [
            not_taken(each.info.name, 0, "RT takes no empty file") for each in job.attachments if not each.info.size
        ]
        files = [each for each in job.attachments if each.info.size]
        if files:
            parts = [
                # A name that Perl holds for none is refused.
                File(
                    "Attachments", name if name not in ("", "0") else "attachment", info.content_type, info.size, chunks
                )
                for name, info, chunks in ((each.info.name, each.info, each.chunks) for each in files)
            ]
            form = Form([("JSON", json.dumps(document(notes)))], parts)
            headers = {**self._headers, "Content-Type": form.content_type}
            answer = self.http.post(
                self._api(path), data=form.chunks(), size=form.size, headers=headers, expect=(*expect, 413)
            )
            if answer.status != 413:
                return answer
            notes += [
                not_taken(each.info.name, each.info.size, "RT's web server holds it for too much") for each in files
            ]
        return self.http.post(self._api(path), json=document(notes), headers=self._headers, expect=expect)

    def _has_comment(self, number: str, marker: str) -> bool:
        """Whether one of the texts that people wrote on a ticket holds the marker."""
        ticket = self._get(f"/ticket/{number}", expect=(200, 403, 404))
        if ticket.status != 200:
            return False  # RT would search all tickets. `deliver` says what is wrong.
        # A merged ticket's texts belong to the one that it was merged into.
        homes = {number, str(inside(ticket.json(), "EffectiveId", "id"))}
        limits = [
            {"field": "ContentType", "value": "text/plain"},
            {"field": "Content", "operator": "LIKE", "value": marker},
        ]
        parameters: dict[str, str | int] = {"query": json.dumps(limits), "orderby": "id", "fields": "TransactionId"}
        for row in _items(self._get(f"/ticket/{number}/attachments", parameters)):
            transaction = row.get("TransactionId")
            transaction = transaction.get("id") if isinstance(transaction, dict) else transaction
            if not _is_number(str(transaction)):
                continue
            found = self._get(f"/transaction/{transaction}", expect=(200, 403, 404))
            # RT keeps a copy of the mails that it sends as well.
            if found.status == 200 and inside(found.json(), "Type") in _MESSAGES:
                return str(inside(found.json(), "Object", "id")) in homes
        return False

    def _set_state(self, number: str, state: str) -> str:
        wanted = self._states[state]
        closed = _CLOSED - {self._states["open"]} | {self._states["closed"]}
        present = self._status(number)
        if present == wanted or (present in closed) == (state == "closed"):
            return present
        answer = self.http.put(self._api(f"/ticket/{number}"), json={"Status": wanted}, headers=self._headers)
        # 200 is said of what was refused, too, with a sentence in the user's language.
        if self._status(number) != wanted:
            said = answer.json()
            told = "; ".join(map(str, said)) if isinstance(said, list) else "no reason given"
            raise answer.error(f"RT did not set the status {wanted}: {told}", permanent=True)
        return wanted

    def _status(self, number: str) -> str:
        answer = self._get(f"/ticket/{number}")
        status = inside(answer.json(), "Status")
        if not isinstance(status, str):
            raise answer.error("RT's answer names no status", unknown=True)
        return status

    def _require_fields(self, queue: str, wanted: dict[str, Any]) -> None:
        if not wanted:
            return
        listed = self._lookup(f"/queue/{quote(queue, safe='')}").get("TicketCustomFields")
        if not isinstance(listed, list):
            return  # An older RT does not tell.
        known = {str(inside(field, key)) for field in listed for key in ("id", "name")}
        for name in wanted:
            if name not in known:
                names = ", ".join(sorted(each for each in known if not each.isdecimal())) or "none"
                raise DeliveryError(f"the queue {queue} has no custom field '{name}'; it has {names}", permanent=True)

    def _require_user(self, name: Any) -> None:
        # By address RT finds owners, but shows no user.
        if name and "@" not in name and not self._lookup(f"/user/{quote(name, safe='')}"):
            raise DeliveryError(f"RT knows no user '{name}'", permanent=True)

    def _lookup(self, path: str) -> dict[str, Any]:
        """A document of RT's, remembered for some minutes; empty where there is none."""

        def look() -> dict[str, Any]:
            answer = self._get(path, expect=(200, 403, 404))
            found = answer.json() if answer.status == 200 else {"forbidden": True} if answer.status == 403 else {}
            return found if isinstance(found, dict) else {}

        try:
            return self._known.get(path, look)
        except DeliveryError as error:
            error.unknown = False  # Nothing was made yet.
            raise

    def _get(self, path: str, params: dict[str, str | int] | None = None, **options: Any) -> Answer:
        return self.http.get(self._api(path), params=params, headers=self._headers, **options)

    def _api(self, path: str) -> str:
        return f"{self._url}/REST/2.0{path}"

    def _receipt(self, number: str) -> Receipt:
        return Receipt(number, f"{self._url}/Ticket/Display.html?id={number}")


def ticket_body(queue: str, subject: str, text: str, fields: dict[str, Any], link: str) -> dict[str, Any]:
    """The document of `POST /ticket`."""
    further = dict(fields.get("fields") or {})
    links = further.pop("RefersTo", [])
    ticket: dict[str, Any] = {
        **further,
        "Queue": queue,
        "Subject": subject,
        "Content": text,
        "ContentType": "text/plain",
        "RefersTo": [*([links] if isinstance(links, str) else links), link],
    }
    names = {"status": "Status", "priority": "Priority", "assignee": "Owner", "requestors": "Requestor", "cc": "Cc",
             "admin_cc": "AdminCc", "custom_fields": "CustomFields"}  # fmt: skip
    return ticket | {target: fields[name] for name, target in names.items() if fields.get(name)}


def message_body(text: str) -> dict[str, Any]:
    """The document of `POST /ticket/{id}/comment` and `/correspond`."""
    return {"Content": text, "ContentType": "text/plain"}


def subject_limit(job: Job) -> int:
    """How many characters of the title RT keeps."""
    limit = _SUBJECT
    while len(title_of(job, limit).encode("utf-8", "replace")) > _SUBJECT:
        limit -= 1
    return limit


def link_of(job: Job) -> str:
    """What the ticket refers to: the mail's page, with the marker behind it."""
    url = f"{job.message_url}#{job.marker}"
    return url if len(url) <= _LINK and "'" not in url and "\\" not in url else f"urn:uuid:{job.key}"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", text) is not None


def _message(answer: Answer) -> str:
    """RT's own sentence: {"message": "..."}."""
    return str(answer.mapping.get("message") or "no reason given")[:400]


def _items(answer: Answer) -> list[dict[str, Any]]:
    rows = inside(answer.json(), "items")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise answer.error("RT's answer holds no list", unknown=True)
    return rows

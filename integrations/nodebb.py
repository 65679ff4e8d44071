"""Kind `nodebb`: starts a topic in a NodeBB forum, and replies to it as the conversation goes on.

https://docs.nodebb.org/api/write and https://docs.nodebb.org/api/read (OpenAPI). There is no idempotency key: the last
line of each text is the delivery's marker, which is looked for in the account's own posts; NodeBB answers only after a
new post stands in that list. Files are not uploaded: NodeBB takes them from a browser's session only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from postroom.composition import compose, names_of_attachments, title_of
from postroom.exchange import Answer, sorted_error
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

_KEEP_NAMES = 300.0
_PAGES = 50
"""Of the account's posts that are looked through, and of the list of categories."""
_EARLIER = 3600_000
"""Milliseconds before the mail came: clocks may differ. No post older than that was made of it."""
_WAITS = "waits for approval"
_LATER = re.compile(r"too-many-posts[\w-]*(?:, (\d+))?|post once every (\d+)|already-posting|You are already posting")
"""NodeBB's words for posting too quickly, in English as Postroom asks for, or as the key of a sentence."""


@dataclass(frozen=True)
class NodebbOptions:
    url: Url = setting("address of the forum, with its path where it has one")
    token: Secret = setting("API token (Admin, Settings, API access)")
    uid: int | None = setting("number of the user as whom to write: with a master token only", default=None)
    category: str | None = setting("category of new topics where a rule names none", default=None)
    tags: list[str] = setting("tags of new topics where a rule names none", default_factory=list)
    title_least: int = setting("characters a title must have here; a shorter one is lengthened", default=3)
    title_limit: int = setting("characters a title may have here", default=255)
    text_limit: int = setting("characters a post may have here", default=32_767)


@dataclass(frozen=True)
class NodebbFields:
    category: str | None = setting("name, `parent/child` or number of the category", default=None)
    tags: list[str] | None = setting("tags of the topic", default=None)
    fields: dict[str, Json] | None = setting("anything else that NodeBB takes with a new topic, by name", default=None)


class Nodebb(Integration):
    """Starts topics and replies to them. The reference is the number of the topic."""

    kind = "nodebb"
    summary = "Starts a topic in a NodeBB forum; later mail of the conversation becomes replies to it."
    guarantee = Guarantee.CONSISTENT_SEARCH
    example = """
kind: nodebb
url: https://forum.example.com
token: "${NODEBB_TOKEN}"
category: Support
concurrency: 1
"""
    Options = NodebbOptions
    Fields = NodebbFields

    def __init__(self, name: str, options: NodebbOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        self._url = options.url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {options.token}"}
        self._known = Remembered(_KEEP_NAMES)

    @classmethod
    def markup(cls, options: NodebbOptions) -> Markup:
        return Markup.MARKDOWN

    def deliver(self, job: Job) -> Receipt:
        if job.item is None:
            number = job.once("item", lambda: self._create(job))
            if number == _WAITS:
                return Receipt(None, f"{self._url}/post-queue")
        else:
            number = number_of(job.item, "topic of NodeBB")
            job.once("comment", lambda: self._reply(job, number))
        if job.content.state:
            job.once("state", lambda: self._set_state(number, job.content.state))
        return self._receipt(number)

    def find(self, job: Job) -> Receipt | None:
        """The topic of the oldest post of this account that holds the marker: a later one may quote it."""
        found: list[dict[str, Any]] = []
        path = f"/api/user/{quote(str(self._self().get('userslug')), safe='')}/posts"
        for page in range(1, _PAGES + 1):
            answer = self._ask("GET", path, params={"page": page})
            posts = _rows(answer, inside(answer.json(), "posts"), "tid")
            found += [post for post in posts if job.marker in str(post.get("content"))]
            oldest = posts[-1].get("timestamp") if posts else None
            if not isinstance(oldest, int | float) or oldest < job.message.received_at - _EARLIER:
                break
        return self._receipt(str(found[-1]["tid"])) if found else None

    def check(self) -> Sequence[str]:
        user = self._self()
        said = [f"known as {user.get('username')}, user {user.get('uid')}"]
        self._known.forget()
        rows = self._categories()
        said.append(f"sees the categories {', '.join(str(row.get('name')) for row in rows) or 'none'}")
        if self.options.category:
            try:
                number = self._category(str(self.options.category))
            except DeliveryError as error:
                return [*said, error.reason]
            slug = next((str(row.get("slug")) for row in rows if row["cid"] == number), str(number))
            told = self._ask("GET", f"/api/category/{quote(slug, safe='/')}", expect=(200, 401, 403, 404)).mapping
            may = "may" if inside(told, "privileges", "topics:create") is True else "may not"
            said.append(f"{may} start topics in '{self.options.category}'")
        return said

    # Topics and posts

    def _create(self, job: Job) -> str:
        options: NodebbOptions = self.options
        wanted = job.content.fields.get("category") or options.category
        if not wanted:
            raise DeliveryError("neither the rule nor the destination names a category", permanent=True)
        tags = job.content.fields["tags"] if job.content.fields.get("tags") is not None else options.tags
        title = title_of(job, options.title_limit, least=options.title_least)
        body = topic_body(self._category(str(wanted)), title, self._text(job), list(tags), job.content.fields)
        answer = self._ask("POST", "/api/v3/topics/", json=body, expect=(200, 202, 400, 403, 404))
        if answer.status >= 400:
            raise _later(answer) or answer.error(f"NodeBB refused the topic: {_message(answer)}", permanent=True)
        told = inside(answer.json(), "response")
        if inside(told, "queued") is True:
            return _WAITS
        number = inside(told, "tid")
        if not isinstance(number, int):
            raise answer.error("NodeBB's answer names no topic", unknown=True)
        return str(number)

    def _reply(self, job: Job, number: str) -> str:
        path = f"/api/v3/topics/{number}"
        answer = self._ask("POST", path, json=reply_body(self._text(job)), expect=(200, 202, 400, 403, 404))
        if answer.status >= 400:
            if later := _later(answer):
                raise later
            topic = self._ask("GET", path, expect=(200, 403, 404))
            told = inside(topic.mapping, "response")
            if topic.status != 200 or inside(told, "locked") or inside(told, "deleted"):
                why = _message(answer)
                raise answer.error(f"topic {number} is gone from NodeBB or takes no replies: {why}", item_gone=True)
            raise answer.error(f"NodeBB refused the reply: {_message(answer)}", permanent=True)
        told = inside(answer.json(), "response")
        if inside(told, "queued") is not True and not isinstance(inside(told, "pid"), int):
            raise answer.error("NodeBB's answer names no post", unknown=True)
        return number

    def _set_state(self, number: str, state: str) -> str:
        path = f"/api/v3/topics/{number}"
        locked = bool(inside(self._ask("GET", path).json(), "response", "locked"))
        if locked is not (state == "closed"):
            method = "DELETE" if locked else "PUT"
            answer = self._ask(method, f"{path}/lock", expect=(200, 400, 403))
            if answer.status != 200:
                raise answer.error(f"NodeBB refused to make the topic {state}: {_message(answer)}", permanent=True)
        return state

    def _text(self, job: Job) -> str:
        options: NodebbOptions = self.options
        notes = names_of_attachments(job)
        return compose(job, Markup.MARKDOWN, title_limit=options.title_limit, notes=notes, limit=options.text_limit)

    # What is looked up

    def _self(self) -> dict[str, Any]:
        answer = self._ask("GET", "/api/self")
        user = answer.mapping
        if not user.get("userslug"):
            raise answer.error("NodeBB does not tell whose token it is")
        return user

    def _categories(self) -> list[dict[str, Any]]:
        """All categories that the account finds, each parent before its children."""
        return self._known.get("categories", self._listed)

    def _listed(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for page in range(1, _PAGES + 1):
            answer = self._ask("GET", "/api/categories", params={"page": page})
            left = _rows(answer, inside(answer.json(), "categories"), "cid")
            while left:
                row = left.pop(0)
                rows.append(row)
                children = _rows(answer, row.get("children") or [], "cid")
                left = [{"over": row.get("name"), **each} for each in children] + left
            pages = inside(answer.json(), "pagination", "pageCount")
            if not isinstance(pages, int) or page >= pages:
                break
        return rows

    def _category(self, wanted: str) -> int:
        """The number of a category, by name, `parent/child` or number."""
        if wanted.isascii() and wanted.isdigit():
            return int(wanted)
        rows = self._categories()
        found = categories_named(rows, wanted)
        if len(found) == 1:
            return found[0]
        if found:
            raise DeliveryError(f"NodeBB has several categories '{wanted}': write `parent/child`", permanent=True)
        self._known.forget()
        names = ", ".join(str(row.get("name")) for row in rows) or "none"
        raise DeliveryError(f"NodeBB has no category '{wanted}' for this account; it has {names}", permanent=True)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        expect: tuple[int, ...] = (200,),
        params: dict[str, str | int] | None = None,
        **what: Any,
    ) -> Answer:
        # Errors are told in sentences, in the language of the account unless asked otherwise.
        query: dict[str, str | int] = {**(params or {}), "lang": "en-GB"}
        if self.options.uid is not None:
            query["_uid"] = self.options.uid
        answer = self.http.request(
            method, self._url + path, params=query, headers=self._headers, expect=(*expect, 403), **what
        )
        if answer.status == 403 and 403 not in expect:
            raise answer.error(f"{answer.host} answered 403: {_message(answer)}", permanent=True)
        if answer.status not in expect:
            raise sorted_error(answer)
        return answer

    def _receipt(self, number: str) -> Receipt:
        return Receipt(number, f"{self._url}/topic/{number}")


def topic_body(category: int, title: str, text: str, tags: list[str], fields: dict[str, Any]) -> dict[str, Any]:
    """What `POST /topics/` takes."""
    body = {**(fields.get("fields") or {}), "cid": category, "title": title, "content": text}
    return body | {"tags": tags} if tags else body


def reply_body(text: str) -> dict[str, Any]:
    """What `POST /topics/TID` takes."""
    return {"content": text}


def categories_named(rows: list[dict[str, Any]], wanted: str) -> list[int]:
    """The numbers of the categories of a name, or of a parent's and a child's."""
    told = _folded(wanted)
    found = []
    for row in rows:
        name = _folded(row.get("name"))
        if told == name or (row.get("over") and told == f"{_folded(row['over'])}/{name}"):
            found.append(int(row["cid"]))
    return found


def _folded(name: Any) -> str:
    return str(name).casefold().strip()


def _later(answer: Answer) -> DeliveryError | None:
    """The error of an account that posts too quickly."""
    told = _message(answer)
    found = _LATER.search(told)
    if found is None:
        return None
    wait = found[1] or found[2]
    return answer.error(
        f"NodeBB asks to post later: {told}", limited=True, retry_after=float(wait) if wait and len(wait) < 6 else None
    )


def _message(answer: Answer) -> str:
    """NodeBB's own sentence: {"status": {"code": "bad-request", "message": "..."}}, of pages {"error": "..."}."""
    told = answer.mapping
    return str(inside(told, "status", "message") or told.get("error") or "no reason given")


def _rows(answer: Answer, rows: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(rows, list) or not all(isinstance(inside(row, key), int) for row in rows):
        raise answer.error("NodeBB's answer holds no list")
    return rows

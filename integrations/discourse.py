"""Kind `discourse`: starts a topic in a Discourse forum, and replies to it as the conversation goes on.

https://docs.discourse.org (schemas topic_create_request, upload_create_request; `/t/{id}/status.json`). A topic is made
with an `external_id`, of which Discourse keeps one, and by which the topic is found. A post has none: its text ends in
the delivery's marker, inside of an HTML comment that Discourse does not show and gives back with the text.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

from integrations import _discourse_shapes as shapes
from postroom.composition import compose, not_taken, title_of
from postroom.exchange import LONGEST_RETRY_AFTER, Answer, retry_after
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

_KEEP_NAMES = 300.0
_KEEP_UPLOADS = 24 * 3600.0
"""Seconds. Discourse throws away what no post holds within two days, unless its settings say otherwise."""
_PAGE = 20
"""Posts that Discourse gives at once."""
_LAST_POSTS = 100
_WAITS = "waits for approval"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_SHORT = "This came in by e-mail."


@dataclass(frozen=True)
class DiscourseOptions:
    url: Url = setting("address of the forum, with its path where it has one")
    api_key: Secret = setting("API key (Admin, Advanced, API keys)")
    username: str = setting("as whom Postroom writes", default="system")
    category: str | None = setting(
        "category of new topics where a rule names none; else that of Discourse", default=None
    )
    tags: list[str] = setting("tags of new topics where a rule names none", default_factory=list)
    title_least: int = setting("characters a title must have here; a shorter one is lengthened", default=15)
    text_least: int = setting("characters a post must have here; a shorter one is lengthened", default=20)
    text_limit: int = setting("characters a post may have here", default=32_000)


@dataclass(frozen=True)
class DiscourseFields:
    category: str | None = setting("name, slug, `parent/child` or number of the category", default=None)
    tags: list[str] | None = setting("tags of the topic", default=None)
    recipients: list[str] | None = setting(
        "user or group names: a personal message to them instead of a topic in a category", default=None
    )
    username: str | None = setting(
        "as whom to write instead; the key must be one for all users. Never take it from a mail", default=None
    )
    fields: dict[str, Json] | None = setting(
        "anything else that Discourse takes with a new topic, by name", default=None
    )


class Discourse(Integration):
    """Starts topics and replies to them. The reference is the number of the topic."""

    kind = "discourse"
    summary = "Starts a topic in a Discourse forum; later mail of the conversation becomes replies to it."
    guarantee = Guarantee.CONSISTENT_SEARCH
    example = """
kind: discourse
url: https://forum.example.com
api_key: "${DISCOURSE_API_KEY}"
username: postroom
category: Support
"""
    Options = DiscourseOptions
    Fields = DiscourseFields

    def __init__(self, name: str, options: DiscourseOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        if not _NAME.fullmatch(options.username):
            raise ValueError(f"username: '{options.username}' is no user name of Discourse")
        self._url = options.url.rstrip("/")
        self._known = Remembered(_KEEP_NAMES)

    @classmethod
    def markup(cls, options: DiscourseOptions) -> Markup:
        return Markup.MARKDOWN

    def deliver(self, job: Job) -> Receipt:
        if job.item is None:
            number = job.once("item", lambda: self._create(job))
            if number == _WAITS:
                return Receipt(None, f"{self._url}/review")
        else:
            number = number_of(job.item, "topic of Discourse")
            job.once("comment", lambda: self._reply(job, number))
        if job.content.state:
            job.once("state", lambda: self._set_state(number, job.content.state))
        return self._receipt(number)

    def find(self, job: Job) -> Receipt | None:
        """The topic with the delivery's external id; for a reply also the post of the topic that holds the marker."""
        made = self._by_external_id(job)
        if made is not None or job.item is None:
            return self._receipt(made) if made else None
        number = number_of(job.item, "topic of Discourse")
        answer = self._ask("GET", f"/t/{number}.json", expect=(200, 403, 404, 410))
        stream = inside(answer.mapping, "post_stream", "stream")
        posts = [each for each in stream if isinstance(each, int)] if isinstance(stream, list) else []
        posts = posts[-_LAST_POSTS:]
        while posts:
            page = [("include_raw", "true"), *(("post_ids[]", str(each)) for each in posts[-_PAGE:])]
            told = self._ask("GET", f"/t/{number}/posts.json?{urlencode(page)}")
            rows = _rows(told, inside(told.json(), "post_stream", "posts"))
            if any(job.marker in str(row.get("raw")) for row in rows):
                return self._receipt(number)
            posts = posts[:-_PAGE]
        return None

    def check(self) -> Sequence[str]:
        self._known.forget()
        told = self._ask("GET", "/session/current.json", expect=(200, 403, 404)).mapping
        user = inside(told, "current_user") or {}
        name = f" ({user['name']})" if inside(user, "name") else ""
        rank = next((each for each in ("admin", "moderator") if inside(user, each)), "user")
        known = inside(user, "username")
        said = [f"known as {known}{name}, {rank}" if known else f"the key does not tell who {self.options.username} is"]
        rows = self._categories()
        writable = [str(row.get("name")) for row in rows if row.get("permission") == 1]
        said.append(f"may start topics in {', '.join(writable) or 'no category'}")
        if self.options.category:
            try:
                number = self._category(str(self.options.category))
                if any(row["id"] == number and row.get("permission") != 1 for row in rows):
                    said.append(f"may not start topics in '{self.options.category}'")
            except DeliveryError as error:
                said.append(error.reason)
        return said

    # Topics and posts

    def _create(self, job: Job) -> str:
        fields = job.content.fields
        options: DiscourseOptions = self.options
        recipients = [_plain_name(each) for each in fields.get("recipients") or []]
        wanted = None if recipients else fields.get("category") or options.category
        category = None if wanted is None else self._category(str(wanted))
        tags: list[Any] = list(fields["tags"] if fields.get("tags") is not None else options.tags)
        if tags and self._takes_tags_as_objects():
            tags = [{"name": each} for each in tags]
        text = self._text(job)

        def send(title: str) -> Answer:
            body = shapes.topic_body(title, text, job.marker, category, tags, recipients, fields)
            return self._ask("POST", "/posts.json", job=job, json=body, expect=(200, 422))

        title = title_of(job, shapes.TITLE, least=options.title_least)
        answer = send(title)
        if answer.status == 422:
            made = self._by_external_id(job)
            if made is not None:
                return made
            # Most forums take no title twice, and say so in their own language.
            answer = send(shapes.distinct_title(title, job.message.received_at, job.key))
        if answer.status == 422:
            raise answer.error(f"Discourse refused the topic: {_sentences(answer)}", permanent=True)
        if inside(answer.json(), "action") == "enqueued":
            return _WAITS
        number = inside(answer.json(), "topic_id")
        if not isinstance(number, int):
            raise answer.error("Discourse's answer names no topic", unknown=True)
        return str(number)

    def _reply(self, job: Job, number: str) -> str:
        body = shapes.reply_body(int(number), self._text(job))
        answer = self._ask("POST", "/posts.json", job=job, json=body, expect=(200, 403, 404, 410, 422))
        if answer.status != 200:
            # A topic that is gone or closed is refused by sentences in the forum's language.
            topic = self._ask("GET", f"/t/{number}.json", expect=(200, 403, 404, 410))
            told = topic.mapping
            open_ = topic.status == 200 and not told.get("deleted_at")
            if not open_ or inside(told, "details", "can_create_post") is not True:
                raise answer.error(f"topic {number} is gone from Discourse or takes no replies", item_gone=True)
            raise answer.error(f"Discourse refused the reply: {_sentences(answer)}", permanent=True)
        told = answer.json()
        if inside(told, "action") != "enqueued" and not isinstance(inside(told, "id"), int):
            raise answer.error("Discourse's answer names no post", unknown=True)
        return number

    def _set_state(self, number: str, state: str) -> str:
        told = self._ask("GET", f"/t/{number}.json").json()
        wanted = state == "closed"
        if inside(told, "closed") is not wanted:
            body = {"status": "closed", "enabled": "true" if wanted else "false"}
            self._ask("PUT", f"/t/{number}/status.json", json=body)
        return state

    def _by_external_id(self, job: Job) -> str | None:
        """The number of the topic. Discourse answers with a redirect to it."""
        answer = self._ask("GET", f"/t/external_id/{job.marker}.json", expect=(200, 301, 302, 404))
        if answer.status == 404:
            return None
        if answer.status == 200:
            number = inside(answer.json(), "id")
            found = str(number) if isinstance(number, int) else ""
        else:
            path = re.search(r"/t/(?:[^/]+/)?(\d+)(?:\.json)?(?:[/?]|$)", answer.headers.get("Location") or "")
            found = path[1] if path else ""
        if not found:
            raise answer.error("Discourse's answer to an external id names no topic", unknown=True)
        return found

    # Text and files

    def _text(self, job: Job) -> str:
        images, links, notes = {}, [], []
        for position, attachment in enumerate(job.attachments):
            info = attachment.info
            upload = self._uploaded(job, f"attachment:{position}", attachment)
            if "refused" in upload:
                notes.append(not_taken(info.name, info.size, str(upload["refused"])))
            elif upload.get("width") and info.content_id and f"(cid:{info.content_id})" in unquote(job.content.body):
                images[info.content_id] = str(upload["short_url"])
            else:
                links.append(shapes.upload_link(info.name, upload))
        if len(job.content.body.strip()) + len(job.content.footer.strip()) < self.options.text_least:
            notes.append(_SHORT)
        return compose(
            job,
            Markup.MARKDOWN,
            title_limit=shapes.TITLE,
            images=images,
            notes=notes,
            marker="\n\n".join([*links, f"<!-- {job.marker} -->"]),
            limit=self.options.text_limit,
        )

    def _uploaded(self, job: Job, step: str, attachment: JobAttachment) -> dict[str, Any]:
        known = job.steps.get(step)
        if known is not None:
            upload: dict[str, Any] = json.loads(known)
            if time.time() - float(upload["at"]) < _KEEP_UPLOADS:
                return upload
        try:
            upload = {**self._upload(job, attachment), "at": int(time.time())}
        except DeliveryError as error:
            # A file that stands in no post is seen by nobody, and the same file sent again is the same upload.
            error.unknown = False
            raise
        job.record(step, json.dumps(upload))
        return upload

    def _upload(self, job: Job, attachment: JobAttachment) -> dict[str, Any]:
        form = Form([("upload_type", "composer"), ("synchronous", "true")], [attachment.as_file("file")])
        answer = self._ask("POST", "/uploads.json", job=job, form=form, expect=(200, 413, 422))
        if answer.status == 413:
            return {"refused": "it is too large"}
        if answer.status == 422:
            return {"refused": _sentences(answer)}
        told = answer.mapping
        url = str(told.get("short_url"))
        if not re.fullmatch(r"upload://[\w.-]+", url, re.ASCII):
            raise answer.error("Discourse's answer to an upload names no file")
        sizes = {name: told[name] for name in ("width", "height") if isinstance(told.get(name), int)}
        return {"short_url": url, "filesize": attachment.info.size, **sizes}

    # What is looked up

    def _remembered(self, path: str) -> Any:
        return self._known.get(path, lambda: self._ask("GET", path).json())

    def _categories(self) -> list[dict[str, Any]]:
        """All categories, each parent before its children."""
        told = self._remembered("/categories.json?include_subcategories=true")
        rows: list[dict[str, Any]] = []
        left = [row for row in _list(inside(told, "category_list", "categories")) if isinstance(row, dict)]
        while left:
            row = left.pop(0)
            if isinstance(row.get("id"), int) and row["id"] not in {each["id"] for each in rows}:
                rows.append(row)
                children = [each for each in _list(row.get("subcategory_list")) if isinstance(each, dict)]
                left += [{"parent_category_id": row["id"], **each} for each in children]
        return rows

    def _category(self, wanted: str) -> int:
        if wanted.isascii() and wanted.isdigit():
            return int(wanted)
        rows = self._categories()
        found = shapes.categories_named(rows, wanted)
        if len(found) == 1:
            return found[0]
        if found:
            raise DeliveryError(f"Discourse has several categories '{wanted}': write `parent/child`", permanent=True)
        self._known.forget()
        names = ", ".join(str(row.get("name")) for row in rows) or "none"
        raise DeliveryError(f"Discourse has no category '{wanted}' for this user; it has {names}", permanent=True)

    def _takes_tags_as_objects(self) -> bool:
        """Discourse 2026.1 takes objects, and is to take no plain names any more; those before take names only."""
        try:
            told = self._remembered("/about.json")
        except DeliveryError as error:
            if not error.permanent:
                raise
            return True  # it does not tell: as those of today do
        version = re.match(r"\d+", str(inside(told, "about", "version")))
        return version is not None and int(version[0]) >= 2026

    def _ask(
        self,
        method: str,
        path: str,
        *,
        expect: tuple[int, ...] = (200,),
        job: Job | None = None,
        form: Form | None = None,
        **what: Any,
    ) -> Answer:
        username = job.content.fields.get("username") if job is not None else None
        headers = {
            "Api-Key": str(self.options.api_key),
            "Api-Username": _plain_name(username) if username else self.options.username,
            "Accept": "application/json",
        }
        if form is not None:
            headers["Content-Type"] = form.content_type
            what |= {"data": form.chunks(), "size": form.size}
        answer = self.http.request(method, self._url + path, headers=headers, expect=(*expect, 403, 429), **what)
        if answer.status == 429:
            wait = retry_after(answer.headers.get("Retry-After"))
            told = inside(answer.mapping, "extras", "wait_seconds")
            if wait is None and isinstance(told, int | float):
                wait = min(max(float(told), 0.0), LONGEST_RETRY_AFTER)
            raise answer.error(f"{answer.host} answered 429: {_sentences(answer)}", retry_after=wait, limited=True)
        if answer.status == 403 and 403 not in expect:
            raise answer.error(f"{answer.host} answered 403: {_sentences(answer)}", permanent=True)
        return answer

    def _receipt(self, number: str) -> Receipt:
        return Receipt(number, f"{self._url}/t/{number}")


def _plain_name(name: Any) -> str:
    if not _NAME.fullmatch(str(name)):
        raise DeliveryError(f"'{name}' is no user name of Discourse", permanent=True)
    return str(name)


def _sentences(answer: Answer) -> str:
    """Discourse's own sentences: {"errors": ["..."]}, or of an upload {"message": "..."}."""
    told = answer.mapping
    errors = [str(each) for each in _list(told.get("errors"))] or [str(told.get("message") or "no reason given")]
    return " ".join(errors)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _rows(answer: Answer, rows: Any) -> list[dict[str, Any]]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise answer.error("Discourse's answer holds no list")
    return rows

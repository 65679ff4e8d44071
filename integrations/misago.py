"""Kind `misago`: starts a thread in a Misago forum, and replies to it as the conversation goes on.

Misago has no tokens: Postroom signs in as its browser client does, and keeps the session. Proved against 0.39
(https://github.com/rafalp/Misago, `misago/threads/api`). There is no idempotency key, so the last line of each text is
the delivery's marker; Misago's search index is written in the transaction that stores the post.
"""

from __future__ import annotations

import json
import mimetypes
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from integrations._misago_session import BrowserSession
from postroom.composition import compose, not_taken, title_of
from postroom.exchange import Answer
from postroom.fields import Secret, Url
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

_KEEP_CATEGORIES = 300.0
_KEEP_UPLOADS = 12 * 3600.0
"""Seconds. Misago throws a file away that no post takes within a day, and then ignores its number in silence."""
_PAGES = 5
"""Of a thread that are looked through for a reply, from the last one on."""
_THREADS = 10
"""Of the account's own that are looked through where the search does not show them."""
_FLOOD = 3.0
"""Seconds that Misago wants between two posts of a member."""
_ENTITIES = {"~": "&#126;", "|": "&#124;"}
_PINNED = {"locally": 1, "globally": 2}


@dataclass(frozen=True)
class MisagoOptions:
    url: Url = setting("address of the forum")
    username: str = setting("name or e-mail address of the account that posts")
    password: Secret = setting("its password")
    category: str | None = setting("category of new threads where a rule names none", default=None)
    title_least: int = setting("characters a title must have here; a shorter one is lengthened", default=5)
    title_limit: int = setting("characters a title may have here", default=90)
    text_limit: int = setting("characters a post may have here", default=60_000)
    files_limit: int = setting("files a post may have here; those beyond are named in the text", default=16)


@dataclass(frozen=True)
class MisagoFields:
    category: str | None = setting("name, `parent/child` or number of the category", default=None)
    pinned: Literal["locally", "globally"] | None = setting(
        "pins the new thread, where the account may do that", default=None
    )


class Misago(Integration):
    """Starts threads and replies to them. The reference is the number of the thread."""

    kind = "misago"
    summary = "Starts a thread in a Misago forum; later mail of the conversation becomes replies to it."
    guarantee = Guarantee.CONSISTENT_SEARCH
    example = """
kind: misago
url: https://forum.example.com
username: Postroom
password: "${MISAGO_PASSWORD}"
category: Support
concurrency: 1
"""
    Options = MisagoOptions
    Fields = MisagoFields

    def __init__(self, name: str, options: MisagoOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        self._url = options.url.rstrip("/")
        account = {"username": options.username, "password": str(options.password)}
        self._session = BrowserSession(http, self._url, "/api/auth/", account)
        self._categories = Remembered(_KEEP_CATEGORIES)

    @classmethod
    def markup(cls, options: MisagoOptions) -> Markup:
        return Markup.MARKDOWN

    def deliver(self, job: Job) -> Receipt:
        if job.item is None:
            number = job.once("item", lambda: self._create(job))
        else:
            number = number_of(job.item, "thread of Misago")
            job.once("comment", lambda: self._reply(job, number))
        if job.content.state:
            job.once("state", lambda: self._close(number, job.content.state))
        return self._receipt(number)

    def find(self, job: Job) -> Receipt | None:
        """The thread with the oldest post that holds the marker: later ones may quote it."""
        # A guest is shown less, and an empty answer would not tell why.
        self._session.ensure()
        searched = self._search(job.marker)
        found = [post for post in searched or [] if job.marker in str(post.get("content"))]
        if found:
            oldest = min(found, key=lambda post: post["id"])
            path = re.match(r"/api/threads/(\d+)/", str(inside(oldest, "api", "index")))
            return self._receipt(path[1]) if path else None
        return self._listed(job, all_of_them=searched is None)

    def check(self) -> Sequence[str]:
        told = self._session.call("GET", "/api/auth/").json()
        allowed = [each for each in self._editor() if each.get("post")]
        names = ", ".join(str(each.get("name")) for each in allowed) or "no category"
        largest = inside(told, "acl", "max_attachment_size")
        said = [
            f"known as {inside(told, 'username')} ({inside(told, 'email')})",
            f"may start threads in {names}",
            f"may attach files of {largest} kB" if largest else "may not attach files",
        ]
        if any(inside(each, "post", "close") for each in allowed):
            said.append("may close threads")
        if self.options.category:
            try:
                if not self._may_start(self._category(str(self.options.category))):
                    said.append(f"may not start threads in '{self.options.category}'")
            except DeliveryError as error:
                said.append(error.reason)
        return said

    # Threads and posts

    def _create(self, job: Job) -> str:
        options: MisagoOptions = self.options
        wanted = job.content.fields.get("category") or options.category
        if not wanted:
            raise DeliveryError("neither the rule nor the destination names a category", permanent=True)
        category = self._category(str(wanted))
        title = title_of(job, options.title_limit, least=options.title_least)
        text, files = self._post(job)
        body = thread_body(category, title, text, files, job.content.fields)
        answer = self._session.call("POST", "/api/threads/", json=body, expect=(200, 400, 403))
        if answer.status == 403 and self._may_start(category):
            raise answer.error(f"Misago asks to post later: {_sentences(answer)}", limited=True, retry_after=_FLOOD)
        if answer.status != 200:
            raise answer.error(f"Misago refused the thread: {_sentences(answer)}", permanent=True)
        number = inside(answer.json(), "id")
        if not isinstance(number, int):
            raise answer.error("Misago's answer names no thread", unknown=True)
        return str(number)

    def _reply(self, job: Job, number: str) -> str:
        text, files = self._post(job)
        path = f"/api/threads/{number}/"
        answer = self._session.call("POST", path + "posts/", json=post_body(text, files), expect=(200, 400, 403, 404))
        if answer.status == 400:
            raise answer.error(f"Misago refused the reply: {_sentences(answer)}", permanent=True)
        if answer.status == 403:
            # Flood control and a closed thread look alike, but for words in the forum's language.
            thread = self._session.call("GET", path, expect=(200, 403, 404))
            if thread.status == 200 and inside(thread.json(), "acl", "can_reply"):
                raise answer.error(f"Misago asks to post later: {_sentences(answer)}", limited=True, retry_after=_FLOOD)
        if answer.status != 200:
            why = _sentences(answer)
            raise answer.error(f"thread {number} is gone from Misago or takes no replies: {why}", item_gone=True)
        post = inside(answer.json(), "id")
        if not isinstance(post, int):
            raise answer.error("Misago's answer names no post", unknown=True)
        return number

    def _close(self, number: str, state: str) -> str:
        """Closing what is closed changes nothing in Misago."""
        change = [{"op": "replace", "path": "is-closed", "value": state == "closed"}]
        answer = self._session.call("PATCH", f"/api/threads/{number}/", json=change, expect=(200, 400))
        if answer.status == 400:
            raise answer.error(f"Misago refused to make the thread {state}: {_sentences(answer)}", permanent=True)
        return state

    def _search(self, text: str) -> list[dict[str, Any]] | None:
        """The posts that hold a text; None where the account may not search."""
        answer = self._session.call("GET", "/api/search/threads/", params={"q": text}, expect=(200, 403))
        if answer.status == 403:
            return None
        told = answer.json()
        found = inside(told[0], "results", "results") if isinstance(told, list) and told else None
        return _rows(answer, found)

    def _listed(self, job: Job, *, all_of_them: bool) -> Receipt | None:
        """What waits for a moderator's approval is not searched, but stands in its author's lists."""
        threads = [number_of(job.item, "thread of Misago")] if job.item is not None else []
        mine = self._session.call("GET", "/api/threads/", params={"list": "my"})
        rows = _rows(mine, inside(mine.json(), "results"))
        waiting = [each for each in rows if all_of_them or each.get("is_unapproved") or each.get("is_hidden")]
        threads += [str(each["id"]) for each in waiting[:_THREADS]]
        for number in threads:
            if any(job.marker in str(post.get("content")) for post in self._last_posts(number)):
                return self._receipt(number)
        return None

    def _last_posts(self, number: str) -> list[dict[str, Any]]:
        posts: list[dict[str, Any]] = []
        page, until = 1, 1
        while page >= until:
            answer = self._session.call(
                "GET", f"/api/threads/{number}/posts/", params={"page": page}, expect=(200, 403, 404)
            )
            if answer.status != 200:
                return posts
            posts += _rows(answer, inside(answer.json(), "post_set", "results"))
            pages = inside(answer.json(), "post_set", "pages")
            if page == 1 and isinstance(pages, int):
                page, until = pages + 1, max(pages - _PAGES, 1) + 1
            page -= 1
        return posts

    # Files

    def _post(self, job: Job) -> tuple[str, list[int]]:
        """The text of a post, and the numbers of its files."""
        images, notes, files = {}, [], []
        for position, attachment in enumerate(job.attachments):
            info = attachment.info
            if position >= self.options.files_limit:
                notes.append(not_taken(info.name, info.size, f"a post takes {self.options.files_limit} files"))
                continue
            upload = self._uploaded(job, f"attachment:{position}", attachment)
            if "refused" in upload:
                notes.append(not_taken(info.name, info.size, str(upload["refused"])))
                continue
            files.append(int(upload["id"]))
            if upload.get("image") and info.content_id:
                images[info.content_id] = self._url + str(upload["path"])
        limit, title_limit = self.options.text_limit, self.options.title_limit
        # Before the text is cut: Misago's words are longer.
        content = msgspec.structs.replace(job.content, body=in_misagos_words(job.content.body))
        told = replace(job, content=content)
        text = compose(told, Markup.MARKDOWN, title_limit=title_limit, images=images, notes=notes, limit=limit)
        return in_misagos_words(text), files

    def _uploaded(self, job: Job, step: str, attachment: JobAttachment) -> dict[str, Any]:
        known = job.steps.get(step)
        if known is not None:
            upload: dict[str, Any] = json.loads(known)
            if time.time() - float(upload["at"]) < _KEEP_UPLOADS:
                return upload
        try:
            upload = {**self._upload(attachment), "at": int(time.time())}
        except DeliveryError as error:
            # A file that belongs to no post is seen by nobody.
            error.unknown = False
            raise
        job.record(step, json.dumps(upload))
        return upload

    def _upload(self, attachment: JobAttachment) -> dict[str, Any]:
        file = attachment.as_file("upload")
        if file.content_type == "application/octet-stream":
            # Misago wants the type that goes with the name.
            file = replace(file, content_type=mimetypes.guess_type(file.name)[0] or file.content_type)
        answer = self._session.call("POST", "/api/attachments/", form=Form([], [file]), expect=(200, 400, 403, 413))
        if answer.status == 413:
            return {"refused": "it is too large"}
        if answer.status != 200:
            return {"refused": _sentences(answer)}
        told = answer.json()
        number, path = inside(told, "id"), inside(told, "url", "index")
        if not isinstance(number, int) or not isinstance(path, str) or not re.fullmatch(r"/[\w/-]+", path):
            raise answer.error("Misago's answer to an upload names no file")
        return {"id": number, "path": path, "image": bool(inside(told, "is_image"))}

    # Categories

    def _may_start(self, category: int) -> bool:
        return any(each["id"] == category and each.get("post") for each in self._editor())

    def _editor(self) -> list[dict[str, Any]]:
        """The categories in which, or below which, the account may start threads, each below its parent."""
        answer = self._session.call("GET", "/api/threads/editor/", expect=(200, 403))
        return _rows(answer, answer.json()) if answer.status == 200 else []

    def _category(self, wanted: str) -> int:
        """The number of a category, by name, `parent/child` or number."""
        if wanted.isascii() and wanted.isdigit():
            return int(wanted)
        known = self._categories.get("all", self._editor, holds=lambda rows: len(categories_named(rows, wanted)) == 1)
        found = categories_named(known, wanted)
        if len(found) == 1:
            return found[0]
        if found:
            raise DeliveryError(f"Misago has several categories '{wanted}': write `parent/child`", permanent=True)
        names = ", ".join(str(each.get("name")) for each in known) or "none"
        raise DeliveryError(f"Misago has no category '{wanted}' for this account; it has {names}", permanent=True)

    def _receipt(self, number: str) -> Receipt:
        # Misago leads from any words to those of the title.
        return Receipt(number, f"{self._url}/t/thread/{quote(number, safe='')}/")


def thread_body(category: int, title: str, text: str, files: list[int], fields: dict[str, Any]) -> dict[str, Any]:
    """What `POST /api/threads/` takes."""
    body = {"category": category, "title": title, **post_body(text, files)}
    if fields.get("pinned"):
        body["pin"] = _PINNED[str(fields["pinned"])]
    return body


def post_body(text: str, files: list[int]) -> dict[str, Any]:
    """What `POST /api/threads/ID/posts/` takes."""
    return {"post": text, "attachments": files} if files else {"post": text}


def in_misagos_words(markdown: str) -> str:
    """Markdown as Misago reads it: it knows no backslash before ~ and |, and `!(address)` is an image.

    That last form is one that the text of a mail may hold by chance, and where a link stands in it Misago fails.
    """
    known = re.sub(r"\\([\\~|])", lambda found: _ENTITIES.get(found[1], found[0]), markdown)
    return known.replace("!(", "!\\(")


def categories_named(categories: list[dict[str, Any]], wanted: str) -> list[int]:
    """The numbers of the categories of a name or path, of a list in which each stands below its parent."""
    wanted = wanted.casefold().strip()
    path: list[str] = []
    found = []
    for each in categories:
        level = each.get("level")
        path = [*path[: level if isinstance(level, int) else 0], str(each.get("name")).casefold().strip()]
        if wanted in (path[-1], "/".join(path)):
            found.append(int(each["id"]))
    return found


def _sentences(answer: Answer) -> str:
    """Misago's own sentences: {"detail": "..."} or {"title": ["..."], "post": ["..."]}."""
    lists = [part if isinstance(part, list) else [part] for part in answer.mapping.values()]
    return " ".join(each for part in lists for each in part if isinstance(each, str)) or "no reason given"


def _rows(answer: Answer, rows: Any) -> list[dict[str, Any]]:
    if not isinstance(rows, list) or not all(isinstance(inside(row, "id"), int) for row in rows):
        raise answer.error("Misago's answer holds no list")
    return rows

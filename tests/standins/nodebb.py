from __future__ import annotations

import html
import re
import time
from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

CATEGORIES = [
    [
        {"cid": 1, "name": "Announcements", "slug": "1/announcements", "children": []},
        {
            "cid": 2, "name": "Support", "slug": "2/support",
            "children": [{"cid": 3, "name": "Drucker", "slug": "3/drucker", "children": []}],
        },
    ],
    [
        {
            "cid": 4, "name": "Staff", "slug": "4/staff",
            "children": [{"cid": 5, "name": "Drucker", "slug": "5/drücker", "children": []}],
        }
    ],
]  # fmt: skip
"""In pages."""
CODES = {400: "bad-request", 401: "not-authorised", 403: "forbidden", 404: "not-found"}


def refused(message: str, status: int = 400) -> Reply:
    return Reply.of({"status": {"code": CODES[status], "message": message}, "response": {}}, status)


def ok(response: dict[str, Any]) -> Reply:
    return Reply.of({"status": {"code": "ok", "message": "OK"}, "response": response})


class FakeNodebb:
    """As much of NodeBB's read and write API as the kind uses, with the documented shapes and its English sentences."""

    def __init__(self) -> None:
        self.topics: dict[int, dict[str, Any]] = {}
        self.posts: list[dict[str, Any]] = []
        self.moderator = True
        self.master = False
        self.too_quick: str | None = None
        self.queues = False
        self.waiting: list[dict[str, Any]] = []
        self.events: list[str] = []
        self.per_page = 4

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {SECRET}":
            return refused("A valid login session was not found. Please log in and try again.", 401)
        if self.master and request.query.get("_uid") != "7":
            return refused("A master token was received without a corresponding `_uid` in the request body")
        assert request.query["lang"] == "en-GB"
        if request.path == "/api/self":
            return Reply.of({"uid": 7, "username": "Post Room", "userslug": "post-room"})
        if request.path == "/api/user/post-room/posts":
            page = int(request.query["page"]) - 1
            newest = self.posts[::-1][page * self.per_page : (page + 1) * self.per_page]
            return Reply.of({"posts": newest, "nextStart": 0})
        if request.path == "/api/categories":
            page = int(request.query["page"])
            return Reply.of({"categories": CATEGORIES[page - 1], "pagination": {"pageCount": len(CATEGORIES)}})
        if found := re.fullmatch(r"/api/category/(\d+)/[^/]+", request.path):
            return Reply.of({"cid": int(found[1]), "privileges": {"topics:create": int(found[1]) not in (1, 4)}})
        if request.path == "/api/v3/topics/":
            return self._start(request.json())
        found = re.fullmatch(r"/api/v3/topics/(\d+)(/lock)?", request.path)
        topic = self.topics.get(int(found[1])) if found else None
        if found is None or topic is None:
            return refused("Topic does not exist", 404)
        if found[2]:
            return self._lock(request.method, topic)
        return (
            ok({key: topic[key] for key in ("tid", "locked", "deleted")})
            if request.method == "GET"
            else self._reply(topic, request.json())
        )

    def _faults(self, content: str) -> Reply | None:
        if len(content) < 8:
            return refused("Please enter a longer post. Posts should contain at least 8 character(s).")
        if len(content) > 32_767:
            return refused("Please enter a shorter post. Posts can't be longer than 32767 character(s).")
        return refused(self.too_quick) if self.too_quick else None

    def _start(self, body: dict[str, Any]) -> Reply:
        if not isinstance(body.get("cid"), int) or not 1 <= body["cid"] <= 5:
            return refused("Category does not exist")
        if body["cid"] in (1, 4):
            return refused("You do not have enough privileges for this action.", 403)
        if not 3 <= len(body["title"]) <= 255:
            return refused("Please enter a longer title. Titles should contain at least 3 character(s).")
        if refusal := self._faults(body["content"]):
            return refusal
        if self.queues:
            self.waiting.append(body)
            return ok({"id": "topic-1", "type": "topic", "queued": True, "message": "Your post is queued."})
        number = len(self.topics) + 1
        self.topics[number] = {"tid": number, "sent": body, "locked": 0, "deleted": 0}
        self._post(number, body["content"])
        return ok({"tid": number, "cid": body["cid"], "title": body["title"], "slug": f"{number}/slug"})

    def _reply(self, topic: dict[str, Any], body: dict[str, Any]) -> Reply:
        if topic["locked"] and not self.moderator:
            return refused("Topic Locked")
        if topic["deleted"] and not self.moderator:
            return refused("This topic has been deleted")
        if refusal := self._faults(body["content"]):
            return refusal
        if self.queues:
            self.waiting.append(body)
            return ok({"id": "reply-1", "type": "reply", "queued": True, "message": "Your post is queued."})
        return ok(self._post(topic["tid"], body["content"]))

    def _post(self, topic: int, content: str) -> dict[str, Any]:
        shown = "".join(f"<p>{html.escape(part)}</p>\n" for part in content.split("\n\n"))
        post = {
            "pid": len(self.posts) + 1, "tid": topic, "content": shown, "sent": content,
            "timestamp": int(time.time() * 1000), "isMainPost": not any(each["tid"] == topic for each in self.posts),
        }  # fmt: skip
        self.posts.append(post)
        return post

    def _lock(self, method: str, topic: dict[str, Any]) -> Reply:
        if not self.moderator:
            return refused("You do not have enough privileges for this action.", 403)
        topic["locked"] = int(method == "PUT")
        self.events.append("lock" if topic["locked"] else "unlock")
        return ok({})


class NodebbStandin(Standin):
    kind = "nodebb"
    takes_attachments = False

    def reset(self) -> None:
        self.well = self.well or FakeNodebb()
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": self.receiver.url, "token": Secret(SECRET), "category": "Support"}

    def made(self) -> int:
        return len(self.well.topics)

    def texts(self) -> list[str]:
        return [post["sent"] for post in self.well.posts if post["isMainPost"]]

    def comments(self) -> list[str]:
        return [post["sent"] for post in self.well.posts if not post["isMainPost"]]

    def state(self) -> str:
        topics = self.well.topics
        return "" if not topics else "closed" if topics[max(topics)]["locked"] else "open"

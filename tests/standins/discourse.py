from __future__ import annotations

import re
from email import message_from_bytes
from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

CATEGORIES = [
    {"id": 1, "name": "Uncategorized", "slug": "uncategorized", "permission": 1},
    {
        "id": 4, "name": "Support", "slug": "support", "permission": 1,
        "subcategory_list": [{"id": 5, "name": "Drucker", "slug": "printers", "permission": 1}],
    },
    {
        "id": 6, "name": "Staff", "slug": "staff", "permission": None,
        "subcategory_list": [{"id": 7, "name": "Drucker", "slug": "printers-staff", "permission": None}],
    },
]  # fmt: skip


def refused(*errors: str) -> Reply:
    return Reply.of({"action": "create_post", "errors": list(errors)}, 422)


def invalid_access() -> Reply:
    return Reply.of(
        {"errors": ["You are not permitted to view the requested resource."], "error_type": "invalid_access"}, 403
    )


class FakeDiscourse:
    """As much of Discourse's API as the kind uses, with the documented shapes, limits and sentences."""

    def __init__(self) -> None:
        self.topics: dict[int, dict[str, Any]] = {}
        self.posts: dict[int, dict[str, Any]] = {}
        self.uploads: dict[str, str] = {}
        self.version = "2026.4.0"
        self.users = {"postroom": False, "jo.unal": False, "system": True}
        """By name: whether staff."""
        self.one_user: str | None = None
        """The user of a key that is not for all."""
        self.limited: Reply | None = None
        self.queues = False
        self.waiting: list[dict[str, Any]] = []
        self.small_actions = 0

    def __call__(self, request: Request) -> Reply:
        user = request.headers.get("api-username", "")
        if request.headers.get("api-key") != SECRET or user not in self.users:
            return invalid_access()
        if self.one_user not in (None, user):
            return invalid_access()
        if self.limited and request.method != "GET":
            return self.limited
        if request.path == "/session/current.json":
            return Reply.of({"current_user": {"username": user, "name": "Post Room", "moderator": self.users[user]}})
        if request.path == "/categories.json":
            assert request.query == {"include_subcategories": "true"}
            return Reply.of({"category_list": {"categories": CATEGORIES}})
        if request.path == "/about.json":
            return Reply.of({"about": {"version": self.version}})
        if request.path == "/uploads.json":
            return self._upload(request)
        if request.path == "/posts.json":
            body = request.json()
            return self._reply(body, user) if "topic_id" in body else self._start(body, user)
        if found := re.fullmatch(r"/t/external_id/([\w-]{1,50})\.json", request.path):
            for topic in self.topics.values():
                if topic["external_id"] == found[1] and not topic["deleted_at"]:
                    return Reply(301, headers={"Location": f"{request.headers['host']}/t/slug-5/{topic['id']}.json"})
            return Reply.of(
                {"errors": ["The requested URL or resource could not be found."], "error_type": "not_found"}, 404
            )
        found = re.fullmatch(r"/t/(\d+)(/posts|/status)?\.json", request.path)
        topic = self.topics.get(int(found[1])) if found else None
        if found is None or topic is None or (topic["deleted_at"] and not self.users[user]):
            return Reply.of(
                {"errors": ["The requested URL or resource could not be found."], "error_type": "not_found"}, 404
            )
        if found[2] == "/status":
            return self._status(request, topic, user)
        return self._posts(request, topic) if found[2] else self._topic(topic, user)

    def _upload(self, request: Request) -> Reply:
        form = message_from_bytes(b"Content-Type: " + request.headers["content-type"].encode() + b"\n\n" + request.body)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
        assert parts["upload_type"].get_payload() == "composer" and parts["synchronous"].get_payload() == "true"
        name, data = str(parts["file"].get_filename()), parts["file"].get_payload(decode=True)
        extension = name.rpartition(".")[2]
        if extension not in ("txt", "png", "jpg", "pdf"):
            return Reply.of({"errors": ["Sorry, the file you are trying to upload is not authorized."]}, 422)
        if len(data) > 4_194_304:
            return Reply(413, b"<html>413 Request Entity Too Large</html>")
        short = f"upload://up{len(self.uploads) + 1}.{extension}"
        self.uploads[short] = name
        sizes = {"width": 20, "height": 10} if extension in ("png", "jpg") else {"width": None, "height": None}
        return Reply.of(
            {"id": len(self.uploads), "url": "/uploads/x", "filesize": len(data), "short_url": short, **sizes}
        )

    def _faults(self, raw: str) -> list[str]:
        visible = re.sub(r"<!--(.*?)-->", "", raw).strip()
        if len(raw) > 32_000:
            return ["Body is limited to 32000 characters; you entered more."]
        return ["Body is too short (minimum is 20 characters)"] if len(visible) < 20 else []

    def _start(self, body: dict[str, Any], user: str) -> Reply:
        errors = self._faults(body["raw"])
        title = body.get("title") or ""
        if len(title) < 15:
            errors.append("Title is too short (minimum is 15 characters)")
        if len(title) > 255:
            errors.append("Title is too long (maximum is 255 characters)")
        if any(topic["title"].lower() == title.lower() for topic in self.topics.values()):
            errors.append("Title has already been used")
        key = body.get("external_id")
        if key is not None and any(topic["external_id"] == key for topic in self.topics.values()):
            errors.append("External id has already been taken")
        if key is not None and not re.fullmatch(r"[\w-]{1,50}", key):
            errors.append("External id is invalid")
        if errors:
            return refused(*errors)
        if body.get("archetype") != "private_message" and body.get("category", 1) in (6, 7):
            return invalid_access()
        wanted = dict if self.version.startswith("2026") else str
        if not all(isinstance(each, wanted) for each in body.get("tags", [])):
            return Reply(500)
        if self.queues:
            self.waiting.append(body)
            return Reply.of({"success": True, "action": "enqueued", "pending_count": len(self.waiting)})
        number = len(self.topics) + 10
        self.topics[number] = {
            "id": number, "title": title, "external_id": key, "sent": body, "user": user,
            "closed": False, "deleted_at": None, "posts": [],
        }  # fmt: skip
        return self._post(self.topics[number], body["raw"], user)

    def _reply(self, body: dict[str, Any], user: str) -> Reply:
        topic = self.topics.get(body["topic_id"])
        if topic is None or topic["deleted_at"] or (topic["closed"] and not self.users[user]):
            return refused("The topic you're trying to reply to is missing.")
        if errors := self._faults(body["raw"]):
            return refused(*errors)
        if self.queues:
            self.waiting.append(body)
            return Reply.of({"success": True, "action": "enqueued", "pending_count": len(self.waiting)})
        return self._post(topic, body["raw"], user)

    def _post(self, topic: dict[str, Any], raw: str, user: str) -> Reply:
        number = len(self.posts) + 100
        topic["posts"].append(number)
        self.posts[number] = {"id": number, "raw": raw, "username": user, "topic_id": topic["id"]}
        return Reply.of(
            {"id": number, "topic_id": topic["id"], "topic_slug": "slug", "post_number": len(topic["posts"])}
        )

    def _topic(self, topic: dict[str, Any], user: str) -> Reply:
        writable = self.users[user] or not topic["closed"]
        return Reply.of(
            {
                "id": topic["id"], "closed": topic["closed"], "deleted_at": topic["deleted_at"],
                "details": {"can_create_post": True} if writable else {},
                "post_stream": {"stream": topic["posts"], "posts": self._cooked(topic["posts"][:20])},
            }
        )  # fmt: skip

    def _cooked(self, numbers: list[int]) -> list[dict[str, Any]]:
        return [{"id": each, "cooked": re.sub("<!--.*?-->", "", self.posts[each]["raw"])} for each in numbers]

    def _posts(self, request: Request, topic: dict[str, Any]) -> Reply:
        # The test server gives one value of each name: which ids were asked for is told by the last page only.
        first = topic["posts"].index(int(request.query["post_ids[]"]))
        numbers = topic["posts"][first : first + 20]
        raw = [
            {"raw": self.posts[each]["raw"]} if request.query.get("include_raw") == "true" else {} for each in numbers
        ]
        told = [{**cooked, **more} for cooked, more in zip(self._cooked(numbers), raw, strict=True)]
        return Reply.of({"post_stream": {"posts": told}, "id": topic["id"]})

    def _status(self, request: Request, topic: dict[str, Any], user: str) -> Reply:
        body = request.json()
        assert body["status"] == "closed" and body["enabled"] in ("true", "false")
        if not self.users[user]:
            return invalid_access()
        topic["closed"] = body["enabled"] == "true"
        self.small_actions += 1
        return Reply.of({"success": "OK", "topic_status_update": None})


class DiscourseStandin(Standin):
    kind = "discourse"

    def reset(self) -> None:
        self.well = self.well or FakeDiscourse()
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": self.receiver.url, "api_key": Secret(SECRET)}

    def made(self) -> int:
        return len(self.well.topics)

    def texts(self) -> list[str]:
        return [self.well.posts[topic["posts"][0]]["raw"] for topic in self.well.topics.values()]

    def comments(self) -> list[str]:
        return [self.well.posts[each]["raw"] for topic in self.well.topics.values() for each in topic["posts"][1:]]

    def attached(self) -> list[str]:
        texts = [*self.texts(), *self.comments()]
        return [name for short, name in self.well.uploads.items() for text in texts if f"({short})" in text]

    def state(self) -> str:
        topics = self.well.topics
        return "" if not topics else "closed" if topics[max(topics)]["closed"] else "open"

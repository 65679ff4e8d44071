from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs, quote

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

CHANNEL = "C0123456789"
OTHER = "C0987654321"


class FakeSlack:
    """As much of Slack's Web API as the kind uses, and one incoming webhook, as the documentation shows them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.messages: dict[str, list[dict[str, Any]]] = {CHANNEL: [], OTHER: []}
        self.channels = {"support": CHANNEL, "Other-Ops": OTHER}
        self.member = [CHANNEL, OTHER]
        self.archived: list[str] = []
        self.files: dict[str, dict[str, Any]] = {}
        self.shared: list[str] = []
        self.largest = 1 << 20
        self.errors: dict[str, dict[str, Any]] = {}
        """What a method answers instead, by its name."""
        self.scopes = "chat:write,files:write,channels:history,channels:read"
        self.hooked: list[dict[str, Any]] = []
        self.page = 1000
        self.now = int(time.time())

    def __call__(self, request: Request) -> Reply:
        if request.path.startswith("/upload/"):
            return self._take(request)
        if request.path == f"/services/T1/B1/{quote(SECRET, safe='')}":
            return self._hook(request)
        method = request.path.removeprefix("/api/")
        if request.headers.get("authorization") != f"Bearer {SECRET}":
            return refusal("invalid_auth")
        if method in self.errors:
            return Reply.of({"ok": False, **self.errors[method]})
        answer: dict[str, Any] | str = getattr(self, method.replace(".", "_"))(arguments(request))
        if isinstance(answer, str):
            return refusal(answer)
        return Reply.of({"ok": True, **answer}, **{"x-oauth-scopes": self.scopes})

    def auth_test(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"user": "postroom", "team": "Example", "user_id": "U1", "bot_id": "B1"}

    def conversations_list(self, asked: dict[str, Any]) -> dict[str, Any]:
        every = [{"id": channel, "name": name.lower()} for name, channel in self.channels.items()]
        return self._paged("channels", every, asked)

    def conversations_info(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        name = next((name for name, channel in self.channels.items() if channel == asked["channel"]), None)
        if name is None:
            return "channel_not_found"
        archived, member = asked["channel"] in self.archived, asked["channel"] in self.member
        return {"channel": {"id": asked["channel"], "name": name, "is_member": member, "is_archived": archived}}

    def chat_postMessage(self, asked: dict[str, Any]) -> dict[str, Any] | str:  # noqa: N802
        channel = asked["channel"]
        if channel not in self.messages:
            return "channel_not_found"
        if channel in self.archived:
            return "is_archived"
        if channel not in self.member:
            return "not_in_channel"
        if why := wrong_message(asked):
            return why
        if "thread_ts" in asked and not self._message(channel, asked["thread_ts"]):
            return "thread_not_found"
        return {"channel": channel, "ts": self._add(channel, asked), "message": {}}

    def chat_getPermalink(self, asked: dict[str, Any]) -> dict[str, Any] | str:  # noqa: N802
        if not self._message(asked["channel"], asked["message_ts"]):
            return "message_not_found"
        stamp = asked["message_ts"].replace(".", "")
        return {"permalink": f"https://example.slack.com/archives/{asked['channel']}/p{stamp}"}

    def conversations_history(self, asked: dict[str, Any]) -> dict[str, Any]:
        every = [each for each in self.messages[asked["channel"]] if "thread_ts" not in each]
        return self._paged("messages", self._shown(every, asked)[::-1], asked)

    def conversations_replies(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        if not self._message(asked["channel"], asked["ts"]):
            return "thread_not_found"
        every = [each for each in self.messages[asked["channel"]] if asked["ts"] in (each["ts"], each.get("thread_ts"))]
        return self._paged("messages", self._shown(every, asked), asked)

    def files_getUploadURLExternal(self, asked: dict[str, Any]) -> dict[str, Any] | str:  # noqa: N802
        if int(asked["length"]) > self.largest:
            return "file_upload_size_restricted"
        file = f"F{len(self.files):08d}"
        self.files[file] = {"name": asked["filename"], "length": int(asked["length"]), "content": None}
        return {"upload_url": f"{self.url}/upload/{file}", "file_id": file}

    def files_completeUploadExternal(self, asked: dict[str, Any]) -> dict[str, Any] | str:  # noqa: N802
        (told,) = asked["files"]
        if self.files[told["id"]]["content"] is None:
            return "file_not_found"
        if not self._message(asked["channel_id"], asked["thread_ts"]):
            return "thread_not_found"
        self._add(asked["channel_id"], {"thread_ts": asked["thread_ts"], "text": "", "files": [{"id": told["id"]}]})
        self.shared.append(told["title"])
        return {"files": [{"id": told["id"], "title": told["title"]}]}

    def _take(self, request: Request) -> Reply:
        assert "authorization" not in request.headers
        file = self.files[request.path.rpartition("/")[2]]
        assert len(request.body) == file["length"]
        file["content"] = request.body
        return Reply(200, b"OK - " + str(len(request.body)).encode())

    def _hook(self, request: Request) -> Reply:
        message = request.json()
        if why := wrong_message(message) or ("invalid_payload" if "channel" in message else ""):
            return Reply(400, why.encode())
        self.hooked.append(message)
        return Reply(200, b"ok")

    def _add(self, channel: str, message: dict[str, Any]) -> str:
        self.now += 1
        ts = f"{self.now}.{len(self.messages[channel]):06d}"
        self.messages[channel].append({**message, "ts": ts, "type": "message"})
        return ts

    def _message(self, channel: str, ts: str) -> dict[str, Any] | None:
        return next((each for each in self.messages.get(channel, ()) if each["ts"] == ts), None)

    def _shown(self, messages: list[dict[str, Any]], asked: dict[str, Any]) -> list[dict[str, Any]]:
        since = float(asked.get("oldest", 0))
        bare = asked.get("include_all_metadata") != "true"
        return [
            {name: value for name, value in each.items() if name != "metadata" or not bare}
            for each in messages
            if float(each["ts"]) > since
        ]

    def _paged(self, key: str, every: list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
        at, size = int(asked.get("cursor") or 0), min(int(asked["limit"]), self.page)
        cursor = str(at + size) if at + size < len(every) else ""
        return {key: every[at : at + size], "response_metadata": {"next_cursor": cursor}}


def arguments(request: Request) -> dict[str, Any]:
    """As the method gets them: a GET has a query, a POST a form or JSON."""
    if request.method == "GET":
        return dict(request.query)
    if request.headers["content-type"].startswith("application/json"):
        return dict(request.json())
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def wrong_message(message: dict[str, Any]) -> str:
    """What Slack holds against a message; empty where it takes it."""
    blocks = message.get("blocks", [])
    if not message.get("text"):
        return "no_text"
    if len(message["text"]) > 40_000:
        return "msg_too_long"
    texts = [block["text"] for block in blocks if "text" in block]
    texts += [element for block in blocks for element in block.get("elements", [])]
    limits = {"plain_text": 150, "mrkdwn": 3000}
    if len(blocks) > 50 or any(not 0 < len(text["text"]) <= limits[text["type"]] for text in texts):
        return "invalid_blocks"
    return "msg_blocks_too_long" if len(json.dumps(blocks, ensure_ascii=False)) > 13_000 else ""


def refusal(error: str, **more: Any) -> Reply:
    return Reply.of({"ok": False, "error": error, **more})


def shown(message: dict[str, Any]) -> str:
    """All words of a message's blocks."""
    blocks = message.get("blocks", [])
    return "\n\n".join(block["text"]["text"] for block in blocks if "text" in block)


class SlackStandin(Standin):
    kind = "slack"

    def reset(self) -> None:
        self.well = self.well or FakeSlack(self.receiver.url)
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": f"{self.receiver.url}/api", "token": Secret(SECRET), "channel": CHANNEL}

    def made(self) -> int:
        return len(self._messages(False))

    def texts(self) -> list[str]:
        return [shown(each) for each in self._messages(False)]

    def comments(self) -> list[str]:
        return [shown(each) for each in self._messages(True) if "files" not in each]

    def attached(self) -> list[str]:
        return list(self.well.shared)

    def _messages(self, threaded: bool) -> list[dict[str, Any]]:
        return [
            each for messages in self.well.messages.values() for each in messages if ("thread_ts" in each) == threaded
        ]

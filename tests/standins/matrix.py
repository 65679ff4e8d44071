from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

ROOM = "!room:example.com"
ALIAS = "#ops:example.com"
USER = "@postroom:example.com"
CLIENT = "/_matrix/client/v3"


class FakeMatrix:
    """As much of a homeserver as the kind uses, with the shapes of Synapse."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.transactions: dict[str, str] = {}
        self.media: dict[str, tuple[str, str, bytes]] = {}
        self.largest = 1 << 20
        self.joined = [ROOM]
        self.encrypted = False
        self.now = 1_795_000_000_000

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {SECRET}":
            return refusal(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.")
        path = request.path
        if path == "/_matrix/media/v3/upload":
            return self._upload(request)
        if path == f"{CLIENT}/account/whoami":
            return Reply.of({"user_id": USER, "device_id": "ABC"})
        if path == f"{CLIENT}/joined_rooms":
            return Reply.of({"joined_rooms": self.joined})
        if path.startswith(f"{CLIENT}/directory/room/"):
            if unquote(path).endswith(ALIAS):
                return Reply.of({"room_id": ROOM, "servers": ["example.com"]})
            return refusal(404, "M_NOT_FOUND", "Room alias not found")
        room, _, rest = path.removeprefix(f"{CLIENT}/rooms/").partition("/")
        if unquote(room) not in self.joined:
            return refusal(403, "M_FORBIDDEN", f"User not in room {unquote(room)}")
        if rest == "state/m.room.encryption":
            return (
                Reply.of({"algorithm": "m.megolm.v1.aes-sha2"}) if self.encrypted else refusal(404, "M_NOT_FOUND", "-")
            )
        if rest == "messages":
            return self._page(request)
        return self._send(path, rest, request)

    def _upload(self, request: Request) -> Reply:
        if len(request.body) > self.largest:
            return refusal(413, "M_TOO_LARGE", "Upload request body is too large")
        uri = f"mxc://example.com/m{len(self.media)}"
        self.media[uri] = request.query.get("filename", ""), request.headers["content-type"], request.body
        return Reply.of({"content_uri": uri})

    def _send(self, path: str, rest: str, request: Request) -> Reply:
        assert request.method == "PUT" and rest.startswith("send/m.room.message/")
        if path not in self.transactions:
            if len(request.body) > 65_000:
                return refusal(413, "M_TOO_LARGE", "event too large")
            event = f"$event{len(self.events)}"
            self.now += 1000
            sent = {
                "sender": USER,
                "event_id": event,
                "type": "m.room.message",
                "origin_server_ts": self.now,
                "content": request.json(),
            }
            self.events.append(sent)
            self.transactions[path] = event
        return Reply.of({"event_id": self.transactions[path]})

    def _page(self, request: Request) -> Reply:
        assert request.query["dir"] == "b"
        end = int(request.query.get("from", len(self.events)))
        start = max(0, end - int(request.query["limit"]))
        senders = json.loads(request.query["filter"])["senders"]
        page = {
            "chunk": [each for each in self.events[start:end][::-1] if each["sender"] in senders],
            "start": str(end),
        }
        return Reply.of(page | ({"end": str(start)} if start else {}))

    def contents(self, *, threaded: bool, files: bool = False) -> list[dict[str, Any]]:
        """Contents of the events in or out of threads: texts, or files."""
        return [
            event["content"]
            for event in self.events
            if ("m.relates_to" in event["content"]) == threaded and ("url" in event["content"]) == files
        ]


def refusal(status: int, code: str, sentence: str, **more: Any) -> Reply:
    return Reply.of({"errcode": code, "error": sentence, **more}, status)


class MatrixStandin(Standin):
    kind = "matrix"

    def reset(self) -> None:
        self.well = self.well or FakeMatrix()
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": self.receiver.url, "token": Secret(SECRET), "room": ROOM}

    def made(self) -> int:
        return len(self.well.contents(threaded=False))

    def texts(self) -> list[str]:
        return [content["body"] for content in self.well.contents(threaded=False)]

    def comments(self) -> list[str]:
        return [content["body"] for content in self.well.contents(threaded=True)]

    def attached(self) -> list[str]:
        return [content["filename"] for content in self.well.contents(threaded=True, files=True)]

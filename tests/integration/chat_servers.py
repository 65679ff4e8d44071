"""Real chat servers for tests, started by `.ci/chats.sh` on ports of their own: Synapse, mosquitto, ngircd."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from tests.integration.real_server import Script

SCRIPT = Script("chats", "Chats (Synapse, mosquitto and ngircd)")


@contextlib.contextmanager
def running(name: str, folder: Path) -> Iterator[int]:
    """The port of a server."""
    with SCRIPT.running(folder / name, name) as environment:
        yield int(environment["PORT"])


@dataclass(frozen=True)
class Synapse:
    """A homeserver with its administrator."""

    url: str
    secret: str
    port: int

    @classmethod
    @contextlib.contextmanager
    def start(cls, folder: Path) -> Iterator[Synapse]:
        with running("synapse", folder) as port:
            yield cls(f"http://127.0.0.1:{port}", (folder / "synapse/secret").read_text(), port)

    def call(self, method: str, path: str, token: str = "", **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.request(method, self.url + path, headers=headers, timeout=30, **options)
        assert answer.ok, f"{answer.status_code} {answer.text}"
        return answer.json()

    def user(self, name: str, *, admin: bool = False) -> str:
        """The access token of a new user."""
        nonce = self.call("GET", "/_synapse/admin/v1/register")["nonce"]
        parts = (nonce, name, "a password", "admin" if admin else "notadmin")
        mac = hmac.new(self.secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": parts[2], "admin": admin, "mac": mac}
        return str(self.call("POST", "/_synapse/admin/v1/register", json=body)["access_token"])

    def unlimited(self, name: str, admin: str) -> None:
        """Frees a user of the limits."""
        path = f"/_synapse/admin/v1/users/{quote(f'@{name}:test.local')}/override_ratelimit"
        self.call("POST", path, admin, json={"messages_per_second": 0, "burst_count": 0})

    def room(self, token: str, alias: str | None = None) -> str:
        body = {"room_alias_name": alias} if alias else {}
        return str(self.call("POST", "/_matrix/client/v3/createRoom", token, json=body)["room_id"])

    def messages(self, token: str, room: str) -> list[dict[str, Any]]:
        """The messages of a room, oldest first, as another client gets them."""
        path = f"/_matrix/client/v3/rooms/{quote(room)}/messages"
        page = self.call(
            "GET", path, token, params={"dir": "b", "limit": 500, "filter": '{"types":["m.room.message"]}'}
        )
        return list(page["chunk"][::-1])

    def media(self, token: str, uri: str) -> tuple[str, bytes]:
        """Content type and bytes of what lies at an address of `mxc://`."""
        path = "/_matrix/client/v1/media/download/" + uri.removeprefix("mxc://")
        answer = requests.get(self.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        assert answer.ok, answer.text
        return answer.headers["Content-Type"], answer.content


class IrcClient:
    """Somebody in a channel, who notes what is said there."""

    def __init__(self, port: int, channel: str) -> None:
        self.said: list[str] = []
        self.heard = threading.Condition()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._lines = self._socket.makefile("r", encoding="utf-8", errors="replace")
        self._write(f"NICK reader\r\nUSER reader 0 * :Reader\r\nJOIN {channel}\r\n")
        for line in self._lines:
            self._pong(line)
            if " 366 " in line:  # the end of the names: it has joined
                break
        threading.Thread(target=self._listen, daemon=True).start()

    def wait_for(self, text: str) -> str:
        """The line that holds a text."""
        with self.heard:
            assert self.heard.wait_for(lambda: any(text in line for line in self.said), timeout=30), self.said
            return next(line for line in self.said if text in line)

    def close(self) -> None:
        self._socket.close()

    def _write(self, text: str) -> None:
        self._socket.sendall(text.encode())

    def _pong(self, line: str) -> None:
        if line.startswith("PING"):
            self._write(line.replace("PING", "PONG", 1))

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._lines:
                self._pong(line)
                if " PRIVMSG " in line:
                    with self.heard:
                        self.said.append(line.partition(" PRIVMSG ")[2].strip())
                        self.heard.notify_all()

"""Servers on loopback that integrations talk to in tests: real sockets, scripted answers."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import msgspec


@dataclass(frozen=True)
class Request:
    """What a server was sent. Names of headers are lower-case."""

    method: str
    path: str
    """Without the query."""
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int
    """Number of the connection it came on, from 1."""

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Reply:
    """What a server answers. `cut` closes the connection after so many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None

    @classmethod
    def of(cls, document: Any, status: int = 200, **headers: str) -> Reply:
        return cls(status, msgspec.json.encode(document), {"Content-Type": "application/json", **headers})


CLOSE = Reply(status=0)
"""Closes the connection without an answer."""

_WORKERS = 16
_FIRST_PORT, _LAST_PORT = 10_000, 32_000
"""Linux gives away those from 32,768 on."""
_given: set[int] = set()

Script = Callable[[Request], Reply | None]


class Receiver:
    """An HTTP server with keep-alive. It answers what `answer` says: a reply, or a function of the request.

    Everything that came stands in `requests`. A function that returns None lets the default answer, 200, stand.
    """

    def __init__(self, answer: Reply | Script | None = None) -> None:
        self.answer: Reply | Script | None = answer
        self.requests: list[Request] = []
        self.connections = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                receiver.connections += 1
                self.number = receiver.connections

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()
                    return
                self.close_connection = True

            def do(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, parts.path, query, headers, self._body(), self.number)
                receiver.requests.append(request)
                reply = receiver.answer(request) if callable(receiver.answer) else receiver.answer
                self._say(reply or Reply())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def _say(self, reply: Reply) -> None:
                if reply.status == 0:
                    self.close_connection = True
                    return
                lines = [f"HTTP/1.1 {reply.status} Scripted"]
                names = {name.lower() for name in reply.headers}
                if "content-length" not in names and reply.status != 204:
                    lines.append(f"Content-Length: {len(reply.body)}")
                lines += [f"{name}: {value}" for name, value in reply.headers.items()]
                self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body[: reply.cut])
                if reply.cut is not None:
                    self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that does to each connection what `talk` does, and then closes it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            talk(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def closed_port() -> int:
    """A port where nobody listens, for a server that is started a while later.

    It is none of those that the system gives away by itself, and tests that run side by side are given different ones.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _WORKERS
    while True:
        port = random.randrange(_FIRST_PORT, _LAST_PORT, _WORKERS) + worker
        if port in _given:
            continue
        _given.add(port)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def read_request(connection: socket.socket) -> bytes:
    """The head of a request, for `raw_server`."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        data = connection.recv(65536)
        if not data:
            break
        seen += data
    return seen

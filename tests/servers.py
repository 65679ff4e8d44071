"""Servers on loopback that tests talk to: those of `postroom.testing`, and a proxy that loses answers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Self

from postroom.testing.servers import (
    CLOSE,
    Receiver,
    Reply,
    Request,
    Script,
    closed_port,
    raw_server,
    read_request,
)

__all__ = [
    "CLOSE",
    "CutProxy",
    "Receiver",
    "Reply",
    "Request",
    "Script",
    "closed_port",
    "raw_server",
    "read_request",
]


class CutProxy:
    """Stands before a server. Where `cut(method, path)` says so, the server does what is asked, and its answer is lost.

    `instead` is what the client gets then: by default nothing, the connection closes. `hidden`: the server finds its
    own address in the headers, not that of the proxy.
    """

    def __init__(self, port: int, *, hidden: bool = False) -> None:
        self.port = port
        self.hidden = hidden
        self.cut: Callable[[str, str], bool] = lambda method, path: False
        self.instead = b""
        self._serving = raw_server(self._talk)

    def __enter__(self) -> Self:
        self.url = self._serving.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._serving.__exit__(None, None, None)

    def _talk(self, client: socket.socket) -> None:
        head, _, body = read_request(client).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        method, path, _ = lines[0].decode().split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        length = int(headers.get(b"content-length") or 0)
        while len(body) < length:
            body += client.recv(65536)
        kept = [line for line in lines[1:] if not line.lower().startswith(b"connection:")]
        if self.hidden:
            ours = self.url.rpartition("/")[2].encode()
            kept = [line.replace(ours, f"127.0.0.1:{self.port}".encode()) for line in kept]
        with socket.create_connection(("127.0.0.1", self.port)) as server:
            server.sendall(b"\r\n".join([lines[0], *kept, b"Connection: close", b"", b""]) + body)
            answer = b""
            while data := server.recv(65536):
                answer += data
        status, _, rest = answer.replace(b"Keep-Alive", b"close").partition(b"\r\n")
        # Not every server says so itself; the client must not send more on this connection.
        told = b"\r\n".join([status, b"Connection: close", rest])
        client.sendall(self.instead if self.cut(method, path) else told)

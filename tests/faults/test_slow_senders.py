"""Clients that begin a body and never end it."""

from __future__ import annotations

import contextlib
import socket

from tests.conftest import Start
from tests.instance import document, until


def test_a_slow_sender_keeps_nobody_out(start_instance: Start) -> None:
    instance = start_instance()
    with contextlib.ExitStack() as open_ones:
        for _ in range(8):
            open_ones.enter_context(begun(instance.port))
        for number in range(20):
            assert instance.post(document(f"mail {number}"), timeout=5).message
        assert instance.get("/readyz", timeout=5).status == 200
    until(lambda: instance.log().count("the body ended before its Content-Length") == 8, "all were given up")


def test_many_slow_senders_keep_nobody_out(start_instance: Start) -> None:
    instance = start_instance()
    with contextlib.ExitStack() as open_ones:
        for _ in range(60):
            open_ones.enter_context(begun(instance.port))
        # Asked often: the first may come before all those have their threads.
        for _ in range(300):
            assert instance.get("/healthz", timeout=3).status == 200


def begun(port: int) -> socket.socket:
    """A connection on which a request was begun, its body hardly."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    head = (
        "POST /inbound/socketlabs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
    )
    connection.sendall(head.encode() + b'{"SecretKey": ')
    return connection

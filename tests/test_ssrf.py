"""No destination leads inside, whoever answers for its name; and no kind has a road of its own to the network."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from postroom import connection
from postroom.exchange import DeliveryError, Http
from postroom.integration import Integration
from tests.kinds import KINDS, job
from tests.servers import Receiver, Reply
from tests.standins import Standin, standins

ROOT = Path(__file__).resolve().parent.parent
STANDINS = {kind: standin for kind, standin in standins().items() if kind not in ("file", "apprise")}
"""Apprise's own network code runs in a process apart, to which the guard does not reach; its docs say so."""
PUBLIC = "203.0.113.9"
INSIDE = (
    "127.0.0.1", "127.1", "0x7f000001", "2130706433", "0.0.0.0", "10.1.2.3", "169.254.169.254", "100.100.100.200",
    "[::1]", "[::]", "[fd00:ec2::254]", "[fe80::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "localhost",
)  # fmt: skip
ROADS = {
    *("aiohttp", "asyncio", "ctypes", "ftplib", "http", "httpx", "imaplib", "multiprocessing", "nntplib", "poplib"),
    *("requests", "selectors", "smtplib", "socket", "socketserver", "ssl", "subprocess", "telnetlib", "urllib3"),
    *("websockets", "xmlrpc"),
}


@pytest.fixture(params=sorted(STANDINS))
def standin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Standin]:
    with Receiver() as receiver:
        yield STANDINS[request.param](tmp_path, receiver)


def at_host(standin: Standin, host: str, *, allow_private: bool = False) -> Integration:
    """The stand-in's destination under another name of its host."""
    options = standin.options()
    for name, value in options.items():
        if name == "host":
            options[name] = host
        elif isinstance(value, str) and value.startswith(standin.receiver.url):
            options[name] = type(value)(value.replace("127.0.0.1", host, 1))
    assert options != standin.options() or host == "127.0.0.1", "its address is known"
    kind = KINDS[standin.kind]
    return kind(
        "here", kind.Options(**options), http=Http(timeout=5, allow_private=allow_private), data_dir=standin.data_dir
    )


def refusal(integration: Integration, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        integration.deliver(job(**options))
    return caught.value


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to; none of them answers."""
    found: list[str] = []

    class Spy(socket.socket):
        def connect(self, address: Any) -> None:
            found.append(address[0])
            raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "socket", Spy)
    return found


def answers(monkeypatch: pytest.MonkeyPatch, *rounds: list[str]) -> list[str]:
    """Binds every name to the first list of addresses, then to the next; the last one stays."""
    asked: list[str] = []

    def look_up(host: str, port: int, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in rounds[min(len(asked), len(rounds)) - 1]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_no_kind_leads_inside(standin: Standin, reached: list[str]) -> None:
    for host in INSIDE:
        error = refusal(at_host(standin, host))
        assert error.permanent and not error.unknown and "allow_private" in error.reason, host
    assert not reached
    with contextlib.suppress(DeliveryError):
        at_host(standin, "127.0.0.1").check()
    assert not reached


def test_names_that_lead_inside(standin: Standin, reached: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for inside in ("169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00::1", "64:ff9b::a9fe:a9fe", "0.0.0.0"):
        answers(monkeypatch, [inside])
        error = refusal(at_host(standin, "inside.example.com"))
        assert error.permanent and "allow_private" in error.reason, inside
    assert not reached


def test_a_name_that_is_bound_again(standin: Standin, reached: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer is public, all later ones lead inside: only what was checked is connected to."""
    asked = answers(monkeypatch, [PUBLIC], ["127.0.0.1"])
    monkeypatch.setattr(connection, "is_public", lambda address: address == PUBLIC)
    there = at_host(standin, "rebound.example.com")
    first = refusal(there)
    assert (asked, reached) == (["rebound.example.com"], [PUBLIC])
    assert not first.permanent and not first.unknown
    second = refusal(there)
    assert second.permanent and "allow_private" in second.reason and reached == [PUBLIC]


def test_of_several_addresses_none_inside_is_tried(
    standin: Standin, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, ["127.0.0.1", PUBLIC, "::1"])
    monkeypatch.setattr(connection, "is_public", lambda address: address == PUBLIC)
    refusal(at_host(standin, "mixed.example.com"))
    assert reached == [PUBLIC]


@contextlib.contextmanager
def web_server(address: str) -> Iterator[int]:
    """A server on an address of loopback that says 200 once a connection, and closes it."""
    with socket.create_server((address, 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.recv(65536)
                        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_between_two_requests_a_name_may_turn_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    monkeypatch.setattr(connection, "is_public", lambda address: address == "127.0.0.2")
    with web_server("127.0.0.2") as port:
        road = Http(timeout=5)
        assert road.get(f"http://turning.example.com:{port}/").status == 200
        with pytest.raises(DeliveryError, match="allow_private"):
            road.get(f"http://turning.example.com:{port}/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(standin: Standin, status: int) -> None:
    if not standin.speaks_http:
        return
    with Receiver() as elsewhere:
        port = urlsplit(elsewhere.url).port
        for target in (elsewhere.url, f"//127.0.0.1:{port}/x", f"http://user:pw@127.0.0.1:{port}/"):
            standin.receiver.answer = Reply(status, b"{}", {"Location": target})
            error = refusal(at_host(standin, "127.0.0.1", allow_private=True))
            assert error.permanent and not error.unknown and "pw" not in error.reason
    assert not elsewhere.connections
    assert {request.headers["host"] for request in standin.receiver.requests} == {urlsplit(standin.receiver.url).netloc}


# One road only


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted((ROOT / "integrations").glob("*.py")), ids=lambda path: path.name)
def test_no_kind_has_a_road_of_its_own(path: Path) -> None:
    found = {name for name in _imports(path) if name.split(".")[0] in ROADS or name.startswith("urllib.request")}
    found = {name for name in found if not name.startswith("requests.structures")}  # no road: a mapping
    allowed = {"apprise.py": {"subprocess"}, "_apprise_child.py": None}.get(path.name, set())
    assert allowed is None or found <= allowed, f"{path.name} imports {sorted(found - (allowed or set()))}"


def test_who_in_the_package_opens_connections() -> None:
    """Those that deliver go through `connection`; the others speak to this very program, or as a command."""
    network = {"requests", "urllib3", "socket", "http.client", "smtplib", "ssl", "urllib.request", "asyncio"}
    package = ROOT / "postroom"
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "testing" not in path.parts and any(name in network for name in _imports(path))
    }
    assert found <= {"connection.py", "exchange.py", "submission.py", "sending.py", "demo.py", "supervise.py"}


def test_an_option_of_every_kind_is_its_address() -> None:
    """The guard is tried above by way of it."""
    for kind in STANDINS:
        names = {field.name for field in dataclasses.fields(KINDS[kind].Options)}
        assert names & {"url", "host"}, kind

"""Where connections may lead: never inside, unless the destination says so."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom import connection
from postroom.connection import is_public
from postroom.exchange import DeliveryError, Http
from tests.servers import Receiver, raw_server, read_request


def failure(url: str) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        Http(timeout=5).post(url)
    return caught.value


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
     "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.192", "198.18.0.1", "168.63.129.16", "::1", "::",
     "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
     "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "::127.0.0.1",
     "fec0::1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0"])
def test_private_addresses_are_refused(receiver: Receiver, host: str) -> None:
    error = failure(f"http://{host}:{receiver.port}/")
    assert not receiver.connections
    assert error.permanent and "allow_private" in error.reason


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    asked: list[str] = []
    left = iter(answers)

    def answer(host: str, port: int, *rest: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(left)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def test_a_name_that_is_bound_again_is_resolved_once(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer is public, the second would be ours: the address that was checked is the one connected to."""
    asked = resolver(monkeypatch, ["203.0.113.9"], ["127.0.0.1"])
    monkeypatch.setattr(connection, "is_public", lambda address: address == "203.0.113.9")
    reached = []

    class Spy(socket.socket):
        def connect(self, address: Any) -> None:
            reached.append(address[0])
            raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "socket", Spy)
    error = failure(f"http://rebound.example:{receiver.port}/")
    assert (asked, reached, receiver.connections) == (["rebound.example"], ["203.0.113.9"], 0)
    assert not error.permanent


def test_private_addresses_of_a_name_are_refused(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, ["127.0.0.1", "10.0.0.1"])
    error = failure(f"http://inside.example:{receiver.port}/")
    assert error.permanent and error.reason.startswith("inside.example:") and not receiver.connections


def test_the_next_address_is_tried(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    assert Http(timeout=5, allow_private=True).get(f"http://two.example:{receiver.port}/").status == 200


def test_of_mixed_addresses_only_the_public_are_tried(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, ["10.9.9.9", "127.0.0.1"])
    monkeypatch.setattr(connection, "is_public", lambda address: address == "127.0.0.1")
    assert Http(timeout=5).get(f"http://mixed.example:{receiver.port}/").status == 200


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of our own for `localhost`, with its key in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        [*command.split(), "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    (folder / "both.pem").write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return folder


@contextlib.contextmanager
def encrypted(certificate: Path, answers: list[bytes], pause: float = 0) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "both.pem")

    def talk(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secure:
            for answer in answers:
                read_request(secure)
                for byte in answer if pause else [answer]:
                    secure.sendall(bytes([byte]) if isinstance(byte, int) else byte)
                    time.sleep(pause)

    with raw_server(talk) as url:
        yield url.replace("http://127.0.0.1", "https://localhost")


@pytest.fixture
def fresh_authorities() -> Iterator[None]:
    connection.authorities.cache_clear()
    yield
    connection.authorities.cache_clear()


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.usefixtures("fresh_authorities")
def test_unknown_authority_is_refused(certificate: Path) -> None:
    with (
        encrypted(certificate, [ANSWER]) as url,
        pytest.raises(DeliveryError, match="self-signed") as caught,
    ):
        Http(timeout=5, allow_private=True).post(url + "/?key=1", data=b"x")
    assert not caught.value.unknown and not caught.value.permanent and "key=1" not in caught.value.reason


@pytest.mark.usefixtures("fresh_authorities")
def test_authority_of_the_system(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    with encrypted(certificate, [ANSWER, ANSWER]) as url:
        road = Http(timeout=5, allow_private=True)
        assert road.get(url).text == road.get(url).text == "ok"
        with pytest.raises(DeliveryError, match="cannot be reached"):
            road.get(url.replace("localhost", "127.0.0.1"))


@pytest.mark.usefixtures("fresh_authorities")
def test_deadline_within_an_encrypted_answer(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    with encrypted(certificate, [ANSWER + b"x" * 1000], pause=0.05) as url:
        began = time.monotonic()
        with pytest.raises(DeliveryError, match=r"within 0\.6 s") as caught:
            Http(timeout=0.6, allow_private=True).get(url)
    assert caught.value.unknown and time.monotonic() - began < 1.5

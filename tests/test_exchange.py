"""The road to the network, over real sockets on loopback."""

from __future__ import annotations

import base64
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

import pytest

from postroom.exchange import ANSWER_LIMIT, DeliveryError, Http, retry_after
from tests.servers import CLOSE, Receiver, Reply, closed_port, raw_server, read_request


def http(timeout: float = 5, **options: Any) -> Http:
    return Http(timeout=timeout, allow_private=True, **options)


def failure(road: Http, method: str, url: str, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        road.request(method, url, **options)
    return caught.value


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


def test_sends_and_receives(receiver: Receiver) -> None:
    receiver.answer = Reply.of({"id": 7}, 201)
    answer = http().post(receiver.url + "/a", json={"ü": 1}, params={"q": "a b"}, headers={"X-A": "1"}, auth=("u", "p"))
    assert (answer.status, answer.json(), answer.headers["content-TYPE"]) == (201, {"id": 7}, "application/json")
    (request,) = receiver.requests
    assert (request.method, request.path, request.query, request.json()) == ("POST", "/a", {"q": "a b"}, {"ü": 1})
    assert request.headers["x-a"] == "1"
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"u:p").decode()


def test_streams_with_a_length_and_without(receiver: Receiver) -> None:
    chunks = [b"a" * 100_000, b"b" * 5]
    http().post(receiver.url, data=iter(chunks), size=100_005)
    http().post(receiver.url, data=iter(chunks))
    http().post(receiver.url, data=iter([]), size=0)
    sized, chunked, empty = receiver.requests
    assert sized.headers["content-length"] == "100005" and "transfer-encoding" not in sized.headers
    assert chunked.headers["transfer-encoding"] == "chunked"
    assert sized.body == chunked.body == b"".join(chunks) and empty.body == b""


def test_keeps_connections_alive_but_no_cookies(receiver: Receiver) -> None:
    receiver.answer = Reply(headers={"Set-Cookie": "session=1; Path=/"})
    road = http()
    for _ in range(5):
        road.get(receiver.url)
    assert receiver.connections == 1
    assert not any("cookie" in request.headers for request in receiver.requests)


def test_threads_share_a_road(receiver: Receiver) -> None:
    receiver.answer = lambda request: Reply(body=request.body)
    road = http()
    wrong = []

    def run(number: int) -> None:
        for turn in range(20):
            body = f"{number}.{turn}".encode()
            if road.post(receiver.url, data=body).body != body:
                wrong.append(body)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and receiver.connections <= 8


def test_environment_is_ignored(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    http().get(receiver.url)
    assert "authorization" not in receiver.requests[0].headers


# The deadline


def drip(data: bytes, every: float = 0.05, head: bytes = b"") -> Any:
    def talk(client: socket.socket) -> None:
        read_request(client)
        client.sendall(head)
        for byte in itertools.cycle(data):
            client.sendall(bytes([byte]))
            time.sleep(every)

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(lambda client: time.sleep(20), id="never reads nor answers"),
        pytest.param(lambda client: (read_request(client), time.sleep(20)), id="never answers"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 5000), id="drips its head"),
        pytest.param(drip(b"x", head=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), id="drips its body"),
        pytest.param(drip(b"x", head=b"HTTP/1.1 200 OK\r\n\r\n"), id="drips a body without a length"),
        pytest.param(drip(b"1\r\nx\r\n", head=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), id="chunks"),
    ],
)
def test_deadline_ends_the_whole_exchange(talk: Any) -> None:
    with raw_server(talk) as url:
        began = time.monotonic()
        error = failure(http(0.4), "POST", url, data=b"x")
    assert time.monotonic() - began < 1.2
    assert error.unknown and not error.permanent
    assert error.reason.endswith("did not answer within 0.4 s")


def test_deadline_ends_a_body_that_is_not_taken() -> None:
    with raw_server(lambda client: time.sleep(20)) as url:
        began = time.monotonic()
        error = failure(http(0.4), "POST", url, data=(b"x" * 65536 for _ in itertools.count()))
    assert time.monotonic() - began < 1.2 and error.unknown


def test_deadline_ends_a_tls_handshake() -> None:
    with raw_server(lambda client: time.sleep(20)) as url:
        began = time.monotonic()
        error = failure(http(0.4), "GET", url.replace("http:", "https:"))
    assert time.monotonic() - began < 1.2 and not error.unknown and not error.permanent


def test_deadline_ends_a_name_that_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: time.sleep(3) or [])
    began = time.monotonic()
    error = failure(http(0.3), "GET", "http://slow.example/")
    assert time.monotonic() - began < 1.2 and not error.unknown and not error.permanent


def test_deadlines_of_different_lengths_and_one_thread(receiver: Receiver) -> None:
    with raw_server(lambda client: time.sleep(20)) as url:
        waiting = threading.Thread(target=lambda: failure(http(3), "GET", url))
        waiting.start()
        began = time.monotonic()
        failure(http(0.2), "GET", url)
        assert time.monotonic() - began < 1
        for _ in range(20):
            http().get(receiver.url)
        assert sum(thread.name == "exchange-watcher" for thread in threading.enumerate()) == 1
        waiting.join()


def test_a_deadline_leaves_the_next_exchange_alone(receiver: Receiver) -> None:
    road = http(0.3)
    for _ in range(4):
        road.get(receiver.url)
        time.sleep(0.15)
    assert receiver.connections == 1


# Errors and their sorts

CHUNKED = {"Transfer-Encoding": "chunked", "Content-Length": "9"}


def test_nobody_listens() -> None:
    error = failure(http(), "POST", f"http://127.0.0.1:{closed_port()}/secret-path?key=1", data=b"x")
    assert not error.unknown and not error.permanent
    assert "Connection refused" in error.reason and "secret-path" not in error.reason


def test_no_such_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    error = failure(http(), "POST", "http://nowhere.example/")
    assert error.reason == "nowhere.example cannot be reached: its name cannot be resolved (Name or service not known)"
    assert not error.unknown and not error.permanent


@pytest.mark.parametrize(
    "reply",
    [CLOSE, Reply(body=b"x" * 100, cut=50), Reply(body=b"5\r\nhel", headers=CHUNKED, cut=6)],
    ids=["before the answer", "within a body with a length", "within a chunk"],
)
def test_connection_lost_after_sending_is_unknown(receiver: Receiver, reply: Reply) -> None:
    receiver.answer = reply
    error = failure(http(), "POST", receiver.url, data=b"x")
    assert error.unknown and not error.permanent and "closed the connection" in error.reason


def test_no_http_at_all() -> None:
    with raw_server(lambda client: (read_request(client), client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"))) as url:
        error = failure(http(), "POST", url, data=b"x")
    assert error.unknown


def test_plain_server_on_a_tls_url(receiver: Receiver) -> None:
    error = failure(http(), "POST", receiver.url.replace("http:", "https:"), data=b"x")
    assert not error.unknown and not error.permanent and "no encrypted connection" in error.reason


@pytest.mark.parametrize(
    ("status", "permanent", "unknown"),
    [
        (400, True, False), (401, True, False), (403, True, False), (404, True, False), (409, True, False),
        (410, True, False), (413, True, False), (422, True, False), (408, False, False), (425, False, False),
        (429, False, False), (500, False, True), (502, False, True), (503, False, True), (504, False, True),
    ],
)  # fmt: skip
def test_statuses_are_sorted(receiver: Receiver, status: int, permanent: bool, unknown: bool) -> None:
    receiver.answer = Reply(status, b"x" * 900)
    error = failure(http(), "POST", receiver.url)
    assert (error.permanent, error.unknown, error.status) == (permanent, unknown, status)
    assert f"answered {status}" in error.reason and error.answer == "x" * 500


def test_expect_replaces_what_is_well(receiver: Receiver) -> None:
    receiver.answer = Reply(404, b"none")
    assert http().get(receiver.url, expect=(200, 404)).text == "none"
    receiver.answer = Reply(204)
    assert failure(http(), "GET", receiver.url, expect=(201,)).unknown


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.answer = Reply(status, headers={"Location": "http://user:pw@other.example:81/path?token=1"})
    error = failure(http(), "POST", receiver.url, data=b"x")
    assert error.permanent and len(receiver.requests) == 1
    assert error.reason.endswith(f"answered {status}: a redirect (to other.example:81), which is not followed")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30", 30), ("0", 0), ("1.5", 1.5), ("999999999", 86400),
     ("-5", None), ("soon", None), ("", None), (None, None), ("nan", None), ("1e999", None), ("٣", None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", None), ("9" * 400, None), ("Fri, 99 Foo 20266", None)],
)  # fmt: skip
def test_retry_after(value: str | None, seconds: float | None) -> None:
    found = retry_after(value)
    assert found == seconds


def test_retry_after_as_a_date() -> None:
    assert retry_after(formatdate(time.time() + 60, usegmt=True)) == pytest.approx(60, abs=3)
    assert retry_after(formatdate(time.time() + 1e6, usegmt=True)) == 86400


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_carried(receiver: Receiver, status: int) -> None:
    receiver.answer = Reply(status, headers={"Retry-After": "17"})
    assert failure(http(), "POST", receiver.url).retry_after == 17
    receiver.answer = Reply(status)
    assert failure(http(), "POST", receiver.url).retry_after is None


def test_huge_answer_is_cut(receiver: Receiver) -> None:
    receiver.answer = Reply(body=b"[" + b" " * (3 * ANSWER_LIMIT) + b"]")
    answer = http().get(receiver.url)
    assert len(answer.body) == ANSWER_LIMIT and answer.truncated
    with pytest.raises(DeliveryError, match="longer answer"):
        answer.json()


def test_endless_answer_is_cut() -> None:
    def talk(client: socket.socket) -> None:
        read_request(client)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            client.sendall(b"x" * 65536)

    with raw_server(talk) as url:
        assert http().get(url).truncated


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"a": 1', b'"\xff"', b"[" * 100_000])
def test_answer_that_is_no_json(receiver: Receiver, body: bytes) -> None:
    receiver.answer = Reply(body=body)
    with pytest.raises(DeliveryError, match="with no JSON") as caught:
        http().get(receiver.url).json()
    assert caught.value.unknown and caught.value.answer == body.decode(errors="replace")[:500]


@pytest.mark.parametrize(
    "options", [{"headers": {"X": "a\r\nEvil: 1"}}, {"headers": {"X": "€"}}, {"json": object()}, {"json": "\ud800"}]
)
def test_a_request_that_cannot_be_made(receiver: Receiver, options: dict[str, Any]) -> None:
    error = failure(http(), "POST", receiver.url, **options)
    assert error.permanent and not receiver.requests


@pytest.mark.parametrize(
    "url", ["ftp://host/", "http://", "//host", "http://[::1", "http://a..b/", f"http://{'a' * 70}.example/"]
)
def test_a_url_that_is_none(url: str) -> None:
    error = failure(http(), "GET", url)
    assert not error.unknown


# Secrets


def test_secrets_are_masked(receiver: Receiver) -> None:
    secret = 'p/ss w"ört+=&key'
    forms = [secret, quote(secret, safe=""), secret.replace('"', '\\"'), base64.b64encode(secret.encode()).decode()]
    forms += [base64.b64encode(f"{user}:{secret}".encode()).decode() for user in ("a", "ab", "abc")]
    road = http(secrets=[secret, ""])
    for form in forms:
        receiver.answer = Reply(400, f"you sent {form} to us".encode())
        error = failure(road, "POST", receiver.url)
        assert "***" in error.answer and error.answer.startswith("you sent ") and error.answer.endswith(" to us")
        assert form not in error.answer
    receiver.answer = Reply(400, ("x" * 495 + "0123456789abcdef").encode())
    assert failure(http(secrets=["0123456789abcdef"]), "POST", receiver.url).answer == "x" * 495 + "***"
    assert secret not in repr(road)


def test_no_url_detail_in_errors(receiver: Receiver) -> None:
    receiver.answer = Reply(500)
    error = failure(http(), "POST", receiver.url.replace("127", "user:hidden@127") + "/services/T0?token=hidden")
    assert error.reason == f"127.0.0.1:{receiver.port} answered 500"
    assert error.__cause__ is None and error.__context__ is None

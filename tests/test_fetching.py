"""What ways in fetch, over the real road to the network: guarded, bounded, told apart in what may come later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from postroom.exchange import Http
from postroom.ingress.base import Refusal
from postroom.ingress.fetching import fetch
from tests.senders import SECRET, SENDERS, SOURCE, svix
from tests.servers import Receiver, Reply, Request, closed_port
from tests.waysin import Desk


def get(url: str, *, limit: int = 1_000, private: bool = True) -> bytes:
    return fetch(Http(timeout=5, allow_private=private), url, what="the mail", limit=limit)


@pytest.mark.parametrize(
    ("status", "told"), [(404, 400), (410, 400), (401, 503), (403, 503), (429, 503), (500, 503), (302, 503)]
)
def test_what_may_come_later_and_what_never(status: int, told: int) -> None:
    with Receiver(Reply(status, b"no")) as server, pytest.raises(Refusal) as caught:
        get(server.url)
    assert caught.value.status == told and str(status) in caught.value.reason


def test_bytes_are_bounded() -> None:
    with Receiver(Reply(200, b"x" * 1_000)) as server:
        assert get(server.url) == b"x" * 1_000
        with pytest.raises(Refusal, match="larger than 999") as caught:
            get(server.url, limit=999)
    assert caught.value.status == 400


def test_more_than_a_megabyte_is_read_where_it_is_asked_for() -> None:
    with Receiver(Reply(200, b"x" * 3_000_000)) as server:
        assert len(get(server.url, limit=4_000_000)) == 3_000_000


def test_private_addresses_are_not_asked() -> None:
    with Receiver(Reply(200, b"inside")) as server:
        with pytest.raises(Refusal, match="private address") as caught:
            get(server.url, private=False)
        assert caught.value.status == 503 and server.requests == []


def test_nobody_there() -> None:
    with pytest.raises(Refusal) as caught:
        get(f"http://127.0.0.1:{closed_port()}/")
    assert caught.value.status == 503


def test_resend_from_notice_to_mail(tmp_path: Path) -> None:
    source = SOURCE.encode() + b"A line of a long mail.\r\n" * 100_000

    def answer(request: Request) -> Reply | None:
        if request.path == "/emails/receiving/mail-1":
            assert request.headers["authorization"] == f"Bearer {SECRET}"
            return Reply.of({"to": ["help@in.example.com"], "raw": {"download_url": f"{server.url}/raw?signed=1"}})
        assert request.path == "/raw" and "authorization" not in request.headers
        return Reply(200, source)

    with Receiver(answer) as server:
        desk = Desk(tmp_path)
        made = desk.add("resend", f"{SENDERS['resend'].settings}\napi_url: {server.url}")
        body, kind = SENDERS["resend"].sample()
        assert desk.post("resend", body, kind, svix(body)).status == 503, "it lies at a private address"
        made.http = Http(timeout=5, allow_private=True, secrets=[SECRET])  # type: ignore[attr-defined]
        assert desk.post("resend", body, kind, svix(body)).messages
    message, payload = desk.only()
    assert message.text is not None and message.text.count("A line of a long mail.") == 100_000
    assert json.loads(payload)["raw"].startswith("From: Jo Doe")

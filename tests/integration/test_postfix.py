"""A mail server of one's own: a real Postfix hands mail to the ingress `raw` by contrib/postroom-pipe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Start
from tests.instance import Instance, until
from tests.integration.postfix_server import PostfixServer

TOKEN = "raw-token-Jw3Nq8Zt5"
MAIL = (
    b"From: Jo Doe <jo@example.org>\r\nTo: help@inbox.test\r\nSubject: Printer on fire\r\n"
    b"Message-ID: <%s@example.org>\r\nDate: Fri, 1 May 2026 10:00:00 +0000\r\n\r\nIt burns.\r\n.hidden dot\r\n"
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("postfix"), ingress=ways_in())
    try:
        yield instance.start()
    finally:
        instance.kill()


@pytest.fixture(scope="module")
def postfix(house: Instance) -> Iterator[PostfixServer]:
    with PostfixServer.start(f"http://127.0.0.1:{house.port}/inbound/raw", TOKEN) as server:
        yield server


def ways_in(**more: Any) -> dict[str, Any]:
    return {"raw": {"token": TOKEN, **more}}


def arrived(house: Instance, message_id: bytes, count: int = 1) -> list[Any]:
    """The messages with a Message-ID, once there are so many."""

    def look() -> list[Any]:
        rows = house.rows("SELECT id FROM messages ORDER BY seq")
        found = [house.history().message(row["id"]) for row in rows]
        same = [
            each.message for each in found if each and each.message.message_id == f"<{message_id.decode()}@example.org>"
        ]
        return same if len(same) >= count else []

    return until(look, f"{message_id!r} arrived", 30)


def test_a_mail_comes_in_with_its_envelope(house: Instance, postfix: PostfixServer) -> None:
    postfix.send(MAIL % b"one", "help@inbox.test", sender="bounces+x@example.org")
    (message,) = arrived(house, b"one")
    assert message.recipient.address == "help@inbox.test"
    assert message.return_path.address == "bounces+x@example.org"
    assert message.subject == "Printer on fire" and message.client_ip == "127.0.0.1"
    assert message.text.replace("\r\n", "\n") == "It burns.\n.hidden dot\n"
    until(lambda: "status=sent" in postfix.log(), "Postfix knows that it is delivered")
    assert until(lambda: not postfix.queue(), "nothing waits") is True
    assert TOKEN not in postfix.log()


def test_a_mail_to_several_is_a_message_for_each(house: Instance, postfix: PostfixServer) -> None:
    odd = '"odd, one"@inbox.test'
    postfix.send(MAIL % b"many", "a@inbox.test", "b+detail@inbox.test", odd)
    found = arrived(house, b"many", 3)
    assert {each.recipient.address for each in found} == {"a@inbox.test", "b+detail@inbox.test", odd}


def test_a_bounce_has_the_null_sender(house: Instance, postfix: PostfixServer) -> None:
    postfix.send(MAIL % b"null", "help@inbox.test", sender="")
    (message,) = arrived(house, b"null")
    assert message.return_path.address == ""


def test_a_large_mail_with_a_file_comes_in_whole(house: Instance, postfix: PostfixServer) -> None:
    lines = b"".join(b"%064d\r\n" % number for number in range(60_000))
    head = MAIL % b"large"
    mail = head[: head.index(b"\r\n\r\n")] + b"\r\nContent-Type: application/x-table; name=t.txt\r\n\r\n" + lines
    postfix.send(mail, "help@inbox.test")
    (message,) = arrived(house, b"large")
    assert message.attachments[0].name == "t.txt" and message.attachments[0].size >= len(lines) - 2


def test_other_domains_are_not_taken(postfix: PostfixServer) -> None:
    with pytest.raises(Exception, match="Relay access denied"):
        postfix.send(MAIL % b"relay", "x@elsewhere.test")


def deferred(postfix: PostfixServer, reason: str) -> None:
    until(lambda: re.search(rf"status=deferred.*{reason}", postfix.log()), f"Postfix keeps the mail: {reason}", 30)


def test_what_is_answered_503_is_kept_and_sent_again(make_instance: Start) -> None:
    house = make_instance(ingress=ways_in(), limits={"min_free": "900000GB"})
    house.start(wait_for="/healthz")
    with PostfixServer.start(f"http://127.0.0.1:{house.port}/inbound/raw", TOKEN) as postfix:
        postfix.send(MAIL % b"later", "help@inbox.test")
        deferred(postfix, "answered 503.*the disk is nearly full")
        assert house.rows("SELECT 1 FROM messages") == [] and len(postfix.queue()) == 1
        house.stop()
        postfix.send(MAIL % b"down", "help@inbox.test")
        deferred(postfix, "cannot be reached")
        del house.config["limits"]
        house.write_config()
        house.start()
        arrived(house, b"later")
        arrived(house, b"down")
        until(lambda: not postfix.queue(), "nothing waits", 30)
        assert len(house.rows("SELECT 1 FROM messages")) == 2, "each once"


def test_a_wrong_token_keeps_the_mail_and_a_mail_that_is_too_large_bounces(
    start_instance: Start, tmp_path: Path
) -> None:
    house = start_instance(ingress=ways_in(max_body="20kB"))
    with PostfixServer.start(f"http://127.0.0.1:{house.port}/inbound/raw", "not-" + TOKEN) as postfix:
        postfix.send(MAIL % b"token", "help@inbox.test")
        deferred(postfix, "answered 401")
        conf = postfix.folder / "pipe.conf"
        conf.write_text(conf.read_text().replace("not-", ""))
        arrived(house, b"token")
        postfix.send(MAIL % b"big" + b"x\r\n" * 20_000, "help@inbox.test")
        until(lambda: re.search(r"dsn=5\.3\.4, status=bounced", postfix.log()), "it bounces", 30)
        assert len(house.rows("SELECT 1 FROM messages")) == 1

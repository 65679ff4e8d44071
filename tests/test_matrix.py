"""The kind `matrix`: what its stand-in is asked. A real Synapse is in tests/integration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations.matrix import EVENT_LIMIT, KEY, file_message, message, plain_type, split
from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration, JobAttachment, Markup, Receipt, escape
from tests.kinds import SECRET, attachment, build, job
from tests.servers import Receiver, Reply
from tests.standins.matrix import ALIAS, ROOM, FakeMatrix, MatrixStandin, refusal


@pytest.fixture
def there(tmp_path: Path) -> Iterator[MatrixStandin]:
    with Receiver() as receiver:
        yield MatrixStandin(tmp_path, receiver)


@pytest.fixture
def server(there: MatrixStandin) -> FakeMatrix:
    fake: FakeMatrix = there.well
    return fake


def failure(chat: Integration, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        chat.deliver(job(**options))
    return caught.value


def inline(name: str, content_id: str) -> JobAttachment:
    plain = attachment(name, b"image", "image/png")
    return replace(plain, info=msgspec.structs.replace(plain.info, content_id=content_id, inline=True))


def test_a_message_and_its_thread(there: MatrixStandin, server: FakeMatrix) -> None:
    chat = there.integration()
    first = job(attachment("a.pdf", b"%PDF", "application/pdf"))
    item = chat.deliver(first)
    assert item.reference == f"{ROOM}/$event0"
    assert item.url == "https://matrix.to/#/!room%3Aexample.com/%24event0?via=example.com"
    assert chat.deliver(job(body="More", item=Receipt(item.reference))) == item
    opening, file, answer = [event["content"] for event in server.events]
    assert opening["body"] == "Printer on fire\n\nIt burns.\n\na footer" and opening["msgtype"] == "m.text"
    assert opening["formatted_body"].startswith("<p><strong>Printer on fire</strong></p>")
    assert opening[KEY] == f"{first.marker}-item" and file[KEY] == f"{first.marker}-attachment-0"
    assert file["info"] == {"mimetype": "application/pdf", "size": 4} and file["msgtype"] == "m.file"
    for content in (file, answer):
        assert content["m.relates_to"] == {
            "rel_type": "m.thread",
            "event_id": "$event0",
            "is_falling_back": True,
            "m.in_reply_to": {"event_id": "$event0"},
        }
    assert answer["body"] == "More\n\na footer"
    assert all(content["m.mentions"] == {} for content in (opening, file, answer))


def test_the_room_of_the_rule_and_its_alias(there: MatrixStandin, server: FakeMatrix) -> None:
    server.joined = ["!other:example.com", ROOM]
    receipt = there.integration().deliver(job(room="!other:example.com"))
    assert (receipt.reference or "").startswith("!other:example.com/$")
    chat = there.integration(room=None)
    for _ in range(2):
        assert (chat.deliver(job(room=ALIAS)).reference or "").startswith(f"{ROOM}/$")
    assert len([each for each in there.receiver.requests if "/directory/" in each.path]) == 1
    nowhere = failure(chat, room="#nowhere:example.com")
    assert nowhere.permanent and "M_NOT_FOUND: Room alias not found" in nowhere.reason
    assert "names a room" in failure(chat).reason


def test_a_room_must_look_like_one(there: MatrixStandin) -> None:
    with pytest.raises(ValueError, match="'ops' is neither an id"):
        there.integration(room="ops")


@pytest.mark.parametrize(
    ("state", "words"), [("closed", "This is closed now."), ("open", "This is open again."), ("", None)]
)
def test_states_are_told(there: MatrixStandin, state: str, words: str | None) -> None:
    chat = there.integration()
    item = chat.deliver(job())
    chat.deliver(job(item=item, state=state))
    (comment,) = there.comments()
    assert (words in comment) if words else "This is" not in comment


def test_images_stand_in_place(there: MatrixStandin, server: FakeMatrix) -> None:
    files = inline("in place.png", "x@y"), inline("elsewhere.png", "z@y")
    there.integration().deliver(job(*files, body="See ![the chart](cid:x%40y)!"))
    opening, file = [event["content"] for event in server.events]
    assert '<img src="mxc://example.com/m0" alt="the chart">' in opening["formatted_body"]
    assert "the chart" in opening["body"] and "cid:" not in opening["body"]
    assert (file["msgtype"], file["filename"]) == ("m.image", "elsewhere.png")


def test_refused_files_are_told(there: MatrixStandin, server: FakeMatrix) -> None:
    server.largest = 10
    there.integration().deliver(job(attachment("large.bin", bytes(11)), attachment("fine.txt")))
    assert "Attachment not taken: large.bin (11 bytes): it is too large" in there.texts()[0]
    assert there.attached() == ["fine.txt"]


def test_msgtype(there: MatrixStandin, server: FakeMatrix) -> None:
    there.integration(msgtype="notice").deliver(job())
    assert server.events[0]["content"]["msgtype"] == "m.notice"


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}, {}, 2.5),
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}, {"Retry-After": "3"}, 3),
        ({"errcode": "M_LIMIT_EXCEEDED"}, {"Retry-After": "3"}, 3),
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": -1}, {}, None),
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 10**12}, {}, 24 * 3600),
        (["x"], {}, None),
    ],
)
def test_limits(there: MatrixStandin, body: Any, headers: dict[str, str], seconds: float | None) -> None:
    there.receiver.answer = Reply.of(body, 429, **headers)
    error = failure(there.integration())
    assert error.limited and not error.permanent and not error.unknown and error.retry_after == seconds


def test_refusals(there: MatrixStandin, server: FakeMatrix) -> None:
    server.joined = []
    error = failure(there.integration())
    assert error.permanent and error.status == 403
    assert error.reason == f"Matrix refused the message: M_FORBIDDEN: User not in room {ROOM}"
    wrong = failure(there.integration(token=Secret("wrong")))
    assert wrong.permanent and "M_UNKNOWN_TOKEN" in wrong.reason
    assert failure(there.integration(), item=Receipt("17")).permanent


@pytest.mark.parametrize("status", [500, 502])
def test_a_failed_upload_made_nothing_that_is_seen(there: MatrixStandin, status: int) -> None:
    there.receiver.answer = lambda request: Reply(status)
    with pytest.raises(DeliveryError) as caught:
        there.integration().deliver(job(attachment()))
    assert not caught.value.unknown and not caught.value.permanent


def test_long_after_the_room_is_looked_at(there: MatrixStandin, server: FakeMatrix) -> None:
    chat = there.integration()
    once = job(attachment())
    old = replace(once, message=msgspec.structs.replace(once.message, received_at=1_700_000_000_000))
    first = chat.deliver(old)
    server.transactions.clear()  # the server forgot them
    for _ in range(150):
        chat.deliver(job())
    before = len(server.events)
    assert chat.deliver(replace(old, uncertain=True)) == first and len(server.events) == before
    fresh = replace(job(), uncertain=True)
    forged = {**server.events[0], "sender": "@mallory:example.com"}
    forged["content"] = {**forged["content"], KEY: f"{fresh.marker}-item"}
    server.events.append(forged)
    fresh = replace(fresh, message=msgspec.structs.replace(fresh.message, received_at=1_700_000_000_000))
    chat.deliver(fresh)
    assert len(server.events) == before + 2, "what others say is not taken for it"


@pytest.mark.parametrize("text", ["x" * 200_000, "🔥 <&> " * 30_000, "wörd\n\n" * 20_000])
def test_every_event_fits(text: str) -> None:
    long = job(title="t" * 1000, body=escape(Markup.MARKDOWN, text))
    content = message(long, build("matrix", Path(), url="http://h.example", token=Secret(SECRET)).options, {}, [])
    assert len(json.dumps(content, ensure_ascii=False).encode()) <= EVENT_LIMIT
    assert "on the page of this mail" in content["body"] and content["body"].endswith("a footer")


def test_nothing_of_a_mail_acts(there: MatrixStandin, server: FakeMatrix) -> None:
    text = "@room @bob:example.com <b>bold</b> <img src=x> [x](javascript:alert(1)) !room:example.com"
    there.integration().deliver(job(title=text, body=escape(Markup.MARKDOWN, text)))
    content = server.events[0]["content"]
    assert "<b>" not in content["formatted_body"] and "<img" not in content["formatted_body"]
    assert "href" not in content["formatted_body"] and content["m.mentions"] == {}


def test_content_types_of_a_mail_get_into_no_header() -> None:
    assert plain_type("image/png") == "image/png"
    assert plain_type("text/plain\r\nX: y") == "application/octet-stream"
    assert file_message(attachment("v.mp4", b"", "video/mp4"), "mxc://a/b")["msgtype"] == "m.video"


def test_references() -> None:
    assert split(Receipt("!a:b.example/$c")) == ("!a:b.example", "$c")
    assert split(Receipt("!v12room/$c")) == ("!v12room", "$c")
    for wrong in (None, "", "17", "!a:b", "#a:b/$c"):
        with pytest.raises(DeliveryError):
            split(Receipt(wrong))


def test_check(there: MatrixStandin, server: FakeMatrix) -> None:
    assert there.integration(room=ALIAS).check() == [
        "known as @postroom:example.com",
        f"is in the room '{ALIAS}'",
    ]
    server.encrypted = True
    assert "encrypted" in there.integration().check()[-1]
    server.joined = []
    assert "must be invited and join" in there.integration().check()[-1]
    assert there.integration(room=None).check() == ["known as @postroom:example.com"]
    there.receiver.answer = refusal(401, "M_UNKNOWN_TOKEN", "no")
    with pytest.raises(DeliveryError, match="M_UNKNOWN_TOKEN"):
        there.integration().check()

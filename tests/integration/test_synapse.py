"""The kind `matrix` against a real Synapse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration, Markup, Receipt, escape
from tests.integration.chat_servers import Synapse
from tests.kinds import attachment, build, job
from tests.servers import CutProxy

ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8d"
    "b00000000049454e44ae426082"
)


@dataclass(frozen=True)
class Home:
    """A homeserver with the user who speaks, and one whose messages are limited."""

    synapse: Synapse
    token: str
    limited: str


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with Synapse.start(tmp_path_factory.mktemp("chats")) as synapse:
        admin = synapse.user("admin", admin=True)
        token = synapse.user("postroom")
        synapse.unlimited("postroom", admin)
        yield Home(synapse, token, synapse.user("hasty"))


@pytest.fixture
def room(home: Home) -> str:
    return home.synapse.room(home.token)


@pytest.fixture
def chat(home: Home, room: str, tmp_path: Path) -> Integration:
    return destination(home, tmp_path, room=room)


def destination(home: Home, folder: Path, **options: Any) -> Integration:
    return build("matrix", folder, timeout=30, **({"url": home.synapse.url, "token": Secret(home.token)} | options))


def test_says_it_and_answers_in_the_thread(home: Home, room: str, chat: Integration) -> None:
    item = chat.deliver(job(body="It **burns**: <https://x.example/?a=b&c>"))
    reply = chat.deliver(job(body="Still burning ✓", item=Receipt(item.reference), state="closed"))
    assert reply == item
    first, second = home.synapse.messages(home.token, room)
    assert item.reference == f"{room}/{first['event_id']}"
    assert first["content"]["body"] == "Printer on fire\n\nIt burns: https://x.example/?a=b&c\n\na footer"
    assert "<strong>Printer on fire</strong>" in first["content"]["formatted_body"]
    assert '<a href="https://x.example/?a=b&amp;c">' in first["content"]["formatted_body"]
    relation = second["content"]["m.relates_to"]
    assert (relation["rel_type"], relation["event_id"]) == ("m.thread", first["event_id"])
    assert second["content"]["body"].startswith("Still burning ✓") and "closed" in second["content"]["body"]
    path = f"/_matrix/client/v1/rooms/{room}/relations/{first['event_id']}/m.thread"
    assert [each["event_id"] for each in home.synapse.call("GET", path, home.token)["chunk"]] == [second["event_id"]]


def test_files_and_images_come_back_as_they_were(home: Home, room: str, chat: Integration) -> None:
    data = bytes(range(256)) * 2000
    image, shown = attachment("bild ü.png", PNG, "image/png"), attachment("in place.png", PNG, "image/png")
    shown = replace(shown, info=msgspec.structs.replace(shown.info, content_id="x@y", inline=True))
    chat.deliver(job(attachment("a.bin", data, "application/x-odd"), image, shown, body="See ![chart](cid:x%40y)"))
    message, *files = home.synapse.messages(home.token, room)
    assert [(each["content"]["msgtype"], each["content"]["filename"]) for each in files] == [
        ("m.file", "a.bin"), ("m.image", "bild ü.png"),
    ]  # fmt: skip
    assert home.synapse.media(home.token, files[0]["content"]["url"]) == ("application/x-odd", data)
    assert home.synapse.media(home.token, files[1]["content"]["url"]) == ("image/png", PNG)
    _, _, rest = message["content"]["formatted_body"].partition('<img src="')
    assert home.synapse.media(home.token, rest.partition('"')[0]) == ("image/png", PNG)


def test_a_file_that_is_too_large_is_told(home: Home, room: str, chat: Integration) -> None:
    chat.deliver(job(attachment("large.bin", bytes(1_200_000)), attachment("fine.txt")))
    message, file = home.synapse.messages(home.token, room)
    assert "Attachment not taken: large.bin (1200000 bytes): it is too large" in message["content"]["body"]
    assert file["content"]["filename"] == "fine.txt"


def test_a_repeat_makes_no_second_event(home: Home, room: str, chat: Integration) -> None:
    once = job(attachment())
    first = chat.deliver(once)
    assert chat.deliver(once) == first
    assert len(home.synapse.messages(home.token, room)) == 2


@pytest.mark.parametrize("instead", [b"", ERROR_500], ids=["connection closed", "500"])
def test_answers_lost(home: Home, room: str, tmp_path: Path, instead: bytes) -> None:
    steps: dict[str, str] = {}
    once = job(attachment(), steps=steps, record=steps.__setitem__)
    with CutProxy(home.synapse.port) as proxy:
        chat = destination(home, tmp_path, room=room, url=proxy.url)
        proxy.instead = instead
        for at in ("upload", "-item", "-attachment-0"):
            proxy.cut = lambda method, path, at=at: at in path
            with pytest.raises(DeliveryError) as caught:
                chat.deliver(once)
            assert caught.value.unknown == (at != "upload") and not caught.value.permanent
        proxy.cut = lambda method, path: False
        receipt = chat.deliver(once)
    message, file = home.synapse.messages(home.token, room)
    assert receipt.reference == f"{room}/{message['event_id']}" and file["content"]["filename"] == "a.txt"


def test_with_another_token_the_room_is_looked_at(home: Home, room: str, chat: Integration, tmp_path: Path) -> None:
    """Transactions belong to a token: what was sent with an earlier one is found by its key."""
    once = job(attachment())
    receipt = chat.deliver(once)
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "postroom"},
        "password": "a password",
    }
    token = home.synapse.call("POST", "/_matrix/client/v3/login", json=login)["access_token"]
    other = destination(home, tmp_path, room=room, token=Secret(token))
    for _ in range(120):  # more than a page
        other.deliver(job())
    long_ago = msgspec.structs.replace(once.message, received_at=1_000_000_000_000)
    assert other.deliver(replace(once, message=long_ago, uncertain=True)) == receipt
    assert len(home.synapse.messages(home.token, room)) == 122


def test_the_real_limit(home: Home, tmp_path: Path) -> None:
    chat = destination(home, tmp_path, token=Secret(home.limited), room=home.synapse.room(home.limited))
    error: DeliveryError | None = None
    for _ in range(10):
        try:
            chat.deliver(job())
        except DeliveryError as raised:
            error = raised
            break
    assert error is not None and error.status == 429 and error.limited
    assert not error.permanent and not error.unknown
    assert error.retry_after is not None and 0 < error.retry_after < 60


def test_errors_of_the_real_server(home: Home, room: str, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"token": Secret("wrong"), "room": room}, "M_UNKNOWN_TOKEN"),
        ({"room": "!nowhere:test.local"}, "M_FORBIDDEN"),
        ({"room": "#nowhere:test.local"}, "M_NOT_FOUND"),
        ({"room": None}, "names a room"),
    ]
    for options, words in cases:
        with pytest.raises(DeliveryError, match=words) as caught:
            destination(home, tmp_path, **options).deliver(job())
        assert caught.value.permanent and not caught.value.unknown


def test_a_long_text_fits(home: Home, room: str, chat: Integration) -> None:
    chat.deliver(job(body=escape(Markup.MARKDOWN, "wörd & <tag> " * 20_000)))
    (message,) = home.synapse.messages(home.token, room)
    assert "on the page of this mail" in message["content"]["body"] and message["content"]["body"].endswith("a footer")


def test_check_tells_of_the_real_server(home: Home, tmp_path: Path) -> None:
    home.synapse.room(home.token, alias="ops")
    assert destination(home, tmp_path, room="#ops:test.local").check() == [
        "known as @postroom:test.local",
        "is in the room '#ops:test.local'",
    ]
    stranger = destination(home, tmp_path, room="#ops:test.local", token=Secret(home.limited))
    assert "is not in the room" in stranger.check()[-1]
    item = destination(home, tmp_path, room="#ops:test.local").deliver(job())
    assert item.url is not None and item.url.startswith("https://matrix.to/#/!")

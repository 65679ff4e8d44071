"""What the kinds `file`, `webhook` and `redmine` do beyond the contract."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import html
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.exchange import DeliveryError
from postroom.fields import Bytes, Secret
from tests.kinds import SECRET, attachment, build, job
from tests.servers import Receiver, Reply, Request
from tests.standins.redmine import FakeRedmine


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


# file


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "delivered.jsonl").read_bytes().split(b"\n")[:-1]]


def test_file_line(tmp_path: Path) -> None:
    delivery = job(attachment(), title="Grüße\n\u2028", body='"quoted"\n{"key":"x"}')
    receipt = build("file", tmp_path).deliver(delivery)
    (line,) = lines(tmp_path)
    assert receipt.reference == "delivered.jsonl:0"
    assert (line["key"], line["title"], line["body"]) == (delivery.key, "Grüße\n\u2028", '"quoted"\n{"key":"x"}')
    assert line["message"]["from"] == "jo@example.org" and line["message_url"].endswith(delivery.message.id)
    assert line["attachments"] == [{"name": "a.txt", "size": 5, "sha256": hashlib.sha256(b"hello").hexdigest()}]
    assert (tmp_path / "delivered.jsonl").stat().st_mode & 0o077 == 0


def test_file_find_in_a_large_file(tmp_path: Path) -> None:
    file = build("file", tmp_path)
    jobs = [job(body="x" * 700_000) for _ in range(6)]
    receipts = [file.deliver(each) for each in jobs]
    assert [file.find(each) for each in jobs] == receipts
    forged = job(body='\n{"key":"' + "0" * 36 + '"')
    file.deliver(forged)
    assert file.find(job(key="0" * 36)) is None


def test_file_find_across_a_block_border(tmp_path: Path) -> None:
    file = build("file", tmp_path)
    path = tmp_path / "delivered.jsonl"
    wanted = job()
    line = b'{"key":"' + wanted.key.encode() + b'","x":1}\n'
    for shift in range(60):
        after = b"y" * ((1 << 20) - len(line) + shift - 1) + b"\n"
        path.write_bytes(b'{"key":"other"}\n' + line + after)
        found = file.find(wanted)
        assert found is not None and found.reference == "delivered.jsonl:16", shift


@pytest.mark.parametrize(
    ("torn", "kept"),
    [
        (b'{"key":"017', b""),
        (b"{", b""),
        (b'{"key":"1"}', b'{"key":"1"}\n'),
        (b"a line of someone else", b"a line of someone else\n"),
    ],
)
def test_file_torn_last_line(tmp_path: Path, torn: bytes, kept: bytes) -> None:
    path = tmp_path / "delivered.jsonl"
    path.write_bytes(b'{"key":"0"}\n' + torn)
    delivery = job()
    build("file", tmp_path).deliver(delivery)
    content = path.read_bytes()
    assert content.startswith(b'{"key":"0"}\n' + kept + b'{"key":"' + delivery.key.encode())
    assert content.endswith(b"}\n")


def test_file_torn_line_is_not_found(tmp_path: Path) -> None:
    delivery = job()
    (tmp_path / "delivered.jsonl").write_bytes(b'{"key":"' + delivery.key.encode() + b'","ti')
    assert build("file", tmp_path).find(delivery) is None


def test_file_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = build("file", tmp_path)
    file.deliver(job())
    before = (tmp_path / "delivered.jsonl").read_bytes()
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DeliveryError, match="the disk is full") as caught:
        file.deliver(job())
    assert not caught.value.permanent and not caught.value.unknown
    assert (tmp_path / "delivered.jsonl").read_bytes() == before


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "delivered.jsonl").mkdir()
    with pytest.raises(DeliveryError, match="cannot be written") as caught:
        build("file", tmp_path).deliver(job())
    assert not caught.value.permanent and not caught.value.unknown


def test_file_many_writers_and_rotation(tmp_path: Path) -> None:
    file = build("file", tmp_path)
    path = tmp_path / "delivered.jsonl"

    def run() -> None:
        for _ in range(25):
            file.deliver(job(body="x" * 5000))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    path_was_there = any(path.exists() for _ in range(100_000))
    path.rename(tmp_path / "rotated.jsonl")
    for thread in threads:
        thread.join()
    written = (tmp_path / "rotated.jsonl").read_text() + (path.read_text() if path.exists() else "")
    assert path_was_there and len({json.loads(line)["key"] for line in written.splitlines()}) == 100


# webhook


def verify(request: Request, secrets: list[bytes]) -> bool:
    """As a receiver does it, written from the specification."""
    said = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    given = request.headers["webhook-signature"].split(" ")
    wanted = ["v1," + base64.b64encode(hmac.new(secret, said, "sha256").digest()).decode() for secret in secrets]
    return given == wanted


def test_webhook_published_vector() -> None:
    """The example of the Standard Webhooks libraries."""
    from integrations.webhook import _key, signed_headers

    key = _key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_webhook_signature_and_rotation(receiver: Receiver, tmp_path: Path) -> None:
    secrets = [Secret("whsec_" + base64.b64encode(b"new key").decode()), Secret("old key, any text")]
    hook = build("webhook", tmp_path, url=receiver.url, secret=secrets, method="PUT", headers={"X-A": Secret("1")})
    delivery = job()
    hook.deliver(delivery)
    hook.deliver(delivery)
    first, second = receiver.requests
    assert verify(first, [b"new key", b"old key, any text"]) and first.method == "PUT"
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery.key
    assert first.headers["x-a"] == "1" and first.headers["content-type"] == "application/json"
    build("webhook", tmp_path, url=receiver.url).deliver(job())
    assert "webhook-signature" not in receiver.requests[-1].headers


def test_webhook_default_document(receiver: Receiver, tmp_path: Path) -> None:
    delivery = job(attachment())
    build("webhook", tmp_path, url=receiver.url).deliver(delivery)
    document = receiver.requests[0].json()
    message = document["message"]
    assert set(document) == {
        "id", "key", "rule", "title", "body", "footer", "message", "message_url", "reply_address", "answer"
    }  # fmt: skip
    assert document["key"] == delivery.key and document["id"] == message["id"] == delivery.message.id
    assert message["received_at"] == "2026-11-18T11:06:40.000Z" and message["date"] is None
    assert message["from"] == {"address": "jo@example.org", "name": "Jo Ünal"}
    assert message["headers"] == [["From", "Jo <jo@example.org>"], ["X-A", "1"], ["X-A", "2"]]
    assert message["references"] == ["<0@example.org>"] and message["html"] is None
    assert set(message["attachments"][0]) == {"name", "content_type", "size", "sha256"}


def test_webhook_inlines_attachments_to_a_limit(receiver: Receiver, tmp_path: Path) -> None:
    options = {"attachments": "inline", "attachments_limit": Bytes(10)}
    delivery = job(attachment("a", b"12345"), attachment("b", b"123456"), attachment("c", b"12345"))
    build("webhook", tmp_path, url=receiver.url, **options).deliver(delivery)
    listed = receiver.requests[0].json()["message"]["attachments"]
    assert [each.get("content") for each in listed] == ["MTIzNDU=", None, "MTIzNDU="]


@pytest.mark.parametrize("data", [{"a": [1, None, {"b": "ü"}]}, [], {}, "text", 0])
def test_webhook_data_replaces_the_document(receiver: Receiver, tmp_path: Path, data: Any) -> None:
    build("webhook", tmp_path, url=receiver.url).deliver(job(data=data))
    assert receiver.requests[0].json() == data


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_webhook_any_2xx(receiver: Receiver, tmp_path: Path, status: int) -> None:
    receiver.answer = Reply(status)
    build("webhook", tmp_path, url=receiver.url).deliver(job())


def test_webhook_gone(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answer = Reply(410)
    with pytest.raises(DeliveryError) as caught:
        build("webhook", tmp_path, url=receiver.url).deliver(job())
    assert caught.value.permanent and caught.value.status == 410


# redmine, where a real one cannot be made to do it


def test_redmine_remembers_names(receiver: Receiver, tmp_path: Path) -> None:
    fake = FakeRedmine()
    receiver.answer = fake
    redmine = build("redmine", tmp_path, url=receiver.url + "/", api_key=Secret(SECRET), project="inbox")
    for _ in range(3):
        redmine.deliver(job(tracker="Bug"))
    assert [request.path for request in receiver.requests].count("/trackers.json") == 1
    fake.names["trackers"].append({"id": 9, "name": "New one"})
    redmine.deliver(job(tracker="new one"))
    assert fake.issues[4]["tracker_id"] == 9


@pytest.mark.parametrize(
    ("status", "permanent", "unknown"),
    [(413, None, None), (500, False, False), (429, False, False), (403, True, False)],
)
def test_redmine_upload_faults(
    receiver: Receiver, tmp_path: Path, status: int, permanent: bool | None, unknown: bool | None
) -> None:
    fake = FakeRedmine()
    receiver.answer = lambda request: Reply(status) if request.path == "/uploads.json" else fake(request)
    redmine = build("redmine", tmp_path, url=receiver.url, api_key=Secret(SECRET), project="inbox")
    steps: dict[str, str] = {}
    delivery = job(attachment(), record=steps.__setitem__)
    if permanent is None:
        redmine.deliver(delivery)
        assert "a.txt (5 bytes): it is too large" in html.unescape(fake.issues[1]["description"])
        assert steps.pop("item") == "1" and len(steps) == 1
        assert redmine.deliver(job(attachment(), steps=dict(steps))).reference == "2"
        assert "a.txt" in fake.issues[2]["description"]
        return
    with pytest.raises(DeliveryError) as caught:
        redmine.deliver(delivery)
    assert (caught.value.permanent, caught.value.unknown) == (permanent, unknown)
    assert not steps and not fake.issues


@pytest.mark.parametrize("reference", ["", None, "APP-1", "1/../2", "²"])
def test_redmine_item_that_is_no_issue(receiver: Receiver, tmp_path: Path, reference: str | None) -> None:
    from postroom.integration import Receipt

    redmine = build("redmine", tmp_path, url=receiver.url, api_key=Secret(SECRET))
    with pytest.raises(DeliveryError, match="is no issue of Redmine"):
        redmine.deliver(job(item=Receipt(reference)))
    assert not receiver.requests

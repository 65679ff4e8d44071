"""The way in for Mailgun: forms taken apart and raw, signatures, timestamps, tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.corpus import needs_recorded
from tests.waysin import Answer, Desk, Recorded, multipart, named, recorded

KEY = "mailgun-key-Zq8Lw2"
OLD = "mailgun-old-Xr5Tn1"
PARSED: tuple[tuple[str, str], ...] = (
    ("recipient", "help@in.example.com"),
    ("sender", "jo@example.org"),
    ("subject", "Drücker brennt"),
    ("from", "Jo <jo@example.org>"),
    ("body-plain", "Es brennt.\r\n"),
    ("body-html", "<p>Es brennt.</p>"),
    ("message-headers", json.dumps([["Message-Id", "<a1@example.org>"], ["From", '"Doe, Jo" <jo@example.org>'],
                                    ["To", "help@in.example.com"], ["Subject", "=?utf-8?q?Dr=C3=BCcker_brennt?="],
                                    ["Date", "Fri, 1 May 2026 10:00:00 +0000"]])),
)  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.add("mailgun", f"signing_key: [{KEY}, {OLD}]")
    return made


def signed(token: str = "t" * 50, *, age: float = 0, key: str = KEY) -> tuple[tuple[str, str], ...]:
    timestamp = str(int(time.time() - age))
    made = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return (("timestamp", timestamp), ("token", token), ("signature", made))


def post(desk: Desk, *fields: tuple[Any, ...], name: str = "mailgun") -> Answer:
    return desk.post(name, *multipart(*fields))


def resigned(each: Recorded) -> bytes:
    """The recorded form, signed now with our key."""
    known = dict(signed(token=f"{each.number:050d}"))

    def put(name: str, value: str) -> Callable[[bytes], bytes]:
        pattern = re.compile(rb'(name="' + name.encode() + rb'"\r?\n\r?\n)[^\r\n]*')
        return lambda body: pattern.sub(rb"\g<1>" + value.encode(), body)

    body = each.body
    for name, value in known.items():
        body = put(name, value)(body)
    return body


def test_a_form_becomes_a_message(desk: Desk) -> None:
    files = (("attachment-1", b"\x00\x01PDF", "Übersicht.pdf", "application/pdf"),
             ("attachment-2", b"PNG", "logo.png", "image/png"))  # fmt: skip
    assert post(desk, *PARSED, *signed(), ("content-id-map", '{"<logo@x>": "attachment-2"}'), *files).messages
    message, payload = desk.only()
    assert (message.recipient.address, message.return_path.address) == ("help@in.example.com", "jo@example.org")
    assert message.from_ is not None and message.from_.name == "Doe, Jo"
    assert (message.subject, message.text, message.html) == ("Drücker brennt", "Es brennt.\r\n", "<p>Es brennt.</p>")
    assert message.message_id == "<a1@example.org>" and message.header("subject") == "Drücker brennt"
    told = [(each.name, each.content_type, each.content_id, each.inline) for each in message.attachments]
    assert told == [("Übersicht.pdf", "application/pdf", "", False), ("logo.png", "image/png", "logo@x", True)]
    assert desk.content(message, 0) == b"\x00\x01PDF"
    kept = json.loads(payload)
    assert kept["attachment-1"]["content"] == "sha256:" + hashlib.sha256(b"\x00\x01PDF").hexdigest()
    assert kept["signature"] == "***" and kept["subject"] == "Drücker brennt"


def test_a_urlencoded_form_is_taken(desk: Desk) -> None:
    body = urlencode([*PARSED, *signed()]).encode()
    assert desk.post("mailgun", body, "application/x-www-form-urlencoded").messages
    assert desk.only()[0].subject == "Drücker brennt"


def test_a_raw_mail_is_read_whole_and_its_files_are_named_by_hash(desk: Desk) -> None:
    content = bytes(range(256)) * 8
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    source = (
        b"From: jo@example.org\r\nMessage-ID: <r1@x>\r\nSubject: Raw\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nText.\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + encoded + b"\r\n--b--\r\n"
    )  # fmt: skip
    fields = (("recipient", "help@in.example.com"), ("sender", ""), ("body-mime", source))
    assert post(desk, *fields, *signed()).messages
    message, payload = desk.only()
    assert (message.subject, message.text, message.return_path.address) == ("Raw", "Text.", "")
    assert desk.content(message, 0) == content
    kept = json.loads(payload)["body-mime"]
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" in kept and "Subject: Raw" in kept
    assert len(kept) < 600


@pytest.mark.parametrize(
    "fields",
    [
        signed(key="another"),
        (("timestamp", "1"), ("token", "x")),
        (*signed()[:2], ("signature", "")),
        (("timestamp", ""), ("token", ""), ("signature", hmac.new(KEY.encode(), b"", hashlib.sha256).hexdigest())),
        (*signed()[:2], ("signature", "ä")),
        (("timestamp", str(int(time.time()) + 1)), *signed()[1:]),
    ],
)
def test_a_wrong_signature_is_401(desk: Desk, fields: tuple[tuple[str, str], ...]) -> None:
    answer = post(desk, *PARSED, *fields)
    assert answer.status == 401 and "signature" in answer.document["error"]
    assert desk.stored() == [] and desk.count("tickets") == 0


def test_either_key_is_taken_while_they_change(desk: Desk) -> None:
    assert post(desk, *PARSED, *signed(key=OLD)).messages


@pytest.mark.parametrize("age", [9 * 3600 + 60, 30 * 86400, -3600])
def test_a_stale_timestamp_is_401(desk: Desk, age: float) -> None:
    answer = post(desk, *PARSED, *signed(age=age))
    assert answer.status == 401 and "stale" in answer.document["error"]


def test_an_attempt_of_eight_hours_later_is_still_taken(desk: Desk) -> None:
    # Mailgun signs once, and sends again for eight hours.
    assert post(desk, *PARSED, *signed(age=8 * 3600)).messages


def test_the_age_is_a_setting(desk: Desk) -> None:
    desk.add("mailgun", f"signing_key: {KEY}\nmax_age: 5m", name="strict")
    assert post(desk, *PARSED, *signed(age=360), name="strict").status == 401
    assert post(desk, *PARSED, *signed(age=240), name="strict").messages


def test_a_token_is_good_for_one_document(desk: Desk) -> None:
    ticket = signed("a" * 50)
    first = post(desk, *PARSED, *ticket)
    forged = post(desk, *PARSED[1:], ("recipient", "boss@in.example.com"), *ticket)
    assert forged.status == 401 and "another document" in forged.document["error"]
    again = post(desk, *PARSED, *ticket)
    assert again.messages == first.messages, "the answer may have been lost: the same request is answered the same"
    assert len(desk.stored()) == 1
    assert post(desk, *PARSED[1:], ("recipient", "boss@in.example.com"), *signed("b" * 50)).messages


def test_a_replay_with_other_files_is_refused(desk: Desk) -> None:
    ticket = signed()
    post(desk, *PARSED, *ticket, ("attachment-1", b"one", "a.txt", "text/plain"))
    assert post(desk, *PARSED, *ticket, ("attachment-1", b"two", "a.txt", "text/plain")).status == 401


def test_a_large_replay_is_refused_too(desk: Desk) -> None:
    ticket, large = signed(), ("attachment-1", b"x" * 600_000, "a.bin", "application/octet-stream")
    assert post(desk, *PARSED, *ticket, large).messages
    assert post(desk, *PARSED, *ticket, large, ("attachment-2", b"y", "b", "")).status == 401


def test_of_two_at_the_same_moment_one_document_has_the_token(desk: Desk) -> None:
    for number in range(10):
        ticket = signed(f"{number:050d}")
        addresses = [f"{name}{number}@in.example.com" for name in ("a", "b", "c", "d")]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda to: post(desk, *PARSED[1:], ("recipient", to), *ticket), addresses))  # noqa: B023
        assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]
        assert len(desk.stored()) == number + 1


def test_an_attempt_that_failed_has_used_up_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = signed()
    real = desk.receiver._insert_all

    def fail(db: sqlite3.Connection, new: Any) -> Any:
        real(db, new)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(desk.receiver, "_insert_all", fail)
    assert post(desk, *PARSED, *ticket).status == 503
    monkeypatch.setattr(desk.receiver, "_insert_all", real)
    assert desk.count("tickets") == 0
    assert post(desk, *PARSED, *ticket).messages


def test_tickets_are_forgotten_once_their_age_refuses_them(desk: Desk) -> None:
    post(desk, *PARSED, *signed())
    desk.writer.run(lambda db: db.execute("UPDATE tickets SET expires_at = 5"))
    post(desk, *PARSED[1:], ("recipient", "other@in.example.com"), *signed("c" * 50))
    assert desk.count("tickets") == 1


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ((("event", "delivered"),), "event"),
        ((("attachments", '[{"url": "https://storage.mailgun.net/x"}]'),), "store()"),
        ((("message-headers", "{no json"),), "JSON"),
    ],
)
def test_what_is_no_mail_is_406_of_which_mailgun_knows_to_stop(desk: Desk, fields: Any, told: str) -> None:
    answer = post(desk, *fields, *signed())
    assert answer.status == 406 and told in answer.document["error"]


def test_a_form_that_breaks_off_is_406_and_no_form_415(desk: Desk) -> None:
    body, kind = multipart(*PARSED, *signed())
    assert desk.post("mailgun", body[:-200], kind).status == 406
    assert desk.post("mailgun", body, "multipart/form-data").status == 406
    assert desk.post("mailgun", b"{}", "application/json").status == 415
    assert desk.stored() == []


@needs_recorded
@pytest.mark.parametrize("each", recorded("mailgun"), ids=lambda each: each.name)
def test_recorded_requests(desk: Desk, each: Recorded) -> None:
    assert desk.post("mailgun", each.body, each.content_type).status in (401, 415), "its key is not ours"
    body = resigned(each)
    answer = desk.post("mailgun", body, each.content_type)
    refused = {"test_misconfigured_tracking": 415, "test_misconfigured_tracking_legacy": 406}
    refused["test_misconfigured_store_action"] = 406
    if each.name in refused:
        assert answer.status == refused[each.name]
        return
    (number,) = answer.messages
    message, payload = desk.only()
    assert message.id == number and json.loads(payload)["signature"] == "***"
    if each.name == "test_inbound_basics":
        assert message.recipient.address == "test@inbound.example.com"
        assert message.return_path.address == "envelope-from@example.org"
        assert message.spam_score == 1.7 and message.subject == "Test subject"
        assert [str(address) for address in message.to] == ["test@inbound.example.com", "other@example.com"]
        assert message.message_id == "<CAEPk3R+4Zr@mail.example.org>"
    elif each.name == "test_inbound_mime":
        assert (message.text, message.subject) == ("It's a body\N{HORIZONTAL ELLIPSIS}\n", "Raw MIME test")
    elif each.name == "test_attachments":
        assert [file.name for file in message.attachments] == ["test.txt", "image.png", "forwarded.msg"]
        assert message.attachments[1].content_id == "abc123" and message.attachments[1].inline
    elif each.name == "test_filtered_attachment_filenames":
        assert [file.name for file in message.attachments] == [""] * 8


@needs_recorded
def test_every_recorded_request_of_mailgun_is_there() -> None:
    assert len(recorded()) == 71 and len(recorded("mailgun")) == 8
    assert named("mailgun", "test_inbound_mime").body

"""What every way in owes: genuine requests alone, one message for each, no fault of ours whatever is sent."""

from __future__ import annotations

import ast
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.fields import Secret, specs
from postroom.ingress import KINDS
from tests.corpus import needs_recorded
from tests.senders import SECRET, SENDERS, Sender
from tests.waysin import Desk, multipart, recorded

FOLDER = Path(__file__).parent.parent / "postroom" / "ingress"
UNFIT = {"mailgun": 406, "postmark": 403}
"""Statuses by which a provider is told to stop; 400 for all others."""
BUSY = {"postal": 429}

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
PDF = b"--b\r\nContent-Type: application/pdf\r\n\r\n"
TO = ("envelope[to]", "a@b")

kinds = pytest.mark.parametrize("kind", SENDERS)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(autouse=True)
def well(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing of ours failed, and no secret is in the log."""
    caplog.set_level(logging.DEBUG)
    yield
    assert SECRET not in caplog.text
    assert "Traceback" not in caplog.text


def test_every_kind_is_tried_here() -> None:
    assert set(SENDERS) | {"socketlabs"} == set(KINDS)
    assert {kind: each.unfit for kind, each in KINDS.items() if each.unfit != 400} == UNFIT
    assert {kind: each.busy for kind, each in KINDS.items() if each.busy != 503} == BUSY


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_opens_with_its_contract(kind: str) -> None:
    told = ast.get_docstring(ast.parse((FOLDER / f"{kind}.py").read_text(encoding="utf-8"))) or ""
    assert "The contract" in told
    for status in (200, 401, KINDS[kind].unfit, 415):
        assert f"**{status}**" in told, f"{kind}: its docstring does not say when it answers {status}"
    assert KINDS[kind].summary.endswith(".")
    assert all(spec.doc for spec in specs(KINDS[kind].Options).values())


@kinds
def test_a_genuine_request_becomes_one_message(desk: Desk, kind: str) -> None:
    SENDERS[kind].start(desk, kind)
    answer = SENDERS[kind].post(desk, kind)
    (number,) = answer.messages
    message, payload = desk.only()
    assert message.id == number and message.ingress == kind
    assert message.recipient.address == "help@in.example.com"
    assert message.from_ is not None and message.from_.address == "jo@example.org"
    assert message.subject == "Printer on fire" and message.message_id == "<one@example.org>"
    assert message.text is not None and message.text.strip() == "It burns."
    assert message.header("Date") == "Fri, 1 May 2026 10:00:00 +0000"
    assert SECRET.encode() not in payload and b"It burns." in payload
    assert not message.notices


@kinds
def test_the_same_request_again_is_answered_the_same(desk: Desk, kind: str) -> None:
    SENDERS[kind].start(desk, kind)
    sample = SENDERS[kind].sample()
    first, again = (SENDERS[kind].post(desk, kind, sample) for _ in range(2))
    assert first.messages == again.messages
    assert len(desk.stored()) == 1


@kinds
def test_a_request_signed_anew_of_the_same_mail_is_absorbed(desk: Desk, kind: str) -> None:
    SENDERS[kind].start(desk, kind)
    first, again = (SENDERS[kind].post(desk, kind).messages for _ in range(2))
    assert first == again and len(desk.stored()) == 1


def forgeries(sender: Sender) -> Iterator[tuple[bytes, str, dict[str, str]]]:
    body, kind = sender.sample()
    headers = sender.sign(body, kind)
    if sender.forged is not None:
        yield sender.forged(body), kind, headers
        return
    yield body, kind, {name: value for name, value in headers.items() if name.startswith("X-Envelope")}
    for name in headers:
        if name.startswith("X-Envelope"):
            continue
        yield body, kind, {**headers, name: ""}
        yield body, kind, {**headers, name: "nothing of ours"}
        yield body, kind, {**headers, name: "v1,\u00e4\u00f6 \x7f"}
        yield body, kind, {**headers, name: "Basic !!!"}
        yield body, kind, {**headers, name: "Bearer "}
        yield body, kind, {**headers, name: "Basic " + "A" * 100_000}
    if not any(name in ("Authorization", "X-MessageSystems-Webhook-Token") for name in headers):
        yield (
            body.replace(b"burns", b"purrs").replace(b"mail-1", b"mail-2").replace(b"base64", b"BASE64"),
            kind,
            headers,
        )


@kinds
def test_what_is_not_signed_is_401_and_leaves_no_trace(desk: Desk, kind: str) -> None:
    made = SENDERS[kind].start(desk, kind)
    tried = 0
    for body, content_type, headers in forgeries(SENDERS[kind]):
        answer = desk.post(kind, body, content_type, headers)
        assert answer.status == 401, (answer, headers)
        assert SECRET not in str(answer.document)
        tried += 1
    assert tried and desk.stored() == []
    assert desk.refusals.lately()[kind].count == tried
    if kind in ("resend", "brevo"):
        assert made.http.asked == [], "nothing is fetched for strangers"  # type: ignore[attr-defined]


HOSTILE: list[bytes] = [
    b"", b"\0", b"null", b"[]", b"{}", b"5", b'"text"', b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe\xfd", b"{",
    b'{"items": 5, "data": [], "Message": {}, "Headers": [], "envelope": 7, "headers": "x", "Attachments": {}}',
    b'{"items": [5, null, {"Headers": 7, "Attachments": [{"DownloadToken": []}]}]}',
    b'[{"msys": {"relay_message": 1}}]',
    b'[5, {"msys": {"relay_message": {"content": {"email_rfc822": 7}}}}]',
    b'{"type": "email.received", "data": {"email_id": "../../x"}}', b'{"type": "email.received", "data": 7}',
    b'{"type": "inbound.message", "data": {"raw": 7}}',
    b'{"type": "inbound.message", "data": {"raw": "", "sender": 1}}',
    b'{"message": [], "base64": true}', b'{"message": "!!", "base64": true}', b'{"RecordType": {"a": 1}}',
    b'{"RawEmail": 7}', b'{"Headers": {"a": 1}, "Recipient": 5}', b'{"Headers": 1, "Parts": [{"ContentRef": []}]}',
    b'{"Recipient": "a@b", "Attachment1": "eA==", "InlineAttachment2": 5}',
    b'{"Recipient": "a@b", "Attachment1": "eA=="}',
    b'{"TopicArn": [], "Type": 5}', b'{"NaN": NaN, "x": 1e999, "y": ' + b"9" * 5_000 + b"}",
    b'{"envelope": {"to": 5, "recipients": {"a": {}}}, "headers": {"a": [1, {}]}, "attachments": [{"content": 5}]}',
]  # fmt: skip
FORMS = [
    multipart(), multipart(("", "")), multipart(("mandrill_events", "{")), multipart(("mandrill_events", "[[]]")),
    multipart(("email", "")), multipart(("headers", b"\xff"), ("charsets", "[1]"), ("envelope", "7")),
    multipart(("envelope", '{"to": 7, "from": []}'), ("from", "x"), ("content-ids", "[1]")),
    multipart(*[(f"a[{n}][b]", "x") for n in range(1_000)]), multipart(("headers[a][b][c][d][e][f][g]", "x")),
    multipart(("headers", "x"), ("headers[a]", "y"), ("envelope[to]", "z")),
    multipart(*[("x", "y")] * 5_000), (b"--x\r\n", "multipart/form-data; boundary=x"),
    (b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    (b"--x\r\n\r\nv\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    multipart(*[("a" + ";b=c" * 20_000, "x")] * 20), (b"x", "multipart/form-data"),
    (b"--x\r\nA: " + b"b" * 500_000, "multipart/form-data; boundary=x"),
    (b"x", "multipart/form-data; boundary=" + "b" * 5_000), (b"a=b&" * 10_000, "application/x-www-form-urlencoded"),
    (b"%ff%00=%", "application/x-www-form-urlencoded"), (b"x", "image/png"), (b"x", "\u00e4; \xff"), (b"", ""),
]  # fmt: skip


@kinds
def test_hostile_bodies_of_the_provider_itself_are_no_fault_of_ours(desk: Desk, kind: str) -> None:
    sender = SENDERS[kind]
    sender.start(desk, kind)
    content_type = sender.sample()[1]
    for body, kind_of_body in [*((body, content_type) for body in HOSTILE), *FORMS]:
        for headers in (sender.sign(body, kind_of_body), {}):
            answer = desk.post(kind, body, kind_of_body, headers)
            assert answer.status in (200, 400, 401, 403, 406, 413, 415), (answer, body[:80], kind_of_body[:80])
            if not headers and kind != "mailgun":
                assert answer.status != 200
    assert sender.post(desk, kind).status == 200, "it still works"


@kinds
def test_a_body_of_another_type_is_415(desk: Desk, kind: str) -> None:
    sender = SENDERS[kind]
    sender.start(desk, kind)
    body, _ = sender.sample()
    assert desk.post(kind, body, "image/png", sender.sign(body, "")).status == 415
    assert desk.post(kind, b"", method="GET").status == 405


@kinds
def test_where_the_store_fails_the_provider_keeps_the_mail(
    desk: Desk, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = SENDERS[kind]
    sender.start(desk, kind)
    sample = sender.sample()

    def fail(*_: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(desk.receiver, "_insert_all", fail)
        answer = sender.post(desk, kind, sample)
        assert answer.status == BUSY.get(kind, 503) and answer.headers["Retry-After"]
    assert sender.post(desk, kind, sample).messages, "the same request again, once the store is back"


@kinds
def test_where_too_much_is_under_way_the_provider_keeps_the_mail(desk: Desk, kind: str) -> None:
    SENDERS[kind].start(desk, kind)
    desk.gate.add(64_000_000, 0)
    assert SENDERS[kind].post(desk, kind).status == BUSY.get(kind, 503)
    desk.gate.add(-64_000_000, 0)
    assert SENDERS[kind].post(desk, kind).messages


@kinds
def test_the_panel_shows_where_and_by_what(kind: str, desk: Desk) -> None:
    made = SENDERS[kind].start(desk, kind)
    rows = made.panel(f"https://mail.example.com/inbound/{kind}")
    assert any("mail.example.com/inbound/" in value for _, value in rows)
    assert all(label and value for label, value in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_are_typed_as_such(kind: str) -> None:
    for spec in specs(KINDS[kind].Options).values():
        if any(word in spec.name for word in ("secret", "token", "password", "signing", "api_key", "webhook_key")):
            assert Secret in (spec.type, *getattr(spec.type, "__args__", ())), f"{kind}.{spec.name}"


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("raw", lambda size: (b"From: a@b\r\n\r\n" + b"x\r\n" * (size // 3), "message/rfc822")),
        ("raw", lambda size: (b"A: b\r\n" * (size // 6), "message/rfc822")),
        ("raw", lambda size: (MIXED + b"--b\r\n" * (size // 5), "message/rfc822")),
        ("raw", lambda size: (MIXED + b"--b\r\nContent-Type: a/b\r\n\r\n" + b"x" * size, "message/rfc822")),
        ("raw", lambda size: (MIXED + (PDF + b"x" * 300) * (size // 350), "message/rfc822")),
        ("cloudmailin", lambda size: multipart(("plain", "\r\n--x0x0" * (size // 8)), TO)),
        ("cloudmailin", lambda size: multipart(("plain", "\r\n" * (size // 2)), TO)),
        ("cloudmailin", lambda size: multipart(("a" + ";b=c" * 20_000, "x"), ("plain", "x" * size), TO)),
        ("cloudmailin", lambda size: multipart(*[(f"a{n}", "x" * (size // 999), "a", "b") for n in range(999)], TO)),
    ],
)  # fmt: skip
def test_the_cost_grows_with_the_size_and_no_faster(desk: Desk, kind: str, make: Any) -> None:
    sender = SENDERS[kind]
    sender.start(desk, kind)
    spent = []
    for size in (500_000, 4_000_000):
        body, content_type = make(size)
        before = time.process_time()
        assert desk.post(kind, body, content_type, sender.sign(body, content_type)).status == 200
        spent.append(time.process_time() - before)
    # Eight times the size: a square would be sixty-four.
    assert spent[1] < 30 * max(spent[0], 0.02)


@needs_recorded
def test_every_recorded_request_without_our_credentials_is_refused(desk: Desk) -> None:
    every = recorded()
    assert len(every) == 71
    assert {each.provider for each in every} <= set(KINDS)
    for kind, sender in SENDERS.items():
        sender.start(desk, kind)
    for each in every:
        answer = desk.post(each.provider, each.body, each.content_type, each.headers)
        # One that is no form at all has no place for a signature.
        expected = 415 if each.name == "test_misconfigured_tracking" and each.provider == "mailgun" else 401
        assert answer.status == expected, (each.provider, each.name, answer)
    assert desk.stored() == []

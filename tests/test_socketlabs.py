"""The SocketLabs ingress through its front door: a running instance, real requests, the store as it lies."""

from __future__ import annotations

import base64
import hashlib
import socket
import sqlite3
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from postroom.store.attachments import chunks
from postroom.store.messages import WEAK_IDENTITY_MS
from tests.conftest import Start
from tests.instance import SECRET_KEY, VALIDATION_KEY, Answer, Instance, document, until

OLD_KEY, OLD_VALIDATION = "old-secret-Xw8rT5pQ2nM6", "old-validation-Kd7fG3hJ9sA1"
OTHER_KEY, OTHER_VALIDATION = "other-secret-Vb4cN6mL8zP0", "other-validation-Qe2wR4tY6uI8"
SERVERS = [
    {"server_id": 9999, "secret_key": SECRET_KEY, "validation_key": VALIDATION_KEY},
    {"server_id": 9999, "secret_key": OLD_KEY, "validation_key": OLD_VALIDATION},
    {"secret_key": OTHER_KEY, "validation_key": OTHER_VALIDATION},
]
SECRETS = [SECRET_KEY, OLD_KEY, OTHER_KEY, VALIDATION_KEY, OLD_VALIDATION, OTHER_VALIDATION]
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(
        tmp_path_factory.mktemp("socketlabs"),
        server={"trusted_proxies": 1},
        ingress={
            "socketlabs": {"servers": SERVERS},
            "second": {"kind": "socketlabs", "servers": SERVERS[2:]},
            "far": {"kind": "socketlabs", "servers": SERVERS[:1], "allow_ips": ["192.0.2.0/24", "2001:db8::/32"]},
            "near": {"kind": "socketlabs", "servers": SERVERS[:1], "allow_ips": ["127.0.0.1"], "max_body": "2kB"},
        },
    )
    try:
        yield instance.start()
    finally:
        instance.kill()


@pytest.fixture(autouse=True)
def well(house: Instance) -> Iterator[None]:
    """After each test the program is up, the same processes, without a fault of its own in the log."""
    before = set(house.members())
    yield
    assert house.get("/readyz").status == 200
    assert set(house.members()) == before, "a process was lost"
    assert "Traceback" not in house.log()


def refused(house: Instance, body: dict[str, Any] | bytes, status: int, **options: Any) -> str:
    """Posts what must be refused, and checks that it leaves no trace; the reason."""
    house.wait_until_quiet()
    before = house.census()
    answer = house.post(body, **options)
    assert answer.status == status, (answer.status, answer.body[:500])
    assert house.census() == before
    assert not [secret for secret in SECRETS if secret.encode() in answer.body]
    reason = answer.json()["error"]
    assert reason and "\n" not in reason
    return str(reason)


# Validation


@pytest.mark.parametrize(
    ("body", "content_type", "query"),
    [
        ({"Type": "Validation", "ServerId": 9999, "SecretKey": SECRET_KEY, "DateTime": "2024-11-12"}, "json", ""),
        ({"type": "validation", "serverId": "9999", "secretKey": SECRET_KEY}, "json; charset=utf-8", ""),
        ({"TYPE": "VALIDATION", "SERVERID": 9999, "SECRETKEY": SECRET_KEY}, "json", ""),
        ({"Type": "Validation", "SecretKey": SECRET_KEY, "Message": None}, "json", ""),
        (f"type=Validation&serverId=9999&secretKey={SECRET_KEY}", "form", ""),
        (f"Type=validation&ServerId=9999&SecretKey={SECRET_KEY}", "form", ""),
        (f"TYPE=VALIDATION&SECRETKEY={SECRET_KEY}", "form", ""),
        ("", "", f"type=Validation&serverId=9999&secretKey={SECRET_KEY}"),
        ("", "", f"Type=validation&ServerId=9999&SecretKey={SECRET_KEY}"),
        ("", "json", f"TYPE=VALIDATION&SECRETKEY={SECRET_KEY}"),
        ("", "form", f"type=Validation&secretKey={SECRET_KEY}"),
    ],
)  # fmt: skip
def test_validation_in_every_form(house: Instance, body: dict[str, Any] | str, content_type: str, query: str) -> None:
    before = house.census()
    kinds = {"json": "application/json", "json; charset=utf-8": "application/json; charset=utf-8", "form": FORM}
    data = body.encode() if isinstance(body, str) else body
    answer = house.post(data, path=f"/inbound/socketlabs?{query}", content_type=kinds.get(content_type))
    assert answer.status == 200, answer
    assert VALIDATION_KEY.encode() in answer.body
    assert SECRET_KEY.encode() not in answer.body
    assert house.census() == before


@pytest.mark.parametrize("key", ["wrong", "", None, SECRET_KEY + " ", SECRET_KEY[:-1], SECRET_KEY.lower(), "\u00e4"])
def test_a_wrong_secret_is_401_everywhere(house: Instance, key: str | None) -> None:
    refused(house, {"Type": "Validation", "ServerId": 9999, "SecretKey": key}, 401)
    words = urlencode({"type": "Validation", "secretKey": key or ""})
    refused(house, words.encode(), 401, content_type=FORM)
    refused(house, b"", 401, path=f"/inbound/socketlabs?{words}")
    refused(house, {**document(), "SecretKey": key}, 401)


@pytest.mark.parametrize("key", [5, True, [SECRET_KEY], {"a": SECRET_KEY}, 1e300])
def test_a_secret_of_another_type_is_401(house: Instance, key: Any) -> None:
    refused(house, {**document(), "SecretKey": key}, 401)


def test_without_a_secret_nothing_is_believed(house: Instance) -> None:
    bare = document()
    del bare["SecretKey"]
    refused(house, bare, 401)
    refused(house, {"Type": "Validation"}, 401)
    refused(house, {"SecretKey": "wrong", "Message": 5}, 401)


# Several servers


@pytest.mark.parametrize(
    ("server", "key", "validation"),
    [
        (None, SECRET_KEY, VALIDATION_KEY),
        (9999, SECRET_KEY, VALIDATION_KEY),
        ("9999", SECRET_KEY, VALIDATION_KEY),
        (None, OLD_KEY, OLD_VALIDATION),
        (9999, OLD_KEY, OLD_VALIDATION),
        (None, OTHER_KEY, OTHER_VALIDATION),
        (1234, OTHER_KEY, OTHER_VALIDATION),
    ],
)
def test_the_secret_selects_the_server(house: Instance, server: Any, key: str, validation: str) -> None:
    answer = house.post(document(secret=key, ServerId=server))
    assert answer.message
    assert answer.json()["ValidationKey"] == validation


@pytest.mark.parametrize("key", [SECRET_KEY, OLD_KEY])
@pytest.mark.parametrize("server", [1, "1234", 9999.5, "x", [9999], {}])
def test_another_server_id_is_401(house: Instance, key: str, server: Any) -> None:
    refused(house, document(secret=key, ServerId=server), 401)
    refused(house, {"Type": "Validation", "SecretKey": key, "ServerId": server}, 401)


def test_a_key_of_another_ingress_is_401(house: Instance) -> None:
    refused(house, document(secret=SECRET_KEY), 401, path="/inbound/second")
    assert house.post(document(secret=OTHER_KEY), path="/inbound/second").status == 200


# Requests that are no document


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_only_post_is_taken(house: Instance, method: str) -> None:
    before = house.census()
    body = msgspec.json.encode(document()) if method in ("PUT", "PATCH") else None
    answer = house.request(method, "/inbound/socketlabs", body=body, headers={"Content-Type": "application/json"})
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert house.census() == before


@pytest.mark.parametrize("name", ["unknown", "SocketLabs", "%2e%2e", "a" * 3000, "%00", "socketlabs%20"])
def test_an_unknown_ingress_is_404(house: Instance, name: str) -> None:
    before = house.census()
    assert house.post(document(), path=f"/inbound/{name}").status == 404
    assert house.census() == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "nonsense", "image/png"]
)
def test_another_content_type_is_415(house: Instance, kind: str) -> None:
    refused(house, document(), 415, content_type=kind)


@pytest.mark.parametrize("kind", [None, "", "application/json", "APPLICATION/JSON; charset=UTF-8", "text/json"])
def test_content_types_of_json(house: Instance, kind: str | None) -> None:
    assert house.post(document(), content_type=kind).message


def test_a_form_that_is_no_validation(house: Instance) -> None:
    refused(house, urlencode({"SecretKey": SECRET_KEY, "Message": "hello"}).encode(), 400, content_type=FORM)
    refused(house, urlencode({"SecretKey": "wrong", "Message": "hello"}).encode(), 401, content_type=FORM)
    refused(house, b"&".join(b"a%d=1" % number for number in range(5000)), 400, content_type=FORM)
    refused(house, b"\xff\xfe%zz&&&==", 401, content_type=FORM)


def test_a_body_of_80_mb_is_413(house: Instance) -> None:
    refused(house, b" " * 80_000_000, 413)


def test_a_chunked_body_of_80_mb_is_413(house: Instance) -> None:
    before = house.census()
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    answer = house.request("POST", "/inbound/socketlabs", body=(b" " * 1_000_000 for _ in range(80)), headers=headers)
    assert answer.status == 413
    assert house.census() == before


def test_max_body_is_of_each_ingress(house: Instance) -> None:
    refused(house, document(text="x" * 3000), 413, path="/inbound/near")
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    pieces = [msgspec.json.encode(document(text="x" * 3000))]
    assert house.request("POST", "/inbound/near", body=iter(pieces), headers=headers).status == 413
    assert house.post(document(text="short"), path="/inbound/near").message


def test_a_chunked_document_is_taken(house: Instance) -> None:
    body = msgspec.json.encode(document("in pieces", text="x" * 100_000))
    pieces = (body[at : at + 999] for at in range(0, len(body), 999))
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    answer = house.request("POST", "/inbound/socketlabs", body=pieces, headers=headers)
    assert house.stored(answer.message)[0].text == "x" * 100_000


def test_addresses_that_may_send(house: Instance) -> None:
    refused(house, document(), 403, path="/inbound/far")
    refused(house, document(), 403, path="/inbound/far", headers={"X-Forwarded-For": "192.0.2.7, 198.51.100.1"})
    refused(house, document(), 403, path="/inbound/far", headers={"X-Forwarded-For": "nonsense"})
    refused(house, document(), 403, path="/inbound/near", headers={"X-Forwarded-For": "192.0.2.7"})
    for address in ("192.0.2.7", "198.51.100.1, 192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"):
        assert house.post(document(), path="/inbound/far", headers={"X-Forwarded-For": address}).message
    assert house.post(document(), path="/inbound/near").message


# The answer and what it means


def test_the_answer_to_an_accepted_message(house: Instance) -> None:
    answer = house.post(document("the answer"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"ValidationKey": VALIDATION_KEY, "messages": [answer.message]}
    # Stored when the answer is here, not some time after.
    message, payload = house.stored(answer.message)
    assert message.subject == "the answer"
    assert message.client_ip == "192.0.2.7"
    assert payload["SecretKey"] == "***"
    assert payload["InboundRcptTo"] == "support@customer.example"


def test_the_same_document_again_is_absorbed(house: Instance) -> None:
    posted = document("twice")
    first = house.post(posted)
    house.wait_for_states(first.message, "delivered")
    before = house.census()
    for _ in range(3):
        again = house.post(posted)
        assert (again.status, again.body) == (200, first.body)
    assert house.census() == {**before, "events": before["events"] + 3}
    events = house.history().message(first.message).events  # type: ignore[union-attr]
    assert [event.what for event in events] == ["absorbed"] * 3
    assert {event.who for event in events} == {"ingress socketlabs"}


def test_trace_headers_of_the_way_do_not_make_another_mail(house: Instance) -> None:
    posted = document("another way")
    first = house.post(posted)
    posted["Message"]["CustomHeaders"].insert(0, {"Name": "Received", "Value": "from a by b"})
    assert house.post({**posted, "SpamScore": 3.5, "InboundIpAddress": "192.0.2.8"}).message == first.message


def test_two_mails_that_differ_are_two(house: Instance) -> None:
    ids = {house.post(document(text=text, message_id="<same@example.org>")).message for text in ("one", "two")}
    assert len(ids) == 2


def test_identical_mail_without_identity_is_one_only_for_ten_minutes(house: Instance) -> None:
    alert = document("DOWN: web1", message_id=None)
    first = house.post(alert).message
    assert house.post(alert).message == first
    _grow_older(house, first, WEAK_IDENTITY_MS - 60_000)
    assert house.post(alert).message == first
    _grow_older(house, first, 60_001)
    second = house.post(alert).message
    assert second != first
    assert house.post(alert).message == second
    for message in (first, second):
        house.wait_for_states(message, "delivered")


def test_a_received_header_identifies_for_ever(house: Instance) -> None:
    alert = document("DOWN: web2", message_id=None, headers=(("Received", "from a by b; Mon, 20 May 2013 10:01:04"),))
    first = house.post(alert).message
    _grow_older(house, first, 10 * WEAK_IDENTITY_MS)
    assert house.post(alert).message == first


def _grow_older(house: Instance, message: str, milliseconds: int) -> None:
    """As if so much time had passed since a message came."""
    db = sqlite3.connect(house.database, timeout=10)
    with db:
        changed = db.execute("UPDATE identities SET at = at - ? WHERE message = ?", (milliseconds, message)).rowcount
    db.close()
    assert changed


def test_one_mail_to_two_recipients_is_delivered_once(house: Instance) -> None:
    posted = document("to both of you")
    ids = [house.post({**posted, "InboundRcptTo": f"{name}@customer.example"}).message for name in ("support", "info")]
    assert len(set(ids)) == 2
    (first,) = house.wait_for_states(ids[0], "delivered")
    (second,) = house.wait_for_states(ids[1], "suppressed")
    assert first["id"] in second["reason"]
    lines = [msgspec.json.decode(line) for line in (house.data_dir / "delivered.jsonl").read_bytes().splitlines()]
    assert len([line for line in lines if line["title"] == "to both of you"]) == 1


# Attachments


def _with_attachment(content: str, **members: Any) -> dict[str, Any]:
    entry = {"Name": "a.bin", "ContentType": "application/x-thing", "Content": content, "ContentId": None}
    return document("with an attachment", attachments=[{**entry, **members}])


def _bytes_of(house: Instance, message: str, position: int = 0) -> bytes:
    info = house.stored(message)[0].attachments[position]
    with house.db() as db:
        return b"".join(chunks(db, info.sha256))


def test_attachments_of_25_mb_come_back_byte_for_byte(house: Instance) -> None:
    content = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(25_000_000 // 32)) + b"odd"
    posted = _with_attachment(base64.b64encode(content).decode())
    posted["Message"]["Attachments"].append({"Name": "", "ContentType": None, "Content": None})
    posted["Message"]["EmbeddedMedia"] = [{"Name": "b.png", "Content": "aGk=", "ContentId": "<pic@1>"}]
    message = house.post(posted).message
    stored, payload = house.stored(message)
    assert [(each.name, each.size, each.inline) for each in stored.attachments] == [
        ("a.bin", len(content), False), ("", 0, False), ("b.png", 2, True)
    ]  # fmt: skip
    assert stored.attachments[2].content_id == "pic@1"
    digest = hashlib.sha256(content).hexdigest()
    assert payload["Message"]["Attachments"][0]["Content"] == f"sha256:{digest}"
    assert hashlib.sha256(_bytes_of(house, message)).hexdigest() == digest
    assert _bytes_of(house, message, 1) == b""
    assert _bytes_of(house, message, 2) == b"hi"
    again = _with_attachment(base64.b64encode(content).decode())
    before = house.census()
    house.post(again)
    assert house.census()["chunks"] == before["chunks"], "the same bytes are kept once"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("aGVsbG8gd29ybGQ=", b"hello world"),
        ("aGVsbG8gd29ybGQ", b"hello world"),
        ("aGVs\r\nbG8g\r\nd29y\r\nbGQ=\r\n", b"hello world"),
        (" aGVsbG8gd29ybGQ\n", b"hello world"),
        ("aGVsbG8gd29ybGQ==", b"hello world"),
        ("", b""),
        ("\r\n", b""),
        (None, b""),
    ],
)
def test_base64_as_it_occurs(house: Instance, content: Any, expected: bytes) -> None:
    assert _bytes_of(house, house.post(_with_attachment(content)).message) == expected


@pytest.mark.parametrize("content", ["a", "not base64!", "aGVsbG8*", "aGVsb\u00e4", "=aGVs", "aG=VsbG8="])
def test_wrong_base64_is_400(house: Instance, content: str) -> None:
    assert "Message.Attachments[0].Content" in refused(house, _with_attachment(content), 400)


# Secrets


def test_a_secret_in_every_spelling_is_masked(house: Instance) -> None:
    posted = {**document("spelled thrice"), "secretkey": SECRET_KEY, "SECRETKEY": SECRET_KEY}
    _, payload = house.stored(house.post(posted).message)
    assert SECRET_KEY not in str(payload)


def test_no_secret_is_kept_or_shown_anywhere(house: Instance) -> None:
    house.post(document("a mail of the last test"))
    refused(house, b'{"SecretKey": "' + SECRET_KEY.encode() + b'", "Message"', 400)
    house.wait_until_quiet()
    places = [path for path in house.data_dir.rglob("*") if path.is_file()] + [house.log_file]
    assert {"postroom.db", "postroom.db-wal", "delivered.jsonl", "serve.log"} <= {path.name for path in places}
    for path in places:
        data = path.read_bytes()
        assert not [secret for secret in SECRETS if secret.encode() in data], path
    # The store packs what it keeps: what is in the blocks as well.
    for row in house.rows("SELECT id FROM messages"):
        assert not [secret for secret in SECRETS if secret in str(house.stored(row["id"]))]


# Room


def test_more_bytes_than_may_be_in_flight_are_503(start_instance: Start) -> None:
    instance = start_instance(limits={"in_flight": "500kB"})
    body = msgspec.json.encode(document("the slow one", text="x" * 400_000))
    head = f"POST /inbound/socketlabs HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    def hold() -> tuple[socket.socket, Answer] | None:
        """A request that has sent most of its body, and the answer to one beside it; None where that one was first."""
        slow = socket.create_connection(("127.0.0.1", instance.port), timeout=30)
        slow.sendall(head.encode() + body[:300_000])
        answer = instance.post(document("beside it", text="x" * 300_000))
        if answer.status == 503:
            return slow, answer
        slow.close()
        return None

    slow, answer = until(hold, "the second is refused while the first is under way")
    with slow:
        assert int(answer.headers["retry-after"]) > 0
        assert instance.post(document("a small one")).message, "there is room for a small one"
        slow.sendall(body[300_000:])
        assert b" 200 " in slow.makefile("rb").readline()
    subjects = [row["subject"] for row in instance.rows("SELECT subject FROM messages")]
    assert subjects.count("the slow one") == 1
    assert instance.post(document("after it", text="x" * 400_000)).message
    assert instance.post(document("larger than all", text="x" * 900_000)).message, "a larger one passes alone"


def test_below_min_free_mail_is_refused_and_readyz_says_so(make_instance: Start) -> None:
    instance = make_instance(limits={"min_free": "900000000GB"})
    instance.start(wait_for="/healthz")
    answer = until(lambda: _status_503(instance.post(document())), "mail is refused")
    assert int(answer.headers["retry-after"]) > 0
    ready = instance.get("/readyz")
    assert ready.status == 503
    assert "disk" in str(ready.json()["problems"])
    assert instance.census()["messages"] == 0


def _status_503(answer: Answer) -> Answer | None:
    return answer if answer.status == 503 else None


def test_without_a_trusted_proxy_its_headers_are_not_believed(make_instance: Start) -> None:
    keys = {"secret_key": SECRET_KEY, "validation_key": VALIDATION_KEY}
    instance = make_instance(ingress={"socketlabs": {"servers": [keys], "allow_ips": ["192.0.2.0/24"]}})
    instance.start()
    assert instance.post(document(), headers={"X-Forwarded-For": "192.0.2.7"}).status == 403


def test_a_request_that_is_cut_off_leaves_nothing(house: Instance) -> None:
    before = house.census()
    body = msgspec.json.encode(document("cut off"))
    for length in (0, 1, len(body) - 1):
        with socket.create_connection(("127.0.0.1", house.port), timeout=30) as connection:
            head = f"POST /inbound/socketlabs HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:length])
    assert house.post(document("after the cut")).message
    after = house.census()
    assert after["messages"] == before["messages"] + 1

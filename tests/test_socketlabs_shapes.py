"""Documents of every shape at the SocketLabs ingress: what is refused leaves nothing, what is odd is cleaned."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.instance import SECRET_KEY, Instance, document

KEY = SECRET_KEY.encode()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("shapes"))
    try:
        yield instance.start()
    finally:
        instance.kill()


@pytest.fixture(autouse=True)
def well(house: Instance) -> Iterator[None]:
    before = set(house.members())
    yield
    assert house.get("/readyz").status == 200
    assert set(house.members()) == before, "a process was lost"
    assert "Traceback" not in house.log()


def refused(house: Instance, body: dict[str, Any] | bytes) -> str:
    """Posts what must be refused with 400, and checks that it leaves no trace; the reason."""
    house.wait_until_quiet()
    before = house.census()
    answer = house.post(body)
    assert answer.status == 400, (answer.status, answer.body[:500])
    assert house.census() == before
    assert KEY not in answer.body
    return str(answer.json()["error"])


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good document with one member changed: `Message.From`, `Message.Attachments.0.Name`."""
    whole = copy.deepcopy(FULL)
    place: Any = whole
    *way, last = path.split(".")
    for word in way:
        place = place[int(word)] if word.isdigit() else place[word]
    place[int(last) if last.isdigit() else last] = value
    return whole


def _full() -> dict[str, Any]:
    entry = {"Name": "a.txt", "ContentType": "text/plain", "Content": "aGk=", "ContentId": "<1@a>", "CustomHeaders": []}
    whole = document(attachments=[entry])
    whole["Message"].update(
        HtmlBody="<p>It burns.</p>",
        Cc=[{"EmailAddress": "cc@example.org", "FriendlyName": None}],
        Bcc=[{"EmailAddress": "bcc@example.org", "FriendlyName": None}],
        ReplyTo={"EmailAddress": "reply@example.org", "FriendlyName": None},
        MessageId="<1@example.org>",
        MailingId="7",
        HtmlCharSet="utf-8",
        EmbeddedMedia=[dict(entry)],
    )
    return {**whole, "ServerId": None, "SubaccountId": 5, "IpPoolId": 1, "ErrorLog": "x", "SpamDetails": "y"}


FULL = _full()

NUMBERS = [5, -1.5, True]
NO_TEXT = [*NUMBERS, ["a"], {"a": "b"}]
NO_OBJECT = [*NUMBERS, "text", [1]]
NO_LIST = [*NUMBERS, "text", {"a": "b"}, [1], ["text"], [[]], [True]]


def test_the_full_document_is_taken(house: Instance) -> None:
    message, _ = house.stored(house.post(FULL).message)
    assert [each.address for each in message.cc] == ["cc@example.org"]
    assert len(message.attachments) == 2


NO_JSON = (b"", b" ", b"\r\n\r\n", b"\x00", b"hello", b"{", b"}", b'{"a"', b"{'a': 1}", b"[", b"nul", b'"', b"{}{}",
           b"\xff\xfe\x00", b"<xml/>", b"a=b", b"{,}", b"[1,]", b"\x1f\x8b\x08\x00")  # fmt: skip


@pytest.mark.parametrize("body", NO_JSON)
def test_a_body_that_is_no_json(house: Instance, body: bytes) -> None:
    refused(house, body)


@pytest.mark.parametrize(
    "body", [b"[]", b"5", b"true", b"null", b'"text"', b'[{"SecretKey": "' + KEY + b'"}]', b"1e400"]
)
def test_json_that_is_no_object(house: Instance, body: bytes) -> None:
    assert "object" in refused(house, body)


def test_a_document_cut_at_every_place(house: Instance) -> None:
    body = json.dumps(document("cut")).encode()
    for length in range(0, len(body), max(1, len(body) // 60)):
        refused(house, body[:length])


@pytest.mark.parametrize("value", [None, *NO_OBJECT])
def test_a_message_that_is_no_object(house: Instance, value: Any) -> None:
    assert "Message" in refused(house, changed("Message", value))


def test_a_document_without_a_message(house: Instance) -> None:
    assert "Message" in refused(house, {"SecretKey": SECRET_KEY})


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("Message.From", NO_OBJECT),
        ("Message.ReplyTo", NO_OBJECT),
        ("Message.To", NO_OBJECT),
        ("Message.Cc", NO_OBJECT),
        ("Message.Subject", NO_TEXT),
        ("Message.TextBody", NO_TEXT),
        ("Message.HtmlBody", NO_TEXT),
        ("Message.CustomHeaders", NO_LIST),
        ("Message.Attachments", NO_LIST),
        ("Message.EmbeddedMedia", NO_LIST),
        ("Message.From.EmailAddress", NO_TEXT),
        ("Message.From.FriendlyName", NO_TEXT),
        ("Message.To.0.EmailAddress", NO_TEXT),
        ("Message.CustomHeaders.0.Name", NO_TEXT),
        ("Message.CustomHeaders.0.Value", NO_TEXT),
        ("Message.Attachments.0.Name", NO_TEXT),
        ("Message.Attachments.0.ContentType", NO_TEXT),
        ("Message.Attachments.0.Content", NO_TEXT),
        ("Message.Attachments.0.ContentId", NO_TEXT),
        ("Message.EmbeddedMedia.0.Content", NO_TEXT),
        ("InboundRcptTo", NO_TEXT),
        ("InboundMailFrom", NO_TEXT),
        ("InboundIpAddress", NO_TEXT),
        ("ErrorLog", NO_TEXT),
        ("SpamScore", ["high", True, [1], {"a": 1}]),
    ],
)
def test_a_member_of_the_wrong_type_is_named(house: Instance, path: str, values: list[Any]) -> None:
    parts = path.split(".")
    for value in values:
        reason = refused(house, changed(path, value))
        assert next(word for word in reversed(parts) if not word.isdigit()) in reason, (value, reason)


def test_a_message_id_of_the_wrong_type_is_named(house: Instance) -> None:
    for value in NO_TEXT:
        posted = changed("Message.MessageId", value)
        posted["Message"]["CustomHeaders"] = None
        assert "Message.MessageId" in refused(house, posted)


def _paths(place: Any, before: str = "") -> Iterator[str]:
    members = place.items() if isinstance(place, dict) else enumerate(place) if isinstance(place, list) else ()
    for name, value in members:
        path = f"{before}{name}"
        yield path
        yield from _paths(value, f"{path}.")


def test_every_member_may_be_null_or_absent(house: Instance) -> None:
    for path in _paths(FULL):
        if path in ("SecretKey", "Message"):
            continue
        nulled = changed(path, None)
        assert house.post(nulled).message, path
        place: Any = nulled
        *way, last = path.split(".")
        for word in way:
            place = place[int(word)] if word.isdigit() else place[word]
        del place[int(last) if last.isdigit() else last]
        assert house.post(nulled).message, path


def test_a_message_of_nothing_is_stored(house: Instance) -> None:
    nothing: list[dict[str, Any]] = [
        {},
        dict.fromkeys(FULL["Message"]),
        {name: [] for name in ("To", "Cc", "CustomHeaders", "Attachments")},
    ]
    for empty in nothing:
        message, _ = house.stored(house.post({"SecretKey": SECRET_KEY, "Message": empty}).message)
        assert message.recipient.address == ""
        assert message.notices
    body = b'{"SecretKey": "%s", "Message": {"CustomHeaders": [null, {}], "To": [null, {}], "Attachments": [null, {}]}}'
    assert len(house.stored(house.post(body % KEY).message)[0].attachments) == 1


def test_names_in_any_case(house: Instance) -> None:
    def spell(place: Any, how: Any) -> Any:
        if isinstance(place, dict):
            return {how(name): spell(value, how) for name, value in place.items()}
        return [spell(value, how) for value in place] if isinstance(place, list) else place

    for number, how in enumerate((str.lower, str.upper, str.swapcase)):
        message, payload = house.stored(house.post(spell(changed("Message.Subject", f"case {number}"), how)).message)
        assert message.subject == f"case {number}"
        assert message.from_ is not None and message.from_.name == "Jo Doe"
        assert [each.address for each in message.cc] == ["cc@example.org"]
        assert message.header("message-id") == message.message_id
        assert [each.size for each in message.attachments] == [2, 2]
        assert message.recipient.address == "support@customer.example"
        assert SECRET_KEY not in str(payload) and "aGk=" not in str(payload)


def test_unknown_members_are_kept(house: Instance) -> None:
    posted = document("with more", Extra={"deep": [1, None, {"a": "ü"}]}, Number=12345678901234567890123)
    posted["Message"]["New"] = "thing"
    posted["Message"]["CustomHeaders"][0]["Order"] = 1
    _, payload = house.stored(house.post(posted).message)
    assert payload["Extra"] == {"deep": [1, None, {"a": "ü"}]}
    assert payload["Message"]["New"] == "thing"
    assert payload["Message"]["CustomHeaders"][0]["Order"] == 1
    assert float(payload["Number"]) == pytest.approx(1.2345678901234568e22)


def _raw(subject: bytes, more: bytes = b"") -> bytes:
    message = b'{"SecretKey": "%s", "InboundRcptTo": "a@b.example", "Message": {"Subject": %s, "TextBody": "x%d"}%s}'
    _raw.number += 1  # type: ignore[attr-defined]
    return message % (KEY, subject, _raw.number, more)  # type: ignore[attr-defined]


_raw.number = 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (rb'"a\u0000b"', "ab"),
        (rb'"a\ud800b"', "ab"),
        (rb'"a\udc80\udcffb"', "ab"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ude00\ud83d"', ""),
        (b'"caf\xe9"', "caf\ufffd"),
        (b'"\xff\xfe"', "\ufffd\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"\xc0\xaf"', "\ufffd\ufffd"),
        (b'"\xf4\x90\x80\x80x"', "\ufffd\ufffd\ufffd\ufffdx"),
    ],
)
def test_text_that_cannot_be_stored_is_cleaned(house: Instance, subject: bytes, expected: str) -> None:
    message, _ = house.stored(house.post(_raw(subject)).message)
    assert message.subject == expected
    house.wait_for_states(message.id, "delivered")


def test_nul_and_surrogates_at_every_text(house: Instance) -> None:
    for path in _paths(FULL):
        parts = path.split(".")
        if parts[-1] in ("SecretKey", "ServerId", "SpamScore", "Content") or not isinstance(_at(path), str):
            continue
        posted = json.dumps(changed(path, f"a\0\ud800b\udfff{path}")).encode()
        message, _ = house.stored(house.post(posted).message)
        seen = repr(message)
        assert "\\x00" not in seen and "\\ud800" not in seen and "\\udfff" not in seen, path
    house.wait_until_quiet()
    assert not [row["reason"] for row in house.deliveries() if row["state"] == "dead"]


def _at(path: str) -> Any:
    place: Any = FULL
    for word in path.split("."):
        place = place[int(word)] if word.isdigit() else place[word]
    return place


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_of_json(house: Instance, encoding: str) -> None:
    posted = json.dumps(document(f"ümlaut in {encoding}"), ensure_ascii=False).encode(encoding)
    message, _ = house.stored(house.post(posted).message)
    assert message.subject == f"ümlaut in {encoding}"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_document_100_000_levels_deep(house: Instance, opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    deep = (opening * 100_000 + "1" + closing * 100_000).encode()
    for body in (deep, _raw(b'"deep"', b', "X": ' + deep), _raw(deep), deep[:100_000]):
        refused(house, body)


def test_every_depth_is_either_taken_or_refused(house: Instance) -> None:
    """Between what one decoder takes and another cannot write again, nothing falls through."""
    taken = set()
    for depth in (10, 100, 300, 450, *range(900, 1010, 3), 1500, 3000, 10_000):
        deep = b"[" * depth + b"]" * depth
        answer = house.post(_raw(b'"deep"', b', "X": ' + deep))
        assert answer.status in (200, 400), (depth, answer.status)
        taken |= {depth} if answer.status == 200 else set()
        # The same where only the lenient decoder can read it.
        answer = house.post(_raw(b'"deep \xff"', b', "X": ' + deep))
        assert answer.status in (200, 400), (depth, answer.status)
    assert {10, 100} <= taken


@pytest.mark.parametrize(
    "number",
    ["1e999", "-1e999", "1e-999", "9" * 400, "9" * 5000, "-" + "9" * 5000, "0." + "1" * 5000, "18446744073709551616",
     "NaN", "Infinity", "1E400", "0e99999999999"],
)  # fmt: skip
def test_huge_numbers(house: Instance, number: str) -> None:
    for more in (
        f', "X": {number}',
        f', "SpamScore": {number}',
        f', "SpamScore": "{number}"',
        f', "ServerId": {number}',
    ):
        house.wait_until_quiet()
        before = house.census()
        answer = house.post(_raw(b'"a number"', more.encode()))
        assert answer.status in ((200, 400, 401) if "ServerId" in more else (200, 400)), (more[:40], answer)
        if answer.status == 200:
            house.stored(answer.message)
            assert house.history().message(answer.message) is not None
        else:
            assert house.census() == before


def test_many_members_and_long_texts(house: Instance) -> None:
    headers = tuple((f"X-{number}", "v" * 50) for number in range(20_000))
    message, _ = house.stored(house.post(document("s" * 300_000, text="t" * 3_000_000, headers=headers)).message)
    assert message.subject == "s" * 300_000
    assert message.text == "t" * 3_000_000
    assert len(message.headers) == 20_001
    house.wait_for_states(message.id, "delivered")

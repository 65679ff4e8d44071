"""Addresses in headers, as they really occur, when two are equal, thread keys and dates."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail.addresses import MOST, address_key, parse_addresses, same_address, split_address, split_local
from postroom.mail.dates import parse_date
from postroom.mail.threads import message_key, thread_keys
from postroom.message import Address

HEADERS = [
    ("jo@example.org", [("", "jo@example.org")]),
    ("Jo Doe <jo@example.org>", [("Jo Doe", "jo@example.org")]),
    ('"Doe, Jo" <jo@example.org>, b@x', [("Doe, Jo", "jo@example.org"), ("", "b@x")]),
    ("Smith, J <j@x>", [("Smith, J", "j@x")]),
    ("a@x; b@y", [("", "a@x"), ("", "b@y")]),
    ("a@x, b@y,, c@z,", [("", "a@x"), ("", "b@y"), ("", "c@z")]),
    ("a@x b@y", [("", "a@x"), ("", "b@y")]),
    ("undisclosed-recipients:;", []),
    ("Friends: a@x, Jo <b@y>; c@z", [("", "a@x"), ("Jo", "b@y"), ("", "c@z")]),
    ("jo@example.org (Jo Doe)", [("Jo Doe", "jo@example.org")]),
    ("(comment (nested)) Jo <jo@x> (more)", [("Jo", "jo@x")]),
    ("<jo@example.org>", [("", "jo@example.org")]),
    ("<<jo@example.org>>", [("", "jo@example.org")]),
    ("Jo <jo@example.org", [("Jo", "jo@example.org")]),
    ("Jo <jo@example.org, Bo <bo@x>", [("Jo", "jo@example.org"), ("Bo", "bo@x")]),
    ("jo@example.org>", [("", "jo@example.org")]),
    ("'jo@example.org'", [("", "jo@example.org")]),
    ("'Jo Doe' <jo@example.org>", [("Jo Doe", "jo@example.org")]),
    ('"jo doe"@example.org', [("", '"jo doe"@example.org')]),
    ('"a@b" <jo@x>', [("a@b", "jo@x")]),
    ('"a \\"b\\" c" <jo@x>', [('a "b" c', "jo@x")]),
    ("mailto:jo@x", [("", "jo@x")]),
    ("Jo <mailto:jo@x>", [("Jo", "jo@x")]),
    ("<@relay.example,@b.example:jo@x>", [("", "jo@x")]),
    ("Pete <pete(his account)@silly.test(his host)>", [("Pete", "pete@silly.test")]),
    ("jo@[192.0.2.1]", [("", "jo@[192.0.2.1]")]),
    ("=?utf-8?Q?Doe=2C_Jo?= <jo@x>, b@y", [("=?utf-8?Q?Doe=2C_Jo?=", "jo@x"), ("", "b@y")]),
    ("Jo Doe", []),
    ("", []),
    ("<>", []),
    ("@", []),
    ("jo@example.org Jo Doe", [("Jo Doe", "jo@example.org")]),
    ("Jörg <jörg@bücher.example>", [("Jörg", "jörg@bücher.example")]),
    ("a@x\r\n ,\r\n b@y", [("", "a@x"), ("", "b@y")]),
]


@pytest.mark.parametrize(("header", "found"), HEADERS)
def test_headers(header: str, found: list[tuple[str, str]]) -> None:
    assert parse_addresses(header) == found


PARTS = [
    ("user+detail@example.org", "user+detail", "example.org", "user", "detail"),
    ("user@example.org", "user", "example.org", "user", None),
    ("user+@example.org", "user+", "example.org", "user", ""),
    ("+x@example.org", "+x", "example.org", "", "x"),
    ("a+b+c@x", "a+b+c", "x", "a", "b+c"),
    ('"a b"@x', "a b", "x", "a b", None),
    ('"a\\"b@c"@x', 'a"b@c', "x", 'a"b@c', None),
    ("a@b@c", "a@b", "c", "a@b", None),
    ("nobody", None, None, None, None),
    ("", "", "", "", ""),
]


@pytest.mark.parametrize(("address", "local", "domain", "user", "detail"), PARTS)
def test_parts(address: str, local: str | None, domain: str | None, user: str | None, detail: str | None) -> None:
    assert split_address(address) == (local, domain)
    whole = Address(address)
    assert (whole.local, whole.domain, whole.user, whole.detail) == (local, domain, user, detail)
    if local:
        assert split_local(local) == (user, detail)


EQUAL = [
    ("Jo@Example.ORG", "jo@example.org"),
    ('"jo"@x', "jo@x"),
    ('"j\\o"@x', "jo@x"),
    ("jo@bücher.example", "jo@xn--bcher-kva.example"),
    ("jo@BÜCHER.example", "jo@bu\u0308cher.example"),
    ("jo@straße.example", "jo@xn--strae-oqa.example"),
    ("jo@example。org", "jo@example.org"),
    ("jo@example.org.", "jo@example.org"),
    ("JÖ@x", "jo\u0308@x"),
    ("", ""),
]
DIFFERENT = [
    ("jo@straße.example", "jo@strasse.example"),
    ("jo@x", "jo@y"),
    ("jo+a@x", "jo@x"),
    ("j.o@x", "jo@x"),
    ("", "jo@x"),
    ("jo", "jo@"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal(one: str, other: str) -> None:
    assert same_address(one, other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different(one: str, other: str) -> None:
    assert not same_address(one, other)


@given(st.text(alphabet="ab@<>\"'(),;:\\[] =?.\r\n\té", max_size=60) | st.text(max_size=40))
def test_any_header_gives_addresses_only(header: str) -> None:
    for _, address in parse_addresses(header):
        assert "@" in address
        address_key(address)
    address_key(header)


HOSTILE = [
    "a@x," * 100_000, "(" * 10**6, '"' * 10**6, "<" * 10**6, "<a@b" * 10**5, ">" * 10**6, ":;" * 10**5,
    "a" * 10**6 + "@x", "a " * 10**5, "\\" * 10**6, "=?a?q?" * 10**5, "@[" * 10**5,
]  # fmt: skip


@pytest.mark.parametrize("header", HOSTILE, ids=[header[:5] for header in HOSTILE])
def test_headers_of_any_length(header: str) -> None:
    started = time.process_time()
    assert len(parse_addresses(header)) <= MOST
    assert time.process_time() - started < 0.5


def test_thread_keys_newest_first_and_never_by_blanks() -> None:
    assert thread_keys("<3@x>", "<1@x><2@x>\r\n <3@x>") == ("<3@x>", "<2@x>", "<1@x>")
    assert thread_keys("Your mail <3@x> of Monday", None) == ("<3@x>",)
    assert thread_keys(None, "no keys < > <a b>") == ()
    many = thread_keys(None, "".join(f"<{number}@x>" for number in range(100)))
    assert len(many) == 20 and many[0] == "<99@x>"


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("<1@x>", "<1@x>"),
        (" 1@x ", "<1@x>"),
        ("<a> <b>", "<a>"),
        ("nothing", None),
        ("", None),
        (None, None),
        ("<>", None),
    ],
)
def test_message_key(value: str | None, key: str | None) -> None:
    assert message_key(value) == key


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("Tue, 24 Nov 2026 10:00:00 +0100", 1795510800000),
        ("24 Nov 2026 09:00:00", 1795510800000),
        ("Tue, 24 Nov 2026 09:00:00 -0000", 1795510800000),
        ("Tue,24 Nov 2026 09:00:00 GMT (a zone)", 1795510800000),
        ("Tue, 24 Nov 2026 24:00:00 +0000", None),
        ("Tue, 24 Nov 2026 09:00:60 +0000", None),
        ("Tue, 24 Nov 2026 09:00:00 +9900", None),
        ("yesterday", None),
        ("", None),
        ("1" * 100_000, None),
    ],
)
def test_dates(value: str, time: int | None) -> None:
    assert parse_date(value) == time


@given(st.text(alphabet="0123456789:+-, MonTueJanFebGMT", max_size=40))
def test_any_text_may_stand_for_a_date(value: str) -> None:
    found = parse_date(value)
    assert found is None or isinstance(found, int)

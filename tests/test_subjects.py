"""Prefixes of subjects, and keys of items in them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail.subjects import base_subject, has_forward_prefix, has_reply_prefix, item_keys


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Hello", "Hello"),
        ("", ""),
        ("Re: Hello", "Hello"),
        ("RE:Hello", "Hello"),
        ("Re : Hello", "Hello"),
        ("Re: Re: AW: SV: Hello", "Hello"),
        ("Re[2]: Hello", "Hello"),
        ("Re (3): Hello", "Hello"),
        ("AW (3): Hello", "Hello"),
        ("Re^2: Hello", "Hello"),
        ("Re2: Hello", "Hello"),
        ("Fwd: Hello", "Hello"),
        ("FW: Re: Hello", "Hello"),
        ("WG: AW: Rechnung", "Rechnung"),
        ("TR : Bonjour", "Bonjour"),
        ("RIF: Ciao", "Ciao"),
        ("RV: Hola", "Hola"),
        ("ENC: Olá", "Olá"),
        ("Odp: Cześć", "Cześć"),
        ("YNT: Merhaba", "Merhaba"),
        ("İLT: Merhaba", "Merhaba"),
        ("VÁ: Szia", "Szia"),
        ("VS: Hei", "Hei"),
        ("Antw: Hoi", "Hoi"),
        ("Doorst: Hoi", "Hoi"),
        ("回复：你好", "你好"),
        ("答复: 你好", "你好"),
        ("转发: 你好", "你好"),
        ("返信: こんにちは", "こんにちは"),
        ("転送：こんにちは", "こんにちは"),
        ("전달: 안녕", "안녕"),
        ("Отв: Привет", "Привет"),
        ("Re: [list] Re: hi", "[list] hi"),
        ("[list] Re: hi", "[list] hi"),
        ("[list] hi", "[list] hi"),
        ("Re: [list] hi", "[list] hi"),
        ("Re: [list] Re: [list] hi", "[list] hi"),
        ("Re: [APP-42] Broken", "[APP-42] Broken"),
        ("Hello (fwd)", "Hello"),
        ("Re: Hello (Fwd) (fwd)", "Hello"),
        ("Re:", ""),
        ("Re: Fwd: ", ""),
        ("OK: all is well", "OK: all is well"),
        ("UP: web1", "UP: web1"),
        ("DOWN: web1/http", "DOWN: web1/http"),
        ("Re-opening the shop", "Re-opening the shop"),
        ("Reply: no", "Reply: no"),
        ("Reference: 12", "Reference: 12"),
        ("  Re:   many \t blanks ", "many blanks"),
        ("\r\nRe: folded\r\n subject", "folded subject"),
    ],
)
def test_base_subject(subject: str, base: str) -> None:
    assert base_subject(subject) == base


@pytest.mark.parametrize(
    ("subject", "reply", "forward"),
    [
        ("Re: a", True, False),
        ("[list] AW: a", True, False),
        ("Fwd: Re: a", False, True),
        ("Re: Fwd: a", True, False),
        ("WG: a", False, True),
        ("a Re: b", False, False),
        ("OK: b", False, False),
        ("[#1] [x] Re: b", True, False),
        ("", False, False),
    ],
)
def test_first_prefix(subject: str, reply: bool, forward: bool) -> None:
    assert (has_reply_prefix(subject), has_forward_prefix(subject)) == (reply, forward)


@pytest.mark.parametrize(
    ("subject", "keys"),
    [
        ("Re: [APP-42] Broken", ("APP-42",)),
        ("[app-42] [APP-42]", ("APP-42",)),
        ("[#17] a", ("17",)),
        ("[Ticket #17] a", ("17",)),
        ("[Support - Bug #17] a", ("17",)),
        ("[owner/repo#17] a", ("17",)),
        ("APP-42 and #17 outside", ()),
        ("[APP-42 more]", ()),
        ("[list] [2026]", ()),
        ("[#1][#2][#1]", ("1", "2")),
        ("".join(f"[#{number}]" for number in range(30)), tuple(map(str, range(10)))),
    ],
)
def test_item_keys(subject: str, keys: tuple[str, ...]) -> None:
    assert item_keys(subject) == keys


@given(st.text(alphabet="reREfFwWd:[]()^ 12：AWaw\t", max_size=60))
def test_a_base_subject_is_its_own_base_and_no_longer(subject: str) -> None:
    base = base_subject(subject)
    assert base_subject(base) == base or "[" in base
    assert len(base) <= len(subject) + 1
    item_keys(subject), has_reply_prefix(subject), has_forward_prefix(subject)


@pytest.mark.parametrize(
    "hostile",
    [
        "Re: " * 250_000,
        "[" * 10**6,
        "[a]" * 300_000,
        "Re" * 500_000,
        " " * 10**6,
        "(fwd)" * 200_000,
        "#" * 10**6,
        "Re[1" * 250_000,
    ],
)
def test_time_is_linear(hostile: str) -> None:
    started = time.process_time()
    base_subject(hostile), item_keys(hostile), has_reply_prefix(hostile)
    assert time.process_time() - started < 1.0

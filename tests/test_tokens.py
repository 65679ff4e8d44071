"""Signed reply addresses and Message-IDs: what we made is recognised in any case of its letters, nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail.tokens import loop_mark, own_message_id, read_message_id, read_token, reply_token, tagged, untagged

KEY = bytes(range(32))
NUMBERS = st.integers(min_value=0, max_value=2**63 - 1)
LOCALS = st.from_regex(r"[A-Za-z0-9._+-]{1,30}", fullmatch=True)


@given(NUMBERS, LOCALS, st.sampled_from([str, str.upper, str.lower]))
def test_a_tagged_address_gives_back_itself_and_its_conversation(number: int, local: str, spelt: type[str]) -> None:
    address = f"{local}@example.com"
    token = reply_token(KEY, number)
    assert len(token) <= 31
    assert untagged(KEY, spelt(tagged(address, token))) == (spelt(address), number)


@given(NUMBERS)
def test_tokens_are_good_for_one_key_and_one_purpose(number: int) -> None:
    token = reply_token(KEY, number)
    assert read_token(KEY, token) == number
    assert read_token(bytes(32), token) is None
    assert token[:-1] not in own_message_id(KEY, number, "x", "example.com")


@given(NUMBERS, st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True))
def test_own_message_ids_are_recognised(number: int, unique: str) -> None:
    key = own_message_id(KEY, number, unique, "mail.example.com")
    assert key.startswith("<") and key.endswith("@mail.example.com>")
    assert read_message_id(KEY, key) == number
    assert read_message_id(KEY, key.replace(f"<{unique}", f"<{unique}0")) is None


@given(st.text(max_size=80))
def test_any_text_is_no_token(text: str) -> None:
    assert read_token(KEY, text) is None
    assert read_message_id(KEY, f"<{text}>") is None
    assert untagged(KEY, text) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "support",
        "support@example.com",
        "support+@example.com",
        "a+caa-aaaaaaaaaaaaaaaa@b",
        "+" * 10**6 + "@b",
        "a+c" * 10**5,
    ],
)
def test_addresses_without_a_token_of_ours(address: str) -> None:
    assert untagged(KEY, address) is None


def test_a_single_wrong_letter_is_no_token() -> None:
    token = reply_token(KEY, 4711)
    for position in range(1, len(token)):
        other = "b" if token[position] != "b" else "a"
        changed = token[:position] + other + token[position + 1 :]
        assert read_token(KEY, changed) != 4711 or token[position] == "-"


def test_an_address_without_domain_cannot_be_tagged() -> None:
    assert tagged("support", "token") == "support"


def test_the_loop_mark_is_that_of_the_key() -> None:
    assert loop_mark(KEY).startswith("postroom-") and loop_mark(KEY) == loop_mark(KEY) != loop_mark(bytes(32))

"""Whole words: the plain search and the pattern give one answer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.rules import patterns

letters = st.text(st.sampled_from("ab_-é1 \u0301\n") | st.characters(categories=["L", "M", "N", "P", "Zs"]), max_size=8)


@settings(deadline=None, max_examples=500)
@given(
    st.lists(letters | st.text("ab_-é", max_size=2), min_size=1, max_size=3), st.lists(letters, max_size=3).map("".join)
)
def test_the_plain_search_for_words_and_the_pattern_agree(words: list[str], text: str) -> None:
    text += words[0] if len(text) % 2 else ""
    plain = patterns.word_test(words)(text)
    most, patterns._PLAIN_SEARCHES = patterns._PLAIN_SEARCHES, 0
    try:
        assert patterns.word_test(words)(text) is plain
    finally:
        patterns._PLAIN_SEARCHES = most


def test_a_text_that_holds_the_letters_again_and_again_is_searched_by_the_pattern() -> None:
    meets = patterns.word_test(["ab"])
    assert not meets("xab" * 200_000)
    assert meets("xab" * 200_000 + " ab")

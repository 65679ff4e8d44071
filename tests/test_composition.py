"""The text of an item: cut to a limit, with its marker; and lists that come in pages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from postroom.composition import compose
from postroom.exchange import Answer
from postroom.mail.targets import Markup, escape
from postroom.pages import rows
from tests.kinds import job


def test_a_text_within_the_limit_stays() -> None:
    assert compose(job(body="short"), Markup.PLAIN, limit=200).startswith("short\n\na footer\n\npostroom-")


@pytest.mark.parametrize("markup", [Markup.PLAIN, Markup.MARKDOWN])
@pytest.mark.parametrize("size", [900, 1_000, 1_001, 20_000])
def test_a_longer_body_is_cut(markup: Markup, size: int) -> None:
    words = escape(markup, "word_word " * (size // 10))
    delivery = job(body=words, title="t" * 300)
    text = compose(delivery, markup, title_limit=255, limit=1_000, notes=["a note"], marker="<!-- m -->")
    assert 700 < len(text) <= 1_000
    assert text.startswith("t" * 300) and text.endswith("a note\n\na footer\n\n<!-- m -->")
    assert delivery.message_url in text
    cut = text.removeprefix("t" * 300).partition("\n\nThe text was too long")[0].strip()
    assert words.startswith(cut) and cut.endswith("word")


def test_a_word_without_end_is_cut_too() -> None:
    text = compose(job(body="x" * 5_000), Markup.PLAIN, limit=1_000)
    assert len(text) == 1_000 and "x" * 500 in text


def test_a_title_without_end_leaves_the_marker() -> None:
    delivery = job(body="the body", title="t" * 5_000)
    text = compose(delivery, Markup.PLAIN, title_limit=255, limit=1_000)
    assert len(text) <= 1_000 and text.endswith(delivery.marker) and delivery.message_url in text


def pages_of(lengths: list[int], longest: int, asked: list[tuple[int, int]]) -> Any:
    """A list whose rows have these lengths; an answer above the longest comes back without its end."""

    def get(page: int, size: int) -> Answer:
        asked.append((page, size))
        chosen = list(enumerate(lengths))[(page - 1) * size : page * size]
        whole = sum(length for _, length in chosen) > longest
        return Answer(200, {}, msgspec.json.encode([{"row": row} for row, _ in chosen]), truncated=whole)

    return get


def test_rows_of_all_pages() -> None:
    asked: list[tuple[int, int]] = []
    assert [row["row"] for row in rows(pages_of([1] * 20, 100, asked), size=8)] == list(range(20))
    assert asked == [(1, 8), (2, 8), (3, 8)]


def test_pages_too_long_are_halved_and_no_row_is_lost() -> None:
    asked: list[tuple[int, int]] = []
    lengths = [1] * 9 + [60, 70] + [1] * 10
    assert [row["row"] for row in rows(pages_of(lengths, 100, asked), size=8)] == list(range(21))


def test_a_row_too_long_by_itself_is_passed_over() -> None:
    found = [row["row"] for row in rows(pages_of([1, 500, 1, 1], 100, []), size=4)]
    assert found == [0, 2, 3]


def test_rows_end_somewhere() -> None:
    asked: list[tuple[int, int]] = []
    assert len(list(rows(pages_of([1] * 100, 100, asked), size=8, most=24))) == 24 and len(asked) == 3

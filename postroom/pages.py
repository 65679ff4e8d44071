"""Lists that come in numbered pages, however long their rows are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from postroom.exchange import Answer

MOST_ROWS = 1024


def rows(get: Callable[[int, int], Answer], *, size: int = 64, most: int = MOST_ROWS) -> Iterator[dict[str, Any]]:
    """The rows of a list, at most `most` of them. `get(page, size)` fetches one page, counted from 1.

    `size` is a power of two. A page that is longer than an answer may be is fetched anew in halves; a row that is too
    long by itself is passed over. Raises DeliveryError where a page is no list.
    """
    at = 0
    while at < most:
        answer = get(at // size + 1, size)
        if answer.truncated and size > 1:
            size //= 2
            continue
        if answer.truncated:
            at += 1
            continue
        page = answer.json()
        if not isinstance(page, list):
            raise answer.error(f"{answer.host} answered with something that is no list", unknown=True)
        yield from (row for row in page if isinstance(row, dict))
        if len(page) < size:
            return
        at += size

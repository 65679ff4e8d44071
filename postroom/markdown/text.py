"""Markdown as plain text, for chats and other places that show no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from postroom.markdown.fitting import fitted
from postroom.markdown.lines import Style, written
from postroom.markdown.parse import Node, parse
from postroom.markdown.spans import Span, grouped, lines_of, spans


def convert(markdown: str, *, images: Mapping[str, str] | None = None, limit: int | None = None) -> str:
    """The words in lines. Behind the words of a link stands its address, where they are not the same.

    `images` gives addresses by Content-ID, which stand behind the images' words. `limit`: most characters; what is too
    much is left out from before the last blocks, where the link to the mail stands.
    """
    style = _Plain(images or {})
    return fitted(parse(markdown), limit, lambda nodes: written(nodes, style), len)


class _Plain(Style):
    bullets = ("-",)

    def __init__(self, images: Mapping[str, str]) -> None:
        self._images = images

    def words(self, nodes: Sequence[Node]) -> list[str]:
        return ["".join(map(_shown, grouped(line))) for line in lines_of(spans(nodes, self._images))]

    def heading(self, nodes: Sequence[Node]) -> list[str]:
        return self.words(nodes)

    def code(self, text: str) -> list[str]:
        return text.split("\n")


def _shown(group: list[Span]) -> str:
    """The pieces of one link, or one piece that is none."""
    words = "".join([piece.text for piece in group])
    if image := group[0].image:
        return f"{words} <{image}>".lstrip()
    url = group[0].url
    return words if not url or same(words, url) else f"{words} <{url.removeprefix('mailto:')}>"


def same(words: str, url: str) -> bool:
    """Whether the words of a link are its address."""
    address = unquote(url).rstrip("/")
    return unquote(words).strip().rstrip("/") in (address, address.removeprefix("mailto:"))

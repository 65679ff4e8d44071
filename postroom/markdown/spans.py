"""A line of a document as pieces that lie beside each other instead of inside of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from postroom.markdown.parse import Node

_NO_MARKS: frozenset[str] = frozenset()


class Span(NamedTuple):
    """Some words with all that holds for them; or a break of the line; or an image."""

    kind: str
    """text, break or image."""
    text: str = ""
    """Of an image its words; never empty for a text."""
    marks: frozenset[str] = _NO_MARKS
    """strong, em, strike, code."""
    url: str = ""
    """Where the words lead; empty for nowhere."""
    image: str = ""
    """Where the image lies at the destination."""


def spans(nodes: Sequence[Node], images: Mapping[str, str] | None = None) -> list[Span]:
    """The pieces of a line. Images that lie nowhere are told by their words.

    `images` gives addresses by Content-ID.
    """
    made: list[Span] = []
    for span in _spans(nodes, images or {}, _NO_MARKS, ""):
        last = made[-1] if made else None
        if last and last.kind == span.kind == "text" and last[2:] == span[2:]:
            made[-1] = last._replace(text=last.text + span.text)
        else:
            made.append(span)
    return made


def _spans(nodes: Sequence[Node], images: Mapping[str, str], marks: frozenset[str], url: str) -> Iterator[Span]:
    for node in nodes:
        if node.kind == "break":
            yield Span("break")
        elif node.kind == "image" and node.url in images:
            yield Span("image", node.text, marks, url, images[node.url])
        elif node.kind in ("text", "code", "image"):
            if node.text:
                yield Span("text", node.text, marks | {"code"} if node.kind == "code" else marks, url)
        elif node.kind == "link":
            yield from _spans(node.children or [Node("text", text=node.url)], images, marks, node.url)
        else:
            yield from _spans(node.children, images, marks | {node.kind}, url)


def lines_of(pieces: Sequence[Span]) -> list[list[Span]]:
    """The pieces in lines: parted at breaks, without blanks at the ends of each."""
    lines: list[list[Span]] = [[]]
    for piece in pieces:
        if piece.kind == "break":
            lines.append([])
        else:
            lines[-1].append(piece)
    return [_stripped(line) for line in lines]


def _stripped(line: list[Span]) -> list[Span]:
    while line and line[0].kind == "text" and not line[0].text.strip(" \n"):
        line = line[1:]
    while line and line[-1].kind == "text" and not line[-1].text.strip(" \n"):
        line = line[:-1]
    if line and line[0].kind == "text":
        line[0] = line[0]._replace(text=line[0].text.lstrip(" \n"))
    if line and line[-1].kind == "text":
        line[-1] = line[-1]._replace(text=line[-1].text.rstrip(" \n"))
    return line


def grouped(line: Sequence[Span]) -> Iterator[list[Span]]:
    """The pieces of a line, those of one link together."""
    group: list[Span] = []
    for piece in line:
        if group and (not piece.url or piece.url != group[-1].url):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def marked(text: str, marks: frozenset[str], signs: Mapping[str, tuple[str, str]], escape: Callable[[str], str]) -> str:
    """Words with the signs of their marks around them; blanks at the ends stay outside of the signs."""
    words = text.strip()
    if not words:
        return text
    start = text.index(words)
    shown = escape(words)
    for mark in ("code", "strike", "em", "strong"):
        if mark in marks:
            opening, closing = signs[mark]
            shown = f"{opening}{shown}{closing}"
    return f"{text[:start]}{shown}{text[start + len(words) :]}"

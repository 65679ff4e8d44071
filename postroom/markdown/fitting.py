"""Documents made to fit: into what a markup lets stand inside of what, and into the length that a system takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from postroom.markdown.parse import Node

_INNER = frozenset(("quote", "item"))
_RULE = "———"
ELLIPSIS = "…"
_MOST_LAST = 8
"""Blocks at the end of a document that are kept where it is cut: notes, footer and marker."""
_MOST_ROUNDS = 8

Made = TypeVar("Made")


def flattened(nodes: Sequence[Node], allowed: Mapping[str, frozenset[str]], inside: str = "") -> list[Node]:
    """Blocks in which quotes and items of lists hold only what is `allowed` there; the words of all others stay.

    A heading becomes a strong paragraph, a quote lines behind `> `, a row of a table a line.
    """
    made: list[Node] = []
    for node in nodes:
        if inside and node.kind not in allowed[inside]:
            made += flattened(list(_as_paragraphs(node)), allowed, inside)
        elif node.kind in _INNER:
            made.append(replace(node, children=flattened(node.children, allowed, node.kind)))
        elif node.kind in ("bullets", "numbers"):
            made.append(replace(node, children=flattened(node.children, allowed)))
        else:
            made.append(node)
    return made


def _as_paragraphs(node: Node) -> Iterator[Node]:
    """What stands for a block where it must not stand itself."""
    if node.kind == "heading":
        yield Node("paragraph", [Node("strong", node.children)])
    elif node.kind == "quote":
        for child in node.children:
            yield from _quoted(child)
    elif node.kind == "table":
        for row in node.children:
            yield Node("paragraph", row_words(row))
    elif node.kind == "rule":
        yield Node("paragraph", [Node("text", text=_RULE)])


def _quoted(node: Node) -> Iterator[Node]:
    """A block of a quote that must not be one, with the sign of a quote before its lines."""
    if node.kind != "paragraph":
        inside = [node] if node.kind in ("bullets", "numbers") else list(_as_paragraphs(node))
        for each in inside:
            yield from [each] if each.kind != "paragraph" else _quoted(each)
        return
    sign = Node("text", text="> ")
    yield Node("paragraph", [sign, *(part for child in node.children for part in _behind_break(child, sign))])


def _behind_break(child: Node, sign: Node) -> list[Node]:
    return [child, sign] if child.kind == "break" else [child]


def row_words(row: Node) -> list[Node]:
    """The cells of a row in one line."""
    made: list[Node] = []
    for cell in row.children:
        made += [Node("text", text=" | "), *cell.children] if made else cell.children or [Node("text", text=" ")]
    return made


def fitted(
    nodes: list[Node], limit: int | None, render: Callable[[list[Node]], Made], size: Callable[[Made], int]
) -> Made:
    """The document rendered in at most `limit`, as `size` counts. What is too much goes from before the last blocks.

    These, the footer and the marker, stay: they lead to the mail.
    """
    made = render(nodes)
    if limit is None:
        return made
    budget = float(limit)
    for _ in range(_MOST_ROUNDS):
        if size(made) <= limit:
            return made
        made = render(shortened(nodes, int(budget)))
        budget = budget * min(0.9, limit / max(1, size(made)))
    if size(made) <= limit:
        return made
    # Nothing that is shortened fits: the end alone, as much of it as there is room for.
    left_out = Node("paragraph", [Node("text", text=ELLIPSIS)])
    ends = (render([left_out, *nodes[start:]]) for start in range(max(0, len(nodes) - _MOST_LAST), len(nodes)))
    return next((end for end in ends if size(end) <= limit), render([left_out]))


def shortened(nodes: Sequence[Node], budget: int) -> list[Node]:
    """The blocks with at most `budget` characters: the first ones, an ellipsis, and those at the very end."""
    last: list[Node] = []
    for node in reversed(nodes[-_MOST_LAST:]):
        length = weight(node)
        if length > budget / 2 - sum(map(weight, last)):
            break
        last.insert(0, node)
    rest = [*nodes[: len(nodes) - len(last)]]
    return [*_first(rest, budget - sum(map(weight, last)) - 2), *last]


def weight(node: Node) -> int:
    """About how many characters a part of a document takes."""
    own = len(node.text) + len(node.url) + (0 if node.kind == "text" else 2)
    return own + sum(map(weight, node.children))


def _first(nodes: Sequence[Node], budget: int) -> list[Node]:
    """As many of the nodes as fit. Behind the last words that fit stands an ellipsis."""
    made: list[Node] = []
    for node in nodes:
        length = weight(node)
        if length <= budget:
            made.append(node)
            budget -= length
            continue
        if node.children:
            children = _first(node.children, budget - 4)
            # An element without any words of its own is not worth its signs.
            if children:
                made.append(replace(node, children=children))
                return made
        elif node.text and node.kind != "image":
            made.append(replace(node, text=node.text[: max(0, budget - 1)].rstrip() + ELLIPSIS))
            return made
        made += [_ellipsis_like(node)]
        return made
    return made


def _ellipsis_like(node: Node) -> Node:
    """An ellipsis as a node that may stand where this one stood."""
    words = Node("text", text=ELLIPSIS)
    if node.kind in ("row", "item", "head", "cell"):
        inside = [Node("paragraph", [words])] if node.kind == "item" else [words]
        if node.kind == "row":
            inside = [Node("cell", [words]) for _ in node.children[:1]]
        return Node(node.kind, inside)
    blocks = ("paragraph", "heading", "quote", "bullets", "numbers", "code_block", "rule", "table")
    return Node("paragraph", [words]) if node.kind in blocks else words

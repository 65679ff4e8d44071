"""Documents as lines of text with signs before them, for markups and chats that know no blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from postroom.markdown.fitting import row_words
from postroom.markdown.parse import Node

_RULE = "———"


class Style(ABC):
    """What differs between markups of lines."""

    bullets: Sequence[str] = ("•", "◦", "▪")
    """Signs of items, by how deep the list stands in others."""
    quote = "> "

    @abstractmethod
    def words(self, nodes: Sequence[Node]) -> list[str]:
        """The content of a paragraph, in lines."""

    @abstractmethod
    def heading(self, nodes: Sequence[Node]) -> list[str]: ...

    @abstractmethod
    def code(self, text: str) -> list[str]: ...


def written(nodes: Sequence[Node], style: Style) -> str:
    """The blocks with an empty line between each two."""
    return "\n".join(_lines(nodes, style, 0)).strip("\n")


def _lines(nodes: Sequence[Node], style: Style, depth: int) -> list[str]:
    made: list[str] = []
    for node in nodes:
        lines = _block(node, style, depth)
        if made and not node.tight and not (depth and node.kind in ("bullets", "numbers")):
            made.append("")
        made += lines
    return made


def _block(node: Node, style: Style, depth: int) -> list[str]:
    if node.kind == "paragraph":
        return style.words(node.children)
    if node.kind == "heading":
        return style.heading(node.children)
    if node.kind == "code_block":
        return style.code(node.text)
    if node.kind == "quote":
        return [f"{style.quote}{line}".rstrip() for line in _lines(node.children, style, depth)]
    if node.kind in ("bullets", "numbers"):
        return _list(node, style, depth)
    if node.kind == "table":
        return [line for row in node.children for line in style.words(row_words(row))]
    return [_RULE]


def _list(node: Node, style: Style, depth: int) -> list[str]:
    made: list[str] = []
    for number, item in enumerate(node.children, start=node.level):
        mark = f"{number}. " if node.kind == "numbers" else f"{style.bullets[min(depth, len(style.bullets) - 1)]} "
        lines = _lines(item.children, style, depth + 1) or [""]
        made.append(f"{mark}{lines[0]}".rstrip())
        made += [f"{' ' * len(mark)}{line}".rstrip() for line in lines[1:]]
    return made

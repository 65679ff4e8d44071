"""Markdown as a tree: CommonMark with the tables and the struck words of GitHub, HTML shown as text."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from postroom.mail.escaping import urls_in

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_MOST_LEVELS = 60
"""Blocks and emphasis inside of each other. Of quotes and lists in deeper ones nothing is read."""
LONGEST = 400_000
"""Characters that are read; what stands between the beginning and the end of longer Markdown is left out."""
_KEPT_END = 40_000
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
_LINKED = ("http://", "https://", "mailto:")
_CID = "cid:"
_BLOCKS = {
    "paragraph": "paragraph",
    "heading": "heading",
    "blockquote": "quote",
    "bullet_list": "bullets",
    "ordered_list": "numbers",
    "list_item": "item",
    "table": "table",
    "tr": "row",
    "th": "head",
    "td": "cell",
}
_MARKS = {"strong": "strong", "em": "em", "s": "strike"}


@dataclass(slots=True)
class Node:
    """A part of a document. Which attributes count depends on its kind."""

    kind: str
    """Blocks: paragraph, heading, quote, bullets, numbers, item, code_block, rule, table, row, head, cell.
    Inside of lines: text, break, strong, em, strike, code, link, image."""
    children: list[Node] = field(default_factory=list)
    text: str = ""
    """Of text, code and code_block; of an image its words."""
    url: str = ""
    """Of a link: with http, https or mailto. Of an image: the Content-ID of what the mail holds."""
    level: int = 0
    """Of a heading; of numbers the first one."""
    tight: bool = False
    """A paragraph in a list whose items have no empty lines between them."""
    language: str = ""
    """Of a code_block; empty where none is given."""


def parse(markdown: str) -> list[Node]:
    """The blocks of a document."""
    if len(markdown) > LONGEST:
        markdown = f"{markdown[: LONGEST - _KEPT_END]}\n\n…\n\n{_from_line(markdown[-_KEPT_END:])}"
    document = Node("document")
    open_nodes = [document]
    for token in _parser().parse(_CONTROLS.sub("\ufffd", markdown)):
        name, _, side = token.type.rpartition("_")
        if side == "open" and name in _BLOCKS:
            node = Node(_BLOCKS[name], tight=token.hidden)
            node.level = _level(token)
            open_nodes[-1].children.append(node)
            open_nodes.append(node)
        elif side == "close" and name in _BLOCKS:
            open_nodes.pop()
        elif token.type == "inline":
            open_nodes[-1].children += _inline(token.children or [])
        elif token.type in ("fence", "code_block"):
            language = token.info.split()[0] if token.info.strip() else ""
            open_nodes[-1].children.append(Node("code_block", text=token.content.removesuffix("\n"), language=language))
        elif token.type == "hr":
            open_nodes[-1].children.append(Node("rule"))
    return document.children


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    options = {"html": False, "maxNesting": _MOST_LEVELS}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"])


def _from_line(text: str) -> str:
    """The text from its first whole line on."""
    return text[text.find("\n") + 1 :]


def _level(token: Token) -> int:
    if token.type == "heading_open":
        return int(token.tag[1])
    if token.type == "ordered_list_open":
        return int(token.attrs.get("start", 1))
    return 0


def _inline(tokens: Sequence[Token]) -> list[Node]:
    top = Node("line")
    open_nodes = [top]
    linked = 0
    for token in tokens:
        name, _, side = token.type.rpartition("_")
        here = open_nodes[-1].children
        if token.type == "text":
            here += [Node("text", text=token.content)] if linked else _with_links(token.content)
        elif token.type == "softbreak":
            here.append(Node("text", text=" "))
        elif token.type == "hardbreak":
            here.append(Node("break"))
        elif token.type == "code_inline":
            here.append(Node("code", text=token.content))
        elif token.type == "image":
            here += _image(token, linked=bool(linked))
        elif name == "link":
            if side == "open":
                node = _link(str(token.attrs.get("href", "")))
                here.append(node)
                open_nodes.append(node)
            else:
                open_nodes.pop()
            linked += 1 if side == "open" else -1
        elif name in _MARKS:
            if side == "open":
                node = Node(_MARKS[name])
                here.append(node)
                open_nodes.append(node)
            else:
                open_nodes.pop()
        elif token.content:
            here.append(Node("text", text=token.content))
    return _joined(top.children)


def _link(url: str) -> Node:
    """A link; where nobody should follow it, only what stands in it."""
    followed = url.lower().startswith(_LINKED)
    return Node("link", url=url) if followed else Node("span")


def _with_links(text: str) -> Iterator[Node]:
    """The text with bare web addresses as links, as an operator expects who wrote one into a rule."""
    at = 0
    for start, url in urls_in(text):
        if start > at:
            yield Node("text", text=text[at:start])
        yield Node("link", [Node("text", text=url)], url=_quoted(url))
        at = start + len(url)
    if at < len(text):
        yield Node("text", text=text[at:])


def _quoted(url: str) -> str:
    return re.sub(r"[^\x21-\x7e]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), url)


def _image(token: Token, *, linked: bool) -> list[Node]:
    """An image that the mail holds; of any other its words, which lead to it."""
    source = str(token.attrs.get("src", ""))
    words = "".join(_words(token.children or []))
    if source[: len(_CID)].lower() == _CID:
        return [Node("image", text=words, url=unquote(source[len(_CID) :]))]
    shown = Node("text", text=words or source)
    if linked or not source.lower().startswith(_LINKED):
        return [shown] if words else []
    return [Node("link", [shown], url=source)]


def _words(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "image":
            yield from _words(token.children or [])
        elif token.type in ("softbreak", "hardbreak"):
            yield " "
        else:
            yield token.content


def _joined(nodes: list[Node]) -> list[Node]:
    """The nodes without those that only group, and with texts that follow each other as one."""
    made: list[Node] = []
    for node in nodes:
        for each in _joined(node.children) if node.kind == "span" else [node]:
            each.children = _joined(each.children)
            if each.kind == "text" and made and made[-1].kind == "text":
                made[-1].text += each.text
            elif each.kind != "text" or each.text:
                made.append(each)
    return made

"""Markdown as the Atlassian Document Format, which Jira Cloud takes for descriptions and comments.

https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/ and the JSON schema that it names. Text of
a mail is only ever text in it: no mention, no emoji, no card, and no link but those of the Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from postroom.markdown.fitting import fitted, flattened
from postroom.markdown.parse import Node, parse
from postroom.markdown.spans import Span, spans

LIMIT = 32_767
"""Characters of a text field in Jira."""
MEDIA = "media:"
"""Begins what stands in `images` for a file of Atlassian's media service: its id follows."""

_Json = dict[str, Any]
_INSIDE = {
    "quote": frozenset(("paragraph", "bullets", "numbers", "code_block")),
    "item": frozenset(("paragraph", "bullets", "numbers", "code_block")),
}
_LANGUAGE = re.compile(r"[A-Za-z][A-Za-z0-9+#.-]{0,30}\Z")


def convert(markdown: str, *, images: Mapping[str, str] | None = None, limit: int | None = None) -> _Json:
    """The document. `images` gives by Content-ID an address with https, or `media:` with an id of the media service;
    an image without one is told by its words.

    `limit`: most characters, of words, addresses and structure (see `size`). What is too much is left out from before
    the last blocks, where the footer with the link to the mail stands.
    """

    def render(nodes: list[Node]) -> _Json:
        content = [block for node in nodes for block in _block(node, images or {})]
        return {"version": 1, "type": "doc", "content": content or [_paragraph([])]}

    return fitted(flattened(parse(markdown), _INSIDE), limit, render, size)


def size(document: Any) -> int:
    """Characters of a document as Jira may count them: words and addresses, and two for each block or break."""
    if isinstance(document, list):
        return sum(map(size, document))
    own = len(document.get("text", "")) + (0 if document["type"] == "text" else 2)
    marks = sum(len(str(mark.get("attrs", {}).get("href", ""))) for mark in document.get("marks", []))
    return own + marks + size(document.get("content", []))


def words(document: Any) -> str:
    """All words of a document, or of what Jira gives back as one: for a search in it."""
    if isinstance(document, list):
        return "".join(map(words, document))
    if not isinstance(document, dict):
        return ""
    text = document.get("text")
    inside = words(document.get("content"))
    block = document.get("type") not in ("text", None)
    return f"{text if isinstance(text, str) else ''}{inside}" + ("\n" if block else "")


def _block(node: Node, images: Mapping[str, str]) -> Iterator[_Json]:
    if node.kind in ("paragraph", "heading"):
        yield from _words(node, images)
    elif node.kind == "quote":
        yield {"type": "blockquote", "content": _blocks(node.children, images)}
    elif node.kind in ("bullets", "numbers"):
        yield _list(node, images)
    elif node.kind == "code_block":
        made: _Json = {"type": "codeBlock"}
        if _LANGUAGE.match(node.language):
            made["attrs"] = {"language": node.language}
        made["content"] = [{"type": "text", "text": node.text}] if node.text else []
        yield made
    elif node.kind == "rule":
        yield {"type": "rule"}
    elif node.kind == "table":
        rows = [
            {"type": "tableRow", "content": [_cell(cell, images) for cell in row.children]} for row in node.children
        ]
        yield {"type": "table", "content": rows}


def _blocks(nodes: Sequence[Node], images: Mapping[str, str]) -> list[_Json]:
    return [block for node in nodes for block in _block(node, images)] or [_paragraph([])]


def _list(node: Node, images: Mapping[str, str]) -> _Json:
    items = []
    for item in node.children:
        content = _blocks(item.children, images)
        if content[0]["type"] in ("bulletList", "orderedList"):
            # A list must not be the first thing in an item.
            content.insert(0, _paragraph([]))
        items.append({"type": "listItem", "content": content})
    if node.kind == "bullets":
        return {"type": "bulletList", "content": items}
    return {"type": "orderedList", "attrs": {"order": node.level}, "content": items}


def _cell(node: Node, images: Mapping[str, str]) -> _Json:
    content = list(_words(Node("paragraph", node.children), images)) or [_paragraph([])]
    return {"type": "tableHeader" if node.kind == "head" else "tableCell", "content": content}


def _words(node: Node, images: Mapping[str, str]) -> Iterator[_Json]:
    """A paragraph or heading; images of it follow in blocks of their own, since they stand in no line here."""
    content: list[_Json] = []
    made = 0
    for span in spans(node.children, images):
        if span.kind == "image":
            if content:
                yield _line(node, content)
            yield _image(span)
            content, made = [], made + 1
        elif span.kind == "break":
            content.append({"type": "hardBreak"})
        else:
            content.append(_text(span))
    if content or not made:
        yield _line(node, content)


def _line(node: Node, content: list[_Json]) -> _Json:
    if node.kind == "heading":
        return {"type": "heading", "attrs": {"level": node.level}, "content": content}
    return _paragraph(content)


def _paragraph(content: list[_Json]) -> _Json:
    return {"type": "paragraph", "content": content}


def _text(span: Span) -> _Json:
    # Words in code take no mark beside it but a link.
    names = ["code"] if "code" in span.marks else sorted(span.marks)
    marks: list[_Json] = [{"type": name} for name in names]
    if span.url:
        marks.insert(0, {"type": "link", "attrs": {"href": span.url}})
    made: _Json = {"type": "text", "text": span.text}
    return {**made, "marks": marks} if marks else made


def _image(span: Span) -> _Json:
    attributes = (
        {"type": "file", "id": span.image.removeprefix(MEDIA), "collection": ""}
        if span.image.startswith(MEDIA)
        else {"type": "external", "url": span.image}
    )
    if span.text:
        attributes["alt"] = span.text
    return {
        "type": "mediaSingle",
        "attrs": {"layout": "center"},
        "content": [{"type": "media", "attrs": attributes}],
    }

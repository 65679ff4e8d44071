"""Markdown as safe HTML, for Request Tracker, Matrix and mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from postroom.markdown.fitting import fitted
from postroom.markdown.parse import Node, parse

TAGS = frozenset(
    (
        *("p", "br", "strong", "em", "del", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "a", "img"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
    )
)
"""All tags that may come out. Attributes: `href` of a, `src` and `alt` of img, `start` of ol."""
_BLOCKS = {"quote": "blockquote", "bullets": "ul", "item": "li", "row": "tr", "head": "th", "cell": "td"}
_MARKS = {"strong": "strong", "em": "em", "strike": "del", "code": "code"}
_SHOWN = ("https://", "http://", "cid:", "mxc://")


def convert(markdown: str, *, images: Mapping[str, str] | None = None, limit: int | None = None) -> str:
    """HTML with the tags of TAGS only; links lead to http, https and mailto.

    `images` gives addresses with https, cid or mxc by Content-ID; an image without one is told by its words. `limit`:
    most characters; what is too much is left out from before the last blocks, where the link to the mail stands.
    """
    placed = {name: url for name, url in (images or {}).items() if url.lower().startswith(_SHOWN)}
    return fitted(parse(markdown), limit, lambda nodes: "\n".join(_block(node, placed) for node in nodes), len)


def _block(node: Node, images: Mapping[str, str]) -> str:
    if node.kind == "paragraph":
        words = _line(node.children, images)
        return words if node.tight else f"<p>{words}</p>"
    if node.kind == "heading":
        return f"<h{node.level}>{_line(node.children, images)}</h{node.level}>"
    if node.kind == "code_block":
        return f"<pre><code>{escape(node.text, quote=False)}\n</code></pre>"
    if node.kind == "rule":
        return "<hr>"
    if node.kind == "table":
        return _table(node, images)
    if node.kind in ("head", "cell"):
        inside = _line(node.children, images)
    else:
        inside = "\n".join(_block(child, images) for child in node.children)
    if node.kind == "numbers":
        start = f' start="{node.level}"' if node.level != 1 else ""
        return f"<ol{start}>\n{inside}\n</ol>"
    tag = _BLOCKS[node.kind]
    line = "\n" if node.kind in ("quote", "bullets", "row") else ""
    return f"<{tag}>{line}{inside}{line}</{tag}>"


def _table(node: Node, images: Mapping[str, str]) -> str:
    heads = [_block(row, images) for row in node.children[:1]]
    rows = [_block(row, images) for row in node.children[1:]]
    body = ["<tbody>", *rows, "</tbody>"] if rows else []
    return "\n".join(["<table>", "<thead>", *heads, "</thead>", *body, "</table>"])


def _line(nodes: Sequence[Node], images: Mapping[str, str]) -> str:
    return "".join(_inline(node, images) for node in nodes)


def _inline(node: Node, images: Mapping[str, str]) -> str:
    if node.kind == "text":
        return escape(node.text, quote=False)
    if node.kind == "break":
        return "<br>\n"
    if node.kind == "image":
        url = images.get(node.url)
        return escape(node.text) if url is None else f'<img src="{escape(url)}" alt="{escape(node.text)}">'
    inside = escape(node.text, quote=False) or _line(node.children, images)
    if node.kind == "link":
        return f'<a href="{escape(node.url)}">{inside or escape(node.url)}</a>'
    tag = _MARKS[node.kind]
    return f"<{tag}>{inside}</{tag}>"

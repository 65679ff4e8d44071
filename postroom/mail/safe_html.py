"""HTML of mails for display: only what shows words and their order, whatever a stranger wrote.

The source is first written anew from its tags, balanced and of bounded depth; then the library decides what may stay.
The library builds a tree, which takes quadratic time on some inputs: on balanced and shallow ones it is linear.
"""

from __future__ import annotations

import html
import re

import nh3

from postroom.mail.html_tokens import Token, tokens

LONGEST = 500_000
"""Characters of a source that are shown."""
_DEEPEST = 40
# fmt: off
_TAGS = frozenset((
    "a", "abbr", "address", "b", "bdi", "bdo", "big", "blockquote", "br", "caption", "center", "cite", "code", "dd",
    "del", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i",
    "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp", "section", "small", "span", "strike", "strong",
    "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var", "wbr",
))
_VOID = frozenset(("br", "hr", "wbr"))
_ENDS_PARAGRAPH = frozenset((
    "address", "blockquote", "center", "div", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "p",
    "pre", "section", "table", "ul",
))
# fmt: on
_ATTRIBUTES = {
    "a": {"href", "title"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
    "bdo": {"dir"},
    "p": {"dir"},
    "div": {"dir"},
    "span": {"dir"},
    "abbr": {"title"},
}  # fmt: skip
_WANTED = re.compile(r"href|title|span|dir", re.IGNORECASE)
_MOST_REFERENCES = 20_000
_ALIKE = str.maketrans("&<", "＆＜")
_LONGEST_VALUE = 4_000


def safe_html(source: str) -> str:
    """The source without anything that runs, loads or posts: no script, style, form, frame, and no image.

    Images give way to their alternative texts. Links keep http, https and mailto, and open beside the page.
    """
    cut = source[:LONGEST]
    cleaned = nh3.clean(
        _balanced(cut),
        tags=set(_TAGS),
        attributes={name: set(names) for name, names in _ATTRIBUTES.items()},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        strip_comments=True,
    )
    return (
        cleaned if len(source) <= LONGEST else f"{cleaned}<p>[{len(source) - LONGEST:,} characters are not shown]</p>"
    )


def _balanced(source: str) -> str:
    made: list[str] = []
    stack: list[str] = []
    hidden, depth = "", 0
    for token in tokens(source):
        name = token.name
        if hidden:
            depth += (name == hidden) - (name == f"/{hidden}")
            hidden = hidden if depth else ""
        elif not name:
            made.append(_text(token.source))
        elif name[0] == "/":
            _end(name[1:], stack, made)
        elif name == "img":
            made.append(html.escape(token.attributes().get("alt", "")[:500], quote=False))
        elif name in _TAGS:
            if name not in _VOID and token.source and token.hidden:
                hidden, depth = name, 1
                continue
            if name in _ENDS_PARAGRAPH and "p" in stack:
                _end("p", stack, made)
            if name in ("a", "li", "td", "th", "tr") and stack[-1:] == [name]:
                _end(name, stack, made)
            if name in _VOID:
                made.append(f"<{name}>")
            elif len(stack) < _DEEPEST and not (name == "a" and "a" in stack):
                stack.append(name)
                made.append(f"<{name}{_attributes(token)}>")
    made += [f"</{name}>" for name in reversed(stack)]
    return "".join(made)


def _text(text: str) -> str:
    # A row of no-break spaces takes the library quadratic time, and character references take it long.
    text = text.replace("\xa0", " ")
    if text.count("&") + text.count("<") > _MOST_REFERENCES:
        return text.translate(_ALIKE)
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _end(name: str, stack: list[str], made: list[str]) -> None:
    if name in stack:
        while True:
            last = stack.pop()
            made.append(f"</{last}>")
            if last == name:
                return


def _attributes(token: Token) -> str:
    allowed = _ATTRIBUTES.get(token.name)
    if allowed is None or not _WANTED.search(token.source):
        return ""
    found = token.attributes()
    values = [(name, found[name][:_LONGEST_VALUE]) for name in sorted(allowed) if name in found]
    return "".join(f' {name}="{html.escape(value)}"' for name, value in values)

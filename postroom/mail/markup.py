"""HTML of mails to plain text."""

from __future__ import annotations

import html
import re

# A tree builder takes quadratic time on hostile nesting; a scan for tags does not, and words are all that is wanted.
_TAG = re.compile(r"(<[^<>]*>)")
_NAME = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)")
_ENDLESS = re.compile(r"&#(?:[0-9]{9,}|[xX][0-9a-fA-F]{9,});?")
"""Character references beyond all characters; converting one of thousands of digits raises."""
_BLANKS = re.compile(r"[ \t\r\n\f\v\xa0]+")
_EMPTY_LINES = re.compile(r"\n{3,}")
# fmt: off
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figure", "footer", "form",
    "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "td",
    "th", "tr", "ul",
))
# fmt: on
_SILENT = frozenset(("script", "style", "title", "head"))
"""Elements whose content is no part of the text."""


def html_to_text(source: str) -> str:
    """The words of an HTML body, a line for each block, without scripts, styles and comments."""
    if "<!--" in source:
        source = _without_comments(source)
    words: list[str] = []
    silent = ""
    for token in _TAG.split(source):
        if token.startswith("<") and token.endswith(">"):
            found = _NAME.match(token)
            name = found[1].lower() if found else ""
            if silent:
                if name == silent and token[1] == "/":
                    silent = ""
            elif name in _SILENT and token[1] != "/":
                silent = name
            elif name in _BLOCKS:
                words.append("\x0b")
        elif not silent:
            words.append(token)
    # Line ends of the source mean nothing in HTML; \x0b stands for the breaks between blocks meanwhile.
    text = html.unescape(_ENDLESS.sub("\ufffd", "".join(words)))
    lines = (_BLANKS.sub(" ", line).strip() for line in text.split("\x0b"))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


def _without_comments(source: str) -> str:
    kept: list[str] = []
    position = 0
    while (start := source.find("<!--", position)) >= 0:
        kept.append(source[position:start])
        end = source.find("-->", start + 4)
        if end < 0:
            return "".join(kept)
        position = end + 3
    kept.append(source[position:])
    return "".join(kept)

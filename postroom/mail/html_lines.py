"""HTML of mails as lines, each in plain text and in Markdown: one walk over the tags, without building a tree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from postroom.mail.escaping import (
    autolink,
    escape_inline,
    escape_line_start,
    hard_breaks,
    markdown_lines,
    plain_lines,
)
from postroom.mail.html_tokens import Token, tokens

_MOST_LEVELS = 10
"""Quotes and lists inside of each other; deeper ones are shown at this depth."""
_LONGEST_URL = 2_000
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_UNSEEN = re.compile(r"[\x00-\x20\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
# fmt: off
_PARAGRAPHS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "ul", "ol", "dl", "figure", "fieldset", "hr"))
"""Elements with an empty line before and behind them."""
_BLOCKS = frozenset((
    "address", "article", "aside", "body", "center", "dd", "details", "dialog", "div", "dt", "footer", "form",
    "header", "html", "legend", "main", "nav", "section", "summary", "table", "tbody", "tfoot", "thead", "tr",
    "caption", "option", "select",
))
# fmt: on
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_MARKS = {"b": "**", "strong": "**", "i": "*", "em": "*", "del": "~~", "s": "~~", "strike": "~~"}
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)


class Line(NamedTuple):
    """The same line twice. Both are empty between paragraphs."""

    text: str
    markdown: str


class _Piece(NamedTuple):
    text: str
    mark: str
    """Markdown's sign for its emphasis; empty for none."""
    url: str


def html_lines(source: str) -> list[Line]:
    """The words of an HTML body in lines: quotes behind `> `, items of lists behind `- ` or their number.

    Nothing of the mail acts in the Markdown. Scripts, styles, comments, hidden elements and images are left out, of the
    latter all but their alternative texts.
    """
    walk = _Walk()
    for token in tokens(source):
        walk.take(token)
    return walk.end()


def joined_text(lines: Iterable[Line]) -> str:
    """The lines as plain text, without empty lines at the ends and with no more than one between two others."""
    return "\n".join(_settled([line.text for line in lines]))


def joined_markdown(lines: Iterable[Line]) -> str:
    """The same as Markdown."""
    return hard_breaks(_settled([line.markdown for line in lines]))


def _settled(lines: list[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if line.strip() or (kept and kept[-1]):
            kept.append(line if line.strip() else "")
    while kept and not kept[-1]:
        kept.pop()
    return kept


class _Container:
    """A quote, or an item of a list, around the lines at hand."""

    __slots__ = ("first", "kind", "rest")

    def __init__(self, kind: str, first: str, rest: str) -> None:
        self.kind, self.first, self.rest = kind, first, rest

    def prefix(self) -> str:
        """What stands before the next line: the mark of an item before its first one only."""
        found, self.first = self.first, self.rest
        return found


class _Walk:
    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._pieces: list[_Piece] = []
        self._gap = False
        """White space is owed before the next word of this line."""
        self._blank = False
        """An empty line is owed before the next one."""
        self._containers: list[_Container] = []
        self._too_deep = 0
        self._lists: list[int] = []
        """The lists around, each with the number of its next item; 0 for those without numbers."""
        self._marks: list[str] = []
        self._heading = 0
        self._preformatted = 0
        self._url = ""
        self._link_words: list[str] = []
        self._hidden = ""
        self._hidden_depth = 0

    def take(self, token: Token) -> None:
        name = token.name
        if self._hidden:
            if name == self._hidden:
                self._hidden_depth += 1
            elif name == f"/{self._hidden}":
                self._hidden_depth -= 1
                self._hidden = self._hidden if self._hidden_depth else ""
        elif not name:
            self._text(token.source)
        elif name[0] != "/":
            if name not in _VOID and token.source and token.hidden:
                self._hidden, self._hidden_depth = name, 1
            else:
                self._start(token)
        else:
            self._close(name[1:])

    def end(self) -> list[Line]:
        """All lines."""
        self._end_link()
        self._break()
        return self._lines

    def _text(self, text: str) -> None:
        if self._preformatted:
            first, *others = plain_lines(text)
            self._add(first)
            if others and not (self._marks or self._url or self._containers or self._heading):
                self._break(keep_empty=True)
                *whole, last = others
                self._flush_blank()
                self._lines += map(Line, whole, markdown_lines(whole))
                self._add(last)
                return
            for line in others:
                self._break(keep_empty=True)
                self._add(line)
            return
        words = _BLANKS.sub(" ", text)
        if words.startswith(" "):
            self._gap = self._gap or bool(self._pieces)
        if stripped := words.strip(" "):
            self._add(f" {stripped}" if self._gap else stripped)
            self._gap = words.endswith(" ")

    def _add(self, text: str) -> None:
        if text:
            self._pieces.append(_Piece(text, self._marks[-1] if self._marks else "", self._url))
            if self._url:
                self._link_words.append(text)

    def _start(self, token: Token) -> None:
        name = token.name
        if name == "br":
            self._break(keep_empty=True)
        elif name in _MARKS:
            self._marks.append(_MARKS[name])
        elif name == "a":
            self._end_link()
            self._url = _safe_url(token.attributes().get("href", ""))
        elif name == "img":
            self._text(f" {token.attributes().get('alt', '')[:500]} ")
        elif name in ("td", "th"):
            self._gap = bool(self._pieces)
        elif name == "blockquote":
            self._enter(_Container("quote", "> ", "> "))
        elif name == "li":
            self._item()
        elif name in _PARAGRAPHS:
            self._paragraph(name)
        elif name in _BLOCKS:
            self._break()

    def _paragraph(self, name: str) -> None:
        nested = name in ("ul", "ol") and bool(self._lists)
        self._break()
        self._blank = self._blank or not nested
        if name in ("ul", "ol"):
            self._lists.append(1 if name == "ol" else 0)
        elif name == "pre":
            self._preformatted += 1
        elif name == "hr":
            self._emit("---", "---")
            self._blank = True
        else:
            self._heading = _HEADINGS.get(name, 0)

    def _close(self, name: str) -> None:
        if name in _MARKS:
            if self._marks:
                self._marks.pop()
        elif name == "a":
            self._end_link()
        elif name == "blockquote":
            self._leave("quote")
            self._blank = True
        elif name == "li":
            self._leave("item")
        elif name in ("ul", "ol"):
            self._leave("item")
            if self._lists:
                self._lists.pop()
            self._blank = self._blank or not self._lists
        elif name in _PARAGRAPHS:
            self._break()
            self._blank = True
            self._heading = 0
            if name == "pre" and self._preformatted:
                self._preformatted -= 1
        elif name in _BLOCKS:
            self._break()

    def _item(self) -> None:
        # An item ends the one before it of the same list, whether that was closed or not.
        items = sum(each.kind == "item" for each in self._containers)
        if items >= max(1, len(self._lists)):
            self._leave("item")
        number = self._lists[-1] if self._lists else 0
        mark = f"{number}. " if number else "- "
        if number:
            self._lists[-1] = number + 1
        self._enter(_Container("item", mark, " " * len(mark)))

    def _enter(self, container: _Container) -> None:
        self._break()
        if container.kind == "quote":
            self._blank = True
        if len(self._containers) < _MOST_LEVELS:
            self._flush_blank()
            self._containers.append(container)
        else:
            self._too_deep += 1

    def _leave(self, kind: str) -> None:
        self._break()
        if self._too_deep:
            self._too_deep -= 1
        elif any(each.kind == kind for each in self._containers):
            while self._containers.pop().kind != kind:
                pass

    def _end_link(self) -> None:
        url, words = self._url, _BLANKS.sub(" ", "".join(self._link_words)).strip()
        self._url, self._link_words = "", []
        bare = url.removeprefix("mailto:")
        if url and words and not _same(words, url):
            # In Markdown the words are the link. In plain text its address stands behind them.
            self._pieces.append(_Piece(f" <{bare}>", "url", url))

    def _break(self, *, keep_empty: bool = False) -> None:
        """Ends the line at hand."""
        pieces, self._pieces, self._gap = self._pieces, [], False
        text = "".join(piece.text for piece in pieces)
        if text.strip():
            self._emit(text.rstrip(), _markdown(pieces), heading=self._heading)
        elif keep_empty:
            self._blank_line()

    def _emit(self, text: str, markdown: str, heading: int = 0) -> None:
        self._flush_blank()
        prefix = "".join([each.prefix() for each in self._containers])
        if not heading and markdown != "---":
            indent = len(markdown) - len(markdown.lstrip(" "))
            markdown = "&nbsp;" * min(indent, 40) + escape_line_start(markdown.lstrip(" "))
        elif heading:
            markdown = f"{'#' * heading} {markdown.strip()}"
        self._lines.append(Line(prefix + text, prefix + markdown))

    def _flush_blank(self) -> None:
        if self._blank and self._lines:
            self._blank_line()
        self._blank = False

    def _blank_line(self) -> None:
        # Only quotes show on an empty line; an item whose mark is still owed has no empty line before it.
        if any(each.first != each.rest for each in self._containers):
            return
        prefix = "".join([each.rest for each in self._containers]).rstrip()
        if not self._lines or self._lines[-1].text != prefix:
            self._lines.append(Line(prefix, prefix))


def _markdown(pieces: list[_Piece]) -> str:
    """A line's pieces: those alike are joined, so that emphasis and links stand around as many words as can be."""
    made: list[str] = []
    groups: list[list[_Piece]] = []
    for piece in pieces:
        if piece.mark == "url":
            continue
        if groups and groups[-1][0].mark == piece.mark and groups[-1][0].url == piece.url:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    for position, group in enumerate(groups):
        text = "".join(piece.text for piece in group)
        words = text.strip(" ")
        before, after = text[: len(text) - len(text.lstrip(" "))], text[len(text.rstrip(" ")) :]
        following = groups[position + 1][0].text[:1] if position + 1 < len(groups) and not after else " "
        opens = bool(before) or not made or made[-1][-1:] == " "
        mark, url = group[0].mark, group[0].url
        shown = _link(words, url) if url and words else escape_inline(words)
        if mark and words and opens and words[0].isalnum() and words[-1].isalnum() and not following.isalnum():
            # Elsewhere the signs would not be read as emphasis, but shown.
            shown = f"{mark}{shown}{mark}" if following in " .,;:!?" else shown
        made.append(f"{before}{shown}{after}")
    return "".join(made).rstrip()


def _link(words: str, url: str) -> str:
    if _same(words, url):
        return autolink(url) if url.startswith("http") else escape_inline(words)
    if "://" in words or "www." in words.lower():
        # Words that look like another address must not hide this one.
        return f"{escape_inline(words)} {autolink(url)}" if url.startswith("http") else escape_inline(words)
    return f"[{escape_inline(words)}]({_target(url)})"


def _same(words: str, url: str) -> bool:
    """Whether the words of a link are its address."""
    bare = words.rstrip("/").lower()
    address = url.rstrip("/").lower()
    return bare in (
        address,
        address.removeprefix("https://"),
        address.removeprefix("http://"),
        address.removeprefix("mailto:"),
    )


_TARGET = re.compile(r"[\\()<>\"'`\[\]{}|^\s&]|(?<![A-Za-z0-9_])@|[^\x21-\x7e]")


def _target(url: str) -> str:
    return _TARGET.sub(
        lambda found: "&amp;" if found[0] == "&" else "".join(f"%{b:02X}" for b in found[0].encode()), url
    )


def _safe_url(url: str) -> str:
    """The URL where it is one to follow from a mail; else empty."""
    bare = _UNSEEN.sub("", url)
    scheme, colon, rest = bare.partition(":")
    if (
        not colon
        or not rest.strip("/")
        or len(bare) > _LONGEST_URL
        or scheme.lower() not in ("http", "https", "mailto", "tel")
    ):
        return ""
    return f"{scheme.lower()}:{rest}"

"""HTML of mails as lines, each in plain text and in Markdown: one walk over the tags, without building a tree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from postroom.mail.escaping import escape_line_start, hard_breaks, markdown_lines, plain_lines
from postroom.mail.html_inline import Piece, line_markdown, safe_url, same
from postroom.mail.html_tokens import Token, tokens
from postroom.mail.images import content_id_of

_MOST_LEVELS = 10
"""Quotes and lists inside of each other; deeper ones are shown at this depth."""
_BLANKS = re.compile(r"[ \t\r\n\f]+")
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

    text: str | None
    """None where the plain text has no such line: one with an image of the mail only, which has no words."""
    markdown: str


def html_lines(source: str) -> list[Line]:
    """The words of an HTML body in lines: quotes behind `> `, items of lists behind `- ` or their number.

    Nothing of the mail acts in the Markdown. Scripts, styles, comments and hidden elements are left out. Of images
    stand the alternative texts; the Markdown has those that the mail itself holds (`postroom.mail.images`).
    """
    walk = _Walk()
    for token in tokens(source):
        walk.take(token)
    return walk.end()


def joined_text(lines: Iterable[Line]) -> str:
    """The lines as plain text, without empty lines at the ends and with no more than one between two others."""
    return "\n".join(_settled([line.text for line in lines if line.text is not None]))


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
        self._last_text: str | None = None
        """The last line of the plain text."""
        self._pieces: list[Piece] = []
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
        if self._pieces:
            self._append(None, line_markdown(self._pieces))
        return self._lines

    def _text(self, text: str) -> None:
        if self._preformatted:
            first, *others = plain_lines(text)
            self._add(first)
            if others and not (self._marks or self._url or self._containers or self._heading):
                self._break(keep_empty=True)
                *whole, last = others
                self._flush_blank()
                for each, markdown in zip(whole, markdown_lines(whole), strict=False):
                    self._append(each, markdown)
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
            self._pieces.append(Piece(text, self._marks[-1] if self._marks else "", self._url))
            if self._url:
                self._link_words.append(text)

    def _image(self, attributes: dict[str, str]) -> None:
        words = _BLANKS.sub(" ", attributes.get("alt", "")[:500]).strip(" ")
        content_id = content_id_of(attributes.get("src", ""))
        if not content_id:
            self._text(f" {words} ")
            return
        self._gap = self._gap or bool(self._pieces) or bool(self._preformatted)
        self._pieces.append(Piece(f" {words}" if words and self._gap else words, "", self._url, image=content_id))
        self._gap = bool(words) or (self._gap and len(self._pieces) > 1)
        if self._url:
            self._link_words.append(words)

    def _start(self, token: Token) -> None:
        name = token.name
        if name == "br":
            self._break(keep_empty=True)
        elif name in _MARKS:
            self._marks.append(_MARKS[name])
        elif name == "a":
            self._end_link()
            self._url = safe_url(token.attributes().get("href", ""))
        elif name == "img":
            self._image(token.attributes())
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
        if url and words and not same(words, url):
            # In Markdown the words are the link. In plain text its address stands behind them.
            self._pieces.append(Piece(f" <{bare}>", url=url, only_text=True))

    def _break(self, *, keep_empty: bool = False) -> None:
        """Ends the line at hand."""
        pieces, self._pieces, self._gap = self._pieces, [], False
        text = "".join(piece.text for piece in pieces)
        if text.strip():
            # An image without words is none of the plain text, and so no word before this one.
            text = text if pieces[0].text else text.lstrip(" ")
            self._emit(text.rstrip(), line_markdown(pieces), heading=self._heading)
        elif not any(piece.image for piece in pieces):
            if keep_empty:
                self._blank_line()
        elif self._owes_mark():
            # The mark of an item stands before its first words.
            self._pieces = pieces
        else:
            self._emit("" if keep_empty else None, line_markdown(pieces))

    def _emit(self, text: str | None, markdown: str, heading: int = 0) -> None:
        self._flush_blank()
        prefix = "".join([each.prefix() for each in self._containers])
        if text == "":
            text = None if self._last_text == prefix.rstrip() else prefix.rstrip()
        elif text is not None:
            text = prefix + text
        if not heading and markdown != "---":
            indent = len(markdown) - len(markdown.lstrip(" "))
            markdown = "&nbsp;" * min(indent, 40) + escape_line_start(markdown.lstrip(" "))
        elif heading:
            markdown = f"{'#' * heading} {markdown.strip()}"
        self._append(text, prefix + markdown)

    def _append(self, text: str | None, markdown: str) -> None:
        self._lines.append(Line(text, markdown))
        self._last_text = self._last_text if text is None else text

    def _flush_blank(self) -> None:
        if self._blank and self._lines:
            self._blank_line(shown=self._last_text is not None)
        self._blank = False

    def _blank_line(self, *, shown: bool = True) -> None:
        # Only quotes show on an empty line; an item whose mark is still owed has no empty line before it.
        if self._owes_mark():
            return
        prefix = "".join([each.rest for each in self._containers]).rstrip()
        text = prefix if shown and self._last_text != prefix else None
        if text is not None or self._lines[-1].markdown != prefix:
            self._append(text, prefix)

    def _owes_mark(self) -> bool:
        return any(each.first != each.rest for each in self._containers)

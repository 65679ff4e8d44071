"""HTML of mails, told apart into tags and texts by one pass.

Parsers that build a tree take quadratic time on some inputs (deep nesting, comments that never end, many attributes).
This one looks at each character a bounded number of times, and everything that reads HTML here begins with it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

_MARKUP = re.compile(r"<(?=[a-zA-Z/!?])")
_NAME = re.compile(r"/?[a-zA-Z][a-zA-Z0-9:-]{0,60}")
_ATTRIBUTE = re.compile(
    r"([a-zA-Z][-\w:.]{0,60})(?:\s{0,20}=\s{0,20}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]*)))?", re.ASCII
)
_ENDLESS = re.compile(r"&#(?:[0-9]{9,}|[xX][0-9a-fA-F]{9,});?")
"""Character references beyond all characters; converting one of thousands of digits raises."""
_BASIC = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&nbsp;", "\xa0"), ("&amp;", "&"))
_MOST_REFERENCES = 20_000
_RAW = {
    name: re.compile(rf"</{name}[\s>/]", re.IGNORECASE)
    for name in (
        "script",
        "style",
        "title",
        "xml",
        "noscript",
        "template",
        "textarea",
        "iframe",
        "object",
        "svg",
        "math",
    )
}
"""Elements whose content is no part of the mail's words, with their ends."""
MOST_TAGS = 20_000
_LONGEST_ATTRIBUTES = 8_000
_MARKS = ("!", "?", "/")
_BLOCK_TAG = re.compile(r"</?(?:p|div|br|tr|li|h[1-6]|table|blockquote)(?:\s[^<>]{0,2000})?/?>", re.IGNORECASE)
_ANY_TAG = re.compile(r"</?[a-zA-Z!?][^<>]{0,2000}>")
_MOST_ENDS = 4
_HIDDEN = re.compile(
    r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden|mso-hide\s{0,9}:\s{0,9}all", re.IGNORECASE
)


class Token(NamedTuple):
    """A text (`name` is empty, `source` the text itself with its references resolved), or a tag."""

    name: str
    """In lower case; begins with `/` for an end tag."""
    source: str
    """Of a tag: its attributes as written."""

    def attributes(self) -> dict[str, str]:
        """The attributes of a tag, names in lower case, references resolved; the first of each name counts."""
        found: dict[str, str] = {}
        for each in _ATTRIBUTE.finditer(self.source[:_LONGEST_ATTRIBUTES]):
            found.setdefault(each[1].lower(), unescape(each[2] or each[3] or each[4] or ""))
        return found

    @property
    def hidden(self) -> bool:
        """Whether the tag says that its element is not to be seen: preview texts and the like."""
        lower = self.source[:_LONGEST_ATTRIBUTES].lower()
        if "hid" not in lower and "none" not in lower:
            return False
        attributes = self.attributes()
        return "hidden" in attributes or _HIDDEN.search(attributes.get("style", "")) is not None


_NOTHING = Token("!", "")
"""A comment or a declaration."""


def tokens(source: str) -> Iterator[Token]:
    """The tags and texts of an HTML source, without comments, declarations, scripts and styles.

    After MOST_TAGS tags only the words of the rest come, in one text with a line for each block.
    """
    at = text_from = 0
    comments_end = True
    endless: set[str] = set()
    for _ in range(MOST_TAGS):
        token, text_to = None, len(source)
        while token is None and (opening := _MARKUP.search(source, at)):
            start = opening.start()
            name = _NAME.match(source, start + 1)
            if name is None:
                at, skipped = start + 1, start
                if comments_end and source.startswith("<!--", start):
                    end = source.find("-->", start + 2)
                    comments_end = end >= 0
                    skipped = end + 3 if comments_end else start + 4
                elif source[start + 1 : start + 2] in _MARKS:
                    skipped = source.find(">", start) + 1
                    if not skipped:
                        break  # There is no `>` any more, and so no tag.
                if skipped > start:
                    token, text_to, at = _NOTHING, start, skipped
                continue
            end = _tag_end(source, name.end())
            if end < 0:
                break  # A tag that never ends is text, as is all that follows: there is no `>` any more.
            token, text_to, at = Token(name[0].lower(), source[name.end() : end]), start, end + 1
        if text_to > text_from:
            yield Token("", unescape(source[text_from:text_to]))
        if token is None:
            return
        raw = _RAW.get(token.name)
        if raw is not None and not token.source.endswith("/") and token.name not in endless:
            if closing := raw.search(source, at):
                at = source.find(">", closing.end() - 1) + 1 or len(source)
            elif token.name in ("script", "style"):
                return
            else:
                endless.add(token.name)
        elif token is not _NOTHING:
            yield token
        text_from = at
    rest = _ANY_TAG.sub(" ", _BLOCK_TAG.sub("\n", source[at:]))
    yield Token("pre", "")
    yield Token("", unescape(rest))


def unescape(text: str) -> str:
    """The text with its character references resolved."""
    if "&" not in text:
        return text
    if text.count("&") > _MOST_REFERENCES:
        for reference, char in _BASIC:
            text = text.replace(reference, char)
        return text
    return html.unescape(_ENDLESS.sub("\ufffd", text)).replace("\0", "")


def _tag_end(source: str, at: int) -> int:
    """Where the `>` of a tag is; one inside of quotes is passed over, within bounds. -1 where there is none."""
    first = end = source.find(">", at)
    for _ in range(_MOST_ENDS):
        if end < 0 or end - at > _LONGEST_ATTRIBUTES:
            break
        inside = source[at:end]
        if inside.count('"') % 2 == 0 and (inside.count("'") % 2 == 0 or '"' in inside):
            return end
        end = source.find(">", end + 1)
    return first

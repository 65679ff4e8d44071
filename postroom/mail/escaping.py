"""Text of a mail put into Markdown or Textile, so that it shows as it is and nothing in it acts.

No markup, no link but a plain one to a web page, no mention, no reference to another item, no command at the beginning
of a line. What breaks a mention is U+200B, a space without width: it works wherever mentions are looked for only after
the markup was read, which is nearly everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_BREAK = "\u200b"
_EMPTY_LINES = re.compile(r"\n{3,}")
_CONTROLS = dict.fromkeys((*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F, 0x85, 0x2028, 0x2029), " ")
_MOST_INDENT = 40
_ITEM = re.compile(r"[> ]*(?:- |\d{1,9}\. )")
"""An item of a list that is ours: those of the mail's own text are escaped."""

_URL = re.compile(r"(?<![A-Za-z0-9])[hH][tT][tT][pP][sS]?://[^\s<>\x00-\x20\u200b\"]{1,2000}")
_TRAILING = ".,;:!?'\"*_~]}"

_MARKDOWN = str.maketrans(
    {**_CONTROLS, **{char: f"\\{char}" for char in "\\`*_[]{}~|$^"}, "<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_MENTION = re.compile(r"(?<![A-Za-z0-9_])@")
_REFERENCES = (
    ("#", re.compile(r"#(?=\w|\Z)"), f"#{_BREAK}"),
    ("!", re.compile(r"!(?=\d|\Z)"), f"!{_BREAK}"),
    ("[[", re.compile(r"\\\[(?=\\\[)"), rf"\\[{_BREAK}"),
    ("-", re.compile(r"(?<![A-Za-z0-9])([gG][hH])-(?=\d|\Z)"), rf"\1-{_BREAK}"),
)
"""A sign without which there is no such reference, where it acts, and what stands there instead."""
_LINE_START = re.compile(r"[-+=#/:!%]|\d{1,9}(?=[.)])")
_LINE_STARTS = re.compile(rf"^( *)({_LINE_START.pattern})", re.MULTILINE)
_INDENT = re.compile(r"^ +", re.MULTILINE)
_HARD_BREAK = re.compile(r"(?<=[^\n])\n(?=[^\n])")
_UNSAFE = re.compile(r"[\\`\"|{}\[\]^\x7f]|(?<![A-Za-z0-9_])@|&(?=#?\w{1,40};)")

_TEXTILE = str.maketrans({**_CONTROLS, **{char: f"&#{ord(char)};" for char in '*_+^~%@"!|[]{}<>&=`#()\\-'}})
_TEXTILE_BLOCKS = re.compile(
    r"^( *(?:h[1-6]|bq|p|fn\d{1,3}|table|pre|notextile|clear|dl)[^\s.]{0,400})\.", re.MULTILINE
)
_BEHIND_URL = re.compile(r"(https?://(?:[^\s&]|&(?!#))+)(?=&#)", re.IGNORECASE)
_TEXTILE_COLON = re.compile(r"(?<=[A-Za-z]):")
_TEXTILE_REVISION = re.compile(r"(?<![A-Za-z0-9])r(?=\d)")
_UNSAFE_TEXTILE = re.compile(r"[\\`\"|{}\[\]^\x7f()!@*<>]")


def escape_markdown(text: str) -> str:
    """Plain text of any number of lines as Markdown that shows the same words and lines."""
    return _HARD_BREAK.sub("  \n", _markdown_block(_settled(text)))


def markdown_lines(lines: list[str]) -> list[str]:
    """Lines of plain text as just as many of Markdown."""
    return _markdown_block("\n".join(lines)).split("\n")


def plain_lines(text: str) -> list[str]:
    """The lines of a text as they are shown: without control characters, and never with two empty ones together."""
    return _settled(text).split("\n")


def _markdown_block(text: str) -> str:
    escaped = _between_urls(text, _markdown_words, autolink)
    return _INDENT.sub(_kept_indent, _LINE_STARTS.sub(_escaped_start, escaped))


def escape_inline(text: str) -> str:
    """Text inside of a line as Markdown; `escape_line_start` is for what stands at its beginning."""
    return _between_urls(text, _markdown_words, autolink)


def escape_line_start(line: str) -> str:
    """A line of Markdown in which nothing at its beginning makes a block or a command. An image may stand there."""
    found = _LINE_START.match(line)
    if found is None or line.startswith("!["):
        return line
    if found[0].isdigit():
        return f"{found[0]}\\{line[found.end() :]}"
    return f"\\{line}"


def hard_breaks(lines: list[str]) -> str:
    """Lines of Markdown joined so that each stays a line."""
    full = [bool(line.strip("> ")) for line in lines]
    goes_on = [each and not _ITEM.match(line) for each, line in zip(full, lines, strict=True)]
    ends = ["  " if here and below else "" for here, below in zip(full, [*goes_on[1:], False], strict=False)]
    return "\n".join([line + end for line, end in zip(lines, ends, strict=True)])


def autolink(url: str) -> str:
    """A URL with http or https as a link of Markdown that shows itself."""
    return f"<{_UNSAFE.sub(_encoded, url)}>"


def escape_textile(text: str) -> str:
    """Plain text of any number of lines as Textile, as Redmine reads it, that shows the same words and lines."""
    escaped = _between_urls(_settled(text), _textile_words, _textile_url)
    # Redmine would take a reference to a character for a part of the address.
    escaped = _BEHIND_URL.sub(r"\1 ", escaped)
    return _INDENT.sub(_kept_indent, _TEXTILE_BLOCKS.sub(r"\1&#46;", escaped))


def _settled(text: str) -> str:
    shown = text.translate(_CONTROLS) if not text.isprintable() else text
    expanded = shown.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
    return _EMPTY_LINES.sub("\n\n", "\n".join(map(str.rstrip, expanded.split("\n"))))


def _kept_indent(found: re.Match[str]) -> str:
    """Blanks at the beginning of a line stay visible without making it code."""
    return "&nbsp;" * min(len(found[0]), _MOST_INDENT)


def _escaped_start(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0][-1].isdigit() else f"{found[1]}\\{found[2]}"


def urls_in(text: str) -> Iterator[tuple[int, str]]:
    """Where in a text there are addresses of web pages, and each without what belongs to the sentence around it."""
    if "://" not in text:
        return
    for found in _URL.finditer(text):
        url = _without_sentence(found[0])
        if not url.rstrip("/").endswith(":"):
            yield found.start(), url


def _between_urls(text: str, words: Callable[[str], str], link: Callable[[str], str]) -> str:
    if "://" not in text:
        return words(text)
    made = []
    at = 0
    for start, url in urls_in(text):
        made += [words(text[at:start]), link(url)]
        at = start + len(url)
    return "".join([*made, words(text[at:])])


def _without_sentence(url: str) -> str:
    """The URL without what belongs to the sentence around it: punctuation, a bracket that closes."""
    for _ in range(4):
        url = url.rstrip(_TRAILING)
        closing = len(url) - len(url.rstrip(")"))
        excess = min(closing, max(0, url.count(")") - url.count("(")))
        if not excess:
            break
        url = url[: len(url) - excess]
    return url


def _markdown_words(text: str) -> str:
    shown = text.translate(_MARKDOWN)
    if "@" in text:
        shown = _MENTION.sub(f"@{_BREAK}", shown)
    for sign, pattern, instead in _REFERENCES:
        if sign in text:
            shown = pattern.sub(instead, shown)
    return shown


def _textile_words(text: str) -> str:
    shown = _TEXTILE_REVISION.sub(f"r{_BREAK}", text).translate(_TEXTILE)
    return _TEXTILE_COLON.sub("&#58;", shown)


def _textile_url(url: str) -> str:
    return _UNSAFE_TEXTILE.sub(_encoded, url)


def _encoded(found: re.Match[str]) -> str:
    if found[0] == "&":
        return "&amp;"
    return "".join(f"%{byte:02X}" for byte in found[0].encode())

r"""Markdown as wiki markup, which Jira Data Center takes for descriptions and comments.

https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all. Signs of a mail are escaped by a backslash
where Jira reads one before anything else sees the sign; brackets, braces, bars and backslashes become character
references, since links, macros, tables and forced breaks are made before backslashes are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from postroom.markdown.fitting import fitted, flattened
from postroom.markdown.parse import Node, parse
from postroom.markdown.spans import Span, grouped, lines_of, marked, spans
from postroom.markdown.text import same

LIMIT = 32_767
"""Characters of a text field in Jira, unless its administrators set another limit."""
_INSIDE = {
    "quote": frozenset(("paragraph", "heading", "bullets", "numbers", "code_block", "table", "rule")),
    "item": frozenset(("paragraph", "bullets", "numbers", "code_block")),
}
_BREAK = "\u200b"
_FORCED_BREAK = r" \\ "
_SIGNS = {"strong": ("*", "*"), "em": ("_", "_"), "strike": ("-", "-"), "code": ("{{", "}}")}
_REFERENCES = str.maketrans({char: f"&#{ord(char)};" for char in "\\[]{}|"})
_ENTITY = re.compile(r"&(?=#?\w{1,40};)")
# Signs between two letters or digits make no markup.
_SIGN = re.compile(r"[()]|(?<=\?)\?|\?(?=\?)|(?<![^\W_])[*_+^~@%#!-]|[*_+^~@%#!-](?![^\W_])")
_KEY = re.compile(r"\b([A-Z][A-Z0-9_]+)-(?=\d)")
"""The key of an issue, which becomes a link."""
_COLON = re.compile(r"(?<=[A-Za-z]):(?!\s)|:(?=[A-Za-z])|:(?=//)")
"""What would be a scheme of an address, or a face."""
_ALL = re.compile(r"[\\\[\]{}|()*_+^~@%#!?:&-]")
_BLOCK_START = re.compile(r"^(\s*(?:h[1-6]|bq))\.", re.MULTILINE)
_IN_URL = re.compile(r"[^\x21-\x7e]|[\[\]{}|\\^\"'<>!*]")
_FILE_SIGNS = re.compile(r"[!|\r\n^{}\[\]]")
_CLOSES = re.compile(r"\{(?=noformat)", re.IGNORECASE)


def escape(text: str) -> str:
    """Plain text in a line as Jira shows it word for word."""
    shown = _ENTITY.sub("&amp;", text)
    # Signs first: references have signs of their own.
    parts = re.split(r"([\\\[\]{}|]+)", shown)
    parts[1::2] = [part.translate(_REFERENCES) for part in parts[1::2]]
    parts[::2] = [_KEY.sub(r"\1\-", _COLON.sub("&#58;", _SIGN.sub(r"\\\g<0>", part))) for part in parts[::2]]
    return _BLOCK_START.sub(r"\1&#46;", "".join(parts))


def convert(markdown: str, *, images: Mapping[str, str] | None = None, limit: int | None = None) -> str:
    """The text. `images` gives by Content-ID the names of files that the issue has as attachments, or addresses; an
    image without one is told by its words.

    `limit`: most characters; what is too much is left out from before the last blocks, where the footer with the link
    to the mail stands. Lists always count from one.
    """
    placed = {name: file for name, file in (images or {}).items() if file and not _FILE_SIGNS.search(file)}
    nodes = flattened(parse(markdown), _INSIDE)
    return fitted(nodes, limit, lambda blocks: _blocks(blocks, placed), len)


def _blocks(nodes: Sequence[Node], images: Mapping[str, str]) -> str:
    return "\n\n".join(filter(None, (_block(node, images) for node in nodes)))


def _block(node: Node, images: Mapping[str, str]) -> str:
    if node.kind == "paragraph":
        return "\n".join(_lines(node.children, images))
    if node.kind == "heading":
        return f"h{node.level}. {' '.join(_lines(node.children, images))}".rstrip()
    if node.kind == "quote":
        return f"{{quote}}\n{_blocks(node.children, images)}\n{{quote}}"
    if node.kind == "code_block":
        return _code(node.text)
    if node.kind in ("bullets", "numbers"):
        return "\n".join(_list(node, images, ""))
    if node.kind == "table":
        return "\n".join(_row(row, images) for row in node.children)
    return "----"


def _code(text: str) -> str:
    # Nothing can be escaped in it, but what would end it can be broken; and mentions are looked for even there.
    return f"{{noformat}}\n{_CLOSES.sub('{' + _BREAK, text).replace('[~', f'[{_BREAK}~')}\n{{noformat}}"


def _list(node: Node, images: Mapping[str, str], marks: str) -> list[str]:
    marks += "*" if node.kind == "bullets" else "#"
    made: list[str] = []
    for item in node.children:
        lines: list[str] = []
        below: list[str] = []
        for child in item.children:
            if child.kind in ("bullets", "numbers"):
                below += _list(child, images, marks)
            elif words := _block(child, images):
                # An empty line would end the list.
                target = below if below else lines
                target += [line for line in words.split("\n") if line.strip()] if child.kind == "paragraph" else [words]
        made += [f"{marks} {lines[0] if lines else '&nbsp;'}", *lines[1:], *below]
    return made


def _row(row: Node, images: Mapping[str, str]) -> str:
    made = ""
    for cell in row.children:
        bar = "||" if cell.kind == "head" else "|"
        made += f"{bar} {_FORCED_BREAK.join(_lines(cell.children, images))} "
    return made + ("||" if row.children and row.children[-1].kind == "head" else "|")


def _lines(nodes: Sequence[Node], images: Mapping[str, str]) -> list[str]:
    lines = lines_of(spans(nodes, images))
    return [_BLOCK_START.sub(r"\1&#46;", _line(line)) for line in lines]


def _line(line: Sequence[Span]) -> str:
    made = ""
    groups = list(grouped(line))
    for position, group in enumerate(groups):
        following = groups[position + 1][0].text[:1] if position + 1 < len(groups) else ""
        made += _piece(group, made[-1:], following)
    return made


def _piece(group: Sequence[Span], before: str, after: str) -> str:
    """The pieces of one link, or one piece that is none, between the two characters beside it."""
    first = group[0]
    if first.image:
        return f"!{first.image}!" if not before.isalnum() else f" !{first.image}!"
    if not first.url:
        return _marked(first.text, first.marks, before, after)
    words = "".join([piece.text for piece in group])
    url = _IN_URL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), first.url)
    if not words.strip() or same(words, first.url):
        return f"[{url}]"
    # What reads backslashes in the words of a link is not said anywhere: references hold everywhere.
    shown = _ALL.sub(lambda found: f"&#{ord(found[0])};", " ".join(words.split()))
    return f"[{shown}|{url}]"


def _marked(text: str, marks: frozenset[str], before: str, after: str) -> str:
    if not marks:
        return escape(text)
    words = text.strip()
    loose = not text.startswith(words) or not before.isalnum()
    if (loose or not words) and (not text.endswith(words) or not after.isalnum()):
        return marked(text, marks, _SIGNS, escape)
    if "code" in marks:
        return f"{_BREAK}{marked(text, marks, _SIGNS, escape)}{_BREAK}"
    # In the middle of a word signs count in braces only.
    braced = {mark: (f"{{{opening}}}", f"{{{closing}}}") for mark, (opening, closing) in _SIGNS.items()}
    return marked(text, marks, braced, escape)

"""Markdown as mrkdwn, in which Slack reads texts of messages.

https://docs.slack.dev/messaging/formatting-message-text: `&`, `<` and `>` are escaped, and so nothing of a mail
mentions anybody or links anywhere. Slack has no escape for its signs of emphasis: what breaks them here is U+200B,
and where that should fail, words of a mail show bold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from postroom.markdown.fitting import fitted
from postroom.markdown.lines import Style, written
from postroom.markdown.parse import Node, parse
from postroom.markdown.spans import Span, grouped, lines_of, marked, spans
from postroom.markdown.text import same

_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SIGNS = {"strong": ("*", "*"), "em": ("_", "_"), "strike": ("~", "~"), "code": ("`", "`")}
_BREAK = "\u200b"
_OPENS = re.compile(r"(?<![^\W_])[*_~`](?=[^\s*_~`\u200b])")
_FENCE = re.compile(r"`(?=`)")
_IN_URL = re.compile(r"[<>|\s]")


def escape(text: str) -> str:
    """Plain text as Slack shows it word for word."""
    return _escaped(text, _paired(text))


def _escaped(text: str, paired: frozenset[str]) -> str:
    shown = text.translate(_ESCAPED)
    if "``" in shown:
        shown = _FENCE.sub(f"`{_BREAK}", shown)
    return (
        _OPENS.sub(lambda found: f"{found[0]}{_BREAK}" if found[0] in paired else found[0], shown) if paired else shown
    )


def _paired(line: str) -> frozenset[str]:
    """Signs of emphasis that a line has more than once: one alone opens nothing."""
    return frozenset(sign for sign in "*_~`" if line.count(sign) > 1)


def convert(markdown: str, *, images: Mapping[str, str] | None = None, limit: int | None = None) -> str:
    """The text of a message. `images` gives addresses by Content-ID, to which the images' words then lead.

    `limit`: most characters; what is too much is left out from before the last blocks, where the link to the mail
    stands.
    """
    style = _Slack(images or {})
    return fitted(parse(markdown), limit, lambda nodes: written(nodes, style), len)


class _Slack(Style):
    def __init__(self, images: Mapping[str, str]) -> None:
        self._images = images

    def words(self, nodes: Sequence[Node]) -> list[str]:
        return [_line(line) for line in lines_of(spans(nodes, self._images))]

    def heading(self, nodes: Sequence[Node]) -> list[str]:
        return self.words([Node("strong", list(nodes))])

    def code(self, text: str) -> list[str]:
        return ["```", *_FENCE.sub(f"`{_BREAK}", text.translate(_ESCAPED)).split("\n"), "```"]


def _line(line: list[Span]) -> str:
    paired = _paired("".join([piece.text for piece in line]))
    return "".join([_shown(group, paired) for group in grouped(line)])


def _shown(group: list[Span], paired: frozenset[str]) -> str:
    """The pieces of one link, or one piece that is none."""
    url = group[0].image or group[0].url
    if not url:
        return "".join([_marked(piece, paired) for piece in group])
    target = _IN_URL.sub(lambda found: f"%{ord(found[0]):02X}", url).replace("&", "&amp;")
    if same("".join([piece.text for piece in group]), url):
        return f"<{target}>"
    words = "".join([piece.text for piece in group]).translate(_ESCAPED).replace("|", "¦")
    # Emphasis stands around a link: inside of one Slack shows its signs.
    marks = frozenset.intersection(*(piece.marks for piece in group)) - {"code"}
    return marked(words, marks, _SIGNS, lambda shown: f"<{target}|{shown}>") if words.strip() else f"<{target}>"


def _marked(piece: Span, paired: frozenset[str]) -> str:
    if "code" in piece.marks:
        return marked(piece.text, piece.marks, _SIGNS, lambda text: text.translate(_ESCAPED).replace("`", "'"))
    return marked(piece.text, piece.marks, _SIGNS, lambda text: _escaped(text, paired))

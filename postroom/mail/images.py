"""Images that a mail holds itself: how they stand in its Markdown until somebody knows where they lie.

`![words](cid:Content-ID)`, the id percent-encoded (RFC 2392). Text of a mail never looks like that: its brackets are
escaped. In Textile, whose images have no words, it is `!cid:Content-ID!`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote

from postroom.mail.escaping import escape_inline, escape_line_start

_SCHEME = "cid:"
_LONGEST_ID = 250
_BLANKS = re.compile(r"\s+")
_TEXTILE = re.compile(r"!cid:([\w%.~-]{1,1000})!", re.ASCII)
_IMAGE = re.compile(r"!\[((?:[^\[\]\\]|\\.){0,8000})\]\(cid:([^)\s]{1,1000})\)")


def content_id_of(source: str) -> str:
    """The Content-ID that an image's source names; empty where it lies elsewhere."""
    bare = source.strip()
    if bare[: len(_SCHEME)].lower() != _SCHEME:
        return ""
    found = unquote(bare[len(_SCHEME) :]).strip("<> ")
    return found if len(found) <= _LONGEST_ID and found.isprintable() else ""


def image_markdown(words: str, content_id: str) -> str:
    """The image in Markdown. Its words may come to stand alone, at the beginning of a line too."""
    shown = escape_line_start(escape_inline(_BLANKS.sub(" ", words).strip()))
    return f"![{shown}]({_SCHEME}{quote(content_id, safe='', errors='replace')})"


def place_images(markdown: str, images: Mapping[str, str]) -> str:
    """Markdown in which the mail's own images lead to where they lie, by Content-ID. Of others stand their words."""

    def place(words: str, content_id: str) -> str:
        url = images.get(content_id)
        return f"![{words}]({url})" if url is not None else words

    return replace_images(markdown, place)


def replace_images(markdown: str, instead: Callable[[str, str], str]) -> str:
    """Markdown with something instead of each image of the mail, made of its words as Markdown and its Content-ID."""
    if f"]({_SCHEME}" not in markdown:
        return markdown
    return _IMAGE.sub(lambda found: instead(found[1], unquote(found[2])), markdown)


def images_in(markdown: str) -> list[str]:
    """The Content-IDs of the mail's own images in Markdown."""
    return [unquote(found[2]) for found in _IMAGE.finditer(markdown)] if f"]({_SCHEME}" in markdown else []


def image_textile(content_id: str) -> str:
    """The image in Textile."""
    return f"!{_SCHEME}{quote(content_id, safe='', errors='replace')}!"


def place_textile_images(textile: str, images: Mapping[str, str]) -> str:
    """Textile in which the mail's own images lead to where they lie, by Content-ID. Others are left out.

    Redmine shows an attachment by its name as it shows any address.
    """

    def place(found: re.Match[str]) -> str:
        url = images.get(unquote(found[1]))
        return f"!{quote(url, safe='/:?&=%#~')}!" if url else ""

    return _TEXTILE.sub(place, textile) if f"!{_SCHEME}" in textile else textile

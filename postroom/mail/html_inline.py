"""What stands in a line of a mail's HTML as Markdown: emphasis, links to web pages, images that the mail holds."""

from __future__ import annotations

import re
from typing import NamedTuple

from postroom.mail.escaping import autolink, escape_inline
from postroom.mail.images import image_markdown

_LONGEST_URL = 2_000
_UNSEEN = re.compile(r"[\x00-\x20\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")


class Piece(NamedTuple):
    """Some words of a line."""

    text: str
    mark: str = ""
    """Markdown's sign for its emphasis; empty for none."""
    url: str = ""
    """Where they lead."""
    only_text: bool = False
    """They are for plain text only."""
    image: str = ""
    """The Content-ID of the image that they tell about."""


def line_markdown(pieces: list[Piece]) -> str:
    """A line's pieces: those alike are joined, so that emphasis and links stand around as many words as can be."""
    made: list[str] = []
    groups: list[list[Piece]] = []
    for piece in pieces:
        if piece.only_text:
            continue
        if groups and groups[-1][0][1:] == piece[1:] and not piece.image:
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
        if image := group[0].image:
            shown = image_markdown(words, image)
            if url and words and "://" not in words:
                shown = f"[{shown}]({_target(url)})"
            made += [before or ("" if opens else " "), shown, after]
            continue
        if position and groups[position - 1][0].image and words[:1].isalnum() and made[-1] + before == "":
            made.append(" ")
        shown = _link(words, url) if url and words else escape_inline(words)
        if mark and words and opens and words[0].isalnum() and words[-1].isalnum() and not following.isalnum():
            # Elsewhere the signs would not be read as emphasis, but shown.
            shown = f"{mark}{shown}{mark}" if following in " .,;:!?" else shown
        made.append(f"{before}{shown}{after}")
    return "".join(made).rstrip()


def _link(words: str, url: str) -> str:
    if same(words, url):
        return autolink(url) if url.startswith("http") else escape_inline(words)
    if "://" in words or "www." in words.lower():
        # Words that look like another address must not hide this one.
        return f"{escape_inline(words)} {autolink(url)}" if url.startswith("http") else escape_inline(words)
    return f"[{escape_inline(words)}]({_target(url)})"


def same(words: str, url: str) -> bool:
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


def safe_url(url: str) -> str:
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

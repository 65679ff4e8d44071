"""The body of a message in the forms that rules, templates and pages ask for."""

from __future__ import annotations

from postroom.mail.escaping import escape_markdown, escape_textile
from postroom.mail.html_lines import Line, html_lines, joined_markdown
from postroom.mail.images import image_textile, images_in
from postroom.mail.markup import html_to_markdown
from postroom.mail.replies import Part, Reply, label_lines, split_reply
from postroom.message import Message

LONGEST = 1_000_000
"""Characters of a body that are split and rendered; what follows is cut, and a note says so in the Markdown."""


def split_of(message: Message) -> Reply:
    """The writer's new words, what was quoted, and the signature, of the plain text."""
    return split_reply(_bounded(message.text))


def markdown_of(message: Message) -> str:
    """The whole body as Markdown in which nothing of the mail acts: of the HTML where there is one."""
    if message.html:
        return html_to_markdown(_bounded(message.html))
    return escape_markdown(_bounded(message.text))


def reply_markdown_of(message: Message) -> str:
    """The writer's new words as Markdown. What is new is judged by the same lines as plain text."""
    if not message.html:
        return escape_markdown(split_of(message).text)
    return joined_markdown(_new_lines(message.html))


def pictured_textile_of(message: Message, *, reply: bool = False) -> str:
    """The words of the HTML as Textile, each image of the mail below the line that it stands in."""
    source = message.html or ""
    made: list[str] = []
    words: list[str] = []
    for line in _new_lines(source) if reply else html_lines(_bounded(source)):
        if line.text is not None:
            words.append(line.text)
        if images := images_in(line.markdown):
            made += [escape_textile("\n".join(words)), *map(image_textile, images)]
            words = []
    return "\n".join([*made, escape_textile("\n".join(words))]).strip("\n")


def _new_lines(source: str) -> list[Line]:
    """Lines of HTML that its writer wrote anew."""
    lines = html_lines(_bounded(source))
    parts = iter(label_lines([line.text for line in lines if line.text is not None]))
    part, new = Part.NEW, []
    for line in lines:
        # An image without words belongs to the line above it.
        part = part if line.text is None else next(parts)
        if part is Part.NEW:
            new.append(line)
    return new


def _bounded(text: str | None) -> str:
    return (text or "")[:LONGEST]

"""HTML of mails to plain text and to Markdown."""

from __future__ import annotations

from postroom.mail.html_lines import html_lines, joined_markdown, joined_text


def html_to_text(source: str) -> str:
    """The words of an HTML body, without scripts, styles, comments and hidden parts. Quotes stand behind `> `."""
    return joined_text(html_lines(source))


def html_to_markdown(source: str) -> str:
    """An HTML body as Markdown in which nothing of the mail acts but its links to web pages."""
    return joined_markdown(html_lines(source))

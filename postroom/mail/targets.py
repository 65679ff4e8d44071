"""What targets make of a text, and how the text of a mail is put there so that nothing in it acts."""

from __future__ import annotations

import enum

from postroom.mail.escaping import escape_markdown, escape_textile


class Markup(enum.StrEnum):
    """What a destination makes of a text."""

    PLAIN = "plain"
    """It is shown as it is."""
    MARKDOWN = "markdown"
    """CommonMark, or one of its dialects."""
    TEXTILE = "textile"
    """As Redmine reads it."""


def escape(markup: Markup, text: str) -> str:
    """The text as a target of this markup shows it word for word: no markup, mention, link to an item or command."""
    if markup is Markup.MARKDOWN:
        return escape_markdown(text)
    return escape_textile(text) if markup is Markup.TEXTILE else text

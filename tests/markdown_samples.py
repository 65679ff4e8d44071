"""Markdown to try converters with: by hand, made up at random, and that of every mail of the corpus."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from postroom.bodies import markdown_of, reply_markdown_of
from postroom.mail.escaping import escape_markdown
from postroom.rawmail import message_of
from tests.corpus import EML

PIECES = [
    "a", "word ", " ", "\n", "\n\n", "  \n", "\t", "# ", "## h\n", "- ", "* ", "1. ", "3) ", "> ", ">> ", "```\n",
    "~~~ py\n", "`", "``", "    ", "---\n", "===\n", "*", "**", "_", "~~", "[", "](", ")", "![", "](cid:a%40b)",
    "](http://x.example/y)", "](javascript:x)", "](mailto:a@b.example)", "<http://x.example/a_b>", "<b>", "&lt;",
    "&amp;", "&#0;", "\\", "\\*", "|", "|-|-|\n", "| a | b |\n", "\n| a | b |\n|---|---|\n| 1 | 2 |\n", "@jo",
    "[~jo]", "{code}", "{{", "}}", "!x.png!", ":)", "(y)", "h1. ", "bq. ", "||", "----\n", "<!here>", "<@U123>",
    "http://x.example/", "\u200b", "\ud800", "\x00", "\x0b", "é", "😀", "\u2028", "&nbsp;",
]  # fmt: skip
MARKDOWN = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=25).map("".join)
WORDS = MARKDOWN.map(lambda text: text.encode("utf-8", "ignore").decode().replace("\0", ""))
"""Text of a mail: of any kind, decoded."""

DOCUMENT = """# Head *line*

One **bold *both* `code`** [link](http://x.example/a?b=1&c=2)  
two ~~gone~~ ![graph](cid:a%40b) end

> ## Said
> quoted
> > deeper  
> > still
>
> - item
>
> | a | b |
> |---|---|
> | 1 |   |

- # top
  - nested

    ```py
    print("<1>")
    ```
- [x](javascript:alert)

7. seven
8. eight

---

| name | *value* |
|------|---------|
| `x`  | <b>     |
"""


@cache
def corpus() -> list[str]:
    """The Markdown of every mail, whole and as a reply; and of its plain text."""
    return [text for path in EML for text in _of(path)]


def _of(path: Path) -> Iterator[str]:
    message, _ = message_of(path.read_bytes(), ingress="mime")
    yield markdown_of(message)
    yield reply_markdown_of(message)
    if message.html and message.text:
        yield escape_markdown(message.text)

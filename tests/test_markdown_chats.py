"""Slack's mrkdwn, and plain text: what chats show of the Markdown, and whom they tell."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings

from postroom.mail.escaping import escape_markdown
from postroom.markdown import mrkdwn, text
from tests.corpus import needs_eml
from tests.markdown_samples import DOCUMENT, MARKDOWN, WORDS, corpus

LINK = re.compile(r"<(?:https?://|mailto:)[^<>|\s]+(?:\|[^<>|\n]+)?>", re.IGNORECASE)


def check_inert(shown: str) -> None:
    """Raises AssertionError where Slack would read anything in angle brackets but a link."""
    rest = LINK.sub("", shown)
    assert "<" not in rest and ">" not in re.sub(r"^(?: *(?:[•◦▪]|\d+\.)? *> ?)+|^ *>+$", "", rest, flags=re.MULTILINE)
    assert not re.search(r"&(?!amp;|lt;|gt;)", rest)


def bare(shown: str) -> str:
    return "".join(re.sub("[\u200b\x00-\x20\x7f-\xa0\u2028\u2029]", "", shown).split())


@settings(max_examples=500, deadline=None)
@given(MARKDOWN)
def test_nothing_in_slack_tells_anybody(markdown: str) -> None:
    shown = mrkdwn.convert(markdown, images={"a@b": "https://example.com/<!here>|x"})
    assert not re.search(r"<(?!(?:https?://|mailto:))", shown, re.IGNORECASE)


@settings(max_examples=300, deadline=None)
@given(WORDS)
def test_text_of_a_mail_in_slack(words: str) -> None:
    shown = mrkdwn.convert(escape_markdown(words))
    check_inert(shown)
    check_inert(mrkdwn.escape(words))
    assert "```" not in shown
    assert not re.search(r"(?<![^\W_])([*_~`])(?=[^\s*_~`\u200b])[^\n]*\1", LINK.sub("", shown)), "emphasis"
    if "://" not in words:
        assert bare(html.unescape(shown)) == bare(words)


@settings(max_examples=300, deadline=None)
@given(WORDS)
def test_text_of_a_mail_as_plain_text(words: str) -> None:
    shown = text.convert(escape_markdown(words))
    assert bare(shown) == bare(words) or "://" in words


@needs_eml
def test_every_mail_of_the_corpus() -> None:
    for markdown in corpus():
        assert not re.search(r"<(?!(?:https?://|mailto:))", mrkdwn.convert(markdown), re.IGNORECASE)
        assert len(mrkdwn.convert(markdown, limit=800)) <= 800
        assert len(text.convert(markdown, limit=800)) <= 800


SLACK = """*Head* *_line_*

One *bold* *_both_* *`code`* <http://x.example/a?b=1&amp;c=2|link>
two ~gone~ <https://example.com/x.png|graph> end

> *Said*
>
> quoted
>
> > deeper
> > still
>
> • item
>
> a | b
> 1 |

• *top*
  ◦ nested

    ```
    print("&lt;1&gt;")
    ```
• [x](javascript:alert)

7. seven
8. eight

———

name | _value_
`x` | &lt;b&gt;"""

PLAIN = """Head line

One bold both code link <http://x.example/a?b=1&c=2>
two gone graph <https://example.com/x.png> end

> Said
>
> quoted
>
> > deeper
> > still
>
> - item
>
> a | b
> 1 |

- top
  - nested

    print("<1>")
- [x](javascript:alert)

7. seven
8. eight

———

name | value
x | <b>"""


def test_a_document() -> None:
    images = {"a@b": "https://example.com/x.png"}
    assert mrkdwn.convert(DOCUMENT, images=images) == SLACK
    assert text.convert(DOCUMENT, images=images) == PLAIN


@pytest.mark.parametrize(
    ("markdown", "slack", "plain"),
    [
        ("&lt;!here> &lt;@U1> <!channel>", "&lt;!here&gt; &lt;@U1&gt; &lt;!channel&gt;", "<!here> <@U1> <!channel>"),
        ("[a|b>](http://x.example/?a=|&b=c)", "<http://x.example/?a=%7C&amp;b=c|a¦b&gt;>", "a|b> <http://x.example/?a=%7C&b=c>"),
        ("<http://x.example/a_b>", "<http://x.example/a_b>", "http://x.example/a_b"),
        ("<mailto:jo@x.example>", "<mailto:jo@x.example>", "mailto:jo@x.example"),
        ("[Jo](mailto:jo@x.example)", "<mailto:jo@x.example|Jo>", "Jo <jo@x.example>"),
        ("**[a *b*](http://x.example)**", "*<http://x.example|a b>*", "a b <http://x.example>"),
        ("\\*a\\* b\\*c\\_d", "*\u200ba* b*c_d", "*a* b*c_d"),
        ("\\`\\`\\`", "`\u200b`\u200b`", "```"),
        ("`a`b``", "`a`b`\u200b`", "ab``"),
        ("```\n```` <x>\n```", "```\n`\u200b`\u200b`\u200b` &lt;x&gt;\n```", "```` <x>"),
        ("** a**", "** a**", "** a**"),
        ("![lost *x*](cid:z)", "lost x", "lost x"),
        ("", "", ""),
    ],
)  # fmt: skip
def test_chats(markdown: str, slack: str, plain: str) -> None:
    assert mrkdwn.convert(markdown) == slack
    assert text.convert(markdown) == plain

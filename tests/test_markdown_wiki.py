r"""Jira's wiki markup: what the Markdown says, and nothing of a mail acts.

The judge reads as Jira's renderer does: macros, blocks, links and tables before backslashes, phrases and faces after
them, references to characters as they are.
"""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings

from postroom.mail.escaping import escape_markdown
from postroom.markdown import wiki
from tests.corpus import needs_eml
from tests.markdown_samples import DOCUMENT, MARKDOWN, WORDS, corpus

ESCAPED = re.compile(r"(?<!\\)\\([-#*_+?^~|%{}\[\]()!@])")
FACES = [
    ":)", ":-)", ":(", ":-(", ":P", ":p", ":-P", ":-p", ":D", ";)", ";-)", "(y)", "(n)", "(i)", "(/)", "(x)",
    "(!)", "(+)", "(-)", "(?)", "(on)", "(off)", "(*)", "(*r)", "(*g)", "(*b)", "(*y)", "(flag)", "(flagoff)",
]  # fmt: skip
START = r"(?<![^\W_])(?<!\\)"
PHRASES = [
    re.compile(rf"(?:{START}{sign}|\{{{sign}\}})[^\s{sign}](?:[^\n]*?[^\s{sign}])?(?<!\\){sign}(?![^\W_])")
    for sign in (r"\*", "_", "-", r"\+", r"\^", "~", r"\?\?")
]
BLOCK = re.compile(r"^\s*(?:h[1-6]\.|bq\.|[*#-]+\s|-{2,}|\|)", re.MULTILINE)
SCHEME = re.compile(r"(?<![^\W_])(?!https?://)(?:[a-z]+://|mailto:|news:|irc:|callto:|skype:)\S", re.IGNORECASE)
LINK = re.compile(r"\[(?:([^\[\]|\n]*)\|)?((?:https?://|mailto:)[^\[\]|\s]*)\]", re.IGNORECASE)


def check_inert(markup: str) -> None:
    """Raises AssertionError where something acts in it but plain links."""
    rest = LINK.sub("(link)", markup)
    raw = ESCAPED.sub("", rest)
    assert not re.search(r"[\[\]{}|\\]", raw), "a link, macro, mention, table or forced break"
    assert not re.search(r"\[~|\{\w", rest)
    assert not BLOCK.search(rest)
    assert not SCHEME.search(rest)
    seen = ESCAPED.sub(lambda found: f"&#{ord(found[1])};", LINK.sub("", markup))
    for phrase in PHRASES:
        assert not phrase.search(seen), phrase
    assert not [face for face in FACES if re.search(re.escape(face) + r"(?![^\W_])", seen)]
    assert not re.search(r"(?<![^\W_\\])![^\s!][^\n]{3,}!", seen), "an image"
    assert not re.search(r"(?:^|\s)-{2,3}(?:\s|$)", seen), "a dash"
    assert not re.search(r"\b[A-Z][A-Z0-9_]+-\d", seen), "the key of an issue"


def words(markup: str) -> str:
    """What is shown of a text without markup."""
    linked = LINK.sub(lambda found: found[1] or found[2], markup)
    return html.unescape(ESCAPED.sub(r"\1", linked))


def bare(text: str) -> str:
    return "".join(re.sub("[\u200b\x00-\x20\x7f-\xa0\u2028\u2029]", "", text).split())


ACTING = [
    "*bold* _em_ -gone- +new+ ^up^ ~down~ ??cited?? {{code}} {*}b{*}", "h1. head", "  h2. head", "bq. quote",
    "* item", "# item", "- item", "----", "||a||b||", "|a|b|", "{code}x{code}", "{noformat}", "{color:red}x{color}",
    "{panel}", "\\{code}", "\\\\", "C:\\\\x", "\\[~jo]", "[~admin]", "[~accountid:1]", "[a|http://x.example]",
    "[^file.txt]", "[#anchor]", "!x.png!", "!http://x.example/a.png|width=1!", ":) :-( ;)", "(y) (flag) (*r) (/) (!)",
    ":P :D", "&#123;code&#125;", "&lt;b&gt;", "<b>", "ABC-123", "a -- b --- c", "mailto:a@b.example",
    "ftp://x.example/", "file:///etc/passwd", "\\\\server\\share", "@jo", "*", "a*b*c", "snake_case_name", "\\*",
    "\\\\*x*", "a\\", "https://x.example/[a]{b}|c!d!", "%x%", "(?)", "*a\nb*", "{quote}", "??", "'''", "irc://x",
    "news:a", "_[~jo]_",
]  # fmt: skip


@pytest.mark.parametrize("text", ACTING)
def test_text_of_a_mail_shows_word_for_word(text: str) -> None:
    markup = wiki.convert(escape_markdown(text))
    check_inert(markup)
    if "://" not in text:
        assert bare(words(markup)) == bare(text)
    check_inert(wiki.escape(text))
    assert bare(words(wiki.escape(text))) == bare(text)


@settings(max_examples=500, deadline=None)
@given(WORDS)
def test_any_text_of_a_mail_is_inert(text: str) -> None:
    markup = wiki.convert(escape_markdown(text))
    check_inert(markup)
    if "://" not in text:
        assert bare(words(markup)) == bare(text)


@settings(max_examples=300, deadline=None)
@given(MARKDOWN)
def test_any_markdown_is_converted(markdown: str) -> None:
    markup = wiki.convert(markdown, images={"a@b": "x.png"})
    # Braces are ours alone, and each macro that begins ends.
    rest = re.sub(r"\{noformat\}\n.*?\n\{noformat\}", "", markup, flags=re.DOTALL)
    assert rest.count("{quote}") % 2 == 0 and "{noformat}" not in rest
    assert not re.sub(r"\{quote\}|\{\{|\}\}|\{[*_-]\}", "", rest).count("{")
    assert "[~" not in markup


@needs_eml
def test_every_mail_of_the_corpus() -> None:
    for markdown in corpus():
        markup = wiki.convert(markdown)
        assert "[~" not in markup and not SCHEME.search(LINK.sub("", markup))
        assert not re.search(r"\{(?!quote\}|noformat\}|\{|[*_-]\})", markup)
        assert len(wiki.convert(markdown, limit=1_000)) <= 1_000


EXPECTED = """h1. Head _line_

One *bold* *_both_* *{{code}}* [link|http://x.example/a?b=1&c=2]
two -gone- !x.png! end

{quote}
h2. Said

quoted

> deeper
> still

* item

|| a || b ||
| 1 |  |
{quote}

* *top*
** nested
{noformat}
print("<1>")
{noformat}
* &#91;x&#93;\\(javascript&#58;alert\\)

# seven
# eight

----

|| name || _value_ ||
| {{x}} | <b> |"""


def test_a_document() -> None:
    assert wiki.convert(DOCUMENT, images={"a@b": "x.png"}) == EXPECTED


@pytest.mark.parametrize(
    ("markdown", "markup"),
    [
        ("foo**bar**baz", "foo{*}bar{*}baz"),
        ("foo`bar`baz", "foo\u200b{{bar}}\u200bbaz"),
        ("**a  \nb**", "*a*\n*b*"),
        ("[a|b]\\](<http://x.example/a|b]>)", "&#91;a&#124;b&#93;&#93;\\([http://x.example/a%7Cb%5D]\\)"),
        ("[one \\[two\\] \\*three\\*](http://x.example)", "[one &#91;two&#93; &#42;three&#42;|http://x.example]"),
        ("<http://x.example/a_b>", "[http://x.example/a_b]"),
        (
            "```\n{noformat} [~jo] {NoFormat:x}\n```",
            "{noformat}\n{\u200bnoformat} [\u200b~jo] {\u200bNoFormat:x}\n{noformat}",
        ),
        ("`{a}`", "{{&#123;a&#125;}}"),
        ("| a\\|b | `c\\|d` |\n|---|---|\n| x<br>y | |", "|| a&#124;b || {{c&#124;d}} ||\n| x<br>y |  |"),
        ("1. a\n   - b\n2. c", "# a\n#* b\n# c"),
        ("- a\n\n  b", "* a\nb"),
        ("-", "* &nbsp;"),
        ("![lost](cid:z)", "lost"),
        ("![x](cid:a)", "x"),
        ("***a***", "*_a_*"),
        ("", ""),
    ],
)
def test_markup(markdown: str, markup: str) -> None:
    assert wiki.convert(markdown, images={"a": "b|c!.png"}) == markup


def test_a_long_text_keeps_its_footer() -> None:
    markup = wiki.convert(
        "*word* [x] " * 9_000 + "\n\n[This mail](https://post.example/1)\n\npostroom-1", limit=wiki.LIMIT
    )
    assert 20_000 < len(markup) <= wiki.LIMIT
    assert markup.endswith("…\n\n[This mail|https://post.example/1]\n\npostroom-1")

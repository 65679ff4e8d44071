"""HTML made of Markdown: only known tags, every one closed, links to the web and mail only."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import nh3
import pytest
from hypothesis import given, settings

from postroom.mail.escaping import escape_markdown
from postroom.markdown import html
from tests.corpus import needs_eml
from tests.markdown_samples import DOCUMENT, MARKDOWN, WORDS, corpus

ATTRIBUTES = {"a": {"href"}, "img": {"src", "alt"}, "ol": {"start"}}


class Judge(HTMLParser):
    """Raises AssertionError where a page would hold more than it should."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.words = ""
        self.tags: set[str] = set()
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in html.TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES.get(tag, set())
        for name, value in attrs:
            assert name != "href" or re.match(r"https?://|mailto:", value or "", re.IGNORECASE)
            assert name != "src" or re.match(r"(?:https?|mxc)://|cid:", value or "")
            assert name != "start" or (value or "").isdigit()
        self.tags.add(tag)
        if tag not in ("br", "hr", "img"):
            assert tag != "a" or "a" not in self.open
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError("a declaration")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError("a declaration")


def bare(text: str) -> str:
    return "".join(re.sub("[\u200b\x00-\x20\x7f-\xa0\u2028\u2029]", "", text).split())


@settings(max_examples=500, deadline=None)
@given(MARKDOWN)
def test_any_markdown_is_safe(markdown: str) -> None:
    shown = html.convert(markdown, images={"a@b": 'cid:a"b', "x": "javascript:x"})
    Judge(shown)
    assert "<script" not in shown.lower()


@settings(max_examples=300, deadline=None)
@given(WORDS)
def test_text_of_a_mail_shows_word_for_word(text: str) -> None:
    judge = Judge(html.convert(escape_markdown(text)))
    assert judge.tags <= {"p", "br", "a"}
    if "://" not in text:
        assert bare(judge.words) == bare(text)


@needs_eml
def test_every_mail_of_the_corpus() -> None:
    for markdown in corpus():
        Judge(html.convert(markdown))
        short = html.convert(markdown, limit=1_000)
        Judge(short)
        assert len(short) <= 1_000


def test_a_browser_sees_the_same() -> None:
    """A parser that mends HTML as browsers do has nothing to mend."""
    shown = html.convert(DOCUMENT, images={"a@b": "https://example.com/x.png"})
    cleaned = nh3.clean(shown, tags=set(html.TAGS), attributes=ATTRIBUTES, link_rel=None)
    assert cleaned.replace(">\n<", "><") == shown.replace(">\n<", "><")


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("a **b** *c* ~~d~~ `<e>`", "<p>a <strong>b</strong> <em>c</em> <del>d</del> <code>&lt;e&gt;</code></p>"),
        ("<b onclick=x>a</b>", "<p>&lt;b onclick=x&gt;a&lt;/b&gt;</p>"),
        ('[a"](http://x.example/"\'>&)', '<p><a href="http://x.example/%22&#x27;%3E&amp;">a"</a></p>'),
        ("[a](javascript:x) [b](tel:1)", "<p>[a](javascript:x) b</p>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("2. a\n\n3. b", '<ol start="2">\n<li><p>a</p></li>\n<li><p>b</p></li>\n</ol>'),
        ('![a "q"](cid:x) ![lost](cid:y)', '<p><img src="cid:1" alt="a &quot;q&quot;"> lost</p>'),
        ("![w](https://x.example/y.png)", '<p><a href="https://x.example/y.png">w</a></p>'),
        ("a  \nb\n\n---", "<p>a<br>\nb</p>\n<hr>"),
        ("http://x.example/a_b.", '<p><a href="http://x.example/a_b">http://x.example/a_b</a>.</p>'),
        ("", ""),
    ],
)
def test_html(markdown: str, shown: str) -> None:
    assert html.convert(markdown, images={"x": "cid:1"}) == shown

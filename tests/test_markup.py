"""HTML and text of mails for display, as text, as Markdown and as Textile: readable, and nothing in them acts.

What Markdown means is judged by a reader of CommonMark with the extensions of trackers, not by its signs.
"""

from __future__ import annotations

import html
import json
import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from postroom.bodies import markdown_of, reply_markdown_of
from postroom.mail.escaping import escape_markdown, escape_textile
from postroom.mail.markup import html_to_markdown, html_to_text
from postroom.mail.replies import split_reply
from postroom.mail.safe_html import safe_html
from postroom.rawmail import message_of
from tests.corpus import EML, SOCKETLABS, needs_eml, needs_socketlabs

READER = MarkdownIt("gfm-like", {"html": True, "linkify": True})


class Rendered(HTMLParser):
    """What a page shows: its tags with their links, and its words."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.images: list[tuple[str, str]] = []
        """Those that the mail holds, with their words: nothing is fetched for them."""
        self.words = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.words += " "
        if tag == "img" and re.fullmatch(r"cid:[\w%.~-]+", dict(attrs).get("src") or "", re.ASCII):
            self.images.append((dict(attrs)["src"] or "", dict(attrs)["alt"] or ""))
            return
        self.tags.add(tag)
        for name, value in attrs:
            assert name in ("href", "start", "style", "title", "target", "rel", "dir", "colspan", "rowspan"), name
            if name == "href":
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words += data


def shown(markdown: str) -> Rendered:
    return Rendered(READER.render(markdown))


def bare(text: str) -> str:
    """The words without white space and what has no width."""
    return "".join(text.replace("\u200b", "").split())


MENTION = re.compile(r"(?<![A-Za-z0-9_])@[A-Za-z0-9_]")
REFERENCE = re.compile(r"(?<![\w&])#\d|(?<!\w)![0-9]|(?i:\bgh-\d)")
COMMAND = re.compile(r"^\s*/[a-z]", re.MULTILINE)


def check_harmless(markdown: str, rendered: Rendered) -> None:
    assert not rendered.tags & {"script", "img", "iframe", "style", "svg", "object", "form", "input", "table"}
    assert all(re.match(r"(?:https?|ftp|mailto|tel):", link) for link in rendered.links), rendered.links
    outside = re.sub(r"(?<!\\)\]\([^)]*\)", "", re.sub(r"<https?://[^>]*>", "", markdown, flags=re.IGNORECASE))
    assert not MENTION.search(outside) and not REFERENCE.search(outside) and not COMMAND.search(markdown)


ACTING = [
    "# heading", "## x", "> quote", "- item", "+ item", "* item", "1. item", "12) item", "***", "---", "===", "text\n===",
    "    code", "\tcode", "```\ncode\n```", "~~~\nx\n~~~", "`code`", "*em* **strong** _em_ __strong__ ~~gone~~",
    "[a](http://x)", "![a](http://x/y.png)", "[a]: http://x\n[a]", "<http://x>", "<b>bold</b>", "<script>alert(1)</script>",
    "&lt;script&gt;", "&amp;", "&#60;", "a | b\n--|--\n1 | 2", "\\*", "@everyone", "hi @jo, @team/x", "(@jo)", "#12", "fix #12",
    "!7", "GH-7", "owner/repo#7", "/close", "  /assign me", "[[wiki]]", "{{macro()}}", "[click](javascript:alert(1))",
    "<javascript:alert(1)>", "a\\\nb", "a  \nb", "$x$", "^x^", "==x==", ":smile:", "\u2028# x", "a\x0b# x", "\r# x", "[ ] todo",
    "- [x] done", "<!-- x -->", "<a href=x onclick=y>z</a>", "&nbsp;", "term\n: definition", "[^1]\n\n[^1]: note", "%x", "a\n\n\n\n\nb",
]  # fmt: skip


@pytest.mark.parametrize("text", ACTING)
def test_text_shows_word_for_word_in_markdown(text: str) -> None:
    markdown = escape_markdown(text)
    rendered = shown(markdown)
    check_harmless(markdown, rendered)
    assert rendered.tags <= {"p", "br", "a"}, markdown
    assert bare(rendered.words) == bare(text.translate({0x0B: " ", 0x2028: " "})), markdown


LINKS = [
    ("see http://example.com/a_b?c=d&e=f.", ["http://example.com/a_b?c=d&e=f"]),
    ("(https://example.com/x(1))", ["https://example.com/x(1)"]),
    ("HTTP://EXAMPLE.com", ["HTTP://EXAMPLE.com"]),
    ("javascript://example.com/%0Aalert(1)", []),
    ("http://a/](javascript:alert(1))", ["http://a/%5D(javascript:alert(1))"]),
    ('http://a/"onclick="x', ["http://a/"]),
    ("http://a/@jo", ["http://a/%40jo"]),
    ("file:///etc/passwd data:text/html,x", []),
]


@pytest.mark.parametrize(("text", "links"), LINKS)
def test_only_addresses_of_web_pages_are_links(text: str, links: list[str]) -> None:
    assert shown(escape_markdown(text)).links == links


PIECES = st.sampled_from(
    [
        *ACTING,
        "a",
        " ",
        "\n",
        "\t",
        "&",
        "<",
        ">",
        "é",
        "http://x.example/",
        "@",
        "#1",
        "\\",
        "`",
        "*",
        "_",
        "://",
        "](",
    ]
)


@settings(max_examples=400)
@given(st.lists(PIECES | st.text(max_size=8), max_size=12).map("".join))
def test_any_text_is_harmless_in_markdown(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode().replace("\0", "")
    markdown = escape_markdown(text)
    rendered = shown(markdown)
    check_harmless(markdown, rendered)
    assert rendered.tags <= {"p", "br", "a"}, markdown


HTML = [
    ("<p>one</p><p>two</p>", "one\n\ntwo", "one\n\ntwo"),
    ("one<br>two<br><br>three", "one\ntwo\n\nthree", "one  \ntwo\n\nthree"),
    ("<h2>Head</h2>text", "Head\n\ntext", "## Head\n\ntext"),
    ("<b>bold</b> and <i>slanted</i>", "bold and slanted", "**bold** and *slanted*"),
    ("<ul><li>a<li>b<ul><li>c</ul></ul>", "- a\n- b\n  - c", "- a\n- b\n  - c"),
    ("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b", "1. a\n2. b"),
    ("<blockquote>old</blockquote>new", "> old\n\nnew", "> old\n\nnew"),
    ('<a href="https://example.com/x">here</a>', "here <https://example.com/x>", "[here](https://example.com/x)"),
    ('<a href="https://example.com/">example.com</a>', "example.com", "<https://example.com/>"),
    (
        '<a href="https://evil.example">https://bank.example</a>',
        "https://bank.example <https://evil.example>",
        "<https://bank.example> <https://evil.example>",
    ),
    ('<a href="javascript:alert(1)">here</a>', "here", "here"),
    ('<a href=" java\nscript:alert(1)">here</a>', "here", "here"),
    ("<style>p{color:red}</style><script>alert(1)</script>words", "words", "words"),
    ("<p style='display:none'>preview</p>words", "words", "words"),
    ("<div hidden>x</div>words", "words", "words"),
    ("<!-- comment -->words<!--[if mso]>x<![endif]-->", "words", "words"),
    ("&lt;script&gt;alert(1)&lt;/script&gt;", "<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
    ("<img src=x alt='a cat'>", "a cat", "a cat"),
    ("a<img src='cid:c@t' alt='a [cat]'>b", "a a [cat] b", "a ![a \\[cat\\]](cid:c%40t) b"),
    ("<p>one</p><p><img src=CID:x.png></p><p>two</p>", "one\n\ntwo", "one\n\n![](cid:x.png)\n\ntwo"),
    ("<a href=http://x/><img src=cid:x alt=logo></a>", "logo <http://x/>", "[![logo](cid:x)](http://x/)"),
    ("<a href=http://x/><img src=cid:x></a>", "", "![](cid:x)"),
    ("<ul><li><img src=cid:x>a<li><img src=cid:y></ul>b", "- a\n\nb", "- ![](cid:x) a\n\n![](cid:y) b"),
    ("<img src='cid:' alt=none>", "none", "none"),
    ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc", "a b  \nc"),
    ("<pre>a\n  b</pre>", "a\n  b", "a  \n&nbsp;&nbsp;b"),
    ("a &amp; b &eacute; &#x263a;", "a & b é ☺", "a &amp; b é ☺"),
    ("<p>@jo #12 *x*</p>", "@jo #12 *x*", "@\u200bjo #\u200b12 \\*x\\*"),
    ("<p>1. no list</p><p># no head</p>", "1. no list\n\n# no head", "1\\. no list\n\n\\# no head"),
    ("<p>unclosed <b>bold", "unclosed bold", "unclosed **bold**"),
    ("a < b and c > d", "a < b and c > d", "a &lt; b and c &gt; d"),
    ("", "", ""),
]


@pytest.mark.parametrize(("source", "text", "markdown"), HTML)
def test_html_as_text_and_as_markdown(source: str, text: str, markdown: str) -> None:
    assert html_to_text(source) == text
    assert html_to_markdown(source) == markdown


TAGS = st.sampled_from(
    [
        "<p>", "</p>", "<b>", "</b>", "<i>", "<a href='javascript:x'>", "<a href=http://x/>", "</a>", "<ul>", "<li>", "</ul>", "<pre>",
        "</pre>", "<blockquote>", "</blockquote>", "<h1>", "</h1>", "<script>", "</script>", "<img alt='](javascript:x)' onerror=x>", "<!--",
        "<img src='cid:a@b)](javascript:x)' alt='# [x](http://y) @jo'>", "<img src=cid:z>",
        "-->", "<br>", "<table>", "<td>", "<svg onload=x>", "<hr>", "&lt;script&gt;", "<style>", "</style>", "<ol>", "<", ">", "\n",
    ]
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(TAGS | PIECES | st.text(max_size=6), max_size=14).map("".join))
def test_any_html_is_harmless(source: str) -> None:
    source = source.encode("utf-8", "ignore").decode().replace("\0", "")
    markdown = html_to_markdown(source)
    check_harmless(markdown, shown(markdown))
    html_to_text(source)
    check_safe(safe_html(source))


def check_safe(source: str) -> None:
    rendered = Rendered(source)
    assert not rendered.tags & {
        "script",
        "img",
        "iframe",
        "style",
        "svg",
        "math",
        "object",
        "form",
        "input",
        "link",
        "meta",
        "base",
    }
    assert all(re.match(r"(?:https?|mailto):", link) for link in rendered.links), rendered.links


SAFE = [
    ("<a href=/logout>a</a>", '<a target="_blank" rel="noopener noreferrer nofollow">a</a>'),
    ("<p onclick=x>a</p>", "<p>a</p>"),
    ("<script>alert(1)</script>a", "a"),
    ("<a href=javascript:x>a</a>", "<a rel=\"noopener noreferrer nofollow\" target=\"_blank\">a</a>"),
    ("<img src=http://x/y alt=cat>", "cat"),
    ("<p style=background:url(http://x)>a", "<p>a</p>"),
    ("<meta http-equiv=refresh content='0;url=http://x'>a", "a"),
    ("<form action=http://x><input name=a></form>a", "a"),
    ("<svg><script>x</script></svg>a", "a"),
    ("<base href=http://x>a", "a"),
    ("<b>a<i>b</b>c", "<b>a<i>b</i></b>c"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "safe"), SAFE)
def test_html_for_display(source: str, safe: str) -> None:
    assert sorted(re.split("[ >]", safe_html(source))) == sorted(re.split("[ >]", safe)), "attributes in any order"


def test_long_html_is_cut_and_says_so() -> None:
    assert "[100,000 characters are not shown]" in safe_html("a" * 600_000)


TEXTILE = [
    ("h1. x", "h1&#46; x"),
    ("* item", "&#42; item"),
    ("@code@", "&#64;code&#64;"),
    ("a #12 b", "a &#35;12 b"),
    ("{{toc}}", "&#123;&#123;toc&#125;&#125;"),
    ("[[wiki]]", "&#91;&#91;wiki&#93;&#93;"),
    ("r12", "r\u200b12"),
    ("  indented", "&nbsp;&nbsp;indented"),
    ("<b>", "&#60;b&#62;"),
    ('"a":http://x/y', "&#34;a&#34;:http://x/y"),
    ("commit:abc user:jo", "commit&#58;abc user&#58;jo"),
    ("plain words, nothing else", "plain words, nothing else"),
]


@pytest.mark.parametrize(("text", "textile"), TEXTILE)
def test_textile(text: str, textile: str) -> None:
    assert escape_textile(text) == textile


@given(st.lists(PIECES | st.text(max_size=8), max_size=12).map("".join))
def test_any_text_is_harmless_in_textile(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode().replace("\0", "")
    textile = escape_textile(text)
    outside = re.sub(r"https?://\S*", "", textile, flags=re.IGNORECASE)
    assert not re.search(r"[*_@{}\[\]<>|\"`~^%!=]", outside)
    assert not re.search(r"^ *(?:h[1-6]|p|bq|pre|table)[^\s.]*\.", textile, re.MULTILINE)
    if "://" not in text:
        assert bare(html.unescape(textile).replace("\xa0", "")) == bare(
            re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", " ", text)
        )


HOSTILE = [
    "<div>" * 1_000, "<div>" * 200_000, "<b>" * 300_000, "<table><tr><td>" * 70_000, "<ul><li>" * 100_000, "<blockquote>" * 90_000,
    "<!--" * 250_000, "<a href='" * 100_000, "<p a=1 b=2>" * 90_000, "&#" * 500_000, "&#99999999999" * 80_000, "<" * 10**6, ">" * 100_000,
    "`" * 10**6, "*" * 10**6, "[" * 10**6, "](javascript:" * 80_000, "http://" * 140_000, "@a " * 300_000, "_" * 10**6, "\u0301" * 500_000,
    "h1. " * 250_000, "1. a\n" * 200_000, "- a\n" * 250_000, "<pre>" + "\n" * 10**6, "http://a/((((" + ")" * 10**5, "<svg><p>" * 120_000,
    "\xa0" * 500_000, "<p style='display:none'>" * 40_000, "a" * 3_000_000, "\n" * 100_000, "On " * 20_000, "<p>x</p>" * 100_000, " " * 10**6,
]  # fmt: skip


@pytest.mark.parametrize("source", HOSTILE, ids=[f"{source[:12]!r}" for source in HOSTILE])
def test_time_is_linear(source: str) -> None:
    for function in (html_to_markdown, html_to_text, safe_html, escape_markdown, escape_textile, split_reply):
        started = time.process_time()
        function(source)
        assert time.process_time() - started < len(source) / 1e6 + 0.5, function


@needs_eml
def test_every_mail_of_the_corpus_as_markdown() -> None:
    for path in EML:
        message, _ = message_of(path.read_bytes(), ingress="mime")
        for markdown in (markdown_of(message), reply_markdown_of(message)):
            assert "<script" not in markdown.lower()
            rendered = shown(markdown)
            check_harmless(markdown, rendered)
        check_safe(safe_html(message.html or ""))
        if message.html is None and message.text:
            assert bare(shown(markdown_of(message)).words) == bare(message.text), path


@needs_socketlabs
def test_the_words_of_the_corpus_stay() -> None:
    """Of the HTML that is well-formed, a reader sees as text what a browser shows."""
    for path in SOCKETLABS:
        for line in path.read_text(encoding="utf-8").splitlines():
            source = json.loads(line)["payload"]["Message"]["HtmlBody"]
            if source:
                seen = set(re.findall(r"\w{4,}", Rendered(safe_html(source)).words))
                missing = {word for word in seen if word not in html_to_text(source)}
                assert len(missing) <= len(seen) / 50, (path, missing)

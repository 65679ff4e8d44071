"""The Atlassian Document Format: every document is valid, and says what the Markdown says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postroom.mail.escaping import escape_markdown
from postroom.markdown import adf
from tests.corpus import needs_eml
from tests.markdown_samples import DOCUMENT, MARKDOWN, WORDS, corpus

INLINE = {"text", "hardBreak"}
CONTENT = {
    "doc": {
        "paragraph", "heading", "blockquote", "bulletList", "orderedList", "codeBlock", "rule", "table", "mediaSingle",
    },
    "paragraph": INLINE,
    "heading": INLINE,
    "blockquote": {"paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle"},
    "bulletList": {"listItem"},
    "orderedList": {"listItem"},
    "listItem": {"paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle"},
    "codeBlock": {"text"},
    "table": {"tableRow"},
    "tableRow": {"tableHeader", "tableCell"},
    "tableHeader": {"paragraph", "mediaSingle"},
    "tableCell": {"paragraph", "mediaSingle"},
    "mediaSingle": {"media"},
}  # fmt: skip
"""What stands in what, by Atlassian's JSON schema of the format (the part of it that is made here)."""
NEVER_EMPTY = {"blockquote", "bulletList", "orderedList", "listItem", "table", "tableRow", "tableHeader", "tableCell"}
FIRST_IN_ITEM = {"paragraph", "codeBlock", "mediaSingle"}
MARKS = {"strong", "em", "strike", "code", "link"}


def check(node: dict[str, Any], within: str = "") -> None:
    """Raises AssertionError where the node breaks a rule of the schema."""
    kind = node["type"]
    assert set(node) <= {"type", "content", "attrs", "text", "marks", "version"}, node
    if kind == "doc":
        assert set(node) == {"type", "version", "content"} and node["version"] == 1 and not within
    if kind == "text":
        assert set(node) <= {"type", "text", "marks"}
        assert isinstance(node["text"], str) and node["text"]
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", node["text"])
        check_marks(node.get("marks", []), within)
        return
    assert "marks" not in node and "text" not in node
    attributes = node.get("attrs")
    if kind == "heading":
        assert attributes is not None and set(attributes) == {"level"} and attributes["level"] in range(1, 7)
    elif kind == "orderedList":
        assert attributes is None or (set(attributes) == {"order"} and attributes["order"] >= 0)
    elif kind == "codeBlock":
        assert attributes is None or set(attributes) == {"language"}
    elif kind == "mediaSingle":
        assert attributes == {"layout": "center"} and len(node["content"]) == 1
    elif kind == "media":
        check_media(attributes or {})
    else:
        assert attributes is None
    if kind in ("hardBreak", "rule", "media"):
        assert "content" not in node
        return
    content = node["content"]
    assert isinstance(content, list) and (content or kind not in NEVER_EMPTY), kind
    for child in content:
        assert child["type"] in CONTENT[kind], f"{child['type']} in {kind}"
        check(child, kind)
    if kind == "listItem":
        assert content[0]["type"] in FIRST_IN_ITEM


def check_marks(marks: list[dict[str, Any]], within: str) -> None:
    names = [mark["type"] for mark in marks]
    assert set(names) <= MARKS and len(set(names)) == len(names)
    assert within != "codeBlock" or not names
    assert "code" not in names or set(names) <= {"code", "link"}
    for mark in marks:
        if mark["type"] == "link":
            assert set(mark) == {"type", "attrs"} and set(mark["attrs"]) == {"href"}
            assert re.match(r"https?://|mailto:", mark["attrs"]["href"], re.IGNORECASE)
        else:
            assert set(mark) == {"type"}


def check_media(attributes: dict[str, Any]) -> None:
    if attributes["type"] == "external":
        assert set(attributes) <= {"type", "url", "alt"} and attributes["url"]
    else:
        assert attributes["type"] == "file" and set(attributes) <= {"type", "id", "collection", "alt"}
        assert attributes["id"] and isinstance(attributes["collection"], str)


def bare(text: str) -> str:
    return "".join(re.sub("[\u200b\x00-\x20\x7f-\xa0\u2028\u2029]", "", text).split())


def kinds(node: dict[str, Any]) -> list[Any]:
    """The shape of a document."""
    return [node["type"], *(kinds(child) for child in node.get("content", []))] if "content" in node else [node["type"]]


@settings(max_examples=500, deadline=None)
@given(MARKDOWN)
def test_any_markdown_is_a_valid_document(markdown: str) -> None:
    check(adf.convert(markdown))
    check(adf.convert(markdown, images={"a@b": "https://example.com/x.png"}))


@settings(max_examples=300, deadline=None)
@given(WORDS)
def test_text_of_a_mail_is_only_text(text: str) -> None:
    document = adf.convert(escape_markdown(text))
    check(document)
    shown = str(kinds(document))
    assert set(re.findall(r"\w+", shown)) <= {"doc", "paragraph", "text", "hardBreak"}
    if "://" not in text:
        assert bare(adf.words(document)) == bare(text)


@needs_eml
def test_every_mail_of_the_corpus_is_a_valid_document() -> None:
    for markdown in corpus():
        check(adf.convert(markdown))
        short = adf.convert(markdown, limit=2_000)
        check(short)
        assert adf.size(short) <= 2_000


@settings(max_examples=300, deadline=None)
@given(MARKDOWN, st.integers(30, 400))
@example(markdown="http://x.example/aaaaaaaa**](cid:a%40b)](cid:a%40b)http://x.example/0\x1f𐀀𐀀𐀀", limit=201)
def test_a_limit_holds_and_the_end_stays(markdown: str, limit: int) -> None:
    marked = f"{markdown}\n\n\n```\n```\n\n[mail](http://m.example/)\n"
    document = adf.convert(marked, limit=limit)
    check(document)
    assert adf.size(document) <= limit
    if limit > 200 and document["content"][-1]["type"] == "paragraph":
        assert "http://m.example/" in str(document)


def test_a_long_text_keeps_its_footer() -> None:
    markdown = "word " * 50_000 + "\n\n---\n\n[This mail](https://post.example/1)\n\npostroom-123"
    document = adf.convert(markdown, limit=adf.LIMIT)
    check(document)
    assert 30_000 < adf.size(document) <= adf.LIMIT
    assert adf.words(document).rstrip().endswith("This mail\npostroom-123") and "word…" in adf.words(document)
    assert adf.convert(markdown, limit=10**6) == adf.convert(markdown)


def test_a_document() -> None:
    document = adf.convert(DOCUMENT, images={"a@b": "https://example.com/x.png"})
    check(document)
    heading, first, image, after, quote, bullets, numbers, rule, table = document["content"]
    assert heading["attrs"] == {"level": 1} and [kinds(heading)[0], len(heading["content"])] == ["heading", 2]
    assert first["content"][1] == {"type": "text", "text": "bold ", "marks": [{"type": "strong"}]}
    assert first["content"][2]["marks"] == [{"type": "em"}, {"type": "strong"}]
    assert {"type": "text", "text": "code", "marks": [{"type": "code"}]} in first["content"]
    link = {"type": "link", "attrs": {"href": "http://x.example/a?b=1&c=2"}}
    assert {"type": "text", "text": "link", "marks": [link]} in first["content"]
    assert {"type": "hardBreak"} in first["content"]
    assert image["content"][0]["attrs"] == {"type": "external", "url": "https://example.com/x.png", "alt": "graph"}
    assert adf.words(after) == " end\n"
    said, words, deeper, items, *rows = quote["content"]
    assert said["content"] == [{"type": "text", "text": "Said", "marks": [{"type": "strong"}]}]
    assert adf.words(deeper) == "> deeper\n> still\n" and items["type"] == "bulletList" and words["type"] == "paragraph"
    assert [adf.words(row) for row in rows] == ["a | b\n", "1 | \n"]
    assert [each["type"] for each in bullets["content"][0]["content"]] == ["paragraph", "bulletList"]
    assert bullets["content"][0]["content"][1]["content"][0]["content"][1] == {
        "type": "codeBlock",
        "attrs": {"language": "py"},
        "content": [{"type": "text", "text": 'print("<1>")'}],
    }
    assert adf.words(bullets["content"][1]).strip() == "[x](javascript:alert)"
    assert numbers["attrs"] == {"order": 7} and rule == {"type": "rule"}
    assert [each["type"] for each in table["content"][0]["content"]] == ["tableHeader", "tableHeader"]
    assert adf.words(table["content"][1]).split() == ["x", "<b>"]


@pytest.mark.parametrize("markdown", ["", " \n\n", "[a]: http://x", "\u200b"])
def test_an_empty_document_is_well_formed(markdown: str) -> None:
    check(adf.convert(markdown))
    assert adf.convert("") == {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": []}]}


def test_an_image_of_the_media_service() -> None:
    document = adf.convert("![](cid:x) ![lost](cid:y)", images={"x": "media:0b-1"})
    check(document)
    assert document["content"][0]["content"][0]["attrs"] == {"type": "file", "id": "0b-1", "collection": ""}
    assert adf.words(document["content"][1]) == " lost\n"


def test_only_some_addresses_are_links() -> None:
    markdown = "[a](javascript:x) [b](tel:1) [c](ftp://x/) <mailto:a@b.example> [d](/x) [e](//x) www.x.example http://y.example/."
    found = re.findall(r"'href': '([^']*)'", str(adf.convert(markdown)))
    assert found == ["mailto:a@b.example", "http://y.example/"]


@pytest.mark.parametrize(
    "piece", ["> ", "- ", "* 1. ", "[", "![", "*a ", "**", "`", "| a ", "&", "<", "\\", "a\n\n", "> a\n\n"]
)
def test_deep_and_long_markdown(piece: str) -> None:
    check(adf.convert(piece * 20_000))
    document = adf.convert(piece * 20_000 + "\n\nend", limit=1_000)
    check(document)
    assert adf.size(document) <= 1_000

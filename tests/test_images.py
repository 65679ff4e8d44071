"""Images that a mail holds: from its HTML to the place where they lie at a destination."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from postroom.composition import compose, place_images, title_of
from postroom.mail.images import content_id_of, image_markdown, place_textile_images
from postroom.mail.markup import html_to_markdown
from postroom.mail.targets import Markup, escape
from postroom.rawmail import message_of
from postroom.rules.template_names import Lazy, MarkdownText, values_of
from postroom.rules.templates import Template
from tests.kinds import job

READER = MarkdownIt("commonmark", {"html": False})
WORDS = st.lists(
    st.sampled_from(["[", "]", "\\", "`", "!", "](", "](cid:x)", "#1", "- ", "1. ", "@jo", "http://x/[a]", "<b>"])
    | st.text(max_size=6),
    max_size=8,
).map("".join)  # fmt: skip


def images_in(markdown: str) -> list[tuple[str, str]]:
    """Source and words of all images, as a reader of Markdown sees them."""
    shown = READER.render(markdown)
    return re.findall(r'<img src="([^"]*)" alt="([^"]*)"', shown)


@pytest.mark.parametrize(
    ("source", "content_id"),
    [
        ("cid:a@b", "a@b"),
        (" CID:a%40b ", "a@b"),
        ("cid:image001.png@01D8.AB)(]", "image001.png@01D8.AB)(]"),
        ("cid:<a@b>", "a@b"),
        ("cid:", ""),
        ("cid:a%0ab", ""),
        ("cid:" + "a" * 300, ""),
        ("https://example.com/a.png", ""),
        ("data:image/png;base64,AA", ""),
        ("", ""),
    ],
)
def test_content_id_of_a_source(source: str, content_id: str) -> None:
    assert content_id_of(source) == content_id


@given(WORDS, st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30))
def test_every_image_is_placed(words: str, content_id: str) -> None:
    """Whatever the words and the id: the image stands, is placed, and without a place its words stand alone."""
    words = words.encode("utf-8", "ignore").decode().replace("\0", "")
    markdown = f"before {image_markdown(words, content_id)} after"
    assert [source for source, _ in images_in(markdown)] == [f"cid:{quote(content_id, safe='')}"]
    placed = place_images(markdown, {content_id: "https://example.com/x.png"})
    assert [source for source, _ in images_in(placed)] == ["https://example.com/x.png"]
    told = place_images(image_markdown(words, content_id), {})
    assert images_in(told) == []
    assert not re.search("<(?:h1|ul|ol|blockquote|pre|code|em|strong)", READER.render(told))


@given(WORDS)
def test_words_of_html_reach_the_image(words: str) -> None:
    words = re.sub(r"[\x00-\x1f\x7f-\x9f\"'\ud800-\udfff]", "", words).replace("&", "")
    markdown = html_to_markdown(f"<p><img src='cid:a@b' alt='{words}'></p>")
    assert [source for source, _ in images_in(markdown)] == ["cid:a%40b"]


def test_the_text_of_an_item_has_its_images() -> None:
    body = html_to_markdown("<p>See</p><img src='cid:a@b' alt='[red] *line*'><p><img src=cid:gone alt='- lost'></p>")
    delivery = job(title="An image", body=body)
    text = compose(delivery, Markup.MARKDOWN, images={"a@b": "https://example.com/1.png"}, marker="")
    assert text.startswith("See\n\n![\\[red\\] \\*line\\*](https://example.com/1.png)\n\n\\- lost")
    assert compose(delivery, Markup.MARKDOWN, marker="").startswith("See\n\n\\[red\\] \\*line\\*\n\n\\- lost")
    assert title_of(delivery, 100) == "An image"


def test_text_of_a_mail_is_no_image() -> None:
    markdown = html_to_markdown("<p>![x](cid:a) \\![y](cid:a)</p>")
    assert place_images(markdown, {"a": "https://example.com/a.png"}) == markdown


def test_many_images_are_placed_in_time() -> None:
    markdown = "![" * 50_000 + "](cid:x)" + "![x](cid:y)" * 20_000
    assert place_images(markdown, {"y": "z"}).count("](z)") == 20_000


@pytest.mark.parametrize("source", ["{{ markdown }}", "It says: {{ markdown }}"])
def test_a_plain_destination_gets_words_instead_of_images(source: str) -> None:
    names = {
        "markdown": MarkdownText(html_to_markdown("<p>See <img src=cid:x alt='the *graph*'></p>"), "See the graph")
    }
    assert Template(source).render(names, Markup.PLAIN).endswith("See the \\*graph\\*")
    assert Template(source).render(names, Markup.MARKDOWN).endswith("See ![the \\*graph\\*](cid:x)")


PICTURED = "<p>See <b>1</b></p><p><img src='cid:a@b' alt='graph'> below</p><blockquote>old <img src=cid:c></blockquote>"


def test_textile_has_images_below_their_lines() -> None:
    message = message_of(mail(PICTURED), ingress="mime")[0]
    names = values_of(message, message_url="", reply_address="", rule="r", extracted={})
    names = {name: value.make() if isinstance(value, Lazy) else value for name, value in names.items()}
    textile = Template("{{ markdown }}").render(names, Markup.TEXTILE)
    assert textile == "See 1\n\ngraph below\n!cid:a%40b!\n\n&#62; old\n!cid:c!"
    body = compose(job(body=textile), Markup.TEXTILE, images={"a@b": "my%20graph.png"}, marker="")
    assert body.startswith("See 1\n\ngraph below\n!my%20graph.png!\n\n&#62; old\n")
    assert "cid:" not in body


def test_textile_without_images_is_the_plain_text() -> None:
    message = message_of(mail("<p>of the HTML</p>", b"of the text"), ingress="mime")[0]
    names = values_of(message, message_url="", reply_address="", rule="r", extracted={})
    for name in ("markdown", "reply_markdown"):
        assert Template(f"{{{{ {name} }}}}").render({name: names[name]}, Markup.TEXTILE).strip() == "of the text"


@given(WORDS)
def test_words_make_no_image_in_textile(words: str) -> None:
    words = words.encode("utf-8", "ignore").decode()
    textile = escape(Markup.TEXTILE, f"!cid:x! {words}")
    assert place_textile_images(textile, {"x": "y.png"}) == textile


def mail(source: str, text: bytes = b"words") -> bytes:
    head = b'Subject: s\nFrom: jo@x.example\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary="b"\n\n'
    parts = [b"--b\nContent-Type: text/plain\n\n" + text, b"--b\nContent-Type: text/html\n\n" + source.encode()]
    return head + b"\n".join([*parts, b"--b--\n"])

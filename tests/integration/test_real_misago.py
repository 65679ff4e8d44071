"""The kind `misago` against a real Misago."""

from __future__ import annotations

import html
import json
import re
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration, JobAttachment, Markup, Receipt, escape
from tests.integration.misago_server import MisagoServer
from tests.kinds import attachment, build, job
from tests.servers import CutProxy

ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"


@pytest.fixture
def forum(misago: MisagoServer, tmp_path: Path) -> Integration:
    """As the administrator, who may close threads and post as quickly as one likes."""
    return destination(misago, tmp_path)


def destination(misago: MisagoServer, folder: Path, user: str = "admin", **options: Any) -> Integration:
    account = {"username": user, "password": Secret(misago.passwords.get(user, ""))}
    defaults = {"url": misago.url, **account, "category": "First category"}
    return build("misago", folder, timeout=30, **(defaults | options))


@pytest.fixture
def proxy(misago: MisagoServer) -> Iterator[CutProxy]:
    with CutProxy(misago.port) as proxy:
        yield proxy


def number(receipt: Receipt | None) -> str:
    assert receipt is not None and receipt.reference is not None
    return receipt.reference


def failure(destination: Integration, /, *files: JobAttachment, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        destination.deliver(job(*files, **options))
    return caught.value


def picture(name: str = "flame ü.png", content_id: str = "") -> JobAttachment:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0\xff\0\0" * 2)) + chunk(b"IEND", b"")
    made = attachment(name, png, "image/png")
    return JobAttachment(msgspec.structs.replace(made.info, content_id=content_id, inline=True), made.chunks)


def test_starts_a_thread_with_attachments(misago: MisagoServer, forum: Integration) -> None:
    content = bytes(range(256)) * 3000
    delivery = job(attachment("log ü.txt", content), attachment("scan.pdf", b"%PDF-1.4", "application/octet-stream"))
    receipt = forum.deliver(delivery)
    thread = misago.thread(number(receipt))
    assert thread["title"] == "Printer on fire" and thread["category"]["name"] == "First category"
    (post,) = thread["posts"]
    assert misago.original(number(receipt), post["id"]) == f"It burns.\n\na footer\n\n{delivery.marker}"
    files = {each["filename"]: each["url"]["index"] for each in post["attachments"]}
    assert set(files) == {"log ü.txt", "scan.pdf"}
    stored = [path for path in Path(misago.environment["RUN"], "media").rglob("*") if path.is_file()]
    assert content in [path.read_bytes() for path in stored]
    with misago.browser() as browser:
        assert browser.get(str(receipt.url), timeout=20).url == misago.url + thread["url"]["index"]


def test_images_stand_in_place(misago: MisagoServer, forum: Integration) -> None:
    body = "Look: ![the flame](cid:flame%40example.org)"
    receipt = forum.deliver(job(picture(content_id="flame@example.org"), body=body))
    (post,) = misago.thread(number(receipt))["posts"]
    (file,) = post["attachments"]
    assert file["is_image"]
    assert f'<img alt="the flame" src="{file["url"]["index"]}" />' in post["content"]


def test_later_mail_becomes_a_reply(misago: MisagoServer, forum: Integration) -> None:
    item = forum.deliver(job(attachment("a.txt", b"one")))
    reply = job(attachment("a.txt", b"two"), body="Still burning ✓", item=item)
    assert forum.find(reply) is None
    assert forum.deliver(reply) == item
    first, second = misago.thread(number(item))["posts"]
    assert [[each["filename"] for each in post["attachments"]] for post in (first, second)] == [["a.txt"], ["a.txt"]]
    assert second["content"].startswith("<p>Still burning ✓</p>") and reply.marker in second["content"]
    assert forum.find(reply) == item


def test_closes_and_opens(misago: MisagoServer, forum: Integration) -> None:
    item = forum.deliver(job(state="closed"))
    assert misago.thread(number(item))["is_closed"]
    forum.deliver(job(item=item, state="open"))
    assert not misago.thread(number(item))["is_closed"]
    forum.deliver(job(item=item, state="closed"))
    forum.deliver(job(item=item, state="closed"))
    thread = misago.thread(number(item))
    assert thread["is_closed"] and len(thread["posts"]) == 4


def test_categories_by_name_path_and_number(misago: MisagoServer, forum: Integration) -> None:
    for wanted in ("printers", "Support/Printers", "5"):
        thread = misago.thread(number(forum.deliver(job(category=wanted))))
        assert thread["category"]["name"] == "Printers"
    error = failure(forum, category="Printer")
    known = "First category, Support, Printers"
    assert error.reason == f"Misago has no category 'Printer' for this account; it has {known}" and error.permanent


def test_pins(misago: MisagoServer, forum: Integration) -> None:
    assert misago.thread(number(forum.deliver(job(pinned="locally"))))["weight"] == 1


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("Grüße – 日本語", "Grüße – 日本語"),
        ("Hi", "Hi (mail of 2026-11-18)"),
        ("🔥🔥🔥🔥🔥🔥", "🔥🔥🔥🔥🔥🔥 (mail of 2026-11-18)"),
        (" \n", "(no subject)"),
        ("<b>&amp;</b> fire", "<b>&amp;</b> fire"),
    ],
)
def test_titles(misago: MisagoServer, forum: Integration, title: str, told: str) -> None:
    assert misago.thread(number(forum.deliver(job(title=title))))["title"] == told


def test_long_titles_and_texts(misago: MisagoServer, forum: Integration) -> None:
    title = "wörd " * 100
    delivery = job(title=title, body="long line\n\n" * 9000)
    thread = misago.thread(number(forum.deliver(delivery)))
    assert len(thread["title"]) == 90 and thread["title"].endswith("…")
    text = misago.original(thread["id"], thread["posts"][0]["id"])
    assert text.startswith(title.strip()) and text.endswith(delivery.marker) and len(text) <= 60_000


@pytest.mark.parametrize("instead", [b"", ERROR_500], ids=["connection closed", "500"])
def test_answer_lost_after_the_thread_was_made(
    misago: MisagoServer, proxy: CutProxy, tmp_path: Path, instead: bytes
) -> None:
    forum = destination(misago, tmp_path, url=proxy.url)
    proxy.cut, proxy.instead = lambda method, path: (method, path) == ("POST", "/api/threads/"), instead
    steps: dict[str, str] = {}
    title = f"Lost after it was made {len(instead)}"
    first = job(attachment(), title=title, record=steps.__setitem__)
    with pytest.raises(DeliveryError) as caught:
        forum.deliver(first)
    assert caught.value.unknown and set(steps) == {"attachment:0"}
    again = job(attachment(), key=first.key, title=title, steps=steps)
    found = forum.find(again)
    steps["item"] = number(found)
    assert forum.deliver(again) == found
    assert [str(each) for each in misago.titled(title)] == [number(found)]
    assert len(misago.thread(number(found))["posts"][0]["attachments"]) == 1


@pytest.mark.parametrize("instead", [b"", ERROR_500], ids=["connection closed", "500"])
def test_answer_lost_after_the_reply_was_made(
    misago: MisagoServer, proxy: CutProxy, tmp_path: Path, instead: bytes
) -> None:
    forum = destination(misago, tmp_path, url=proxy.url)
    item = forum.deliver(job())
    proxy.cut, proxy.instead = lambda method, path: path.endswith("/posts/") and method == "POST", instead
    reply = job(item=item)
    with pytest.raises(DeliveryError) as caught:
        forum.deliver(reply)
    assert caught.value.unknown
    found = forum.find(reply)
    assert forum.deliver(job(key=reply.key, item=item, steps={"comment": number(found)})).reference == item.reference
    assert len(misago.thread(number(item))["posts"]) == 2


def test_answer_lost_before_the_thread_was_made(misago: MisagoServer, proxy: CutProxy, tmp_path: Path) -> None:
    forum = destination(misago, tmp_path, url=proxy.url)
    proxy.cut = lambda method, path: path == "/api/attachments/"
    first = job(attachment())
    with pytest.raises(DeliveryError) as caught:
        forum.deliver(first)
    assert not caught.value.unknown and not caught.value.permanent
    assert forum.find(first) is None


def test_a_quoted_marker_is_not_taken_for_the_thread(misago: MisagoServer, forum: Integration) -> None:
    first = job(title="Quoted later")
    made = forum.deliver(first)
    forum.deliver(job(title="Quotes it", body=f"> you wrote: {first.marker}"))
    assert forum.find(first) == made
    # A thread that it made is found also where the conversation has got another one meanwhile.
    other = forum.deliver(job())
    assert forum.find(job(key=first.key, item=other)) == made
    assert forum.find(job(item=other)) is None


def test_the_search_takes_any_key(forum: Integration) -> None:
    """Misago's index cuts words into pieces: signed and broken numbers, powers of ten, words, as they look in a key."""
    for key in (
        "01980e10-12e5-7e31-9e40-0123456789ab",
        "0198dead-beef-7ace-8fed-abcdefabcdef",
        "01980000-0000-7000-9000-00000000e-01",
        "00000000-0000-0000-0000-000000000000",
    ):
        delivery = job(key=key)
        assert forum.find(delivery) is None
        assert forum.deliver(delivery) == forum.find(delivery)


def test_uploads_are_done_once_and_not_kept_for_ever(misago: MisagoServer, forum: Integration) -> None:
    steps: dict[str, str] = {}
    assert failure(forum, attachment("a.txt"), record=steps.__setitem__, category="99").status == 400
    before = dict(steps)
    receipt = forum.deliver(job(attachment("a.txt"), steps=dict(steps), record=steps.__setitem__))
    assert steps["attachment:0"] == before["attachment:0"]
    assert len(misago.thread(number(receipt))["posts"][0]["attachments"]) == 1
    stale = {"attachment:0": json.dumps(json.loads(before["attachment:0"]) | {"at": int(time.time()) - 86_000})}
    receipt = forum.deliver(job(attachment("a.txt"), steps=stale, record=stale.__setitem__))
    assert len(misago.thread(number(receipt))["posts"][0]["attachments"]) == 1


def test_refused_attachments_are_noted(misago: MisagoServer, tmp_path: Path, forum: Integration) -> None:
    program = attachment("virus.exe", b"MZ", "application/x-msdownload")
    receipt = forum.deliver(job(attachment("large.txt", bytes(9_000_000)), program, attachment("fine.txt")))
    (post,) = misago.thread(number(receipt))["posts"]
    assert [each["filename"] for each in post["attachments"]] == ["fine.txt"]
    told = html.unescape(re.sub("<[^>]*>", "", post["content"]))
    assert "Attachment not taken: large.txt (9000000 bytes): You can't upload files larger than 8" in told
    assert "Attachment not taken: virus.exe (2 bytes): You can't upload files of this type." in told
    few = destination(misago, tmp_path, files_limit=1)
    (post,) = misago.thread(number(few.deliver(job(attachment("1.txt"), attachment("2.txt")))))["posts"]
    assert [each["filename"] for each in post["attachments"]] == ["1.txt"] and "2.txt" in post["content"]


def test_flood_control_is_no_refusal(misago: MisagoServer, tmp_path: Path) -> None:
    member = destination(misago, tmp_path, "postroom")
    item = member.deliver(job())
    for error in (failure(member), failure(member, item=item)):
        assert not error.permanent and error.limited and "so quickly" in error.reason and not error.item_gone


def test_a_closed_thread_takes_no_reply_of_a_member(misago: MisagoServer, forum: Integration, tmp_path: Path) -> None:
    item = forum.deliver(job(state="closed"))
    error = failure(destination(misago, tmp_path, "postroom"), item=item)
    assert error.item_gone and not error.permanent and "closed threads" in error.reason


def test_a_member_may_not_close(misago: MisagoServer, forum: Integration, tmp_path: Path) -> None:
    item = forum.deliver(job())
    steps = {"comment": number(item)}
    with pytest.raises(DeliveryError, match="permission to close this thread") as caught:
        destination(misago, tmp_path, "postroom").deliver(job(item=item, steps=steps, state="closed"))
    assert caught.value.permanent


def test_a_thread_that_is_gone(misago: MisagoServer, forum: Integration) -> None:
    item = forum.deliver(job())
    assert misago.call("DELETE", f"/api/threads/{item.reference}/").ok
    error = failure(forum, item=item)
    assert error.item_gone and not error.permanent and f"thread {item.reference} is gone" in error.reason


def test_signs_in_again_when_the_session_is_over(misago: MisagoServer, forum: Integration) -> None:
    first = job(title="Sessions end")
    item = forum.deliver(first)
    session: Any = forum._session  # type: ignore[attr-defined]
    for again in (lambda: forum.find(first), lambda: forum.deliver(job(item=item)), lambda: forum.deliver(job())):
        session._cookies = session._cookies | {"sessionid": "x" * 32}
        assert again() is not None


def test_a_wrong_password(misago: MisagoServer, tmp_path: Path) -> None:
    error = failure(destination(misago, tmp_path, password=Secret("wrong password")))
    assert error.permanent and error.reason.endswith("does not let the account in: Login or password is incorrect.")


def test_check(misago: MisagoServer, forum: Integration, tmp_path: Path) -> None:
    names = "First category, Support, Printers"
    assert forum.check() == [
        "known as admin (admin@example.org)", f"may start threads in {names}", "may attach files of 8192 kB",
        "may close threads",
    ]  # fmt: skip
    member = destination(misago, tmp_path, "postroom", category="Nowhere")
    assert member.check()[0] == "known as postroom (postroom@example.org)"
    assert member.check()[-1] == f"Misago has no category 'Nowhere' for this account; it has {names}"


ACTING = [
    "# heading", "* item", "1. item", "> quote", "*bold* _em_ ~~gone~~ `code` ***", "~~~", "```", "    indented",
    "![a](http://x.example/a.png)", "[b](http://x.example/)", "[b]: http://x.example/", "<http://x.example/c>",
    "[b]bold[/b] [i]em[/i] [u]u[/u] [s]s[/s]", "[img]http://x.example/a.png[/img]", "!(http://x.example/a.png)",
    "[url=http://x.example/]words[/url]", "[quote=\"admin\"]said[/quote]", "[code]x[/code]", "[spoiler]x[/spoiler]",
    "[hr]", "---", "@admin @postroom", "<b>bold</b> <script>alert(1)</script>", "|a|b|", "|-|-|",
]  # fmt: skip


def test_nothing_of_a_mail_acts_on_misagos_page(misago: MisagoServer, forum: Integration) -> None:
    """What Misago's own reader of Markdown makes of a hostile text: the words, and no more."""
    text = "\n".join(ACTING)
    receipt = forum.deliver(job(body=escape(Markup.MARKDOWN, text)))
    (post,) = misago.thread(number(receipt))["posts"]
    assert set(re.findall(r"<(\w+)", post["content"])) <= {"p", "br", "a"}, post["content"]
    links = set(re.findall(r'href="([^"]*)"', post["content"]))
    assert all(link.startswith("http://x.example/") for link in links), "plain web addresses are the only links"
    words = html.unescape(re.sub(r"<[^>]*>", "", post["content"]))
    # Misago shows addresses without their scheme, and with percent codes.
    said = "".join(unquote(words).replace("\u200b", "").split())
    meant = "".join(text.replace("http://", "").split())
    assert said[: len(meant)] == meant

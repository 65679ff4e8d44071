"""The kind `discourse` against its stand-in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations._discourse_shapes import categories_named, reply_body, topic_body, upload_link
from postroom.exchange import DeliveryError
from postroom.integration import Integration, JobAttachment, Receipt
from tests.kinds import attachment, build, job
from tests.servers import CLOSE, Receiver, Reply
from tests.standins.discourse import DiscourseStandin, FakeDiscourse

ROWS = [
    {"id": 4, "name": "Support", "slug": "support"},
    {"id": 5, "name": "Drucker", "slug": "printers", "parent_category_id": 4},
    {"id": 7, "name": "Drucker", "slug": "printers-staff", "parent_category_id": 6},
]


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[DiscourseStandin]:
    with Receiver() as receiver:
        yield DiscourseStandin(tmp_path, receiver)


@pytest.fixture
def forum(standin: DiscourseStandin) -> Integration:
    return standin.integration()


@pytest.fixture
def fake(standin: DiscourseStandin) -> FakeDiscourse:
    fake: FakeDiscourse = standin.well
    return fake


def failure(destination: Integration, /, *files: JobAttachment, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        destination.deliver(job(*files, **options))
    return caught.value


def picture(content_id: str) -> JobAttachment:
    made = attachment("flame [1].png", b"\x89PNG", "image/png")
    return dataclasses.replace(made, info=msgspec.structs.replace(made.info, content_id=content_id, inline=True))


def test_bodies() -> None:
    fields = {"fields": {"topic_custom_fields": {"a": "1"}, "raw": "no"}}
    assert topic_body("Title", "text", "postroom-1", 4, ["mail"], [], fields) == {
        "title": "Title", "raw": "text", "external_id": "postroom-1", "category": 4, "tags": ["mail"],
        "topic_custom_fields": {"a": "1"},
    }  # fmt: skip
    assert topic_body("Title", "text", "postroom-1", None, [], ["jo", "staff"], {}) == {
        "title": "Title", "raw": "text", "external_id": "postroom-1", "archetype": "private_message",
        "target_recipients": "jo,staff",
    }  # fmt: skip
    assert reply_body(4, "text") == {"topic_id": 4, "raw": "text"}
    image = {"short_url": "upload://a.png", "width": 20, "height": 10, "filesize": 9}
    assert upload_link("a|b].png", image) == "![ab.png|20x10](upload://a.png)"
    assert (
        upload_link("b.txt", {"short_url": "upload://b.txt", "filesize": 9})
        == "[b.txt|attachment](upload://b.txt) (9 Bytes)"
    )


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ("SUPPORT", [4]),
        ("printers", [5]),
        ("drucker", [5, 7]),
        ("support/Drucker", [5]),
        ("Support/printers", [5]),
        ("x", []),
    ],
)
def test_categories(wanted: str, numbers: list[int]) -> None:
    assert categories_named(ROWS, wanted) == numbers


def test_starts_a_topic(forum: Integration, fake: FakeDiscourse) -> None:
    delivery = job(
        attachment("b.txt"), picture("flame@x"), body="Look: ![the flame](cid:flame%40x)", category="Support"
    )
    receipt = forum.deliver(delivery)
    (topic,) = fake.topics.values()
    assert receipt == Receipt("10", forum.options.url + "/t/10")
    assert (topic["title"], topic["user"], topic["external_id"]) == ("Printer on fire", "system", delivery.marker)
    assert topic["sent"]["category"] == 4
    assert topic["sent"]["raw"] == (
        "Look: ![the flame](upload://up2.png)\n\na footer\n\n[b.txt|attachment](upload://up1.txt) (5 Bytes)\n\n"
        f"<!-- {delivery.marker} -->"
    )


def test_an_image_that_stands_nowhere_is_shown_below(forum: Integration, fake: FakeDiscourse) -> None:
    forum.deliver(job(picture("elsewhere@x")))
    assert "![flame 1.png|20x10](upload://up1.png)" in fake.topics[10]["sent"]["raw"]


def test_later_mail_becomes_a_reply(forum: Integration, fake: FakeDiscourse) -> None:
    item = forum.deliver(job())
    reply = job(attachment("more.txt"), body="Still burning, and more and more", item=item)
    assert forum.find(reply) is None
    assert forum.deliver(reply) == item and forum.find(reply) == item
    assert fake.posts[101]["raw"].startswith("Still burning") and fake.posts[101]["topic_id"] == 10


def test_finds_a_reply_among_many(forum: Integration) -> None:
    item = forum.deliver(job())
    reply = job(item=item)
    forum.deliver(reply)
    for _ in range(45):
        forum.deliver(job(item=item))
    assert forum.find(reply) == item


def test_fields(standin: DiscourseStandin, fake: FakeDiscourse) -> None:
    forum = standin.integration(category="staff", tags=["mail"])
    forum.deliver(job(category="support/drucker", username="jo.unal", fields={"visible": "false"}))
    sent = fake.topics[10]["sent"]
    assert (sent["category"], sent["tags"], sent["visible"]) == (5, [{"name": "mail"}], "false")
    assert fake.topics[10]["user"] == "jo.unal"
    fake.version = "3.5.1"
    standin.integration().deliver(job(tags=["urgent", "mail"], title="Another printer on fire"))
    assert fake.topics[11]["sent"]["tags"] == ["urgent", "mail"]
    forum.deliver(job(recipients=["jo.unal", "staff"], tags=[], title="A third printer on fire"))
    message = fake.topics[12]["sent"]
    assert (message["archetype"], message["target_recipients"]) == ("private_message", "jo.unal,staff")
    assert "category" not in message and "tags" not in message


def test_a_forum_that_tells_nothing_of_itself(standin: DiscourseStandin, fake: FakeDiscourse) -> None:
    standin.receiver.answer = lambda request: Reply(404) if request.path == "/about.json" else fake(request)
    standin.integration().deliver(job(tags=["mail"]))
    assert fake.topics[10]["sent"]["tags"] == [{"name": "mail"}]


def test_categories_that_are_none(forum: Integration) -> None:
    unknown = failure(forum, category="Suport")
    known = "Uncategorized, Support, Staff, Drucker, Drucker"
    assert unknown.reason == f"Discourse has no category 'Suport' for this user; it has {known}" and unknown.permanent
    assert failure(forum, category="drucker").reason.endswith("several categories 'drucker': write `parent/child`")
    assert failure(forum, category="7").permanent


@pytest.mark.parametrize("name", ["jo@example.org", "a b", "x\r\nApi-Key: y", "", "a,b"])
def test_user_names_are_plain(forum: Integration, tmp_path: Path, name: str) -> None:
    error = failure(forum, recipients=[name])
    assert error.permanent and "is no user name of Discourse" in error.reason
    if name:
        assert failure(forum, username=name).reason == error.reason
    with pytest.raises(ValueError, match="is no user name"):
        build("discourse", tmp_path, url="http://x", api_key="k", username=name)


@pytest.mark.parametrize(
    ("title", "told"),
    [("Hi", "Hi (mail of 2026-11-18)"), ("🔥" * 20, "🔥" * 20 + " (mail of 2026-11-18)"), ("x" * 300, "x" * 254 + "…")],
)
def test_titles(forum: Integration, fake: FakeDiscourse, title: str, told: str) -> None:
    forum.deliver(job(title=title))
    assert fake.topics[10]["title"] == told


def test_a_title_that_was_used_before(forum: Integration, fake: FakeDiscourse) -> None:
    first, second, third = job(), job(), job()
    for each in (first, second, third):
        forum.deliver(each)
    titles = [topic["title"] for topic in fake.topics.values()]
    assert (
        titles[0] == "Printer on fire"
        and titles[1].startswith("Printer on fire (2026-11-18 ")
        and len(set(titles)) == 3
    )


def test_short_and_long_texts(forum: Integration, fake: FakeDiscourse) -> None:
    forum.deliver(job(body="Hi"))
    assert "This came in by e-mail" in fake.topics[10]["sent"]["raw"]
    delivery = job(body="word " * 9000, title="A long story of a printer")
    forum.deliver(delivery)
    raw = fake.topics[11]["sent"]["raw"]
    assert len(raw) <= 32_000 and raw.endswith(f"<!-- {delivery.marker} -->") and "page of this mail" in raw


def test_refused_attachments_are_noted(forum: Integration, fake: FakeDiscourse) -> None:
    forum.deliver(job(attachment("virus.exe"), attachment("big.txt", bytes(5_000_000)), attachment("fine.txt")))
    raw = fake.topics[10]["sent"]["raw"].replace("\\", "")
    assert (
        "Attachment not taken: virus.exe (5 bytes): Sorry, the file you are trying to upload is not authorized." in raw
    )
    assert "Attachment not taken: big.txt (5000000 bytes): it is too large" in raw and "[fine.txt|attachment]" in raw


def test_uploads_are_done_once(standin: DiscourseStandin, forum: Integration, fake: FakeDiscourse) -> None:
    steps: dict[str, str] = {}
    failure(forum, attachment("a.txt"), record=steps.__setitem__, category="7")
    forum.deliver(job(attachment("a.txt"), steps=dict(steps), record=steps.__setitem__))
    assert len(fake.uploads) == 1 and standin.attached() == ["a.txt"]
    standin.receiver.answer = lambda request: CLOSE if request.path == "/uploads.json" else fake(request)
    assert not failure(forum, attachment()).unknown


def test_an_answer_that_was_lost(standin: DiscourseStandin, forum: Integration, fake: FakeDiscourse) -> None:
    def cut(request: Any) -> Reply:
        reply = fake(request)
        return CLOSE if request.path == "/posts.json" else reply

    standin.receiver.answer = cut
    first = job()
    with pytest.raises(DeliveryError) as caught:
        forum.deliver(first)
    assert caught.value.unknown
    standin.reset()
    assert forum.find(first) == Receipt("10", f"{standin.receiver.url}/t/10")
    # Without a search too: Discourse keeps one topic of an external id.
    assert forum.deliver(first).reference == "10" and len(fake.topics) == 1


def test_a_topic_of_its_own_is_found_from_another(forum: Integration) -> None:
    first = job()
    made = forum.deliver(first)
    other = forum.deliver(job(title="Another printer on fire"))
    assert forum.find(job(key=first.key, item=other)) == made
    assert forum.find(job(item=other)) is None


def test_the_external_id_may_lead_to_the_topic_itself(standin: DiscourseStandin, forum: Integration) -> None:
    standin.receiver.answer = Reply.of({"id": 44})
    found = forum.find(job())
    assert found is not None and found.reference == "44"


def test_state(forum: Integration, fake: FakeDiscourse) -> None:
    steps: dict[str, str] = {}
    item = forum.deliver(job(state="closed", record=steps.__setitem__))
    assert fake.topics[10]["closed"] and steps == {"item": "10", "state": "closed"}
    forum.deliver(job(item=item, state="closed"))
    assert fake.small_actions == 1
    forum.deliver(job(item=item, state="open"))
    assert not fake.topics[10]["closed"]


def test_a_user_may_not_close(standin: DiscourseStandin) -> None:
    error = failure(standin.integration(username="postroom"), state="closed")
    assert error.permanent and error.status == 403 and "You are not permitted" in error.reason


@pytest.mark.parametrize("change", [{"deleted_at": "2026-11-24"}, {"closed": True}], ids=["deleted", "closed"])
def test_a_topic_that_takes_no_reply(standin: DiscourseStandin, fake: FakeDiscourse, change: dict[str, Any]) -> None:
    forum = standin.integration(username="postroom")
    item = forum.deliver(job())
    fake.topics[10] |= change
    error = failure(forum, item=item)
    assert error.item_gone and not error.permanent


def test_a_reply_that_is_refused(standin: DiscourseStandin) -> None:
    forum = standin.integration(text_limit=90_000)
    item = forum.deliver(job())
    error = failure(forum, item=item, body="word " * 9000)
    assert error.permanent and not error.item_gone and "Body is limited to 32000 characters" in error.reason
    assert failure(forum, item=Receipt("x/1")).reason == "the item 'x/1' is no topic of Discourse"


def test_rate_limits(forum: Integration, fake: FakeDiscourse) -> None:
    told = {"errors": ["Slow down"], "error_type": "rate_limit", "extras": {"wait_seconds": 24}}
    fake.limited = Reply.of(told, 429)
    error = failure(forum)
    assert error.limited and error.retry_after == 24 and not error.permanent
    fake.limited = Reply.of(told, 429, **{"Retry-After": "30"})
    assert failure(forum).retry_after == 30
    fake.limited = Reply(429, b"Slow down, too many requests from this IP address")
    assert failure(forum).limited and failure(forum).retry_after is None


def test_what_waits_for_approval(standin: DiscourseStandin, forum: Integration, fake: FakeDiscourse) -> None:
    steps: dict[str, str] = {}
    fake.queues = True
    waiting = Receipt(None, f"{standin.receiver.url}/review")
    assert forum.deliver(job(record=steps.__setitem__)) == waiting
    assert forum.deliver(job(steps=steps)) == waiting and len(fake.waiting) == 1
    fake.queues = False
    item = forum.deliver(job())
    fake.queues = True
    assert forum.deliver(job(item=item)) == item and len(fake.waiting) == 2


def test_check(standin: DiscourseStandin, forum: Integration, fake: FakeDiscourse) -> None:
    assert forum.check() == [
        "known as system (Post Room), moderator",
        "may start topics in Uncategorized, Support, Drucker",
    ]
    assert standin.integration(category="Staff").check()[-1] == "may not start topics in 'Staff'"
    assert "no category 'X'" in standin.integration(category="X").check()[-1]
    fake.one_user = "postroom"
    with pytest.raises(DeliveryError, match="answered 403: You are not permitted"):
        forum.check()

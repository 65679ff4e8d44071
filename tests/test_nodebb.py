"""The kind `nodebb` against its stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.nodebb import categories_named, reply_body, topic_body
from postroom.exchange import DeliveryError
from postroom.integration import Integration, Receipt
from tests.kinds import attachment, job
from tests.servers import CLOSE, Receiver, Reply
from tests.standins.nodebb import FakeNodebb, NodebbStandin

ROWS = [
    {"cid": 2, "name": "Support"},
    {"cid": 3, "name": "Drucker", "over": "Support"},
    {"cid": 5, "name": "Drucker", "over": "Staff"},
]


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[NodebbStandin]:
    with Receiver() as receiver:
        yield NodebbStandin(tmp_path, receiver)


@pytest.fixture
def forum(standin: NodebbStandin) -> Integration:
    return standin.integration()


@pytest.fixture
def fake(standin: NodebbStandin) -> FakeNodebb:
    fake: FakeNodebb = standin.well
    return fake


def failure(destination: Integration, /, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        destination.deliver(job(**options))
    return caught.value


def test_bodies() -> None:
    fields = {"fields": {"handle": "x", "title": "no"}}
    assert topic_body(4, "Title", "text", ["mail"], fields) == {
        "cid": 4, "title": "Title", "content": "text", "tags": ["mail"], "handle": "x",
    }  # fmt: skip
    assert topic_body(4, "Title", "text", [], {}) == {"cid": 4, "title": "Title", "content": "text"}
    assert reply_body("text") == {"content": "text"}


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [("SUPPORT", [2]), ("drucker", [3, 5]), ("staff/Drucker", [5]), ("x", []), ("None/Support", [])],
)
def test_categories(wanted: str, numbers: list[int]) -> None:
    assert categories_named(ROWS, wanted) == numbers


def test_starts_a_topic(standin: NodebbStandin, fake: FakeNodebb) -> None:
    forum = standin.integration(tags=["mail"])
    delivery = job(attachment("a_b.txt"))
    assert forum.deliver(delivery) == Receipt("1", f"{standin.receiver.url}/topic/1")
    sent = fake.topics[1]["sent"]
    assert (sent["cid"], sent["title"], sent["tags"]) == (2, "Printer on fire", ["mail"])
    text = sent["content"].replace("\\", "")
    assert text.startswith("It burns.\n\nAttachment: a_b.txt (5 bytes), on the page of this mail: ")
    assert text.endswith(f"a footer\n\n{delivery.marker}")


def test_fields(forum: Integration, fake: FakeNodebb) -> None:
    forum.deliver(job(category="staff/drucker", tags=["urgent"], fields={"handle": "x"}))
    forum.deliver(job(category="3", tags=[]))
    first, second = (topic["sent"] for topic in fake.topics.values())
    assert (first["cid"], first["tags"], first["handle"], second["cid"]) == (5, ["urgent"], "x", 3)


def test_categories_that_are_none(standin: NodebbStandin, forum: Integration) -> None:
    unknown = failure(forum, category="Suport")
    known = "Announcements, Support, Drucker, Staff, Drucker"
    assert unknown.reason == f"NodeBB has no category 'Suport' for this account; it has {known}" and unknown.permanent
    assert failure(forum, category="drucker").reason.endswith("several categories 'drucker': write `parent/child`")
    assert failure(forum, category="99").reason == "NodeBB refused the topic: Category does not exist"
    forbidden = failure(forum, category="announcements")
    assert forbidden.permanent and forbidden.status == 403 and "enough privileges" in forbidden.reason
    assert "names a category" in failure(standin.integration(category=None)).reason


@pytest.mark.parametrize(
    ("title", "told"),
    [("Hi", "Hi (mail of 2026-11-18)"), ("🔥🔥🔥", "🔥🔥🔥 (mail of 2026-11-18)"), ("x" * 300, "x" * 254 + "…")],
)
def test_titles(forum: Integration, fake: FakeNodebb, title: str, told: str) -> None:
    forum.deliver(job(title=title))
    assert fake.topics[1]["sent"]["title"] == told


def test_a_long_text_is_cut(forum: Integration, fake: FakeNodebb) -> None:
    delivery = job(body="word " * 9000)
    forum.deliver(delivery)
    text = fake.topics[1]["sent"]["content"]
    assert len(text) <= 32_767 and text.endswith(delivery.marker) and "page of this mail" in text


def test_later_mail_becomes_a_reply(forum: Integration, fake: FakeNodebb) -> None:
    item = forum.deliver(job())
    reply = job(body="Still burning", item=item)
    assert forum.find(reply) is None
    assert forum.deliver(reply) == item and forum.find(reply) == item
    assert fake.posts[1]["sent"].startswith("Still burning") and fake.posts[1]["tid"] == 1


def test_finds_among_many_and_not_what_quotes_it(standin: NodebbStandin, forum: Integration, fake: FakeNodebb) -> None:
    first = job()
    made = forum.deliver(first)
    forum.deliver(job(body=f"> you wrote {first.marker}"))
    for _ in range(10):
        forum.deliver(job())
    assert forum.find(first) == made
    standin.receiver.requests.clear()
    for post in fake.posts[:6]:
        post["timestamp"] = first.message.received_at - 4_000_000
    assert forum.find(job()) is None
    pages = [request for request in standin.receiver.requests if request.path.endswith("/posts")]
    assert len(pages) == 2, "what is older than the mail was not made of it"
    other = forum.deliver(job())
    for post in fake.posts:
        post["timestamp"] = fake.posts[-1]["timestamp"]
    assert forum.find(job(key=first.key, item=other)) == made, (
        "a topic of its own, made before the conversation had this"
    )


@pytest.mark.parametrize("instead", [CLOSE, Reply(500)], ids=["closed", "500"])
def test_an_answer_that_was_lost(standin: NodebbStandin, forum: Integration, fake: FakeNodebb, instead: Reply) -> None:
    def cut(request: Any) -> Reply:
        reply = fake(request)
        return instead if request.method == "POST" else reply

    standin.receiver.answer = cut
    first = job()
    with pytest.raises(DeliveryError) as caught:
        forum.deliver(first)
    assert caught.value.unknown
    found = forum.find(first)
    assert found is not None and found.reference == "1"


def test_a_master_token_writes_as_somebody(standin: NodebbStandin, fake: FakeNodebb) -> None:
    fake.master = True
    assert "master token" in failure(standin.integration(category="2")).reason
    standin.integration(uid=7).deliver(job())
    assert len(fake.topics) == 1


@pytest.mark.parametrize(
    ("message", "wait"),
    [
        ("You can only post once every 10 second(s) - please wait before posting again", 10),
        ("As a new user, you can only post once every 120 second(s) until you have earned 3 reputation", 120),
        ("[[error:too-many-posts, 10]]", 10),
        ("You are already posting", None),
    ],
)
def test_posting_too_quickly_is_no_refusal(
    forum: Integration, fake: FakeNodebb, message: str, wait: int | None
) -> None:
    item = forum.deliver(job())
    fake.too_quick = message
    for error in (failure(forum), failure(forum, item=item)):
        assert error.limited and not error.permanent and not error.unknown and not error.item_gone
        assert error.retry_after == wait and message in error.reason


@pytest.mark.parametrize("change", ["locked", "deleted"])
def test_a_topic_that_takes_no_reply(forum: Integration, fake: FakeNodebb, change: str) -> None:
    item = forum.deliver(job())
    fake.topics[1][change], fake.moderator = 1, False
    error = failure(forum, item=item)
    assert error.item_gone and not error.permanent


def test_a_topic_that_is_gone(forum: Integration) -> None:
    assert failure(forum, item=Receipt("9")).item_gone
    assert failure(forum, item=Receipt("x/1")).reason == "the item 'x/1' is no topic of NodeBB"


def test_a_reply_that_is_refused(standin: NodebbStandin) -> None:
    forum = standin.integration(text_limit=90_000)
    error = failure(forum, item=forum.deliver(job()), body="word " * 9000)
    assert error.permanent and not error.item_gone and "shorter post" in error.reason


def test_state(forum: Integration, fake: FakeNodebb) -> None:
    steps: dict[str, str] = {}
    item = forum.deliver(job(state="closed", record=steps.__setitem__))
    assert fake.topics[1]["locked"] and steps == {"item": "1", "state": "closed"}
    forum.deliver(job(item=item, state="closed"))
    assert fake.events == ["lock"]
    forum.deliver(job(item=item, state="open"))
    assert fake.events == ["lock", "unlock"]
    fake.moderator = False
    error = failure(forum, item=item, state="closed")
    assert error.permanent and "refused to make the topic closed: You do not have enough privileges" in error.reason


def test_what_waits_for_approval(standin: NodebbStandin, forum: Integration, fake: FakeNodebb) -> None:
    steps: dict[str, str] = {}
    fake.queues = True
    waiting = Receipt(None, f"{standin.receiver.url}/post-queue")
    assert forum.deliver(job(record=steps.__setitem__)) == waiting
    assert forum.deliver(job(steps=steps)) == waiting and len(fake.waiting) == 1
    fake.queues = False
    item = forum.deliver(job())
    fake.queues = True
    assert forum.deliver(job(item=item)) == item and len(fake.waiting) == 2


def test_check(standin: NodebbStandin) -> None:
    seen = "sees the categories Announcements, Support, Drucker, Staff, Drucker"
    assert standin.integration().check() == ["known as Post Room, user 7", seen, "may start topics in 'Support'"]
    assert standin.integration(category="staff").check()[-1] == "may not start topics in 'staff'"
    assert standin.integration(category="staff/drucker").check()[-1] == "may start topics in 'staff/drucker'"
    assert "no category 'X'" in standin.integration(category="X").check()[-1]

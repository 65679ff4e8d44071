"""The kind `roundup` against a real Roundup."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration, Job, JobAttachment, Receipt
from postroom.message import Attachment
from postroom.testing import deliver_in_the_end
from tests.integration.roundup_server import RoundupServer
from tests.kinds import attachment, build, job
from tests.servers import CutProxy

ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"


@pytest.fixture
def tracker(roundup: RoundupServer, tmp_path: Path) -> Integration:
    return destination(roundup, tmp_path)


def destination(roundup: RoundupServer, folder: Path, **options: Any) -> Integration:
    defaults = {"url": roundup.url, "username": roundup.username, "password": Secret(roundup.password)}
    return build("roundup", folder, timeout=30, **(defaults | options))


@pytest.fixture
def through(roundup: RoundupServer, tmp_path: Path) -> Iterator[tuple[CutProxy, Integration]]:
    """A proxy, and a destination behind it."""
    with CutProxy(roundup.port, hidden=True) as proxy:
        yield proxy, destination(roundup, tmp_path, url=f"{proxy.url}/demo")


def number(receipt: Receipt | None) -> str:
    assert receipt is not None and receipt.reference is not None
    return receipt.reference


def failure(destination: Integration, /, **options: Any) -> DeliveryError:
    return failure_of(destination, job(**options))


def failure_of(destination: Integration, delivery: Job) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        destination.deliver(delivery)
    return caught.value


def test_opens_an_issue_with_attachments(roundup: RoundupServer, tracker: Integration) -> None:
    content = bytes(range(256)) * 3000
    delivery = job(attachment("bild ü.png", content, "image/png"), attachment("b.txt"), body="Grüße 🔥 <b>&amp;</b>")
    receipt = tracker.deliver(delivery)
    assert receipt.url == f"{roundup.url}/issue{receipt.reference}"
    issue = roundup.read("issue", receipt.reference)
    assert issue["title"] == "Printer on fire" and len(issue["messages"]) == 1
    assert roundup.text(issue["messages"][0]) == "Grüße 🔥 <b>&amp;</b>\n\na footer"
    message = roundup.read("msg", issue["messages"][0])
    assert roundup.name("user", message["author"]) == "postroom"
    assert message["messageid"] == f"<{delivery.marker}@127.0.0.1>"
    assert issue["files"] == message["files"] and len(issue["files"]) == 2
    picture, text = (roundup.read("file", each) for each in sorted(issue["files"], key=int))
    assert (picture["name"], picture["type"], text["name"]) == ("bild ü.png", "image/png", "b.txt")
    assert roundup.content("file", min(issue["files"], key=int)) == content
    assert tracker.find(delivery) == receipt


def test_fields(roundup: RoundupServer, tracker: Integration) -> None:
    first = number(tracker.deliver(job()))
    receipt = tracker.deliver(
        job(
            priority="urgent", status="in-progress", assignee="postroom", labels=["printer", "network"], nosy=["admin"],
            fields={"superseder": [first]},
        )
    )  # fmt: skip
    issue = roundup.read("issue", receipt.reference)
    assert roundup.name("priority", issue["priority"]) == "urgent"
    assert roundup.name("status", issue["status"]) == "in-progress"
    assert roundup.name("user", issue["assignedto"]) == "postroom"
    assert {roundup.name("keyword", each) for each in issue["keyword"]} == {"printer", "network"}
    assert "1" in issue["nosy"] and issue["superseder"] == [first]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"priority": "hot"}, "property priority: 'hot' is not a priority"),
        ({"labels": ["nope"]}, "'nope' is not a keyword"),
        ({"assignee": "nobody-here"}, "'nobody-here' is not a user"),
        ({"fields": {"colour": "red"}}, "Property colour not found"),
    ],
)
def test_values_that_roundup_refuses(tracker: Integration, fields: dict[str, Any], words: str) -> None:
    error = failure(tracker, **fields)
    assert error.permanent and not error.unknown and words in error.reason


def test_later_mail(roundup: RoundupServer, tracker: Integration) -> None:
    item = tracker.deliver(job(attachment()))
    reply = job(attachment("a.txt", b"more"), body="Still burning ✓", item=item)
    assert tracker.find(reply) is None
    assert tracker.deliver(reply) == item
    issue = roundup.read("issue", item.reference)
    assert [roundup.text(each) for each in issue["messages"]][1:] == ["Still burning ✓\n\na footer"]
    assert [roundup.content("file", each) for each in issue["files"]] == [b"hello", b"more"]
    assert tracker.find(reply) == item
    assert tracker.find(job(item=item)) is None


def test_state(roundup: RoundupServer, tracker: Integration) -> None:
    item = tracker.deliver(job())
    for state, status in (("closed", "resolved"), ("closed", "resolved"), ("open", "chatting")):
        tracker.deliver(job(item=item, state=state))
        assert roundup.name("status", roundup.read("issue", item.reference)["status"]) == status


def test_states_by_name(roundup: RoundupServer, tmp_path: Path) -> None:
    tracker = destination(roundup, tmp_path, states={"closed": "done-cbb", "open": "testing"})
    item = tracker.deliver(job())
    for state, status in (("closed", "done-cbb"), ("open", "testing")):
        # The template itself takes an answered issue of some statuses to `chatting`; what the rule says comes later.
        tracker.deliver(job(item=item, state=state))
        found = roundup.name("status", roundup.read("issue", item.reference)["status"])
        assert found in (status, "chatting") and (found == "done-cbb") == (state == "closed")
    error = failure(destination(roundup, tmp_path, states={"closed": "gone"}), item=item, state="closed")
    assert error.permanent and "there is no status 'gone' for `closed`; there are unread, deferred" in error.reason


@pytest.mark.parametrize("instead", [b"", ERROR_500], ids=["connection closed", "500"])
@pytest.mark.parametrize("lost", ["/file", "/msg", "/issue/@poe", "/issue/@poe/", "/issue/"])
def test_answers_lost_after_the_deed(
    roundup: RoundupServer, through: tuple[CutProxy, Integration], lost: str, instead: bytes
) -> None:
    """Each answer is lost once: a file, a message, the once-only link, the issue, the message added to it."""
    proxy, tracker = through
    proxy.instead = instead
    hits: list[str] = []

    def cut(method: str, path: str) -> bool:
        there = path.removeprefix("/demo/rest/data")
        exact = there == lost if not lost.endswith("/") else there.startswith(lost)
        if method == "GET" or not exact or hits or (lost == "/issue/" and method != "PATCH"):
            return False
        hits.append(path)
        return True

    proxy.cut = cut
    title = f"Lost {lost} {len(instead)}"
    first = in_the_end(tracker, attachment(), title=title)
    in_the_end(tracker, attachment("b.txt"), title=title, item=first)
    assert hits and roundup.count("issue", **{"title:": title}) == 1
    issue = roundup.read("issue", first.reference)
    assert len(issue["messages"]) == 2 and len(issue["files"]) == 2


def in_the_end(tracker: Integration, *files: JobAttachment, **options: Any) -> Receipt:
    return deliver_in_the_end(tracker, job(*files, **options))


def test_a_once_only_link_makes_one_issue(roundup: RoundupServer, tracker: Integration) -> None:
    """An earlier request that is late, and arrives while its message is in no issue yet."""
    title, steps = "Once only", {"known": "something"}
    first = job(title=title, steps=steps, record=steps.__setitem__)
    receipt = tracker.deliver(first)
    del steps["item"]
    # The same link again: it makes nothing, and the issue is found by its message.
    assert tracker.deliver(first) == receipt and roundup.count("issue", **{"title:": title}) == 1
    # A link that is used up while there is no issue: whoever used it may be at work still.
    steps |= {"message": "999999"}
    del steps["item"]
    error = failure_of(tracker, first)
    assert error.unknown and not error.permanent and steps["token"] == ""


def test_somebody_changes_the_issue_meanwhile(roundup: RoundupServer, through: tuple[CutProxy, Integration]) -> None:
    proxy, tracker = through
    item = tracker.deliver(job())
    changes: list[int] = []

    def meddle(method: str, path: str) -> bool:
        # Asked after the server has answered, and before the answer goes on its way.
        if method == "GET" and path.startswith(f"/demo/rest/data/issue/{item.reference}") and not changes:
            etag = roundup.read("issue", item.reference)["etag"]
            body = {"@op": "replace", "title": "Changed"}
            path = f"/rest/data/issue/{item.reference}"
            changes.append(roundup.call("PATCH", path, json=body, headers={"If-Match": etag}).status_code)
        return False

    proxy.cut = meddle
    steps = {"known": "something"}
    reply = job(item=item, steps=steps, record=steps.__setitem__)
    error = failure_of(tracker, reply)
    assert changes == [200] and error.status == 412 and not error.permanent and not error.unknown
    assert tracker.deliver(reply) == item
    issue = roundup.read("issue", item.reference)
    assert issue["title"] == "Changed" and len(issue["messages"]) == 2


def test_too_many_calls(limited_roundup: RoundupServer, tmp_path: Path) -> None:
    tracker = destination(limited_roundup, tmp_path)
    made = tracker.deliver(job())
    assert made.reference == "1"
    error = failure_of(tracker, job(attachment()))
    assert error.status == 429 and error.limited and not error.permanent and not error.unknown
    assert error.retry_after is not None and 0 < error.retry_after <= 30


def test_an_issue_that_is_gone(tracker: Integration) -> None:
    error = failure(tracker, item=Receipt("999999"))
    assert error.item_gone and not error.permanent and "issue 999999 is gone" in error.reason


def test_an_issue_that_is_retired(roundup: RoundupServer, tracker: Integration) -> None:
    item = tracker.deliver(job())
    headers = {"If-Match": roundup.read("issue", item.reference)["etag"]}
    assert roundup.call("DELETE", f"/rest/data/issue/{item.reference}", headers=headers).ok
    steps = {"known": "something"}
    reply = job(item=item, steps=steps, record=steps.__setitem__, body="Still burning")
    error = failure_of(tracker, reply)
    assert error.item_gone and not error.permanent
    again = tracker.deliver(dataclasses.replace(reply, item=None))
    assert roundup.text(roundup.read("issue", again.reference)["messages"][0]).startswith("Still burning")


def test_empty_files_are_noted(roundup: RoundupServer, tracker: Integration) -> None:
    issue = roundup.read("issue", tracker.deliver(job(attachment("empty.txt", b""), attachment("b.txt"))).reference)
    text = roundup.text(issue["messages"][0])
    assert "Attachment not taken: empty.txt (0 bytes): Roundup takes no empty file" in text and len(issue["files"]) == 1


def test_errors_of_the_real_server(roundup: RoundupServer, tmp_path: Path) -> None:
    wrong = failure(destination(roundup, tmp_path, username="nobody", password=Secret("wrong")))
    assert wrong.permanent and wrong.status == 401
    lost = failure(destination(roundup, tmp_path, url=roundup.url.replace("/demo", "/nowhere")))
    assert lost.permanent and lost.status == 404


def test_check(roundup: RoundupServer, tracker: Integration, tmp_path: Path) -> None:
    assert tracker.check() == ["known as postroom (Postroom Bot, bot@example.com)"]
    told = destination(roundup, tmp_path, states={"open": "nope"}).check()
    assert "there is no status 'nope' for `open`" in told[-1]


def test_a_large_file_is_streamed(roundup: RoundupServer, tracker: Integration) -> None:
    size = 20 << 20
    info = Attachment("large.bin", "application/octet-stream", size, "0" * 64)
    large = JobAttachment(info, lambda: (bytes([each]) * (1 << 20) for each in range(20)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    issue = roundup.read("issue", tracker.deliver(job(large)).reference)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000
    assert len(roundup.content("file", issue["files"][0])) == size

"""The kind `redmine` against a real Redmine."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration, Markup, Receipt, escape
from postroom.testing import deliver_in_the_end
from tests.integration.redmine_server import RedmineServer
from tests.kinds import attachment, build, job
from tests.servers import CutProxy

ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"


@pytest.fixture
def tracker(redmine: RedmineServer, tmp_path: Path) -> Integration:
    return destination(redmine, tmp_path)


def destination(redmine: RedmineServer, folder: Path, **options: Any) -> Integration:
    defaults = {"url": redmine.url, "api_key": Secret(redmine.key), "project": redmine.project}
    return build("redmine", folder, timeout=30, **(defaults | options))


@pytest.fixture
def proxy(redmine: RedmineServer) -> Iterator[CutProxy]:
    with CutProxy(redmine.port) as proxy:
        yield proxy


def number(receipt: Receipt | None) -> str:
    assert receipt is not None and receipt.reference is not None
    return receipt.reference


def failure(destination: Integration, /, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        destination.deliver(job(**options))
    return caught.value


def test_opens_an_issue_with_attachments(redmine: RedmineServer, tracker: Integration) -> None:
    content = bytes(range(256)) * 3000
    delivery = job(attachment("bild ü.png", content, "image/png"), attachment("b.txt"))
    receipt = tracker.deliver(delivery)
    assert receipt.url == f"{redmine.url}/issues/{receipt.reference}"
    issue = redmine.issue(number(receipt))
    assert issue["subject"] == "Printer on fire"
    assert issue["description"].replace("\r\n", "\n") == f"It burns.\n\na footer\n\n{delivery.marker}"
    picture, text = issue["attachments"]
    assert (picture["filename"], picture["content_type"], text["filename"]) == ("bild ü.png", "image/png", "b.txt")
    assert redmine.call("GET", picture["content_url"].removeprefix(redmine.url)).content == content


def test_fields_by_name_and_by_number(redmine: RedmineServer, tracker: Integration) -> None:
    fields = {"tracker": "feature", "priority": "Urgent", "status": "New", "category": "Printers"}
    by_name = tracker.deliver(job(**fields, assignee="Redmine Admin", custom_fields={"Severity": "hot"}, private=True))
    issue = redmine.issue(number(by_name))
    named = {name: issue[name]["name"] for name in ("tracker", "priority", "status", "category", "assigned_to")}
    assert named == {
        "tracker": "Feature", "priority": "Urgent", "status": "New", "category": "Printers",
        "assigned_to": "Redmine Admin",
    }  # fmt: skip
    assert issue["custom_fields"][0]["value"] == "hot" and issue["is_private"]
    by_number = redmine.issue(number(tracker.deliver(job(tracker="3", priority="1", assignee="me", project="1"))))
    assert (by_number["tracker"]["name"], by_number["priority"]["name"]) == ("Support", "Low")
    error = failure(tracker, tracker="Bugg")
    assert error.permanent and error.reason == "Redmine knows no tracker 'Bugg'; it has bug, feature, support"


def test_later_mail_becomes_a_note(redmine: RedmineServer, tracker: Integration) -> None:
    item = tracker.deliver(job())
    reply = job(attachment("more.txt", b"more"), body="Still burning ✓", item=item)
    assert tracker.find(reply) is None
    assert tracker.deliver(reply) == item
    (note,) = redmine.notes(number(item))
    assert note.startswith("Still burning ✓") and note.endswith(reply.marker)
    assert [each["filename"] for each in redmine.issue(number(item))["attachments"]] == ["more.txt"]
    assert tracker.find(reply) == item


@pytest.mark.parametrize("title", ["Grüße – 日本語", "fire 🔥🖨️", "عربى", 'quote " and \\ back', "<b>&amp;</b>", "%_%"])
def test_titles_arrive_as_they_are(redmine: RedmineServer, tracker: Integration, title: str) -> None:
    assert redmine.issue(number(tracker.deliver(job(title=title))))["subject"] == title


def test_long_and_empty_titles(redmine: RedmineServer, tracker: Integration) -> None:
    title = "wörd " * 100
    issue = redmine.issue(number(tracker.deliver(job(title=title))))
    assert len(issue["subject"]) == 255 and issue["subject"].endswith("…")
    assert issue["description"].startswith(title.strip())
    assert redmine.issue(number(tracker.deliver(job(title=" \n"))))["subject"] == "(no subject)"


def test_macros_do_not_run(redmine: RedmineServer, tracker: Integration) -> None:
    receipt = tracker.deliver(job(body="{{macro_list}} {{include(Secret)}} {{ plain }}"))
    page = redmine.call("GET", f"/issues/{receipt.reference}", params={"key": redmine.key}).text
    assert "{{macro_list}} {{include(Secret)}} {{ plain }}" in page


@pytest.mark.parametrize("instead", [b"", ERROR_500], ids=["connection closed", "500"])
def test_answer_lost_after_the_issue_was_made(
    redmine: RedmineServer, proxy: CutProxy, tmp_path: Path, instead: bytes
) -> None:
    tracker = destination(redmine, tmp_path, url=proxy.url)
    proxy.cut, proxy.instead = lambda method, path: path.startswith("/issues.json"), instead
    steps: dict[str, str] = {}
    first = job(attachment(), record=steps.__setitem__)
    with pytest.raises(DeliveryError) as caught:
        tracker.deliver(first)
    assert caught.value.unknown
    again = job(attachment(), key=first.key, steps=steps)
    found = tracker.find(again)
    steps["item"] = number(found)
    assert tracker.deliver(again) == found
    assert [str(issue["id"]) for issue in redmine.holding(first.marker)] == [number(found)]


@pytest.mark.parametrize("instead", [b"", ERROR_500], ids=["connection closed", "500"])
def test_answer_lost_after_the_note_was_made(
    redmine: RedmineServer, proxy: CutProxy, tmp_path: Path, instead: bytes
) -> None:
    tracker = destination(redmine, tmp_path, url=proxy.url)
    item = tracker.deliver(job())
    proxy.cut, proxy.instead = lambda method, path: method == "PUT", instead
    reply = job(item=item)
    with pytest.raises(DeliveryError) as caught:
        tracker.deliver(reply)
    assert caught.value.unknown
    found = tracker.find(reply)
    assert tracker.deliver(job(key=reply.key, item=item, steps={"comment": number(found)})) == item
    assert len(redmine.notes(number(item))) == 1


def test_answer_lost_before_the_issue_was_made(redmine: RedmineServer, proxy: CutProxy, tmp_path: Path) -> None:
    tracker = destination(redmine, tmp_path, url=proxy.url)
    proxy.cut = lambda method, path: path.startswith("/uploads")
    first = job(attachment())
    with pytest.raises(DeliveryError) as caught:
        tracker.deliver(first)
    assert not caught.value.unknown and not caught.value.permanent
    assert tracker.find(first) is None


def test_a_quoted_marker_is_not_taken_for_the_issue(redmine: RedmineServer, tracker: Integration) -> None:
    first = job(body="x " * 2000)
    made = tracker.deliver(first)
    tracker.deliver(job(body=f"> you wrote: {first.marker}"))
    assert tracker.find(first) == made
    # An item that it made is found also where the conversation has got another one meanwhile.
    other = tracker.deliver(job())
    assert tracker.find(job(key=first.key, item=other)) == made
    assert tracker.find(job(item=other)) is None


def test_uploads_are_done_once(redmine: RedmineServer, tracker: Integration) -> None:
    steps: dict[str, str] = {}
    files = [attachment("a.txt", b"a"), attachment("b.txt", b"b")]
    with pytest.raises(DeliveryError):
        tracker.deliver(job(*files, record=steps.__setitem__, project="nope"))
    assert set(steps) == {"attachment:0", "attachment:1"}
    before = dict(steps)
    receipt = tracker.deliver(job(*files, steps=dict(steps), record=steps.__setitem__))
    assert steps == before | {"item": number(receipt)} and len(redmine.issue(number(receipt))["attachments"]) == 2


def test_a_token_that_went_stale_is_replaced(redmine: RedmineServer, tracker: Integration) -> None:
    steps = {"attachment:0": f"999999.{'a' * 64}"}
    receipt = tracker.deliver(job(attachment(), steps=dict(steps), record=steps.__setitem__))
    assert not steps["attachment:0"].startswith("999999")
    assert len(redmine.issue(number(receipt))["attachments"]) == 1


def test_refused_attachments_are_noted(redmine: RedmineServer, tracker: Integration) -> None:
    large, program = attachment("large.bin", bytes(1_100_000)), attachment("virus.exe", b"MZ")
    receipt = tracker.deliver(job(large, program, attachment("fine.txt"), attachment("empty.txt", b"")))
    issue = redmine.issue(number(receipt))
    assert {each["filename"] for each in issue["attachments"]} >= {"fine.txt"}
    description = html.unescape(issue["description"])
    assert "Attachment not taken: large.bin (1100000 bytes): This file cannot be" in description
    assert "virus.exe (2 bytes): " in description


def test_further_fields(redmine: RedmineServer, tracker: Integration) -> None:
    parent = number(tracker.deliver(job()))
    further = {"due_date": "2030-02-03", "estimated_hours": "3.5", "done_ratio": "40", "parent_issue_id": parent}
    issue = redmine.issue(number(tracker.deliver(job(fields={"start_date": "2030-01-02", **further}))))
    assert (issue["start_date"], issue["due_date"], issue["done_ratio"]) == ("2030-01-02", "2030-02-03", 40)
    assert issue["estimated_hours"] == 3.5 and str(issue["parent"]["id"]) == parent
    error = failure(tracker, fields={"parent_issue_id": "999999"})
    assert error.permanent and error.status == 422


def test_state(redmine: RedmineServer, tracker: Integration) -> None:
    item = tracker.deliver(job())
    tracker.deliver(job(item=item, state="open"))
    assert redmine.issue(number(item))["status"]["name"] == "New"
    for state, closed in (("closed", True), ("closed", True), ("open", False)):
        tracker.deliver(job(item=item, state=state))
        issue = redmine.issue(number(item))
        assert (issue["closed_on"] is not None and issue["status"]["name"] in ("Closed", "Rejected")) == closed
    assert len(redmine.notes(number(item))) == 4


def test_states_by_name(redmine: RedmineServer, tmp_path: Path) -> None:
    tracker = destination(redmine, tmp_path, states={"closed": "Rejected", "open": "Feedback"})
    item = tracker.deliver(job())
    for state, status in (("closed", "Rejected"), ("open", "Feedback")):
        tracker.deliver(job(item=item, state=state))
        assert redmine.issue(number(item))["status"]["name"] == status
    error = failure(destination(redmine, tmp_path, states={"closed": "Gone"}), item=item, state="closed")
    assert error.permanent and error.reason.startswith("Redmine knows no status 'Gone'; it has closed, ")


@pytest.mark.parametrize("instead", [b"", ERROR_500], ids=["connection closed", "500"])
def test_answer_lost_after_the_status_was_set(
    redmine: RedmineServer, proxy: CutProxy, tmp_path: Path, instead: bytes
) -> None:
    tracker = destination(redmine, tmp_path, url=proxy.url)
    item = tracker.deliver(job())
    changes: list[str] = []

    def second(method: str, path: str) -> bool:
        changes.extend([path] if method == "PUT" else [])
        return method == "PUT" and len(changes) == 2

    proxy.cut, proxy.instead = second, instead
    assert deliver_in_the_end(tracker, job(item=item, state="closed")) == item
    assert len(changes) == 2 and redmine.issue(number(item))["closed_on"] is not None
    assert len(redmine.notes(number(item))) == 1


def test_check(redmine: RedmineServer, tracker: Integration, tmp_path: Path) -> None:
    known, project = tracker.check()
    assert known.startswith("known as Redmine Admin (")
    assert project == "sees the project Inbox with the trackers Bug, Feature, Support"
    assert "there is no project 'nope'" in destination(redmine, tmp_path, project="nope").check()[-1]


def test_errors_of_the_real_server(redmine: RedmineServer, tracker: Integration, tmp_path: Path) -> None:
    wrong = failure(destination(redmine, tmp_path, api_key=Secret("wrong")))
    assert wrong.permanent and wrong.status == 401
    unknown = failure(tracker, project="nope")
    assert unknown.permanent and unknown.status == 422 and "Project cannot be blank" in unknown.reason
    nowhere = failure(destination(redmine, tmp_path, project=None))
    assert nowhere.permanent and "project" in nowhere.reason


def test_an_issue_that_is_gone(redmine: RedmineServer, tracker: Integration) -> None:
    item = tracker.deliver(job())
    assert redmine.call("DELETE", f"/issues/{item.reference}.json").ok
    error = failure(tracker, item=item)
    assert error.item_gone and not error.permanent and f"issue {item.reference} is gone" in error.reason


ACTING = [
    "h1. heading", "* item", "# item", "bq. quote", "p. para", "*bold* _em_ -gone- +ins+ ^up^ ~low~ %span% @code@",
    "!http://x.example/a.png!", "[[wiki]]", "{{toc}}", "{{collapse(x)", "y}}",
    "#1 issue#1 r1 commit:abc user:admin @admin",
    "attachment:a.txt", "<b>bold</b> <script>alert(1)</script> <pre>x</pre>", "|a|b|", "|_. a|", "---", "==raw==",
    "http://x.example/a https://x.example/b?c=d&e=f", "$$x$$",
    "fn1. note", "inbox#1 inbox:#1", "document:1 version:1",
]  # fmt: skip


def test_nothing_of_a_mail_acts_on_redmines_page(redmine: RedmineServer, tracker: Integration) -> None:
    """What Redmine's own reader of Textile makes of a hostile text: the words, and no more."""
    text = "\n".join(ACTING)
    receipt = tracker.deliver(job(body=escape(Markup.TEXTILE, text)))
    page = redmine.page(f"/issues/{number(receipt)}")
    shown = re.search(r'<div class="description">.*?<div class="wiki">(.*?)</div>', page, re.DOTALL)
    assert shown
    assert set(re.findall(r"<(\w+)", shown[1])) <= {"p", "br", "a"}, shown[1]
    links = set(re.findall(r'href="([^"]*)"', shown[1]))
    assert all(re.match(r"https?://x\.example/", link) for link in links), "plain web addresses are the only links"
    words = html.unescape(re.sub(r"<[^>]*>", "", shown[1]))
    assert "".join(words.replace("\u200b", "").split()).startswith("".join(text.split()))


@pytest.mark.parametrize("name", ["shot.png", "Bild ü (1)_2_.png", "a-b- c!.JPG", "[x]*y*@z#1%20.gif"])
def test_a_picture_shows_in_place(redmine: RedmineServer, tracker: Integration, name: str) -> None:
    file = attachment(name, b"picture", "image/png")
    picture = dataclasses.replace(file, info=msgspec.structs.replace(file.info, content_id="p@x", inline=True))
    item = tracker.deliver(job(picture, body="See:\n!cid:p%40x!\nand !cid:gone! no more"))
    tracker.deliver(job(picture, body="Again:\n!cid:p%40x!", item=item))
    page = redmine.page(f"/issues/{number(item)}")
    stored = sorted(each["id"] for each in redmine.issue(number(item))["attachments"])
    for words, position in (("See:", 0), ("Again:", 1)):
        shown = re.search(rf'{words}<br />\s*<img src="([^"]*)"', page)
        assert shown, "the picture stands below the words"
        assert f"/attachments/download/{stored[position]}/" in shown[1]
    assert "and  no more" in page

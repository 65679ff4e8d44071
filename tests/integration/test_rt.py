"""The kind `rt` against a real Request Tracker."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration, JobAttachment, Receipt
from postroom.message import Attachment
from tests.integration.rt_server import RtServer
from tests.kinds import attachment, build, job
from tests.servers import CutProxy

ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"


@pytest.fixture
def tracker(rt: RtServer, tmp_path: Path) -> Integration:
    return destination(rt, tmp_path)


def destination(rt: RtServer, folder: Path, **options: Any) -> Integration:
    return build("rt", folder, timeout=30, **({"url": rt.url, "token": Secret(rt.token), "queue": "General"} | options))


@pytest.fixture
def proxy(rt: RtServer) -> Iterator[CutProxy]:
    with CutProxy(rt.port) as proxy:
        yield proxy


def failure(destination: Integration, /, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        destination.deliver(job(**options))
    return caught.value


def test_opens_a_ticket_with_attachments(rt: RtServer, tracker: Integration) -> None:
    content = bytes(range(256)) * 3000
    delivery = job(attachment("bild ü.png", content, "image/png"), attachment("b.txt"), body="Grüße 🔥 <b>&amp;</b>")
    receipt = tracker.deliver(delivery)
    assert receipt.url == f"{rt.url}/Ticket/Display.html?id={receipt.reference}"
    (opening,) = rt.messages(receipt.reference)
    assert opening["text"] == "Grüße 🔥 <b>&amp;</b>\n\na footer"
    assert opening["files"] == {"bild ü.png": ("image/png", content), "b.txt": ("text/plain", b"hello")}
    ticket = rt.ticket(receipt.reference)
    assert (ticket["Subject"], ticket["Status"], ticket["Creator"]["id"]) == ("Printer on fire", "new", "postroom")
    links = [link["_url"] for link in ticket["_hyperlinks"] if link["ref"] == "refers-to"]
    assert links == [f"{delivery.message_url}#{delivery.marker}"]
    assert tracker.find(delivery) == receipt


def test_fields(rt: RtServer, tracker: Integration) -> None:
    receipt = tracker.deliver(
        job(
            priority="High", status="open", requestors=["jo@example.org"], cc=["al@example.org"],
            custom_fields={"Severity": "hot"}, fields={"Due": "2030-01-02 03:04:05", "RefersTo": "https://x.example/1"},
        )
    )  # fmt: skip
    ticket = rt.ticket(receipt.reference)
    assert (ticket["Priority"], ticket["Status"], ticket["Due"]) == ("High", "open", "2030-01-02T03:04:05Z")
    assert [each["id"] for each in ticket["Requestor"] + ticket["Cc"]] == ["jo@example.org", "al@example.org"]
    assert ticket["CustomFields"][0]["values"] == ["hot"]
    assert len([link for link in ticket["_hyperlinks"] if link["ref"] == "refers-to"]) == 2
    owned = destination(rt, tracker.data_dir, token=Secret(rt.admin_token)).deliver(job(assignee="root", priority="7"))
    assert rt.ticket(owned.reference)["Owner"]["id"] == "root" and rt.ticket(owned.reference)["Priority"] == "7"


def test_what_rt_would_ignore_in_silence_is_told(tracker: Integration) -> None:
    field = failure(tracker, custom_fields={"Severityy": "hot"})
    assert field.permanent and "has no custom field 'Severityy'; it has Severity" in field.reason
    owner = failure(tracker, assignee="nobody-here")
    assert owner.permanent and owner.reason == "RT knows no user 'nobody-here'"


@pytest.mark.parametrize(("update_type", "kind"), [("comment", "Comment"), ("correspond", "Correspond")])
def test_later_mail(rt: RtServer, tmp_path: Path, update_type: str, kind: str) -> None:
    tracker = destination(rt, tmp_path, update_type=update_type)
    item = tracker.deliver(job(requestors=["jo@example.org"]))
    reply = job(attachment("more.txt", b"more"), body="Still burning ✓", item=item)
    assert tracker.find(reply) is None
    assert tracker.deliver(reply) == item
    _, said = rt.messages(item.reference)
    assert said["type"] == kind and said["text"] == f"Still burning ✓\n\na footer\n\n{reply.marker}"
    assert said["files"] == {"more.txt": ("text/plain", b"more")}
    assert tracker.find(reply) == item
    assert tracker.find(job(item=item)) is None


def test_state(rt: RtServer, tracker: Integration) -> None:
    item = tracker.deliver(job())
    for state, status in (("open", "new"), ("closed", "resolved"), ("closed", "resolved"), ("open", "open")):
        tracker.deliver(job(item=item, state=state))
        assert rt.ticket(item.reference)["Status"] == status
    rt.call("PUT", f"/ticket/{item.reference}", json={"Status": "rejected"})
    tracker.deliver(job(item=item, state="closed"))
    assert rt.ticket(item.reference)["Status"] == "rejected"


def test_a_state_that_rt_refuses(rt: RtServer, tmp_path: Path) -> None:
    tracker = destination(rt, tmp_path, states={"closed": "gone-for-good"})
    item = tracker.deliver(job())
    error = failure(tracker, item=item, state="closed")
    assert error.permanent and "isn't a valid status" in error.reason


@pytest.mark.parametrize("instead", [b"", ERROR_500], ids=["connection closed", "500"])
def test_answers_lost_after_the_deed(rt: RtServer, proxy: CutProxy, tmp_path: Path, instead: bytes) -> None:
    tracker = destination(rt, tmp_path, url=proxy.url)
    proxy.cut, proxy.instead = lambda method, path: method == "POST", instead
    first = job(attachment(), title=f"Lost {len(instead)}")
    with pytest.raises(DeliveryError) as caught:
        tracker.deliver(first)
    assert caught.value.unknown
    found = tracker.find(first)
    assert found is not None and rt.count(f"Lost {len(instead)}") == 1
    reply = job(attachment(), item=found)
    with pytest.raises(DeliveryError) as caught:
        tracker.deliver(reply)
    assert caught.value.unknown and tracker.find(reply) == found
    assert len(rt.messages(found.reference)) == 2


def test_a_comment_on_a_merged_ticket_is_found(rt: RtServer, tracker: Integration) -> None:
    item, other = tracker.deliver(job()), tracker.deliver(job())
    rt.call("PUT", f"/ticket/{item.reference}", json={"MergeInto": other.reference})
    reply = job(item=item)
    assert tracker.deliver(reply) == item and tracker.find(reply) == item


def test_what_others_quote_is_not_ours(tracker: Integration) -> None:
    lost = job(item=Receipt("999999"))
    made = tracker.deliver(job(body=f"> {lost.marker}"))
    tracker.deliver(job(body=f"> {lost.marker}", item=made))
    assert tracker.find(lost) is None


def test_a_ticket_that_is_gone(tracker: Integration) -> None:
    error = failure(tracker, item=Receipt("999999"))
    assert error.item_gone and not error.permanent and "ticket 999999 is gone" in error.reason


def test_empty_files_are_noted(rt: RtServer, tracker: Integration) -> None:
    receipt = tracker.deliver(job(attachment("empty.txt", b""), attachment("0", b"zero")))
    (opening,) = rt.messages(receipt.reference)
    assert "Attachment not taken: empty.txt (0 bytes): RT takes no empty file" in opening["text"]
    assert opening["files"] == {"attachment": ("text/plain", b"zero")}


def test_long_and_empty_titles(rt: RtServer, tracker: Integration) -> None:
    title = "wörd " * 100
    receipt = tracker.deliver(job(title=title))
    subject = rt.ticket(receipt.reference)["Subject"]
    assert 195 < len(subject.encode()) <= 200 and subject.endswith("…")
    assert rt.messages(receipt.reference)[0]["text"].startswith(title.strip())
    assert rt.ticket(tracker.deliver(job(title=" \n")).reference)["Subject"] == "(no subject)"


def test_errors_of_the_real_server(rt: RtServer, tracker: Integration, tmp_path: Path) -> None:
    wrong = failure(destination(rt, tmp_path, token=Secret("1-14-wrong")))
    assert wrong.permanent and wrong.status == 401
    nowhere = failure(tracker, queue="Nowhere")
    assert nowhere.permanent and "No permission to create tickets in the queue 'Nowhere'" in nowhere.reason
    status = failure(tracker, status="burning")
    assert status.permanent and "isn't a valid status" in status.reason


def test_check(rt: RtServer, tracker: Integration, tmp_path: Path) -> None:
    version, known, queue = tracker.check()
    assert version.startswith("Request Tracker 5.")
    assert (known, queue) == ("known as postroom (bot@example.com)", "may create tickets in General")
    assert "there is no queue 'Nowhere'" in destination(rt, tmp_path, queue="Nowhere").check()[-1]


def test_a_large_file_is_streamed(rt: RtServer, tracker: Integration) -> None:
    size = 20 << 20
    info = Attachment("large.bin", "application/octet-stream", size, "0" * 64)
    large = JobAttachment(info, lambda: (bytes([each]) * (1 << 20) for each in range(20)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    receipt = tracker.deliver(job(large))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000
    listed = rt.call("GET", f"/ticket/{receipt.reference}/attachments", params={"fields": "Filename,ContentLength"})
    assert [each["Filename"] for each in listed["items"] if each["Filename"]] == ["large.bin"]

"""What the kind `rt` does, over HTTP with a stand-in. tests/integration/test_rt.py has the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.rt import link_of
from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Receipt
from tests.kinds import SECRET, attachment, job
from tests.servers import Receiver, Reply
from tests.standins.rt import RtStandin


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[RtStandin]:
    with Receiver() as receiver:
        yield RtStandin(tmp_path, receiver)


def failure(rt: RtStandin, *files: Any, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        rt.integration().deliver(job(*files, **options))
    return caught.value


def test_the_document_of_a_ticket(rt: RtStandin) -> None:
    delivery = job(
        priority="50", status="open", assignee="staff", requestors=["jo@example.org"], cc=["a"], admin_cc=["b"],
        custom_fields={"Severity": ["hot", "wet"]}, fields={"Due": "2030-01-01", "Content": "mine"},
    )  # fmt: skip
    receipt = rt.integration().deliver(delivery)
    assert receipt == Receipt("1", f"{rt.receiver.url}/Ticket/Display.html?id=1")
    assert rt.receiver.requests[-1].json() == {
        "Queue": "General", "Subject": "Printer on fire", "Content": "It burns.\n\na footer",
        "ContentType": "text/plain",
        "Priority": "50", "Status": "open", "Owner": "staff", "Requestor": ["jo@example.org"], "Cc": ["a"],
        "AdminCc": ["b"], "CustomFields": {"Severity": ["hot", "wet"]}, "Due": "2030-01-01",
        "RefersTo": [f"{delivery.message_url}#{delivery.marker}"],
    }  # fmt: skip


def test_names_are_looked_up_once(rt: RtStandin) -> None:
    integration = rt.integration()
    for _ in range(2):
        integration.deliver(job(assignee="staff", custom_fields={"Severity": "hot"}))
    assert [request.path.removeprefix("/REST/2.0") for request in rt.receiver.requests] == [
        "/queue/General", "/user/staff", "/ticket", "/ticket",
    ]  # fmt: skip


def test_a_look_up_that_fails_made_nothing(rt: RtStandin) -> None:
    rt.receiver.answer = Reply(500)
    error = failure(rt, assignee="staff")
    assert not error.unknown and not error.permanent


def test_no_queue(rt: RtStandin) -> None:
    with pytest.raises(DeliveryError, match="names a queue"):
        rt.integration(queue=None).deliver(job())


def test_attachments_that_are_too_much_are_noted(rt: RtStandin) -> None:
    item = rt.integration().deliver(job(attachment("large.bin", bytes(1_100_000)), attachment("b.txt")))
    (text,) = rt.texts()
    assert rt.made() == 1 and not rt.attached()
    assert "Attachment not taken: large.bin (1100000 bytes): RT's web server holds it for too much" in text
    rt.integration().deliver(job(attachment("large.bin", bytes(1_100_000)), item=item))
    assert "Attachment not taken: large.bin" in rt.comments()[0]


def test_a_comment_of_a_limited_user_is_refused(rt: RtStandin) -> None:
    item = rt.integration().deliver(job())
    rt.receiver.answer = Reply.of({"message": "Permission Denied"}, 403)
    error = failure(rt, item=item)
    assert error.permanent and error.reason == "RT refused the comment: Permission Denied"


def test_a_ticket_that_is_gone(rt: RtStandin) -> None:
    error = failure(rt, item=Receipt("7"))
    assert error.item_gone and not error.permanent and not error.unknown


@pytest.mark.parametrize("reference", [None, "", "x", "1/comment", "١"])
def test_a_reference_of_something_else(rt: RtStandin, reference: str | None) -> None:
    error = failure(rt, item=Receipt(reference))
    assert error.permanent and "no ticket of RT" in error.reason


def test_states(rt: RtStandin) -> None:
    integration = rt.integration(states={"open": "stalled", "closed": "rejected"})
    item = integration.deliver(job())
    for state, status in (("closed", "rejected"), ("open", "stalled"), ("open", "stalled")):
        integration.deliver(job(item=item, state=state))
        assert rt.well.tickets["1"]["Status"] == status
    assert len([each for each in rt.receiver.requests if each.method == "PUT"]) == 2
    with pytest.raises(ValueError, match="states: 'done' is none; there are `open` and `closed`"):
        rt.integration(states={"done": "resolved"})


def test_correspondence_opens_what_was_closed_and_its_copies_are_not_ours(rt: RtStandin) -> None:
    integration = rt.integration(update_type="correspond")
    item = integration.deliver(job())
    integration.deliver(job(item=item, state="closed"))
    assert rt.state() == "closed"
    reply = job(item=item)
    integration.deliver(reply)
    assert rt.state() == "open" and integration.find(reply) == item
    rt.well.transactions[-2]["Type"] = "EmailRecord"
    assert integration.find(reply) is None


def test_an_item_of_an_earlier_attempt_is_found_where_the_conversation_has_another(rt: RtStandin) -> None:
    integration = rt.integration()
    first = job()
    made = integration.deliver(first)
    other = integration.deliver(job())
    assert integration.find(job(key=first.key, item=other)) == made
    assert integration.find(job(key=first.key, item=other, state="closed")) is None


def test_a_link_that_rt_could_not_keep(rt: RtStandin) -> None:
    delivery = job()
    object.__setattr__(delivery, "message_url", "https://mail.example.com/" + "x" * 200)
    assert link_of(delivery) == f"urn:uuid:{delivery.key}"
    receipt = rt.integration().deliver(delivery)
    assert rt.integration().find(delivery) == receipt


def test_check(rt: RtStandin) -> None:
    told = rt.integration(token=Secret(f"1-14-{SECRET}")).check()
    assert told == [
        "Request Tracker 5.0.3 takes the token", "known as postroom (bot@example.com)", "may create tickets in General",
    ]  # fmt: skip
    rt.well.may_create = False
    assert rt.integration().check()[-1] == "may not create tickets in General"
    assert rt.integration(queue="x").check()[-1] == "there is no queue 'x', or the user may not see it"
    assert rt.integration(queue=None).check()[-1] == "each rule must name a queue: the destination names none"

"""What the kind `roundup` does, over HTTP with a stand-in. tests/integration/test_roundup.py has the real one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.exchange import DeliveryError
from postroom.integration import Job, Receipt
from postroom.testing import deliver_in_the_end
from tests.kinds import attachment, job
from tests.servers import CLOSE, Receiver, Reply, Request
from tests.standins.roundup import RoundupStandin, error


@pytest.fixture
def roundup(tmp_path: Path) -> Iterator[RoundupStandin]:
    with Receiver() as receiver:
        yield RoundupStandin(tmp_path, receiver)


def failure(roundup: RoundupStandin, delivery: Job, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        roundup.integration(**options).deliver(delivery)
    return caught.value


def paths(roundup: RoundupStandin) -> list[str]:
    return [f"{each.method} {each.path.partition('/rest/data')[2]}" for each in roundup.receiver.requests]


def test_the_documents(roundup: RoundupStandin) -> None:
    delivery = job(
        attachment(), priority="urgent", status="testing", assignee="postroom", labels=["printer"], nosy=["admin"],
        fields={"superseder": ["1"], "title": "mine"},
    )  # fmt: skip
    receipt = roundup.integration().deliver(delivery)
    assert receipt == Receipt("1", f"{roundup.receiver.url}/demo/issue1")
    assert paths(roundup) == ["POST /file", "POST /msg", "POST /issue/@poe", "POST /issue/@poe/token-1"]
    _, message, token, issue = roundup.receiver.requests
    assert message.json() == {
        "content": "It burns.\n\na footer", "author": "postroom", "date": ".", "files": ["1"],
        "messageid": f"<{delivery.marker}@127.0.0.1>",
    }  # fmt: skip
    assert token.json() == {"lifetime": 3600}
    assert issue.json() == {
        "title": "Printer on fire", "messages": ["1"], "files": ["1"], "priority": "urgent", "status": "testing",
        "assignedto": "postroom", "keyword": ["printer"], "nosy": ["admin"], "superseder": ["1"],
    }  # fmt: skip
    assert all(each.headers["origin"] == roundup.receiver.url for each in roundup.receiver.requests)


def test_a_token_is_used_again_by_the_next_attempt(roundup: RoundupStandin) -> None:
    well, refusals = roundup.well, iter([Reply(429, headers={"Retry-After": "1"})])
    roundup.receiver.answer = lambda request: (
        next(refusals, None) if "@poe/" in request.path else None
    ) or well(request)  # fmt: skip
    deliver_in_the_end(roundup.integration(), job())
    assert paths(roundup).count("POST /issue/@poe") == 1 and paths(roundup).count("POST /issue/@poe/token-1") == 2


def test_a_token_that_ended_is_replaced(roundup: RoundupStandin) -> None:
    roundup.integration().deliver(job(steps={"token": f"{int(time.time())} token-0", "message": "1"}))
    assert paths(roundup) == ["POST /issue/@poe", "POST /issue/@poe/token-1"]


def test_a_request_that_is_still_at_work_makes_no_second_issue(roundup: RoundupStandin) -> None:
    """The token is used up, and its issue shows only later: the attempt between makes nothing."""
    well, held = roundup.well, list[Request]()

    def slow(request: Request) -> Reply:
        if "@poe/token-1" in request.path and not held:
            held.append(request)
            return CLOSE
        if held and "@poe/token-1" in request.path:
            reply = error(400, "POE token 'token-1' not valid.")
            assert well(held[0]).status == 201
            return reply
        return well(request)

    roundup.receiver.answer = slow
    steps = {"known": "something"}
    first = job(steps=steps, record=steps.__setitem__)
    receipt = deliver_in_the_end(roundup.integration(), first)
    assert receipt.reference == "1" and roundup.made() == 1


def test_a_used_up_token_without_an_issue(roundup: RoundupStandin) -> None:
    steps = {"token": f"{int(time.time()) + 3600} token-0", "message": "1"}
    problem = failure(roundup, job(steps=steps, record=steps.__setitem__))
    assert problem.unknown and not problem.permanent and steps["token"] == ""
    assert roundup.integration().deliver(job(steps=steps, record=steps.__setitem__)).reference == "1"


def test_a_message_is_added_once(roundup: RoundupStandin) -> None:
    integration = roundup.integration()
    item = integration.deliver(job())
    steps = {"known": "something"}
    reply = job(item=item, steps=steps, record=steps.__setitem__)
    for _ in range(2):
        assert integration.deliver(reply) == item
        del steps["comment"]
    assert len(roundup.comments()) == 1


def test_somebody_changes_the_issue_meanwhile(roundup: RoundupStandin) -> None:
    integration, well = roundup.integration(), roundup.well
    item = integration.deliver(job())
    roundup.receiver.answer = lambda request: (
        error(412, "If-Match is missing or does not match.") if request.method == "PATCH" else well(request)
    )  # fmt: skip
    problem = failure(roundup, job(item=item))
    assert not problem.permanent and not problem.unknown and "issue 1 was being changed" in problem.reason
    roundup.reset()
    integration.deliver(job(item=item))
    assert len(roundup.comments()) == 1


def test_attachments_that_are_not_taken(roundup: RoundupStandin) -> None:
    files = attachment("large.bin", bytes(1_100_000)), attachment("empty.txt", b""), attachment("b.txt")
    roundup.integration().deliver(job(*files))
    (text,) = roundup.texts()
    assert "Attachment not taken: large.bin (1100000 bytes): it is too large" in text
    assert "Attachment not taken: empty.txt (0 bytes): Roundup takes no empty file" in text
    assert roundup.attached() == ["b.txt"]


def test_an_upload_that_fails_made_nothing(roundup: RoundupStandin) -> None:
    roundup.receiver.answer = Reply(500)
    problem = failure(roundup, job(attachment()))
    assert not problem.unknown and not problem.permanent


def test_states(roundup: RoundupStandin) -> None:
    integration = roundup.integration(states={"open": "testing"})
    item = integration.deliver(job())
    for state, status in (("closed", "resolved"), ("open", "chatting"), ("closed", "resolved")):
        integration.deliver(job(item=item, state=state))
        # The message itself opens it: that is how the template is made.
        assert roundup.well.statuses[int(roundup.well.issues["1"]["status"]) - 1] == status
    assert len([each for each in paths(roundup) if each == "GET /status"]) == 1
    with pytest.raises(ValueError, match="states: 'done' is none"):
        roundup.integration(states={"done": "resolved"})


def test_a_tracker_of_another_template(roundup: RoundupStandin) -> None:
    roundup.well.statuses = ("new", "closed")
    roundup.integration().deliver(job(item=roundup.integration().deliver(job()), state="closed"))
    assert roundup.well.issues["1"]["status"] == "2"


def test_an_item_of_an_earlier_attempt_is_found_where_the_conversation_has_another(roundup: RoundupStandin) -> None:
    integration = roundup.integration()
    first = job()
    made, other = integration.deliver(first), integration.deliver(job())
    assert integration.find(job(key=first.key, item=other)) == made
    assert integration.find(job(key=first.key, item=other, state="closed")) is None


@pytest.mark.parametrize("reference", [None, "", "x", "1/", "١"])
def test_a_reference_of_something_else(roundup: RoundupStandin, reference: str | None) -> None:
    problem = failure(roundup, job(item=Receipt(reference)))
    assert problem.permanent and "no issue of Roundup" in problem.reason


def test_an_issue_that_is_gone(roundup: RoundupStandin) -> None:
    problem = failure(roundup, job(item=Receipt("7")))
    assert problem.item_gone and not problem.permanent


def test_check(roundup: RoundupStandin) -> None:
    assert roundup.integration().check() == ["known as postroom (Postroom Bot, bot@example.com)"]
    roundup.well.statuses = ("green", "red")
    told = roundup.integration(states={"open": "green"}).check()
    assert told[1:] == ["there is no status 'resolved' for `closed`; there are green, red"]

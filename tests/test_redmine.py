"""What the kind `redmine` does, over HTTP with a stand-in. tests/integration/test_redmine.py has the real one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroom.exchange import DeliveryError
from postroom.integration import Job
from tests.kinds import attachment, job
from tests.servers import Receiver, Reply
from tests.standins.redmine import RedmineStandin


@pytest.fixture
def redmine(tmp_path: Path) -> Iterator[RedmineStandin]:
    with Receiver() as receiver:
        yield RedmineStandin(tmp_path, receiver)


def failure(redmine: RedmineStandin, delivery: Job, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        redmine.integration(**options).deliver(delivery)
    return caught.value


def test_further_fields(redmine: RedmineStandin) -> None:
    further = {"start_date": "2030-01-02", "estimated_hours": "3.5", "fixed_version_id": "1.0", "subject": "mine"}
    redmine.integration().deliver(job(fields=further, private=True, tracker="Bug"))
    issue = redmine.receiver.requests[-1].json()["issue"]
    text = issue.pop("description")
    assert text.startswith("It burns.\n\na footer\n\npostroom-")
    assert issue == {
        "project_id": "inbox", "subject": "Printer on fire", "tracker_id": 1, "is_private": True,
        "start_date": "2030-01-02", "estimated_hours": "3.5", "fixed_version_id": 3,
    }  # fmt: skip
    wrong = failure(redmine, job(fields={"fixed_version_id": "2.0"}))
    assert wrong.permanent and wrong.reason == "Redmine knows no version '2.0'; it has 1.0"


def test_states(redmine: RedmineStandin) -> None:
    integration = redmine.integration()
    item = integration.deliver(job())
    for state, status in (("open", 1), ("closed", 5), ("closed", 5), ("open", 2)):
        integration.deliver(job(item=item, state=state))
        assert redmine.well.issues[1]["status_id"] == status
    changes = [each.json()["issue"] for each in redmine.receiver.requests if each.method == "PUT"]
    assert [each["status_id"] for each in changes if "status_id" in each] == [5, 2]


def test_states_by_name(redmine: RedmineStandin) -> None:
    integration = redmine.integration(states={"closed": "rejected"})
    item = integration.deliver(job())
    integration.deliver(job(item=item, state="closed"))
    assert redmine.well.issues[1]["status_id"] == 6
    wrong = failure(redmine, job(item=item, state="open"), states={"open": "Newish"})
    assert wrong.permanent and "Redmine knows no status 'Newish'; it has closed, in progress, new" in wrong.reason
    with pytest.raises(ValueError, match="states: 'done' is none; there are `open` and `closed`"):
        redmine.integration(states={"done": "Closed"})


@pytest.mark.parametrize(("allowed", "obeys"), [([1, 2], True), ([1, 2, 5], False), (None, False)])
def test_a_workflow_that_forbids_it(redmine: RedmineStandin, allowed: list[int] | None, obeys: bool) -> None:
    """Redmine takes such a status with 204 and does nothing."""
    redmine.well.allowed, redmine.well.obeys = allowed, obeys
    item = redmine.integration().deliver(job())
    wrong = failure(redmine, job(item=item, state="closed"))
    assert wrong.permanent and "the workflow of issue 1 lets this user set no status that is closed" in wrong.reason
    assert len(redmine.comments()) == 1, "the note is there"


def test_an_older_redmine_does_not_tell_what_is_allowed(redmine: RedmineStandin) -> None:
    redmine.well.allowed = None
    integration = redmine.integration()
    integration.deliver(job(item=integration.deliver(job()), state="closed"))
    assert redmine.state() == "closed"


def test_pictures_stand_in_markdown(redmine: RedmineStandin) -> None:
    file = attachment("a b.png", b"picture", "image/png")
    picture = dataclasses.replace(file, info=msgspec.structs.replace(file.info, content_id="p@x", inline=True))
    body = "See ![the fire](cid:p%40x) and ![another](cid:gone)"
    redmine.integration(formatting="markdown").deliver(job(picture, attachment(), body=body))
    (text,) = redmine.texts()
    assert text.startswith(f"See ![the fire]({redmine.receiver.url}/attachments/download/1/a%20b.png) and another\n")


def test_a_look_up_that_fails_made_nothing(redmine: RedmineStandin) -> None:
    redmine.receiver.answer = Reply(500)
    error = failure(redmine, job(tracker="Bug"))
    assert not error.unknown and not error.permanent


def test_a_marker_that_others_quote(redmine: RedmineStandin) -> None:
    integration = redmine.integration()
    item = integration.deliver(job())
    reply = job(item=item)
    integration.deliver(reply)
    integration.deliver(job(body=f"> {reply.marker}"))
    assert integration.find(reply) == item
    lost = job(item=item, state="closed")
    integration.deliver(job(body=f"> {lost.marker}"))
    assert integration.find(lost) is None, "an update makes no issue, so that was somebody else"


def test_check(redmine: RedmineStandin) -> None:
    known = "known as Postroom Bot (bot@example.com)"
    assert redmine.integration().check() == [known, "sees the project Inbox with the trackers Bug, Feature"]
    nowhere = redmine.integration(project="nope", states={"closed": "Gone"}).check()
    assert nowhere[1].startswith("Redmine knows no status 'Gone'; it has ")
    assert nowhere[2] == "there is no project 'nope', or the user may not see it"
    assert redmine.integration(project=None).check()[1] == "each rule must name a project: the destination names none"

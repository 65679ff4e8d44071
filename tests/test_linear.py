"""Kind `linear`, over HTTP to a stand-in with Linear's documented answers."""

from __future__ import annotations

import dataclasses
import socket
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations.linear import id_of
from postroom.exchange import DeliveryError
from postroom.integration import JobAttachment, Receipt
from tests.kinds import SECRET, attachment, build, job
from tests.servers import CLOSE, Receiver, Reply, Request, raw_server, read_request
from tests.standins.linear import ASSETS, OTHER_TEAM, TEAM, Failed, FakeLinear, LinearStandin, refused


@pytest.fixture
def there(tmp_path: Path) -> Iterator[LinearStandin]:
    with Receiver() as receiver:
        yield LinearStandin(tmp_path, receiver)


def failed(there: LinearStandin, delivery: Any = None, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        there.integration(**options).deliver(delivery or job())
    return caught.value


def sent(there: LinearStandin, name: str) -> list[dict[str, Any]]:
    """The variables of all requests with this operation."""
    requests = [each for each in there.receiver.requests if each.method == "POST"]
    return [each.json()["variables"] for each in requests if f" {name}" in each.json()["query"].partition("{")[0]]


def inline(name: str, content_id: str, content: bytes = b"png") -> JobAttachment:
    plain = attachment(name, content, "image/png")
    return JobAttachment(msgspec.structs.replace(plain.info, content_id=content_id, inline=True), plain.chunks)


def test_opens_an_issue(there: LinearStandin) -> None:
    delivery = job(body="**bold** from a template")
    receipt = there.integration().deliver(delivery)
    assert receipt == Receipt("SUP-1", "https://linear.app/example/issue/SUP-1/a-title")
    (given,) = sent(there, "Create")
    assert given["input"] == {
        "id": id_of(delivery.key, "item"),
        "teamId": TEAM,
        "title": "Printer on fire",
        "description": "**bold** from a template\n\na footer",
    }
    assert uuid.UUID(given["input"]["id"]).version == 4


def test_long_titles_and_texts(there: LinearStandin) -> None:
    there.integration().deliver(job(title="long " * 60, body="word " * 40_000))
    (issue,) = there.well.issues
    assert len(issue["title"]) <= 255 and issue["title"].endswith("…")
    text = issue["description"]
    assert text.startswith(("long " * 60).strip()) and 90_000 < len(text) <= 100_000
    assert "The text was too long" in text and text.endswith("a footer")


def test_fields(there: LinearStandin) -> None:
    fields = {"estimate": "3", "dueDate": "2026-12-24", "subscriberIds": ["u-jo"]}
    delivery = job(
        team="sup", project="helpdesk", labels=["mail", "BUG", "Mail"], priority="High", assignee="Jo@Example.com",
        status="todo", fields=fields,
    )  # fmt: skip
    there.integration(team=None).deliver(delivery)
    (given,) = sent(there, "Create")
    more = {name: value for name, value in given["input"].items() if name not in ("id", "title", "description")}
    assert more == {
        "teamId": TEAM,
        "projectId": "p-1",
        "labelIds": ["l-team", "l-bug"],
        "priority": 2,
        "assigneeId": "u-jo",
        "stateId": "s-todo",
        "estimate": 3,
        "dueDate": "2026-12-24",
        "subscriberIds": ["u-jo"],
    }


def test_a_teams_key_goes_before_another_teams_name(there: LinearStandin) -> None:
    there.integration(team="SUP").deliver(job())
    there.integration(team="ops").deliver(job())
    assert [each["teamId"] for each in there.well.issues] == [TEAM, OTHER_TEAM]


def test_names_are_asked_for_once(there: LinearStandin) -> None:
    integration = there.integration(team="SUP", project="abc123")
    for _ in range(2):
        integration.deliver(job(assignee="jo"))
    assert len(sent(there, "Find")) == 3 and there.made() == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"team": "NONE"}, "Linear has no team 'NONE'"),
        ({"labels": ["Pager"]}, "Linear has no label 'Pager'"),
        ({"assignee": "al@example.com"}, "Linear has no user 'al@example.com'"),
        ({"status": "Elsewhere"}, "Linear has no status 'Elsewhere'"),
        ({"project": "None"}, "Linear has no project 'None'"),
        ({"priority": "7"}, "priority: '7' is none of urgent, high, medium, low, none"),
        ({"fields": {"estimate": "much"}}, "fields: estimate takes a number"),
        ({"fields": {"colour": "red"}}, 'Linear refused it: Field "colour" is not defined by type'),
    ],
)
def test_fields_that_linear_does_not_know(there: LinearStandin, fields: dict[str, Any], words: str) -> None:
    error = failed(there, job(**fields))
    assert words in error.reason and error.permanent and not error.unknown and there.made() == 0


@pytest.mark.parametrize(("said", "number"), [("0", 0), ("none", 0), ("URGENT", 1), ("medium", 3), ("4", 4)])
def test_priorities(there: LinearStandin, said: str, number: int) -> None:
    there.integration().deliver(job(priority=said))
    assert there.well.issues[0]["priority"] == number


def test_no_team(there: LinearStandin) -> None:
    assert failed(there, team=None).reason == "neither the rule nor the destination names a team"


def test_comments(there: LinearStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    reply = job(item=item, body="And now the desk.")
    assert integration.deliver(reply) == item
    comment = {"id": id_of(reply.key, "comment"), "issueId": "SUP-1", "body": "And now the desk.\n\na footer"}
    assert there.well.comments == [comment]


@pytest.mark.parametrize("how", ["deleted", "trashed"])
def test_an_issue_that_is_gone(there: LinearStandin, how: str) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    there.well.issues[0]["deleted" if how == "deleted" else "trashed"] = True
    if how == "trashed":
        there.well._comment = lambda *asked: (_ for _ in ()).throw(refused("Cannot comment on a trashed issue."))
    error = failed(there, job(item=item))
    assert error.item_gone and not error.permanent and "issue SUP-1 is gone from Linear" in error.reason


def test_a_refused_comment_on_an_issue_that_is_there(there: LinearStandin) -> None:
    item = there.integration().deliver(job())
    there.well._comment = lambda *asked: (_ for _ in ()).throw(refused("body is too long"))
    error = failed(there, job(item=item))
    assert error.reason == "Linear refused it: body is too long" and error.permanent and not error.item_gone


# Attachments


def test_attachments_are_linked(there: LinearStandin) -> None:
    files = attachment("a b.txt", b"hello"), attachment("[x](y).pdf", b"%PDF", "application/pdf; x=\r\ny")
    there.integration().deliver(job(*files))
    text = there.texts()[0]
    assert text == f"It burns.\n\na footer\n\n[a b.txt]({ASSETS}0)\n\n[\\[x\\](y).pdf]({ASSETS}1)"
    assert [each["content"] for each in there.well.files] == [b"hello", b"%PDF"]
    assert [each["contentType"] for each in there.well.files] == ["text/plain", "application/octet-stream"]
    (put, _) = [each for each in there.receiver.requests if each.method == "PUT"]
    assert SECRET not in repr(put.headers) and put.headers["content-length"] == "5"


def test_images_stand_in_their_places(there: LinearStandin) -> None:
    files = inline("fire.png", "one two@x"), inline("other.png", "elsewhere@x")
    there.integration().deliver(job(*files, body="Look: ![a fire](cid:one%20two%40x) and ![none](cid:nowhere%40x)"))
    text = there.texts()[0]
    assert text.startswith(f"Look: ![a fire]({ASSETS}0) and none\n")
    assert text.endswith(f"[other.png]({ASSETS}1)") and f"[fire.png]({ASSETS}0)" not in text


def test_attachments_of_comments(there: LinearStandin) -> None:
    integration = there.integration()
    integration.deliver(job(attachment("late.txt"), item=integration.deliver(job())))
    assert there.comments() == [f"It burns.\n\na footer\n\n[late.txt]({ASSETS}0)"]


@pytest.mark.parametrize(("stored", "largest", "why"), [(413, 99, "answered 413"), (200, 3, "File size too large")])
def test_an_attachment_that_is_refused(there: LinearStandin, stored: int, largest: int, why: str) -> None:
    there.well.stored, there.well.largest = stored, largest
    steps: dict[str, str] = {}
    there.integration().deliver(job(attachment(), record=steps.__setitem__))
    assert why in there.texts()[0] and "Attachment not taken: a.txt (5 bytes)" in there.texts()[0]
    assert steps["attachment:0"].startswith("refused: ") and there.attached() == []


def test_a_failed_upload_makes_nothing_and_is_tried_again(there: LinearStandin) -> None:
    steps: dict[str, str] = {}
    delivery = job(attachment(), attachment("b.txt"), record=steps.__setitem__)
    there.receiver.answer = lambda request: CLOSE if request.path == "/storage/1" else there.well(request)
    error = failed(there, delivery)
    assert not error.unknown and not error.permanent and there.made() == 0
    there.reset()
    there.integration().deliver(dataclasses.replace(delivery, steps=steps))
    assert sorted(there.attached()) == ["a.txt", "b.txt"] and len(there.well.files) == 3


def test_an_upload_to_a_private_address_is_refused(tmp_path: Path) -> None:
    """The host of the storage is of Linear's naming, and meets the same guard."""
    fake = FakeLinear()
    with Receiver(fake) as receiver:
        linear = build("linear", tmp_path, url=f"{receiver.url}/graphql", api_key=SECRET, team=TEAM)
        linear.http.allow_private = False
        with pytest.raises(DeliveryError, match="is a private address"):
            linear.deliver(job(attachment()))


def test_a_large_attachment_is_never_in_memory_as_a_whole(there: LinearStandin, tmp_path: Path) -> None:
    size, got = 20_000_000, 0
    piece = bytes(1 << 20)

    def chunks() -> Iterator[bytes]:
        yield from (piece[: size - at] for at in range(0, size, len(piece)))

    def talk(client: socket.socket) -> None:
        nonlocal got
        got = len(read_request(client).partition(b"\r\n\r\n")[2])
        while got < size:
            got += len(client.recv(1 << 16))
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with raw_server(talk) as storage:
        file = {"assetUrl": f"{ASSETS}0", "uploadUrl": storage, "headers": []}
        there.well._upload = lambda *asked: {"fileUpload": {"success": True, "uploadFile": file}}
        info = msgspec.structs.replace(attachment("big.bin").info, size=size)
        linear = build("linear", tmp_path, timeout=20, **there.options())
        tracemalloc.start()
        try:
            linear.deliver(job(JobAttachment(info, chunks)))
            assert got == size and tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


# State


def test_states(there: LinearStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    integration.deliver(job(item=item, state="closed"))
    assert there.well.issues[0]["stateId"] == "s-shipped", "the first of the completed ones"
    integration.deliver(job(item=item, state="open"))
    assert there.well.issues[0]["stateId"] == "s-todo"
    assert len(sent(there, "Update")) == 2 and len(there.comments()) == 2


@pytest.mark.parametrize(("present", "wanted"), [("s-canceled", "closed"), ("s-doing", "open"), ("s-triage", "open")])
def test_an_issue_that_is_so_already_stays(there: LinearStandin, present: str, wanted: str) -> None:
    integration = there.integration(states={"closed": "Done", "open": "Todo"})
    item = integration.deliver(job())
    there.well.issues[0]["stateId"] = present
    integration.deliver(job(item=item, state=wanted))
    assert there.well.issues[0]["stateId"] == present and not sent(there, "Update")


def test_named_states(there: LinearStandin) -> None:
    integration = there.integration(states={"closed": "canceled", "open": "backlog"})
    item = integration.deliver(job())
    integration.deliver(job(item=item, state="closed"))
    assert there.well.issues[0]["stateId"] == "s-canceled"
    integration.deliver(job(item=item, state="open"))
    assert there.well.issues[0]["stateId"] == "s-backlog"


def test_a_state_that_is_not_there_does_not_lose_the_comment(there: LinearStandin) -> None:
    item = there.integration().deliver(job())
    steps: dict[str, str] = {}
    error = failed(there, job(item=item, state="closed", record=steps.__setitem__), states={"closed": "Closed"})
    assert error.permanent and "SUP-1 has no status 'Closed'; its team has Triage, Backlog, Todo, Doing" in error.reason
    assert steps["comment"] == "SUP-1" and len(there.comments()) == 1


def test_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="states: 'done' is neither closed nor open"):
        build("linear", tmp_path, api_key=SECRET, states={"done": "Done"})


# Exactly once


@pytest.mark.parametrize(
    "duplicate",
    [
        refused("Entity with that id exists already."),
        refused("conflict on insert", 400),
        Failed("Internal Server Error", "internal error", "INTERNAL_SERVER_ERROR"),
    ],
    ids=["200", "400", "internal"],
)
@pytest.mark.parametrize("part", ["item", "comment"])
def test_a_repeat_is_recognised_whatever_linear_says_of_it(there: LinearStandin, duplicate: Failed, part: str) -> None:
    integration = there.integration()
    there.well.duplicate = duplicate
    item = integration.deliver(job()) if part == "comment" else None
    delivery = job(item=item)
    first = integration.deliver(delivery)
    assert integration.deliver(dataclasses.replace(delivery, uncertain=True)) == first
    if duplicate.error["extensions"]["code"] != "INTERNAL_SERVER_ERROR":
        assert integration.deliver(delivery) == first
    assert (there.made(), len(there.comments())) == (1, 1 if part == "comment" else 0)


def test_an_earlier_attempt_that_opened_an_issue_of_its_own(there: LinearStandin) -> None:
    integration = there.integration()
    lost = job()
    own = integration.deliver(lost)
    item = integration.deliver(job())
    assert integration.deliver(dataclasses.replace(lost, item=item, uncertain=True)) == own
    assert there.made() == 2 and not there.comments()


def test_goes_on_after_the_issue(there: LinearStandin) -> None:
    integration = there.integration()
    first = integration.deliver(job())
    assert integration.deliver(job(steps={"item": "SUP-1"})) == first
    assert integration.deliver(job(steps={"item": "SUP-1", "url": "https://x"})).url == "https://x"
    assert there.made() == 1


# Errors


def test_a_key_that_is_not_accepted(there: LinearStandin) -> None:
    there.well.key = "another"
    error = failed(there)
    assert error.permanent and error.status == 401
    assert error.reason == "Linear does not accept the key: Authentication required"


def test_an_oauth_token(there: LinearStandin) -> None:
    there.well.key = f"Bearer {SECRET}"
    there.integration(oauth=True).deliver(job())
    assert there.made() == 1


def limits(**headers: str) -> Reply:
    error = Failed("Rate limit exceeded", "ratelimited", "RATELIMITED", 400).error
    return Reply.of({"errors": [error]}, 400, **{name.replace("_", "-"): value for name, value in headers.items()})


def test_rate_limits(there: LinearStandin) -> None:
    in_a_minute = str(int((time.time() + 60) * 1000))
    later = str(int((time.time() + 600) * 1000))
    used_up = {"X_RateLimit_Requests_Remaining": "0", "X_RateLimit_Requests_Reset": in_a_minute}
    left = {"X_RateLimit_Complexity_Remaining": "9", "X_RateLimit_Complexity_Reset": later}
    there.receiver.answer = limits(**used_up, **left)
    error = failed(there)
    assert error.limited and not error.permanent and not error.unknown
    assert error.retry_after is not None and 50 < error.retry_after <= 60
    there.receiver.answer = limits(Retry_After="17", **used_up)
    assert failed(there).retry_after == 17
    there.receiver.answer = limits(X_RateLimit_Requests_Remaining="0", X_RateLimit_Requests_Reset="soon")
    error = failed(there)
    assert error.limited and error.retry_after is None


def test_an_internal_error_leaves_the_result_unknown(there: LinearStandin) -> None:
    error = Failed("Lock timeout", "lock timeout", "LOCK_TIMEOUT").error
    there.receiver.answer = Reply.of({"errors": [error], "data": None})
    caught = failed(there)
    assert caught.unknown and not caught.permanent


@pytest.mark.parametrize("errors", [7, ["x"], [{"message": None, "extensions": 7}], {}])
def test_errors_of_no_known_shape(there: LinearStandin, errors: Any) -> None:
    for status in (200, 400):
        there.receiver.answer = Reply.of({"errors": errors}, status)
        assert failed(there).reason


# The online check


def test_check(there: LinearStandin) -> None:
    said = there.integration(team="SUP", project="Nothing", states={"closed": "Done", "open": "New"}).check()
    assert said == [
        "known as Postroom Bot (bot@example.com) in Example",
        "there is the team 'SUP'",
        "Linear has no project 'Nothing' that this key sees",
        "there is the status 'Done'",
        "Linear has no status 'New' that this key sees",
    ]


def test_check_with_a_wrong_key(there: LinearStandin) -> None:
    def answer(request: Request) -> Reply:
        there.well.key = "another"
        reply: Reply = there.well(request)
        return reply

    there.receiver.answer = answer
    with pytest.raises(DeliveryError, match="Linear does not accept the key"):
        there.integration().check()

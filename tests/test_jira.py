"""Kind `jira`, over HTTP to a stand-in with Jira's documented answers, as Cloud and as Data Center."""

from __future__ import annotations

import dataclasses
import datetime
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations._jira_shapes import TEXT, valid_label
from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import JobAttachment, Markup, Receipt
from postroom.mail.targets import escape
from postroom.markdown import adf
from postroom.testing import IntegrationContract, deliver_in_the_end
from tests.kinds import SECRET, attachment, build, job
from tests.servers import CLOSE, Receiver, Reply, Request, raw_server, read_request
from tests.standins.jira import EMAIL, FakeJira, JiraStandin, refusal


@pytest.fixture
def there(tmp_path: Path) -> Iterator[JiraStandin]:
    with Receiver() as receiver:
        yield JiraStandin(tmp_path, receiver)


class DataCenter(JiraStandin):
    def reset(self) -> None:
        if self.well is None:
            self.well = FakeJira(cloud=False)
            self.well.authorization = f"Bearer {SECRET}"
        super().reset()

    def options(self) -> dict[str, Any]:
        own = {"url": f"{self.receiver.url}/", "deployment": "data_center", "token": Secret(SECRET)}
        return {**own, "project": "SUP"}


class TestDataCenter(IntegrationContract):
    """What every kind owes; tests/test_integration_contract.py does the same with Cloud."""

    standin = DataCenter


@pytest.fixture
def house(tmp_path: Path) -> Iterator[DataCenter]:
    with Receiver() as receiver:
        yield DataCenter(tmp_path, receiver)


def failed(there: JiraStandin, delivery: Any = None, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        there.integration(**options).deliver(delivery or job())
    return caught.value


def fields_of(there: JiraStandin) -> dict[str, Any]:
    fields: dict[str, Any] = there.well.issues[-1]["fields"]
    return fields


def inline(name: str, content_id: str) -> JobAttachment:
    plain = attachment(name, b"png", "image/png")
    return JobAttachment(msgspec.structs.replace(plain.info, content_id=content_id, inline=True), plain.chunks)


def asked(there: JiraStandin, method: str, end: str) -> list[Request]:
    return [each for each in there.receiver.requests if each.method == method and each.path.endswith(end)]


# Issues and comments


def test_opens_an_issue(there: JiraStandin) -> None:
    delivery = job(body="**bold** from a template")
    receipt = there.integration().deliver(delivery)
    assert receipt == Receipt("SUP-1", f"{there.receiver.url}/browse/SUP-1")
    (request,) = asked(there, "POST", "/rest/api/3/issue")
    bold = [
        {"type": "text", "text": "bold", "marks": [{"type": "strong"}]},
        {"type": "text", "text": " from a template"},
    ]
    parts = [bold, *([{"type": "text", "text": each}] for each in ("a footer", delivery.marker))]
    assert request.json() == {
        "fields": {
            "project": {"key": "SUP"},
            "issuetype": {"name": "Task"},
            "summary": "Printer on fire",
            "description": {
                "type": "doc",
                "version": 1,
                "content": [{"type": "paragraph", "content": part} for part in parts],
            },
        }
    }


def test_opens_an_issue_in_a_data_center(house: DataCenter) -> None:
    delivery = job(body="**bold** from a template")
    assert house.integration().deliver(delivery) == Receipt("SUP-1", f"{house.receiver.url}/browse/SUP-1")
    (request,) = asked(house, "POST", "/rest/api/2/issue")
    text = request.json()["fields"]["description"]
    assert text == f"*bold* from a template\n\na footer\n\n{delivery.marker}"


def test_a_user_with_a_password_in_a_data_center(house: DataCenter) -> None:
    house.well.authorization = FakeJira().authorization
    house.integration(email=EMAIL).deliver(job())
    assert house.made() == 1


def test_an_address_for_people(there: JiraStandin) -> None:
    receipt = there.integration(web="https://example.atlassian.net/").deliver(job())
    assert receipt.url == "https://example.atlassian.net/browse/SUP-1"


@pytest.mark.parametrize("cloud", [True, False])
def test_comments(there: JiraStandin, house: DataCenter, cloud: bool) -> None:
    to = there if cloud else house
    integration = to.integration()
    item = integration.deliver(job())
    reply = job(item=item, body="And the *desk*.")
    assert integration.deliver(reply) == item
    assert to.comments()[0].strip().split("\n")[-1] == reply.marker
    assert to.well.comments[0]["issue"] == "SUP-1" and isinstance(to.well.comments[0]["body"], dict if cloud else str)


def test_internal_comments(there: JiraStandin) -> None:
    integration = there.integration(internal_comments=True)
    integration.deliver(job(item=integration.deliver(job())))
    assert there.well.comments[0]["properties"] == [{"key": "sd.public.comment", "value": {"internal": True}}]


def test_what_a_mail_says_does_not_act(there: JiraStandin, house: DataCenter) -> None:
    said = "[~admin] {code} !x.png! [a|http://x.example] *b* @jo"
    for to in (there, house):
        to.integration().deliver(job(body=escape(Markup.MARKDOWN, said)))
    document = fields_of(there)["description"]
    (node, *_) = document["content"][0]["content"]
    assert "[~admin] {code} !x.png!" in adf.words(document).replace("\u200b", "") and node["type"] == "text"
    assert not any(each in fields_of(house)["description"] for each in ("[~admin]", "{code}", "!x.png!", "[a|"))


def test_long_titles_and_texts(there: JiraStandin, house: DataCenter) -> None:
    for to, body in ((there, "word " * 20_000), (house, "[word] " * 9_000)):
        delivery = job(title="long " * 60, body=body if to is there else escape(Markup.MARKDOWN, body))
        to.integration().deliver(delivery)
        text = to.texts()[0]
        assert len(fields_of(to)["summary"]) <= 255 and text.startswith("long long")
        assert "too long" in text and delivery.message_url.rpartition("/")[2] in text and "a footer" in text
        assert text.strip().endswith(delivery.marker) and 8_000 < len(text) <= TEXT


def test_an_issue_that_is_gone(there: JiraStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    there.well.issues[0]["gone"] = True
    for delivery in (job(item=item), job(attachment(), item=item)):
        error = failed(there, delivery)
        assert error.item_gone and not error.permanent and not error.unknown
        assert error.reason == "issue SUP-1 is gone from Jira, or hidden from this account"
        assert integration.find(delivery) is None


# Fields


def test_fields(there: JiraStandin) -> None:
    delivery = job(
        project="10000", type="Bug", labels=["from mail", " a\tb ", "from mail"], priority="High",
        assignee="712020:aa-bb", components=["Printers", "17"], fix_versions=["2.0"], affects_versions=["1.0"],
        fields={"due date": "2026-12-24", "Customer": "ACME", "customfield_10003": "2.5", "Severity": "High",
                "systems": ["A", "B"], "Reviewer": "712020:cc-dd", "parent": "SUP-7",
                "Cascade": {"value": "x", "child": {"value": "y"}}},
    )  # fmt: skip
    there.integration().deliver(delivery)
    fields = fields_of(there)
    assert {name: value for name, value in fields.items() if name not in ("summary", "description")} == {
        "project": {"id": "10000"},
        "issuetype": {"name": "Bug"},
        "labels": ["from_mail", "a_b"],
        "priority": {"name": "High"},
        "assignee": {"id": "712020:aa-bb"},
        "components": [{"name": "Printers"}, {"id": "17"}],
        "fixVersions": [{"name": "2.0"}],
        "versions": [{"name": "1.0"}],
        "duedate": "2026-12-24",
        "customfield_10001": "ACME",
        "customfield_10003": 2.5,
        "customfield_10004": {"value": "High"},
        "customfield_10005": [{"value": "A"}, {"value": "B"}],
        "customfield_10006": {"accountId": "712020:cc-dd"},
        "customfield_10009": {"value": "x", "child": {"value": "y"}},
        "parent": {"key": "SUP-7"},
    }


def test_text_areas_are_documents_on_cloud_only(there: JiraStandin, house: DataCenter) -> None:
    for to in (there, house):
        to.integration().deliver(
            job(fields={"Steps": "*one*\ntwo", "Environment": "x", "summary": "mine", "Customer": "*"})
        )
    steps = fields_of(there)["customfield_10002"]
    assert steps["type"] == "doc" and adf.words(steps).strip() == "*one*\ntwo"
    assert fields_of(there)["environment"]["type"] == "doc" and fields_of(there)["customfield_10001"] == "*"
    assert fields_of(house)["customfield_10002"] == "\\*one\\*\ntwo" and fields_of(house)["environment"] == "x"
    assert fields_of(there)["summary"] == "Printer on fire"


def test_people_of_a_data_center(house: DataCenter) -> None:
    house.integration().deliver(job(assignee="jo", fields={"Reviewer": "al"}))
    assert fields_of(house)["assignee"] == {"name": "jo"}
    assert fields_of(house)["customfield_10006"] == {"name": "al"}


@pytest.mark.parametrize("given", ["jo@example.com", "Jo Ünal", "JO@EXAMPLE.COM"])
def test_people_by_address_and_name(there: JiraStandin, given: str) -> None:
    integration = there.integration()
    for _ in range(2):
        integration.deliver(job(assignee=given))
    assert fields_of(there)["assignee"] == {"id": "5b10ac8d82e05b22cc7d4ef5"}
    assert len(asked(there, "GET", "/user/search")) == 1


def test_an_exact_name_goes_before_others_that_begin_so(there: JiraStandin) -> None:
    there.integration().deliver(job(assignee="al"))
    assert fields_of(there)["assignee"] == {"id": "712020:aa-bb"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"assignee": "nobody@example.com"}, "Jira shows no people as 'nobody@example.com'"),
        ({"assignee": "example.com"}, "Jira shows 2 people as 'example.com'"),
        ({"fields": {"Nothing": "x"}}, "Jira has no field 'Nothing'"),
        ({"fields": {"Team": "x"}}, "several fields 'Team': customfield_10007, customfield_10008; name one of these"),
        ({"fields": {"Score": "much"}}, "fields: 'much' is no number"),
        ({"type": "Epic"}, "Jira refused the issue: issuetype: Specify a valid issue type"),
        ({"priority": "Never"}, "Jira refused the issue: Something else; priority: The priority selected is invalid."),
        ({"fields": {"customfield_99": "x"}}, "Field 'customfield_99' cannot be set"),
    ],
)
def test_fields_that_jira_does_not_take(there: JiraStandin, given: dict[str, Any], words: str) -> None:
    error = failed(there, job(**given))
    assert words in error.reason and error.permanent and there.made() == 0


def test_no_project(there: JiraStandin) -> None:
    assert failed(there, project=None).reason == "neither the rule nor the destination names a project"


def test_labels_are_made_valid() -> None:
    assert valid_label(" new\u00a0order\n2 ") == "new_order_2" and len(valid_label("x" * 300)) == 255


# Attachments


@pytest.mark.parametrize("cloud", [True, False])
def test_attachments(there: JiraStandin, house: DataCenter, cloud: bool) -> None:
    to = there if cloud else house
    integration = to.integration()
    steps: dict[str, str] = {}
    item = integration.deliver(job(attachment("ä b.txt"), attachment("a.bin", b"\0\r\n"), record=steps.__setitem__))
    assert to.attached() == ["ä b.txt", "a.bin"] and steps["attachment:SUP-1:0"] == "500"
    integration.deliver(job(attachment("late.txt"), item=item))
    assert to.attached()[2:] == ["late.txt"] and [each["size"] for each in to.well.attachments] == [5, 3, 5]


def test_images_stand_in_their_places_in_a_data_center(house: DataCenter) -> None:
    integration = house.integration()
    files = inline("image 1.png", "one two@x"), inline("other.png", "elsewhere@x")
    delivery = job(*files, body="Look: ![a fire](cid:one%20two%40x) and ![none](cid:nowhere%40x)")
    integration.deliver(delivery)
    name = f"{delivery.key[-8:]}-0-image-1.png"
    assert house.attached() == [name, "other.png"]
    assert f"!{name}" in house.texts()[0] and "none" in house.texts()[0] and "cid:" not in house.texts()[0]


def test_images_are_words_and_files_on_cloud(there: JiraStandin) -> None:
    there.integration().deliver(job(inline("fire.png", "1@x"), body="Look: ![a fire](cid:1%40x)"))
    assert there.texts()[0].startswith("Look: a fire") and there.attached() == ["fire.png"]


@pytest.mark.parametrize(("answer", "why"), [(413, "it is too large"), (403, "You do not have permission to create")])
def test_attachments_that_are_refused(there: JiraStandin, answer: int, why: str) -> None:
    integration = there.integration()
    there.well.largest, there.well.may_attach = 3, answer == 413
    delivery = job(attachment("big.txt"), attachment("s.txt", b"abc"))
    item = integration.deliver(delivery)
    (note,) = there.comments()
    assert f"Attachment not taken: big.txt (5 bytes): {why}" in note and delivery.marker in note
    assert there.attached() == (["s.txt"] if answer == 413 else [])
    reply = job(attachment("big.txt"), item=item)
    integration.deliver(reply)
    assert len(there.comments()) == 2 and why in there.comments()[1] and "It burns." in there.comments()[1]


def test_the_note_on_refused_attachments_is_made_once(there: JiraStandin) -> None:
    there.well.largest = 3

    def answer(request: Request) -> Reply:
        reply: Reply = there.well(request)
        lost = request.path.endswith("/comment") and request.method == "POST" and len(there.well.comments) == 1
        return CLOSE if lost else reply

    there.receiver.answer = answer
    deliver_in_the_end(there.integration(), job(attachment("big.txt")))
    assert len(there.comments()) == 1 and there.made() == 1


def test_files_of_earlier_mail_are_not_taken_for_ours(there: JiraStandin) -> None:
    """The same name and size hang there already; the answer to the upload is lost, once before and once after it."""
    integration = there.integration()
    item = integration.deliver(job(attachment()))
    for done in (False, True):
        lost = iter([True])

        def answer(request: Request, done: bool = done, lost: Iterator[bool] = lost) -> Reply:
            if request.path.endswith("/attachments") and next(lost, False):
                if done:
                    there.well(request)
                return CLOSE
            reply: Reply = there.well(request)
            return reply

        there.receiver.answer = answer
        deliver_in_the_end(integration, job(attachment(), item=item))
    assert there.attached() == ["a.txt"] * 3 and len(there.comments()) == 2


def test_an_attachment_whose_name_jira_changed_is_found_again(there: JiraStandin) -> None:
    def answer(request: Request) -> Reply:
        reply: Reply = there.well(request)
        if request.path.endswith("/attachments") and len(there.well.attachments) == 1:
            there.well.attachments[0]["filename"] = "u\u0308 (1).txt"
            return CLOSE
        return reply

    there.receiver.answer = answer
    deliver_in_the_end(there.integration(), job(attachment("ü_(1).txt")))
    assert len(there.attached()) == 1


def test_a_large_attachment_is_never_in_memory_as_a_whole(there: JiraStandin, tmp_path: Path) -> None:
    size, got = 20_000_000, 0
    piece = bytes(1 << 20)

    def chunks() -> Iterator[bytes]:
        yield from (piece[: size - at] for at in range(0, size, len(piece)))

    def talk(client: socket.socket) -> None:
        nonlocal got
        head, _, body = read_request(client).partition(b"\r\n\r\n")
        length = next(
            int(each.split(b":")[1]) for each in head.split(b"\r\n") if each.lower().startswith(b"content-le")
        )
        got = len(body)
        while got < length:
            got += len(client.recv(1 << 16))
        made = b'[{"id": "1"}]'
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(made) + made)

    with raw_server(talk) as url:
        jira = build("jira", tmp_path, timeout=20, **(there.options() | {"url": url}))
        info = msgspec.structs.replace(attachment("big.bin").info, size=size)
        tracemalloc.start()
        try:
            jira.deliver(job(JobAttachment(info, chunks), steps={"item": "SUP-1"}))
            assert got > size and tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


# State


def test_states(there: JiraStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    integration.deliver(job(item=item, state="closed"))
    assert there.well.issues[0]["status"] == "Won't Do", "the first transition that leads to such a category"
    integration.deliver(job(item=item, state="closed"))
    integration.deliver(job(item=item, state="open"))
    assert there.well.issues[0]["status"] == "To Do"
    assert len(asked(there, "POST", "/transitions")) == 2 and len(there.comments()) == 3


@pytest.mark.parametrize(
    ("name", "status"), [("finish", "Done"), ("Done", "Done"), ("31", "Done"), ("won't do", "Won't Do")]
)
def test_named_states(there: JiraStandin, name: str, status: str) -> None:
    integration = there.integration(states={"closed": name})
    integration.deliver(job(item=integration.deliver(job()), state="closed"))
    assert there.well.issues[0]["status"] == status


@pytest.mark.parametrize(("present", "wanted"), [("Done", "closed"), ("In Progress", "open")])
def test_an_issue_that_is_so_already_stays(there: JiraStandin, present: str, wanted: str) -> None:
    integration = there.integration(states={"closed": "Won't Do", "open": "Reopen"})
    item = integration.deliver(job())
    there.well.issues[0]["status"] = present
    integration.deliver(job(item=item, state=wanted))
    assert there.well.issues[0]["status"] == present and not asked(there, "POST", "/transitions")


def test_a_resolution_where_the_transition_asks_for_one(there: JiraStandin) -> None:
    there.well.needs = {"31": "resolution"}
    integration = there.integration(states={"closed": "Finish", "open": "Reopen"}, resolution="Fixed")
    item = integration.deliver(job())
    integration.deliver(job(item=item, state="closed"))
    integration.deliver(job(item=item, state="open"))
    sent = [each.json() for each in asked(there, "POST", "/transitions")]
    assert sent[0] == {"transition": {"id": "31"}, "fields": {"resolution": {"name": "Fixed"}}}
    assert sent[1] == {"transition": {"id": "41"}}


def test_a_transition_that_cannot_be_made_does_not_lose_the_comment(there: JiraStandin) -> None:
    item = there.integration().deliver(job())
    there.well.needs = {"31": "resolution"}
    told = "Start (to In Progress), Cancel (to Won't Do), Finish (to Done)"
    steps: dict[str, str] = {}
    delivery = job(item=item, state="closed", record=steps.__setitem__)
    error = failed(there, delivery, states={"closed": "Finish"})
    assert error.permanent and error.reason == (
        f"Jira refused the transition 'Finish' of SUP-1 (there are: {told}): resolution: Resolution is required."
    )
    error = failed(there, dataclasses.replace(delivery, steps=steps), states={"closed": "Close"})
    assert error.permanent and error.reason == f"SUP-1 has no transition 'Close' from To Do; there are: {told}"
    there.well.transitions = [each for each in there.well.transitions if each["id"] == "11"]
    error = failed(there, dataclasses.replace(delivery, steps=steps))
    assert error.reason == (
        "SUP-1 has no transition to a status that counts as closed from To Do; there are: Start (to In Progress)"
    )
    assert steps["comment"] == "SUP-1" and len(there.comments()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"states": {"done": "Done"}}, "states: 'done' is neither closed nor open"),
        ({"email": None}, "email: Jira Cloud needs the e-mail address"),
    ],
)
def test_settings(there: JiraStandin, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        there.integration(**options)


# What an attempt made whose answer was lost


@pytest.mark.parametrize("cloud", [True, False])
@pytest.mark.parametrize("marker", ["text", "label"])
def test_finds_what_was_made(there: JiraStandin, house: DataCenter, cloud: bool, marker: str) -> None:
    to = there if cloud else house
    integration = to.integration(marker=marker)
    delivery = job(labels=["mail"])
    first = integration.deliver(delivery)
    assert integration.find(delivery) == first and integration.find(job()) is None
    assert (delivery.marker in to.texts()[0]) == (marker == "text")
    assert fields_of(to)["labels"] == ["mail", *([delivery.marker] if marker == "label" else [])]
    reply = job(item=first)
    integration.deliver(reply)
    assert integration.find(reply) == first and integration.find(job(item=first)) is None


def test_the_oldest_issue_with_the_marker_is_ours(there: JiraStandin) -> None:
    integration = there.integration()
    delivery = job()
    first = integration.deliver(delivery)
    integration.deliver(job(body=f"They said {delivery.marker}"))
    there.well.issues.reverse()
    assert integration.find(delivery) == first


def test_what_the_search_finds_must_hold_the_marker(there: JiraStandin) -> None:
    """Jira's index knows words, not signs."""
    there.receiver.answer = lambda request: Reply.of(
        {"issues": [{"id": "1", "key": "SUP-9", "fields": {"description": {"type": "doc", "content": 7}, "labels": 3}}]}
    )
    assert there.integration().find(job()) is None


def test_an_earlier_attempt_that_opened_an_issue_of_its_own(there: JiraStandin) -> None:
    integration = there.integration()
    lost = job()
    own = integration.deliver(lost)
    item = integration.deliver(job())
    assert integration.find(dataclasses.replace(lost, item=item)) == own


def test_comments_in_pages(there: JiraStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    there.well.page = 2
    first = job(item=item)
    integration.deliver(first)
    for _ in range(4):
        integration.deliver(job(item=item))
    assert integration.find(first) == item and len(asked(there, "GET", "/comment")) == 3


def test_comments_too_long_for_one_answer(there: JiraStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    first = job(item=item)
    integration.deliver(first)
    for _ in range(40):
        there.well.comments.append({"id": "9", "issue": "SUP-1", "body": adf.convert("x" * 32_000)})
    assert integration.find(first) == item


# Errors


def test_credentials_that_are_not_accepted(there: JiraStandin) -> None:
    there.well.authorization = "another"
    error = failed(there)
    assert error.permanent and error.status == 401
    assert error.reason == (
        "Jira does not accept the credentials: Client must be authenticated to access this resource."
    )


def test_rate_limits(there: JiraStandin) -> None:
    reset = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    for form in ("%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%S.000Z"):
        there.receiver.answer = Reply(429, headers={"X-RateLimit-Reset": reset.strftime(form)})
        error = failed(there)
        assert error.limited and error.retry_after is not None and 230 < error.retry_after <= 300
    there.receiver.answer = Reply(429, headers={"X-RateLimit-Reset": "soon", "Retry-After": "9"})
    assert failed(there).retry_after == 9
    there.receiver.answer = Reply(429, headers={"X-RateLimit-Reset": "2020-01-01T00:00Z"})
    error = failed(there)
    assert error.limited and error.retry_after is None and not error.permanent


def test_a_busy_jira(there: JiraStandin) -> None:
    there.receiver.answer = Reply(503, headers={"Retry-After": "30"})
    error = failed(there)
    assert error.unknown and error.retry_after == 30


def test_looking_never_leaves_a_result_unknown(there: JiraStandin) -> None:
    there.receiver.answer = Reply(500)
    for delivery in (job(), job(item=Receipt("SUP-1"))):
        with pytest.raises(DeliveryError) as caught:
            there.integration().find(delivery)
        assert not caught.value.unknown and not caught.value.permanent


def test_a_conflict_is_tried_again(there: JiraStandin) -> None:
    item = there.integration().deliver(job())
    there.receiver.answer = lambda request: (
        refusal(409, "The issue is being changed") if request.method == "POST" else there.well(request)
    )
    error = failed(there, job(item=item, steps={"comment": "SUP-1"}, state="closed"))
    assert not error.permanent and not error.unknown


# The online check


def test_check(there: JiraStandin) -> None:
    assert there.integration().check() == [
        f"known as Postroom Bot ({EMAIL})",
        "may in SUP: browse projects, create issues, add comments, create attachments",
        "may not in SUP: transition issues",
    ]
    assert there.integration(type="Epic").check()[1] == "SUP has no issue type 'Epic'; it has Task, Bug"
    assert there.integration(project="X").check()[1] == "there is no project X, or this account may not see it"
    assert len(there.integration(project=None).check()) == 1
    assert all(each.method == "GET" for each in there.receiver.requests)


def test_check_of_a_data_center(house: DataCenter) -> None:
    assert house.integration().check()[0] == f"known as Postroom Bot ({EMAIL})"

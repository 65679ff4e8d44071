"""Kind `gitlab`, over HTTP to a stand-in with GitLab's documented answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations.gitlab import issue_body
from postroom.exchange import DeliveryError
from postroom.integration import JobAttachment, Receipt
from postroom.mail.targets import Markup, escape
from tests.kinds import attachment, build, job
from tests.servers import CLOSE, Receiver, Reply, Request
from tests.standins.gitlab import PROJECT, PROJECT_ID, GitlabStandin, said


@pytest.fixture
def there(tmp_path: Path) -> Iterator[GitlabStandin]:
    with Receiver() as receiver:
        yield GitlabStandin(tmp_path, receiver)


def failed(there: GitlabStandin, delivery: Any = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        there.integration().deliver(delivery or job())
    return caught.value


def inline(name: str, content_id: str) -> JobAttachment:
    made = attachment(name, b"\x89PNG", "image/png")
    info = msgspec.structs.replace(made.info, content_id=content_id, inline=True)
    return dataclasses.replace(made, info=info)


def test_opens_an_issue(there: GitlabStandin) -> None:
    delivery = job(body="**bold** from a template")
    receipt = there.integration().deliver(delivery)
    assert receipt == Receipt(f"{PROJECT}#1", f"{there.receiver.url}/{PROJECT}/-/issues/1")
    (issue,) = there.well.issues
    assert issue["sent"] == {
        "title": "Printer on fire",
        "description": f"**bold** from a template\n\na footer\n\n<!-- {delivery.marker} -->",
    }
    assert there.receiver.requests[0].path == "/api/v4/projects/support%2Fsub%2Finbox/issues"


def test_fields(there: GitlabStandin) -> None:
    there.integration().deliver(
        job(
            labels=["bug", "from mail", "bug"],
            assignee="@jo.unal",
            milestone="v1.0",
            type="incident",
            confidential=True,
            due_date="2027-03-31",
            fields={"weight": 3, "title": "of no effect"},
        )
    )
    sent = there.well.issues[0]["sent"]
    assert sent.pop("description").startswith("It burns.")
    assert sent == {
        "title": "Printer on fire",
        "labels": "bug,from mail",
        "assignee_ids": [5],
        "milestone_id": 900,
        "issue_type": "incident",
        "confidential": True,
        "due_date": "2027-03-31",
        "weight": 3,
    }


def test_the_body_of_a_request_holds_nothing_that_is_not_given() -> None:
    assert issue_body("t", "d", {"labels": [], "type": None}, None, None) == {"title": "t", "description": "d"}


def test_names_are_remembered(there: GitlabStandin) -> None:
    integration = there.integration()
    for _ in range(3):
        integration.deliver(job(assignee="Jo.Unal", milestone="v1.0"))
    integration.deliver(job(assignee="77"))
    asked = [request.path.rpartition("/")[2] for request in there.receiver.requests]
    assert (asked.count("users"), asked.count("milestones")) == (1, 1)
    assert there.well.issues[3]["sent"]["assignee_ids"] == [77]
    assert "knows no user 'nobody'" in failed(there, job(assignee="nobody")).reason
    assert "have a milestone 'v9'" in failed(there, job(milestone="v9")).reason


def test_a_name_that_cannot_be_looked_up_makes_nothing_unknown(there: GitlabStandin) -> None:
    there.receiver.answer = Reply(500)
    error = failed(there, job(assignee="jo.unal"))
    assert not error.unknown and not error.permanent


def test_a_project_by_its_id(there: GitlabStandin) -> None:
    integration = there.integration(project=str(PROJECT_ID))
    delivery = job(attachment())
    item = integration.deliver(delivery)
    assert item.reference == f"{PROJECT}#1" and item.url is not None and item.url.endswith(f"{PROJECT}/-/issues/1")
    assert integration.find(delivery) == item
    integration.deliver(job(item=Receipt(f"{PROJECT_ID}#1")))
    assert len(there.comments()) == 1


def test_a_rule_names_another_project(there: GitlabStandin) -> None:
    integration = there.integration(project=None)
    assert integration.deliver(job(project=PROJECT)).reference == f"{PROJECT}#1"
    for project, words in ((None, "neither the rule"), ("inbox", "is no project"), ("a/../b", "is no project")):
        with pytest.raises(DeliveryError, match=words) as caught:
            integration.deliver(job(project=project))
        assert caught.value.permanent


@pytest.mark.parametrize("project", ["inbox", "https://gitlab.com/a/b", "a/..", "a b/c"])
def test_refuses_settings(tmp_path: Path, project: str) -> None:
    with pytest.raises(ValueError, match="is no project; write group/project"):
        build("gitlab", tmp_path, token="x", project=project)


# Text and files


def test_what_a_mail_says_does_not_act(there: GitlabStandin) -> None:
    mail = "/close\n/label ~bug\n @jo.unal !1 #2 <!-- hidden\n/assign me"
    body = escape(Markup.MARKDOWN, mail)
    integration = there.integration()
    item = integration.deliver(job(attachment("\n/close.txt"), body=body))
    integration.deliver(job(attachment("/close"), body=body, item=item))
    assert there.well.acted == []
    for text in (*there.texts(), *there.comments()):
        assert text.count("<!--") == 1 and "@jo" not in text and "#2" not in text and "!1" not in text
    integration.deliver(job(body="/label ~mail\nA rule's own template may", item=item))
    assert there.well.acted == ["/label ~mail"]


def test_attachments_are_links_and_images_stand_in_place(there: GitlabStandin) -> None:
    delivery = job(
        attachment("Bericht [1] Ünal.txt", b"hello"),
        inline("fire.png", "fire@x"),
        inline("logo.png", "unused@x"),
        body="See ![the fire](cid:fire%40x) and ![gone](cid:gone%40x)",
    )
    there.integration().deliver(delivery)
    text = there.texts()[0]
    assert text.startswith("See ![the fire](/uploads/" + "0" * 31 + "2/fire.png) and gone\n\n")
    assert "[Bericht \\[1\\] Ünal.txt](/uploads/" in text and "_%C3%9Cnal" not in text
    assert sorted(there.attached()) == ["Bericht [1] Ünal.txt", "fire.png", "logo.png"]
    assert there.well.files[f"/uploads/{1:032x}/Bericht__1__Ünal.txt"] == ("Bericht [1] Ünal.txt", b"hello")
    assert text.endswith(f"<!-- {delivery.marker} -->")


def test_a_large_attachment_goes_in_chunks(there: GitlabStandin) -> None:
    there.well.largest = 1 << 30
    content = bytes(range(256)) * 20_000
    there.integration(url=there.receiver.url).deliver(job(attachment("big.bin", content)))
    assert next(iter(there.well.files.values())) == ("big.bin", content)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(413, b"<html>too large</html>"), "it is too large"),
        (said("400 Bad request - file type", 400), "400 Bad request - file type"),
        (said("403 Forbidden", 403), "403 Forbidden"),
    ],
)
def test_an_attachment_that_is_not_taken_is_told(there: GitlabStandin, reply: Reply, words: str) -> None:
    well = there.well
    there.receiver.answer = lambda request: reply if request.path.endswith("/uploads") else well(request)
    steps: dict[str, str] = {}
    there.integration().deliver(job(attachment(), record=steps.__setitem__))
    assert f"Attachment not taken: a.txt (5 bytes): {words}" in there.texts()[0].replace("\\", "")
    assert list(steps) == ["attachment:0", "item"]
    uploads = len(there.receiver.requests)
    there.integration().deliver(job(attachment(), steps={"attachment:0": steps["attachment:0"]}))
    assert len(there.receiver.requests) == uploads + 1


def test_files_are_uploaded_once_and_again_in_another_project(there: GitlabStandin) -> None:
    integration = there.integration()
    steps: dict[str, str] = {}
    integration.deliver(job(attachment(), record=steps.__setitem__))
    del steps["item"]
    integration.deliver(job(attachment(), steps=steps))
    assert len(there.well.files) == 1 and there.attached() == ["a.txt", "a.txt"]
    steps["attachment:0"] = steps["attachment:0"].replace(PROJECT, "other/project")
    integration.deliver(job(attachment(), steps=steps))
    assert len(there.well.files) == 2


@pytest.mark.parametrize("reply", [Reply(502), CLOSE, Reply.of({}), Reply.of({"url": "https://evil.example/x"}, 201)])
def test_an_upload_without_a_known_result_is_repeated(there: GitlabStandin, reply: Reply) -> None:
    well = there.well
    there.receiver.answer = lambda request: reply if request.path.endswith("/uploads") else well(request)
    error = failed(there, job(attachment()))
    assert not error.unknown and not error.permanent and there.made() == 0


def test_long_texts_are_cut_and_keep_their_marker(there: GitlabStandin) -> None:
    delivery = job(attachment(), body="<" * 400_000, title="t" * 300)
    integration = there.integration()
    receipt = integration.deliver(delivery)
    (issue,) = there.well.issues
    assert issue["title"] == "t" * 254 + "…" and issue["description"].startswith("t" * 300)
    assert len(issue["description"]) <= 150_000 and delivery.message_url in issue["description"]
    assert there.attached() == ["a.txt"]
    for _ in range(8):
        integration.deliver(job(body="ü" * 140_000))
    assert integration.find(delivery) == receipt


# Comments and states


def test_comments_and_states(there: GitlabStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    steps: dict[str, str] = {}
    reply = job(attachment(), item=Receipt(item.reference), state="closed", record=steps.__setitem__)
    assert integration.deliver(reply) == item and there.state() == "closed"
    assert list(steps) == ["attachment:0", "comment", "state"]
    puts = [request for request in there.receiver.requests if request.method == "PUT"]
    assert [put.json() for put in puts] == [{"state_event": "close"}]
    integration.deliver(job(item=item, state="closed"))
    assert len([request for request in there.receiver.requests if request.method == "PUT"]) == 1
    integration.deliver(job(item=item, state="open"))
    assert there.state() == "open" and len(there.comments()) == 3


@pytest.mark.parametrize(("how", "words"), [("deleted", "is gone"), ("locked", "is locked"), ("moved", "has moved")])
@pytest.mark.parametrize("files", [(), (attachment(),)], ids=["bare", "with a file"])
def test_an_issue_that_takes_no_comments_is_gone(
    there: GitlabStandin, how: str, words: str, files: tuple[JobAttachment, ...]
) -> None:
    item = there.integration().deliver(job())
    if how == "moved":
        there.well.moved = True
    else:
        getattr(there.well, how).add(1)
    assert there.integration().find(job(item=item, state="closed")) is None
    error = failed(there, job(*files, item=item))
    assert error.item_gone and not error.permanent and not error.unknown and words in error.reason


def test_a_project_that_is_gone_takes_its_issues_along(there: GitlabStandin) -> None:
    error = failed(there, job(attachment(), item=Receipt("old/project#3")))
    assert error.item_gone and not error.permanent


def test_a_comment_that_is_forbidden(there: GitlabStandin) -> None:
    item = there.integration().deliver(job())
    there.well.project["archived"] = True
    error = failed(there, job(item=item))
    assert error.permanent and not error.item_gone and "403 Forbidden" in error.reason


@pytest.mark.parametrize("reference", ["", None, "12", "a/b", "a/b#", "a/b#1/../2", "a/..#1", "a/b#²", "x y/z#1"])
def test_an_item_that_is_no_issue(there: GitlabStandin, reference: str | None) -> None:
    assert "is no issue of GitLab" in failed(there, job(item=Receipt(reference))).reason
    assert not there.receiver.requests


# After lost answers


def lost(well: Any) -> Any:
    def answer(request: Request) -> Reply:
        reply = well(request)
        return reply if request.method == "GET" else CLOSE

    return answer


def test_finds_what_was_made_though_others_quote_it_later(there: GitlabStandin) -> None:
    integration = there.integration()
    integration.deliver(job())
    delivery = job()
    there.receiver.answer = lost(there.well)
    with pytest.raises(DeliveryError) as caught:
        integration.deliver(delivery)
    assert caught.value.unknown
    there.reset()
    for _ in range(70):
        integration.deliver(job(body=f"They said: <!-- {delivery.marker} -->"))
    found = integration.find(delivery)
    assert found is not None and found.reference == f"{PROJECT}#2"
    assert found.url == f"{there.receiver.url}/{PROJECT}/-/issues/2"


def test_finds_a_comment_among_many(there: GitlabStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    reply = job(item=item)
    there.receiver.answer = lost(there.well)
    with pytest.raises(DeliveryError):
        integration.deliver(reply)
    there.reset()
    for _ in range(70):
        integration.deliver(job(item=item))
    assert integration.find(reply) == item
    assert integration.find(job(item=item)) is None


def test_finds_the_issue_of_an_earlier_attempt_though_the_conversation_has_another(there: GitlabStandin) -> None:
    integration = there.integration()
    delivery = job()
    made = integration.deliver(delivery)
    other = integration.deliver(job())
    assert integration.find(job(key=delivery.key, item=other)) == made


def test_only_issues_since_the_mail_are_read(there: GitlabStandin) -> None:
    integration = there.integration()
    delivery = job()
    integration.deliver(delivery)
    there.well.issues[0]["created_at"] = "2026-11-18T10:06:39.000Z"  # an hour and a second before the mail
    assert integration.find(delivery) is None
    there.well.issues[0]["created_at"] = "2026-11-18T10:06:41.000Z"
    assert integration.find(delivery) is not None


# Errors


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (Reply(429, b"Retry later\n", {"Retry-After": "17", "RateLimit-Remaining": "0"}), 17),
        (said({"error": "This endpoint has been requested too many times. Try again later."}, 429), 60),
    ],
)
def test_limits(there: GitlabStandin, reply: Reply, wait: float) -> None:
    there.receiver.answer = reply
    error = failed(there)
    assert (error.retry_after, error.limited, error.permanent, error.unknown) == (wait, True, False, False)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply.of({"error": "title is missing"}, 400), "GitLab refused it: title is missing"),
        (said({"title": ["is too long", "is odd"], "base": ["no"]}, 400),
         "GitLab refused it: title is too long, is odd; no"),
        (said({"error": "It was recognized as spam"}, 400), "GitLab refused it: It was recognized as spam"),
        (said(["one", "two"], 422), "GitLab refused it: one, two"),
        (said("401 Unauthorized", 401), "GitLab does not take the token: 401 Unauthorized"),
        (Reply.of({"error": "insufficient_scope", "error_description": "needs higher privileges"}, 403),
         "GitLab answered 403: needs higher privileges"),
        (Reply.of({"needs_captcha_response": True}, 409), "GitLab takes it for spam and asks for a captcha"),
        (said("404 Project Not Found", 404), f"GitLab knows no project {PROJECT} with issues for this token"),
        (said("405 Method Not Allowed", 405), "the project has moved: write its new path into the settings"),
    ],
)  # fmt: skip
def test_refusals_are_told_in_words(there: GitlabStandin, reply: Reply, reason: str) -> None:
    there.receiver.answer = reply
    error = failed(there)
    assert error.permanent and not error.unknown and error.reason == reason


def test_a_conflict_is_looked_into(there: GitlabStandin) -> None:
    there.receiver.answer = said("409 Conflict: Resource lock", 409)
    error = failed(there)
    assert error.unknown and not error.permanent


# The online check


def test_check(there: GitlabStandin) -> None:
    integration = there.integration()
    assert integration.check() == [
        "known as Postroom Bot (@postroom)",
        "the token ends on 2027-05-01",
        f"may open issues in {PROJECT} as Developer",
    ]
    there.well.scopes = ["read_api"]
    there.well.project["permissions"] = {"project_access": None, "group_access": None}
    told = integration.check()
    assert "lacks the scope `api`" in told[1] and "is no member" in told[3]
    there.well.scopes = None
    there.well.project["issues_access_level"] = "disabled"
    assert integration.check() == ["known as Postroom Bot (@postroom)", f"issues are disabled in {PROJECT}"]
    there.well.project["archived"] = True
    assert integration.check()[-1] == f"{PROJECT} is archived: nothing can be added"
    assert "each rule must name" in there.integration(project=None).check()[-1]


def test_check_that_fails(there: GitlabStandin) -> None:
    with pytest.raises(DeliveryError, match="404 Project Not Found"):
        there.integration(project="a/b").check()
    there.receiver.answer = Reply.of({"id": 3})
    with pytest.raises(DeliveryError, match="no GitLab"):
        there.integration().check()

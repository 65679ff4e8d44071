"""Kind `github`, over HTTP to a stand-in with GitHub's documented answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.github import issue_body, web_address
from postroom.exchange import DeliveryError
from postroom.integration import Receipt
from postroom.mail.targets import Markup, escape
from tests.kinds import attachment, build, job
from tests.servers import CLOSE, Receiver, Reply, Request
from tests.standins.github import REPOSITORY, FakeGithub, GithubStandin, message


@pytest.fixture
def there(tmp_path: Path) -> Iterator[GithubStandin]:
    with Receiver() as receiver:
        yield GithubStandin(tmp_path, receiver)


def failed(there: GithubStandin, delivery: Any = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        there.integration().deliver(delivery or job())
    return caught.value


def test_opens_an_issue(there: GithubStandin) -> None:
    delivery = job(attachment("a b.txt", b"hello"), body="**bold** from a template")
    receipt = there.integration().deliver(delivery)
    assert receipt == Receipt(f"{REPOSITORY}#1", f"{there.receiver.url}/{REPOSITORY}/issues/1")
    (issue,) = there.well.issues
    assert issue["title"] == "Printer on fire"
    assert issue["sent"] == {"title": issue["title"], "body": issue["body"]}
    text = issue["body"]
    assert text.startswith("**bold** from a template\n\nAttachment: a b.txt (5 bytes), on the page of this mail: ")
    assert f"<{delivery.message_url}>" in text
    assert text.endswith(f"a footer\n\n<!-- {delivery.marker} -->")


@pytest.mark.parametrize(
    ("api", "web"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://github.example.com/api/v3", "https://github.example.com"),
        ("https://api.octocorp.ghe.com", "https://octocorp.ghe.com"),
    ],
)
def test_web_address(api: str, web: str) -> None:
    assert web_address(api) == web


def test_fields(there: GithubStandin) -> None:
    there.integration().deliver(
        job(
            labels=["bug", "mail", "bug"],
            assignees=["octocat", "@hubot"],
            assignee="octocat",
            milestone="next ONE",
            type="Bug",
            fields={"issue_field_values": [{"field_id": 1, "value": "high"}], "body": "of no effect"},
        )
    )
    sent = there.well.issues[0]["sent"]
    assert sent.pop("body").startswith("It burns.")
    assert sent == {
        "title": "Printer on fire",
        "labels": ["bug", "mail"],
        "assignees": ["octocat", "hubot"],
        "milestone": 7,
        "type": "Bug",
        "issue_field_values": [{"field_id": 1, "value": "high"}],
    }


def test_the_body_of_a_request_holds_nothing_that_is_not_given() -> None:
    assert issue_body("t", "b", {"labels": [], "assignees": None, "type": None}, None) == {"title": "t", "body": "b"}


def test_a_rule_names_another_repository(there: GithubStandin) -> None:
    integration = there.integration(repository=None)
    assert integration.deliver(job(repository=REPOSITORY)).reference == f"{REPOSITORY}#1"
    for repository, words in ((None, "neither the rule"), ("support", "is no repository"), ("a/../b", "no repository")):
        with pytest.raises(DeliveryError, match=words) as caught:
            integration.deliver(job(repository=repository))
        assert caught.value.permanent


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repository": "support"}, "write owner/name"),
        ({"repository": "https://github.com/a/b"}, "write owner/name"),
        ({"repository": "a/.."}, "write owner/name"),
        ({"url": "https://github.com"}, "api.github.com"),
    ],
)
def test_refuses_settings(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build("github", tmp_path, **({"token": "x", "repository": REPOSITORY} | options))


def test_milestones_are_remembered_until_one_is_not_known(there: GithubStandin) -> None:
    integration = there.integration()
    for _ in range(3):
        integration.deliver(job(milestone="v1.0"))
    asked = [request.path for request in there.receiver.requests]
    assert asked.count(f"/repos/{REPOSITORY}/milestones") == 1
    there.well.milestones.append({"number": 8, "title": "v2.0"})
    integration.deliver(job(milestone="v2.0"))
    integration.deliver(job(milestone="1"))
    assert [issue["milestone"]["number"] for issue in there.well.issues] == [1, 1, 1, 8, 1]
    error = failed(there, job(milestone="v3"))
    assert error.permanent and "no milestone 'v3'; it has next one, v1.0, v2.0" in error.reason


def test_a_milestone_that_cannot_be_looked_up_makes_nothing_unknown(there: GithubStandin) -> None:
    well = there.well
    there.receiver.answer = lambda request: Reply(500) if "milestones" in request.path else well(request)
    error = failed(there, job(milestone="v1.0"))
    assert not error.unknown and not error.permanent and not well.issues


def test_long_texts_are_cut_and_keep_their_marker(there: GithubStandin) -> None:
    delivery = job(body=escape(Markup.MARKDOWN, "wörd_wörd 🔥 " * 8_000), title="t" * 300)
    integration = there.integration()
    receipt = integration.deliver(delivery)
    (issue,) = there.well.issues
    assert issue["title"] == "t" * 255 + "…" and issue["body"].startswith("t" * 300)
    assert 60_000 < len(issue["body"]) <= 65_536
    assert delivery.message_url in issue["body"] and issue["body"].endswith(f"<!-- {delivery.marker} -->")
    assert integration.find(delivery) == receipt
    reply = job(body="x" * 70_000, item=receipt)
    integration.deliver(reply)
    assert integration.find(reply) == receipt and len(there.comments()[0]) <= 65_536


def test_images_of_the_mail_are_told_by_their_words(there: GithubStandin) -> None:
    there.integration().deliver(job(body="See ![the fire](cid:fire%40x) here"))
    assert there.texts()[0].startswith("See the fire here")


def test_names_of_attachments_do_not_act(there: GithubStandin) -> None:
    there.integration().deliver(job(attachment("<!-- @octocat #1 [x](y).txt", b"")))
    assert "@octocat" not in there.texts()[0] and "\\[x\\](y).txt" in there.texts()[0]
    assert "<!-- @" not in there.texts()[0] and there.texts()[0].count("<!--") == 1


def test_comments_and_states(there: GithubStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    steps: dict[str, str] = {}
    reply = job(attachment(), item=Receipt(item.reference), state="closed", record=steps.__setitem__)
    assert integration.deliver(reply) == item
    assert steps == {"comment": f"{REPOSITORY}#1", "state": "closed"}
    issue = there.well.issues[0]
    assert (issue["state"], issue["state_reason"]) == ("closed", "completed")
    assert "Attachment: a.txt" in there.comments()[0]
    integration.deliver(job(key=reply.key, item=item, state="closed", steps=steps))
    assert len(there.comments()) == 1
    integration.deliver(job(item=item, state="open"))
    assert (issue["state"], issue["state_reason"]) == ("open", "reopened")


def test_a_state_that_could_not_be_set_is_set_later(there: GithubStandin) -> None:
    integration, well = there.integration(), there.well
    item = integration.deliver(job())
    steps: dict[str, str] = {}
    reply = job(item=item, state="closed", record=steps.__setitem__)
    there.receiver.answer = lambda request: Reply(502) if request.method == "PATCH" else well(request)
    with pytest.raises(DeliveryError) as caught:
        integration.deliver(reply)
    assert caught.value.unknown and list(steps) == ["comment"]
    there.reset()
    integration.deliver(job(key=reply.key, item=item, state="closed", steps=steps))
    assert there.state() == "closed" and len(there.comments()) == 1


# After lost answers


def lost(well: FakeGithub) -> Any:
    def answer(request: Request) -> Reply:
        reply = well(request)
        return reply if request.method == "GET" else CLOSE

    return answer


def test_finds_what_was_made_though_others_quote_it_later(there: GithubStandin) -> None:
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
    assert found is not None and found.reference == f"{REPOSITORY}#2"
    there.well.issues[1]["pull_request"] = {}
    assert integration.find(delivery) != found


def test_finds_a_closed_issue_and_nothing_that_only_names_the_marker(there: GithubStandin) -> None:
    integration = there.integration()
    delivery = job()
    integration.deliver(job(body=f"A quote of {delivery.marker}"))
    assert integration.find(delivery) is None
    receipt = integration.deliver(delivery)
    there.well.issues[-1]["state"] = "closed"
    assert integration.find(delivery) == receipt


def test_finds_a_comment_among_many(there: GithubStandin) -> None:
    integration = there.integration()
    item = integration.deliver(job())
    for _ in range(70):
        integration.deliver(job(item=item))
    reply = job(item=item)
    there.receiver.answer = lost(there.well)
    with pytest.raises(DeliveryError):
        integration.deliver(reply)
    there.reset()
    assert integration.find(reply) == item
    assert integration.find(job(item=item)) is None


def test_finds_the_issue_of_an_earlier_attempt_though_the_conversation_has_another(there: GithubStandin) -> None:
    integration = there.integration()
    delivery = job()
    made = integration.deliver(delivery)
    other = integration.deliver(job())
    assert integration.find(job(key=delivery.key, item=other)) == made


def test_pages_of_long_issues_are_read_in_halves(there: GithubStandin) -> None:
    integration = there.integration()
    delivery = job(body="ü" * 60_000)
    receipt = integration.deliver(delivery)
    for _ in range(20):
        integration.deliver(job(body="ü" * 60_000))
    assert integration.find(delivery) == receipt


def test_only_issues_since_the_mail_are_read(there: GithubStandin) -> None:
    integration = there.integration()
    delivery = job()
    integration.deliver(delivery)
    there.well.issues[0]["updated_at"] = "2026-11-18T10:06:39Z"  # an hour and a second before the mail
    assert integration.find(delivery) is None
    there.well.issues[0]["updated_at"] = "2026-11-18T10:06:41Z"
    assert integration.find(delivery) is not None


# Errors


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (message("You have exceeded a secondary rate limit.", 403, **{"Retry-After": "30"}), 30),
        (message("You have exceeded a secondary rate limit.", 403), 60),
        (message("You have triggered an abuse detection mechanism.", 403), 60),
        (message("API rate limit exceeded for user ID 1.", 429), 60),
        (message("Validation Failed: was submitted too quickly", 422), 60),
    ],
)
def test_limits(there: GithubStandin, reply: Reply, wait: float) -> None:
    there.receiver.answer = reply
    error = failed(there)
    assert (error.retry_after, error.limited, error.permanent, error.unknown) == (wait, True, False, False)


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize(("ahead", "least", "most"), [(900, 890, 900), (-10, 1, 1), (10**7, 86_400, 86_400)])
def test_the_limit_of_an_hour_ends_at_its_reset(
    there: GithubStandin, status: int, ahead: int, least: float, most: float
) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + ahead)}
    there.receiver.answer = message("API rate limit exceeded for user ID 1.", status, **headers)
    error = failed(there)
    assert error.limited and error.retry_after is not None and least <= error.retry_after <= most


def test_refusals_are_told_in_words(there: GithubStandin) -> None:
    error = failed(there, job(assignees=["nobody"]))
    assert error.permanent and error.status == 422
    assert error.reason == "GitHub refused it: Validation Failed; assignees is invalid (nobody)"
    there.receiver.answer = Reply.of({"message": "Validation Failed", "errors": ["too bad", {"resource": "Issue",
        "code": "missing_field", "field": "title"}, {"code": "custom", "message": "body is odd"}]}, 422)  # fmt: skip
    assert failed(there).reason == "GitHub refused it: Validation Failed; too bad; title is missing; body is odd"


def test_missing_rights_and_repositories(there: GithubStandin) -> None:
    error = failed(there, job(repository="example/secret"))
    assert error.permanent and not error.item_gone and "no repository example/secret, or the token" in error.reason
    there.well.repository["has_issues"] = False
    assert "issues are disabled in example/support" in failed(there).reason
    there.well.repository["archived"] = True
    assert "archived so is read-only" in failed(there).reason
    there.well.moved = True
    error = failed(there)
    assert error.permanent and "the repository has moved" in error.reason and error.status == 307


@pytest.mark.parametrize(("how", "words"), [("deleted", "is gone"), ("locked", "is locked"), ("moved", "has moved")])
def test_an_issue_that_takes_no_comments_is_gone(there: GithubStandin, how: str, words: str) -> None:
    item = there.integration().deliver(job())
    if how == "moved":
        there.well.moved = True
    else:
        getattr(there.well, how).add(1)
    reply = job(item=item, state="closed")
    assert there.integration().find(reply) is None
    error = failed(there, reply)
    assert error.item_gone and not error.permanent and not error.unknown and words in error.reason


def test_a_repository_without_the_issue(there: GithubStandin) -> None:
    assert failed(there, job(item=Receipt(f"{REPOSITORY}#99"))).item_gone
    there.receiver.answer = message("You have exceeded a secondary rate limit, lock", 403)
    assert failed(there, job(item=Receipt(f"{REPOSITORY}#99"))).limited
    there.receiver.answer = message("Resource not accessible by personal access token", 403)
    error = failed(there, job(item=Receipt(f"{REPOSITORY}#99")))
    assert error.permanent and not error.item_gone and "not accessible by personal access token" in error.reason


@pytest.mark.parametrize("reference", ["", None, "12", "a/b", "a/b#", "a/b#1/../2", "a/..#1", "a/b#²", "x y/z#1"])
def test_an_item_that_is_no_issue(there: GithubStandin, reference: str | None) -> None:
    assert "is no issue of GitHub" in failed(there, job(item=Receipt(reference))).reason
    assert not there.receiver.requests


# The online check


def test_check(there: GithubStandin) -> None:
    integration = there.integration()
    assert integration.check() == [
        "known as postroom-bot (Postroom Bot)",
        "sees example/support, where issues can be opened",
    ]
    there.well.permissions = {"pull": True, "push": False, "triage": False}
    there.well.scopes = "gist, read:org"
    there.well.user = {"login": "postroom-bot", "name": None}
    said = integration.check()
    assert said[0] == "known as postroom-bot" and "neither the scope `repo`" in said[1] and "in silence" in said[3]
    there.well.repository["has_issues"] = False
    assert integration.check()[-1] == "issues are disabled in example/support"
    there.well.repository["archived"] = True
    assert "archived" in integration.check()[-1]
    assert "each rule must name" in there.integration(repository=None).check()[-1]


def test_check_with_the_token_of_an_app(there: GithubStandin) -> None:
    there.well.user = None
    assert there.integration().check()[0] == "known as an installation of a GitHub App"


def test_check_that_fails(there: GithubStandin) -> None:
    with pytest.raises(DeliveryError, match="404"):
        there.integration(repository="example/other").check()
    there.receiver.answer = message("Bad credentials", 401)
    with pytest.raises(DeliveryError, match="does not take the token: Bad credentials"):
        there.integration().check()
    there.receiver.answer = message("API rate limit exceeded", 403)
    with pytest.raises(DeliveryError) as caught:
        there.integration().check()
    assert caught.value.limited

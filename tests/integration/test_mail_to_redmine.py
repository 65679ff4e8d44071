"""The whole way: a document becomes an issue in a real Redmine, its reply a comment; the pages link to it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import requests

from tests.instance import Instance, document, message_id_of
from tests.integration.redmine_server import RedmineServer

RULES = """\
rules:
  - name: Support
    when: {recipient.user: support}
    then: [tracker: {title: "{{ subject }}", tracker: Bug}]
"""


def test_a_mail_becomes_an_issue_and_its_reply_a_comment(
    start_instance: Callable[..., Instance], redmine: RedmineServer
) -> None:
    instance = start_instance(rules=RULES, destinations={"tracker": _tracker(redmine)})
    content = bytes(range(256)) * 300
    first = document(
        "Printer on fire äöü 🔥",
        text="It burns.\r\n",
        attachments=[{"Name": "fire.bin", "ContentType": "application/octet-stream", "ContentId": None,
                      "Content": base64.b64encode(content).decode(), "CustomHeaders": None}],
    )  # fmt: skip
    answer = instance.post(first)
    assert answer.status == 200
    (made,) = instance.wait_for_states(answer.message, "delivered", seconds=30)

    issue = redmine.issue(made["reference"])
    assert issue["subject"].startswith("Printer on fire äöü")
    assert "It burns." in issue["description"]
    (attachment,) = issue["attachments"]
    assert attachment["filename"] == "fire.bin"
    fetched = requests.get(attachment["content_url"], headers={"X-Redmine-API-Key": redmine.key}, timeout=20)
    assert fetched.content == content

    reply = document("Re: Printer on fire", text="Now it only smokes.", in_reply_to=message_id_of(first))
    second = instance.post(reply).message
    (commented,) = instance.wait_for_states(second, "delivered", seconds=30)
    assert commented["reference"] == made["reference"]
    notes = [journal["notes"] for journal in redmine.issue(made["reference"])["journals"]]
    assert len(notes) == 1
    assert "Now it only smokes." in notes[0]

    pages = requests.Session()
    base = f"http://127.0.0.1:{instance.port}"
    form = pages.get(f"{base}/login", timeout=20).text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)
    assert token is not None
    login = {"name": "admin", "password": instance.password(), "csrf_token": token[1]}
    assert pages.post(f"{base}/login", data=login, timeout=20).ok
    for message in (answer.message, second):
        page = pages.get(f"{base}/messages/{message}", timeout=20)
        assert page.status_code == 200
        assert f'href="{redmine.url}/issues/{made["reference"]}' in page.text


def test_a_reply_to_an_issue_that_was_deleted_opens_another(
    start_instance: Callable[..., Instance], redmine: RedmineServer
) -> None:
    instance = start_instance(rules=RULES, destinations={"tracker": _tracker(redmine)})
    first = document("Paper jam")
    (made,) = instance.wait_for_states(instance.post(first).message, "delivered", seconds=30)
    assert redmine.call("DELETE", f"/issues/{made['reference']}.json").ok
    reply = instance.post(document("Re: Paper jam", text="Still.", in_reply_to=message_id_of(first))).message
    (opened,) = instance.wait_for_states(reply, "delivered", seconds=30)
    # Not by its number: Redmine on SQLite gives the number of the last issue again.
    assert opened["attempts"] == 2
    assert "Still." in redmine.issue(opened["reference"])["description"]


def _tracker(redmine: RedmineServer) -> dict[str, object]:
    return {
        "kind": "redmine",
        "url": redmine.url,
        "api_key": redmine.key,
        "project": redmine.project,
        "allow_private": True,
    }

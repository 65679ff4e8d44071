"""The whole way: a mail with an image becomes a thread in a real Misago, later mail replies to it and closes it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from tests.instance import Instance, document, message_id_of
from tests.integration.misago_server import MisagoServer
from tests.integration.test_real_misago import picture

RULES = """\
rules:
  - name: Over
    when: {subject: {contains: solved}}
    stop: true
    then: [update: {destination: forum, state: closed, body: "{{ reply_markdown }}"}]
  - name: Questions
    when: {recipient.user: support}
    then: [forum: {title: "{{ subject }}", category: Support/Printers, body: "{{ markdown }}"}]
"""


def test_a_mail_becomes_a_thread(start_instance: Callable[..., Instance], misago: MisagoServer) -> None:
    destination = {
        "kind": "misago", "url": misago.url, "username": "admin", "password": misago.passwords["admin"],
        "allow_private": True,
    }  # fmt: skip
    instance = start_instance(rules=RULES, destinations={"forum": destination})
    image = base64.b64encode(picture().read()).decode()
    first = document("How does one put it out?", text=None)
    first["Message"]["HtmlBody"] = '<p>It <b>burns</b>:</p><p><img src="cid:flame@x" alt="the flame"></p><p>@admin</p>'
    first["Message"]["EmbeddedMedia"] = [
        {"Name": "flame.png", "ContentType": "image/png", "ContentId": "<flame@x>", "Content": image}
    ]
    (made,) = instance.wait_for_states(instance.post(first).message, "delivered", seconds=30)
    thread = misago.thread(made["reference"])
    (post,) = thread["posts"]
    (file,) = post["attachments"]
    assert thread["category"]["name"] == "Printers" and file["filename"] == "flame.png"
    assert "<strong>burns</strong>" in post["content"]
    assert f'<img alt="the flame" src="{file["url"]["index"]}" />' in post["content"]
    assert "/u/admin/" not in post["content"]

    tie = message_id_of(first)
    for subject, text in (("Re: How", "Nobody knows."), ("Re: solved", "A bucket of water did it.")):
        reply = instance.post(document(subject, text=text, in_reply_to=tie)).message
        (commented,) = instance.wait_for_states(reply, "delivered", seconds=30)
        assert commented["reference"] == made["reference"]
    thread = misago.thread(made["reference"])
    said = [re.sub("<[^>]*>", "", post["content"]) for post in thread["posts"]]
    assert len(said) == 3 and said[1].startswith("Nobody knows.") and said[2].startswith("A bucket of water did it.")
    assert thread["is_closed"]

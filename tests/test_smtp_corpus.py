"""Every mail of the test corpus can be sent on: what a mail server gets is well-formed, and says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from postroom.plan import Content
from postroom.store.content import unpack_content
from tests.corpus import needs_socketlabs
from tests.instance import Instance
from tests.smtp_sink import Handed, Sink
from tests.test_corpus import documents

pytestmark = [
    needs_socketlabs,
    pytest.mark.timeout(300),
]
RULES = """\
rules:
  - name: Everything
    when: always
    then:
      - post: {mode: forward, to: team@example.net}
      - post: {mode: resend, to: team@example.net}
"""


def test_every_mail_can_be_sent_on(tmp_path: Path) -> None:
    with Sink() as sink:
        post = {"kind": "smtp", "host": sink.host, "port": sink.port, "security": "none", "allow_private": True}
        post["from"] = "postroom@example.com"  # some were sent to nobody
        instance = Instance(tmp_path, rules=RULES, destinations={"post": {**post, "concurrency": 8}})
        try:
            instance.start()
            for name, document in documents():
                assert instance.post(document).status == 200, name
            instance.wait_until_quiet(200)
            rows = instance.deliveries()
            ended = {(row["state"], row["reason"]) for row in rows if row["state"] != "delivered"}
            assert all(state == "suppressed" for state, _ in ended), ended
            handed = {str(each.mail["Message-ID"]): each for each in sink.handed}
            delivered = [row for row in rows if row["state"] == "delivered"]
            assert len(handed) == len(sink.handed) == len(delivered) > len(rows) * 0.9
            for row in delivered:
                message, _ = instance.stored(row["message_id"])
                content = unpack_content(row["content"])
                _judge(handed[row["reference"]], content, message.subject or "", message.text or "")
        finally:
            instance.kill()


def _judge(handed: Handed, content: Content, subject: str, text: str) -> None:
    data = handed.content
    assert data.count(b"\n") == data.count(b"\r") == data.count(b"\r\n")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert b"\0" not in data and (data.isascii() or not handed.sender.isascii())
    mail = handed.mail
    assert not mail.defects
    body = mail.get_body(("plain",))
    assert body is not None
    resent = content.fields["mode"] == "resend"
    assert _words(str(body.get_content())) == _words(text if resent else content.body)
    assert _words(str(mail["Subject"])) == _words(subject if resent else content.title)
    for part in mail.walk():
        if part.is_multipart() and part.get_content_maintype() == "multipart":
            assert part.get_payload(), "its boundary was found"


def _words(text: str) -> list[str]:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).split()

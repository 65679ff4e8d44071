"""The whole way: documents become mail at a real mail server, and what comes back is recognised."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from email.utils import parseaddr
from typing import Any

import pytest

from tests.instance import Instance, document
from tests.smtp_sink import Handed, Sink

Start = Callable[..., Instance]
TEAM = "team@example.net"
FORWARD = f"""\
rules:
  - name: Everything
    when: always
    then: [post: {{mode: forward, to: {TEAM}, body: "For you."}}]
"""
ANSWER = """\
rules:
  - name: Everything
    when: always
    then: [post: {mode: reply, body: "We have it.", title: "We have it: {{ subject }}"}]
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


def destination(sink: Sink, **options: Any) -> dict[str, Any]:
    return {
        "post": {
            "kind": "smtp", "host": sink.host, "port": sink.port, "security": "none", "allow_private": True,
            "retry": ["0s", "100ms", "100ms"], **options,
        }
    }  # fmt: skip


def come(handed: Handed, recipient: str | None = None) -> dict[str, Any]:
    """What a provider posts when the mail comes to somebody."""
    mail = handed.mail
    body = mail.get_body(("plain",))
    return document(
        str(mail["Subject"]),
        text=str(body.get_content()) if body else None,
        sender=parseaddr(mail["From"])[1],
        recipient=recipient or handed.recipients[0],
        message_id=None,
        headers=tuple((name, str(value)) for name, value in mail.items()),
        InboundMailFrom=handed.sender,
    )


def conversation(instance: Instance, message: str) -> int:
    (row,) = instance.rows("SELECT conversation FROM messages WHERE id = ?", message)
    return int(row[0])


def kinds(instance: Instance, message: str) -> set[str]:
    return {verdict.kind for verdict in instance.stored(message)[0].kinds}


def test_the_answer_to_an_answer_continues_the_conversation(start_instance: Start, sink: Sink) -> None:
    instance = start_instance(rules=ANSWER, destinations=destination(sink))
    first = instance.post(document("Printer")).message
    (made,) = instance.wait_for_states(first, "delivered")
    acknowledged = sink.only
    mail = acknowledged.mail
    assert (acknowledged.sender, acknowledged.recipients) == ("", ["jo@example.org"])
    assert (mail["From"], mail["Subject"]) == ("support@customer.example", "We have it: Printer")
    assert made["reference"] == mail["Message-ID"]
    reply_to = str(mail["Reply-To"])
    assert reply_to.startswith("support+c") and reply_to.endswith("@customer.example")

    answer = document("Re: We have it", text="Thanks", recipient=reply_to, in_reply_to=str(mail["Message-ID"]))
    second = instance.post(answer).message
    instance.wait_for_states(second, "delivered")
    assert conversation(instance, second) == conversation(instance, first)
    elsewhere = document("Re: We have it", sender="new@else.example", in_reply_to=str(mail["Message-ID"]))
    third = instance.post(elsewhere).message
    assert conversation(instance, third) == conversation(instance, first)


def test_an_answer_that_comes_back_is_not_answered(start_instance: Start, sink: Sink) -> None:
    instance = start_instance(rules=ANSWER, destinations=destination(sink))
    instance.wait_for_states(instance.post(document("Printer")).message, "delivered")
    back = instance.post(come(sink.only, "support@customer.example")).message
    (ended,) = instance.wait_for_states(back, "suppressed")
    assert "loop" in kinds(instance, back) and "no automatic answer" in ended["reason"]
    assert len(sink.handed) == 1


def test_two_that_answer_everything_do_not_answer_each_other(start_instance: Start, sink: Sink) -> None:
    one = start_instance(rules=ANSWER, destinations=destination(sink))
    other = start_instance(rules=ANSWER, destinations=destination(sink))
    posted = document("Hello", sender="desk@other.example")
    one.wait_for_states(one.post(posted).message, "delivered")
    met = other.post(come(sink.only, "desk@other.example")).message
    (ended,) = other.wait_for_states(met, "suppressed")
    assert "auto_reply" in kinds(other, met) and "auto_reply" in ended["reason"] and len(sink.handed) == 1


def test_a_forward_its_bounce_and_its_return(start_instance: Start, sink: Sink) -> None:
    post = destination(sink, **{"from": "Post <post@customer.example>"})
    instance = start_instance(rules=FORWARD, destinations=post)
    content = bytes(range(256)) * 300
    file = {"Name": "fire.bin", "ContentType": "application/octet-stream", "ContentId": None,
            "Content": base64.b64encode(content).decode(), "CustomHeaders": None}  # fmt: skip
    first = instance.post(document("Printer äöü 🔥", attachments=[file])).message
    instance.wait_for_states(first, "delivered")
    forward = sink.only
    assert forward.mail["From"] == "Post <post@customer.example>" and forward.mail["Subject"] == "Printer äöü 🔥"
    (original,) = [part.get_content() for part in forward.mail.walk() if part.get_content_type() == "message/rfc822"]
    assert original["Subject"] == "Printer äöü 🔥" and original["From"] == "Jo Doe <jo@example.org>"
    (attached,) = original.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("fire.bin", content)

    failed = (("X-Failed-Recipients", TEAM),)
    bounce = document("Undelivered", sender="MAILER-DAEMON@example.net", recipient=forward.sender, headers=failed)
    bounce["InboundMailFrom"] = ""
    second = instance.post(bounce).message
    assert conversation(instance, second) == conversation(instance, first) and "bounce" in kinds(instance, second)
    instance.wait_for_states(second, "delivered")
    assert sink.handed[1].sender == "", "were it refused again, nothing more would come"

    looped = instance.post(come(forward, "support@customer.example")).message
    (ended,) = instance.wait_for_states(looped, "suppressed")
    assert "goes in a circle" in ended["reason"] and len(sink.handed) == 2


def test_greylisting_is_sat_out_and_a_refusal_is_final(start_instance: Start, sink: Sink) -> None:
    instance = start_instance(rules=FORWARD, destinations=destination(sink))
    answers = iter(["451 4.7.1 greylisted"])
    sink.on_rcpt = lambda address: next(answers, None)
    first = instance.post(document("Slow")).message
    (made,) = instance.wait_for_states(first, "delivered")
    assert made["attempts"] == 2 and len(sink.handed) == 1
    sink.on_rcpt = lambda address: "550 5.1.1 no such user"
    (dead,) = instance.wait_for_states(instance.post(document("Gone")).message, "dead")
    assert dead["attempts"] == 1 and "550 5.1.1 no such user" in dead["reason"]


def test_the_online_check_and_what_it_says(make_instance: Start, sink: Sink) -> None:
    instance = make_instance(rules=FORWARD, destinations=destination(sink))
    checked = instance.command("check", "--online")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{sink.host}:{sink.port} answers without encryption" in checked.stdout and not sink.handed

"""Which mails belong together: documents posted to a running instance, looked at in its store and on its pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.mail.tokens import own_message_id, reply_token
from tests.instance import Instance, document, hook, message_id_of, until
from tests.servers import Receiver, Reply, Request

RULES = """\
rules:
  - name: Hook
    when: always
    then: [hook: {body: "{{ reply_address }}"}, archive]
"""


@pytest.fixture(scope="module")
def sent() -> list[Any]:
    """What the hook of the instance received."""
    return []


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, sent: list[Any]) -> Iterator[Instance]:
    def take(request: Request) -> Reply | None:
        sent.append(request.json())
        return None

    with Receiver(take) as receiver:
        folder = tmp_path_factory.mktemp("house")
        instance = Instance(folder, rules=RULES, destinations={"hook": hook(receiver.url)}).start()
        yield instance
        instance.kill()


def conversation(house: Instance, message: str) -> int:
    (row,) = house.rows("SELECT conversation FROM messages WHERE id = ?", message)
    return int(row[0])


def found_by(house: Instance, message: str) -> str | None:
    (row,) = house.rows("SELECT found_by FROM messages WHERE id = ?", message)
    return None if row[0] is None else str(row[0])


def document_of(house: Instance, sent: list[Any], message: str) -> Any:
    """What the hook was sent about a message."""
    house.wait_for_states(message, "delivered", "delivered")
    return next(each for each in sent if each["message"]["id"] == message)


def key_of(house: Instance) -> bytes:
    return (house.data_dir / "mail.key").read_bytes()


def test_the_reply_address_leads_back_whoever_writes_to_it(house: Instance, sent: list[Any]) -> None:
    first = house.post(document(recipient="support+vip@customer.example")).message
    address = document_of(house, sent, first)["reply_address"]
    assert address == document_of(house, sent, first)["body"]
    assert address.startswith("support+vip+c") and address.endswith("@customer.example")
    reply = house.post(document("another subject", sender="new@else.example", recipient=address.upper())).message
    assert conversation(house, reply) == conversation(house, first)
    assert found_by(house, reply) == "the token in the address that it was sent to"
    message, payload = house.stored(reply)
    assert message.recipient.address == "SUPPORT+VIP@CUSTOMER.EXAMPLE"
    assert message.envelope_recipient == payload["InboundRcptTo"] == address.upper()
    assert [verdict.kind for verdict in message.kinds] == ["reply"]
    shown = house.command("show", reply).stdout
    assert "found by the token" in shown


def test_a_forged_token_is_an_ordinary_detail(house: Instance) -> None:
    first = house.post(document()).message
    token = reply_token(b"another key", conversation(house, first))
    address = f"support+{token}@customer.example"
    forged = house.post(document(sender="mallory@evil.example", recipient=address)).message
    assert conversation(house, forged) != conversation(house, first)
    assert house.stored(forged)[0].recipient.address == address


def test_a_token_of_a_conversation_that_is_no_more_begins_one(house: Instance) -> None:
    token = reply_token(key_of(house), 10**9)
    late = house.post(document(recipient=f"support+{token}@customer.example")).message
    assert conversation(house, late) != 10**9
    assert found_by(house, late) is None
    assert house.stored(late)[0].recipient.address == "support@customer.example"


def test_the_message_id_of_an_answer_leads_back(house: Instance, sent: list[Any]) -> None:
    first = house.post(document("Hello")).message
    answer = document_of(house, sent, first)["answer"]
    assert answer["to"] == "jo@example.org"
    assert answer["subject"] == "Re: Hello"
    assert answer["headers"]["Auto-Submitted"] == "auto-replied"
    assert answer["headers"]["X-Auto-Response-Suppress"] == "All"
    assert answer["headers"]["In-Reply-To"] == document_of(house, sent, first)["message"]["message_id"]
    ours = answer["headers"]["Message-ID"]
    reply = house.post(document("Re: Hello", sender="jo@home.example", recipient="x@y.example", in_reply_to=ours))
    assert conversation(house, reply.message) == conversation(house, first)
    assert found_by(house, reply.message) == f"our own Message-ID {ours}"


@pytest.mark.parametrize("mark", ["Message-ID", "X-Loop"])
def test_our_own_mail_that_comes_back_is_a_loop_and_gets_no_answer(house: Instance, sent: list[Any], mark: str) -> None:
    first = house.post(document()).message
    headers = document_of(house, sent, first)["answer"]["headers"]
    back = document(f"back by {mark}", message_id=None, headers=((mark, headers[mark]), ("Received", f"by {mark}")))
    looped = house.post(back).message
    kinds = document_of(house, sent, looped)["message"]["kinds"]
    assert "loop" in [each["kind"] for each in kinds]
    assert document_of(house, sent, looped)["answer"] is None


@pytest.mark.parametrize(
    ("name", "members", "headers"),
    [
        ("a bounce", {"InboundMailFrom": ""}, ()),
        ("an absence note", {}, (("Auto-Submitted", "auto-replied"),)),
        ("a list", {}, (("List-Id", "<list.example.org>"),)),
        ("a sender who asks for none", {}, (("X-Auto-Response-Suppress", "DR, AutoReply"),)),
    ],
)
def test_what_must_get_no_answer(
    house: Instance, sent: list[Any], name: str, members: dict[str, Any], headers: tuple[tuple[str, str], ...]
) -> None:
    posted = house.post(document(name, headers=headers, **members)).message
    assert document_of(house, sent, posted)["answer"] is None


def test_a_stored_message_id_counts_for_those_who_took_part(house: Instance) -> None:
    first = document(sender="Ada@Example.org", recipient="one@customer.example")
    head = house.post(first).message
    key = message_id_of(first)
    same_sender = house.post(
        document("1", sender="ada@EXAMPLE.org", recipient="two@x.example", in_reply_to=key)
    ).message
    same_recipient = house.post(
        document("2", sender="bob@example.net", recipient="ONE@customer.example", in_reply_to=key)
    ).message
    stranger = house.post(document("3", sender="eve@x.example", recipient="three@x.example", in_reply_to=key)).message
    assert conversation(house, head) == conversation(house, same_sender) == conversation(house, same_recipient)
    assert found_by(house, same_sender) == f"the Message-ID {key}, which is known"
    assert conversation(house, stranger) != conversation(house, head)


def test_the_newest_known_message_id_decides(house: Instance) -> None:
    one, two = document("one"), document("two")
    first, second = house.post(one).message, house.post(two).message
    references = f"<unknown@example.org>{message_id_of(one)}{message_id_of(two)}"
    reply = house.post(document("three", headers=(("References", references),))).message
    assert conversation(house, reply) == conversation(house, second) != conversation(house, first)


def test_an_item_in_the_subject_counts_only_for_those_who_took_part(tmp_path: Path, make_instance: Any) -> None:
    tracker = tmp_path / "plugins" / "tracker.py"
    tracker.parent.mkdir()
    tracker.write_text(TRACKER)
    house = make_instance(
        rules="rules: [{name: All, when: always, then: [tracker]}]",
        destinations={"tracker": {"kind": "tracker"}},
        plugins_dir=str(tracker.parent),
    ).start()
    first = house.post(document("Broken", sender="jo@example.org")).message
    house.wait_for_states(first, "delivered")
    (delivery,) = house.deliveries(first)
    assert delivery["reference"] == "APP-1"
    known = house.post(document("Re: [APP-1] Broken", sender="JO@example.org", recipient="x@y.example")).message
    stranger = house.post(document("Re: [APP-1] Broken", sender="eve@x.example", recipient="z@y.example")).message
    words = house.post(document("Broken APP-1", sender="jo@example.org", recipient="x@y.example")).message
    assert found_by(house, known) == "the item APP-1 in its subject, where the sender took part"
    assert conversation(house, known) == conversation(house, first)
    assert conversation(house, stranger) != conversation(house, first) != conversation(house, words)


TRACKER = """
from dataclasses import dataclass
from postroom.integration import Guarantee, Integration, Receipt

@dataclass(frozen=True)
class Nothing:
    pass

class Tracker(Integration):
    kind, summary, guarantee, Options, Fields = "tracker", "Opens items.", Guarantee.NONE, Nothing, Nothing
    made = 0

    def deliver(self, job):
        if job.item:
            return job.item
        Tracker.made += 1
        return Receipt(f"APP-{Tracker.made}", "http://tracker.example/")
"""


def test_a_bounce_belongs_to_the_mail_that_it_returns(house: Instance) -> None:
    ours = own_message_id(key_of(house), 1, "test-1", "customer.example")
    first = house.post(document("the first of all", recipient="first@customer.example")).message
    number = conversation(house, first)
    ours = own_message_id(key_of(house), number, "test-1", "customer.example")
    text = (
        "This is the mail system at host mx.example.net.\n\n<jo@example.org>: host unknown\n\n"
        f"Reporting-MTA: dns; mx.example.net\n\n--- The header of the message ---\nMessage-ID: {ours}\nSubject: x\n"
    )
    bounce = document(
        "Undelivered Mail Returned to Sender",
        text=text,
        sender="MAILER-DAEMON@mx.example.net",
        recipient="bounces@customer.example",
        InboundMailFrom=None,
    )
    message = house.post(bounce).message
    assert conversation(house, message) == number
    assert [verdict.kind for verdict in house.stored(message)[0].kinds] == ["bounce"]


def test_the_page_shows_kinds_and_how_the_conversation_was_found(house: Instance) -> None:
    first = document()
    house.post(first)
    reply = house.post(document("Re: it", in_reply_to=message_id_of(first))).message
    shown = json.loads(house.command("show", reply, "--json").stdout)
    assert shown["message"]["row"]["kinds"] == ["reply"]
    assert shown["message"]["row"]["found_by"].startswith("the Message-ID <")
    until(lambda: house.deliveries(reply), "it is routed")

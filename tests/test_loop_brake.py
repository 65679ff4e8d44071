"""The loop brake, and what people do with what it held: through the front doors of a running instance."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Start
from tests.instance import Instance, document, message_id_of


def braked(start: Start, **rates: Any) -> Instance:
    limits = {"per_conversation": None, "per_sender": None, **rates}
    return start(mail={"loop_brake": limits})


def states(house: Instance) -> list[tuple[str, str | None]]:
    return [(row[0], row[1]) for row in house.rows("SELECT state, reason FROM messages ORDER BY seq")]


def test_a_conversation_beyond_its_rate_is_held(start_instance: Start) -> None:
    house = braked(start_instance, per_conversation="3/h")
    first = document("ping")
    posted = [house.post(first).message]
    for number in range(4):
        # Another sender each time: it is the conversation that counts.
        mail = document(f"pong {number}", sender=f"robot{number}@x.example", in_reply_to=message_id_of(first))
        posted.append(house.post(mail).message)
    other = house.post(document("another conversation")).message
    held = "loop brake: more than 3 in an hour in this conversation (mail.loop_brake.per_conversation)"
    assert states(house) == [("routed", None)] * 3 + [("held", held)] * 2 + [("routed", None)]
    house.wait_for_states(other, "delivered")
    assert not house.deliveries(posted[3]) and not house.deliveries(posted[4])


@pytest.mark.parametrize("together", [False, True])
def test_a_sender_beyond_its_rate_is_held(start_instance: Start, together: bool) -> None:
    """`together`: several documents that share a transaction count as they would one by one."""
    house = braked(start_instance, per_sender="3/h")
    mails = [
        document(f"alert {number}", sender="Robot@X.example" if number % 2 else "robot@x.example")
        for number in range(5)
    ]
    if together:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(5) as pool:
            assert all(answer.status == 200 for answer in pool.map(house.post, mails))
    else:
        for mail in mails:
            assert house.post(mail).message
    assert house.post(document("a person")).message
    held = "loop brake: more than 3 in an hour from this sender (mail.loop_brake.per_sender)"
    assert sorted(states(house), key=str) == sorted([("routed", None)] * 4 + [("held", held)] * 2, key=str)


def test_release_routes_by_todays_rules_and_discard_ends(start_instance: Start) -> None:
    house = braked(start_instance, per_sender="1/h")
    first, second, third = (house.post(document(f"mail {number}")).message for number in range(3))
    house.wait_for_states(first, "delivered")
    house.write_rules("rules: [{name: Today, when: always, then: [archive: {title: released}]}]")
    house.stop()
    house.start()
    done = house.command("release", second)
    assert (done.returncode, done.stdout.strip()) == (0, "1 of 1 messages released")
    house.wait_for_states(second, "delivered")
    (delivery,) = house.deliveries(second)
    assert delivery["rule"] == "Today"
    again = house.command("release", second)
    assert again.returncode == 1 and "nothing to release" in again.stderr
    asked = house.command("discard", "mail")
    assert asked.returncode == 1 and "Discard 1 message?" in asked.stdout + asked.stderr
    done = house.command("discard", "mail", "--yes")
    assert (done.returncode, done.stdout.strip()) == (0, "1 of 1 messages discarded")
    assert [state for state, _ in states(house)] == ["routed", "routed", "discarded"]
    assert not house.deliveries(third)
    events = house.rows("SELECT what, who FROM events WHERE message IS NOT NULL ORDER BY seq")
    assert [row[0] for row in events] == ["release", "discard"]
    assert all(row[1].endswith("(command line)") for row in events)


def test_released_twins_of_one_mail_act_once(start_instance: Start) -> None:
    house = braked(start_instance, per_sender="1/h")
    house.post(document("first"))
    mail = document("twin", recipient="one@customer.example")
    twin = {**mail, "InboundRcptTo": "two@customer.example"}
    messages = [house.post(mail).message, house.post(twin).message]
    assert [state for state, _ in states(house)] == ["routed", "held", "held"]
    assert house.command("release", *messages).returncode == 0
    house.wait_for_states(messages[0], "delivered")
    house.wait_for_states(messages[1], "suppressed")

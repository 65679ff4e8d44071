"""Deliveries through a running instance: webhooks on loopback that answer what the test says."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import Start
from tests.instance import Instance, document, hook, message_id_of, until
from tests.servers import Receiver, Reply, Request, closed_port

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stepped": {"retry": ["0s", "200ms", "400ms", "1h"]},
    "short": {"retry": ["0s", "50ms", "50ms"]},
    "dying": {"retry": ["0s", "300ms", "300ms"]},
    "steady": {"retry": ["0s", *["100ms"] * 100]},
    "hourly": {"retry": ["0s", "1h"]},
    "narrow": {"concurrency": 2},
    "limited": {"rate": "10/s"},
    "public": {"allow_private": False},
}
"""Destinations of the instance that most tests share; a mail to `short@...` goes to `short`."""
RULES = """\
rules:
  - name: Both
    when: {recipient.user: both}
    then: [hook: {title: "{{ subject }}"}, other: {title: "{{ subject }}"}]
    stop: true
  - name: Hook
    when: always
    then: [hook: {title: "{{ subject }}", body: "first edition: {{ text }}"}]
"""


@dataclass
class Desk:
    """A webhook receiver that notes when each request came, and answers by the title of what it was sent."""

    answers: Callable[[str, int], Reply | None] = lambda title, count: None
    """Of the title and how often it came, this time included."""
    arrivals: list[tuple[str, float, Request]] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply | None:
        title = request.json()["title"]
        self.arrivals.append((title, time.monotonic(), request))
        return self.answers(title, self.count(title))

    def count(self, title: str) -> int:
        return sum(1 for each in list(self.arrivals) if each[0] == title)

    def titles(self) -> list[str]:
        return [title for title, _, _ in list(self.arrivals)]

    def times(self, title: str) -> list[float]:
        return [at for each, at, _ in list(self.arrivals) if each == title]

    def ids(self, title: str) -> set[str]:
        return {request.headers["webhook-id"] for each, _, request in list(self.arrivals) if each == title}

    def bodies(self, title: str) -> set[bytes]:
        return {request.body for each, _, request in list(self.arrivals) if each == title}


def attempts(instance: Instance, delivery: Any) -> list[tuple[str, int | None]]:
    rows = instance.rows("SELECT result, status FROM attempts WHERE delivery = ? ORDER BY number", delivery["seq"])
    return [(row["result"], row["status"]) for row in rows]


def events_of(instance: Instance, message: str) -> list[str]:
    detail = instance.history().message(message)
    assert detail is not None
    return [event.what for event in detail.events]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def other() -> Desk:
    return Desk()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Instance]:
    rules = [
        {"name": name, "when": {"recipient.user": name}, "then": [{name: {"title": "{{ subject }}"}}]}
        for name in SETTINGS
    ]
    destinations = {name: hook(receiver.url, **settings) for name, settings in SETTINGS.items()}
    folder = tmp_path_factory.mktemp("dispatcher")
    instance = Instance(folder, rules=json.dumps({"rules": rules}), destinations=destinations)
    try:
        yield instance.start()
    finally:
        instance.kill()


@pytest.fixture
def house(shared: Instance, receiver: Receiver, desk: Desk) -> Iterator[Instance]:
    """The shared instance, whose destinations all stand at this test's desk."""
    receiver.answer = desk
    yield shared
    assert "Traceback" not in shared.log()


def to(destination: str, title: str, **members: Any) -> dict[str, Any]:
    return document(title, recipient=f"{destination}@customer.example", **members)


def one_hook(url: str, other_url: str | None = None, **settings: Any) -> dict[str, Any]:
    return {"rules": RULES, "destinations": {"hook": hook(url, **settings), "other": hook(other_url or url)}}


def test_retries_follow_the_schedule_and_retry_after(house: Instance, desk: Desk) -> None:
    def answers(title: str, count: int) -> Reply | None:
        if title == "patient":
            return {1: Reply(503), 2: Reply(429, headers={"Retry-After": "1"}), 3: Reply(500)}.get(count)
        return None

    desk.answers = answers
    message = house.post(to("stepped", "patient")).message
    (delivery,) = house.wait_for_states(message, "delivered")
    first, second, third, fourth = desk.times("patient")
    assert 0.2 <= second - first < 1.2
    assert 1.0 <= third - second < 2.0, "Retry-After makes the pause longer"
    assert 0.4 <= fourth - third < 1.4, "and uses up no place in the schedule"
    assert attempts(house, delivery) == [("unknown", 503), ("failed", 429), ("unknown", 500), ("delivered", None)]
    assert desk.ids("patient") == {delivery["id"]}
    assert len(desk.bodies("patient")) == 1, "each attempt sends the same"


def test_dead_after_the_last_attempt_and_tried_again_by_a_person(house: Instance, desk: Desk) -> None:
    well = threading.Event()
    desk.answers = lambda title, count: None if well.is_set() else Reply(503, b"out of order")
    message = house.post(to("short", "stubborn")).message
    (delivery,) = house.wait_for_states(message, "dead")
    assert desk.count("stubborn") == 3
    assert attempts(house, delivery) == [("unknown", 503)] * 3
    assert "503" in delivery["reason"]
    answer = house.rows("SELECT answer FROM attempts WHERE delivery = ?", delivery["seq"])[0]["answer"]
    assert answer == "out of order"

    # Still broken: the person's wish begins the schedule anew.
    done = house.command("retry", delivery["id"])
    assert done.returncode == 0, done.stderr
    until(lambda: desk.count("stubborn") == 6, "three more attempts")
    house.wait_for_states(message, "dead")

    well.set()
    assert house.command("retry", message).returncode == 0
    (after,) = house.wait_for_states(message, "delivered")
    assert house.command("retry", delivery["id"]).returncode == 1, "delivered: nothing to retry"
    assert attempts(house, after)[-1] == ("delivered", None)
    assert desk.ids("stubborn") == {delivery["id"]}, "the same webhook-id"
    assert len(desk.bodies("stubborn")) == 1, "the same body"
    assert events_of(house, message) == ["retry", "retry"]


def test_a_permanent_error_is_dead_at_once(house: Instance, desk: Desk) -> None:
    desk.answers = lambda title, count: Reply(int(title), headers={"Location": "http://127.0.0.1:1/"})
    for status in (400, 401, 404, 422, 301):
        (delivery,) = house.wait_for_states(house.post(to("plain", str(status))).message, "dead")
        assert attempts(house, delivery) == [("refused", status)]
        assert desk.count(str(status)) == 1


def test_a_private_address_is_refused_without_allow_private(house: Instance, desk: Desk) -> None:
    (delivery,) = house.wait_for_states(house.post(to("public", "no")).message, "dead")
    assert "allow_private" in delivery["reason"]
    assert not desk.arrivals


def test_order_within_a_conversation(house: Instance, desk: Desk) -> None:
    well = threading.Event()
    desk.answers = lambda title, count: Reply(503) if title == "head" and not well.is_set() else None
    head = to("steady", "head")
    key = message_id_of(head)
    posted = [house.post(head).message]
    until(lambda: desk.count("head") >= 1, "the head was tried")
    posted += [house.post(to("steady", f"follower {number}", in_reply_to=key)).message for number in range(5)]
    for number in range(5):
        other = house.post(to("steady", f"other conversation {number}")).message
        house.wait_for_states(other, "delivered", seconds=3)
    until(lambda: desk.count("head") >= 4, "the head was tried again")
    assert not [title for title in desk.titles() if title.startswith("follower")]
    well.set()
    for message in posted:
        house.wait_for_states(message, "delivered")
    followers = [title for title in desk.titles() if title.startswith("follower")]
    assert followers == [f"follower {number}" for number in range(5)]
    assert desk.titles().index("follower 0") > len(desk.titles()) - 1 - desk.titles()[::-1].index("head")


def test_followers_go_on_when_the_head_dies(house: Instance, desk: Desk) -> None:
    desk.answers = lambda title, count: Reply(503) if title == "head" else None
    head = to("dying", "head")
    first = house.post(head).message
    followers = [
        house.post(to("dying", f"follower {number}", in_reply_to=message_id_of(head))).message for number in range(3)
    ]
    house.wait_for_states(first, "dead")
    for message in followers:
        house.wait_for_states(message, "delivered", seconds=3)
    assert desk.titles() == ["head"] * 3 + [f"follower {number}" for number in range(3)]


def test_a_stranger_cannot_block_a_conversation(house: Instance, desk: Desk) -> None:
    """Who knows a Message-ID, but took no part and writes to another address, does not join."""
    desk.answers = lambda title, count: Reply(503) if title == "forged" else None
    real = to("hourly", "real")
    house.wait_for_states(house.post(real).message, "delivered")
    forged = document(
        "forged", sender="mallory@evil.example", recipient="hourly@else.example", in_reply_to=message_id_of(real)
    )
    house.wait_for_states(house.post(forged).message, "retrying")
    reply = house.post(to("hourly", "reply", in_reply_to=message_id_of(real))).message
    house.wait_for_states(reply, "delivered", seconds=3)


@pytest.mark.parametrize("trouble", ["slow", "down"])
def test_a_destination_in_trouble_delays_only_its_own(
    start_instance: Start, desk: Desk, other: Desk, trouble: str
) -> None:
    release = threading.Event()

    def stall(title: str, count: int) -> None:
        release.wait(60)

    desk.answers = stall
    with Receiver(desk) as slow, Receiver(other) as fast:
        url = slow.url if trouble == "slow" else f"http://127.0.0.1:{closed_port()}"
        settings = one_hook(url, fast.url, timeout="60s", retry=["0s", *["100ms"] * 200])
        # So few workers that the slow one could hold them all.
        instance = start_instance(dispatch={"workers": 2}, **settings)
        try:
            sent: dict[str, float] = {}
            for number in range(12):
                title = f"mail {number}"
                assert instance.post(document(title, recipient="both@customer.example")).message
                sent[title] = time.monotonic()
            until(lambda: len(other.arrivals) == 12, "the other destination has everything", 5)
            late = {title: other.times(title)[0] - at for title, at in sent.items()}
            assert max(late.values()) < 1.0, late
            states = {row["state"] for row in instance.deliveries() if row["destination"] == "hook"}
            assert "delivered" not in states
        finally:
            release.set()
        if trouble == "slow":
            instance.wait_until_quiet()
            assert sorted(desk.titles()) == sorted(sent)


def test_concurrency_of_a_destination(house: Instance, desk: Desk) -> None:
    lock = threading.Lock()
    under_way = most = 0

    def answers(title: str, count: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.1)
        with lock:
            under_way -= 1

    desk.answers = answers
    messages = [house.post(to("narrow", f"mail {number}")).message for number in range(10)]
    for message in messages:
        house.wait_for_states(message, "delivered")
    assert most == 2


def test_rate_of_a_destination(house: Instance, desk: Desk) -> None:
    messages = [house.post(to("limited", f"mail {number}")).message for number in range(30)]
    for message in messages:
        house.wait_for_states(message, "delivered")
    times = [at for _, at, _ in desk.arrivals]
    assert len(times) == 30
    for first in range(30):
        for last in range(first, 30):
            # A bucket of ten that fills by ten a second, and one for the way.
            assert last - first + 1 <= 10 + 10 * (times[last] - times[first]) + 1
    assert times[-1] - times[0] < 5


def test_paused(make_instance: Start, desk: Desk) -> None:
    with Receiver(desk) as receiver:
        instance = make_instance(**one_hook(receiver.url, receiver.url, paused=True)).start()
        message = instance.post(document("waits", recipient="both@customer.example")).message
        instance.wait_for_states(message, "pending", "delivered")
        assert desk.count("waits") == 1
        assert instance.stop() == 0
        instance.config["destinations"]["hook"]["paused"] = False
        instance.write_config()
        instance.start()
        instance.wait_for_states(message, "delivered", "delivered")


def test_a_destination_that_was_taken_out(make_instance: Start, desk: Desk) -> None:
    with Receiver(desk) as receiver:
        instance = make_instance(**one_hook(receiver.url, paused=True)).start()
        message = instance.post(document("owed")).message
        assert instance.stop() == 0
        taken_out = instance.config["destinations"].pop("hook")
        instance.write_config()
        instance.write_rules("rules: [{name: Everything, when: always, then: [archive]}]\n")
        checked = instance.command("check")
        assert checked.returncode == 0
        assert "1 deliveries wait for 'hook'" in checked.stderr
        instance.start()
        instance.wait_for_states(instance.post(document("new")).message, "delivered")
        instance.wait_for_states(message, "pending")
        assert instance.stop() == 0
        instance.config["destinations"]["hook"] = {**taken_out, "paused": False}
        instance.write_config()
        instance.start()
        instance.wait_for_states(message, "delivered")
    assert "first edition" in desk.arrivals[0][2].json()["body"], "under the rule set of its day"


def test_content_is_frozen_at_the_first_attempt(make_instance: Start, desk: Desk) -> None:
    well = threading.Event()
    desk.answers = lambda title, count: None if well.is_set() else Reply(503)
    with Receiver(desk) as receiver:
        instance = make_instance(**one_hook(receiver.url, retry=["0s", *["300ms"] * 100])).start()
        message = instance.post(document("frozen")).message
        until(lambda: desk.count("frozen") >= 2, "it was tried twice")
        assert instance.stop() == 0
        instance.write_rules(RULES.replace("first edition", "second edition"))
        well.set()
        instance.start()
        instance.wait_for_states(message, "delivered")
        assert len(desk.bodies("frozen")) == 1
        assert b"first edition" in desk.bodies("frozen").pop()
        instance.wait_for_states(instance.post(document("new")).message, "delivered")
    assert b"second edition" in desk.bodies("new").pop()


def test_mail_not_yet_tried_is_rendered_under_its_own_rules(make_instance: Start, desk: Desk) -> None:
    with Receiver(desk) as receiver:
        instance = make_instance(**one_hook(receiver.url, paused=True)).start()
        message = instance.post(document("early")).message
        instance.kill()
        instance.write_rules(RULES.replace("first edition", "second edition"))
        instance.config["destinations"]["hook"]["paused"] = False
        instance.write_config()
        instance.start()
        instance.wait_for_states(message, "delivered")
    assert b"first edition" in desk.bodies("early").pop()


def test_latency_from_the_answer_to_the_arrival(house: Instance, desk: Desk) -> None:
    late = []
    for number in range(20):
        house.post(to("plain", f"mail {number}"))
        answered = time.monotonic()
        until(lambda number=number: desk.count(f"mail {number}"), "it arrives", 5)  # type: ignore[misc]
        late.append(desk.times(f"mail {number}")[0] - answered)
    assert max(late) < 1.0, late


def test_a_killed_dispatcher_is_replaced_and_its_delivery_is_uncertain(start_instance: Start, desk: Desk) -> None:
    release = threading.Event()

    def answers(title: str, count: int) -> None:
        release.wait(60)

    desk.answers = answers
    with Receiver(desk) as receiver:
        instance = start_instance(**one_hook(receiver.url, timeout="60s"))
        try:
            message = instance.post(document("under way")).message
            until(lambda: desk.count("under way") == 1, "it is under way")
            killed = instance.dispatcher()
            os.kill(killed, signal.SIGKILL)
            until(lambda: desk.count("under way") == 2, "it is tried again", 20)
            assert instance.dispatcher() != killed
            (delivery,) = instance.deliveries(message)
            assert (delivery["state"], delivery["uncertain"]) == ("sending", 1)
            assert instance.post(document("meanwhile")).message, "the web process went on"
        finally:
            release.set()
        (delivery,) = instance.wait_for_states(message, "delivered")
        assert attempts(instance, delivery) == [("unknown", None), ("delivered", None)]
        assert desk.ids("under way") == {delivery["id"]}
        assert len(desk.bodies("under way")) == 1
        instance.wait_until_quiet()
        assert "dispatcher ended" in instance.log()


def test_sigterm_finishes_what_is_under_way(start_instance: Start, desk: Desk) -> None:
    release = threading.Event()

    def answers(title: str, count: int) -> None:
        release.wait(60)

    desk.answers = answers
    with Receiver(desk) as receiver:
        instance = start_instance(**one_hook(receiver.url, concurrency=1))
        message = instance.post(document("under way")).message
        until(lambda: desk.count("under way") == 1, "it is under way")
        waiting = instance.post(document("not yet begun")).message
        timer = threading.Timer(1.0, release.set)
        timer.start()
        try:
            assert instance.stop() == 0
        finally:
            timer.join()
        assert not instance.members()
        (delivery,) = instance.deliveries(message)
        assert delivery["state"] == "delivered"
        assert attempts(instance, delivery) == [("delivered", None)]
        assert instance.deliveries(waiting)[0]["state"] in ("pending", "delivered")
        instance.start()
        instance.wait_for_states(waiting, "delivered")
    assert desk.count("under way") == 1


def test_requests_under_way_are_answered_at_sigterm(start_instance: Start, desk: Desk) -> None:
    with Receiver(desk) as receiver:
        instance = start_instance(**one_hook(receiver.url))
        answered: list[str] = []
        refused = threading.Event()

        def send() -> None:
            while not refused.is_set():
                try:
                    answer = instance.post(document("at the end"), timeout=30)
                except OSError:
                    refused.set()
                else:
                    answered.append(answer.message)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(answered) > 20, "mail flows")
        assert instance.stop() == 0
        for thread in threads:
            thread.join(30)
        stored = {row["id"] for row in instance.rows("SELECT id FROM messages")}
        assert set(answered) <= stored
        assert not instance.rows("SELECT 1 FROM deliveries WHERE state = 'sending'")


def test_without_its_supervisor_everything_ends_and_can_start_again(start_instance: Start, desk: Desk) -> None:
    with Receiver(desk) as receiver:
        instance = start_instance(**one_hook(receiver.url))
        before = instance.post(document("before")).message
        assert instance.process is not None
        os.kill(instance.pid, signal.SIGKILL)
        instance.process.wait(10)
        until(lambda: not instance.members(), "all processes end", 30)
        instance.start()
        instance.wait_for_states(before, "delivered")
        instance.wait_for_states(instance.post(document("after")).message, "delivered")


def test_a_killed_web_process_is_replaced(start_instance: Start, desk: Desk) -> None:
    with Receiver(desk) as receiver:
        instance = start_instance(**one_hook(receiver.url))
        # The server and its worker each have a process of their own.
        for number in range(2):
            victims = [pid for pid, words in instance.members().items() if "granian" in words]
            os.kill(max(victims) if number == 0 else min(victims), signal.SIGKILL)
            until(lambda: _accepts(instance), "mail is accepted again", 30)
        instance.wait_until_quiet()


def _accepts(instance: Instance) -> bool:
    try:
        return instance.post(document("are you there"), timeout=5).status == 200
    except OSError:
        return False

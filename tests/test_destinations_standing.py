"""How a destination stands: its circuit, a rest it asks for, the switch of people, and what is shown of it.

Over a running instance and real HTTP; the dashboard is used as a browser uses it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import integrations
from postroom.circuit import Circuit
from postroom.fields import specs
from postroom.integration import discover
from tests.conftest import Start
from tests.instance import Instance, document, hook, until
from tests.servers import Receiver, Reply

RULES = """\
rules:
  - {name: All, when: always, then: [hook: {title: "{{ subject }}"}]}
"""
QUICK = {"failures": 3, "probe": "300ms"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def start(start_instance: Start, receiver: Receiver, **settings: Any) -> Instance:
    settings = {"circuit": QUICK, "retry": ["0s", "50ms"], **settings}
    return start_instance(rules=RULES, destinations={"hook": hook(receiver.url, **settings)})


def states(house: Instance) -> list[str]:
    return sorted(row["state"] for row in house.deliveries())


def titles(receiver: Receiver) -> list[str]:
    return [request.json()["title"] for request in list(receiver.requests)]


def standing(house: Instance) -> Any:
    return house.rows("SELECT * FROM destinations WHERE name = 'hook'")


class Browser:
    """Logged in as the admin."""

    def __init__(self, house: Instance) -> None:
        self.base = f"http://127.0.0.1:{house.port}"
        self.session = requests.Session()
        form = {"name": "admin", "password": house.password(), **self._token("/login")}
        assert self.session.post(f"{self.base}/login", data=form, timeout=10).status_code == 200

    def page(self, path: str = "/destinations") -> str:
        return self.session.get(self.base + path, timeout=10).text

    def press(self, path: str, **fields: str) -> str:
        form = {**self._token("/destinations"), **fields}
        return self.session.post(self.base + path, data=form, timeout=10).text

    def _token(self, path: str) -> dict[str, str]:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.page(path))
        assert found
        return {"csrf_token": found[1]}


# The circuit


def test_opens_and_nothing_dies_until_it_works_again(start_instance: Start, receiver: Receiver) -> None:
    receiver.answer = Reply(500)
    house = start(start_instance, receiver)
    for number in range(6):
        house.post(document(f"mail {number}"))
    until(lambda: standing(house), "the circuit opens")
    # Far longer than the schedule of two attempts would give them.
    before = len(receiver.requests)
    time.sleep(2)
    probes = len(receiver.requests) - before
    assert 1 <= probes <= 7, "a probe goes out now and then, and the pauses grow"
    dead = states(house).count("dead")
    assert dead <= 2 and set(states(house)) <= {"dead", "retrying", "pending", "sending"}
    (row,) = standing(house)
    assert "500" in row["error"] and row["probe_at"] > row["opened_at"]
    metrics = house.get("/metrics").body.decode()
    assert "postroom_circuits_open 1" in metrics
    notes = house.get("/readyz").json()["notes"]
    assert notes == ["destinations that fail again and again, or are closed: 1; their deliveries wait"]
    page = Browser(house).page()
    assert "circuit open" in page and "the destination hook fails again and again" in page
    receiver.answer = Reply(200)
    until(lambda: states(house).count("delivered") == 6 - dead, "all that waited is delivered")
    assert standing(house)[0]["opened_at"] is None and "postroom_circuits_open 0" in house.get("/metrics").body.decode()
    assert "circuit open" not in Browser(house).page()
    events = [row["what"] for row in house.rows("SELECT what FROM events WHERE what LIKE 'circuit%' ORDER BY seq")]
    assert events == ["circuit opened", "circuit closed"]


def test_an_open_circuit_outlives_a_restart(start_instance: Start, receiver: Receiver) -> None:
    receiver.answer = Reply(503)
    house = start(start_instance, receiver, circuit={"failures": 3, "probe": "1h"}, retry=["0s", "0s", "0s", "0s"])
    for number in range(3):
        house.post(document(f"mail {number}"))
    until(lambda: standing(house), "the circuit opens")
    house.stop()
    count = len(receiver.requests)
    receiver.answer = Reply(200)
    house.start()
    time.sleep(1)
    assert len(receiver.requests) == count, "the probe is due in an hour"
    assert "Try now" in Browser(house).page()
    Browser(house).press("/destinations/hook/resume")
    until(lambda: set(states(house)) == {"delivered"}, "all is delivered")


def test_refused_credentials_wait_too(start_instance: Start, receiver: Receiver) -> None:
    """A token that was revoked in the night kills some deliveries, not all that come until somebody looks."""
    receiver.answer = Reply(401)
    house = start(start_instance, receiver)
    for number in range(8):
        house.post(document(f"mail {number}"))
    until(lambda: standing(house), "the circuit opens")
    time.sleep(1)
    assert states(house).count("dead") <= 6 and states(house).count("dead") < 8
    receiver.answer = Reply(200)
    until(lambda: not {"pending", "retrying", "sending"} & set(states(house)), "what waited is delivered")
    assert states(house).count("delivered") >= 2


def test_one_delivery_alone_dies_by_its_schedule(start_instance: Start, receiver: Receiver) -> None:
    receiver.answer = Reply(500)
    house = start(start_instance, receiver, retry=["0s", "0s", "0s", "0s", "0s", "0s"])
    message = house.post(document("poison")).message
    house.wait_for_states(message, "dead")
    assert len(receiver.requests) == 6 and not standing(house)


def test_what_is_refused_says_nothing_against_the_destination(start_instance: Start, receiver: Receiver) -> None:
    receiver.answer = Reply(422)
    house = start(start_instance, receiver)
    for number in range(5):
        house.post(document(f"mail {number}"))
    until(lambda: states(house) == ["dead"] * 5, "each is refused")
    assert not standing(house)


def test_the_circuit_by_itself() -> None:
    circuit = Circuit(failures=3, probe=10)
    assert [circuit.failed(delivery, 1_000) for delivery in (1, 1, 1, 1)] == [False] * 4, "one delivery alone"
    assert circuit.failed(2, 2_000) and circuit.opened_at == 2_000
    assert circuit.room(2_000, 0) == 0 and circuit.room(circuit.probe_at, 0) == 1 and circuit.room(10**12, 1) == 0
    pauses = []
    for at in (20_000, 50_000, 100_000, 200_000, 400_000):
        circuit.failed(3, at)
        pauses.append(circuit.probe_at - at)
    assert pauses == sorted(pauses) and pauses[-1] == 100_000 and circuit.opened_at == 2_000
    assert circuit.answered() and not circuit.is_open and circuit.room(0, 5) is None
    assert not circuit.answered()
    assert not any(Circuit(failures=0).failed(delivery, 0) for delivery in range(100))


# A destination that asks for fewer requests, or for none


def test_all_rest_when_one_is_told_too_many(start_instance: Start, receiver: Receiver) -> None:
    receiver.answer = Reply(429, headers={"Retry-After": "2"})
    house = start(start_instance, receiver, concurrency=1, retry=["0s", "0s", "0s"])
    house.post(document("first"))
    until(lambda: receiver.requests, "the first comes")
    receiver.answer = Reply(200)
    began = time.monotonic()
    house.post(document("second"))
    until(lambda: states(house) == ["delivered"] * 2, "both are delivered")
    assert 1.0 < time.monotonic() - began < 6
    assert len(receiver.requests) == 3, "nothing was sent while it rested"


def test_410_pauses_the_destination_with_a_notice(start_instance: Start, receiver: Receiver) -> None:
    receiver.answer = Reply(410)
    house = start(start_instance, receiver)
    message = house.post(document("too late")).message
    house.wait_for_states(message, "dead")
    until(lambda: standing(house), "it is paused")
    receiver.answer = Reply(200)
    later = house.post(document("later")).message
    time.sleep(0.7)
    assert house.wait_for_states(later, "pending") and len(receiver.requests) == 1
    browser = Browser(house)
    assert "the destination hook is paused, for it wants no more deliveries" in browser.page("/messages")
    assert "postroom_destinations_paused 1" in house.get("/metrics").body.decode()
    assert "hook goes on" in browser.press("/destinations/hook/resume")
    house.wait_for_states(later, "delivered")
    assert "wants no more deliveries" not in browser.page("/messages")


# The switch of people


def test_pause_and_resume_from_the_dashboard(start_instance: Start, receiver: Receiver) -> None:
    house = start(start_instance, receiver)
    browser = Browser(house)
    assert "hook is paused" in browser.press("/destinations/hook/pause", reason="<b>maintenance</b>\x00")
    assert "stands so already" in browser.press("/destinations/hook/pause")
    message = house.post(document("waits")).message
    time.sleep(0.7)
    assert states(house) == ["pending"] and not receiver.requests
    page = browser.page()
    assert "&lt;b&gt;maintenance&lt;/b&gt;" in page and "<b>maintenance" not in page and "admin" in page
    assert "Waiting</dt><dd>1</dd>" in page
    house.stop()
    house.start()
    time.sleep(0.7)
    assert not receiver.requests, "it stays paused over a restart"
    browser = Browser(house)
    began = time.monotonic()
    browser.press("/destinations/hook/resume")
    house.wait_for_states(message, "delivered")
    assert time.monotonic() - began < 5, "the dispatcher is told at once"
    events = [(row["who"], row["what"]) for row in house.rows("SELECT who, what FROM events ORDER BY seq")]
    assert ("admin", "pause") in events and ("admin", "resume") in events


def test_the_switch_asks_who_you_are(start_instance: Start, receiver: Receiver) -> None:
    house = start(start_instance, receiver)
    for path in ("/destinations", "/destinations/hook/pause"):
        answer = requests.request(
            "POST" if "pause" in path else "GET",
            f"http://127.0.0.1:{house.port}{path}",
            timeout=10,
            allow_redirects=False,
        )
        assert answer.status_code in (302, 303, 400, 403)
    assert "nothing here" in Browser(house).press("/destinations/none/pause")
    assert not standing(house)


def test_paused_in_the_file_has_no_button(start_instance: Start, receiver: Receiver) -> None:
    house = start(start_instance, receiver, paused=True)
    page = Browser(house).page()
    assert "Paused in <code>config.yaml</code>" in page and "/destinations/hook/pause" not in page


# Its last day


def test_the_page_tells_of_the_last_day_and_of_what_failed(start_instance: Start, receiver: Receiver) -> None:
    house = start(start_instance, receiver)
    message = house.post(document("works")).message
    house.wait_for_states(message, "delivered")
    receiver.answer = Reply(400, b"no such <field>")
    dead = house.post(document("refused")).message
    house.wait_for_states(dead, "dead")
    browser = Browser(house)
    page = until(
        lambda: page if re.search(r"Failed attempts</dt><dd>1<", page := browser.page()) else None, "the index follows"
    )
    assert re.search(r"Delivered in 24 h</dt><dd><a [^>]+>1</a>", page)
    assert re.search(r"Half delivered within</dt><dd>≤ ", page)
    assert re.search(r'Dead</dt><dd><a href="/messages\?q=[^"]+">1</a>', page)
    assert f'href="/messages/{dead}"' in page and "answered 400" in page
    part = browser.session.get(f"{browser.base}/destinations", headers={"HX-Request": "true"}, timeout=10).text
    assert part.lstrip().startswith('<div id="live"') and "<html" not in part and "answered 400" in part


def test_all_dead_are_retried_after_a_look(start_instance: Start, receiver: Receiver) -> None:
    receiver.answer = Reply(400)
    house = start(start_instance, receiver)
    mails = [house.post(document(f"mail {number}")).message for number in range(3)]
    for mail in mails:
        house.wait_for_states(mail, "dead")
    receiver.answer = Reply(200)
    browser = Browser(house)
    form = browser.page("/destinations/hook/retry")
    assert "3 deliveries to hook will be tried again" in form and ">Retry 3<" in form
    upto = re.search(r'name="upto" value="(\d+)"', form)
    assert upto
    # One that died after the form was made is not among them.
    receiver.answer = Reply(400)
    later = house.post(document("later")).message
    house.wait_for_states(later, "dead")
    receiver.answer = Reply(200)
    assert "3 deliveries to hook will be tried again now" in browser.press("/destinations/hook/retry", upto=upto[1])
    for mail in mails:
        house.wait_for_states(mail, "delivered")
    house.wait_for_states(later, "dead")
    retried = house.rows("SELECT who FROM events WHERE what = 'retry'")
    assert [row["who"] for row in retried] == ["admin"] * 3
    assert "1 delivery to hook will be tried again" in browser.page("/destinations/hook/retry")
    assert "is dead any more" in browser.press("/destinations/hook/retry", upto="0")


# A test delivery


def test_a_test_delivery_goes_the_whole_way(start_instance: Start, receiver: Receiver) -> None:
    house = start(start_instance, receiver)
    browser = Browser(house)
    assert "A test message is stored" in browser.page("/destinations/hook/test")
    for number in (1, 2):
        page = browser.press("/destinations/hook/test")
        assert "A test delivery to hook is under way" in page and "Test from Postroom, by admin" in page
        until(lambda number=number: len(receiver.requests) == number, "it arrives")
    sent = receiver.requests[-1].json()
    assert sent["title"] == "Test from Postroom, by admin" and "reach hook" in sent["body"]
    assert receiver.requests[0].headers["webhook-id"] != receiver.requests[1].headers["webhook-id"]
    house.wait_until_quiet()
    rows = house.deliveries()
    assert [(row["rule"], row["state"]) for row in rows] == [("(test)", "delivered")] * 2
    message, payload = house.history().message(rows[0]["message_id"]), house.history().payload(rows[0]["message_id"])
    assert message and message.row.ingress == "test" and message.row.matched == () and payload is None
    (event, _) = house.rows("SELECT * FROM events WHERE what = 'test delivery' ORDER BY seq")
    assert event["who"] == "admin" and event["detail"] == "hook"
    assert "no rule was asked" in browser.page(f"/messages/{rows[0]['message_id']}")


def test_a_test_delivery_of_every_shipped_kind_can_be_made() -> None:
    for name, kind in discover(None, integrations).items():
        assert not [each.name for each in specs(kind.Fields).values() if each.required], name


# Check online


def test_a_destination_is_asked_from_its_page(start_instance: Start, receiver: Receiver) -> None:
    receiver.answer = lambda request: Reply(401, b"bad <key> sesame")
    tracking = {"kind": "redmine", "url": receiver.url, "allow_private": True, "project": "inbox"}
    house = start_instance(
        rules=RULES, destinations={"hook": hook(receiver.url), "bad": {**tracking, "api_key": "sesame"}}
    )
    browser = Browser(house)
    page = browser.press("/destinations/hook/check")
    assert "the kind webhook cannot be checked without sending something" in page and not receiver.requests
    page = browser.press("/destinations/bad/check")
    assert "not well" in page and "answered 401 (bad &lt;key&gt; ***)" in page and "sesame" not in page
    assert "not well" in browser.page(), "it stands there until it is asked again"
    events = house.rows("SELECT who, detail FROM events WHERE what = 'check' ORDER BY seq")
    assert [tuple(row) for row in events] == [("admin", "hook: well"), ("admin", "bad: not well")]


def test_a_wrong_secret_is_told_on_the_overview(start_instance: Start, receiver: Receiver) -> None:
    house = start(start_instance, receiver)
    browser = Browser(house)
    assert "the secret was wrong" not in browser.page("/")
    for _ in range(2):
        assert house.post(document("who?", secret="guessed")).status == 401
    assert house.post(document("where?"), path="/inbound/nowhere").status == 404
    page = browser.page("/")
    assert "he way in socketlabs refused 2 requests in the last day, for the secret was wrong" in page
    assert "nowhere" not in page and "guessed" not in page


# check --online


def test_check_online(start_instance: Start, receiver: Receiver) -> None:
    seen = threading.Event()

    def tracker(request: Any) -> Reply:
        seen.set()
        assert request.method == "GET"
        return Reply(401, b"bad key sesame") if request.headers["x-redmine-api-key"] == "sesame" else Reply.of({})

    receiver.answer = tracker
    tracking = {"kind": "redmine", "url": receiver.url, "allow_private": True, "project": "inbox"}
    destinations = {"hook": hook(receiver.url), "bad": {**tracking, "api_key": "sesame"}}
    house = start_instance(rules=RULES, destinations=destinations)
    offline = house.command("check")
    assert offline.returncode == 0 and not seen.is_set(), "nothing is asked without --online"
    done = house.command("check", "--online")
    assert done.returncode == 1 and seen.is_set()
    assert re.search(r"^bad: FAILED: 127\.0\.0\.1:\d+ answered 401 \(bad key \*\*\*\)$", done.stdout, re.MULTILINE)
    assert "hook: the kind webhook cannot be checked without sending something" in done.stdout
    assert "1 destinations cannot be used" in done.stdout and "sesame" not in done.stdout + done.stderr
    found = house.command("check", "--online", "--json")
    assert found.returncode == 1 and '"well": false' in found.stdout and '"destination": "bad"' in found.stdout


def test_check_as_json_tells_problems(make_instance: Start) -> None:
    house = make_instance(rules="rules: [{name: A, when: always, then: [nowhere]}]\n")
    found = house.command("check", "--json")
    assert found.returncode == 1 and '"problems": [' in found.stdout and '"line": 1' in found.stdout

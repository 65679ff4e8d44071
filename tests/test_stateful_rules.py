"""What rules do over time: correlate, limit, update, items, hold and release, through a running instance.

Trackers are stand-ins for Redmine over real HTTP: their issues and notes are what counts in the end.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from tests.conftest import Start
from tests.instance import Instance, document, hook, message_id_of, until
from tests.kinds import SECRET
from tests.servers import Receiver, Reply, Request
from tests.standins.redmine import FakeRedmine

RULES = r"""
rules:
  - name: Conversations go on
    when: {recipient.user: support, item: {exists: true}}
    then: [update]
    stop: true

  - name: Support
    when: {recipient.user: support}
    then: [tracker: {attachments: none}]
    stop: true

  - name: Alerts
    when: {recipient.user: alerts}
    extract:
      alert: {from: subject, matches: ['^(?P<state>\w+): (?P<host>\S+)/(?P<service>.+)$',
        '^\[(?P<host>\S+)\] (?P<service>.+) is (?P<state>\w+)$']}
    correlate: {by: "{{ alert.host }}/{{ alert.service }}", window: 3d}
    limit: {per: "{{ alert.host }}", count: 20, window: 1h, over: hold}
    first_only: true
    rules:
      - {name: Flapping, when: {alert.state: FLAPPING}, then: [drop: {reason: "it flaps"}]}
      - name: Recovered
        when: {alert.state: [OK, RECOVERY]}
        then: [update: {state: closed, body: "it is {{ alert.state }}"}]
      - {name: Problem, when: always, then: [tracker: {title: "{{ alert.host }} has a problem"}]}

  - name: Suppressing
    when: {recipient.user: suppress}
    limit: {per: "{{ from }}", count: 2, window: 1h}
    then: [hook]
  - name: Holding
    when: {recipient.user: holding}
    limit: {per: "{{ from }}", count: 1, window: 1h, over: hold}
    then: [hook]
  - name: Dropping
    when: {recipient.user: dropping}
    limit: {per: all, count: 1, window: 90s, over: drop}
    then: [hook]
  - {name: Beside the limit, when: {recipient.user: suppress}, then: [archive]}

  - name: Opened
    when: {recipient.user: ci, subject: {starts_with: broken}}
    extract: {build: {from: subject, matches: '#(\d+)'}}
    correlate: {by: "{{ build }}", window: 1d, group: builds}
    then: [tracker]
  - name: Mended
    when: {recipient.user: ci, subject: {starts_with: mended}}
    extract: {build: {from: subject, matches: 'build-(\d+)'}}
    correlate: {by: "{{ build }}", window: 1d, group: builds}
    then: [tracker, update: {destination: second}]

  - {name: Both, when: {recipient.user: both}, then: [tracker, second]}
  - {name: Only one, when: {recipient.user: one}, then: [update: {destination: second, body: "for the second"}]}

  - {name: Own items, when: {recipient.user: own}, then: [{tracker: {}, reuse: false}]}

  - name: Twins
    when: {recipient.user: [twin-a, twin-b]}
    then: [hook: {title: once}, {hook: {title: "{{ recipient }}"}, per_recipient: true}]

  - {name: Fails, when: {recipient.user: fails}, correlate: {by: "{{ to[3].address }}", window: 1d},
     limit: {per: "{{ to[3].address }}", count: 1, window: 1d, over: drop}, then: [hook]}

  - {name: Slow, when: {recipient.user: slow, subject: {starts_with: "new"}}, then: [slow]}
  - {name: Slow goes on, when: {recipient.user: slow, item: slow}, then: [update: {body: "more of {{ subject }}"}]}

  - {name: Dropped, when: {recipient.user: judged}, then: [drop: {reason: not wanted}, hook]}
  - name: Held
    when: {recipient.user: judged, subject: {contains: hold}}
    then: [hold: {reason: "look at {{ subject }}"}]
  - {name: Nobody wanted it, when: unmatched, then: [hold: {reason: no rule for this mail}]}
"""


class Desk:
    """The instance, and the systems that it delivers to."""

    def __init__(self, house: Instance, hooked: Receiver) -> None:
        self.house = house
        self.tracker, self.second, self.slow = FakeRedmine(), FakeRedmine(), FakeRedmine()
        self.slow_is_down = False
        self.hooked = hooked

    def answer_slow(self, request: Request) -> Reply:
        return Reply(503) if self.slow_is_down else self.slow(request)

    def post(self, user: str, subject: str, **more: Any) -> str:
        """The id of the message."""
        return self.house.post(document(subject, recipient=f"{user}@customer.example", **more)).message

    def shown(self, message: str) -> Any:
        """What `postroom show --json` says."""
        done = self.house.command("show", message, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def state(self, message: str) -> tuple[str, str | None]:
        ((state, reason),) = self.house.rows("SELECT state, reason FROM messages WHERE id = ?", message)
        return state, reason

    def conversation(self, message: str) -> int:
        ((number,),) = self.house.rows("SELECT conversation FROM messages WHERE id = ?", message)
        return int(number)

    def reference(self, message: str) -> str:
        """Of the one delivery that a message has, once it is made."""
        (delivery,) = self.house.wait_for_states(message, "delivered")
        return str(delivery["reference"])

    def titles(self, message: str) -> list[str]:
        """What the hook was sent about a message."""
        sent = [request.json() for request in self.hooked.requests]
        return [str(each["title"]) for each in sent if each["message"]["id"] == message]

    def age(self, table: str, seconds: float) -> None:
        """Makes everything in a table so much older: as if the time had passed."""
        with closing(sqlite3.connect(self.house.database, timeout=10)) as db, db:
            db.execute(f"UPDATE {table} SET at = at - ?", (int(seconds * 1000),))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Receiver() as tracker, Receiver() as second, Receiver() as slow, Receiver() as hooked:
        destinations = {
            "tracker": redmine(tracker),
            "second": redmine(second),
            "slow": redmine(slow, retry=["0s", *["100ms"] * 200]),
            "hook": hook(hooked.url),
        }
        house = Instance(tmp_path_factory.mktemp("house"), rules=RULES, destinations=destinations)
        made = Desk(house, hooked)
        tracker.answer, second.answer, slow.answer = made.tracker, made.second, made.answer_slow
        house.start()
        yield made
        house.kill()


def redmine(receiver: Receiver, **settings: Any) -> dict[str, Any]:
    road = {"url": receiver.url, "api_key": SECRET, "allow_private": True}
    return {"kind": "redmine", "project": "inbox", **road, **settings}


def notes(tracker: FakeRedmine, reference: str) -> list[str]:
    return [str(note["notes"]) for note in tracker.issues[int(reference)]["notes"]]


# The monitoring example


def test_a_problem_opens_one_item_and_its_recovery_comments(desk: Desk) -> None:
    first = desk.post("alerts", "DOWN: web1/http")
    again = desk.post("alerts", "DOWN: WEB1/HTTP", sender="other@monitor.example")
    flapping = desk.post("alerts", "FLAPPING: web1/http")
    other = desk.post("alerts", "[web1] disk is DOWN")
    recovered = desk.post("alerts", "[web1] http is OK")
    reference = desk.reference(first)
    assert desk.reference(again) == desk.reference(recovered) == reference != desk.reference(other)
    assert desk.tracker.issues[int(reference)]["subject"] == "web1 has a problem"
    assert [each.split("\n")[0] for each in notes(desk.tracker, reference)] == ["It burns.", "it is OK"]
    assert desk.state(flapping) == ("dropped", "rule 'Flapping': it flaps")
    assert not desk.house.deliveries(flapping)
    shown = desk.shown(recovered)
    assert shown["message"]["row"]["found_by"] == "the key 'web1/http' that rule 'Alerts' correlates by"
    assert shown["message"]["deliveries"][0]["content"]["state"] == "closed"
    assert shown["trace"]["plan"]["correlations"][0]["key"] == "web1/http"


def test_the_window_slides_from_the_last_mail_of_the_key(desk: Desk) -> None:
    day = 86_400
    references = [desk.reference(desk.post("alerts", "DOWN: window/x"))]
    for pause in (2 * day, 2 * day, 3 * day - 60, 3 * day + 60):
        desk.age("correlations", pause)
        references.append(desk.reference(desk.post("alerts", "DOWN: window/x")))
    first, *more, last = references
    assert set(more) == {first} and last != first


def test_what_is_dropped_or_held_keeps_the_key_alive(desk: Desk) -> None:
    first = desk.post("alerts", "DOWN: lively/x")
    desk.age("correlations", 2 * 86_400)
    desk.post("alerts", "FLAPPING: lively/x")
    desk.age("correlations", 2 * 86_400)
    assert desk.reference(desk.post("alerts", "DOWN: lively/x")) == desk.reference(first)


def test_a_recovery_of_nothing_makes_nothing_and_says_so(desk: Desk) -> None:
    before = len(desk.tracker.issues)
    message = desk.post("alerts", "OK: nobody/knows")
    assert desk.state(message) == ("routed", "rule 'Recovered': nothing to update, the conversation has no item")
    assert not desk.house.deliveries(message)
    assert len(desk.tracker.issues) == before
    assert "nothing to update" in desk.house.command("show", message).stdout


def test_alerts_beyond_the_limit_of_their_host_are_held(desk: Desk) -> None:
    messages = [desk.post("alerts", f"DOWN: crowded/{number % 3}") for number in range(21)]
    held = "rule 'Alerts': more than 20 in an hour for 'crowded'"
    assert [desk.state(each)[0] for each in messages[:20]] == ["routed"] * 20
    assert desk.state(messages[20]) == ("held", held)
    assert desk.state(desk.post("alerts", "DOWN: elsewhere/1"))[0] == "routed"
    desk.age("limit_uses", 3601)
    assert desk.state(desk.post("alerts", "DOWN: crowded/1"))[0] == "routed"
    assert desk.house.command("release", messages[20]).returncode == 0
    assert desk.state(messages[20]) == ("routed", None)
    assert desk.reference(messages[20]) == desk.reference(messages[2])


def test_mails_of_one_key_that_come_at_once_open_one_item(desk: Desk) -> None:
    mails = [document(f"DOWN: burst/{number % 2}", recipient="alerts@customer.example") for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        messages = [answer.message for answer in pool.map(desk.house.post, mails)]
    assert len({desk.reference(each) for each in messages}) == 2


# Limits


def test_beyond_a_limit_actions_are_suppressed_and_others_go_on(desk: Desk) -> None:
    messages = [desk.post("suppress", f"mail {number}", sender="many@x.example") for number in range(3)]
    other = desk.post("suppress", "mail", sender="few@x.example")
    for each in (*messages[:2], other):
        desk.house.wait_for_states(each, "delivered", "delivered")
    limited, beside = desk.house.wait_for_states(messages[2], "suppressed", "delivered")
    reason = "rule 'Suppressing': more than 2 in an hour for 'many@x.example'"
    assert (limited["reason"], beside["rule"]) == (reason, "Beside the limit")
    assert desk.state(messages[2]) == ("routed", None)
    told = desk.shown(messages[2])["message"]["deliveries"][0]["row"]
    assert (told["state"], told["reason"]) == ("suppressed", reason)
    # What was suppressed counts for nothing: two of the last hour are what there may be.
    desk.age("limit_uses", 3601)
    desk.house.wait_for_states(desk.post("suppress", "mail 4", sender="MANY@x.example"), "delivered", "delivered")


def test_beyond_a_limit_mail_is_held_or_dropped(desk: Desk) -> None:
    first, second = (desk.post("holding", f"mail {number}") for number in range(2))
    desk.house.wait_for_states(first, "delivered")
    assert desk.state(second) == ("held", "rule 'Holding': more than 1 in an hour for 'jo@example.org'")
    assert not desk.house.deliveries(second)
    # A person has looked: the limit does not count.
    assert desk.house.command("release", second).returncode == 0
    desk.house.wait_for_states(second, "delivered")
    first, second = (desk.post("dropping", f"mail {number}", sender=f"{number}@x.example") for number in range(2))
    desk.house.wait_for_states(first, "delivered")
    reason = "rule 'Dropping': more than 1 in 90 seconds for 'all'"
    assert desk.state(second) == ("dropped", reason)
    assert desk.shown(second)["message"]["row"]["reason"] == reason
    desk.age("limit_uses", 91)
    desk.house.wait_for_states(desk.post("dropping", "mail 3"), "delivered")


def test_a_document_that_comes_again_counts_once(desk: Desk) -> None:
    mail = document("again", recipient="suppress@customer.example", sender="again@x.example")
    messages = {desk.house.post(mail).message for _ in range(4)}
    assert len(messages) == 1
    desk.house.wait_for_states(desk.post("suppress", "another", sender="again@x.example"), "delivered", "delivered")


def test_a_key_that_fails_costs_the_mail_nothing(desk: Desk) -> None:
    for number in range(2):
        message = desk.post("fails", f"mail {number}")
        desk.house.wait_for_states(message, "delivered")
    first, second = desk.shown(message)["trace"]["plan"]["notices"]
    assert first.startswith("rule 'Fails': no correlation: ") and second.startswith("rule 'Fails': no limit: ")
    assert "note: rule 'Fails': no limit: " in desk.house.command("show", message).stdout


# Correlation over rules, and what update reaches


def test_rules_with_a_group_share_the_keys(desk: Desk) -> None:
    broken = desk.post("ci", "broken #17")
    mended = desk.post("ci", "mended build-17")
    other = desk.post("ci", "mended build-18")
    reference = desk.reference(broken)
    assert desk.reference(mended) == reference != desk.reference(other)
    assert len(notes(desk.tracker, reference)) == 1
    reason = "rule 'Mended': nothing to update, the conversation has no item at second"
    assert desk.state(mended) == ("routed", reason)


def test_an_update_reaches_the_item_of_one_destination(desk: Desk) -> None:
    head = document("for both", recipient="both@customer.example")
    both = desk.house.post(head).message
    first, second = desk.house.wait_for_states(both, "delivered", "delivered")
    one = desk.post("one", "more", in_reply_to=message_id_of(head))
    assert desk.reference(one) == second["reference"]
    assert [each.split("\n")[0] for each in notes(desk.second, second["reference"])] == ["for the second"]
    assert not notes(desk.tracker, first["reference"])


def test_replies_comment_whoever_writes_them(desk: Desk) -> None:
    files = [{"Name": "a.txt", "ContentType": "text/plain", "Content": "aGVsbG8="}]
    head = document("It burns", recipient="support@customer.example", attachments=files)
    first = desk.house.post(head).message
    thread = {"in_reply_to": message_id_of(head)}
    customer = desk.post("support", "Re: It burns", text="Still.\n\n> It burns.\n", **thread)
    staff = desk.post(
        "support", "AW: It burns", text="We look.", sender="ada@customer.example", attachments=files, **thread
    )
    reference = desk.reference(first)
    assert desk.reference(customer) == desk.reference(staff) == reference
    assert [each.split("\n")[0] for each in notes(desk.tracker, reference)] == ["Still.", "We look."]
    issue = desk.tracker.issues[int(reference)]
    assert "uploads" not in issue and len(issue["notes"][1]["uploads"]) == 1
    shown = desk.shown(staff)
    assert shown["message"]["row"]["saw_items"] == ["tracker"]
    told = {each["rule"]: each["outcome"] for each in shown["trace"]["rules"]}
    assert (told["Conversations go on"], told["Support"]) == ("matched", "not reached")
    assert {each["rule"]: each["outcome"] for each in desk.shown(first)["trace"]["rules"]}["Support"] == "matched"


def test_updates_wait_behind_a_head_that_is_still_retrying(desk: Desk) -> None:
    desk.slow_is_down = True
    head = document("new item", recipient="slow@customer.example")
    first = desk.house.post(head).message
    until(lambda: desk.house.deliveries(first)[0]["state"] == "retrying", "the head is retried")
    # The item is still to be made, and is there for the rules.
    updates = [desk.post("slow", f"word {number}", in_reply_to=message_id_of(head)) for number in range(2)]
    assert [desk.house.deliveries(each)[0]["state"] for each in updates] == ["pending", "pending"]
    assert not desk.slow.issues
    desk.slow_is_down = False
    reference = desk.reference(first)
    assert [desk.reference(each) for each in updates] == [reference] * 2
    assert [each.split("\n")[0] for each in notes(desk.slow, reference)] == ["more of word 0", "more of word 1"]


def test_an_update_whose_head_dies_makes_no_item(desk: Desk) -> None:
    before = len(desk.slow.issues)
    desk.slow_is_down = True
    head = document("new head that dies", recipient="slow@customer.example")
    first = desk.house.post(head).message
    update = desk.post("slow", "word", in_reply_to=message_id_of(head))
    with closing(sqlite3.connect(desk.house.database, timeout=10)) as db, db:
        db.execute("UPDATE deliveries SET tries = 200 WHERE id = ?", (desk.house.deliveries(first)[0]["id"],))
    desk.house.wait_for_states(first, "dead")
    (delivery,) = desk.house.wait_for_states(update, "suppressed")
    assert delivery["reason"] == "the conversation has no item here to comment on"
    desk.slow_is_down = False
    assert len(desk.slow.issues) == before


def test_an_action_without_reuse_opens_an_item_of_its_own(desk: Desk) -> None:
    head = document("one", recipient="own@customer.example")
    first = desk.house.post(head).message
    second = desk.post("own", "two", in_reply_to=message_id_of(head))
    assert desk.conversation(first) == desk.conversation(second)
    assert desk.reference(first) != desk.reference(second)
    items = desk.house.rows("SELECT reference FROM items WHERE conversation = ?", desk.conversation(first))
    assert [row[0] for row in items] == [desk.reference(first)]


def test_one_mail_to_two_recipients_acts_once_unless_it_asks_for_each(desk: Desk) -> None:
    mail = document("twins", recipient="twin-a@customer.example")
    first = desk.house.post(mail).message
    second = desk.house.post({**mail, "InboundRcptTo": "twin-b@customer.example"}).message
    desk.house.wait_for_states(first, "delivered", "delivered")
    once, _ = desk.house.wait_for_states(second, "suppressed", "delivered")
    assert once["reason"] == f"the same mail reached two recipients; see {desk.house.deliveries(first)[0]['id']}"
    assert sorted(desk.titles(first)) == ["once", "twin-a@customer.example"]
    assert desk.titles(second) == ["twin-b@customer.example"]


# Hold, drop, release


def test_drop_sends_nothing_and_hold_is_stronger(desk: Desk) -> None:
    dropped, held = desk.post("judged", "spam"), desk.post("judged", "hold on")
    assert desk.state(dropped) == ("dropped", "rule 'Dropped': not wanted")
    assert desk.state(held) == ("held", "rule 'Held': look at hold on")
    # Dropped counts as planned: nobody else holds it.
    assert desk.shown(dropped)["message"]["row"]["matched"] == ["Dropped"]
    assert desk.house.command("release", held).returncode == 0
    assert desk.state(held) == ("dropped", "rule 'Dropped': not wanted")
    assert not desk.house.deliveries(held) and not desk.house.deliveries(dropped)
    again = desk.house.command("release", held)
    assert again.returncode == 1


def test_unmatched_mail_is_held_by_the_rule_for_it_and_released_to_nothing(desk: Desk) -> None:
    message = desk.post("nobody", "hello")
    assert desk.state(message) == ("held", "rule 'Nobody wanted it': no rule for this mail")
    assert desk.house.command("release", message).returncode == 0
    assert desk.state(message) == ("unmatched", None)
    shown = desk.shown(message)
    assert shown["message"]["events"][-1]["detail"] == "without Nobody wanted it"
    told = {each["rule"]: (each["outcome"], each["reason"]) for each in shown["trace"]["rules"]}
    assert told["Nobody wanted it"] == ("not reached", "it is left out here")
    assert desk.house.command("discard", message, "--yes").returncode == 0


HELD = """rules:
  - {name: Look first, when: {subject: {contains: look}}, then: [hold: {reason: a person looks}], stop: true}
  - name: Keyed
    when: {subject: {matches: 'k(\\\\d+)'}}
    extract: {key: {from: subject, matches: 'k(\\\\d+)'}}
    correlate: {by: "{{ key }}", window: 1h}
    then: [tracker: {title: %s}]
""".replace("\\\\", "\\")


@pytest.fixture
def tracked(start_instance: Start) -> Iterator[tuple[Instance, FakeRedmine]]:
    tracker = FakeRedmine()
    with Receiver(tracker) as receiver:
        yield start_instance(rules=HELD % "then", destinations={"tracker": redmine(receiver)}), tracker


def test_release_routes_under_todays_rules_without_the_holding_one(tracked: tuple[Instance, FakeRedmine]) -> None:
    house, tracker = tracked
    desk = Desk(house, Receiver())
    head = document("look at k1")
    held = house.post(head).message
    assert desk.state(held) == ("held", "rule 'Look first': a person looks")
    house.write_rules(HELD % "today")
    until(lambda: len(house.rows("SELECT 1 FROM rule_sets")) == 2, "the edit is taken")
    first = house.post(document("see k1")).message
    assert desk.reference(first) == "1"
    # Its key, which no rule was asked for when it was held, leads to the item that is there by now.
    assert house.command("release", held).returncode == 0
    assert desk.reference(held) == "1" and len(notes(tracker, "1")) == 1
    assert desk.conversation(held) == desk.conversation(first)
    shown = desk.shown(held)
    assert shown["message"]["row"]["found_by"] == "the key '1' that rule 'Keyed' correlates by"
    assert shown["message"]["events"][-1]["detail"] == "without Look first"
    told = {each["rule"]: each["outcome"] for each in shown["trace"]["rules"]}
    assert told == {"Look first": "not reached", "Keyed": "matched"}
    # And whoever answers the mail that was held comes there too.
    reply = house.post(document("see", in_reply_to=message_id_of(head))).message
    assert desk.conversation(reply) == desk.conversation(first)
    # The other way round: what was released first is there for those who come.
    other = house.post(document("look at k2")).message
    assert house.command("release", other).returncode == 0
    assert desk.reference(house.post(document("see k2")).message) == desk.reference(other) == "2"
    assert tracker.issues[2]["subject"] == "today"


def test_a_released_mail_with_replies_stays_where_it_is(tracked: tuple[Instance, FakeRedmine]) -> None:
    house, _ = tracked
    desk = Desk(house, Receiver())
    head = document("look at k5")
    held = house.post(head).message
    reply = house.post(document("see k6", in_reply_to=message_id_of(head))).message
    first = house.post(document("see k5")).message
    assert house.command("release", held).returncode == 0
    assert desk.conversation(held) == desk.conversation(reply) != desk.conversation(first)
    assert desk.reference(held) == desk.reference(reply) != desk.reference(first)
    # The key stays with those who had it.
    assert desk.reference(house.post(document("see k5 again")).message) == desk.reference(first)


def test_rules_that_hold_one_after_the_other_cannot_hold_for_ever(start_instance: Start) -> None:
    house = start_instance(
        rules="""rules:
  - {name: One, when: {subject: x}, then: [hold: {reason: first}], stop: true}
  - {name: Two, when: {subject: x}, then: [hold: {reason: second}], stop: true}
  - {name: Rest, when: always, then: [archive]}
"""
    )
    desk = Desk(house, Receiver())
    message = house.post(document("x")).message
    states = [desk.state(message)]
    for _ in range(2):
        assert house.command("release", message).returncode == 0
        states.append(desk.state(message))
    assert states == [("held", "rule 'One': first"), ("held", "rule 'Two': second"), ("routed", None)]
    house.wait_for_states(message, "delivered")


def test_defaults_by_kind_reach_what_is_sent(start_instance: Start) -> None:
    """The dispatcher compiles the rules of the store anew: it must send what `check` has seen."""
    tracker = FakeRedmine()
    with Receiver(tracker) as receiver:
        house = start_instance(
            rules="""
defaults: {redmine: {project: by-kind, footer: "seen by {{ rule }}"}}
rules: [{name: All, when: always, then: [tracker]}]
""",
            destinations={"tracker": redmine(receiver)},
        )
        house.wait_for_states(house.post(document()).message, "delivered")
    assert tracker.issues[1]["project_id"] == "by-kind"
    assert "seen by All" in tracker.issues[1]["description"]

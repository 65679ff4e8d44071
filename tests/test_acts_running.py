"""People act on mail by the commands of a running instance: what destinations get, and what survives a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Start
from tests.instance import ROOT, Instance, document, hook, message_id_of, until
from tests.kinds import SECRET
from tests.servers import Receiver, Reply, Request
from tests.standins.redmine import FakeRedmine

RULES = """
rules:
  - {name: Support, when: {recipient.user: support}, then: [hook: {title: "{{ subject }}"}]}
  - {name: Tickets, when: {recipient.user: tickets}, then: [tracker: {title: "{{ subject }}", attachments: none}]}
  - {name: Kept, when: {recipient.user: kept}, then: [archive: {title: "{{ subject }}"}]}
"""
MORE = RULES.replace("then: [hook:", "then: [archive, hook:") + "  - {name: Rest, when: unmatched, then: [archive]}\n"


class Desk:
    """The instance, its hook that may be down, and its tracker."""

    def __init__(self, house: Instance, hooked: Receiver) -> None:
        self.house = house
        self.hooked = hooked
        self.tracker = FakeRedmine()
        self.status = 200

    def answer(self, request: Request) -> Reply:
        return Reply(self.status)

    def post(self, user: str, subject: str, **more: Any) -> str:
        return self.house.post(document(subject, recipient=f"{user}@customer.example", **more)).message

    def sent(self, title: str) -> list[Request]:
        """What the hook got under a title."""
        return [each for each in list(self.hooked.requests) if each.json()["title"] == title]

    def archived(self, title: str) -> list[dict[str, Any]]:
        file = self.house.data_dir / "delivered.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [each for each in map(json.loads, lines) if each["title"] == title]

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints; fails unless it ends with that code."""
        done = self.house.command(*words)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    def states(self, message: str) -> list[str]:
        return [row["state"] for row in self.house.deliveries(message)]


@pytest.fixture
def desk(start_instance: Start) -> Iterator[Desk]:
    with Receiver() as hooked, Receiver() as tracked:
        road = {"url": tracked.url, "api_key": SECRET, "allow_private": True}
        destinations = {
            "hook": hook(hooked.url, retry=["0s", "1h"], circuit={"failures": 1000}),
            "tracker": {"kind": "redmine", "project": "inbox", **road},
        }
        house = start_instance(rules=RULES, destinations=destinations)
        made = Desk(house, hooked)
        hooked.answer, tracked.answer = made.answer, made.tracker
        yield made


def new_rules(desk: Desk, text: str) -> None:
    """An edit that the running program has taken."""
    query = "SELECT value FROM settings WHERE name = 'active_rule_set'"
    before = desk.house.rows(query)[0][0]
    desk.house.write_rules(text)
    until(lambda: desk.house.rows(query)[0][0] != before, "the edit is active")


def test_a_replay_makes_a_second_of_it_under_a_new_key(desk: Desk) -> None:
    posted, kept, ticket = (desk.post(user, "replayed") for user in ("support", "kept", "tickets"))
    for message in (posted, kept, ticket):
        (delivery,) = desk.house.wait_for_states(message, "delivered")
        assert desk.run("replay", delivery["id"]).startswith("1 of 1 deliveries are made again")
        desk.house.wait_for_states(message, "delivered", "delivered")
    first, second = desk.sent("replayed")
    assert first.headers["webhook-id"] != second.headers["webhook-id"]
    one, other = (each.json() for each in (first, second))
    assert one["body"] == other["body"] and one["message"] == other["message"]
    assert len({line["key"] for line in desk.archived("replayed")}) == 2
    ((issue),) = desk.tracker.issues.values()
    assert len(issue["notes"]) == 1, "as the conversation stands: a comment on the item that is there"
    references = {row["reference"] for row in desk.house.deliveries(ticket)}
    assert len(references) == 1


def test_a_reroute_after_an_edit_sends_only_what_is_new(desk: Desk) -> None:
    message = desk.post("support", "edited")
    other = desk.post("nobody", "edited")
    desk.house.wait_for_states(message, "delivered")
    assert "it has had all" in desk.run("re-route", message, code=1)
    new_rules(desk, MORE)
    shown = desk.run("re-route", "--dry-run", "edited")
    assert "re-route: 2 messages, now 1 routed, 1 unmatched" in shown and "new deliveries: archive 2" in shown
    assert "= Support: hook (delivered)" in shown and "+ Support: archive" in shown and "+ Rest: archive" in shown
    assert desk.states(message) == ["delivered"], "a preview only"
    desk.house.wait_until_quiet()
    assert desk.run("re-route", "edited", "--yes").startswith("2 of 2 messages routed again")
    desk.house.wait_for_states(message, "delivered", "delivered")
    desk.house.wait_for_states(other, "delivered")
    assert len(desk.sent("edited")) == 1 and len(desk.archived("edited")) == 2
    data = json.loads(desk.run("re-route", message, "--again", "--json"))
    assert (data["done"], data["made"], data["skipped"]) == (1, 2, {})
    desk.house.wait_for_states(message, *["delivered"] * 4)
    assert len({each.headers["webhook-id"] for each in desk.sent("edited")}) == 2


def test_a_dead_delivery_goes_out_under_a_mended_rule(desk: Desk) -> None:
    desk.status = 400
    message = desk.post("support", "mended")
    desk.house.wait_for_states(message, "dead")
    desk.status = 200
    new_rules(desk, RULES.replace('hook: {title: "{{ subject }}"', 'hook: {title: "better {{ subject }}"'))
    assert desk.run("re-route", message).startswith("1 of 1")
    desk.house.wait_for_states(message, "cancelled", "delivered")
    assert len(desk.sent("better mended")) == 1
    assert "nothing to retry" in desk.run("retry", message, code=1)


def test_what_waits_can_be_taken_back_and_others_go_on(desk: Desk) -> None:
    desk.status = 503
    begun = document("head", recipient="support@customer.example")
    head = desk.house.post(begun).message
    desk.house.wait_for_states(head, "retrying")
    follower = desk.post("support", "follower", in_reply_to=message_id_of(begun))
    desk.status = 200
    assert desk.run("cancel", head).startswith("1 of 1 deliveries are taken back")
    desk.house.wait_for_states(follower, "delivered")
    assert desk.states(head) == ["cancelled"]
    assert "it was taken back already" in desk.run("cancel", head, code=1)
    shown = json.loads(desk.run("show", head, "--json"))
    assert [event["what"] for event in shown["message"]["events"]] == ["cancel"]


def test_replays_keep_the_order_of_their_conversation(desk: Desk) -> None:
    begun = document("order 0", recipient="kept@customer.example")
    messages = [desk.house.post(begun).message]
    for number in range(1, 6):
        messages.append(desk.post("kept", f"order {number}", in_reply_to=message_id_of(begun)))
    desk.house.wait_until_quiet()
    desk.run("replay", *reversed(messages), "--yes")
    desk.house.wait_until_quiet()
    lines = (desk.house.data_dir / "delivered.jsonl").read_text().splitlines()
    titles = [json.loads(line)["title"] for line in lines]
    assert titles == [f"order {number}" for number in (*range(6), *range(6))]


def test_it_asks_before_it_touches_many(desk: Desk) -> None:
    messages = [desk.post("nobody", f"asked {number}") for number in range(12)]
    for words in (("asked",), tuple(messages)):
        refused = desk.run("discard", *words, code=1)
        assert "Discard 12 messages?" in refused and "now 12 unmatched" in refused and "stopped" in refused
    data = json.loads(desk.run("discard", "asked", "--dry-run", "--json"))
    assert data["targets"] == messages and data["becomes"] == {"discarded": 12}
    assert data["each"][0]["sentence"] == "Nothing of it is sent."
    assert desk.run("discard", "asked", "--yes") == "12 of 12 messages discarded\n"
    assert "nothing to discard" in desk.run("discard", "asked", "--yes", code=1)
    assert "state:hold is no state" in desk.run("discard", "state:hold", "--yes", code=2)
    desk.run("discard", "asked", "--dry-run", code=1)


def test_a_search_of_the_command_line_keeps_its_blanks(desk: Desk) -> None:
    new_rules(desk, RULES.replace("name: Kept", "name: Kept for long"))
    message = desk.post("kept", "blanks")
    desk.house.wait_for_states(message, "delivered")
    for word in ("rule:Kept for long", 'rule:"Kept for long"'):
        assert json.loads(desk.run("replay", word, "--dry-run", "--json"))["destinations"] == {"archive": 1}
        assert [each["id"] for each in json.loads(desk.run("history", word, "--json"))] == [message]


def test_a_kill_in_between_loses_and_doubles_nothing(desk: Desk) -> None:
    house = desk.house
    messages = [desk.post("nobody", f"killed {number}") for number in range(300)]
    new_rules(desk, MORE)
    house.stop()
    words = [sys.executable, str(ROOT / "app.py"), "re-route", "killed", "--yes", "--config", str(house.config_file)]
    command = subprocess.Popen(
        words, cwd=house.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    count = "SELECT COUNT(*) FROM deliveries"
    until(lambda: house.rows(count)[0][0] > 0, "the first are routed", 30)
    command.kill()
    command.communicate()
    done = house.rows(count)[0][0]
    assert 0 < done < 300, "it was killed in between"
    states = Counter(row[0] for row in house.rows("SELECT state FROM messages"))
    assert states == {"routed": done, "unmatched": 300 - done}
    assert len(house.rows("SELECT 1 FROM events WHERE what = 're-route'")) == done
    assert f"{300 - done} of 300 messages routed again" in desk.run("re-route", "killed", "--yes")
    house.start()
    house.wait_until_quiet()
    lines = [json.loads(line) for line in (house.data_dir / "delivered.jsonl").read_text().splitlines()]
    assert Counter(each["message"]["id"] for each in lines) == Counter(messages)

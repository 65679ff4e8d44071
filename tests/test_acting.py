"""What people may do to mail: every act in every state, what it makes, what it refuses, and how that is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.acts import ACTS, ON_DELIVERIES, ON_MESSAGES, Act
from postroom.store.content import unpack_content
from postroom.store.states import DeliveryState, MessageState
from tests.acting_room import Room

RULES = """
rules:
  - {name: Support, when: {recipient.user: support}, then: [hook]}
  - {name: Tickets, when: {recipient.user: tickets}, then: [tracker]}
  - {name: Two, when: {recipient.user: two}, then: [hook, archive]}
  - {name: Odd, when: {recipient.user: odd}, then: [hold: {reason: look at it}]}
  - {name: Junk, when: {recipient.user: junk}, then: [drop: {reason: not wanted}]}
"""
NOBODY = "00000000-0000-7000-8000-000000000000"
POSSIBLE: dict[str, set[str]] = {
    "retry": {"dead", "retrying"},
    "replay": {"delivered"},
    "cancel": {"pending", "retrying"},
    "release": {"held"},
    "discard": {"held", "unmatched"},
    "re-route": {"held", "unmatched", "dropped"},
}
"""Of a message that is routed, discarded, or as today's rules want it, a re-route makes nothing."""
FITTING = (
    RULES.replace("odd}", "odd2}").replace("junk}", "junk2}") + "  - {name: Rest, when: unmatched, then: [hook]}\n"
)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path, RULES)


def in_state(room: Room, state: str) -> str:
    """A message in a state."""
    user = {"held": "odd", "dropped": "junk", "routed": "support"}.get(state, "nobody")
    message = room.mail(user)
    if state == "discarded":
        assert room.acting.discard(message, "eve").done
    assert room.message(message)["state"] == state
    return message


# Every act in every state


@pytest.mark.parametrize("state", list(DeliveryState))
@pytest.mark.parametrize("act", ON_DELIVERIES)
def test_acts_on_deliveries_in_every_state(room: Room, act: Act, state: str) -> None:
    message = room.mail("support")
    (delivery,) = room.deliveries(message)
    room.end(delivery["id"], state)
    before = room.everything()
    (preview,) = room.acting.preview(act, delivery["id"])
    assert room.everything() == before
    assert preview.possible == (state in POSSIBLE[act]) and preview.state == state
    outcome = room.acting.act(act, delivery["id"], "ada")
    assert (outcome.done, outcome.found) == (preview.possible, True)
    if preview.possible:
        assert "hook" in preview.sentence and "hook" in outcome.sentence
        assert [event[:2] for event in room.events(message)][-1] == (act, "ada")
        return
    assert room.everything() == before
    assert preview.reason == outcome.reason and preview.reason in outcome.sentence
    assert len(outcome.reason.split()) > 3, "it says why"
    again = room.acting.act(act, message, "ada")
    assert not again.done and again.reason == outcome.reason, "by the message's id, too"


@pytest.mark.parametrize("state", list(MessageState))
@pytest.mark.parametrize("act", ON_MESSAGES)
def test_acts_on_messages_in_every_state(room: Room, act: Act, state: str) -> None:
    message = in_state(room, state)
    room.rules(FITTING)
    before = room.everything()
    (preview,) = room.acting.preview(act, message)
    assert room.everything() == before
    assert preview.possible == (state in POSSIBLE[act]), preview
    outcome = room.acting.act(act, message, "ada")
    assert (outcome.done, outcome.found) == (preview.possible, True)
    if not preview.possible:
        assert room.everything() == before
        assert preview.reason == outcome.reason and preview.reason in outcome.sentence
        return
    assert room.message(message)["state"] == preview.becomes
    assert [event[:2] for event in room.events(message)][-1] == (act, "ada")
    after = room.everything()
    assert not room.acting.act(act, message, "ada").done, "twice finds nothing left to do"
    assert room.everything() == after


@pytest.mark.parametrize("act", ACTS)
def test_what_is_not_there(room: Room, act: Act) -> None:
    outcome = room.acting.act(act, NOBODY, "ada")
    assert (outcome.done, outcome.found) == (False, False)
    assert "no such" in outcome.sentence
    assert room.acting.preview(act, NOBODY) == ()
    with pytest.raises(ValueError, match="known are retry"):
        room.acting.act("sell", NOBODY, "ada")  # type: ignore[arg-type]


def test_a_message_without_deliveries_has_nothing_to_retry(room: Room) -> None:
    outcome = room.acting.retry(in_state(room, "unmatched"), "ada")
    assert (outcome.done, outcome.found, outcome.reason) == (False, True, "it has no deliveries")


@pytest.mark.parametrize("act", ["replay", "re-route"])
def test_without_the_text_nothing_is_made_anew(room: Room, act: Act) -> None:
    message = room.mail("support")
    room.end_all(message)
    room.writer.run(lambda db: db.execute("DELETE FROM contents"))
    (preview,) = room.acting.preview(act, message)
    outcome = room.acting.act(act, message, "ada", again=True)
    assert not outcome.done and "no longer kept" in outcome.sentence and "no longer kept" in preview.sentence


def test_a_message_stands_for_its_deliveries(room: Room) -> None:
    message = room.mail("two")
    first, _ = room.deliveries(message)
    room.end(first["id"], "dead")
    outcome = room.acting.retry(message, "ada")
    assert outcome.done and outcome.sentence == "1 of 2 deliveries is tried again now."
    assert [row["state"] for row in room.deliveries(message)] == ["retrying", "pending"]
    assert room.acting.cancel(message, "ada").sentence == "2 of 2 deliveries are taken back."
    outcome = room.acting.replay(message, "ada")
    assert not outcome.done and outcome.reason == "of its deliveries, it was taken back"


# Replay


def test_a_replay_sends_the_same_under_a_new_key(room: Room) -> None:
    message = room.mail("support")
    room.end_all(message)
    (old,) = room.deliveries(message)
    outcome = room.acting.replay(old["id"], "ada")
    before, new = room.deliveries(message)
    assert tuple(before) == tuple(old), "what was delivered stays as it was"
    assert outcome.made == (new["id"],) and new["id"] != old["id"]
    assert (new["state"], new["attempts"], new["tries"], new["uncertain"]) == ("pending", 0, 0, 0)
    assert unpack_content(new["content"]) == unpack_content(old["content"])
    assert [each.id for each in room.due("hook")] == [new["id"]]
    assert (new["rule"], new["action"], new["destination"]) == ("Support", 0, "hook")
    ((what, who, detail),) = room.events(message)
    assert (what, who) == ("replay", "ada") and old["id"] in str(detail) and new["id"] in str(detail)
    room.end_all(message)
    third = room.acting.replay(new["id"], "ada")
    assert third.done, "a replay can be replayed"


def test_a_replay_is_sent_as_it_was_though_the_rules_are_others(room: Room) -> None:
    message = room.mail("support")
    room.end_all(message)
    room.rules("rules: [{name: Other, when: always, then: [archive]}]")
    assert room.acting.replay(message, "ada").done
    (owed,) = room.due("hook")
    assert owed.rule_set == room.message(message)["rule_set"] and owed.content is not None


def test_a_token_does_it_once(room: Room) -> None:
    message = room.mail("two")
    room.end_all(message)
    answers = []
    for token in ("form 1", "form 1", "form 2", ""):
        answers.append(room.acting.replay(message, "ada", token=token))
        room.end_all(message)
    assert answers[0] == answers[1] and answers[0].done
    assert [len(answer.made) for answer in answers] == [2, 2, 2, 2], "what was replayed is not replayed beside"
    assert len({answer.made for answer in answers}) == 3
    assert len(room.deliveries(message)) == 2 * 4
    assert len(room.events(message)) == 6
    (first, *_) = room.deliveries(message)
    one = [room.acting.replay(first["id"], "ada", token=token) for token in ("form 3", "form 3", "form 4")]
    assert one[0] == one[1] != one[2]
    other = room.mail("support")
    room.end_all(other)
    assert room.acting.replay(other, "ada", token="form 1").done, "a token is for what it was given for"


def test_a_replay_waits_for_its_turn_in_the_conversation(room: Room) -> None:
    first = room.mail("support", message_id="<head@example.org>")
    room.end_all(first)
    second = room.mail("support", references=("<head@example.org>",))
    assert room.acting.replay(first, "ada").done
    (head,) = room.due("hook")
    assert head.id == room.deliveries(second)[0]["id"], "the reply was owed before"
    room.end(head.id, "retrying")
    assert room.due("hook") == []


# Cancel


def test_what_is_taken_back_lets_others_go_on(room: Room) -> None:
    first = room.mail("support", message_id="<cancelled@example.org>")
    room.end_all(first, "retrying")
    second = room.mail("support", references=("<cancelled@example.org>",))
    assert room.due("hook") == []
    outcome = room.acting.cancel(first, "ada")
    assert outcome.done
    assert [each.id for each in room.due("hook")] == [room.deliveries(second)[0]["id"]]
    (row,) = room.deliveries(first)
    assert (row["state"], row["reason"]) == ("cancelled", "taken back by ada")
    assert row["finished_at"] is not None


def test_what_may_have_got_through_is_told_and_a_made_item_is_kept(room: Room) -> None:
    message = room.mail("tickets")
    (delivery,) = room.deliveries(message)
    room.end(delivery["id"], "retrying", unknown=True, step="item")
    assert "may have got through" in room.acting.cancel(delivery["id"], "ada").sentence
    assert [row["reference"] for row in room.rows("SELECT reference FROM items")] == ["T-1"]


def test_what_is_being_tried_cannot_be_taken_back_nor_claimed_afterwards(room: Room) -> None:
    (delivery,) = room.deliveries(room.mail("support"))
    owed = next(each for each in room.due("hook") if each.id == delivery["id"])
    assert room.acting.cancel(delivery["id"], "ada").done
    with pytest.raises(StopIteration):
        room.claim(delivery["id"])
    from postroom.store import outbox

    assert not room.writer.run(lambda db: outbox.claim(db, owed, b"", "late", 2**60)), (
        "looked at before, taken too late"
    )

"""Re-routing stored mail under today's rules: what counts as had, what is planned anew, and many at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom import aims
from postroom.acts import BulkPreview
from tests.acting_room import Room

ONE = "rules: [{name: Support, when: {recipient.user: support}, then: [hook]}]"
MORE = """
rules:
  - {name: Support, when: {recipient.user: support}, then: [hook, archive]}
  - {name: New, when: always, then: [tracker]}
"""
HELD = "rules: [{name: Look, when: always, then: [hold: {reason: look first}]}]"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path, ONE)


def new(room: Room, message: str) -> list[tuple[str, str]]:
    """What a preview says would be owed anew."""
    (preview,) = room.acting.preview("re-route", message)
    return [(each.rule, each.destination) for each in preview.planned if each.new]


# What counts as had


def test_after_an_edit_only_what_is_new_is_owed(room: Room) -> None:
    message = room.mail()
    room.end_all(message)
    number = room.rules(MORE)
    (preview,) = room.acting.preview("re-route", message)
    assert preview.possible and preview.becomes == "routed" and preview.matched == ("Support", "New")
    told = [(each.rule, each.action, each.destination, each.new, each.had) for each in preview.planned]
    assert told == [
        ("Support", 0, "hook", False, "delivered"),
        ("Support", 1, "archive", True, ""),
        ("New", 0, "tracker", True, ""),
    ]
    outcome = room.acting.reroute(message, "ada")
    assert outcome.done and outcome.sentence == "It is routed: 2 new deliveries, to archive and tracker."
    assert room.owed(message) == [
        ("Support", "hook", "delivered"), ("Support", "archive", "pending"), ("New", "tracker", "pending")
    ]  # fmt: skip
    row = room.message(message)
    assert (row["rule_set"], row["matched"], row["state"]) == (number, "Support\nNew", "routed")
    ((what, who, detail),) = room.events(message)
    assert (what, who) == ("re-route", "ada")
    assert all(id in str(detail) for id in outcome.made) and "'New' to tracker" in str(detail)
    again = room.acting.reroute(message, "ada")
    assert not again.done and again.reason == "it has had all that today's rules plan"


def test_again_owes_all_but_what_is_still_owed(room: Room) -> None:
    room.rules(MORE)
    message = room.mail()
    hook, archive, _ = room.deliveries(message)
    room.end(hook["id"], "delivered")
    room.end(archive["id"], "cancelled")
    assert not room.acting.reroute(message, "ada").done, "a person took one back, and that counts"
    answers = [room.acting.reroute(message, "ada", again=True, token="form") for _ in range(2)]
    assert answers[0] == answers[1] and len(answers[0].made) == 2
    states = [each for each in room.owed(message) if each[1] != "tracker"]
    assert states == [
        ("Support", "hook", "delivered"), ("Support", "archive", "cancelled"),
        ("Support", "hook", "pending"), ("Support", "archive", "pending"),
    ]  # fmt: skip
    assert [each for each in room.owed(message) if each[1] == "tracker"] == [("New", "tracker", "pending")]
    room.end_all(message)
    assert len(room.acting.reroute(message, "ada", again=True, token="form").made) == 2, "answered as before"
    assert len(room.deliveries(message)) == 5
    assert len(room.acting.reroute(message, "ada", again=True).made) == 3


def test_a_dead_delivery_that_made_nothing_gives_its_place(room: Room) -> None:
    message = room.mail()
    (dead,) = room.deliveries(message)
    room.end(dead["id"], "dead")
    (preview,) = room.acting.preview("re-route", message)
    assert preview.planned[0].new and preview.planned[0].replaces_dead
    (id,) = room.acting.reroute(message, "ada").made
    old, young = room.deliveries(message)
    assert (old["state"], old["reason"]) == ("cancelled", f"routed again; see {id}")
    assert (young["id"], young["state"], young["content"]) == (id, "pending", None)
    assert young["once"] == dead["once"], "for other recipients of this mail it is the same action"
    assert not room.acting.retry(dead["id"], "ada").done
    room.end(id, "dead")
    assert room.acting.reroute(message, "ada").done, "and once more"
    assert [state for _, _, state in room.owed(message)] == ["cancelled", "cancelled", "pending"]


@pytest.mark.parametrize("how", [{"unknown": True}, {"step": "item"}], ids=["unknown result", "a finished step"])
def test_what_may_have_been_made_is_not_made_twice(room: Room, how: dict[str, object]) -> None:
    message = room.mail()
    (dead,) = room.deliveries(message)
    room.end(dead["id"], "dead", **how)  # type: ignore[arg-type]
    (preview,) = room.acting.preview("re-route", message)
    assert not preview.possible and "retry it" in preview.planned[0].had
    assert not room.acting.reroute(message, "ada").done
    assert room.acting.reroute(message, "ada", again=True).done


@pytest.mark.parametrize("state", ["pending", "sending", "retrying"])
def test_what_is_still_owed_counts(room: Room, state: str) -> None:
    message = room.mail()
    room.end(room.deliveries(message)[0]["id"], state)
    assert new(room, message) == []
    assert not room.acting.reroute(message, "ada", again=True).done


def test_actions_in_another_order_are_the_same(room: Room) -> None:
    room.rules("rules: [{name: R, when: always, then: [hook, {tracker: {}}]}]")
    message = room.mail()
    room.end_all(message)
    room.rules("rules: [{name: R, when: always, then: [archive, {tracker: {}}, hook, {hook: {title: more}}]}]")
    assert new(room, message) == [("R", "archive"), ("R", "hook")]
    outcome = room.acting.reroute(message, "ada")
    assert len(outcome.made) == 2
    assert [state for _, _, state in room.owed(message)] == ["delivered", "delivered", "pending", "pending"]


def test_a_limit_does_not_count_when_a_person_looks(room: Room) -> None:
    room.rules("rules: [{name: R, when: always, limit: {per: all, count: 1, window: 1d}, then: [hook]}]")
    messages = [room.mail(), room.mail()]
    assert [state for message in messages for _, _, state in room.owed(message)] == ["pending", "suppressed"]
    uses = room.rows("SELECT * FROM limit_uses")
    assert room.acting.reroute(messages[1], "ada").done
    assert [state for _, _, state in room.owed(messages[1])] == ["suppressed", "pending"]
    assert room.rows("SELECT * FROM limit_uses") == uses


# The same mail to several recipients


def test_twins_act_once(room: Room) -> None:
    twins = [room.mail(user, message_id="<twin@example.org>") for user in ("one", "two")]
    assert [room.message(each)["state"] for each in twins] == ["unmatched", "unmatched"]
    room.rules(MORE)
    first, second = (room.acting.reroute(each, "ada") for each in twins)
    assert len(first.made) == 1 and second.done and not second.made
    assert second.sentence == "It is routed: another recipient's message does all of it."
    assert room.owed(twins[1]) == [("New", "tracker", "suppressed")]
    assert room.deliveries(twins[1])[0]["reason"] == f"the same mail reached two recipients; see {first.made[0]}"
    assert not room.acting.reroute(twins[1], "ada").done
    (id,) = room.acting.reroute(twins[1], "ada", again=True).made
    assert room.owed(twins[1])[-1] == ("New", "tracker", "pending") and id == room.deliveries(twins[1])[-1]["id"]


# States


def test_unmatched_mail_goes_where_a_new_rule_wants_it(room: Room) -> None:
    message = room.mail("nobody")
    (preview,) = room.acting.preview("re-route", message)
    assert not preview.possible and preview.reason == "today's rules plan nothing for it too"
    room.rules(MORE)
    assert new(room, message) == [("New", "tracker")]
    assert room.acting.reroute(message, "ada").done
    assert room.message(message)["state"] == "routed"


def test_rules_that_hold_or_drop_send_nothing(room: Room) -> None:
    sent, unmatched = room.mail(), room.mail("nobody")
    room.end_all(sent)
    room.rules(HELD)
    before = room.everything()
    refused = room.acting.reroute(sent, "ada", again=True)
    assert not refused.done
    assert refused.reason == "today's rules hold it: rule 'Look': look first; it stays as it was routed"
    assert room.everything() == before
    held = room.acting.reroute(unmatched, "ada")
    assert held.done and held.sentence == "It is held: rule 'Look': look first."
    row = room.message(unmatched)
    assert (row["state"], row["held_by"], row["matched"]) == ("held", "Look", "Look")
    room.rules("rules: [{name: Look, when: always, then: [drop: {reason: no}]}]")
    assert room.acting.reroute(unmatched, "ada").done
    assert room.message(unmatched)["state"] == "dropped"


def test_a_rule_that_a_person_overruled_stays_overruled(room: Room) -> None:
    both = """
rules:
  - {name: Look, when: always, then: [hold: {reason: look first}]}
  - {name: Support, when: always, then: [hook]}
"""
    room.rules(both)
    message = room.mail()
    assert not room.acting.reroute(message, "ada").done, "it is held by today's rules, too"
    assert room.acting.release(message, "ada").done
    room.rules(both + "  - {name: New, when: always, then: [archive]}\n")
    outcome = room.acting.reroute(message, "ada")
    assert outcome.done and [place for _, place, _ in room.owed(message)] == ["hook", "archive"]
    assert room.message(message)["held_by"] == "Look"
    assert room.events(message)[-1][2].startswith("without Look")  # type: ignore[union-attr]


def test_discarded_mail_is_only_routed_when_asked_twice(room: Room) -> None:
    message = room.mail("nobody")
    room.acting.discard(message, "eve")
    room.rules(MORE)
    assert "again" in room.acting.reroute(message, "ada").reason
    assert room.acting.reroute(message, "ada", again=True).done
    assert room.owed(message) == [("New", "tracker", "pending")]


def test_what_is_owed_already_stays_with_its_rules(room: Room) -> None:
    message = room.mail()
    before = room.message(message)["rule_set"]
    after = room.rules(MORE)
    assert room.acting.reroute(message, "ada").done
    assert [owed.rule_set for owed in room.due("hook")] == [before]
    assert [owed.rule_set for owed in room.due("archive")] == [after]


# Conversations


GOES_ON = """
rules:
  - {name: Goes on, when: {item: {exists: true}}, then: [update], stop: true}
  - {name: Begins, when: always, then: [tracker]}
"""


def test_its_own_item_is_none_to_comment_on(room: Room) -> None:
    room.rules(GOES_ON)
    first = room.mail(message_id="<begin@example.org>")
    room.end_all(first)
    reply = room.mail(references=("<begin@example.org>",))
    assert room.owed(reply) == [("Goes on", "tracker", "pending")]
    room.end_all(reply)
    for message in (first, reply):
        assert not room.acting.reroute(message, "ada").done, "both have had theirs"
    room.rules(GOES_ON + "  - {name: More, when: always, then: [hook]}\n")
    assert new(room, first) == [("More", "hook")]
    assert new(room, reply) == []


def test_an_unmatched_reply_comments_on_what_is_there(room: Room) -> None:
    room.rules("rules: [{name: Begins, when: {recipient.user: support}, then: [tracker]}]")
    room.end_all(first := room.mail(message_id="<there@example.org>"))
    reply = room.mail("nobody", references=("<there@example.org>",))
    assert room.message(reply)["conversation"] == room.message(first)["conversation"]
    room.rules(GOES_ON)
    assert room.acting.reroute(reply, "ada").done
    assert room.owed(reply) == [("Goes on", "tracker", "pending")]
    assert room.message(reply)["saw_items"] == "tracker"


def test_an_update_that_finds_nothing_says_so(room: Room) -> None:
    message = room.mail("nobody")
    room.rules("rules: [{name: R, when: always, then: [update: {destination: tracker}]}]")
    outcome = room.acting.reroute(message, "ada")
    assert outcome.done and "nothing to update" in outcome.sentence
    row = room.message(message)
    assert row["state"] == "routed" and "no item at tracker" in row["reason"]
    assert room.acting.reroute(message, "ada").reason.startswith("nothing to do: rule 'R'")


def test_a_key_ties_mail_that_waited_to_its_conversation(room: Room) -> None:
    keyed = "rules: [{name: Alerts, when: %s, correlate: {by: '{{ subject }}', window: 3d}, then: [tracker]}]"
    room.rules(keyed % "{recipient.user: alerts}")
    first = room.mail("alerts", "web1 is down")
    waited, sent = room.mail("nobody", "web1 is down"), room.mail("nobody", "db is down")
    room.rules(keyed % "always")
    assert room.acting.reroute(waited, "ada").done and room.acting.reroute(sent, "ada").done
    numbers = [room.message(each)["conversation"] for each in (first, waited, sent)]
    assert numbers[0] == numbers[1] != numbers[2]
    assert "correlates by" in room.message(waited)["found_by"]
    (owed,) = room.due("tracker")[:1]
    assert owed.id == room.deliveries(first)[0]["id"], "it waits behind the first"
    moved = room.mail("alerts", "db is down")
    assert room.message(moved)["conversation"] == numbers[2]


# Search and many at once


def found(room: Room, query: str) -> set[str]:
    return {row.id for row in room.history.find(query).rows}


def test_the_search_follows(room: Room) -> None:
    message = room.mail("nobody")
    room.index()
    fresh = room.mail("nobody")
    assert found(room, "dest:tracker") == found(room, "rule:New") == set()
    room.rules(MORE)
    assert room.acting.reroute(message, "ada").done
    assert room.acting.reroute(fresh, "ada").done, "not in the index yet"
    for query in ("dest:tracker", "rule:New", "dest:tracker rule:New state:pending"):
        assert found(room, query) == {message, fresh}
    room.index()
    assert found(room, "dest:tracker") == {message, fresh}


def mailbox(room: Room) -> dict[str, str]:
    """Mail of many sorts, under rules that are not today's."""
    kinds = {
        "sent": room.mail(subject="invoice 1"),
        "dead": room.mail(subject="invoice 2"),
        "retrying": room.mail(subject="invoice 3"),
        "unmatched": room.mail("nobody", "invoice 4"),
        "discarded": room.mail("nobody", "invoice 5"),
        "other": room.mail(subject="something else"),
    }
    for name in ("sent", "dead", "retrying", "other"):
        room.end_all(kinds[name], "delivered" if name in ("sent", "other") else name)
    room.acting.discard(kinds["discarded"], "eve")
    return kinds


def test_a_preview_of_many_is_what_is_done(room: Room) -> None:
    kinds = mailbox(room)
    room.rules(MORE)
    before = room.everything()
    preview = room.acting.bulk_preview("re-route", query="invoice")
    assert room.everything() == before
    wanted = [kinds[name] for name in ("sent", "dead", "retrying", "unmatched")]
    assert list(preview.targets) == wanted, "oldest first, so that conversations keep their order"
    assert preview.states == {"routed": 3, "unmatched": 1} and preview.becomes == {"routed": 4}
    assert preview.destinations == {"tracker": 4, "archive": 3, "hook": 1}
    assert preview.impossible == {"a person discarded it; only 'again' routes it": 1}
    assert not preview.more and not preview.problems and len(preview.each) == 5
    progress: list[int] = []
    done = room.acting.bulk("re-route", preview.targets, "ada", rule_set=preview.rule_set, advance=progress.append)
    assert (done.asked, done.done, done.made, done.skipped) == (4, 4, 8, {})
    assert sum(progress) == 4
    made = room.rows("SELECT destination, COUNT(*) FROM deliveries WHERE state = 'pending' GROUP BY 1")
    assert dict(tuple(row) for row in made) == preview.destinations
    assert room.acting.bulk_preview("re-route", query="invoice").targets == ()


def test_what_changed_since_the_preview_is_left_and_told(room: Room) -> None:
    kinds = mailbox(room)
    preview = room.acting.bulk_preview("retry", query="invoice")
    assert preview.states == {"dead": 1, "retrying": 1}
    (gone,) = room.deliveries(kinds["retrying"])
    assert room.acting.cancel(gone["id"], "eve").done
    done = room.acting.bulk("retry", [*preview.targets, "00000000-0000-7000-8000-000000000000"], "ada")
    assert (done.asked, done.done) == (3, 1)
    assert done.skipped == {"it was taken back": 1, "there is no such delivery or message": 1}


def test_other_rules_than_in_the_preview_route_nothing(room: Room) -> None:
    mailbox(room)
    room.rules(MORE)
    preview = room.acting.bulk_preview("re-route", query="invoice")
    room.rules(HELD)
    before = room.everything()
    done = room.acting.bulk("re-route", preview.targets, "ada", rule_set=preview.rule_set)
    assert (done.done, done.skipped) == (0, {"other rules are active than in the preview": 4})
    assert room.everything() == before


def test_a_search_picks_among_the_deliveries_of_its_messages(room: Room) -> None:
    room.rules(MORE)
    messages = [room.mail(), room.mail()]
    for message in messages:
        room.end_all(message, "dead")

    def picked(query: str) -> set[str]:
        preview = room.acting.bulk_preview("retry", query=query)
        return {f"{each.rule} {each.destination}" for each in preview.each if each.possible}

    assert picked("dest:hook") == {"Support hook"}
    assert picked("state:dead -dest:hook") == set(), "messages that have none there at all"
    assert picked("rule:New") == {"New tracker"}
    assert picked("state:dead") == {"Support hook", "Support archive", "New tracker"}
    assert len(room.acting.bulk_preview("retry", query="state:dead").targets) == 6


def test_many_is_bounded(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aims, "LIMIT", 3)
    monkeypatch.setattr("postroom.acting.LIMIT", 3)
    messages = [room.mail("nobody", f"many {number}") for number in range(5)]
    preview = room.acting.bulk_preview("discard", query="many")
    assert list(preview.targets) == messages[2:] and preview.more
    with pytest.raises(ValueError, match="at most 3"):
        room.acting.bulk("discard", messages, "ada")
    assert room.acting.bulk("discard", preview.targets, "ada").done == 3
    left = room.acting.bulk_preview("discard", query="many")
    assert list(left.targets) == messages[:2] and not left.more


def test_a_search_that_makes_no_sense_touches_nothing(room: Room) -> None:
    room.mail("nobody")
    preview = room.acting.bulk_preview("discard", query="state:hold")
    assert preview.targets == () and "state:hold is no state" in preview.problems[0]
    for wrong in ({}, {"query": " "}, {"query": "x", "ids": ["y"]}):
        with pytest.raises(ValueError, match="either ids or a search"):
            room.acting.bulk_preview("discard", **wrong)  # type: ignore[arg-type]


def test_many_are_done_once_for_one_token(room: Room) -> None:
    messages = [room.mail(), room.mail()]
    for message in messages:
        room.end_all(message)
    preview: BulkPreview = room.acting.bulk_preview("replay", ids=messages)
    first = room.acting.bulk("replay", preview.targets[:1], "ada", token="form")
    both = room.acting.bulk("replay", preview.targets, "ada", token="form")
    assert (first.made, both.done, both.made) == (1, 2, 2)
    assert [len(room.deliveries(message)) for message in messages] == [2, 2]


def test_a_fault_costs_its_own_message_only(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [room.mail("nobody", f"fault {number}") for number in range(3)]
    room.rules(MORE)
    evaluate, number = room.book.active()

    def faulty(message: object, *rest: object) -> object:
        if getattr(message, "subject", "") == "fault 1":
            raise RuntimeError("a fault")
        return evaluate(message, *rest)  # type: ignore[arg-type, call-arg]

    monkeypatch.setattr(room.acting, "_active", lambda: (faulty, number))
    preview = room.acting.bulk_preview("re-route", ids=messages)
    assert list(preview.targets) == [messages[0], messages[2]]
    assert preview.impossible == {"a fault of the program; its log tells more": 1}
    done = room.acting.bulk("re-route", messages, "ada")
    assert (done.done, done.skipped) == (2, {"a fault of the program; its log tells more": 1})
    assert [room.message(each)["state"] for each in messages] == ["routed", "unmatched", "routed"]

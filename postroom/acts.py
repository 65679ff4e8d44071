"""What people may do to mail, in words and records: what each act is for, and what it says before and after.

=============  =================================================================================================
``retry``      tries a dead or waiting delivery again now: same content, same idempotency key
``replay``     delivers again what was delivered: the same content in a new delivery, under a new key
``cancel``     takes back a delivery that is not made yet
``re-route``   routes a message under today's rules; owes only actions that it has not had, or, ``again``, all
``release``    routes a held message under today's rules, without those that held it
``discard``    ends a held or unmatched message: nothing of it is sent
=============  =================================================================================================

The first three act on deliveries, the others on messages. The records are encoded as they are, for programs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from postroom.store.redelivery import Target
from postroom.store.routing import Judgement
from postroom.store.states import DeliveryState, MessageState

Act = Literal["retry", "replay", "cancel", "re-route", "release", "discard"]

ON_DELIVERIES: tuple[Act, ...] = ("retry", "replay", "cancel")
ON_MESSAGES: tuple[Act, ...] = ("re-route", "release", "discard")
ACTS: tuple[Act, ...] = (*ON_DELIVERIES, *ON_MESSAGES)

BY_RULES: tuple[Act, ...] = ("re-route", "release")

ALLOWED: dict[Act, tuple[str, ...]] = {
    "retry": (DeliveryState.DEAD, DeliveryState.RETRYING),
    "replay": (DeliveryState.DELIVERED,),
    "cancel": (DeliveryState.PENDING, DeliveryState.RETRYING),
    "re-route": tuple(MessageState),
    "release": (MessageState.HELD,),
    "discard": (MessageState.HELD, MessageState.UNMATCHED),
}
"""In which states of a delivery or message an act is possible. A re-route has reasons of its own to refuse."""

UNKNOWN = "there is no such delivery or message"
PRUNED = "the text of the mail is no longer kept"

_HINTS: dict[tuple[str, str], str] = {
    ("retry", DeliveryState.PENDING): "it is not tried yet, and will be",
    ("retry", DeliveryState.SENDING): "it is being tried now",
    ("retry", DeliveryState.DELIVERED): "it is delivered; replay delivers it again",
    ("retry", DeliveryState.SUPPRESSED): "it was not owed",
    ("retry", DeliveryState.CANCELLED): "it was taken back",
    ("replay", DeliveryState.PENDING): "it is not delivered yet, and will be",
    ("replay", DeliveryState.SENDING): "it is being tried now",
    ("replay", DeliveryState.RETRYING): "it is not delivered yet, and is tried again",
    ("replay", DeliveryState.DEAD): "it was never delivered; retry tries it again",
    ("replay", DeliveryState.SUPPRESSED): "it was not owed",
    ("replay", DeliveryState.CANCELLED): "it was taken back",
    ("cancel", DeliveryState.SENDING): "it is being tried now",
    ("cancel", DeliveryState.DELIVERED): "it is delivered already",
    ("cancel", DeliveryState.DEAD): "it is given up already",
    ("cancel", DeliveryState.SUPPRESSED): "it was not owed",
    ("cancel", DeliveryState.CANCELLED): "it was taken back already",
}
_DONE = {"retry": "tried again now", "replay": "made again", "cancel": "taken back"}
_WILL = {
    "retry": "is tried again now: same content, same key",
    "replay": "is made again now: same content, new key",
    "cancel": "is taken back",
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an act ended. `sentence` tells people; where nothing was done, why."""

    done: bool
    sentence: str
    found: bool = True
    """False: nothing has such an id."""
    made: tuple[str, ...] = ()
    """The ids of deliveries that are owed anew."""
    reason: str = ""
    """Where nothing was done: why, as a part of a sentence."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """An action that today's rules plan for a message."""

    rule: str
    action: int
    destination: str
    update: bool
    new: bool
    """It would be owed anew."""
    had: str = ""
    """Why it would not be."""
    replaces_dead: bool = False
    """A dead delivery is taken back for it."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What an act would do to one delivery or message, as things stand. Nothing was written."""

    act: str
    id: str
    message: str
    """The message's id."""
    state: str
    recipient: str
    subject: str | None
    rule: str = ""
    destination: str = ""
    possible: bool
    sentence: str
    """What would happen, or why not."""
    reason: str = ""
    """Where it is not possible: why, as a part of a sentence."""
    becomes: str = ""
    """The state that a message would have afterwards."""
    matched: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    """Rules that would hold it; likewise `drops`."""
    drops: tuple[str, ...] = ()
    planned: tuple[Planned, ...] = ()


class BulkPreview(msgspec.Struct, frozen=True, kw_only=True):
    """What an act would do to many. Each is judged by itself, as things stand."""

    act: str
    again: bool
    rule_set: int | None
    """The number of the rules that were asked; give it with the ids, so that other rules do not surprise."""
    targets: tuple[str, ...]
    """What it is possible for: ids of deliveries or messages, oldest first."""
    states: dict[str, int]
    """How many of the targets are in which state now."""
    destinations: dict[str, int]
    """How many deliveries it concerns, or would owe, at each destination."""
    becomes: dict[str, int]
    """How many messages would be in which state afterwards; empty for deliveries."""
    impossible: dict[str, int]
    """Why it is not possible for others: how many of each."""
    more: bool = False
    """More than may be acted on at once meet the search: these are the newest of them."""
    problems: tuple[str, ...] = ()
    """What of the search makes no sense: then there are no targets."""
    each: tuple[Preview, ...] = ()


class BulkOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an act on many ended."""

    act: str
    asked: int
    done: int
    made: int
    """Deliveries that are owed anew."""
    skipped: dict[str, int]
    """Why others were left: how many of each."""
    outcomes: dict[str, Outcome]
    """By the ids of deliveries or messages."""


def why_not(act: Act, state: str) -> str:
    """Why an act is not possible in a state; empty where it is."""
    if state in ALLOWED[act]:
        return ""
    if act in ON_DELIVERIES:
        return _HINTS.get((act, state), f"it is {state}")
    wanted = " or ".join(ALLOWED[act])
    return f"it is {state}, not {wanted}"


def preview_of(act: Act, target: Target, judged: Judgement | None = None) -> Preview:
    """`judged`: of a message that would be routed."""
    reason = why_not(act, target.state)
    if not reason and act == "replay" and not target.kept:
        reason = PRUNED
    becomes = ""
    planned: tuple[Planned, ...] = ()
    holds: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()
    if judged is not None:
        reason = judged.refusal
        becomes, matched = judged.becomes, judged.plan.matched
        holds = tuple(dict.fromkeys(each.rule for each in judged.plan.holds))
        drops = tuple(dict.fromkeys(each.rule for each in judged.plan.drops))
        planned = planned_of(judged)
    elif act == "discard" and not reason:
        becomes = MessageState.DISCARDED
    if reason:
        sentence = f"Not possible: {reason}."
    elif act in ON_DELIVERIES:
        sentence = f"The delivery to {target.destination} {_WILL[act]}."
    elif judged is None:
        sentence = "Nothing of it is sent."
    else:
        sentence = routed_sentence(judged, tense="would be")
    return Preview(
        act=act,
        id=target.id,
        message=target.message,
        state=target.state,
        recipient=target.recipient,
        subject=target.subject,
        rule=target.rule,
        destination=target.destination,
        possible=not reason,
        sentence=sentence,
        reason=reason,
        becomes=becomes,
        matched=matched,
        holds=holds,
        drops=drops,
        planned=planned,
    )


def refused(act: Act, reason: str, *, found: bool = True) -> Outcome:
    """Nothing was done. `reason` as in `Outcome`."""
    return Outcome(done=False, sentence=f"Nothing to {act}: {reason}.", found=found, reason=reason)


def summary(act: Act, done: list[Outcome]) -> Outcome:
    """The outcome for a message of an act on its deliveries."""
    count = sum(each.done for each in done)
    if not count:
        reasons = listed(list(grouped(each.reason for each in done)))
        return refused(act, f"of its deliveries, {reasons}" if len(done) > 1 else reasons)
    told = f"{count} of {len(done)} deliveries {'is' if count == 1 else 'are'} {_DONE[act]}."
    return Outcome(done=True, sentence=told, made=tuple(each for outcome in done for each in outcome.made))


def planned_of(judged: Judgement) -> tuple[Planned, ...]:
    return tuple(
        Planned(
            rule=action.step.rule,
            action=action.step.action,
            destination=action.step.destination,
            update=action.step.update,
            new=not action.had and not judged.refusal,
            had=action.had,
            replaces_dead=bool(action.replaces),
        )
        for action in judged.actions
    )


def routed_sentence(judged: Judgement, *, tense: str = "is") -> str:
    """What routing a message makes of it: `It is routed: 2 new deliveries, to hook and tracker.`"""
    told = f"It {tense} {judged.becomes}"
    owed = judged.owed
    if owed:
        places = sorted({each.step.destination for each in owed})
        told += f": {counted(len(owed), 'new delivery', 'new deliveries')}, to {listed(places)}"
    elif judged.why:
        told += f": {judged.why}"
    elif judged.becomes == MessageState.ROUTED:
        told += ": another recipient's message does all of it"
    return f"{told}."


def grouped(reasons: Iterable[str], most: int = 20) -> dict[str, int]:
    """How often each reason, the frequent first; rare ones beyond `most` together."""
    counts: dict[str, int] = {}
    for each in reasons:
        counts[each] = counts.get(each, 0) + 1
    ranked = sorted(counts.items(), key=lambda entry: -entry[1])
    rest = sum(count for _, count in ranked[most:])
    return dict(ranked[:most]) | ({"other reasons": rest} if rest else {})


def counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""

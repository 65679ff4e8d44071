"""What people do to mail: retry, replay, cancel, re-route, release, discard; one by one, or many after a preview."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from postroom.acting import LIMIT, Act, Acting, BulkOutcome, BulkPreview, Outcome
from postroom.acts import ON_DELIVERIES
from postroom.web.api.contract import UNSET, Call, Fault, Id, OneId, Route, Unset, given
from postroom.web.api.messages import Search

Once = Annotated[
    str,
    Meta(
        max_length=200,
        description="A text of your own: the same one again, within a day, does nothing more and answers the same.",
    ),
]


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to deliver again."""

    once: Once = ""


class Reroute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to route again. `again`: owe all that today's rules plan, though the message had some of it."""

    again: bool = False
    once: Once = ""


class Chosen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An action and what it is for: either `ids` of messages or deliveries, or the newest that meet a `query`."""

    action: Act
    ids: Annotated[list[Id], Meta(min_length=1, max_length=LIMIT)] | Unset = UNSET
    query: Annotated[Search, Meta(pattern=r"\S")] | Unset = UNSET
    again: bool = False
    """For a re-route: see there."""


class Ordered(Chosen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An action and what it is for: either `ids` of messages or deliveries, or the newest that meet a `query`.

    `rule_set` is the number that the preview told: where other rules are active now, nothing is routed.
    """

    rule_set: Annotated[int, Meta(ge=1, le=2**63 - 1)] | Unset = UNSET
    once: Once = ""


_REFUSED = {409: "It stands in a state where this means nothing; `detail` says why."}
_NO_MESSAGE = {404: "No message has this id.", **_REFUSED}
_NO_DELIVERY = {404: "No delivery has this id.", **_REFUSED}


def routes(acting: Acting) -> list[Route]:
    """The actions, all for operators."""

    def act(act: Act) -> Callable[[Call], Outcome]:
        def take(call: Call) -> Outcome:
            again = call.body.again if isinstance(call.body, Reroute) else False
            once = call.body.once if isinstance(call.body, Reroute | Replay) else ""
            return outcome(acting.act(act, call.path.id.lower(), call.who, again=again, token=once))

        return take

    def preview(call: Call) -> BulkPreview:
        return previewed(call.body)

    def many(call: Call) -> BulkOutcome:
        body: Ordered = call.body
        # What a search finds is judged first: only what the action is possible for is acted on.
        ids = given(body.ids) or previewed(body).targets
        number = given(body.rule_set)
        return acting.bulk(body.action, ids, call.who, again=body.again, token=body.once, rule_set=number)

    def previewed(body: Chosen) -> BulkPreview:
        ids, query = given(body.ids) or (), given(body.query) or ""
        return acting.bulk_preview(body.action, ids=ids, query=query, again=body.again)

    post = partial(Route, "POST", role="operator")
    made = []
    summaries: dict[Act, str] = {
        "retry": "Tries again now what is dead or waits: same content, same idempotency key.",
        "replay": "Delivers again what was delivered: the same content under a new key.",
        "cancel": "Takes back what is not delivered yet.",
    }
    for name in ON_DELIVERIES:
        body = Replay if name == "replay" else None
        for where, faults in (("deliveries", _NO_DELIVERY), ("messages", _NO_MESSAGE)):
            told = summaries[name] + (" All deliveries of the message." if where == "messages" else "")
            path = f"/{where}/{{id}}/{name}"
            made.append(post(path, told, act(name), Outcome, takes=OneId, body=body, faults=faults))
    return [
        *made,
        post("/messages/{id}/re-route", "Routes a message under today's rules; owes what it has not had.",
             act("re-route"), Outcome, takes=OneId, body=Reroute, faults=_NO_MESSAGE),
        post("/messages/{id}/release", "Routes a held message under today's rules, without those that held it.",
             act("release"), Outcome, takes=OneId, faults=_NO_MESSAGE),
        post("/messages/{id}/discard", "Ends a held or unmatched message: nothing of it is sent.",
             act("discard"), Outcome, takes=OneId, faults=_NO_MESSAGE),
        post("/actions/preview", "What an action would do to many. Nothing is written.", preview, BulkPreview,
             body=Chosen, one_of=("ids", "query")),
        post("/actions", "Takes an action on many, oldest first; those that changed meanwhile are skipped.", many,
             BulkOutcome, body=Ordered, one_of=("ids", "query")),
    ]  # fmt: skip


def outcome(found: Outcome) -> Outcome:
    """The same; ends the call where nothing was done."""
    if found.done:
        return found
    raise Fault(409 if found.found else 404, found.sentence)

"""What people do to mail on the pages: to one message or delivery, or to many, each after a look at what it would do.

| URL | what |
| --- | --- |
| `GET /messages/ID/ACT` | what the act would do; `again=1`: a re-route of all that the rules plan |
| `POST /messages/ID/ACT` | does it; 303 back to the message |
| `GET`, `POST /deliveries/ID/ACT` | the same for one delivery: `retry`, `replay`, `cancel` |
| `POST /messages/bulk` | what `act` would do to each message `id`, or with `all` to those that `q` and `state` find |
| `POST /messages/bulk/confirm` | does what was previewed; 303 back to the list |

All of them need the role operator. Acts are those of postroom/acts.py.
"""

from __future__ import annotations

import secrets
from typing import cast
from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom import acts
from postroom.acting import LIMIT, Acting
from postroom.acts import Act, BulkOutcome, Outcome
from postroom.store.history import History
from postroom.store.query import with_condition
from postroom.web import auth
from postroom.web.messages import ACTS, asked

TITLES: dict[str, str] = dict(ACTS)
MEANINGS = {
    "retry": "The delivery is tried again now: same content, same key, so that nothing is made twice.",
    "replay": "What was delivered is delivered once more, on purpose, under a new key: the destination gets it again.",
    "cancel": "The delivery is taken back before it is made.",
    "re-route": "The message is judged by today's rules. Only actions that it has not had are owed.",
    "release": "The message is routed by today's rules, as if those that held it were not there.",
    "discard": "Nothing of the message is sent.",
}
_SHOWN = 200
"""Of what a bulk preview lists one by one."""
_EVERYTHING = "after:1970-01-01"
_ON_DELIVERIES = ", ".join(f'"{act}"' for act in acts.ON_DELIVERIES)
_ALL = ", ".join(f'"{act}"' for act in acts.ACTS)


def routes(pages: Blueprint, *, history: History, acting: Acting) -> None:
    """Adds these to the pages of mail."""

    @pages.get(f"/messages/<uuid:id>/<any({_ALL}):act>")
    def preview_message(id: UUID, act: str) -> ResponseReturnValue:
        return preview(act, str(id), str(id))

    @pages.get(f"/deliveries/<uuid:id>/<any({_ON_DELIVERIES}):act>")
    def preview_delivery(id: UUID, act: str) -> ResponseReturnValue:
        return preview(act, str(id), message_of(str(id)))

    @pages.post(f"/messages/<uuid:id>/<any({_ALL}):act>")
    def act_on_message(id: UUID, act: str) -> ResponseReturnValue:
        outcome = done(act, str(id))
        return redirect(url_for("dashboard.message", id=id, _anchor=_anchor(outcome)), 303)

    @pages.post(f"/deliveries/<uuid:id>/<any({_ON_DELIVERIES}):act>")
    def act_on_delivery(id: UUID, act: str) -> ResponseReturnValue:
        auth.require_role("operator")
        message = message_of(str(id))
        outcome = done(act, str(id))
        anchor = _anchor(outcome) or f"delivery-{id}"
        return redirect(url_for("dashboard.message", id=message, _anchor=anchor), 303)

    def message_of(delivery: str) -> str:
        found = history.delivery(delivery)
        if found is None:
            abort(404, "No delivery has this id.")
        return found.message

    def preview(act: str, id: str, message: str) -> ResponseReturnValue:
        auth.require_role("operator")
        again = act == "re-route" and bool(request.args.get("again"))
        detail = history.message(message)
        if detail is None:
            abort(404, "No message has this id. It may have been pruned or erased.")
        return render_template(
            "act.html",
            act=act,
            title=TITLES[act],
            meaning=MEANINGS[act],
            row=detail.row,
            previews=acting.preview(cast("Act", act), id, again=again),
            again=again,
            here=request.path,
            token=secrets.token_urlsafe(9),
        )

    def done(act: str, id: str) -> Outcome:
        auth.require_role("operator")
        again = act == "re-route" and bool(request.form.get("again"))
        # A form that is sent twice acts once.
        token = request.form.get("token", "")[:40]
        outcome = acting.act(cast("Act", act), id, auth.current_user() or "", again=again, token=token)
        if not outcome.found:
            abort(404, "Nothing has this id. It may have been pruned or erased.")
        flash(outcome.sentence, "good" if outcome.done else "bad")
        return outcome

    @pages.post("/messages/bulk")
    def bulk_preview() -> ResponseReturnValue:
        auth.require_role("operator")
        search, state = asked(request.form.get)
        act, everything = _act(), bool(request.form.get("all"))
        ids = [] if everything else request.form.getlist("id")[:LIMIT]
        if not ids and not everything:
            flash("Choose messages first, or all that the search finds.", "bad")
            return redirect(url_for("dashboard.messages", q=search or None, state=state or None), 303)
        query = ""
        if everything:
            query = (with_condition(search, "state", state) if state else search) or _EVERYTHING
        again = act == "re-route" and bool(request.form.get("again"))
        found = acting.bulk_preview(act, ids=ids, query=query, again=again)
        return render_template(
            "bulk.html",
            found=found,
            title=TITLES[act],
            meaning=MEANINGS[act],
            of_deliveries=act in acts.ON_DELIVERIES,
            messages=len({each.message for each in found.each if each.possible}),
            shown=sorted(found.each, key=lambda each: not each.possible)[:_SHOWN],
            ids=ids,
            everything=everything,
            search=search,
            state=state,
            limit=LIMIT,
            token=secrets.token_urlsafe(9),
        )

    @pages.post("/messages/bulk/confirm")
    def bulk_act() -> ResponseReturnValue:
        auth.require_role("operator")
        search, state = asked(request.form.get)
        ids = request.form.get("targets", "").split()
        if len(ids) > LIMIT:
            abort(400, f"At most {LIMIT:,} at once.")
        outcome = acting.bulk(
            _act(),
            ids,
            auth.current_user() or "",
            again=bool(request.form.get("again")),
            token=request.form.get("token", "")[:40],
            rule_set=request.form.get("rule_set", type=int),
        )
        flash(told(outcome), "good" if outcome.done else "bad")
        return redirect(url_for("dashboard.messages", q=search or None, state=state or None), 303)


def told(outcome: BulkOutcome) -> str:
    """`Retry: 12 of 14 done. Left as they were: 2, for it is delivered already.`"""
    lines = [f"{TITLES[outcome.act]}: {outcome.done:,} of {outcome.asked:,} done."]
    if outcome.made:
        lines.append(f"{acts.counted(outcome.made, 'new delivery is', 'new deliveries are')} owed.")
    if outcome.skipped:
        reasons = "; ".join(f"{count}, for {reason}" for reason, count in outcome.skipped.items())
        lines.append(f"Left as they were: {reasons}.")
    return " ".join(lines)


def _act() -> Act:
    act = request.form.get("act", "")
    if act not in acts.ACTS:
        abort(400, "There is no such thing to do.")
    return act


def _anchor(outcome: Outcome) -> str | None:
    return f"delivery-{outcome.made[0]}" if outcome.made else None

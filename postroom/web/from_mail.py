"""From one mail to a rule or a test of the rules: drafts to go on from.

| URL | what |
| --- | --- |
| `GET /messages/ID/make-rule` | a rule that matches this mail; `destination`: where it sends it |
| `GET /messages/ID/make-test` | a test with this mail, its conversation, and what happened |

The button on both opens the draft in the editor of the rules, for people with the role editor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from flask import Blueprint, abort, current_app, render_template, request
from flask.typing import ResponseReturnValue

from postroom import drafting
from postroom.identity import identify
from postroom.message import Message
from postroom.plan import Plan
from postroom.problems import InvalidFiles
from postroom.rules import Rule, RuleSet
from postroom.store.history import History
from postroom.store.past import earlier_of
from postroom.store.records import MessageDetail
from postroom.store.states import DeliveryState, MessageState

RuleSetOf = Callable[[int], RuleSet]
"""A rule set by its number. Raises KeyError where there is none, InvalidFiles where it can no longer be read."""
_PRUNED = "The text of this mail is no longer kept, and so nothing can be made of it."


def routes(
    pages: Blueprint,
    *,
    history: History,
    rule_set_of: RuleSetOf,
    active_number: Callable[[], int],
    destinations: Sequence[str],
) -> None:
    """Adds these to the pages of mail. `active_number` is that of the active rule set, `destinations` their names."""

    @pages.get("/messages/<uuid:id>/make-rule")
    def make_rule(id: UUID) -> ResponseReturnValue:
        detail, message = found(id)
        used = [each.row.destination for each in detail.deliveries if each.row.destination in destinations]
        destination = request.args.get("destination") or next(iter([*used, *destinations]), "")
        rules = rules_now()
        names = {rule.name for rule in _all(rules.rules)} if rules else set()
        return render_template(
            "from_mail.html",
            what="rule",
            row=detail.row,
            text=drafting.rule_draft(message, destination if destination in destinations else "", names),
            destinations=destinations,
            destination=destination,
            path=f"05-mail-{detail.row.id[-6:]}.yaml",
            editor="rules.new" in current_app.view_functions,
        )

    @pages.get("/messages/<uuid:id>/make-test")
    def make_test(id: UUID) -> ResponseReturnValue:
        detail, _ = found(id)
        try:
            rules = rule_set_of(detail.row.rule_set)
        except (KeyError, InvalidFiles):
            abort(404, "The rules that this mail was routed under can no longer be read.")
        return render_template(
            "from_mail.html",
            what="test",
            row=detail.row,
            text=draft_of_case(history, detail, rules),
            path=f"95-test-{detail.row.id[-6:]}.yaml",
            editor="rules.new" in current_app.view_functions,
        )

    def found(id: UUID) -> tuple[MessageDetail, Message]:
        detail = history.message(str(id))
        if detail is None:
            abort(404, "No message has this id. It may have been pruned or erased.")
        if detail.message is None:
            abort(404, _PRUNED)
        return detail, detail.message

    def rules_now() -> RuleSet | None:
        try:
            return rule_set_of(active_number())
        except (LookupError, InvalidFiles):
            return None


def draft_of_case(history: History, detail: MessageDetail, rules: RuleSet) -> str:
    """The test of a stored message, of which the text is still there, under the rules it was routed under."""
    row, message = detail.row, detail.message
    assert message is not None
    items = None if row.saw_items is None else (lambda _: row.saw_items or ())
    # A test leaves out no rules, though a person did when it was released.
    plan = rules.evaluate(message, items)
    updates = {(step.rule, step.action) for step in plan.steps if step.update}
    updated = [
        (each.row.rule, each.row.destination)
        for each in detail.deliveries
        if (each.row.rule, each.row.action) in updates
    ]
    alike = rules.evaluate(drafting.plain_breaks(message), items)
    # The same mail to another recipient would have all of it done already.
    mail = identify(message).mail
    look = partial(earlier_of, conversation=row.conversation, seq=row.seq, most=drafting.MOST_EARLIER)
    before = [each for each in history.read(look) if identify(each).mail != mail]
    return drafting.case_draft(
        message,
        drafting.happened(plan, updated),
        rules_text="\n".join(rules.files.values()),
        earlier=before,
        continues=row.found_by is not None,
        exact_breaks=(alike.steps, alike.holds, alike.drops) != (plan.steps, plan.holds, plan.drops),
        notes=_notes(detail, plan),
    )


def _notes(detail: MessageDetail, plan: Plan) -> list[str]:
    """What happened otherwise than the mail alone would lead to."""
    row = detail.row
    found = []
    if row.left_out:
        found.append(
            f"It was held by {', '.join(row.left_out)}, and released: the test has what the rules do by themselves."
        )
    if row.state in (MessageState.HELD, MessageState.DROPPED) and not (plan.holds or plan.drops) and row.reason:
        found.append(f"It was {row.state} for what came before it, which the test has not: {row.reason}")
    if any(each.row.state == DeliveryState.SUPPRESSED for each in detail.deliveries):
        found.append("Some of it was not owed, for the same mail to another recipient or a limit had it done already.")
    return found


def _all(rules: Sequence[Rule]) -> list[Rule]:
    return [each for rule in rules for each in (rule, *_all(rule.rules))]

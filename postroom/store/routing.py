"""A stored message routed under today's rules because a person wants it: what that would do, and doing it.

`judge` only reads, so that a preview is what is done afterwards. Every function works inside the transaction of its
caller.

An action counts as had where a rule of the same name acted at the same destination for this message: delivered, still
owed, taken back by a person, or given up after it may have been made. One that was given up and made nothing is planned
anew, and takes the place of the dead delivery. Where a rule's actions were put into another order, they still count.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from postroom.message import Message
from postroom.plan import Plan, Step
from postroom.store import conversations, verdicts
from postroom.store.messages import ItemsOf, plan_with_items
from postroom.store.owing import DELIVERY_COLUMNS, SAME_MAIL, Keys, delivery_row, nothing_to_update, once_key
from postroom.store.states import DeliveryState, MessageState

SUPERSEDED = "routed again"
"""How the reason of a dead delivery begins in whose place another was planned."""

_OPEN = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.RETRYING)
_VOID = (DeliveryState.SUPPRESSED, DeliveryState.CANCELLED)


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One action that today's rules plan for a message."""

    step: Step
    """With the destination that is meant, where an `update` names none."""
    had: str = ""
    """Why it is not owed anew; empty: it is owed."""
    replaces: tuple[int, ...] = ()
    """The dead deliveries (their seqs) in whose place it is owed."""
    twin: str | None = None
    """The delivery of the same mail to another recipient that does the same: this one is suppressed, and says so."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What routing a message again would do. `refusal`: why nothing is done; then the rest may be empty."""

    seq: int = 0
    state: str = ""
    """What the message is now."""
    becomes: str = ""
    """What it would be."""
    why: str | None = None
    """Why it would be held or dropped, or has nothing to do."""
    refusal: str = ""
    plan: Plan = Plan()
    actions: tuple[Action, ...] = ()
    conversation: int = 0
    found_by: str | None = None
    """The evidence that makes it a part of that conversation; None: it is where it was."""
    saw_items: str | None = None
    left_out: tuple[str, ...] = ()
    """Rules that a person overruled by releasing it."""
    received_at: int = 0
    rule_set: int = 0
    """The number of the one it was routed under."""

    @property
    def owed(self) -> list[Action]:
        """The actions that would be owed anew."""
        return [action for action in self.actions if not action.had]


class _Had(NamedTuple):
    """A delivery that a message has."""

    seq: int
    id: str
    state: str
    reason: str | None
    rule: str
    action: int
    destination: str
    uncertain: bool
    began: bool
    """It finished a step: part of it was made."""


def judge(
    db: sqlite3.Connection,
    id: str,
    message: Message | None,
    plan_with: Callable[[ItemsOf, frozenset[str]], Plan],
    keys: tuple[bytes, bytes],
    makers: Collection[str],
    *,
    release: bool,
    again: bool = False,
) -> Judgement:
    """What a release, or a re-route, would do with a message; `message`: None where its text is no longer kept.

    `plan_with` makes the plan: given what tells the conversation's items, and the rules to leave out. A release leaves
    out those that held it; a re-route those that a release left out before. A person looked: limits do not count.
    `keys`: the mail's and its delivery's, see owing.insert_deliveries; `makers`: the destinations that make items.
    `again`: what it has had is owed once more.
    """
    row = db.execute(
        "SELECT seq, state, conversation, held_by, received_at, rule_set FROM messages WHERE id = ?", (id,)
    ).fetchone()
    if row is None:
        return Judgement(refusal="there is no such message")
    seq, state, conversation, held_by, received_at, rule_set = row
    now = Judgement(
        seq=seq, state=state, becomes=state, conversation=conversation, received_at=received_at, rule_set=rule_set
    )
    if release and state != MessageState.HELD:
        return _refused(now, f"it is not held: it is {state}")
    if state == MessageState.DISCARDED and not again:
        return _refused(now, "a person discarded it; only 'again' routes it")
    if message is None:
        return _refused(now, "its text is no longer kept")
    had = _had(db, seq)
    overruled = release or state not in (MessageState.HELD, MessageState.DISCARDED)
    left_out = tuple((held_by or "").splitlines()) if overruled else ()
    # Its own items aside: it would go on with what it began itself.
    look = partial(verdicts.items_of, db, makers=makers) if release else partial(_items_besides, db, makers, seq)
    # Rules that were not asked when it came: one of them may tie it to an item that is there.
    alone = not had and conversations.is_alone(db, seq)
    plan, saw_items = plan_with_items(
        db,
        lambda items: plan_with(items, frozenset(left_out)),
        None if alone else conversation,
        received_at,
        makers,
        look,
    )
    found_by = None
    if alone and (found := verdicts.correlated(db, plan.correlations, received_at)) and found[0] != seq:
        conversation, found_by = found
    becomes, why = verdicts.state_of(plan, {})
    actions: tuple[Action, ...] = ()
    if becomes is MessageState.ROUTED:
        there = look(conversation) if any(step.update for step in plan.steps) else ()
        steps, why = _steps(plan, there, makers)
        actions = _actions(db, seq, steps, had, Keys(*keys), again)
    judged = msgspec.structs.replace(
        now,
        becomes=becomes,
        why=why,
        plan=plan,
        actions=actions,
        conversation=conversation,
        found_by=found_by,
        saw_items=saw_items if plan.asked_items else None,
        left_out=left_out,
    )
    return _refused(judged, "" if release else _reason_against(judged, had))


def carry_out(
    db: sqlite3.Connection, judged: Judgement, message: Message, keys: tuple[bytes, bytes], rule_set: int, now: int
) -> list[tuple[str, Action]]:
    """Does what was judged in the same transaction: the message's state, and what it is owed, under a rule set (its
    number). Returns the new deliveries' ids with their actions; those that are suppressed are not among them."""
    seq = judged.seq
    if judged.found_by is not None:
        conversations.move(db, seq, message, judged.conversation, judged.found_by)
    verdicts.remember_free_correlations(db, judged.plan.correlations, judged.conversation, judged.received_at)
    # What is owed already and was not rendered yet stays with the rules that planned it.
    db.execute(
        "UPDATE deliveries SET rule_set = ? WHERE message = ? AND rule_set IS NULL AND ? <> ?",
        (judged.rule_set, seq, judged.rule_set, rule_set),
    )
    holding = dict.fromkeys((*judged.left_out, *(each.rule for each in judged.plan.holds)))
    db.execute(
        "UPDATE messages SET state = ?, reason = ?, rule_set = ?, matched = ?, held_by = ?, saw_items = ?"
        " WHERE seq = ?",
        (
            judged.becomes,
            judged.why,
            rule_set,
            "\n".join(judged.plan.matched),
            "\n".join(holding) or None,
            judged.saw_items,
            seq,
        ),
    )
    made = []
    for action in judged.actions:
        if action.twin is not None or not action.had:
            id = _owe(db, judged, action, Keys(*keys), now)
            if action.twin is None:
                made.append((id, action))
    return made


def _refused(judged: Judgement, refusal: str) -> Judgement:
    return msgspec.structs.replace(judged, refusal=refusal)


def _reason_against(judged: Judgement, had: Sequence[_Had]) -> str:
    """Why a re-route would change nothing; empty where it does."""
    if judged.becomes == MessageState.ROUTED:
        if judged.state != MessageState.ROUTED or any(not each.had for each in judged.actions):
            return ""
        return "it has had all that today's rules plan" if judged.actions else f"nothing to do: {judged.why}"
    because = f": {judged.why}" if judged.why else ""
    told = {MessageState.HELD: "hold it", MessageState.DROPPED: "drop it"}.get(
        MessageState(judged.becomes), "plan nothing for it"
    )
    if any(each.state not in _VOID for each in had):
        return f"today's rules {told}{because}; it stays as it was routed"
    if judged.becomes == judged.state:
        return f"today's rules {told} too{because}"
    return ""


def _had(db: sqlite3.Connection, seq: int) -> list[_Had]:
    rows = db.execute(
        "SELECT seq, id, state, reason, rule, action, destination, uncertain,"
        " EXISTS (SELECT 1 FROM steps s WHERE s.delivery = deliveries.seq) AS began"
        " FROM deliveries WHERE message = ? ORDER BY seq",
        (seq,),
    ).fetchall()
    names = ("seq", "id", "state", "reason", "rule", "action", "destination")
    return [
        _Had(**{name: row[name] for name in names}, uncertain=bool(row["uncertain"]), began=bool(row["began"]))
        for row in rows
    ]


def _items_besides(
    db: sqlite3.Connection, makers: Collection[str], seq: int, conversation: int | None
) -> tuple[str, ...]:
    """The destinations where a conversation has an item that a message (its seq) did not make, or is to have one that
    an earlier message makes."""
    if conversation is None or not makers:
        return ()
    # By destination: so the index of open deliveries leads straight to those of the conversation.
    names = ", ".join(f"?{number}" for number in range(3, 3 + len(makers)))
    rows = db.execute(
        f"SELECT i.destination FROM items i WHERE i.conversation = ?1 AND i.destination IN ({names}) AND NOT EXISTS"
        " (SELECT 1 FROM deliveries d WHERE d.seq = i.delivery AND d.message = ?2) UNION"
        f" SELECT destination FROM deliveries WHERE destination IN ({names}) AND conversation = ?1 AND message < ?2"
        " AND state IN ('pending', 'sending', 'retrying') ORDER BY 1",
        (conversation, seq, *makers),
    )
    return tuple(row[0] for row in rows)


def _steps(plan: Plan, there: Sequence[str], makers: Collection[str]) -> tuple[list[Step], str | None]:
    """What a plan owes, an `update` at each item that it means; and which of those find none."""
    steps: list[Step] = []
    idle: list[str] = []
    items = set(there)
    for step in plan.steps:
        if not step.update:
            steps.append(step)
            items.update({step.destination}.intersection(makers))
            continue
        meant = [name for name in sorted(items) if step.destination in ("", name)]
        steps += [msgspec.structs.replace(step, destination=name) for name in meant]
        if not meant:
            idle.append(nothing_to_update(step))
    return steps, "; ".join(dict.fromkeys(idle)) or None


def _actions(
    db: sqlite3.Connection, seq: int, steps: Sequence[Step], had: Sequence[_Had], keys: Keys, again: bool
) -> tuple[Action, ...]:
    known: defaultdict[tuple[str, str], dict[int, list[_Had]]] = defaultdict(dict)
    for each in had:
        known[each.rule, each.destination].setdefault(each.action, []).append(each)
    # What stands at the same place in its rule is the same action; what is left of that rule and destination counts in
    # its order.
    actions = []
    taken: set[tuple[str, str, int]] = set()
    wanted = {(step.rule, step.destination, step.action) for step in steps}
    for step in steps:
        place = (step.rule, step.destination)
        at = step.action
        if at not in known[place]:
            spare = [each for each in sorted(known[place]) if each >= 0 and (*place, each) not in wanted | taken]
            at = spare[0] if spare else at
        taken.add((*place, at))
        actions.append(_judged(db, seq, step, known[place].get(at, []), keys, again))
    return tuple(actions)


def _judged(db: sqlite3.Connection, seq: int, step: Step, had: Sequence[_Had], keys: Keys, again: bool) -> Action:
    for each in had:
        if each.state in _OPEN:
            return Action(step=step, had=f"still owed: {each.state}")
    dead = tuple(each.seq for each in had if each.state == DeliveryState.DEAD)
    if again:
        return Action(step=step, replaces=dead)
    for each in had:
        if told := _counts(each):
            return Action(step=step, had=told)
    if not had:
        row = db.execute(
            "SELECT id FROM deliveries WHERE once = ? AND message <> ? AND rule = ? AND destination = ?",
            (once_key(step, keys), seq, step.rule, step.destination),
        ).fetchone()
        if row is not None:
            return Action(step=step, had=f"{SAME_MAIL}; see {row[0]}", twin=row[0])
    return Action(step=step, replaces=dead)


def _counts(had: _Had) -> str:
    """Why a delivery that is final counts as had; empty where it does not."""
    reason = had.reason or ""
    if had.state == DeliveryState.DELIVERED:
        return "delivered"
    if had.state == DeliveryState.DEAD and (had.uncertain or had.began):
        return "given up, but it may have been made: retry it"
    if had.state == DeliveryState.CANCELLED and not reason.startswith(SUPERSEDED):
        return "taken back by a person"
    if had.state == DeliveryState.SUPPRESSED and reason.startswith(SAME_MAIL):
        return reason
    return ""


def _owe(db: sqlite3.Connection, judged: Judgement, action: Action, keys: Keys, now: int) -> str:
    """Makes the delivery of one action. Returns its id."""
    once = None if action.had else once_key(action.step, keys)
    row = delivery_row(action.step, judged.seq, judged.conversation, now)
    id = str(row[0])
    if once is not None:
        # What made nothing gives the key away; what did, or is another message's, keeps it.
        db.execute(
            "UPDATE deliveries SET once = NULL WHERE once = ? AND message = ?"
            " AND state IN ('dead', 'suppressed', 'cancelled')",
            (once, judged.seq),
        )
        if db.execute("SELECT 1 FROM deliveries WHERE once = ?", (once,)).fetchone() is not None:
            once = None
    state, reason = (DeliveryState.SUPPRESSED, action.had) if action.had else (DeliveryState.PENDING, None)
    db.execute(
        f"INSERT INTO deliveries ({DELIVERY_COLUMNS}, state, reason, once, finished_at)"
        f" VALUES ({','.join('?' * len(row))}, ?, ?, ?, ?)",
        (*row, state, reason, once, now if action.had else None),
    )
    db.executemany(
        "UPDATE deliveries SET state = 'cancelled', reason = ?, finished_at = ? WHERE seq = ?",
        [(f"{SUPERSEDED}; see {id}", now, each) for each in action.replaces],
    )
    return id

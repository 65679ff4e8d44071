"""What people do to mail, once for pages, programs and commands: one by one or many, each with a preview.

`acts.py` says what each act is. Whatever is done leaves an event: who, what, with which message and delivery. All of it
may be asked for twice: a second retry, cancel, release, re-route or discard finds nothing left to do, and a replay, or
a re-route of all, takes a `token` of its form, for which it is done once.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from postroom import acts, aims
from postroom.acts import ACTS, Act, BulkOutcome, BulkPreview, Outcome, Preview
from postroom.aims import LIMIT
from postroom.identity import identify
from postroom.ids import now_ms
from postroom.message import Message
from postroom.plan import Plan
from postroom.store import decisions, outbox, redelivery, routing
from postroom.store.content import unpack
from postroom.store.history import History
from postroom.store.redelivery import Target
from postroom.store.writer import Writer

__all__ = ["ACTS", "LIMIT", "Act", "Acting", "BulkOutcome", "BulkPreview", "Outcome", "Preview"]

log = logging.getLogger(__name__)

_FAULT = "a fault of the program; its log tells more"
_TOGETHER = 20
"""Acts in one transaction: mail waits no longer than for these."""


class _Ask(NamedTuple):
    """What somebody wants done to whatever it is."""

    act: Act
    who: str = ""
    again: bool = False
    token: str = ""


class _Rules(NamedTuple):
    evaluate: Callable[..., Plan]
    number: int


class _Subject(NamedTuple):
    """A message as the rules need it."""

    message: Message | None
    keys: tuple[bytes, bytes]


class Acting:
    """`active` gives the evaluation of the active rule set and its number in the store; `makers` are the destinations
    that make items. The writer's `after_commit` is to wake the dispatcher."""

    def __init__(
        self,
        writer: Writer,
        history: History,
        active: Callable[[], tuple[Callable[..., Plan], int]],
        makers: Collection[str] = (),
    ) -> None:
        self._writer = writer
        self._history = history
        self._active = active
        self._makers = frozenset(makers)

    def retry(self, id: str, who: str) -> Outcome:
        """Tries again now: a delivery by its id, or those of a message that are dead or wait for another attempt."""
        return self._single(_Ask("retry", who), id)

    def replay(self, id: str, who: str, token: str = "") -> Outcome:
        """Delivers once more: a delivery by its id, or all that a message had delivered. A `token` does so once."""
        return self._single(_Ask("replay", who, token=token), id)

    def cancel(self, id: str, who: str) -> Outcome:
        """Takes back: a delivery by its id, or those of a message that wait."""
        return self._single(_Ask("cancel", who), id)

    def reroute(self, id: str, who: str, *, again: bool = False, token: str = "") -> Outcome:
        """Routes a message under today's rules. `again`: owes all that they plan, though it had some of it."""
        return self._single(_Ask("re-route", who, again, token), id)

    def release(self, id: str, who: str) -> Outcome:
        """Routes a held message under today's rules, those that held it left out."""
        return self._single(_Ask("release", who), id)

    def discard(self, id: str, who: str) -> Outcome:
        """Ends a held or unmatched message: nothing of it is sent."""
        return self._single(_Ask("discard", who), id)

    def act(self, act: Act, id: str, who: str, *, again: bool = False, token: str = "") -> Outcome:
        """Any of the above, by its name."""
        return self._single(_Ask(act, who, again, token), id)

    def preview(self, act: Act, id: str, *, again: bool = False) -> tuple[Preview, ...]:
        """What an act would do: to a delivery or message, one; to the deliveries of a message, each. Empty where
        nothing has this id."""
        return tuple(self._previews(_Ask(act, again=again), aims.targets(self._history, act, [id])))

    def bulk_preview(self, act: Act, *, ids: Sequence[str] = (), query: str = "", again: bool = False) -> BulkPreview:
        """What an act would do to many: by their ids, or the newest LIMIT that meet a search (see store/query.py).

        An act on deliveries is meant for those of the messages that are found; `dest:`, `rule:` and the states of
        deliveries in the search pick among them. Raises ValueError where neither or both are given.
        """
        if bool(ids) == bool(query.strip()):
            raise ValueError("give either ids or a search")
        problems: tuple[str, ...] = ()
        more = len(ids) > LIMIT
        picked = None
        if query.strip():
            ids, more, problems = aims.found(self._history, act, query)
            picked = aims.picker(query)
        targets = aims.targets(self._history, act, ids[:LIMIT])
        if picked is not None and act in acts.ON_DELIVERIES:
            targets = [each for each in targets if picked(each)]
        more, targets = more or len(targets) > LIMIT, targets[-LIMIT:]
        missing = 0 if query.strip() else aims.missing(self._history, ids[:LIMIT], targets)
        each = tuple(self._previews(_Ask(act, again=again), targets))
        possible = [preview for preview in each if preview.possible]
        rules = self._rules() if act in acts.BY_RULES else None
        return BulkPreview(
            act=act,
            again=again,
            rule_set=rules.number if rules else None,
            targets=tuple(preview.id for preview in possible),
            states=acts.grouped(preview.state for preview in possible),
            destinations=acts.grouped(place for preview in possible for place in _places(preview)),
            becomes=acts.grouped(preview.becomes for preview in possible if preview.becomes),
            impossible=acts.grouped(
                [*(preview.reason for preview in each if not preview.possible), *[acts.UNKNOWN] * missing]
            ),
            more=more,
            problems=problems,
            each=each,
        )

    def bulk(
        self,
        act: Act,
        ids: Sequence[str],
        who: str,
        *,
        again: bool = False,
        token: str = "",
        rule_set: int | None = None,
        advance: Callable[[int], None] = lambda count: None,
    ) -> BulkOutcome:
        """Acts on many, by the ids that a preview gave, oldest first: what changed in between is skipped, and told.

        `rule_set`: the number of the rules that the preview asked; where others are active now, nothing is routed.
        `token`: see `replay`; with the same one it goes on where it was interrupted. `advance` is called with each
        further number of acts done. Raises ValueError for more than LIMIT.
        """
        ids = list(dict.fromkeys(ids))
        if len(ids) > LIMIT:
            raise ValueError(f"at most {LIMIT} at once")
        targets = aims.targets(self._history, act, ids)
        outcomes: dict[str, Outcome] = {}
        changed = rule_set is not None and act in acts.BY_RULES and self._rules_number() != rule_set
        for start in range(0, len(targets), _TOGETHER):
            part = targets[start : start + _TOGETHER]
            if changed:
                done = [acts.refused(act, "other rules are active than in the preview") for _ in part]
            else:
                done = self._together(_Ask(act, who, again, token), part)
            outcomes.update(zip((each.id for each in part), done, strict=True))
            advance(len(part))
        missing = aims.missing(self._history, ids, targets)
        return BulkOutcome(
            act=act,
            asked=len(targets) + missing,
            done=sum(each.done for each in outcomes.values()),
            made=sum(len(each.made) for each in outcomes.values()),
            skipped=acts.grouped(
                [*(each.reason for each in outcomes.values() if not each.done), *[acts.UNKNOWN] * missing]
            ),
            outcomes=outcomes,
        )

    def _single(self, ask: _Ask, id: str) -> Outcome:
        targets = aims.targets(self._history, ask.act, [id])
        if not targets:
            known = ask.act in acts.ON_DELIVERIES and self._history.read(lambda db: redelivery.messages(db, [id]))
            return (
                acts.refused(ask.act, "it has no deliveries")
                if known
                else acts.refused(ask.act, acts.UNKNOWN, found=False)
            )
        if targets[0].id == id.lower():
            return self._together(ask, targets)[0]
        # Of a message: the next request would see the deliveries that this one makes, so the token is for all of it.
        work = self._work(ask._replace(token=""), targets, None)
        token = f"{ask.act} {id.lower()} {ask.token}" if ask.token else ""
        return self._writer.run(lambda db: _only_once(db, token, lambda: acts.summary(ask.act, work(db))))

    def _together(self, ask: _Ask, targets: Sequence[Target]) -> list[Outcome]:
        """Acts on some in one transaction; what fails takes nothing of the others with it."""
        rules = self._rules() if ask.act in acts.BY_RULES else None
        if ask.act in acts.BY_RULES and rules is None:
            return [acts.refused(ask.act, "no rule set is active") for _ in targets]
        return self._writer.run(self._work(ask, targets, rules))

    def _work(
        self, ask: _Ask, targets: Sequence[Target], rules: _Rules | None
    ) -> Callable[[sqlite3.Connection], list[Outcome]]:
        subjects = self._history.read(partial(_subjects, targets)) if rules is not None else {}

        def work(db: sqlite3.Connection) -> list[Outcome]:
            done = []
            for target in targets:
                token = f"{ask.act} {target.id} {ask.token}" if ask.token else ""
                act = partial(self._act, db, ask, target, rules, subjects.get(target.id))
                db.execute("SAVEPOINT act")
                try:
                    done.append(_only_once(db, token, act))
                except sqlite3.Error:
                    raise
                except Exception:
                    log.exception("%s of %s failed", ask.act, target.id)
                    db.execute("ROLLBACK TO act")
                    done.append(acts.refused(ask.act, _FAULT))
                db.execute("RELEASE act")
            return done

        return work

    def _act(
        self, db: sqlite3.Connection, ask: _Ask, target: Target, rules: _Rules | None, subject: _Subject | None
    ) -> Outcome:
        if ask.act in acts.ON_DELIVERIES:
            return self._deliver(db, ask, target)
        if rules is not None and subject is not None:
            return self._route(db, ask, target, rules, subject)
        return self._discard(db, ask, target)

    def _deliver(self, db: sqlite3.Connection, ask: _Ask, target: Target) -> Outcome:
        now, place = now_ms(), target.destination
        if ask.act == "retry" and outbox.retry(db, target.id, ask.who, now):
            return Outcome(done=True, sentence=f"The delivery to {place} is tried again now: same content, same key.")
        if ask.act == "replay" and (id := redelivery.replay(db, target.id, ask.who, now)) is not None:
            told = f"The delivery to {place} is made again: same content, new key."
            return Outcome(done=True, sentence=told, made=(id,))
        if ask.act == "cancel" and (found := outbox.cancel(db, target.id, ask.who, now, self._makers)) is not None:
            told = f"The delivery to {place} is taken back."
            if found[1]:
                told += " What became of an attempt is unknown: it may have got through all the same."
            return Outcome(done=True, sentence=told)
        (today,) = redelivery.deliveries(db, [target.id]) or (None,)
        if today is None:
            return acts.refused(ask.act, acts.UNKNOWN, found=False)
        return acts.refused(ask.act, acts.why_not(ask.act, today.state) or acts.PRUNED)

    def _route(self, db: sqlite3.Connection, ask: _Ask, target: Target, rules: _Rules, subject: _Subject) -> Outcome:
        judged = self._judge(db, ask, target, rules, subject)
        if judged.refusal or subject.message is None:
            return acts.refused(ask.act, judged.refusal or acts.PRUNED)
        made = decisions.route(
            db, judged, subject.message, subject.keys, rules.number, ask.who, now_ms(), release=ask.act == "release"
        )
        return Outcome(done=True, sentence=acts.routed_sentence(judged), made=tuple(made))

    def _discard(self, db: sqlite3.Connection, ask: _Ask, target: Target) -> Outcome:
        if decisions.discard(db, target.id, ask.who, now_ms()):
            return Outcome(done=True, sentence="It is discarded: nothing of it is sent.")
        (today,) = redelivery.messages(db, [target.id]) or (None,)
        if today is None:
            return acts.refused(ask.act, acts.UNKNOWN, found=False)
        return acts.refused(ask.act, acts.why_not(ask.act, today.state))

    def _judge(
        self, db: sqlite3.Connection, ask: _Ask, target: Target, rules: _Rules, subject: _Subject
    ) -> routing.Judgement:
        return routing.judge(
            db,
            target.id,
            subject.message,
            partial(rules.evaluate, subject.message),
            subject.keys,
            self._makers,
            release=ask.act == "release",
            again=ask.again,
        )

    def _previews(self, ask: _Ask, targets: Sequence[Target]) -> Iterator[Preview]:
        rules = self._rules() if ask.act in acts.BY_RULES else None
        for start in range(0, len(targets), _TOGETHER):
            part = targets[start : start + _TOGETHER]
            # A snapshot for a few: a long one would keep the WAL from shrinking.
            yield from self._history.read(partial(self._preview_part, ask, part, rules))

    def _preview_part(
        self, ask: _Ask, targets: Sequence[Target], rules: _Rules | None, db: sqlite3.Connection
    ) -> list[Preview]:
        if rules is None:
            return [acts.preview_of(ask.act, target) for target in targets]
        subjects = _subjects(targets, db)
        previews = []
        for target in targets:
            try:
                judged = self._judge(db, ask, target, rules, subjects[target.id])
            except sqlite3.Error:
                raise
            except Exception:
                log.exception("what %s would do with %s cannot be told", ask.act, target.id)
                judged = routing.Judgement(refusal=_FAULT)
            previews.append(acts.preview_of(ask.act, target, judged))
        return previews

    def _rules(self) -> _Rules | None:
        try:
            return _Rules(*self._active())
        except LookupError:
            return None

    def _rules_number(self) -> int | None:
        rules = self._rules()
        return rules.number if rules else None


def _subjects(targets: Sequence[Target], db: sqlite3.Connection) -> dict[str, _Subject]:
    """The messages of targets, by their ids, with the keys of their actions."""
    found = {}
    for target in targets:
        row = db.execute("SELECT data FROM contents WHERE message = ?", (target.seq,)).fetchone()
        message = unpack(row[0])[0] if row else None
        keys = (target.id.encode(), target.id.encode())
        # Identical alerts without an identity of their own are mails of their own: a person looks at each.
        if message is not None and not (identity := identify(message)).weak:
            keys = (identity.mail, identity.delivery)
        found[target.id] = _Subject(message, keys)
    return found


def _only_once(db: sqlite3.Connection, token: str, act: Callable[[], Outcome]) -> Outcome:
    """What `act` answers; what it answered before, where the same token asked for it."""
    if token and (said := redelivery.answered(db, token)) is not None:
        return msgspec.json.decode(said, type=Outcome)
    outcome = act()
    if token and outcome.done:
        redelivery.remember_answer(db, token, msgspec.json.encode(outcome).decode(), now_ms())
    return outcome


def _places(preview: Preview) -> list[str]:
    if preview.destination:
        return [preview.destination]
    return [each.destination for each in preview.planned if each.new]

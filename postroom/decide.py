"""People's decisions about messages that wait: release routes one under today's rules, discard ends it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from postroom.identity import identify
from postroom.ids import now_ms
from postroom.plan import Plan
from postroom.store import decisions
from postroom.store.history import History
from postroom.store.writer import Writer


class Decider:
    """`active` gives the evaluation of the active rule set and that set's number in the store; `makers` are the
    destinations that make items."""

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

    def release(self, id: str, who: str) -> bool:
        """Routes a held message. False where there is no such message, it is not held, or its text was pruned."""
        detail = self._history.message(id)
        if detail is None or detail.message is None:
            return False
        evaluate, rule_set = self._active()
        message = detail.message
        identity, plan_with = identify(message), partial(evaluate, message)
        # Identical alerts without an identity of their own are mails of their own: a person looked at this one.
        keys = (id.encode(), id.encode()) if identity.weak else (identity.mail, identity.delivery)
        return self._writer.run(
            lambda db: decisions.release(db, message, who, now_ms(), plan_with, rule_set, keys, self._makers)
        )

    def discard(self, id: str, who: str) -> bool:
        """Ends a held or unmatched message: nothing of it is sent. False where it is neither."""
        return self._writer.run(lambda db: decisions.discard(db, id, who, now_ms()))

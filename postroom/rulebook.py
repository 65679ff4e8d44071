"""Rule sets by their number in the store: compiled when first asked for, kept while they are used."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from postroom.fields import FieldSet
from postroom.message import Message
from postroom.plan import Content, Plan, Step, Trace
from postroom.rules import RuleSet, compile_rules
from postroom.store.database import connect
from postroom.store.outbox import Owed
from postroom.store.rulesets import active, files_of

_KEPT = 8
_FRESH_SECONDS = 1.0
"""For so long the active rule set is not asked for again."""


class RuleBook:
    """Answers with the rule set under which a message was routed, whatever the files on disk say today."""

    def __init__(self, database: Path, fields: Mapping[str, FieldSet]) -> None:
        """`fields`: what rules may fill in, by destination."""
        self._database = database
        self._fields = fields
        self._sets: OrderedDict[int, RuleSet] = OrderedDict()
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._active: tuple[Callable[[Message], Plan], int]
        self._active_until = 0.0

    def active(self) -> tuple[Callable[[Message], Plan], int]:
        """The evaluation of the active rule set, and its number. Raises LookupError where none was ever published."""
        if time.monotonic() > self._active_until:
            with self._lock:
                seq = active(self._connection())
            if seq is None:
                raise LookupError("no rule set is active")
            self._active = self.rule_set(seq).evaluate, seq
            self._active_until = time.monotonic() + _FRESH_SECONDS
        return self._active

    def rule_set(self, seq: int) -> RuleSet:
        """A rule set that was active once. Raises KeyError where there is none of that number."""
        with self._lock:
            if (found := self._sets.get(seq)) is not None:
                self._sets.move_to_end(seq)
                return found
            files = files_of(self._connection(), seq)
        # Outside the lock, for it takes long. Destinations may have changed: what was good then is not checked again.
        found = compile_rules(files, None)
        with self._lock:
            self._sets[seq] = found
            while len(self._sets) > _KEPT:
                self._sets.popitem(last=False)
        return found

    def explain(self, seq: int, message: Message) -> Trace | None:
        """Why each rule did or did not match; None where the rule set is no longer there."""
        try:
            return self.rule_set(seq).explain(message)
        except KeyError:
            return None

    def render(
        self, owed: Owed, step: Step, message: Message, *, message_url: str, reply_address: str, continues: bool
    ) -> Content:
        """What one step sends, under the message's rule set. `continues`: an item is there to comment on.

        Raises ValueError with the reason where the destination takes no such field or a template fails.
        """
        fields = self._fields.get(step.destination)
        if fields is None:
            raise ValueError(f"there is no destination '{step.destination}' in config.yaml")
        return self.rule_set(owed.rule_set).render(
            step,
            message,
            message_url=message_url,
            reply_address=reply_address,
            continues=continues,
            fields=fields,
        )

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = connect(self._database, read_only=True)
        return self._db

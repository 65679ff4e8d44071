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
from postroom.store.rulesets import active, active_hash, files_of

_KEPT = 8
_FRESH_SECONDS = 1.0
"""For so long the active rule set is not asked for again."""
_KEPT_CHARACTERS = 2_000_000
"""Of rule files: a compiled set takes many times the memory of its text, and each edit of a long one makes another."""


class RuleBook:
    """Answers with the rule set under which a message was routed, whatever the files on disk say today."""

    def __init__(self, database: Path, fields: Mapping[str, FieldSet], timezone: str = "UTC") -> None:
        """`fields`: what rules may fill in, by destination. `timezone`: of `received`, where a rule names none."""
        self._timezone = timezone
        self._database = database
        self._fields = fields
        self._kinds = {name: each.kind for name, each in fields.items()}
        self._sets: OrderedDict[int, RuleSet] = OrderedDict()
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._prepared: RuleSet | None = None
        self._turn = 0
        self._active: tuple[Callable[[Message], Plan], int]
        self._active_until = 0.0

    def active(self) -> tuple[Callable[[Message], Plan], int]:
        """The evaluation of the active rule set, and its number. Raises LookupError where none was ever published."""
        if time.monotonic() > self._active_until:
            turn = self._turn
            with self._lock:
                seq = active(self._connection())
            if seq is None:
                raise LookupError("no rule set is active")
            self._active = self.rule_set(seq).evaluate, seq
            # What was asked before a refresh is not believed for long.
            self._active_until = time.monotonic() + _FRESH_SECONDS if turn == self._turn else 0.0
        return self._active

    def active_set(self) -> tuple[int, RuleSet] | None:
        """The number of the active rule set and its rules; None before the first was published."""
        try:
            seq = self.active()[1]
            return seq, self.rule_set(seq)
        except LookupError:
            return None

    def active_hash(self) -> str | None:
        """The hash of the active rule set, asked now; None before the first was published."""
        with self._lock:
            return active_hash(self._connection())

    def prepare(self, rule_set: RuleSet) -> None:
        """Takes a compiled rule set that is about to be published: it need not be compiled again."""
        with self._lock:
            self._prepared = rule_set

    def refresh(self) -> None:
        """The active rule set is asked for again at the next message."""
        self._turn += 1
        self._active_until = 0.0

    def rule_set(self, seq: int) -> RuleSet:
        """A rule set that was active once. Raises KeyError where there is none of that number."""
        with self._lock:
            if (found := self._sets.get(seq)) is not None:
                self._sets.move_to_end(seq)
                return found
            files = files_of(self._connection(), seq)
            prepared = self._prepared
        # Outside the lock, for it takes long. Destinations may have changed: what was good then is not checked again.
        found = (
            prepared
            if prepared is not None and prepared.files == files
            else compile_rules(files, None, timezone=self._timezone, kinds=self._kinds)
        )
        with self._lock:
            self._sets[seq] = found
            while len(self._sets) > 1 and (len(self._sets) > _KEPT or self._characters() > _KEPT_CHARACTERS):
                self._sets.popitem(last=False)
        return found

    def _characters(self) -> int:
        return sum(len(text) for rule_set in self._sets.values() for text in rule_set.files.values())

    def explain(
        self,
        seq: int,
        message: Message,
        items: tuple[str, ...] | None = None,
        without: tuple[str, ...] = (),
    ) -> Trace | None:
        """Why each rule did or did not match; None where the rule set is no longer there.

        `items`: the destinations where the conversation had an item when the mail was routed. `without`: rules that
        were passed over then.
        """
        try:
            known = None if items is None else lambda _: items
            return self.rule_set(seq).explain(message, known, frozenset(without))
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

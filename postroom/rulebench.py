"""The rules at work: what rule files say, and do with their tests and with the mail that came, before they are active.

Everything here is bounded in time and done one after another: mail is taken in by the same process.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from postroom import backtest, explaining
from postroom.config import Config
from postroom.fields import FieldSet
from postroom.problems import InvalidFiles, Problem
from postroom.rules import RuleSet, compile_rules
from postroom.rules.loader import hash_of, in_order
from postroom.ruletests import Outcome, run_cases
from postroom.store.database import FILE_NAME
from postroom.store.records import MessageDetail
from postroom.watch import giving_way

_KEPT = 4
_PATIENCE = 8.0
"""Seconds to wait for the turn."""
_TEST_SECONDS = 20.0
_BACKTEST_SECONDS = 20.0
_BATCH = 25
_SHOWN = 100
SMALL = 300_000
"""Characters of rule files that are compiled and tested within a page's time."""

T = TypeVar("T")


class Busy(Exception):
    """Somebody else's check, test or backtest takes long: this one can be asked for again."""


@dataclass(frozen=True, slots=True)
class Tested:
    """How the tests of a set went."""

    outcomes: tuple[Outcome, ...]
    left: int = 0
    """So many were not run: time was up."""

    @property
    def failed(self) -> int:
        return sum(not outcome.passed for outcome in self.outcomes)

    def of_file(self, path: str) -> tuple[int, int]:
        """How many passed and failed of the tests that stand in a file."""
        own = [outcome.passed for outcome in self.outcomes if outcome.case.file == path]
        return own.count(True), own.count(False)


class Bench:
    """Judges rule files, given as texts by their paths. It changes nothing."""

    def __init__(
        self,
        config: Config,
        fields: Mapping[str, FieldSet],
        makers: Collection[str],
        message_url: Callable[[str], str],
    ) -> None:
        """`fields`: what rules may fill in, by destination; `makers`: the destinations that make items."""
        self._config = config
        self._fields = fields
        self._makers = frozenset(makers)
        self._message_url = message_url
        self._sets: OrderedDict[str, RuleSet | tuple[Problem, ...]] = OrderedDict()
        self._tested: OrderedDict[str, Tested] = OrderedDict()
        self._turn = threading.Lock()

    def problems(self, files: Mapping[str, str], patience: float = _PATIENCE) -> tuple[Problem, ...]:
        """What is wrong with the files, in the order of their places; paths are those below the rules folder.

        Raises Busy.
        """
        found = self._compiled(files, patience)
        return () if isinstance(found, RuleSet) else found

    def rule_set(self, files: Mapping[str, str]) -> RuleSet:
        """Raises InvalidFiles with every problem, and Busy."""
        found = self._compiled(files, _PATIENCE)
        if isinstance(found, RuleSet):
            return found
        raise InvalidFiles(found)

    def known_tests(self, files: Mapping[str, str]) -> Tested | None:
        """How the tests went where that is known or soon found out. Raises InvalidFiles and Busy as `tests`."""
        known = self._tested.get(hash_of(files))
        return known if known is not None or sum(map(len, files.values())) > SMALL else self.tests(files)

    def tests(self, files: Mapping[str, str]) -> Tested:
        """Runs the tests in the files. Raises InvalidFiles where the rules themselves are not well, and Busy.

        Samples are read from the rules folder: how a test goes is asked anew each time, but for `known_tests`.
        """
        rule_set = self.rule_set(files)
        outcomes: list[Outcome] = []
        ends = time.monotonic() + _TEST_SECONDS
        with self._in_turn(_PATIENCE):
            for start in range(0, len(rule_set.cases), _BATCH):
                if time.monotonic() > ends:
                    break
                outcomes += run_cases(
                    rule_set,
                    self._config.rules_dir,
                    self._fields,
                    self._makers,
                    self._config.mail.trusted_authserv_ids,
                    rule_set.cases[start : start + _BATCH],
                )
        tested = Tested(tuple(outcomes), len(rule_set.cases) - len(outcomes))
        _keep(self._tested, rule_set.hash, tested)
        return tested

    def refused(self, files: Mapping[str, str]) -> tuple[Problem, ...]:
        """Why the files would not be taken: their problems, and the failing tests where tests are required.

        Raises Busy.
        """
        found = self._compiled(files, _PATIENCE)
        if not isinstance(found, RuleSet):
            return found
        if not self._config.rules.require_tests:
            return ()
        return tuple(outcome.problem() for outcome in self.tests(files).outcomes if not outcome.passed)

    def explain(self, files: Mapping[str, str], detail: MessageDetail) -> explaining.Explained:
        """What the rules make of a stored message, and why.

        Raises ValueError where its text was pruned, InvalidFiles and Busy.
        """
        rule_set = self.rule_set(files)
        explainer = explaining.Explainer(
            self._config, rule_set, fields=self._fields, makers=self._makers, message_url=self._message_url
        )
        try:
            return explainer.stored(detail)
        finally:
            explainer.close()

    def backtest(self, files: Mapping[str, str], since: int, most: int) -> backtest.Report:
        """Judges the newest mail received since a time (milliseconds since 1970), at most so many, for some seconds.

        Raises InvalidFiles and Busy.
        """
        rule_set = self.rule_set(files)
        with self._in_turn(_PATIENCE):
            return backtest.run(
                self._config.data_dir / FILE_NAME,
                rule_set,
                timezone=self._config.mail.timezone,
                makers=self._makers,
                since=since,
                keep=_SHOWN,
                started=lambda count: lambda step: None,
                most=most,
                seconds=_BACKTEST_SECONDS,
            )

    def _compiled(self, files: Mapping[str, str], patience: float) -> RuleSet | tuple[Problem, ...]:
        key = hash_of(files)
        if (known := self._sets.get(key)) is not None:
            return known
        with self._in_turn(patience):
            # Whoever waited may find that it was done meanwhile.
            if (known := self._sets.get(key)) is not None:
                return known
            found: RuleSet | tuple[Problem, ...]
            try:
                found = compile_rules(
                    in_order(files),
                    self._fields,
                    shown="",
                    timezone=self._config.mail.timezone,
                    ingresses=self._config.ingress,
                )
            except InvalidFiles as invalid:
                found = tuple(invalid.problems)
            _keep(self._sets, key, found)
            return found

    @contextmanager
    def _in_turn(self, patience: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=patience):
            raise Busy
        try:
            with giving_way():
                yield
        finally:
            self._turn.release()


def placed(problem: Problem, before: str) -> Problem:
    """The same problem with something before its path."""
    return replace(problem, place=replace(problem.place, path=f"{before}{problem.place.path}"))


def _keep(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _KEPT:
        kept.popitem(last=False)

"""Wires the pages of the rules: which parts of the program they are given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache

from flask import Blueprint

from postroom.config import Config, field_sets
from postroom.integration import Integration
from postroom.rulebench import Bench
from postroom.rulebook import RuleBook
from postroom.ruledesk import RuleDesk
from postroom.schema import rules_schema, written
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.watch import Watcher
from postroom.web import rules


def desk(
    config: Config,
    kinds: Mapping[str, type[Integration]],
    makers: Collection[str],
    message_url: Callable[[str], str],
    history: History,
    writer: Writer,
    watcher: Watcher,
) -> RuleDesk:
    """What drafts, judges and activates rules: for pages and API. `makers`: the destinations that make items."""
    bench = Bench(config, field_sets(config, kinds), makers, message_url)
    return RuleDesk(config.rules_dir, bench, history, writer, watcher.apply)


def blueprint(
    config: Config,
    kinds: Mapping[str, type[Integration]],
    desk: RuleDesk,
    book: RuleBook,
    history: History,
    problems: Callable[[], Sequence[str]],
) -> Blueprint:
    """The pages."""
    names = {name: way.kind for name, way in config.destinations.items()}
    return rules.blueprint(
        desk=desk,
        history=history,
        active=book.active_set,
        schema=cache(lambda: written(rules_schema(kinds, names))),
        problems=problems,
    )

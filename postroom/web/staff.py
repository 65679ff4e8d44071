"""The pages around people, wired: people, tokens, the audit log, one's own account."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint

from postroom.dashboard_config import Dashboard
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.web import account, audit, people, token_pages


def blueprints(
    settings: Dashboard, history: History, writer: Writer, problems: Callable[[], Sequence[str]]
) -> list[Blueprint]:
    """All of them. `settings`: the section of config.yaml; `problems`: sentences that every page shows at its top."""
    made = [
        people.blueprint(history, writer, settings),
        token_pages.blueprint(history, writer),
        audit.blueprint(history),
        account.blueprint(writer, settings.users is not None),
    ]
    for pages in made:
        pages.context_processor(lambda: {"problems": list(problems())})
    return made

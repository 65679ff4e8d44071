"""`/api/v1`: everything that the dashboard's pages show and do, as JSON, with an OpenAPI document of it.

| module | what |
| --- | --- |
| `contract` | what a route says of itself; `document` makes the OpenAPI document of it, `serving` checks and answers |
| `messages`, `destinations`, `figures`, ... | the routes, by resource |

Status 400: a parameter makes no sense, 401: no token that is known, 403: its role is too low, 404: no such thing,
405: not that method, 409: it stands in a state where this means nothing, 413: the body is too large, 415: it is no
JSON, 422: it is JSON of another form, 503: the store cannot be used now. Each is a problem document (RFC 9457).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Flask

from postroom.acting import Acting
from postroom.dashboard_config import Dashboard
from postroom.ruledesk import RuleDesk
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.web.api import actions, destinations, figures, messages, people, rule_drafts, rules, serving
from postroom.web.api.contract import Route
from postroom.web.destinations import Deeds, Way


def install(app: Flask, *, authenticate: serving.Authenticate, **parts: Any) -> None:
    """Adds the API to an application; before `auth.install`, so that nothing of the pages' rules is asked here.

    `authenticate` takes the header Authorization. `parts`: see `routes`.
    """
    serving.install(app, routes(**parts), authenticate)


def routes(
    *,
    history: History,
    writer: Writer,
    explain: messages.Explain,
    acting: Acting,
    ways: Sequence[Way],
    deeds: Deeds,
    desk: RuleDesk,
    active: rules.Active,
    settings: Dashboard,
) -> list[Route]:
    """All routes but that of the document.

    `explain` takes a rule set's number and a message. `acting` does what people do to mail. `ways` are the destinations
    of config.yaml, `deeds` what can be done to them. `desk` keeps drafts of rules, `active` gives the active set.
    `settings` is the section `dashboard` of config.yaml.
    """
    return [
        *messages.routes(history, explain),
        *actions.routes(acting),
        *destinations.routes(history, ways, deeds),
        *figures.routes(history),
        *rules.routes(desk, history, active),
        *rule_drafts.routes(desk),
        *people.routes(history, writer, settings),
    ]

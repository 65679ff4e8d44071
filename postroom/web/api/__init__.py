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

from flask import Flask

from postroom.acting import Acting
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.web.api import actions, destinations, figures, messages, serving
from postroom.web.api.contract import Route
from postroom.web.destinations import Way


def install(
    app: Flask,
    *,
    authenticate: serving.Authenticate,
    history: History,
    writer: Writer,
    explain: messages.Explain,
    ways: Sequence[Way],
    check: destinations.Check | None = None,
    acting: Acting | None = None,
) -> None:
    """Adds the API to an application; before `auth.install`, so that nothing of the pages' rules is asked here.

    `authenticate` takes the header Authorization. `explain` takes a rule set's number and a message. `acting` does what
    people do to mail. `ways` are the destinations of config.yaml; `check` asks one, by its name, whether address and
    credentials hold.
    """
    routes: list[Route] = [
        *messages.routes(history, explain),
        *(actions.routes(acting) if acting else ()),
        *destinations.routes(history, writer, ways, check),
        *figures.routes(history),
    ]
    serving.install(app, routes, authenticate)

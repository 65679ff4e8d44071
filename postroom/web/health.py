"""`/healthz`: the process is alive. `/readyz`: it can accept and deliver; 503 with the reasons otherwise. `/metrics`.

All three answer everybody: they say nothing of what stands in configuration, rules or mail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask import Blueprint, Response, jsonify

Figure = tuple[str, str, int]
"""A gauge: its name, what it means, its value."""


def blueprint(
    problems: Callable[[], Sequence[str]],
    notes: Callable[[], Sequence[str]] = tuple,
    waiting: Callable[[], Mapping[str, int]] = dict,
    figures: Callable[[], Sequence[Figure]] = tuple,
) -> Blueprint:
    """`problems` gives a sentence for each thing that keeps mail from being accepted or delivered, `notes` one for each
    that somebody should look at although mail goes its way: the edit of the rules that was not taken. `waiting` counts
    messages by what they wait for. `figures` are gauges beside these.
    """
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @routes.get("/readyz")
    def readyz() -> Response:
        found = list(problems())
        response = jsonify(status="not ready" if found else "ok", problems=found, notes=list(notes()))
        response.status_code = 503 if found else 200
        return response

    @routes.get("/metrics")
    def metrics() -> Response:
        lines = [
            *_gauge("postroom_ready", "1 while mail can be accepted and delivered.", int(not problems())),
            *(line for figure in figures() for line in _gauge(*figure)),
            "# HELP postroom_messages_waiting Messages by what they wait for; counted up to a bound.",
            "# TYPE postroom_messages_waiting gauge",
            *(f'postroom_messages_waiting{{state="{state}"}} {count}' for state, count in waiting().items()),
        ]
        # The text format of Prometheus, version 0.0.4.
        return Response("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _gauge(name: str, meaning: str, value: int) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value}"]

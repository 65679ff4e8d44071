"""`/healthz`: the process is alive. `/readyz`: it can accept and deliver; 503 with the reasons otherwise.

Both answer everybody: they say nothing of what stands in configuration, rules or mail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, jsonify


def blueprint(problems: Callable[[], Sequence[str]], notes: Callable[[], Sequence[str]] = tuple) -> Blueprint:
    """`problems` gives a sentence for each thing that keeps mail from being accepted or delivered, `notes` one for each
    that somebody should look at although mail goes its way.
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

    return routes

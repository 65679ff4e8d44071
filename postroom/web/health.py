"""`/healthz`: the process is alive. `/readyz`: it can accept and deliver; 503 with the reasons otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, jsonify


def blueprint(problems: Callable[[], Sequence[str]]) -> Blueprint:
    """`problems` gives a sentence for each thing that keeps mail from being accepted or delivered."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @routes.get("/readyz")
    def readyz() -> Response:
        found = list(problems())
        response = jsonify(status="not ready" if found else "ok", problems=found)
        response.status_code = 503 if found else 200
        return response

    return routes

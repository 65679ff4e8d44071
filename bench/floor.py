"""The floor: what any Flask endpoint on this server costs before it does anything."""

from __future__ import annotations

import hmac

import msgspec
from flask import Flask, Response, request

SECRET = b"bench-secret"


def create() -> Flask:
    app = Flask(__name__)
    decode = msgspec.json.Decoder().decode

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    @app.post("/inbound/socketlabs")
    def inbound() -> Response:
        document = decode(request.get_data())
        if not hmac.compare_digest(document["SecretKey"].encode(), SECRET):
            return Response(status=401)
        return Response(b'{"ValidationKey":"v"}', content_type="application/json")

    return app

"""The dashboard's page of tokens: keys by which programs use the API. For editors only.

| URL | what |
| --- | --- |
| `GET /tokens` | all of them: whose, what for, when used |
| `POST /tokens` | a new one; its key is in the answer, and never again |
| `POST /tokens/NAME/revoke` | ends one |
"""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom.ids import now_ms
from postroom.store import tokens as stored
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.web import auth, tokens
from postroom.web.people import ROLES

DAYS = (30, 90, 365)
"""After how many a new token may expire; 0: never."""


def blueprint(history: History, writer: Writer) -> Blueprint:
    """The page."""
    pages = Blueprint("tokens", __name__)
    pages.before_request(auth.require_login)
    pages.before_request(lambda: auth.require_role("editor"))

    def page(status: int = 200, **more: Any) -> ResponseReturnValue:
        shown = {"problem": "", "fresh": None, "form": {}, **more}
        found = history.read(stored.tokens)
        return render_template("tokens.html", tokens=found, roles=ROLES, days=DAYS, now=now_ms(), **shown), status

    @pages.get("/tokens")
    def everything() -> ResponseReturnValue:
        return page()

    @pages.post("/tokens")
    def add() -> ResponseReturnValue:
        name, role = request.form.get("name", "").strip(), request.form.get("role", "")
        days = request.form.get("days", 0, type=int)
        if role not in ROLES or days not in (0, *DAYS):
            abort(400, "There is no such role, or no such time.")
        try:
            key = tokens.make(writer, name, role, days or None, auth.current_user() or "")
        except ValueError as error:
            return page(422, problem=str(error), form={"name": name, "role": role, "days": days})
        return page(fresh=(name, key))

    @pages.post("/tokens/<name>/revoke")
    def revoke(name: str) -> ResponseReturnValue:
        who = auth.current_user() or ""
        if writer.run(partial(stored.revoke, name=name, who=who, now=now_ms())):
            flash(f"The token {name} is revoked: it opens nothing any more.", "good")
        else:
            flash(f"There is no token {name[:64]} any more.", "bad")
        return redirect(url_for("tokens.everything"), 303)

    return pages

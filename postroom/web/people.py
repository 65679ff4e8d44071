"""The dashboard's page of people: who may do what. For editors only.

| URL | what |
| --- | --- |
| `GET /people` | everybody with role and sessions |
| `POST /people` | adds somebody; a generated password is in the answer, and never again |
| `POST /people/NAME/role`, `/password`, `/remove`, `/logout` | changes somebody; `/password` as above, the others 303 |

Where config.yaml names people, the page says so, and all but `/logout` is refused with 409. Nobody can take away the
last editor, nor their own role or place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom.dashboard_config import Dashboard
from postroom.ids import now_ms
from postroom.store import people, tokens
from postroom.store.history import History
from postroom.store.people import Person, Refused
from postroom.store.writer import Writer
from postroom.web import auth, passwords

ROLES: Mapping[str, str] = {
    "viewer": "reads everything",
    "operator": "reads, and acts on mail and destinations",
    "editor": "acts, and changes rules and people too",
}
"""Each with what it may, for people."""

_Change = Callable[[sqlite3.Connection], None]


def blueprint(history: History, writer: Writer, settings: Dashboard) -> Blueprint:
    """The page. `settings` is the section of config.yaml."""
    pages = Blueprint("people", __name__)
    pages.before_request(auth.require_login)
    pages.before_request(lambda: auth.require_role("editor"))
    named = settings.users

    def everybody() -> list[Person]:
        roles = None if named is None else {name: user.role for name, user in named.items()}
        return history.read(partial(people.everybody, named=roles, now=now_ms()))

    def page(status: int = 200, **more: Any) -> ResponseReturnValue:
        shown = {"problem": "", "fresh": None, "form": {}, **more}
        proxy = settings.proxy_login
        answer = render_template(
            "people.html", people=everybody(), roles=ROLES, named=named is not None, proxy=proxy, **shown
        )
        return answer, status

    def changed(change: _Change) -> str:
        """Why a change was refused; empty where it is done."""
        if named is not None:
            abort(409, "People are named in config.yaml: change them there.")
        try:
            writer.run(change)
        except Refused as refused:
            return str(refused)
        return ""

    def chosen_password(name: str) -> tuple[str, bool, str]:
        """A password, whether it was generated, and why it is not taken."""
        given = request.form.get("password", "")
        if not given:
            return passwords.generated(), True, ""
        return given, False, passwords.weakness(given, name)

    def told(name: str, role: str) -> str:
        if role not in ROLES:
            abort(400, "There is no such role.")
        return f"{name} is {role} now."

    @pages.get("/people")
    def everyone() -> ResponseReturnValue:
        return page()

    @pages.post("/people")
    def add() -> ResponseReturnValue:
        name, role = request.form.get("name", "").strip(), request.form.get("role", "viewer")
        done = told(name, role)
        password, generated, problem = chosen_password(name)
        if not problem:
            hash, who = passwords.hash_password(password), auth.current_user() or ""
            problem = changed(partial(_create, name=name, hash=hash, role=role, who=who))
        if problem:
            return page(422, problem=problem, form={"name": name, "role": role})
        if generated:
            return page(fresh=(name, password))
        flash(done, "good")
        return back(name)

    @pages.post("/people/<name>/password")
    def reset(name: str) -> ResponseReturnValue:
        password, generated, problem = chosen_password(name)
        if name == auth.current_user():
            problem = "Your own password is changed under your name, at the top."
        if not problem:
            hash, who = passwords.hash_password(password), auth.current_user() or ""
            problem = changed(lambda db: people.set_password(db, name, hash, who, now_ms()))
        if problem:
            return page(422, problem=problem)
        if generated:
            return page(fresh=(name, password))
        flash(f"{name} has another password now, and is logged out everywhere.", "good")
        return back(name)

    @pages.post("/people/<name>/role")
    def role(name: str) -> ResponseReturnValue:
        wanted, who = request.form.get("role", ""), auth.current_user() or ""
        done = told(name, wanted)
        return answered(name, changed(lambda db: people.set_role(db, name, wanted, who, now_ms())), done)

    @pages.post("/people/<name>/remove")
    def remove(name: str) -> ResponseReturnValue:
        if not request.form.get("sure"):
            return page(422, problem=f"{name[:64]} was not removed: the box was not ticked.")
        who = auth.current_user() or ""
        problem = changed(lambda db: people.remove(db, name, who, now_ms()))
        left = [each.name for each in history.read(tokens.tokens) if each.created_by == name]
        kept = f" Tokens that {name} made still work: {', '.join(left)}." if left else ""
        return answered("", problem, f"{name} is removed, and logged out everywhere.{kept}")

    @pages.post("/people/<name>/logout")
    def log_out(name: str) -> ResponseReturnValue:
        count = auth.sessions().end(name, who=auth.current_user() or "")
        done = f"{name} is logged out everywhere: {count} session{'' if count == 1 else 's'}."
        return answered(name, "" if count else f"{name[:64]} has no session.", done)

    def answered(name: str, problem: str, done: str) -> ResponseReturnValue:
        if problem:
            return page(422, problem=problem)
        flash(done, "good")
        return back(name)

    def back(name: str) -> ResponseReturnValue:
        return redirect(url_for("people.everyone", _anchor=f"person-{name}" if name else None), 303)

    return pages


def _create(db: sqlite3.Connection, name: str, hash: str, role: str, who: str) -> None:
    people.create(db, name, hash, role, who, now_ms())

"""The dashboard's page of one's own account.

| URL | what |
| --- | --- |
| `GET /account` | one's role, password and sessions |
| `POST /account/password` | another password; the old one is asked for, and all other sessions end |
| `POST /account/sessions/SEQ/end` | logs out one browser |
| `POST /account/sessions/end` | logs out all others |
"""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom.ids import now_ms
from postroom.store import people
from postroom.store.people import Refused
from postroom.store.writer import Writer
from postroom.web import auth, passwords
from postroom.web.people import ROLES


def blueprint(writer: Writer, named: bool) -> Blueprint:
    """The page. `named`: config.yaml names people; then no password is changed here."""
    pages = Blueprint("account", __name__)
    pages.before_request(auth.require_login)

    def page(status: int = 200, problem: str = "", wait: int = 0) -> ResponseReturnValue:
        name = auth.current_user() or ""
        role = next(each for each in reversed(list(ROLES)) if auth.may(each))
        answer = render_template(
            "account.html",
            role=role,
            meaning=ROLES[role],
            sessions=auth.sessions().of(name),
            own=auth.current_session(),
            named=named,
            shortest=passwords.SHORTEST,
            problem=problem,
        )
        return answer, status, {"Retry-After": str(wait)} if wait else {}

    @pages.get("/account")
    def account() -> ResponseReturnValue:
        return page()

    @pages.post("/account/password")
    def password() -> ResponseReturnValue:
        name = auth.current_user() or ""
        if named or auth.proxied():
            abort(409, "This password is not kept here.")
        new = request.form.get("new", "")
        if new != request.form.get("again", ""):
            return page(422, "The new password is not the same both times.")
        if problem := passwords.weakness(new, name):
            return page(422, problem)
        wait = auth.check_password(name, request.form.get("old", ""))
        if wait:
            return page(429, f"Too many attempts. Please wait {wait} seconds and try again.", wait)
        if wait == 0:
            return page(422, "The old password is wrong.")
        hash = passwords.hash_password(new)
        try:
            writer.run(lambda db: people.set_password(db, name, hash, name, now_ms()))
        except Refused:
            abort(409, "This password is not kept here.")
        auth.begin_session(name, hash, note=False)
        flash("You have another password now. All other sessions have ended.", "good")
        return redirect(url_for("account.account"), 303)

    @pages.post("/account/sessions/<int:seq>/end")
    def end(seq: int) -> ResponseReturnValue:
        name = auth.current_user() or ""
        count = auth.sessions().end(name, who=name, seq=min(seq, 2**62))
        flash("That browser is logged out." if count else "That session had ended already.", "good" if count else "bad")
        return redirect(url_for("account.account"), 303)

    @pages.post("/account/sessions/end")
    def end_others() -> ResponseReturnValue:
        name, own = auth.current_user() or "", auth.current_session()
        count = auth.sessions().end(name, who=name, but=own.seq if own else None)
        flash(f"{count} other session{'' if count == 1 else 's'} ended.", "good")
        return redirect(url_for("account.account"), 303)

    return pages

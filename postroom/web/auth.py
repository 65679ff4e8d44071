"""Who may see and do what on the dashboard: login, sessions, roles, CSRF tokens.

| URL | what |
| --- | --- |
| `GET /login`, `POST /login` | 303 to where one was going; 401: wrong; 429 with Retry-After: too many attempts |
| `POST /logout` | ends the session |

A session is a random id in Flask's signed cookie; the store knows the rest (see sessions.py). It ends 30 days after
the login, and at once when the password changes, the person is gone, or somebody ends it. A proxy in front may log
people in as well (see proxy_login.py). Roles: a viewer reads, an operator also acts on deliveries and messages, an
editor also changes rules and people.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from urllib.parse import urlsplit

from flask import Blueprint, Flask, abort, current_app, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import CSRFProtect

from postroom.dashboard_config import ROLES
from postroom.store.history import History
from postroom.store.sessions import LIFETIME_MS, Session
from postroom.store.writer import Writer
from postroom.web import headers, navigation, passwords
from postroom.web.brake import Brake
from postroom.web.failed_logins import FailedLogins
from postroom.web.proxy_login import Proxy
from postroom.web.sessions import Book, CookieInterface, device, is_known, network

_LARGEST_FORM = 64 * 1024
_LARGEST_OF_OURS = 4 * 1024 * 1024
"""Of people who are logged in: whole rule files."""
_LONGEST_NAME = 200
_EXTENSION = "postroom-auth"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class User:
    """One person of the dashboard. `password_hash` is werkzeug's (scrypt), `role` one of ROLES."""

    password_hash: str
    role: str = "viewer"


class Person(Protocol):
    """A User, or an entry of `dashboard.users` in config.yaml."""

    @property
    def password_hash(self) -> str: ...

    @property
    def role(self) -> str: ...


Users = Callable[[], Mapping[str, Person]]


class _Auth:
    """What one application keeps."""

    def __init__(self, users: Users, book: Book, failed: FailedLogins, proxy: Proxy | None) -> None:
        self.users, self.book, self.failed, self.proxy = users, book, failed, proxy
        self.by_name = Brake(10, 30)
        self.by_address = Brake(20, 15)
        # scrypt takes 32 MB: on a small machine, one at a time.
        self.hashing = threading.Lock()


def install(app: Flask, users: Users, history: History, writer: Writer, proxy: Proxy | None = None) -> CSRFProtect:
    """Adds login and logout, sessions, CSRF protection and security headers to an application that has a secret key.

    `users` is asked at each request. Blueprints that take POST from programs are to be exempted from the result.
    """
    app.extensions[_EXTENSION] = _Auth(users, Book(history, writer), FailedLogins(writer), proxy)
    app.session_interface = CookieInterface()
    app.config.update(
        SESSION_COOKIE_NAME="postroom_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(milliseconds=LIFETIME_MS),
        # A token is worth as long as its session: a login page left open over night still works.
        WTF_CSRF_TIME_LIMIT=None,
    )
    # Before the CSRF check, which reads the form.
    app.before_request(_bound_forms)
    csrf = CSRFProtect(app)
    app.register_blueprint(_blueprint())
    headers.install(app)
    app.context_processor(
        lambda: {"user": current_user(), "may": may, "nav_links": navigation.links(may), "proxied": proxied()}
    )
    return csrf


def current_user() -> str | None:
    """The name of the user who is logged in."""
    if "user" not in g:
        g.user, g.role, g.login = _identify()
    name: str | None = g.user
    return name


def current_session() -> Session | None:
    """The session of the current user; None for those whom a proxy vouches for."""
    current_user()
    found: Session | None = g.login
    return found


def proxied() -> bool:
    """Is the current user here by the word of a proxy?"""
    return current_user() is not None and g.get("by_proxy", False)


def may(role: str) -> bool:
    """May the current user do what this role may?"""
    return current_user() is not None and ROLES.index(g.role) >= ROLES.index(role)


def require_login() -> ResponseReturnValue | None:
    """For `before_request` of a blueprint: sends strangers to the login page."""
    if current_user():
        return None
    target = request.full_path.rstrip("?") if request.method in ("GET", "HEAD") else ""
    return redirect(url_for("auth.login", next=target if _is_local(target) and target != "/" else None), 303)


def require_role(role: str) -> None:
    """Answers 403 to those who may not."""
    if not may(role):
        abort(403, f"This needs the role {role}.")


def sessions() -> Book:
    """The sessions of this application."""
    return _auth(current_app).book


def begin_session(name: str, password_hash: str, *, note: bool = True) -> None:
    """The browser of this request is logged in from now on. `note`: the login is put on record."""
    agent = device(request.headers.get("User-Agent", ""))
    id = sessions().begin(name, _mark(name, password_hash), request.remote_addr or "", agent, note=note)
    session.clear()
    session.permanent = True
    session["id"] = id
    g.pop("user", None)


def check_password(name: str, password: str) -> int | None:
    """None for the right password of the current user, 0 for a wrong one, else the seconds to wait."""
    auth = _auth(current_app)
    # A key of its own: who sits at a browser that was left open locks nobody out elsewhere.
    key = f"{name}\0again"
    wait = auth.by_name.take(key)
    if wait:
        return int(wait) + 1
    user = auth.users().get(name)
    right = _compare(auth, user, password)
    if right is None:
        return 5
    if right:
        auth.by_name.give_back(key)
    return None if right else 0


def _blueprint() -> Blueprint:
    pages = Blueprint("auth", __name__)

    @pages.get("/login")
    def login() -> ResponseReturnValue:
        target = request.args.get("next", "")
        if current_user():
            return redirect(target if _is_local(target) else "/", 303)
        return render_template("login.html", next=target, problem="", name="")

    @pages.post("/login")
    def enter() -> ResponseReturnValue:
        target = request.form.get("next", "")
        name = request.form.get("name", "").strip()[:_LONGEST_NAME]
        wait = _log_in(name, request.form.get("password", ""))
        if wait is None:
            return redirect(target if _is_local(target) else "/", 303)
        shown = {"next": target, "name": name}
        if wait:
            sentence = f"Too many attempts. Please wait {wait} seconds and try again."
            return render_template("login.html", problem=sentence, **shown), 429, {"Retry-After": str(wait)}
        return render_template("login.html", problem="The name or the password is wrong.", **shown), 401

    @pages.post("/logout")
    def logout() -> ResponseReturnValue:
        found = current_session()
        if found is not None:
            sessions().leave(found.name, found.seq)
        session.clear()
        return redirect(url_for("auth.login"), 303)

    return pages


def _log_in(name: str, password: str) -> int | None:
    """None once logged in, 0 for a wrong name or password, else the seconds to wait."""
    auth = _auth(current_app)
    address, users = network(request.remote_addr), auth.users()
    # Who is logged in from here has tries of their own: guessing from elsewhere does not keep them out.
    key = f"{name}\0{address}" if name in users and is_known(auth.book.of(name), address) else name
    wait = auth.by_address.take(address) or auth.by_name.take(key)
    if wait:
        log.warning("login refused: too many attempts", extra={"user": name, "address": address})
        auth.failed.note(name, address, users, refused=True)
        return int(wait) + 1
    user = users.get(name)
    right = _compare(auth, user, password)
    if right is None:
        return 5
    if user is None or not right:
        log.warning("login failed", extra={"user": name, "address": address})
        auth.failed.note(name, address, users)
        return 0
    auth.by_address.give_back(address)
    auth.by_name.give_back(key)
    begin_session(name, user.password_hash)
    log.info("login", extra={"user": name, "address": address})
    return None


def _compare(auth: _Auth, user: Person | None, password: str) -> bool | None:
    """Is it the user's password? None where too many ask."""
    if not auth.hashing.acquire(timeout=5):
        return None
    try:
        return passwords.is_right(user.password_hash if user else passwords.nobody(), password)
    finally:
        auth.hashing.release()


def _identify() -> tuple[str | None, str, Session | None]:
    """Name, role and session of whoever asks."""
    auth = _auth(current_app)
    g.by_proxy = False
    if auth.proxy is not None and (name := auth.proxy.person(request.environ)):
        user = auth.users().get(name)
        role = auth.proxy.role(request.environ, ROLES, user.role if user else None)
        if role not in ROLES:
            return None, "", None
        g.by_proxy = True
        auth.proxy.note(name, network(request.remote_addr))
        return name, role, None
    id = session.get("id")
    found = auth.book.find(id, request.remote_addr or "") if isinstance(id, str) else None
    user = auth.users().get(found.name) if found else None
    if found is None or user is None or user.role not in ROLES:
        return None, "", None
    if not hmac.compare_digest(found.mark, _mark(found.name, user.password_hash)):
        return None, "", None
    return found.name, user.role, found


def _mark(name: str, password_hash: str) -> str:
    """What changes with the password, and tells nothing of it."""
    key = current_app.secret_key or ""
    key = key.encode() if isinstance(key, str) else key
    return hmac.new(key, f"{name}\0{password_hash}".encode(), hashlib.sha256).hexdigest()[:32]


def _auth(app: Flask) -> _Auth:
    found: _Auth = app.extensions[_EXTENSION]
    return found


def _is_local(target: str) -> bool:
    """A path of this site. Browsers take `//host` and `/\\host` for other sites, and skip control characters."""
    if not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isprintable() or "\\" in target:
        return False
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc


def _bound_forms() -> None:
    if request.method in ("POST", "PUT", "PATCH", "DELETE"):
        largest = _LARGEST_OF_OURS if current_user() else _LARGEST_FORM
        request.max_content_length = request.max_form_memory_size = largest

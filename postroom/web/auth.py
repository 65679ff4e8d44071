"""Who may see and do what on the dashboard: login, sessions, roles, CSRF tokens, security headers.

A session is Flask's signed cookie and holds the user's name, the time of login and a mark of the password hash: it
ends after 30 days, and at once when the password changes or the user is gone. Roles: a viewer reads, an operator also
acts on deliveries and messages, an editor also changes rules.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Protocol
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from flask_wtf import CSRFProtect
from werkzeug.security import check_password_hash, generate_password_hash

ROLES = ("viewer", "operator", "editor")
"""Each may do what those before it may."""

_LIFETIME = timedelta(days=30)
_LARGEST_FORM = 64 * 1024
_LONGEST_NAME = 200
_LONGEST_PASSWORD = 1000
_EXTENSION = "postroom-auth"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}

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


def hash_password(password: str) -> str:
    """The hash to keep for a password."""
    return generate_password_hash(password, method="scrypt")


class Brake:
    """A bucket of `burst` tries for each key, filled again by one every `seconds`. Kept in memory, bounded."""

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._seconds, self._clock = burst, seconds, clock
        self._used: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """0 and one try less, or the seconds to wait until there is one."""
        with self._lock:
            used, now = self._now_used(key)
            if used > self._burst - 1:
                return (used - self._burst + 1) * self._seconds
            if len(self._used) >= 10_000 and key not in self._used:
                # Full of names that somebody makes up: the least used go, so that those under attack stay.
                for other in sorted(self._used, key=lambda one: self._used[one][0])[:5_000]:
                    del self._used[other]
            self._used[key] = (used + 1, now)
            return 0

    def give_back(self, key: str) -> None:
        """The try was a good one."""
        with self._lock:
            used, now = self._now_used(key)
            self._used[key] = (max(0.0, used - 1), now)

    def _now_used(self, key: str) -> tuple[float, float]:
        now = self._clock()
        used, at = self._used.get(key, (0.0, now))
        return max(0.0, used - (now - at) / self._seconds), now


class _Auth:
    """What one application keeps."""

    def __init__(self, users: Users) -> None:
        self.users = users
        self.by_name = Brake(10, 30)
        self.by_address = Brake(20, 15)
        # scrypt takes 32 MB: on a small machine, one at a time.
        self.hashing = threading.Lock()


class _Sessions(SecureCookieSessionInterface):
    """Flask's, with `Secure` wherever the request came by https (by a trusted proxy's word, too)."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def install(app: Flask, users: Users) -> CSRFProtect:
    """Adds login and logout, sessions, CSRF protection and security headers to an application that has a secret key.

    `users` is asked at each request. Blueprints that take POST from programs are to be exempted from the result.
    """
    app.extensions[_EXTENSION] = _Auth(users)
    app.session_interface = _Sessions()
    app.config.update(
        SESSION_COOKIE_NAME="postroom_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=_LIFETIME,
        # A token is worth as long as its session: a login page left open over night still works.
        WTF_CSRF_TIME_LIMIT=None,
    )
    # Before the CSRF check, which reads the form.
    app.before_request(_bound_forms)
    csrf = CSRFProtect(app)
    app.register_blueprint(_blueprint())
    app.after_request(_add_headers)
    app.context_processor(lambda: {"user": current_user(), "may": may})
    return csrf


def current_user() -> str | None:
    """The name of the user who is logged in."""
    if "user" not in g:
        g.user, g.role = _from_session()
    name: str | None = g.user
    return name


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
        wait = _check(name, request.form.get("password", ""))
        if wait is None:
            return redirect(target if _is_local(target) else "/", 303)
        shown = {"next": target, "name": name}
        if wait:
            sentence = f"Too many attempts. Please wait {wait} seconds and try again."
            return render_template("login.html", problem=sentence, **shown), 429, {"Retry-After": str(wait)}
        return render_template("login.html", problem="The name or the password is wrong.", **shown), 401

    @pages.post("/logout")
    def logout() -> ResponseReturnValue:
        session.clear()
        return redirect(url_for("auth.login"), 303)

    return pages


def _check(name: str, password: str) -> int | None:
    """None once logged in, 0 for a wrong name or password, else the seconds to wait."""
    auth: _Auth = current_app.extensions[_EXTENSION]
    address = _network(request.remote_addr)
    wait = max(auth.by_address.take(address), auth.by_name.take(name))
    if wait:
        log.warning("login refused: too many attempts", extra={"user": name, "address": address})
        return int(wait) + 1
    user = auth.users().get(name)
    if not auth.hashing.acquire(timeout=5):
        return 5
    try:
        right = _is_right(user.password_hash if user else _nobody(), password)
    finally:
        auth.hashing.release()
    if not user or not right:
        log.warning("login failed", extra={"user": name, "address": address})
        return 0
    auth.by_address.give_back(address)
    auth.by_name.give_back(name)
    session.clear()
    session.permanent = True
    session.update(name=name, since=int(time.time()), mark=_mark(name, user.password_hash))
    g.pop("user", None)
    log.info("login", extra={"user": name, "address": address})
    return None


def _is_right(password_hash: str, password: str) -> bool:
    try:
        return len(password) <= _LONGEST_PASSWORD and check_password_hash(password_hash, password)
    except ValueError:
        # A hash that somebody mistyped in config.yaml.
        return False


@cache
def _nobody() -> str:
    """An unknown name costs the same work as a known one."""
    return hash_password(secrets.token_hex())


def _from_session() -> tuple[str | None, str]:
    auth: _Auth = current_app.extensions[_EXTENSION]
    name, since = session.get("name"), session.get("since", 0)
    user = auth.users().get(name) if name else None
    if name is None or user is None or user.role not in ROLES or time.time() - since > _LIFETIME.total_seconds():
        return None, ""
    if not hmac.compare_digest(session.get("mark", ""), _mark(name, user.password_hash)):
        return None, ""
    return name, user.role


def _mark(name: str, password_hash: str) -> str:
    key = current_app.secret_key or ""
    key = key.encode() if isinstance(key, str) else key
    return hmac.new(key, f"{name}\0{password_hash}".encode(), hashlib.sha256).hexdigest()[:32]


def _network(address: str | None) -> str:
    """One host's addresses are one key: IPv6 gives each customer a whole /64."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, ipaddress.IPv6Address) and not parsed.ipv4_mapped:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


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
    if request.blueprint in ("auth", "dashboard"):
        request.max_content_length = _LARGEST_FORM


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response

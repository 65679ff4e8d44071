"""`/users` and `/tokens`: who may do what. For editors only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from postroom.dashboard_config import Dashboard
from postroom.ids import now_ms
from postroom.store import people
from postroom.store import tokens as stored
from postroom.store.history import History
from postroom.store.people import Person, Refused
from postroom.store.writer import Writer
from postroom.web import passwords, tokens
from postroom.web.api.contract import UNSET, Call, Done, Fault, OneName, Route, Unset
from postroom.web.sessions import Book

Role = Literal["viewer", "operator", "editor"]
Password = Annotated[str, Meta(min_length=1, max_length=1000)]


class Users(msgspec.Struct, frozen=True):
    """Everybody of the dashboard."""

    rows: list[Person]
    in_config: bool
    """They are named in config.yaml: then they are changed there, and not here."""


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody to be added. Without a password one is made."""

    name: Annotated[str, Meta(pattern=f"^{people.NAME.pattern}$".replace(r"\w", "[A-Za-z0-9_]", 1))]
    role: Role
    password: Password | Unset = UNSET


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another password. Without one it is made."""

    password: Password | Unset = UNSET


class NewRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another role."""

    role: Role


class WithPassword(msgspec.Struct, frozen=True):
    """A user. `password` is told once where it was made, and never again."""

    name: str
    password: str | None


class Tokens(msgspec.Struct, frozen=True):
    """All tokens by name."""

    rows: list[stored.Token]


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made. `days`: after which it expires; without them it holds until it is revoked."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_ .@+-]{0,63}$")]
    role: Role
    days: Annotated[int, Meta(ge=1, le=3650)] | Unset = UNSET


class Key(msgspec.Struct, frozen=True):
    """A token's key: told once, and never again."""

    name: str
    key: str


_NOBODY = {404: "Nobody has this name."}


def routes(history: History, writer: Writer, settings: Dashboard) -> list[Route]:
    """`settings`: the section of config.yaml, which may name people; otherwise the store keeps them."""
    named, sessions = settings.users, Book(history, writer)

    def users(_: Call) -> Users:
        roles = None if named is None else {name: user.role for name, user in named.items()}
        return Users(history.read(partial(people.everybody, named=roles, now=now_ms())), named is not None)

    def add(call: Call) -> WithPassword:
        body: NewUser = call.body
        password, hash = chosen(body.name, body.password)
        changed(lambda db: people.create(db, body.name, hash, body.role, call.who, now_ms()))
        return WithPassword(body.name, password)

    def password(call: Call) -> WithPassword:
        name = known(call)
        password, hash = chosen(name, call.body.password)
        changed(lambda db: people.set_password(db, name, hash, call.who, now_ms()))
        return WithPassword(name, password)

    def role(call: Call) -> Done:
        name = known(call)
        changed(lambda db: people.set_role(db, name, call.body.role, call.who, now_ms()))
        return Done()

    def remove(call: Call) -> Done:
        name = known(call)
        changed(lambda db: people.remove(db, name, call.who, now_ms()))
        return Done()

    def log_out(call: Call) -> Done:
        name = known(call)
        if not sessions.end(name, who=call.who):
            raise Fault(409, f"{name} has no session.")
        return Done()

    def known(call: Call) -> str:
        name: str = call.path.name
        if name not in (history.users() if named is None else named):
            raise Fault(404, "Nobody has this name.")
        return name

    def chosen(name: str, password: str | Unset) -> tuple[str | None, str]:
        """The password where it was made here, and its hash."""
        own_people()
        if not isinstance(password, str):
            made = passwords.generated()
            return made, passwords.hash_password(made)
        if weakness := passwords.weakness(password, name):
            raise Fault(409, weakness)
        return None, passwords.hash_password(password)

    def own_people() -> None:
        if named is not None:
            raise Fault(409, "People are named in config.yaml: change them there.")

    def changed(change: Callable[[sqlite3.Connection], None]) -> None:
        own_people()
        try:
            writer.run(change)
        except Refused as refused:
            raise Fault(409, str(refused)) from None

    def all_tokens(_: Call) -> Tokens:
        return Tokens(history.read(stored.tokens))

    def add_token(call: Call) -> Key:
        body: NewToken = call.body
        days = body.days if isinstance(body.days, int) else None
        try:
            return Key(body.name, tokens.make(writer, body.name, body.role, days, call.who))
        except ValueError as error:
            raise Fault(409, str(error)) from None

    def revoke(call: Call) -> Done:
        if not writer.run(partial(stored.revoke, name=call.path.name, who=call.who, now=now_ms())):
            raise Fault(404, "No token has this name.")
        return Done()

    refused = {409: "That cannot be; `detail` says why."}
    of_one = {**_NOBODY, **refused}
    return [
        Route("GET", "/users", "Everybody with role and sessions.", users, Users, "editor"),
        Route("POST", "/users", "Adds somebody.", add, WithPassword, "editor", body=NewUser, faults=refused),
        Route("DELETE", "/users/{name}", "Removes somebody, and ends their sessions.", remove, Done, "editor",
              takes=OneName, faults=of_one),
        Route("PUT", "/users/{name}/role", "Gives somebody another role.", role, Done, "editor", takes=OneName,
              body=NewRole, faults=of_one),
        Route("PUT", "/users/{name}/password", "Gives somebody another password, and ends their sessions.", password,
              WithPassword, "editor", takes=OneName, body=NewPassword, faults=of_one),
        Route("POST", "/users/{name}/logout", "Ends all sessions of somebody.", log_out, Done, "editor",
              takes=OneName, faults=of_one),
        Route("GET", "/tokens", "All tokens: whose, what for, when used. Never their keys.", all_tokens, Tokens,
              "editor"),
        Route("POST", "/tokens", "Makes a token; its key is in the answer, and never again.", add_token, Key,
              "editor", body=NewToken, faults=refused),
        Route("DELETE", "/tokens/{name}", "Ends a token.", revoke, Done, "editor", takes=OneName,
              faults={404: "No token has this name."}),
    ]  # fmt: skip

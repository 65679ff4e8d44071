"""Commands around people and the tokens of programs."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from postroom import listing
from postroom.cli.house import House, commands, config_option, json_option, who
from postroom.config import Config
from postroom.dashboard_config import ROLES
from postroom.ids import now_ms
from postroom.store import people, schema, tokens
from postroom.store.database import FILE_NAME, connect, migrate
from postroom.store.people import Person, Refused
from postroom.store.writer import Writer
from postroom.web import passwords
from postroom.web import tokens as keys

T = TypeVar("T")
_role = click.Choice(list(ROLES))
_generate = click.option("--generate", is_flag=True, help="Make a password and print it, in place of asking for one.")


@commands.group()
def user() -> None:
    """The dashboard's people, where config.yaml names none."""


@user.command("add")
@config_option
@click.argument("name")
@click.option("--role", type=_role, default="viewer", show_default=True, help="What the person may do.")
@_generate
@json_option
@click.pass_obj
def add_user(house: House, config_path: Path, name: str, role: str, generate: bool, as_json: bool) -> None:
    """Adds somebody. The password is asked for, or read from standard input."""
    config = _store_of_people(house, config_path)
    password = _password(name, generate)
    hash = passwords.hash_password(password)
    _write(config, lambda db: people.create(db, name, hash, role, who(), now_ms()))
    _tell(f"{name} is {role} now", name, role, password if generate else None, as_json)


@user.command("passwd")
@config_option
@click.argument("name")
@_generate
@json_option
@click.pass_obj
def set_password(house: House, config_path: Path, name: str, generate: bool, as_json: bool) -> None:
    """Gives somebody another password, and ends their sessions. It is asked for, or read from standard input."""
    config = _store_of_people(house, config_path)
    known = {each.name: each.role for each in _people(config)}
    if name not in known:
        raise click.ClickException(f"there is nobody named {name}")
    password = _password(name, generate)
    hash = passwords.hash_password(password)
    _write(config, lambda db: people.set_password(db, name, hash, who(), now_ms()))
    _tell(f"{name} has another password now", name, known[name], password if generate else None, as_json)


@user.command("list")
@config_option
@json_option
@click.pass_obj
def list_users(house: House, config_path: Path, as_json: bool) -> None:
    """Everybody with role and sessions."""
    config, _ = house.load_config(config_path)
    found = _people(config)
    if as_json:
        click.echo(listing.as_json(found))
        return
    for each in found:
        seen = f"last seen {listing.when(each.seen_at)}" if each.seen_at else "not logged in"
        click.echo(listing.safe(f"{each.name:30}  {each.role:8}  {seen}"))
    if config.dashboard.users is not None:
        click.echo(f"They are named in {config_path}.", err=True)


@user.command("remove")
@config_option
@click.argument("name")
@click.pass_obj
def remove_user(house: House, config_path: Path, name: str) -> None:
    """Removes somebody, and ends their sessions."""
    config = _store_of_people(house, config_path)
    _write(config, lambda db: people.remove(db, name, who(), now_ms()))
    click.echo(f"{name} is removed")
    made = [each.name for each in _read(config, tokens.tokens) if each.created_by == name]
    if made:
        click.echo(f"note: tokens that {name} made still work: {', '.join(made)}", err=True)


@commands.group()
def token() -> None:
    """Keys by which programs use the API."""


@token.command("add")
@config_option
@click.argument("name")
@click.option("--role", type=_role, default="viewer", show_default=True, help="What the program may do.")
@click.option("--days", type=click.FloatRange(0, min_open=True), default=None, help="It expires after so many.")
@json_option
@click.pass_obj
def add_token(house: House, config_path: Path, name: str, role: str, days: float | None, as_json: bool) -> None:
    """Makes a token. Its key is printed this once."""
    config = _ready(house, config_path)
    writer = Writer(config.data_dir / FILE_NAME)
    try:
        key = keys.make(writer, name, role, days, who())
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    finally:
        writer.close()
    click.echo(listing.as_json({"name": name, "role": role, "key": key}) if as_json else key)


@token.command("revoke")
@config_option
@click.argument("name")
@click.pass_obj
def revoke_token(house: House, config_path: Path, name: str) -> None:
    """Ends a token: it opens nothing any more."""
    config = _ready(house, config_path)
    if not _write(config, partial(tokens.revoke, name=name, who=who(), now=now_ms())):
        raise click.ClickException(f"there is no token {name}")
    click.echo(f"{name} is revoked")


@token.command("list")
@config_option
@json_option
@click.pass_obj
def list_tokens(house: House, config_path: Path, as_json: bool) -> None:
    """All tokens: for what, by whom, when used. Never the keys."""
    config, _ = house.load_config(config_path)
    found = _read(config, tokens.tokens)
    if as_json:
        click.echo(listing.as_json(found))
        return
    now = now_ms()
    for each in found:
        used = f"last used {listing.when(each.used_at)}" if each.used_at else "never used"
        ends = ""
        if each.expires_at is not None:
            ends = f", {'expired' if each.expires_at <= now else 'expires'} {listing.when(each.expires_at)}"
        click.echo(listing.safe(f"{each.name:30}  {each.role:8}  by {each.created_by}, {used}{ends}"))


def _ready(house: House, config_path: Path) -> Config:
    """The configuration, with a store that is there."""
    config, _ = house.load_config(config_path)
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    migrate(config.data_dir / FILE_NAME)
    return config


def _store_of_people(house: House, config_path: Path) -> Config:
    config, _ = house.load_config(config_path)
    if config.dashboard.users is not None:
        raise click.ClickException(f"people are named in {config_path} (dashboard: users): change them there")
    return _ready(house, config_path)


def _write(config: Config, work: Callable[[sqlite3.Connection], T]) -> T:
    writer = Writer(config.data_dir / FILE_NAME)
    try:
        return writer.run(work)
    except Refused as refused:
        raise click.ClickException(str(refused)) from None
    finally:
        writer.close()


def _read(config: Config, query: Callable[[sqlite3.Connection], list[T]]) -> list[T]:
    database = config.data_dir / FILE_NAME
    db = connect(database, read_only=True) if database.exists() else schema.in_memory()
    try:
        return query(db)
    finally:
        db.close()


def _people(config: Config) -> list[Person]:
    named = config.dashboard.users
    roles = None if named is None else {name: entry.role for name, entry in named.items()}
    return _read(config, partial(people.everybody, named=roles, now=now_ms()))


def _password(name: str, generate: bool) -> str:
    if generate:
        return passwords.generated()
    if sys.stdin.isatty():
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise click.UsageError("no password on standard input; --generate makes one")
    if problem := passwords.weakness(password, name):
        raise click.ClickException(problem)
    return password


def _tell(sentence: str, name: str, role: str, password: str | None, as_json: bool) -> None:
    if as_json:
        click.echo(listing.as_json({"name": name, "role": role, **({"password": password} if password else {})}))
        return
    click.echo(sentence)
    if password:
        click.echo(f"Password: {password}    (shown once; only its hash is kept)")

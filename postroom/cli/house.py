"""What the commands are given, and what they share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from postroom import __version__
from postroom.config import Config
from postroom.destination import Destination
from postroom.dispatch import Dispatcher
from postroom.ingress.base import Ingress
from postroom.rules import RuleSet
from postroom.rules.cases import Case
from postroom.ruletests import Outcome
from postroom.store.database import FILE_NAME
from postroom.store.history import History
from postroom.store.records import MessageDetail

_Kinds = dict[str, Any]
_UNQUOTED = re.compile(r'^(-?[a-z]+:)([^"\s]+\s[^"]*)$')


@dataclass(frozen=True, slots=True)
class House:
    """What app.py wires: the commands import no integration."""

    load_kinds: Callable[[Path | None], _Kinds]
    """The kinds of destinations that a config.yaml may name; None: where there is no such file."""
    load_config: Callable[[Path], tuple[Config, _Kinds]]
    load_rules: Callable[[Config, _Kinds], RuleSet]
    test_rules: Callable[[Config, _Kinds, RuleSet, Sequence[Case] | None], list[Outcome]]
    item_makers: Callable[[Config, _Kinds], Collection[str]]
    """The destinations that make items."""
    create_dispatcher: Callable[[Config, _Kinds, int | None], Dispatcher]
    create_destinations: Callable[[Config, _Kinds], dict[str, Destination]]
    ingress_kinds: Mapping[str, type[Ingress]]
    message_url: Callable[[Config, str], str]
    """The page of one message (its id)."""
    web_target: str
    """File and name of the WSGI factory: `/srv/app.py:web`."""
    folder: Path
    """Where app.py lies."""


config_option = click.option(
    "--config", "-c", "config_path", default="config.yaml", show_default=True, metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="postroom")
def commands() -> None:
    """E-mail comes in, the right work comes out."""


def who() -> str:
    return f"{os.environ.get('USER') or os.getuid()} (command line)"


def search_of(words: tuple[str, ...]) -> str:
    """A search from the words of a command line, where the shell took the quotation marks of `rule:"Crash reports"`."""
    return " ".join(_UNQUOTED.sub(r'\1"\2"', word) for word in words)


def history_of(house: House, config_path: Path) -> History:
    config, _ = house.load_config(config_path)
    database = config.data_dir / FILE_NAME
    if not database.exists():
        raise click.ClickException(f"{database} does not exist: nothing was received yet")
    return History(database)


def detail_of(history: History, message_id: str) -> MessageDetail:
    """One message by its id, or by how that begins. Raises click.ClickException where there is no such, or several."""
    # The search finds ids by their beginning, among other things.
    rows = history.messages(search=message_id, limit=100) if 4 <= len(message_id) < 36 else []
    ids = [row.id for row in rows if row.id.startswith(message_id.lower())]
    if len(ids) > 1:
        raise click.UsageError(f"more than one message begins with {message_id}")
    detail = history.message(ids[0] if ids else message_id.lower())
    if detail is None:
        raise click.ClickException(f"there is no message {message_id}")
    return detail

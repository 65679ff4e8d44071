"""`check`: configuration and rules, and with `--online` the destinations themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from postroom import listing
from postroom.cli.house import House, commands, config_option, json_option
from postroom.config import Config
from postroom.destination import Destination
from postroom.integration import DeliveryError
from postroom.problems import InvalidFiles
from postroom.store.database import FILE_NAME, connect

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Found:
    """What a destination said of itself."""

    destination: str
    kind: str
    well: bool
    found: tuple[str, ...]
    """Sentences: who Postroom is there and what that account may do, or the one fault."""


@commands.command()
@config_option
@click.option(
    "--online", is_flag=True, help="Ask each destination too: do address and credentials hold, who are we there?"
)
@json_option
@click.pass_obj
def check(house: House, config_path: Path, online: bool, as_json: bool) -> int:
    """Configuration and rules: every problem with its place. Exit code 1 where there are any."""
    try:
        config, kinds = house.load_config(config_path)
        rule_set = house.load_rules(config, kinds)
    except InvalidFiles as invalid:
        if not as_json:
            raise
        click.echo(listing.as_json({"problems": _rows(invalid), "notes": [], "online": []}))
        return 1
    notes = _notes(config, config_path)
    answers = ask(house.create_destinations(config, kinds)) if online else []
    bad = [each for each in answers if not each.well]
    if as_json:
        click.echo(listing.as_json({"problems": [], "notes": notes, "online": answers}))
        return 1 if bad else 0
    for note in notes:
        click.echo(f"note: {note}", err=True)
    for each in answers:
        for sentence in each.found:
            click.echo(f"{each.destination}: {'' if each.well else 'FAILED: '}{sentence}")
    click.echo(
        f"{'not well' if bad else 'well'}: {len(config.ingress)} ways in, {len(config.destinations)} destinations,"
        f" {len(rule_set.rules)} rules in {len(rule_set.files)} files"
        + (f"; {len(bad)} destinations cannot be used" if bad else "")
    )
    return 1 if bad else 0


def ask(destinations: dict[str, Destination]) -> list[Found]:
    """What every destination says, several asked at once; in the order of their names."""

    def one(destination: Destination) -> Found:
        integration = destination.integration
        try:
            sentences = tuple(integration.check()) or (
                f"the kind {integration.kind} cannot be checked without sending something",
            )
        except DeliveryError as error:
            said = f" ({' '.join(error.answer.split())[:200]})" if error.answer else ""
            return Found(destination.name, integration.kind, False, (integration.http.mask(error.reason + said),))
        return Found(destination.name, integration.kind, True, tuple(map(integration.http.mask, sentences)))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, (destinations[name] for name in sorted(destinations))))


def _rows(invalid: InvalidFiles) -> list[dict[str, object]]:
    return [
        {"path": each.place.path, "line": each.place.line, "column": each.place.column, "message": each.message}
        for each in invalid.problems
    ]


def _notes(config: Config, config_path: Path) -> list[str]:
    """What is no problem, but worth a look: deliveries that wait for a destination that is gone."""
    database = config.data_dir / FILE_NAME
    if not database.exists():
        return []
    db = connect(database, read_only=True)
    rows = db.execute(
        "SELECT destination, COUNT(*) FROM deliveries WHERE state IN ('pending', 'sending', 'retrying')"
        " GROUP BY destination"
    ).fetchall()
    db.close()
    return [
        f"{count} deliveries wait for '{name}', which is no longer in {config_path}"
        for name, count in rows
        if name not in config.destinations
    ]

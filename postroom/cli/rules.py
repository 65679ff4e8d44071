"""Commands around the rules: they change nothing of what runs."""

from __future__ import annotations

import dataclasses
import re
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from postroom import backtest as testing_back
from postroom import explaining, listing
from postroom.cli.house import House, commands, config_option, detail_of, history_of, json_option
from postroom.config import Config, field_sets
from postroom.fields import parse_duration
from postroom.ids import now_ms
from postroom.rawmail import LARGEST
from postroom.schema import config_schema, destinations_in, rules_schema, written
from postroom.store.database import FILE_NAME

rules_option = click.option(
    "--rules", "rules_dir", default=None, metavar="DIR", help="The rule files below it, in place of those in use.",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)  # fmt: skip
_ID_START = re.compile(r"[0-9a-fA-F]{4}[0-9a-fA-F-]{0,32}", re.ASCII)


@commands.command("test")
@config_option
@click.option("-k", "name", default="", metavar="NAME", help="Only tests whose names hold this.")
@json_option
@click.pass_obj
def run_tests(house: House, config_path: Path, name: str, as_json: bool) -> int:
    """The tests in the rule files, with what was expected (-) and what happened (+). Exit code 1 where one fails."""
    config, kinds = house.load_config(config_path)
    untested = dataclasses.replace(config, rules=dataclasses.replace(config.rules, require_tests=False))
    rule_set = house.load_rules(untested, kinds)
    cases = [case for case in rule_set.cases if name.casefold() in case.name.casefold()]
    if name and not cases:
        raise click.UsageError(f"no test has '{name}' in its name")
    outcomes = house.test_rules(config, kinds, rule_set, cases)
    failed = sum(not outcome.passed for outcome in outcomes)
    if as_json:
        rows = [
            {
                "name": each.case.name,
                "file": each.case.place.path,
                "line": each.case.place.line,
                "passed": each.passed,
                "differences": each.differences,
            }
            for each in outcomes
        ]
        click.echo(listing.as_json(rows))
        return 1 if failed else 0
    for outcome in outcomes:
        click.echo(f"{'ok    ' if outcome.passed else 'FAILED'}  {outcome.case.name}")
        if not outcome.passed:
            click.echo(f"        {outcome.case.place.path}:{outcome.case.place.line}")
            click.echo("\n".join(f"        {line}" for line in outcome.differences))
    count = len(outcomes)
    click.echo(f"{count - failed} of {count} tests pass" if count else "there are no tests in the rule files")
    return 1 if failed else 0


@commands.command()
@config_option
@click.argument("what", type=click.Choice(["rules", "config"]), default="rules")
@click.option("--output", "-o", default=None, metavar="FILE", help="Write it there, in place of printing it.",
              type=click.Path(path_type=Path, dir_okay=False))  # fmt: skip
@click.option("--no-config", is_flag=True, help="Of every kind of destination, whatever config.yaml there is.")
@click.pass_context
def schema(context: click.Context, config_path: Path, what: str, output: Path | None, no_config: bool) -> None:
    """JSON Schema for editors, of the rule files (with the destinations of config.yaml) or of config.yaml itself."""
    house: House = context.obj
    given = context.get_parameter_source("config_path") is not ParameterSource.DEFAULT
    if no_config and given:
        raise click.UsageError("--config and --no-config exclude each other")
    there = not no_config and (given or config_path.exists())
    kinds = house.load_kinds(config_path if there else None)
    if what == "config":
        made = config_schema(house.ingress_kinds, kinds)
    else:
        made = rules_schema(kinds, destinations_in(config_path, kinds) if there else None)
    if output is None:
        click.echo(written(made), nl=False)
        return
    try:
        output.write_text(written(made), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from None
    click.echo(f"Wrote {output}.")


@commands.command()
@config_option
@rules_option
@click.argument("what", metavar="FILE|ID|-")
@click.option("--to", "recipient", default=None, metavar="ADDR", help="The envelope recipient, in place of the file's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs: one line for each mail.")
@click.pass_obj
def explain(
    house: House, config_path: Path, rules_dir: Path | None, what: str, recipient: str | None, as_json: bool
) -> None:
    """Why each rule did or did not match, and what would be sent. Nothing is sent or stored.

    FILE: an .eml, an mbox, or a document as the provider posts it (.json, .jsonl), as if it came in now; -: the same
    from standard input. ID: a stored message (how it begins is enough), under the rules of today.
    """
    config, kinds = _configured(house, config_path, rules_dir)
    path = Path(what)
    stored = what != "-" and not path.exists()
    if stored and not _ID_START.fullmatch(what):
        raise click.UsageError(f"there is no file {what}, and it is no id of a message")
    if stored and recipient is not None:
        raise click.UsageError("--to is for files: a stored message has its recipient")
    if path.is_dir():
        raise click.UsageError(f"{what} is a folder: name a file in it")
    explainer = explaining.Explainer(
        config,
        house.load_rules(config, kinds),
        fields=field_sets(config, kinds),
        makers=frozenset(house.item_makers(config, kinds)),
        message_url=partial(house.message_url, config),
    )
    told = explaining.as_json if as_json else explaining.told
    if stored:
        try:
            click.echo(told(explainer.stored(detail_of(history_of(house, config_path), what))))
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        return
    shown = "standard input" if what == "-" else what
    try:
        for number, explained in enumerate(_explained(explainer, what, recipient)):
            if number and not as_json:
                click.echo()
            click.echo(told(explained))
    except ValueError as error:
        raise click.ClickException(f"{shown} cannot be read as mail: {error}") from None
    except OSError as error:
        raise click.ClickException(f"{shown} cannot be read: {error.strerror or error}") from None


@commands.command()
@config_option
@rules_option
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="Only the mail received since then.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(0), help="Show so many changed mails.")
@json_option
@click.pass_obj
def backtest(house: House, config_path: Path, rules_dir: Path | None, since: str, limit: int, as_json: bool) -> None:
    """Routes the stored mail under the edited rules, and shows what would change. Nothing is sent or stored.

    What is compared is which rule sends a mail where, holds or drops it; not the text that is sent, nor what limits and
    correlations add. With --json every changed mail is told.
    """
    try:
        seconds = parse_duration(since)
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from None
    config, kinds = _configured(house, config_path, rules_dir)
    rule_set = house.load_rules(config, kinds)
    database = config.data_dir / FILE_NAME
    if not database.exists():
        raise click.ClickException(f"{database} does not exist: nothing was received yet")
    with click.progressbar(length=1, label="judging", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def started(count: int) -> Any:
            bar.length = max(1, count)
            return bar.update

        report = testing_back.run(
            database,
            rule_set,
            timezone=config.mail.timezone,
            makers=house.item_makers(config, kinds),
            since=max(0, now_ms() - int(seconds * 1000)),
            keep=None if as_json else limit,
            started=started,
        )
    click.echo(listing.as_json(report) if as_json else testing_back.told(report))


def _configured(house: House, config_path: Path, rules_dir: Path | None) -> tuple[Config, dict[str, Any]]:
    """The configuration, with the rules of another folder where one is named, whether or not their tests pass."""
    config, kinds = house.load_config(config_path)
    config = dataclasses.replace(config, rules=dataclasses.replace(config.rules, require_tests=False))
    return (config if rules_dir is None else dataclasses.replace(config, rules_dir=rules_dir)), kinds


def _explained(explainer: explaining.Explainer, what: str, recipient: str | None) -> Iterator[explaining.Explained]:
    if what != "-":
        yield from explainer.files(Path(what), what, recipient)
        return
    # A file as any other: an mbox is read from its places. It is for its owner only, and gone afterwards.
    with tempfile.NamedTemporaryFile(prefix="postroom-") as file:
        file.write(_bounded(sys.stdin.buffer.read(LARGEST + 1)))
        file.flush()
        yield from explainer.files(Path(file.name), "standard input", recipient)


def _bounded(data: bytes) -> bytes:
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST // 1_000_000} MB")
    return data

"""Commands around the rules: they change nothing of what runs."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from postroom.cli.house import House, commands, config_option
from postroom.schema import config_schema, destinations_in, rules_schema, written
from postroom.store.database import FILE_NAME, connect


@commands.command()
@config_option
@click.pass_obj
def check(house: House, config_path: Path) -> None:
    """Configuration and rules: every problem with its place. Exit code 1 where there are any."""
    config, kinds = house.load_config(config_path)
    rule_set = house.load_rules(config, kinds)
    database = config.data_dir / FILE_NAME
    if database.exists():
        db = connect(database, read_only=True)
        rows = db.execute(
            "SELECT destination, COUNT(*) FROM deliveries WHERE state IN ('pending', 'sending', 'retrying')"
            " GROUP BY destination"
        ).fetchall()
        db.close()
        for name, count in rows:
            if name not in config.destinations:
                click.echo(f"note: {count} deliveries wait for '{name}', which is no longer in {config_path}", err=True)
    click.echo(
        f"well: {len(config.ingress)} ways in, {len(config.destinations)} destinations,"
        f" {len(rule_set.rules)} rules in {len(rule_set.files)} files"
    )


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

"""Commands around the rules: they change nothing of what runs."""

from __future__ import annotations

from pathlib import Path

import click

from postroom.cli.house import House, commands, config_option
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

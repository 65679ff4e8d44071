"""The commands. `postroom X`, or `python app.py X`.

Exit codes: 0 well, 1 the thing asked about is not well (problems found), 2 used wrongly.
"""

from __future__ import annotations

import os

import click

# Each of these adds its commands.
from postroom.cli import acting, checking, messages, people, rules, running
from postroom.cli.house import House, commands
from postroom.cli.running import end_with_parent
from postroom.problems import InvalidFiles

__all__ = [
    "House",
    "acting",
    "checking",
    "commands",
    "end_with_parent",
    "main",
    "messages",
    "people",
    "rules",
    "running",
]


def main(house: House) -> int:
    """Runs the command line and returns the exit code."""
    # Mail and password hashes are for their owner only, wherever the folder came from.
    os.umask(0o077)
    try:
        code = commands.main(obj=house, prog_name="postroom", standalone_mode=False)
        return int(code or 0)
    except InvalidFiles as invalid:
        for problem in invalid.problems:
            click.echo(str(problem), err=True)
        count = len(invalid.problems)
        click.echo(f"{count} problem{'s' if count > 1 else ''} found", err=True)
        return 1
    except click.Abort:
        click.echo("stopped", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return 2 if isinstance(error, click.UsageError) else 1

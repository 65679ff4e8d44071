"""Commands that send mail in and show what became of it."""

from __future__ import annotations

from pathlib import Path

import click

from postroom import listing, sending
from postroom.cli.house import House, commands, config_option, detail_of, history_of, json_option, search_of
from postroom.store.database import FILE_NAME


@commands.command()
@config_option
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "recipient", default=None, metavar="ADDR", help="The envelope recipient, in place of the file's.")
@click.option("--ingress", "name", default=None, help="The way in; default: the first of SocketLabs.")
@click.option("--url", default=None, help="The running instance, in place of server.listen of the file.")
@click.pass_obj
def send(
    house: House, config_path: Path, files: tuple[Path, ...], recipient: str | None, name: str | None, url: str | None
) -> int:
    """Posts .eml, .json, .jsonl or mbox files to a running instance as SocketLabs would."""
    config, _ = house.load_config(config_path)
    return sending.send(config, files, recipient=recipient, ingress=name, url=url)


@commands.command()
@config_option
@click.argument("query", nargs=-1)
@click.option("--state", default="", help="Only messages in this state: unmatched, dead, retrying, ...")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500))
@json_option
@click.pass_obj
def history(house: House, config_path: Path, query: tuple[str, ...], state: str, limit: int, as_json: bool) -> None:
    """The messages, newest first; QUERY: words in subject, sender, recipient or reference."""
    try:
        rows = history_of(house, config_path).messages(search=search_of(query), state=state, limit=limit)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(listing.as_json(rows) if as_json else listing.messages(rows))


@commands.command()
@config_option
@click.argument("message_id", metavar="ID")
@json_option
@click.pass_obj
def show(house: House, config_path: Path, message_id: str, as_json: bool) -> None:
    """One message whole: trace, deliveries, attempts. ID: the message's, or how it begins."""
    config, _ = house.load_config(config_path)
    detail = detail_of(history_of(house, config_path), message_id)
    trace = listing.trace_of(detail, config.data_dir / FILE_NAME, config.mail.timezone)
    click.echo(listing.as_json({"message": detail, "trace": trace}) if as_json else listing.message(detail, trace))

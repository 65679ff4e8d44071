"""Commands around messages and deliveries."""

from __future__ import annotations

from pathlib import Path

import click

from postroom import listing, sending
from postroom.cli.house import House, commands, config_option, detail_of, history_of, json_option, who
from postroom.decide import Decider
from postroom.doorbell import FILE_NAME as BELL_NAME
from postroom.doorbell import ring
from postroom.ids import now_ms
from postroom.rulebook import RuleBook
from postroom.store.database import FILE_NAME, connect
from postroom.store.outbox import retry as retry_delivery
from postroom.store.writer import Writer


@commands.command()
@config_option
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "recipient", default=None, metavar="ADDR", help="The envelope recipient, in place of the file's.")
@click.option("--ingress", "name", default=None, help="The way in; default: the first of the file.")
@click.option("--url", default=None, help="The running instance, in place of server.listen of the file.")
@click.pass_obj
def send(
    house: House, config_path: Path, files: tuple[Path, ...], recipient: str | None, name: str | None, url: str | None
) -> int:
    """Posts .eml, .json, .jsonl or mbox files to a running instance as the provider would."""
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
        rows = history_of(house, config_path).messages(search=" ".join(query), state=state, limit=limit)
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


@commands.command()
@config_option
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def retry(house: House, config_path: Path, ids: tuple[str, ...], yes: bool) -> None:
    """Tries dead and waiting deliveries again now: same content, same key. ID: of a delivery or of a message."""
    config, _ = house.load_config(config_path)
    found = history_of(house, config_path)
    wanted: list[str] = []
    for each in ids:
        detail = found.message(each)
        wanted += [each] if detail is None else [delivery.row.id for delivery in detail.deliveries]
    if len(wanted) > 10 and not yes:
        click.confirm(f"Retry up to {len(wanted)} deliveries?", abort=True)
    db = connect(config.data_dir / FILE_NAME)
    db.execute("BEGIN IMMEDIATE")
    done = [each for each in wanted if retry_delivery(db, each, who(), now_ms())]
    db.execute("COMMIT")
    db.close()
    ring(config.data_dir / BELL_NAME)
    click.echo(f"{len(done)} of {len(wanted)} deliveries are tried again")
    if not done:
        raise click.ClickException("nothing to retry: no such delivery, or it is neither dead nor waiting")


@commands.command()
@config_option
@click.argument("query", nargs=-1, required=True, metavar="ID...|QUERY")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def release(house: House, config_path: Path, query: tuple[str, ...], yes: bool) -> None:
    """Routes held messages under today's rules. QUERY: words that they all hold, as in `history`."""
    _decide(house, config_path, query, yes, "release", ("held",))


@commands.command()
@config_option
@click.argument("query", nargs=-1, required=True, metavar="ID...|QUERY")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def discard(house: House, config_path: Path, query: tuple[str, ...], yes: bool) -> None:
    """Ends held and unmatched messages: nothing of them is sent. QUERY: words that they all hold, as in `history`."""
    _decide(house, config_path, query, yes, "discard", ("held", "unmatched"))


def _decide(
    house: House, config_path: Path, query: tuple[str, ...], yes: bool, verb: str, states: tuple[str, ...]
) -> None:
    config, kinds = house.load_config(config_path)
    found = history_of(house, config_path)
    ids = [each for each in query if found.message(each) is not None]
    if len(ids) < len(query):
        rows = [row for state in states for row in found.messages(search=" ".join(query), state=state, limit=500)]
        ids = [row.id for row in rows]
        if not ids:
            raise click.ClickException(f"nothing to {verb}: no {' or '.join(states)} message is like that")
        if not yes:
            click.confirm(f"{verb.capitalize()} {len(ids)} message{'' if len(ids) == 1 else 's'}?", abort=True)
    database = config.data_dir / FILE_NAME
    writer = Writer(database)
    decider = Decider(
        writer, found, RuleBook(database, {}, config.mail.timezone).active, house.item_makers(config, kinds)
    )
    decide = decider.release if verb == "release" else decider.discard
    done = sum(decide(each, who()) for each in ids)
    writer.close()
    ring(config.data_dir / BELL_NAME)
    click.echo(f"{done} of {len(ids)} messages {verb}{'d' if verb.endswith('e') else 'ed'}")
    if not done:
        raise click.ClickException(f"nothing to {verb}: no such message waits")

"""The commands. `postroom X`, or `python app.py X`.

Exit codes: 0 well, 1 the thing asked about is not well (problems found), 2 used wrongly.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click

from postroom import __version__, data_lock, demo, listing, sending
from postroom.config import Config
from postroom.decide import Decider
from postroom.dispatch import Dispatcher
from postroom.doorbell import FILE_NAME as BELL_NAME
from postroom.doorbell import ring
from postroom.ids import now_ms
from postroom.ingress.base import Ingress
from postroom.initial import write_config
from postroom.problems import InvalidFiles
from postroom.rulebook import RuleBook
from postroom.rules import RuleSet
from postroom.store import keys, people, rulesets
from postroom.store.database import FILE_NAME, connect, migrate
from postroom.store.history import History
from postroom.store.outbox import retry as retry_delivery
from postroom.store.writer import Writer

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_Kinds = dict[str, Any]


@dataclass(frozen=True, slots=True)
class House:
    """What app.py wires: the commands import no integration."""

    load_config: Callable[[Path], tuple[Config, _Kinds]]
    load_rules: Callable[[Config, _Kinds], RuleSet]
    create_dispatcher: Callable[[Config, _Kinds, int | None], Dispatcher]
    ingress_kinds: Mapping[str, type[Ingress]]
    web_target: str
    """File and name of the WSGI factory: `/srv/app.py:web`."""
    folder: Path
    """Where app.py lies."""


config_option = click.option(
    "--config", "-c", "config_path", default="config.yaml", show_default=True, metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def main(house: House) -> int:
    """Runs the command line and returns the exit code."""
    # Mail and password hashes are for their owner only, wherever the folder came from.
    os.umask(0o077)
    try:
        code = _cli.main(obj=house, prog_name="postroom", standalone_mode=False)
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="postroom")
def _cli() -> None:
    """E-mail comes in, the right work comes out."""


@_cli.command()
@config_option
@click.pass_obj
def serve(house: House, config_path: Path) -> None:
    """Web server and dispatcher, until SIGTERM; then what is under way is finished."""
    config, kinds = house.load_config(config_path)
    rule_set = house.load_rules(config, kinds)
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = config.data_dir / FILE_NAME
    migrate(database)
    db = connect(database)
    db.execute("BEGIN IMMEDIATE")
    rulesets.publish(db, rule_set.hash, rule_set.files, now_ms())
    password = None
    if config.dashboard.users is None and not people.users(db):
        from werkzeug.security import generate_password_hash

        password = secrets.token_urlsafe(12)
        people.add(db, "admin", generate_password_hash(password, method="scrypt"), "editor", now_ms())
    db.execute("COMMIT")
    db.close()
    keys.session_key(config.data_dir)
    keys.mail_key(config.data_dir)
    for name in config.ingress:
        click.echo(f"Endpoint:   {config.server.url}/inbound/{name}")
    if not config.ingress:
        click.echo("No ingress is configured: no mail can come in.", err=True)
    click.echo(f"Dashboard:  {config.server.url}/")
    if password is not None:
        click.echo(f"Login:      admin / {password}    (shown once; only its hash is kept)")
    click.echo(f"Rules:      {config.rules_dir} ({len(rule_set.files)} files)")
    sys.stdout.flush()
    os.environ["POSTROOM_CONFIG"] = str(config_path.resolve())
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(house.folder), os.environ.get("PYTHONPATH"))))
    dispatch = [sys.executable, str(house.folder / "app.py"), "dispatch", "--config", str(config_path.resolve())]
    # The supervisor takes the place of this process: it only waits, and need not carry what was loaded here.
    supervisor = [sys.executable, "-P", "-m", "postroom.supervise", config.server.host, str(config.server.port)]
    os.execv(sys.executable, [*supervisor, house.web_target, *dispatch])


@_cli.command(hidden=True)
@config_option
@click.pass_obj
def dispatch(house: House, config_path: Path) -> None:
    """The dispatcher alone; `serve` starts it."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    config, kinds = house.load_config(config_path)
    try:
        lock = data_lock.hold(config.data_dir)
    except BlockingIOError:
        raise click.ClickException(f"another dispatcher works on {config.data_dir}") from None
    dispatcher = house.create_dispatcher(config, kinds, os.getppid())

    def stop(number: int, frame: FrameType | None) -> None:
        dispatcher.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    dispatcher.run()
    os.close(lock)


def end_with_parent() -> None:
    """Ends this process when its parent is gone, so that nothing keeps the port after a supervisor was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@_cli.command()
@config_option
@click.option("--listen", default="127.0.0.1:8025", show_default=True, help="Address and port to listen on.")
@click.option(
    "--public-url", default=None, help="How people and the provider reach it, such as https://mail.example.com."
)
@click.pass_obj
def init(house: House, config_path: Path, listen: str, public_url: str | None) -> None:
    """Writes a config.yaml with fresh secrets, and prints what to paste into the provider's control panel."""
    if config_path.exists():
        raise click.ClickException(f"{config_path} exists already; it is left as it is")
    write_config(config_path, listen=listen, public_url=public_url, rules_dir="rules")
    config, _ = house.load_config(config_path)
    click.echo(f"Wrote {config_path}. Paste this into the control panel of your provider:\n")
    for name, way in config.ingress.items():
        ingress = house.ingress_kinds[way.kind](name, way.options)
        for label, value in ingress.panel(f"{config.server.url}/inbound/{name}"):
            click.echo(f"  {label + ':':16} {value}")
    click.echo("\nThe keys stand in the file too. `postroom serve` starts.")


@_cli.command("demo")
@click.option("--keep", is_flag=True, help="Leave it running until Ctrl-C, to look at the dashboard.")
@click.pass_obj
def run_demo(house: House, keep: bool) -> int:
    """The shipped sample mail through the shipped rules, on a throw-away folder, without any network."""
    return demo.run(house.folder, keep=keep)


@_cli.command()
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


@_cli.command()
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


@_cli.command()
@config_option
@click.argument("query", nargs=-1)
@click.option("--state", default="", help="Only messages in this state: unmatched, dead, retrying, ...")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500))
@json_option
@click.pass_obj
def history(house: House, config_path: Path, query: tuple[str, ...], state: str, limit: int, as_json: bool) -> None:
    """The messages, newest first; QUERY: words in subject, sender, recipient or reference."""
    try:
        rows = _history(house, config_path).messages(search=" ".join(query), state=state, limit=limit)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(listing.as_json(rows) if as_json else listing.messages(rows))


@_cli.command()
@config_option
@click.argument("message_id", metavar="ID")
@json_option
@click.pass_obj
def show(house: House, config_path: Path, message_id: str, as_json: bool) -> None:
    """One message whole: trace, deliveries, attempts. ID: the message's, or how it begins."""
    config, _ = house.load_config(config_path)
    found = _history(house, config_path)
    # The search finds ids by their beginning, among other things.
    rows = found.messages(search=message_id, limit=100) if 4 <= len(message_id) < 36 else []
    ids = [row.id for row in rows if row.id.startswith(message_id.lower())]
    if len(ids) > 1:
        raise click.UsageError(f"more than one message begins with {message_id}")
    detail = found.message(ids[0] if ids else message_id)
    if detail is None:
        raise click.ClickException(f"there is no message {message_id}")
    trace = listing.trace_of(detail, config.data_dir / FILE_NAME)
    click.echo(listing.as_json({"message": detail, "trace": trace}) if as_json else listing.message(detail, trace))


@_cli.command()
@config_option
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def retry(house: House, config_path: Path, ids: tuple[str, ...], yes: bool) -> None:
    """Tries dead and waiting deliveries again now: same content, same key. ID: of a delivery or of a message."""
    config, _ = house.load_config(config_path)
    found = _history(house, config_path)
    wanted: list[str] = []
    for each in ids:
        detail = found.message(each)
        wanted += [each] if detail is None else [delivery.row.id for delivery in detail.deliveries]
    if len(wanted) > 10 and not yes:
        click.confirm(f"Retry up to {len(wanted)} deliveries?", abort=True)
    db = connect(config.data_dir / FILE_NAME)
    db.execute("BEGIN IMMEDIATE")
    done = [each for each in wanted if retry_delivery(db, each, _who(), now_ms())]
    db.execute("COMMIT")
    db.close()
    ring(config.data_dir / BELL_NAME)
    click.echo(f"{len(done)} of {len(wanted)} deliveries are tried again")
    if not done:
        raise click.ClickException("nothing to retry: no such delivery, or it is neither dead nor waiting")


@_cli.command()
@config_option
@click.argument("query", nargs=-1, required=True, metavar="ID...|QUERY")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def release(house: House, config_path: Path, query: tuple[str, ...], yes: bool) -> None:
    """Routes held messages under today's rules. QUERY: words that they all hold, as in `history`."""
    _decide(house, config_path, query, yes, "release", ("held",))


@_cli.command()
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
    config, _ = house.load_config(config_path)
    found = _history(house, config_path)
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
    decider = Decider(writer, found, RuleBook(database, {}).active)
    decide = decider.release if verb == "release" else decider.discard
    done = sum(decide(each, _who()) for each in ids)
    writer.close()
    ring(config.data_dir / BELL_NAME)
    click.echo(f"{done} of {len(ids)} messages {verb}{'d' if verb.endswith('e') else 'ed'}")
    if not done:
        raise click.ClickException(f"nothing to {verb}: no such message waits")


def _who() -> str:
    return f"{os.environ.get('USER') or os.getuid()} (command line)"


def _history(house: House, config_path: Path) -> History:
    config, _ = house.load_config(config_path)
    database = config.data_dir / FILE_NAME
    if not database.exists():
        raise click.ClickException(f"{database} does not exist: nothing was received yet")
    return History(database)

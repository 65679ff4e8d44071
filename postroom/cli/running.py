"""Commands that set Postroom up and run it."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import click

from postroom import data_lock, demo, logs
from postroom.cli.house import House, commands, config_option
from postroom.fields import secrets_of
from postroom.ids import now_ms
from postroom.indexer import Indexer
from postroom.initial import write_config
from postroom.store import keys, people, rulesets
from postroom.store.database import FILE_NAME, connect, migrate


@commands.command()
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


@commands.command(hidden=True)
@config_option
@click.pass_obj
def dispatch(house: House, config_path: Path) -> None:
    """The dispatcher alone; `serve` starts it."""
    logs.start()
    config, kinds = house.load_config(config_path)
    logs.mask(secrets_of(config))
    try:
        lock = data_lock.hold(config.data_dir)
    except BlockingIOError:
        raise click.ClickException(f"another dispatcher works on {config.data_dir}") from None
    dispatcher = house.create_dispatcher(config, kinds, os.getppid())

    def stop(number: int, frame: FrameType | None) -> None:
        dispatcher.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    indexer = Indexer(config.data_dir / FILE_NAME)
    indexer.start()
    dispatcher.run()
    indexer.stop()
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


@commands.command()
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


@commands.command("demo")
@click.option("--keep", is_flag=True, help="Leave it running until Ctrl-C, to look at the dashboard.")
@click.pass_obj
def run_demo(house: House, keep: bool) -> int:
    """The shipped sample mail through the shipped rules, on a throw-away folder, without any network."""
    return demo.run(house.folder, keep=keep)

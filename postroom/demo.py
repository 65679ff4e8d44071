"""`postroom demo`: the whole program on a throw-away folder, fed with the shipped sample mail, without any network."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from postroom.initial import write_config
from postroom.store.history import History
from postroom.store.records import MessageRow

_PATIENCE = 30.0
_FINAL = frozenset(("delivered", "dead", "suppressed", "cancelled"))


def run(folder: Path, *, keep: bool) -> int:
    """Starts an instance, sends it the samples below `folder`, and prints where each mail went; the exit code.

    `folder` is the checkout. With `keep` the instance goes on until it is interrupted.
    """
    samples = sorted((folder / "rules" / "samples").glob("*.eml"))
    with tempfile.TemporaryDirectory(prefix="postroom-demo-") as name:
        config = Path(name) / "config.yaml"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        write_config(config, listen=f"127.0.0.1:{port}", public_url=None, rules_dir=str(folder / "rules"))
        command = [sys.executable, str(folder / "app.py")]
        environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen([*command, "serve", "--config", str(config)], env=environ)
        try:
            _wait_until_ready(port, process)
            click.echo(f"\nSending {len(samples)} mails, as the provider would:\n")
            subprocess.run([*command, "send", "--config", str(config), *map(str, samples)], check=True)
            rows = _wait_for_deliveries(History(Path(name) / "data" / "postroom.db"), len(samples))
            click.echo("\nWhat became of them:\n")
            for row in reversed(rows):
                _show(row)
            if keep:
                click.echo("\nLook around on the dashboard (its address and login stand above). Ctrl-C ends the demo.")
                process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    return 0


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise click.ClickException("the demo could not be started")


def _wait_for_deliveries(history: History, count: int) -> list[MessageRow]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        rows = history.messages(limit=500)
        owed = [delivery for row in rows for delivery in row.deliveries]
        done = len(rows) >= count and all(delivery.state in _FINAL for delivery in owed)
        if done or time.monotonic() > deadline:
            return rows
        time.sleep(0.05)


def _show(row: MessageRow) -> None:
    went = (
        ", ".join(f"{each.destination} ({each.state})" for each in row.deliveries) or "nowhere: it waits for a person"
    )
    rules = ", ".join(row.matched) or "none"
    click.echo(f"  {(row.subject or '(no subject)')[:60]}")
    click.echo(f"      to {row.recipient}; rules: {rules}")
    click.echo(f"      -> {went}\n")

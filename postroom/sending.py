"""`postroom send`: files posted to a running instance as the provider would post them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import requests

from postroom.config import Config
from postroom.ingress.imitate import documents

_TIMEOUT = 60
_KIND = "socketlabs"
"""The provider whose documents are imitated."""


def send(config: Config, files: Sequence[Path], *, recipient: str | None, ingress: str | None, url: str | None) -> int:
    """Posts every document of the files and prints what became of them; the exit code.

    Raises click.ClickException where the configuration has no such ingress, or one of another provider, or nobody
    answers.
    """
    ours = [each for each, way in config.ingress.items() if way.kind == _KIND]
    name = ingress or next(iter(ours), None)
    if name is None or name not in config.ingress:
        raise click.ClickException(f"config.yaml has no ingress {name or f'of the kind {_KIND}'}")
    if name not in ours:
        raise click.ClickException(f"the ingress {name} is of the kind {config.ingress[name].kind}, not {_KIND}")
    key = str(config.ingress[name].options.servers[0].secret_key)
    host = "127.0.0.1" if config.server.host in ("0.0.0.0", "::") else config.server.host
    target = f"{(url or f'http://{host}:{config.server.port}').rstrip('/')}/inbound/{name}"
    mails = list(_read(files, recipient))
    refused = 0
    with requests.Session() as session, click.progressbar(mails, label="sending", hidden=len(mails) < 10) as shown:
        for path, document in shown:
            try:
                answer = session.post(target, json={"SecretKey": key, **_without_key(document)}, timeout=_TIMEOUT)
            except requests.RequestException as error:
                raise click.ClickException(f"{target} does not answer: {type(error).__name__}") from None
            if answer.status_code != 200:
                refused += 1
                click.echo(f"{path}: refused with {answer.status_code}: {answer.text[:300]}", err=True)
            elif len(mails) < 10:
                click.echo(f"{path}: accepted as {', '.join(answer.json().get('messages', []))}")
    if len(mails) >= 10:
        click.echo(f"{len(mails) - refused} of {len(mails)} accepted")
    return 1 if refused else 0


def _read(files: Sequence[Path], recipient: str | None) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in files:
        try:
            found += [(path, document) for document in documents(path, recipient)]
        except (ValueError, OSError) as error:
            raise click.ClickException(f"{path} cannot be read as mail: {error}") from None
    return found


def _without_key(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name.lower() != "secretkey"}

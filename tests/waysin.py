"""Ways in on a real store, asked over WSGI as the server asks them: what is answered, and what is stored."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from postroom.fields import Reader, read_settings
from postroom.ingress import KINDS
from postroom.ingress.base import Ingress
from postroom.message import Message
from postroom.plan import Plan
from postroom.problems import Place
from postroom.receive import Receiver
from postroom.recognise import Recogniser
from postroom.store import rulesets
from postroom.store.attachments import chunks
from postroom.store.brake import Brake
from postroom.store.content import unpack
from postroom.store.database import connect, migrate
from postroom.store.writer import Writer
from postroom.web.gate import Gate
from postroom.web.inbound import Entry, Inbound
from postroom.web.refusals import Refusals
from postroom.yamlfile import read
from tests.corpus import RECORDED

URL = "https://mail.example.com"


@dataclass(frozen=True)
class Recorded:
    """One request as a provider sent it."""

    number: int
    provider: str
    test: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def name(self) -> str:
        """Of the test that it was recorded in."""
        return self.test.rpartition(".")[2]


def recorded(provider: str | None = None) -> list[Recorded]:
    """The recorded requests, those of one provider or all; none where the file is absent."""
    found = []
    for number, line in enumerate(RECORDED.read_text(encoding="utf-8").splitlines() if RECORDED.exists() else []):
        each = json.loads(line)
        body = each["body"].encode() if each["encoding"] == "text" else base64.b64decode(each["body"])
        if provider in (None, each["provider"]):
            found.append(Recorded(number, each["provider"], each["test"], each["content_type"], each["headers"], body))
    return found


def named(provider: str, name: str) -> Recorded:
    """The first recorded request of a test."""
    return next(each for each in recorded(provider) if each.name == name)


def basic(password: str, username: str = "postroom") -> dict[str, str]:
    """The header of HTTP Basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def multipart(*fields: tuple[Any, ...], boundary: str = "x0x0x") -> tuple[bytes, str]:
    """Body and content type of a form: (name, value), or (name, value, file name, content type)."""
    lines = []
    for name, value, *file in fields:
        head = f'Content-Disposition: form-data; name="{name}"'
        if file:
            head += f'; filename="{file[0]}"\r\nContent-Type: {file[1]}'
        data = value if isinstance(value, bytes) else str(value).encode()
        lines.append(b"--" + boundary.encode() + b"\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n")
    return b"".join(lines) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    document: dict[str, Any]

    @property
    def messages(self) -> list[str]:
        """The ids of what is stored now."""
        assert self.status == 200, (self.status, self.document)
        return list(self.document.get("messages", []))


class Desk:
    """A store and the ways in to it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "postroom.sqlite3"
        migrate(path)
        self.writer = Writer(path)
        self.db = connect(path, read_only=True)
        number = self.writer.run(lambda db: rulesets.publish(db, uuid.uuid4().hex, {}, 1))
        self.entries: dict[str, Entry] = {}
        self.refusals = Refusals()
        self.receiver = Receiver(
            self.writer,
            lambda: (lambda message, items=None: Plan(), number),
            Recogniser(b"k" * 32, ()),
            Brake(None, None),
        )
        self.gate = Gate(64_000_000, folder, 0, readers=8)
        self.app = Inbound(lambda environ, start: [], self.receiver, self.entries, self.gate, self.refusals)

    def add(self, kind: str, settings: str, *, name: str | None = None, max_body: int = 75_000_000) -> Ingress:
        """A way in with settings in YAML, as they stand in config.yaml."""
        made = KINDS[kind](name or kind, options(kind, settings))
        self.entries[made.name] = Entry(made, max_body, url=f"{URL}/inbound/{made.name}")
        return made

    def post(
        self,
        name: str,
        body: bytes | Mapping[str, Any] | list[Any],
        content_type: str | None = "application/json",
        headers: Mapping[str, str] | None = None,
        *,
        query: str = "",
        method: str = "POST",
    ) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": f"/inbound/{name}",
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(data)),
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": io.BytesIO(data),
        }
        if content_type is not None:
            environ["CONTENT_TYPE"] = content_type
        for key, value in (headers or {}).items():
            environ[f"HTTP_{key.upper().replace('-', '_')}"] = value.encode().decode("latin-1")
        told: list[Any] = []
        (answer,) = self.app(environ, lambda status, head, *rest: told.extend((status, dict(head))))
        status = int(told[0].split()[0])
        assert told[0] == f"{status} {HTTPStatus(status).phrase}"
        return Answer(status, told[1], json.loads(answer))

    def stored(self) -> list[tuple[Message, bytes]]:
        """Every message with its payload, in the order they came."""
        found = []
        for (block,) in self.db.execute("SELECT data FROM contents ORDER BY message").fetchall():
            message, payload = unpack(block)
            assert payload is not None
            found.append((message, payload))
        return found

    def only(self) -> tuple[Message, bytes]:
        (found,) = self.stored()
        return found

    def content(self, message: Message, position: int) -> bytes:
        """An attachment as the store has it."""
        return b"".join(chunks(self.db, message.attachments[position].sha256))

    def count(self, table: str) -> int:
        return int(self.db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def options(kind: str, settings: str) -> Any:
    """The options of a kind from YAML. Fails with the problems that they have."""
    problems: list[Any] = []
    node = read(settings, "config.yaml", problems)
    made = read_settings(KINDS[kind].Options, node, Place("config.yaml"), kind, Reader(problems, Path(), {}))
    assert not problems, problems
    return made

"""A whole running Postroom for tests: `app.py serve` as a process group, on a folder and a port of its own."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from postroom.message import Message
from postroom.store.content import unpack
from postroom.store.database import FILE_NAME, connect
from postroom.store.history import History
from tests.servers import closed_port

ROOT = Path(__file__).resolve().parent.parent
SECRET_KEY = "secret-Zq3vJ8mW1xK7"
VALIDATION_KEY = "validation-Hn5tB2yR9cL4"
START_SECONDS = 30.0
TABLES = (
    "messages", "contents", "blobs", "chunks", "attachments", "identities", "thread_keys",
    "deliveries", "attempts", "steps", "items", "events",
)  # fmt: skip

ARCHIVE_ALL = """\
rules:
  - name: Everything
    when: always
    then: [archive]
"""
_numbers = itertools.count(1)
T = TypeVar("T")


def until(probe: Callable[[], T | None], what: str, seconds: float = 15.0) -> T:
    """The first true value of `probe`, asked every few milliseconds. Fails with `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)
    return value


def document(
    subject: str | None = "Printer on fire",
    *,
    text: str | None = "It burns.\r\n",
    sender: str = "jo@example.org",
    recipient: str = "support@customer.example",
    message_id: str | None = "new",
    in_reply_to: str | None = None,
    headers: tuple[tuple[str, str | None], ...] = (),
    attachments: list[dict[str, Any]] | None = None,
    secret: str = SECRET_KEY,
    **members: Any,
) -> dict[str, Any]:
    """A document as SocketLabs posts it. `message_id`: "new" for one of its own, None for a mail without any."""
    listed: list[dict[str, str | None]] = [{"Name": name, "Value": value} for name, value in headers]
    if message_id is not None:
        number = f"<{next(_numbers)}.{os.getpid()}.{time.time_ns()}@example.org>"
        listed.append({"Name": "Message-ID", "Value": number if message_id == "new" else message_id})
    if in_reply_to is not None:
        listed.append({"Name": "In-Reply-To", "Value": in_reply_to})
    return {
        "SecretKey": secret,
        "Message": {
            "To": [{"EmailAddress": recipient, "FriendlyName": "Support"}],
            "Cc": None,
            "Bcc": None,
            "From": {"EmailAddress": sender, "FriendlyName": "Jo Doe"},
            "ReplyTo": None,
            "Subject": subject,
            "TextBody": text,
            "HtmlBody": None,
            "TextCharSet": "utf-8",
            "HtmlCharSet": None,
            "MessageId": None,
            "MailingId": None,
            "CustomHeaders": listed,
            "Attachments": attachments,
            "EmbeddedMedia": None,
        },
        "InboundMailFrom": sender,
        "InboundRcptTo": recipient,
        "InboundIpAddress": "192.0.2.7",
        "ErrorLog": None,
        "SpamScore": 0,
        "SpamDetails": None,
        **members,
    }


def message_id_of(posted: Mapping[str, Any]) -> str:
    """The Message-ID header of a document made by `document`."""
    return next(str(each["Value"]) for each in posted["Message"]["CustomHeaders"] if each["Name"] == "Message-ID")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. Names of headers are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def message(self) -> str:
        """The id of the one message that was stored."""
        assert self.status == 200, (self.status, self.body[:500])
        (only,) = self.json()["messages"]
        return str(only)


class Instance:
    """One folder with config.yaml, rules and data; the program on it can be started, stopped and killed."""

    def __init__(
        self,
        folder: Path,
        *,
        rules: str = ARCHIVE_ALL,
        destinations: Mapping[str, Mapping[str, Any]] | None = None,
        ingress: Mapping[str, Mapping[str, Any]] | None = None,
        **sections: Any,
    ) -> None:
        """`sections` are further top-level sections of config.yaml."""
        self.folder = folder
        self.port = closed_port()
        self.data_dir = folder / "data"
        self.database = self.data_dir / FILE_NAME
        self.config_file = folder / "config.yaml"
        self.log_file = folder / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None
        server = {"listen": f"127.0.0.1:{self.port}", **sections.pop("server", {})}
        keys = {"secret_key": SECRET_KEY, "validation_key": VALIDATION_KEY}
        self.config: dict[str, Any] = {
            "server": server,
            "data_dir": "data",
            "rules_dir": "rules",
            "ingress": {"socketlabs": {"servers": [keys]}, **(ingress or {})},
            "destinations": {"archive": {"kind": "file"}, **(destinations or {})},
            # Tests send from few addresses, and much.
            "mail": {"loop_brake": {"per_conversation": "100000/h", "per_sender": "100000/h"}},
            **sections,
        }
        self.write_config()
        self.write_rules(rules)

    def write_config(self) -> None:
        """Writes `config` to the file; a running program does not look at it again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = msgspec.to_builtins(self.config)
        self.config_file.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def write_rules(self, text: str) -> None:
        (self.folder / "rules").mkdir(parents=True, exist_ok=True)
        (self.folder / "rules" / "rules.yaml").write_text(text, encoding="utf-8")

    def start(self, *, wait_for: str = "/readyz") -> Self:
        """Starts the program and waits until `wait_for` answers 200."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "app.py"), "serve", "--config", str(self.config_file)],
                cwd=self.folder,
                env=_environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get(wait_for, timeout=5).status == 200:
                    return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"Postroom did not start:\n{self.log()[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to the whole process group: as when the power goes."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        until(lambda: not self.members(), "the killed processes are gone")

    def stop(self, seconds: float = 45.0) -> int:
        """SIGTERM to the supervisor, as an init system sends it; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    @property
    def pid(self) -> int:
        """Of the supervisor; it leads the process group."""
        assert self.process is not None
        return self.process.pid

    def members(self) -> dict[int, str]:
        """The living processes of the group with their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.pid and state != "Z":
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def dispatcher(self) -> int:
        """The process id of the dispatcher."""

        def look() -> int:
            found = (pid for pid, command in self.members().items() if "app.py dispatch" in command and pid != self.pid)
            return next(found, 0)

        return until(look, "the dispatcher runs")

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, timeout: float = 60) -> Answer:
        return self.request("GET", path, headers=headers, timeout=timeout)

    def post(
        self,
        body: Mapping[str, Any] | bytes,
        *,
        path: str = "/inbound/socketlabs",
        content_type: str | None = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Answer:
        """Posts a document, or a body as it is."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = {**({"Content-Type": content_type} if content_type is not None else {}), **(headers or {})}
        return self.request("POST", path, body=data, headers=named, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Answer:
        """One request on a connection of its own. A body that is an iterator is sent in chunks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(method, path, body=body, headers=dict(headers or {}), encode_chunked=chunked)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def command(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """`app.py WORDS --config ...` to its end."""
        return run_command(*words, "--config", str(self.config_file), cwd=self.folder, timeout=timeout)

    @contextlib.contextmanager
    def db(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection to the store."""
        connection = connect(self.database, read_only=True)
        try:
            yield connection
        finally:
            connection.close()

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self.db() as db:
            return db.execute(query, values).fetchall()

    def history(self) -> History:
        return History(self.database)

    def census(self) -> dict[str, int]:
        """How many rows each table has: equal before and after whatever must leave no trace."""
        with self.db() as db:
            return {table: db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in TABLES}

    def stored(self, message: str) -> tuple[Message, Any]:
        """A message and its payload, decoded, by the message's id."""
        (row,) = self.rows("SELECT c.data FROM contents c JOIN messages m ON m.seq = c.message WHERE m.id = ?", message)
        found, payload = unpack(row[0])
        assert payload is not None
        # Not msgspec: a payload may hold lone surrogates, as escapes.
        return found, json.loads(payload)

    def deliveries(self, message: str | None = None) -> list[sqlite3.Row]:
        """The deliveries of one message, or all, in the order of their commits."""
        query = "SELECT d.*, m.id AS message_id, m.subject FROM deliveries d JOIN messages m ON m.seq = d.message"
        if message is None:
            return self.rows(f"{query} ORDER BY d.seq")
        return self.rows(f"{query} WHERE m.id = ? ORDER BY d.seq", message)

    def wait_for_states(self, message: str, *states: str, seconds: float = 15.0) -> list[sqlite3.Row]:
        """The deliveries of a message once their states are these."""

        def look() -> list[sqlite3.Row]:
            found = self.deliveries(message)
            return found if tuple(row["state"] for row in found) == states else []

        return until(look, f"deliveries of {message} are {', '.join(states)}", seconds)

    def wait_until_quiet(self, seconds: float = 30.0) -> None:
        """Waits until nothing is owed."""
        query = "SELECT 1 FROM deliveries WHERE state IN ('pending', 'sending', 'retrying') LIMIT 1"
        until(lambda: not self.rows(query), "nothing is owed", seconds)

    def log(self) -> str:
        """All that the program printed."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def password(self) -> str:
        """The generated password of the dashboard's admin, printed at the first start."""
        line = next(line for line in self.log().splitlines() if line.startswith("Login:"))
        return line.split()[3]


def run_command(
    *words: str, cwd: Path, timeout: float = 60, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`app.py WORDS` to its end, without input."""
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *words],
        cwd=cwd,
        env={**_environ(), **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def hook(url: str, **settings: Any) -> dict[str, Any]:
    """A webhook destination on loopback, for `Instance(destinations=...)`."""
    assert urlsplit(url).hostname == "127.0.0.1"
    return {"kind": "webhook", "url": url, "allow_private": True, **settings}


def _environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM")}
    return {**kept, "PYTHONUNBUFFERED": "1"}

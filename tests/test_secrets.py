"""No secret of a destination, of a way in or of the dashboard reaches a log, a page, a figure, the store or a command,
not even where a destination sends it back in its failing answers."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests
import zstandard

from postroom.fields import secrets_of, specs
from tests.instance import SECRET_KEY, VALIDATION_KEY, Instance, document, until
from tests.kinds import KINDS, SECRET
from tests.servers import CLOSE, Receiver, Reply, Request
from tests.smtp_sink import scripted
from tests.standin_settings import settings
from tests.standins import standins

PLUGIN_SECRET = 'plug-in\'s own "secret" of/these tests'
PLUGIN = '''
"""A kind that keeps no secret to itself."""
from dataclasses import dataclass
from postroom.fields import Secret
from postroom.integration import DeliveryError, Guarantee, Integration, Job, Receipt, setting

@dataclass(frozen=True)
class Options:
    token: Secret = setting("tells itself")

@dataclass(frozen=True)
class Fields:
    pass

class Careless(Integration):
    kind = "careless"
    summary = "Tells its secret."
    guarantee = Guarantee.NONE
    makes_items = False
    Options = Options
    Fields = Fields

    def deliver(self, job: Job) -> Receipt:
        if job.content.title == "crash":
            raise RuntimeError(f"no use for {str(self.options.token)}")
        raise DeliveryError(f"refused: {str(self.options.token)}", permanent=True, answer=str(self.options.token) * 3)

    def check(self):
        raise DeliveryError(f"refused: {str(self.options.token)}")
'''


def _has_secrets(kind: str) -> bool:
    return any("Secret" in str(spec.type) for spec in specs(KINDS[kind].Options).values())


# The stand-in of smtp is a server that is well: another one stands for it below.
TELLING = {kind: standin for kind, standin in standins().items() if _has_secrets(kind) and kind != "smtp"}
"""The kinds that have a secret."""


def echo(request: Request) -> str:
    """All that a client told, in several spellings."""
    told = [request.path, *request.query.values(), *request.headers.values(), SECRET, quote(SECRET, safe="")]
    told += [base64.b64encode(f"user:{SECRET}".encode()).decode(), base64.b64encode(SECRET.encode()).decode()]
    told += [base64.b64decode(word).decode("latin-1") for word in re.findall(r"Basic (\S+)", " ".join(told))]
    return " | ".join(told)


def shapes(request: Request) -> list[Reply]:
    """Failing answers as servers give them, each with all that it was told."""
    text = echo(request)
    document = {
        "error": text, "errors": [text, {"message": text}], "errorMessages": [text], "message": text, "title": [text],
        "detail": {"reason": text}, "status": {"code": text, "message": text}, "errcode": text, "_embedded": text,
    }  # fmt: skip
    url = f"http://127.0.0.1:9/{quote(SECRET, safe='')}"
    return [
        Reply(400, text.encode()),
        Reply.of(document, 422),
        Reply.of(document, 403),
        Reply(401, b"", {"WWW-Authenticate": f'Basic realm="{quote(SECRET)}"'}),
        Reply(302, text.encode(), {"Location": url}),
        Reply(200, f"<html>{text}".encode()),
        Reply.of([document, text], 200),
        Reply.of({"errors": [{"message": text, "extensions": {"code": text, "userPresentableMessage": text}}]}, 200),
        Reply(500, text.encode(), {"Retry-After": text.encode("ascii", "replace").decode()[:50]}),
        Reply(429, text.encode(), {"Retry-After": "0"}),
        Reply.of(document, 404),
        Reply.of(document, 410),
        CLOSE,
    ]


MAILS = 13


class Failing:
    """A destination's answers: one shape for each mail, whatever is asked."""

    def __init__(self) -> None:
        self.round = 0

    def __call__(self, request: Request) -> Reply:
        every = shapes(request)
        return every[self.round % len(every)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance that sent mails to all kinds that have a secret, each of which told it in every way there is."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "careless.py").write_text(PLUGIN, encoding="utf-8")
    often = {"retry": ["0s", "20ms"], "circuit": {"failures": 0}, "timeout": "10s"}
    answers = Failing()
    receivers: list[Receiver] = []
    destinations: dict[str, Any] = {}
    for kind, standin in TELLING.items():
        receiver = Receiver().__enter__()
        receivers.append(receiver)
        destinations[kind] = settings(standin(folder, receiver), **often)
        receiver.answer = answers
    told = f"535 {SECRET} {base64.b64encode(f'{chr(0)}me{chr(0)}{SECRET}'.encode()).decode()}"
    with scripted({"AUTH": told}, extensions=("AUTH PLAIN",)) as (port, _):
        login = {"username": "me", "password": SECRET}
        server = {"host": "127.0.0.1", "port": port, "security": "none", "allow_private": True, "to": ["a@b.example"]}
        destinations["smtp"] = {"kind": "smtp", **server, **login, **often}
        destinations["careless"] = {"kind": "careless", "token": PLUGIN_SECRET, **often}
        names = ", ".join(destinations)
        rules = f"rules:\n  - name: Everything\n    when: always\n    then: [{names}]\n"
        instance = Instance(
            folder / "instance", rules=rules, destinations=destinations, plugins_dir=str(folder / "plugins")
        )
        instance.start()
        try:
            for mail in range(MAILS):
                answers.round = mail
                instance.post(document("crash" if mail % 2 else f"mail {mail}"))
                until(lambda: _rests(instance), f"nothing is under way after mail {mail}", 60)
            yield instance
        finally:
            instance.kill()
            for receiver in receivers:
                receiver.__exit__()


def _rests(instance: Instance) -> bool:
    """Whatever is not over waits for longer than this test: a destination that says 410 or 429 is left alone."""
    return not instance.rows(
        "SELECT 1 FROM deliveries WHERE state = 'sending' OR (state IN ('pending', 'retrying') AND attempts = 0"
        " AND destination NOT IN (SELECT name FROM destinations WHERE paused_at IS NOT NULL)) LIMIT 1"
    )


def forms(secret: str) -> set[str]:
    raw = secret.encode()
    found = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1]}
    for before in (b"", b"x", b"xy"):
        coded = base64.b64encode(before + raw).decode()
        found |= {coded[4:-4], base64.urlsafe_b64encode(before + raw).decode()[4:-4]}
    return found


ALL = {form for secret in (SECRET, PLUGIN_SECRET, SECRET_KEY, VALIDATION_KEY) for form in forms(secret)}


def holds(text: str | bytes) -> list[str]:
    """The secrets in a text, in whatever form."""
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    return [form for form in ALL if form.encode() in data]


def test_the_test_itself_sees_secrets() -> None:
    assert holds(f"x{SECRET}y") and holds(base64.b64encode(f"me:{SECRET}".encode())) and not holds("nothing")
    assert {"webhook", "redmine"} <= set(TELLING)
    for kind, standin in TELLING.items():
        with Receiver() as receiver:
            made = standin(Path("/nowhere"), receiver)
            assert secrets_of(made.integration().options), kind


def test_every_kind_was_told_its_secret_and_failed(house: Instance) -> None:
    rows = house.rows("SELECT d.destination, a.error, a.answer FROM attempts a JOIN deliveries d ON d.seq = a.delivery")
    for name in [*TELLING, "smtp", "careless"]:
        texts = [f"{row['error']} {row['answer']}" for row in rows if row["destination"] == name]
        assert len(texts) >= 5, name
        assert name == "apprise" or any("***" in text for text in texts), f"{name}: nothing was masked"


def test_the_log(house: Instance) -> None:
    assert "failed on delivery" in house.log() and "Traceback" in house.log()
    assert not holds(house.log())


def test_every_column_of_the_store(house: Instance) -> None:
    read = zstandard.ZstdDecompressor()
    cells = 0
    with house.db() as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert {"attempts", "deliveries", "contents", "steps", "events"} <= set(tables)
        for table in tables:
            for row in db.execute(f'SELECT * FROM "{table}"'):
                for name, value in zip(row.keys(), row, strict=True):
                    if not isinstance(value, str | bytes):
                        continue
                    cells += 1
                    assert not holds(value), f"{table}.{name}"
                    if isinstance(value, bytes) and value.startswith(b"\x28\xb5\x2f\xfd"):
                        assert not holds(read.decompressobj().decompress(value)), f"{table}.{name}, unpacked"
    assert cells > 500


def test_every_file_of_the_data_folder(house: Instance) -> None:
    with sqlite3.connect(house.database) as db:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    for path in house.data_dir.rglob("*"):
        if path.is_file():
            assert not holds(path.read_bytes()), path.name


def test_the_pages(house: Instance) -> None:
    base = f"http://127.0.0.1:{house.port}"
    pages = requests.Session()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', pages.get(f"{base}/login", timeout=20).text)
    assert token is not None
    login = {"name": "admin", "password": house.password(), "csrf_token": token[1]}
    assert pages.post(f"{base}/login", data=login, timeout=20).ok
    paths = ["/", "/messages", "/messages?state=dead", "/destinations", "/metrics", "/readyz", "/healthz"]
    for row in house.rows("SELECT id FROM messages"):
        paths += [f"/messages/{row[0]}", f"/messages/{row[0]}/payload", f"/messages/{row[0]}/html"]
    shown = ""
    for path in paths:
        answer = pages.get(base + path, timeout=20)
        shown += answer.text
        assert not holds(answer.content) and not holds(repr(answer.headers)), path
    assert "***" in shown
    for path in ("/metrics", "/readyz", "/", "/nothing"):
        assert not holds(house.get(path).body)


@pytest.mark.parametrize(
    "words", [("show", "ID"), ("show", "ID", "--json"), ("history",), ("history", "--json"), ("explain", "ID"),
              ("check",), ("check", "--online"), ("check", "--online", "--json")],
    ids=" ".join,
)  # fmt: skip
def test_the_commands(house: Instance, words: tuple[str, ...]) -> None:
    shown = ""
    for (message,) in house.rows("SELECT id FROM messages")[-3:]:
        done = house.command(*(message if word == "ID" else word for word in words), timeout=100)
        assert done.stdout, done.stderr
        shown += done.stdout + done.stderr
        if "ID" not in words:
            break
    assert not holds(shown)
    assert "Traceback" not in shown


def test_what_the_system_shows_of_the_processes(house: Instance) -> None:
    for pid, command in house.members().items():
        assert not holds(command)
        assert not holds(Path(f"/proc/{pid}/environ").read_bytes())


def test_objects_show_nothing(tmp_path: Path) -> None:
    with Receiver() as receiver:
        for standin in TELLING.values():
            made = standin(tmp_path, receiver).integration()
            assert not holds(repr(made) + repr(made.options) + repr(made.http) + str(made.options)), made.kind


def test_a_wrong_configuration_shows_nothing(make_instance: Callable[..., Instance]) -> None:
    instance = make_instance(destinations={"x": {"kind": "redmine", "url": SECRET, "api_key": SECRET, "project": 1}})
    instance.config["destinations"]["x"]["nonsense"] = "y"
    instance.write_config()
    done = instance.command("check")
    assert done.returncode != 0 and "nonsense" in done.stdout + done.stderr

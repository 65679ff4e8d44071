"""What the tests of integrations share: jobs to deliver, and stand-ins for the systems they deliver to."""

from __future__ import annotations

import abc
import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import integrations
from postroom.exchange import Http
from postroom.fields import Secret, specs
from postroom.integration import Integration, Job, JobAttachment, Receipt, discover
from postroom.message import Address, Attachment, Message
from postroom.plan import Content
from tests.servers import Receiver, Reply, Request

KINDS = discover(None, integrations)
SECRET = "s3cret-k3y/of+the=tests"
_counter = itertools.count(1)


def build(kind: str, data_dir: Path, *, timeout: float = 5, **options: Any) -> Integration:
    """A destination named `here`, with the defaults of its kind for what is not given."""
    http = Http(timeout=timeout, allow_private=True, secrets=[SECRET])
    return KINDS[kind]("here", KINDS[kind].Options(**options), http=http, data_dir=data_dir)


def attachment(name: str = "a.txt", content: bytes = b"hello", content_type: str = "text/plain") -> JobAttachment:
    def chunks() -> Iterator[bytes]:
        for at in range(0, len(content), 1 << 20):
            yield content[at : at + (1 << 20)]

    return JobAttachment(Attachment(name, content_type, len(content), hashlib.sha256(content).hexdigest()), chunks)


def job(
    *attachments: JobAttachment,
    title: str = "Printer on fire",
    body: str = "It burns.",
    item: Receipt | None = None,
    steps: dict[str, str] | None = None,
    record: Callable[[str, str], None] | None = None,
    key: str | None = None,
    **fields: Any,
) -> Job:
    message = Message(
        id="01980000-0000-7000-8000-000000000001",
        received_at=1_795_000_000_000,
        ingress="test",
        recipient=Address("bugs@example.com"),
        return_path=Address("jo@example.org"),
        from_=Address("jo@example.org", "Jo Ünal"),
        to=(Address("bugs@example.com", "Bugs"),),
        subject=title,
        text=body,
        headers=(("From", "Jo <jo@example.org>"), ("X-A", "1"), ("X-A", "2")),
        attachments=tuple(each.info for each in attachments),
        message_id="<1@example.org>",
        references=("<0@example.org>",),
    )
    return Job(
        key=key or f"01980000-0000-7000-9000-{next(_counter):012x}",
        content=Content(title, body, "a footer", fields, tuple(range(len(attachments)))),
        message=message,
        message_url=f"https://mail.example.com/messages/{message.id}",
        rule="Bugs",
        attachments=attachments,
        item=item,
        steps=steps or {},
        record=record or (lambda step, reference: None),
    )


class FakeRedmine:
    """As much of Redmine's API as the kind uses, with the shapes of a real 5.0."""

    def __init__(self) -> None:
        self.issues: dict[int, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.largest = 1 << 20
        self.names = {"trackers": [{"id": 1, "name": "Bug"}, {"id": 2, "name": "Feature"}]}

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("x-redmine-api-key") != SECRET:
            return Reply(401)
        if request.path == "/issues.json":
            issue = request.json()["issue"]
            number = len(self.issues) + 1
            self.issues[number] = {**issue, "notes": []}
            return Reply.of({"issue": {"id": number}}, 201)
        if request.path == "/uploads.json":
            if len(request.body) > self.largest:
                return Reply.of({"errors": ["This file cannot be uploaded because it exceeds the maximum"]}, 422)
            token = f"{len(self.files) + 1}.abc"
            self.files[token] = request.body
            return Reply.of({"upload": {"token": token}}, 201)
        if request.path == "/search.json":
            found = [self._result(number) for number in self.issues if self._holds(number, request.query["q"])]
            return Reply.of({"results": found[::-1], "total_count": len(found)})
        if request.path.startswith("/attachments/"):
            number = request.path.removeprefix("/attachments/").removesuffix(".json")
            return Reply(200 if any(token.startswith(f"{number}.") for token in self.files) else 404, b"{}")
        if request.path.startswith("/issues/"):
            issue = self.issues.get(int(request.path.removeprefix("/issues/").removesuffix(".json")))
            if issue is None:
                return Reply(404)
            issue["notes"].append(request.json()["issue"])
            return Reply(204)
        key = request.path.strip("/").removesuffix(".json").rpartition("/")[2]
        return Reply.of({key: self.names.get(key, [])})

    def _holds(self, number: int, text: str) -> bool:
        issue = self.issues[number]
        return text in issue["description"] or any(text in note["notes"] for note in issue["notes"])

    def _result(self, number: int) -> dict[str, Any]:
        return {"id": number, "title": "Bug", "type": "issue", "description": self.issues[number]["description"]}


class Standin(abc.ABC):
    """One kind's destination on loopback, and how many things were made there."""

    speaks_http = True

    def __init__(self, kind: str, data_dir: Path, receiver: Receiver) -> None:
        self.kind = kind
        self.data_dir = data_dir
        self.receiver = receiver
        self.well: Any = None
        self.reset()

    def reset(self) -> None:
        self.receiver.answer = self.well

    @abc.abstractmethod
    def options(self) -> dict[str, Any]: ...

    @abc.abstractmethod
    def made(self) -> int: ...

    def integration(self, **options: Any) -> Integration:
        return build(self.kind, self.data_dir, timeout=0.5, **(self.options() | options))


class FileStandin(Standin):
    speaks_http = False

    def options(self) -> dict[str, Any]:
        return {"path": "out/delivered.jsonl"}

    def made(self) -> int:
        path = self.data_dir / "out/delivered.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0


class WebhookStandin(Standin):
    def options(self) -> dict[str, Any]:
        secrets = {"secret": [Secret(SECRET)], "headers": {"Authorization": Secret(f"Bearer {SECRET}")}}
        return {"url": f"{self.receiver.url}/hook", **secrets}

    def made(self) -> int:
        return len({request.headers["webhook-id"] for request in self.receiver.requests})


class RedmineStandin(Standin):
    def reset(self) -> None:
        self.well = self.well or FakeRedmine()
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": self.receiver.url, "api_key": Secret(SECRET), "project": "inbox"}

    def made(self) -> int:
        return len(self.well.issues)


STANDINS: dict[str, type[Standin]] = {"file": FileStandin, "webhook": WebhookStandin, "redmine": RedmineStandin}


def documented(settings: type[Any]) -> list[str]:
    """Names of settings without a text for the docs."""
    return [spec.name for spec in specs(settings).values() if not spec.doc]

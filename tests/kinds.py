"""What the tests of integrations share: jobs to deliver. The systems they go to are in tests/standins."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import integrations
from postroom.exchange import Http
from postroom.fields import specs
from postroom.integration import Integration, Job, JobAttachment, Receipt, discover
from postroom.message import Address, Attachment, Message
from postroom.plan import Content

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


def documented(settings: type[Any]) -> list[str]:
    """Names of settings without a text for the docs."""
    return [spec.name for spec in specs(settings).values() if not spec.doc]

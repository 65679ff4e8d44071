"""Jobs to deliver in tests, and integrations that need no config.yaml."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from postroom.exchange import DeliveryError, Http
from postroom.integration import Guarantee, Integration, Job, JobAttachment, Receipt
from postroom.message import Address, Attachment, Message
from postroom.plan import Content

SECRET = "s3cret-k3y/of+the=tests"
"""The one credential of tests: no error and no log may show it."""
_counter = itertools.count(1)
_CHUNK = 1 << 20
_SEARCHED = (Guarantee.CONSISTENT_SEARCH, Guarantee.LAGGING_SEARCH)


def build(kind: type[Integration], data_dir: Path, *, timeout: float = 5, **options: Any) -> Integration:
    """A destination named `here`, with the defaults of its kind for what is not given. `timeout` in seconds."""
    http = Http(timeout=timeout, allow_private=True, secrets=[SECRET])
    return kind("here", kind.Options(**options), http=http, data_dir=data_dir)


def attachment(name: str = "a.txt", content: bytes = b"hello", content_type: str = "text/plain") -> JobAttachment:
    """An attachment for `job`."""

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(content), _CHUNK):
            yield content[at : at + _CHUNK]

    return JobAttachment(Attachment(name, content_type, len(content), hashlib.sha256(content).hexdigest()), chunks)


def job(
    *attachments: JobAttachment,
    title: str = "Printer on fire",
    body: str = "It burns.",
    item: Receipt | None = None,
    state: str = "",
    steps: dict[str, str] | None = None,
    record: Callable[[str, str], None] | None = None,
    key: str | None = None,
    uncertain: bool = False,
    **fields: Any,
) -> Job:
    """The first attempt of a delivery; `fields` are what a rule fills in.

    `item`: it comments on that. `state`: it is an `update` of the item, which is to be `open` or `closed` afterwards.
    """
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
    content = Content(title, body, "a footer", fields, tuple(range(len(attachments))), state, update=bool(state))
    return Job(
        key=key or f"01980000-0000-7000-9000-{next(_counter):012x}",
        content=content,
        message=message,
        message_url=f"https://mail.example.com/messages/{message.id}",
        rule="Bugs",
        attachments=attachments,
        item=item,
        steps=steps or {},
        record=record or (lambda step, reference: None),
        uncertain=uncertain,
    )


def deliver_in_the_end(integration: Integration, first: Job, *, attempts: int = 8) -> Receipt:
    """What becomes of a delivery over its attempts: as the dispatcher makes them, but without waiting.

    Raises DeliveryError where one is permanent, or the last failed.
    """
    steps = dict(first.steps)
    uncertain = first.uncertain
    searched = integration.guarantee_of(integration.options) in _SEARCHED
    for number in range(1, attempts + 1):
        this = dataclasses.replace(first, steps=steps, record=steps.__setitem__, attempt=number, uncertain=uncertain)
        try:
            if uncertain and searched and this.part not in steps:
                found = integration.find(this)
                if found is not None:
                    if this.item is not None and found.reference != this.item.reference:
                        return found
                    this.record(this.part, found.reference or "")
                    if this.item is None and found.url and integration.opens_items(integration.options):
                        this.record("url", found.url)
            return integration.deliver(this)
        except DeliveryError as error:
            if error.permanent or number == attempts:
                raise
            uncertain = uncertain or error.unknown
    raise AssertionError("no attempt at all")

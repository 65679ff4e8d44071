"""Kind `webhook`: sends the mail to a URL, by default as JSON, signed as Standard Webhooks says.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. The receiver finds

- `webhook-id`: the idempotency key, the same over all attempts of a delivery: what it has seen, it ignores;
- `webhook-timestamp`: seconds since 1970, of this attempt;
- `webhook-signature`, with a secret: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, the body byte for
  byte as it is sent. While keys rotate there are several, blank-separated: one for each secret.

The body is what the rule says by one of `data` (JSON), `form` and `raw`, else the document of `default_document`. Any
2xx is success, where `success` does not say otherwise. 410 says that the receiver wants no more: it closes the
destination. There is no GET and no DELETE: these carry no body, and so nothing of the mail.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from requests.structures import CaseInsensitiveDict

from postroom.bodies import split_of
from postroom.fields import Bytes, Json, Secret, Url
from postroom.integration import DeliveryError, Guarantee, Http, Integration, Job, JobAttachment, Receipt, setting
from postroom.message import Address

_OURS = ("host", "content-length", "transfer-encoding", "connection")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff]*")
"""What a header may hold (RFC 9110, 5.5), as its bytes in Latin-1."""


@dataclass(frozen=True)
class WebhookOptions:
    url: Url = setting("where to send")
    secret: list[Secret] = setting(
        "signs the request: base64 after `whsec_`, or any text; several while keys rotate", default_factory=list
    )
    method: Literal["POST", "PUT", "PATCH"] = setting("HTTP method", default="POST")
    headers: dict[str, Secret] = setting("headers to add, such as Authorization", default_factory=dict)
    content_type: str = setting("type of a body that the rule gives as `raw`", default="text/plain; charset=utf-8")
    success: list[int] = setting(
        "statuses that count as success, such as 200, 201, 409; by default any 2xx", default_factory=list
    )
    attachments: Literal["none", "inline"] = setting(
        "inline: the chosen attachments stand in the default document, as base64", default="none"
    )
    attachments_limit: Bytes = setting(
        "bytes of attachments in one document; those beyond stand there without content", default=Bytes(5_000_000)
    )


@dataclass(frozen=True)
class WebhookFields:
    data: Json | None = setting("the JSON document to send instead of the default one", default=None)
    form: dict[str, str] | None = setting(
        "texts to send as a form (application/x-www-form-urlencoded) instead of JSON", default=None
    )
    raw: str | None = setting("a text to send as it is, as the destination's `content_type`", default=None)
    headers: dict[str, str] | None = setting("further headers; those of the destination come first", default=None)


class Webhook(Integration):
    """Sends a request a mail. The secrets and the values of `headers` are never shown."""

    kind = "webhook"
    summary = "Sends the mail to a URL, as JSON, a form or a text, signed by Standard Webhooks."
    guarantee = Guarantee.NATIVE_KEY
    example = """\
kind: webhook
url: https://ops.example.com/hook
secret: "${OPS_WEBHOOK_SECRET}"
"""
    makes_items = False
    Options = WebhookOptions
    Fields = WebhookFields

    def __init__(self, name: str, options: WebhookOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        self._keys = [_key(secret) for secret in options.secret]
        for header, value in options.headers.items():
            if fault := _header_fault(header, value):
                raise ValueError(f"headers: {fault}")
        if fault := _header_fault("Content-Type", options.content_type):
            raise ValueError(f"content_type: {fault}")
        for status in options.success:
            if not 200 <= status <= 599:
                raise ValueError(f"success: {status} is no status that ends a request")

    def deliver(self, job: Job) -> Receipt:
        options: WebhookOptions = self.options
        body, content_type = self._body(job)
        headers: CaseInsensitiveDict[str] = CaseInsensitiveDict({"Content-Type": content_type})
        headers.update(_rule_headers(job.content.fields.get("headers") or {}))
        headers.update(options.headers)
        headers.update(signed_headers(self._keys, job.key, int(time.time()), body))
        answer = self.http.request(
            options.method, options.url, data=body, headers=headers, expect={*range(200, 300), *options.success, 410}
        )
        if answer.status in (options.success or range(200, 300)):
            return Receipt()
        if answer.status == 410:
            error = answer.error(f"{answer.host} answered 410: it wants nothing more", permanent=True)
            error.closed = True
            raise error
        raise answer.error(f"{answer.host} answered {answer.status}, which `success` does not name", unknown=True)

    def _body(self, job: Job) -> tuple[bytes, str]:
        """What is sent, and its type."""
        fields = job.content.fields
        given = {name: fields[name] for name in ("data", "form", "raw") if fields.get(name) is not None}
        if "raw" in fields:
            given["raw"] = fields["raw"] or ""  # What came out empty is an empty body.
        if len(given) > 1:
            raise DeliveryError(f"the rule gives {' and '.join(given)}, of which one can be sent", permanent=True)
        if "form" in given:
            return urlencode(given["form"]).encode(), "application/x-www-form-urlencoded"
        if "raw" in given:
            return given["raw"].encode(), self.options.content_type
        document = given["data"] if given else default_document(job, self._inlined(job))
        try:
            return msgspec.json.encode(document), "application/json"
        except (TypeError, ValueError) as error:
            raise DeliveryError(f"data cannot be written as JSON: {error}", permanent=True) from None

    def _inlined(self, job: Job) -> list[tuple[JobAttachment, bool]]:
        """The chosen attachments, each with whether its content goes along."""
        options: WebhookOptions = self.options
        left = int(options.attachments_limit) if options.attachments == "inline" else -1
        chosen = []
        for attachment in job.attachments:
            fits = attachment.info.size <= left
            left -= attachment.info.size if fits else 0
            chosen.append((attachment, fits))
        return chosen


def _header_fault(name: str, value: str) -> str:
    """Why a header cannot be sent; empty where it can."""
    if name.lower() in _OURS or name.lower().startswith("webhook-") or not _NAME.fullmatch(name):
        return f"'{name}' cannot be set"
    if not _VALUE.fullmatch(value) or value != value.strip(" "):
        return f"the value of '{name}' holds what no header may hold"
    return ""


def _rule_headers(headers: dict[str, str]) -> dict[str, str]:
    """A rule's headers as they are sent: in UTF-8. A line break of a mail never gets into one."""
    made = {}
    for name, value in headers.items():
        made[name] = value.strip().encode().decode("latin-1")
        if fault := _header_fault(name, made[name]):
            raise DeliveryError(f"headers: {fault}", permanent=True)
    return made


def signed_headers(keys: list[bytes], key: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks for one attempt."""
    headers = {"webhook-id": key, "webhook-timestamp": str(timestamp)}
    if keys:
        said = f"{key}.{timestamp}.".encode() + body
        signatures = (base64.b64encode(hmac.digest(secret, said, hashlib.sha256)).decode() for secret in keys)
        headers["webhook-signature"] = " ".join(f"v1,{signature}" for signature in signatures)
    return headers


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("secret: what follows `whsec_` is no base64")
    return key


def default_document(job: Job, attachments: list[tuple[JobAttachment, bool]]) -> dict[str, Any]:
    """The document that is sent where the rule gives no `data`. docs/integrations/webhook.md describes it."""
    message = job.message
    chosen = {id(attachment.info): (attachment, fits) for attachment, fits in attachments}
    listed = []
    for info in message.attachments:
        entry: dict[str, Any] = {
            "name": info.name,
            "content_type": info.content_type,
            "size": info.size,
            "sha256": info.sha256,
        }
        attachment, fits = chosen.get(id(info), (None, False))
        if attachment is not None and fits:
            entry["content"] = base64.b64encode(attachment.read()).decode()
        listed.append(entry)
    return {
        "id": message.id,
        "key": job.key,
        "rule": job.rule,
        "title": job.content.title,
        "body": job.content.body,
        "footer": job.content.footer,
        "message": {
            "id": message.id,
            "received_at": _iso(message.received_at),
            "recipient": message.recipient.address,
            "return_path": message.return_path.address,
            "from": _address(message.from_) if message.from_ else None,
            "to": [_address(each) for each in message.to],
            "cc": [_address(each) for each in message.cc],
            "reply_to": [_address(each) for each in message.reply_to],
            "subject": message.subject,
            "kinds": [{"kind": each.kind, "evidence": each.evidence} for each in message.kinds],
            "text": message.text,
            "reply_text": split_of(message).text,
            "html": message.html,
            "headers": [list(header) for header in message.headers],
            "attachments": listed,
            "message_id": message.message_id,
            "references": list(message.references),
            "date": None if message.date is None else _iso(message.date),
            "spam_score": message.spam_score,
        },
        "message_url": job.message_url,
        "reply_address": job.reply_address,
        "answer": None if job.answer is None else dataclasses.asdict(job.answer),
    }


def _address(address: Address) -> dict[str, str]:
    return {"address": address.address, "name": address.name}


def _iso(milliseconds: int) -> str | None:
    """2026-11-22T10:00:00.000Z; None for a date that no calendar has."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    try:
        moment = epoch + datetime.timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

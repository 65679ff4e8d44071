"""Mail in files as messages, as if it came in now: for whoever asks what the rules would do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from postroom.fields import Secret
from postroom.ingress.base import Mail, Refusal, Request
from postroom.ingress.jsonbody import decode_json, encode_json
from postroom.ingress.socketlabs import Options, Server, SocketLabs
from postroom.message import Message
from postroom.rawmail import LARGEST, message_of, raw_mails

FileMail = tuple[Message, tuple[bytes, ...]]
"""A message, not yet classed, and the contents of its attachments."""

_BLANK = b"\xef\xbb\xbf \t\r\n"
# A document in a file has nobody's key, or one that is masked: it is read under a key that opens nothing.
_NO_KEY = Secret("of a file")
_READER = Options(servers=[Server(secret_key=_NO_KEY, validation_key=_NO_KEY)])


def mails_of(path: Path, *, ingress: str, recipient: str | None = None) -> Iterator[FileMail]:
    """The mails of a file: an .eml, an mbox, a provider's document (or several, one a line), also inside `payload`.

    What a file holds is told by how it begins, and by `.json` or `.jsonl`. `ingress` is the way in that they seem to
    have come by; `recipient` replaces the envelope recipient.
    Raises OSError, and ValueError with the reason where the file holds no mail.
    """
    with path.open("rb") as file:
        start = file.read(1000).lstrip(_BLANK)
    if not start:
        raise ValueError("it is empty")
    if path.suffix in (".json", ".jsonl") or start.startswith(b"{"):
        if path.stat().st_size > LARGEST and path.suffix != ".jsonl":
            raise ValueError(f"it is larger than {LARGEST // 1_000_000} MB")
        for document in _documents(path):
            mail = _posted(document, ingress, recipient)
            yield mail.message, mail.contents
        return
    for raw in raw_mails(path):
        message, contents = message_of(raw, ingress=ingress, recipient=recipient)
        if not message.headers:
            raise ValueError("it is neither a mail (there are no headers) nor a provider's document in JSON")
        yield message, contents


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    whole: Refusal | None = None
    if path.suffix != ".jsonl":
        try:
            yield _object(decode_json(path.read_bytes())[0])
            return
        except Refusal as refusal:
            whole = refusal
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip(_BLANK):
                continue
            try:
                document = decode_json(line.strip(_BLANK))[0]
            except Refusal as refusal:
                # Of a file that may have been one document over several lines, what is wrong with the whole says more.
                told = whole.reason if whole is not None and number == 1 else f"line {number}: {refusal.reason}"
                raise ValueError(told) from None
            yield _object(document)


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError("it holds JSON, but no object: a document is {...}")
    inner = found.get("payload")
    return inner if isinstance(inner, dict) else found


def _posted(document: dict[str, Any], ingress: str, recipient: str | None) -> Mail:
    """The mail of a document as the provider would post it."""
    replaced = {"secretkey", "serverid"} if recipient is None else {"secretkey", "serverid", "inboundrcptto"}
    posted = {name: value for name, value in document.items() if name.lower() not in replaced}
    posted["SecretKey"] = str(_NO_KEY)
    if recipient is not None:
        posted["InboundRcptTo"] = recipient
    try:
        accepted = SocketLabs(ingress, _READER).accept(Request("application/json", {}, encode_json(posted)))
    except Refusal as refusal:
        raise ValueError(refusal.reason) from None
    if not accepted.mails:
        raise ValueError("it is a validation request, which holds no mail")
    return accepted.mails[0]

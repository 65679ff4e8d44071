"""Kind `file`: appends what it is given to a file below data_dir, one JSON document a line. Needs nothing else.

A line is written whole and flushed to the disk before the delivery counts as made, under a lock, so that several
processes may write. What a crash or a full disk left half-written is taken away before the next line.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import msgspec

from postroom.integration import DeliveryError, Guarantee, Http, Integration, Job, Receipt, setting

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".log", ".txt")
_BLOCK = 1 << 20
_START = b'{"key":"'
"""How a line begins. No text inside of one can look so: its quotation marks are escaped."""


@dataclass(frozen=True)
class FileOptions:
    path: str = setting("the file, below data_dir; its name ends in " + ", ".join(_SUFFIXES), default="delivered.jsonl")
    items: bool = setting(
        "true: a line counts as an item, as in a tracker, and later mail of its conversation as a comment on it",
        default=False,
    )


@dataclass(frozen=True)
class FileFields:
    labels: list[str] | None = setting("labels, as a tracker has them", default=None)
    fields: dict[str, str] | None = setting("further fields by name, as a tracker has them", default=None)


class File(Integration):
    """Appends to a file. The reference of a delivery is the file and the offset of its line."""

    kind = "file"
    summary = "Appends one line of JSON to a file below data_dir."
    guarantee = Guarantee.CONSISTENT_SEARCH
    makes_items = False
    example = "kind: file\npath: delivered.jsonl\n"
    Options = FileOptions
    Fields = FileFields

    def __init__(self, name: str, options: FileOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        path = PurePath(options.path)
        home = data_dir.resolve()
        self.path = home / path
        if path.is_absolute() or ".." in path.parts or not self.path.resolve().is_relative_to(home):
            raise ValueError(
                f"path: '{options.path}' leads out of data_dir; write one below it, such as delivered.jsonl"
            )
        if path.suffix not in _SUFFIXES:
            raise ValueError(f"path: '{options.path}' must end in {', '.join(_SUFFIXES)}")

    @classmethod
    def opens_items(cls, options: FileOptions) -> bool:
        return options.items

    def deliver(self, job: Job) -> Receipt:
        if (done := job.steps.get("item" if job.item is None else "comment")) is not None:
            return Receipt(done)
        line = msgspec.json.encode(_document(job)) + b"\n"
        with self._opened() as file:
            end = os.fstat(file).st_size
            try:
                _write(file, line)
            except OSError as error:
                os.ftruncate(file, end)
                raise _failed(error, unknown=False) from None
            try:
                os.fsync(file)
            except OSError as error:
                raise _failed(error, unknown=True) from None
        return self._receipt(end)

    def find(self, job: Job) -> Receipt | None:
        """Looks through the file from its end, a block at a time."""
        wanted = _START + job.key.encode() + b'"'
        if not self.path.exists():
            return None
        with self._opened() as file:
            end = os.fstat(file).st_size
            while end > 0:
                begin = max(0, end - _BLOCK)
                # One byte more before it, for the end of the line before; more after it, for what the border cuts.
                first = max(0, begin - 1)
                block = os.pread(file, end - first + len(wanted), first)
                at = 0 if first == 0 and block.startswith(wanted) else block.find(b"\n" + wanted) + 1
                if at > 0 or (first == 0 and block.startswith(wanted)):
                    return self._receipt(first + at)
                end = begin
        return None

    def _receipt(self, offset: int) -> Receipt:
        return Receipt(f"{self.options.path}:{offset}")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The file, locked, whole to its last line."""
        try:
            file = self._open()
        except OSError as error:
            raise _failed(error, unknown=False) from None
        try:
            _repair(file)
            yield file
        finally:
            os.close(file)

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            new = not self.path.exists()
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), self.path.stat()):
                    break
            os.close(file)  # a rotation took it away before the lock was ours
        if new:
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return file


def _write(file: int, line: bytes) -> None:
    written = 0
    while written < len(line):
        written += os.write(file, line[written:])


def _repair(file: int) -> None:
    """Takes away what a crash left of a line; ends a last line that only wants its end."""
    size = os.fstat(file).st_size
    if size == 0 or os.pread(file, 1, size - 1) == b"\n":
        return
    start = size
    while start > 0:
        begin = max(0, start - _BLOCK)
        newline = os.pread(file, start - begin, begin).rfind(b"\n")
        if newline >= 0:
            start = begin + newline + 1
            break
        start = begin
    tail = os.pread(file, size - start, start)
    try:
        msgspec.json.decode(tail)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if _START.startswith(tail[: len(_START)]):
            os.ftruncate(file, start)
            return
    try:
        _write(file, b"\n")  # whole, or not ours
    except OSError as error:
        raise _failed(error, unknown=False) from None


def _failed(error: OSError, *, unknown: bool) -> DeliveryError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = "the disk is full" if full else error.strerror or "input/output error"
    return DeliveryError(f"the file cannot be written: {reason}", unknown=unknown)


def _document(job: Job) -> dict[str, Any]:
    message = job.message
    return {
        "key": job.key,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "rule": job.rule,
        "title": job.content.title,
        "body": job.content.body,
        "footer": job.content.footer,
        "labels": job.content.fields.get("labels") or [],
        "fields": job.content.fields.get("fields") or {},
        "comments_on": None if job.item is None else job.item.reference,
        "state": job.content.state or None,
        "message": {
            "id": message.id,
            "recipient": message.recipient.address,
            "from": message.from_.address if message.from_ else None,
            "subject": message.subject,
            "message_id": message.message_id,
        },
        "attachments": [
            {"name": each.info.name, "size": each.info.size, "sha256": each.info.sha256} for each in job.attachments
        ],
        "message_url": job.message_url,
    }

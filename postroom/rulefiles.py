"""Writes rule files: whole or not at all, with the rights they had, and never outside of the rules folder."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SEGMENT = re.compile(r"[^\W_][\w .+()-]{0,99}")
_MOST_SEGMENTS = 6
_LONGEST = 240
_BOM = b"\xef\xbb\xbf"


class NotWritten(Exception):
    """Nothing was changed; the sentence says why."""


@dataclass(frozen=True, slots=True)
class _Write:
    """One file to be changed."""

    target: Path
    ready: Path | None
    """The new content beside it; None: the file is taken away."""
    before: bytes | None
    """What stood there; None: nothing."""
    status: os.stat_result | None
    """Its rights."""


def fault_of_name(path: str) -> str | None:
    """Why no rule file can have this path below the rules folder; None where it can."""
    parts = path.split("/")
    if not path.endswith((".yaml", ".yml")):
        return "the name of a rule file ends with .yaml"
    if len(parts) > _MOST_SEGMENTS or len(path) > _LONGEST:
        return "the path is too long"
    if not all(_SEGMENT.fullmatch(part) and not part.endswith((" ", ".")) for part in parts):
        return "names begin with a letter or digit and hold letters, digits, blanks and . _ - + ( ) only"
    return None


def is_writable(folder: Path) -> bool:
    """Whether this program may write into the rules folder, as far as its rights tell."""
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def write(folder: Path, changes: Mapping[str, str | None]) -> None:
    """Changes files by their paths below `folder`; None takes one away. All of them, or none.

    A file gets its new content in one step: whoever reads sees the old or the new one. It keeps its rights, its owner
    where the program may give files away, its line ends, and its byte order mark. A link to another file in the folder
    stays one. Raises NotWritten.
    """
    prepared: list[_Write] = []
    done: list[_Write] = []
    try:
        for path, text in changes.items():
            prepared.append(_prepare(folder, path, text))
        for each in prepared:
            _put(each)
            done.append(each)
    except (OSError, NotWritten) as error:
        for each in prepared:
            if each.ready is not None:
                with contextlib.suppress(OSError):
                    each.ready.unlink(missing_ok=True)
        left = [each.target.name for each in reversed(done) if not _undo(each)]
        if left:
            raise NotWritten(f"{error}; and these could not be put back: {', '.join(left)}") from None
        if isinstance(error, NotWritten):
            raise
        name = Path(error.filename).name if error.filename else "a file"
        raise NotWritten(f"{name} cannot be written: {error.strerror or error}") from None
    for parent in {each.target.parent for each in done}:
        with contextlib.suppress(OSError):
            _flush(parent)


def _prepare(folder: Path, path: str, text: str | None) -> _Write:
    root, place = folder.resolve(), folder / path
    # What is taken away is the link, not the file it leads to.
    target = place.parent.resolve() / place.name if text is None else place.resolve()
    if not target.is_relative_to(root) or ".." in Path(path).parts:
        raise NotWritten(f"{path} leads outside of the rules folder by a link: edit it where it lies")
    before: bytes | None = None
    status: os.stat_result | None = None
    with contextlib.suppress(FileNotFoundError):
        before, status = target.read_bytes(), target.stat()
    if text is None:
        return _Write(target, None, before, status)
    if before is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
    else:
        data = (text.replace("\n", "\r\n") if b"\r\n" in before else text).encode()
        data = _BOM + data if before.startswith(_BOM) else data
    ready = _beside(target, data, status)
    return _Write(target, ready, before, status)


def _beside(target: Path, data: bytes, status: os.stat_result | None) -> Path:
    """A hidden file with the new content: neither rules nor the watcher look at those."""
    ready = target.with_name(f".{secrets.token_hex(6)}.tmp")
    handle = os.open(ready, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            if status is not None:
                if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                    with contextlib.suppress(OSError):
                        os.fchown(file.fileno(), status.st_uid, status.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            os.fsync(file.fileno())
    except BaseException:
        ready.unlink(missing_ok=True)
        raise
    return ready


def _put(each: _Write) -> None:
    if each.ready is not None:
        each.ready.replace(each.target)
    elif each.before is not None:
        each.target.unlink()


def _undo(each: _Write) -> bool:
    try:
        if each.before is None:
            each.target.unlink(missing_ok=True)
        else:
            _beside(each.target, each.before, each.status).replace(each.target)
    except OSError:
        return False
    return True


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

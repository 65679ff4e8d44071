"""Keys of this installation: each made once, in a file beside the store that its owner alone can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def session_key(data_dir: Path) -> bytes:
    """Signs the sessions of the dashboard."""
    return _key(data_dir / "session.key")


def mail_key(data_dir: Path) -> bytes:
    """Signs reply addresses and Message-IDs: without it, answers to mail of the past are no longer recognised."""
    return _key(data_dir / "mail.key")


def known_mail_key(data_dir: Path) -> bytes | None:
    """The same for those who only look: None where it was never made."""
    path = data_dir / "mail.key"
    return path.read_bytes() if path.exists() else None


def _key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        key = secrets.token_bytes(32)
        # Written beside and linked into place: of two processes that start at once, both use the same key.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        draft.unlink()
        return path.read_bytes()

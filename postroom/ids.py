"""Identifiers and times: UUIDv7 (RFC 9562), which sort by time; milliseconds since 1970, UTC."""

from __future__ import annotations

import time

import uuid_utils


def new_id() -> str:
    """A UUIDv7 in its usual form."""
    return str(uuid_utils.uuid7())


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000

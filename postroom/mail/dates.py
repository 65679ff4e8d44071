"""The Date header (RFC 5322, 3.3), as it really occurs: a tenth of mails have none, some an unreadable one."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

_LONGEST = 200


def parse_date(value: str) -> int | None:
    """Milliseconds since 1970; None where the text is no date. A date without a zone counts as UTC."""
    try:
        date = parsedate_to_datetime(value[:_LONGEST])
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return int(date.timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None

"""How values look on the pages: times, sizes, and texts of strangers made harmless to read.

Escaping is Jinja's, always on. What is left to do here is what escaping does not: characters that turn the direction of
the text around them or break the page's layout, texts of any length, and addresses of links.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

from flask import Blueprint, Flask

from postroom.ids import now_ms

# The characters that open an embedding, override or isolate (UAX #9): they could reverse what stands beside them. The
# marks (U+200E, U+200F, U+061C) only nudge their neighbours, are usual in honest mail, and stay.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LINE_ENDS = re.compile("\r\n|[\r\u0085\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_BLANKS = re.compile(r"\s+")
_SPANS = ((365 * 86400, "year"), (30 * 86400, "month"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))

MEANINGS = {
    "routed": "All its deliveries are final or under way.",
    "unmatched": "No rule planned an action: it waits for a person.",
    "held": "It waits for a person to decide; nothing of it is sent until then.",
    "dropped": "A rule decided that nothing of it is sent.",
    "discarded": "A person decided that nothing of it is sent.",
    "pending": "Not yet tried.",
    "sending": "An attempt is being made now.",
    "retrying": "The last attempt failed; another one will follow.",
    "delivered": "The destination has it.",
    "dead": "Given up: a permanent error, or all attempts used.",
    "suppressed": "Not owed: the same action was already taken for the same mail.",
    "cancelled": "A person took it back before it was delivered.",
}
"""What each state means, for people."""


def clean(text: object, limit: int = 0) -> str:
    """A text of several lines, without control and direction-turning characters; cut after `limit` characters."""
    shown = str(text)
    if limit and len(shown) > limit:
        shown = shown[:limit] + "…"
    return _CONTROLS.sub("�", _BIDI.sub("", _LINE_ENDS.sub("\n", shown)))


def line(text: object, limit: int = 300) -> str:
    """The same on one line."""
    shown = str(text)
    # Cut first: a subject of megabytes is not searched for blanks.
    return _BLANKS.sub(" ", clean(shown, limit)).strip()


def link(url: object) -> str | None:
    """The URL where it is one that a browser may follow: http or https with a host; else None."""
    if not isinstance(url, str) or _CONTROLS.search(url) or _BLANKS.search(url) or "\\" in url or len(url) > 4000:
        return None
    try:
        parts = urlsplit(url)
        return url if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def utc(ms: int) -> str:
    """`2026-11-22 10:00:12`, in UTC; empty where no calendar has the time."""
    moment = _moment(ms)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else ""


def iso(ms: int) -> str:
    """RFC 3339, for `<time datetime>`."""
    moment = _moment(ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z" if moment else ""


def ago(ms: int, now: int | None = None) -> str:
    """`3 hours ago`, `in 5 minutes`, `now`."""
    seconds = ((now_ms() if now is None else now) - ms) / 1000
    for span, name in _SPANS:
        count = int(abs(seconds) // span)
        if count:
            words = f"{count} {name}{'' if count == 1 else 's'}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "now"


def size(count: int) -> str:
    """`812 bytes`, `4.2 kB`, `17 MB`: powers of ten, as the rules write sizes."""
    if count < 1000:
        return f"{count} byte{'' if count == 1 else 's'}"
    for unit in ("kB", "MB"):
        count_of = count / 1000
        if count_of < 999.5:
            return f"{count_of:.1f} {unit}" if count_of < 9.95 else f"{count_of:.0f} {unit}"
        count //= 1000
    return f"{count / 1000:.1f} GB"


def took(ms: int) -> str:
    """`840 ms`, `2.1 s`."""
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def install(app: Flask | Blueprint) -> None:
    """Gives the templates these as filters."""
    add = app.add_template_filter if isinstance(app, Flask) else app.add_app_template_filter
    for function in (clean, line, link, utc, iso, ago, size, took):
        add(function)


def _moment(ms: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None

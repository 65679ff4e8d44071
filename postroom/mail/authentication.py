"""Results of SPF, DKIM and DMARC that a trusted host wrote into Authentication-Results (RFC 8601)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

METHODS = ("spf", "dkim", "dmarc")
_COMMENT = re.compile(r"\([^()]{0,500}\)")
_RESULT = re.compile(r"\s*(spf|dkim|dmarc)\s*(?:/\s*\d{1,5}\s*)?=\s*([a-z]{1,20})\b", re.IGNORECASE)
_LONGEST = 10_000
_BEST = ("pass", "fail", "softfail", "neutral", "temperror", "permerror", "policy", "none")
"""Where a mail has several signatures, one that passes is enough (RFC 7489, 4.2)."""


def authentication(headers: Iterable[tuple[str, str]], trusted: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Method and result of each of METHODS that a host in `trusted` (lower case) vouches for.

    Anybody can write such a header into a mail: those of other hosts do not count. Of the headers of trusted hosts the
    topmost that speaks of a method counts: it was added last.
    """
    if not trusted:
        return ()
    found: dict[str, str] = {}
    for name, value in headers:
        if name.lower() != "authentication-results":
            continue
        host, _, rest = _COMMENT.sub(" ", value[:_LONGEST]).partition(";")
        words = host.lower().split()
        if not words or words[0] not in trusted:
            continue
        here: dict[str, str] = {}
        for part in rest.split(";"):
            if result := _RESULT.match(part):
                method, verdict = result[1].lower(), result[2].lower()
                if method not in here or _rank(verdict) < _rank(here[method]):
                    here[method] = verdict
        for method, verdict in here.items():
            found.setdefault(method, verdict)
    return tuple(found.items())


def _rank(verdict: str) -> int:
    return _BEST.index(verdict) if verdict in _BEST else len(_BEST)

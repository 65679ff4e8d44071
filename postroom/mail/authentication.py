"""Results of SPF, DKIM and DMARC that a trusted host wrote into Authentication-Results (RFC 8601)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

METHODS = ("spf", "dkim", "dmarc")
_RESULT = re.compile(r"\s*(spf|dkim|dmarc)\s*(?:/\s*\d{1,5}\s*)?=\s*([a-z]{1,20})\b", re.IGNORECASE)
_OF_HELO = re.compile(r"\bsmtp\s*\.\s*helo\s*=", re.IGNORECASE)
_OF_SENDER = re.compile(r"\bsmtp\s*\.\s*mailfrom\s*=", re.IGNORECASE)
_LONGEST = 10_000


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
        host, *parts = _parts(value[:_LONGEST])
        words = host.lower().split()
        if not words or words[0] not in trusted:
            continue
        here: dict[str, list[str]] = {}
        for part in _without_helo(parts):
            if result := _RESULT.match(part):
                here.setdefault(result[1].lower(), []).append(result[2].lower())
        for method, results in here.items():
            found.setdefault(method, _verdict(method, results))
    return tuple(found.items())


def _parts(value: str) -> list[str]:
    """What stands between the semicolons, without comments, and with nothing in place of what is in quotes.

    A sender chooses much of what a host quotes there (addresses, reasons, HELO names), a `; dmarc=pass` included.
    """
    kept: list[str] = []
    depth, quoted, escaped = 0, False, False
    for char in value:
        if escaped:
            escaped = False
        elif char == "\\" and (depth or quoted):
            escaped = True
        elif quoted:
            quoted = char != '"'
        elif char == "(":
            depth += 1
            kept.append(" ")
        elif char == ")" and depth:
            depth -= 1
        elif depth:
            continue
        elif char == '"':
            quoted = True
            # A mark, so that what was quoted is no gap between two words.
            kept.append("_")
        else:
            kept.append(char)
    return "".join(kept).split(";")


def _without_helo(parts: list[str]) -> list[str]:
    """Without the results of SPF for HELO names, where there is one for the sender: any host has a name of its own."""
    if not any(_OF_SENDER.search(part) for part in parts):
        return parts
    return [part for part in parts if _OF_SENDER.search(part) or not _OF_HELO.search(part)]


def _verdict(method: str, results: list[str]) -> str:
    """Of several signatures one that passes is enough (RFC 7489, 4.2); else all must pass."""
    if method == "dkim" and "pass" in results:
        return "pass"
    return next((result for result in results if result != "pass"), "pass")

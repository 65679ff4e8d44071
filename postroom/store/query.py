"""The small language of the search field: words, and keys such as `to:` and `state:`.

=====================  ===========================================================================================
``printer fire``       both words, each as the beginning of a word in subject, addresses, text or names of files
``"printer fire"``     both, side by side or not: quotation marks only keep blanks and colons from meaning anything
``-printer``           without it; before a key too: ``-kind:bounce``
``to:`` ``from:``      in the recipient; in the sender's address or name
``subject:``           in the subject
``rule:``              matched by this rule (its whole name; quotation marks where it has blanks)
``dest:``              a delivery to this destination
``state:``             a state of messages, or ``dead``, ``retrying``, ``pending`` of any delivery
``kind:``              ``bounce``, ``auto_reply``, ``list``, ...
``has:attachment``     with files
``in:``                the conversation of a message (its id)
``before:`` ``after:`` a day (``2026-11-24``, UTC), or how long ago (``3d``, ``2h``)
=====================  ===========================================================================================

A word that is a reference (``APP-42``) or an id finds by that too. An unknown key is a word like any other.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from dataclasses import dataclass, field

KEYS = ("to", "from", "subject", "rule", "dest", "state", "kind", "has", "in", "before", "after")
LONGEST = 400
_MOST_TERMS = 12
_TERM = re.compile(r'(-?)(?:([a-z]{2,10}):)?(?:"([^"]*)"?|(\S+))', re.IGNORECASE)
_AGO = re.compile(r"(\d{1,4})([hdwm])", re.IGNORECASE)
_HOURS = {"h": 1, "d": 24, "w": 168, "m": 720}
# Scripts that are written without blanks: each sign is a word.
_SIGN = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_ASCII_PIECE = re.compile(r"[a-z0-9]+")
_PIECE = re.compile(rf"[{_SIGN}]|[^\W_{_SIGN}]+")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `key` is one of KEYS, or empty for a word."""

    key: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A search, and sentences on what of it makes no sense."""

    terms: tuple[Term, ...] = ()
    before: int | None = None
    """Received before this: milliseconds since 1970."""
    after: int | None = None
    problems: tuple[str, ...] = field(default=())


def parse(text: str, now: int, states: tuple[str, ...]) -> Query:
    """Reads a search. `now` in milliseconds since 1970; `states` are those that `state:` knows. Never raises."""
    terms: list[Term] = []
    problems: list[str] = []
    bounds: dict[str, int] = {}
    for found in _TERM.finditer(text[:LONGEST].replace("\0", " ")):
        minus, key, quoted, plain = found.groups()
        key = (key or "").lower()
        value = (quoted if quoted is not None else plain or "").strip()
        if key not in KEYS:
            # `http://..`, `Re:..`: a colon means nothing there.
            value = f"{key}:{value}" if key else value
            key = ""
        if len(terms) >= _MOST_TERMS:
            problems.append(f"only the first {_MOST_TERMS} conditions count")
            break
        if not key and value.lower().removesuffix(":") in KEYS and value.endswith(":"):
            problems.append(f"{value} wants a value")
        elif not value:
            continue
        elif key in ("before", "after"):
            moment = _moment(value, now)
            if moment is None:
                problems.append(f"{key}:{value} is no time; write such as {key}:2026-11-24, {key}:3d or {key}:2h")
            else:
                bounds[key] = moment
        elif key == "state" and value.lower() not in states:
            problems.append(f"state:{value} is no state; known are {', '.join(states)}")
        elif key == "has" and value.lower().rstrip("s") != "attachment":
            problems.append(f"has:{value} means nothing; write has:attachment")
        else:
            terms.append(Term(key, value.lower() if key in ("state", "has", "kind") else value, bool(minus)))
    return Query(tuple(terms), bounds.get("before"), bounds.get("after"), tuple(problems))


def conditions(text: str) -> list[str]:
    """The conditions of a search as they are written, those that mean nothing among them."""
    found = [each[0] for each in _TERM.finditer(text[:LONGEST].replace("\0", " "))]
    return [each + '"' if each.count('"') == 1 else each for each in found]


def with_condition(text: str, key: str, value: str, *, instead_of: str | None = None) -> str:
    """A search with one more condition, in place of those with the key `instead_of`."""
    kept = [each for each in conditions(text) if instead_of is None or not each.lower().startswith(f"{instead_of}:")]
    plain = value.replace('"', "")
    quoted = f'"{plain}"' if not plain or any(char.isspace() for char in plain) else plain
    return " ".join([*kept, f"{key}:{quoted}"])


def without_condition(text: str, position: int) -> str:
    """A search without one of its conditions."""
    kept = conditions(text)
    return " ".join(kept[:position] + kept[position + 1 :])


def pieces(text: str) -> list[str]:
    """The words of a text as the index has them: runs of letters and digits, folded, without accents."""
    if text.isascii():  # as most mail is, at a fifth of the cost
        return _ASCII_PIECE.findall(text.lower())
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(char for char in folded if not unicodedata.combining(char))
    return _PIECE.findall(bare)


def match_expression(term: Term, whole_words: frozenset[str] = frozenset()) -> str:
    """A term as FTS5 has it: each piece as a word, the last as the beginning of one. Empty where it has no pieces.

    `whole_words`: those that stand for themselves alone.
    """
    found = pieces(term.value)
    if not found:
        return ""
    column = {"to": "recipient : ", "from": "sender : ", "subject": "subject : "}.get(term.key, "")
    *whole, last = found
    # A single letter begins a tenth of all words: it stands for itself.
    ending = f'"{last}"' + ("*" if len(last) > 1 and last not in whole_words else "")
    return " AND ".join(f"({column}{piece})" for piece in (*(f'"{piece}"' for piece in whole), ending))


def _moment(value: str, now: int) -> int | None:
    if found := _AGO.fullmatch(value):
        return now - int(found[1]) * _HOURS[found[2].lower()] * 3_600_000
    try:
        day = datetime.datetime.fromisoformat(value)
    except ValueError:
        return None
    if day.tzinfo is None:
        day = day.replace(tzinfo=datetime.UTC)
    try:
        return int(day.timestamp() * 1000)
    except (OverflowError, ValueError):
        return None

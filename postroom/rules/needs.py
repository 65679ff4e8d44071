"""What must be so before a condition can hold: simple enough that an index asks it for many rules at once.

A need is necessary, never sufficient: a rule whose needs are met is evaluated as any other. A condition without needs
(None) may hold for any mail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import re2

from postroom.rules.patterns import is_glob


class How(Enum):
    """Which form of a field is looked at, and how. See `Facts` for the forms."""

    EXACT = ""
    """The operand is one of the exact values."""
    SPELLING = "each"
    """It is one of the spellings."""
    PART = "bounded"
    """It stands in the spellings; NUL is before and after each of them."""
    PATTERN = "bytes"
    """It is a pattern of RE2 that is found without regard to case."""
    CASED = "bytes cased"
    """The same with regard to case."""


class Need(NamedTuple):
    how: How
    field: str
    operand: str


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One of these at least. Rules that test the same list share one."""

    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Some:
    parts: tuple[Needs, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Every:
    parts: tuple[Needs, ...]


Needs = Choice | Some | Every


def some(parts: list[Needs | None]) -> Needs | None:
    """What must be so where one of several must hold."""
    known = tuple(part for part in parts if part is not None)
    if len(known) < len(parts):
        return None
    return known[0] if len(known) == 1 else Some(known)


def every(parts: list[Needs | None]) -> Needs | None:
    """What must be so where all must hold: whatever is known of some of them."""
    known = tuple(part for part in parts if part is not None)
    if not known:
        return None
    return known[0] if len(known) == 1 else Every(known)


def exact(field: str, values: frozenset[str]) -> Choice:
    return Choice(tuple(Need(How.EXACT, field, value) for value in values))


def part(field: str, texts: tuple[str, ...], *, first: bool = False, last: bool = False) -> Choice | None:
    """One of the texts stands in a spelling; as its `first` or `last` characters, if so asked."""
    if not all(texts):
        return None  # The empty text is in everything.
    before, after = "\0" * first, "\0" * last
    return Choice(tuple(Need(How.PART, field, f"{before}{text}{after}") for text in texts))


def like(field: str, globs: tuple[str, ...]) -> Choice | None:
    """A spelling is one of the globs, or like it."""
    found: list[Need] = []
    for glob in globs:
        if not is_glob(glob):
            found.append(Need(How.SPELLING, field, glob))
            continue
        longest = max(_WILD.split(f"\0{glob}\0"), key=len)
        if longest.strip("\0") == "":
            return None
        found.append(Need(How.PART, field, longest))
    return Choice(tuple(found))


def pattern(field: str, source: str, *, case_sensitive: bool) -> Needs:
    """A text that the pattern needs, or else the pattern itself."""
    how = How.CASED if case_sensitive else How.PATTERN
    sources = (*(re2.escape(text) for text in literals(source)), source)
    found: list[Needs | None] = [Choice((Need(how, field, each),)) for each in sources]
    needs = every(found)
    assert needs is not None
    return needs


def literals(source: str) -> list[str]:
    """Texts that stand in whatever the pattern matches, the longest first; none where that is not easily seen.

    It reads only the most usual syntax, and gives up at any other.
    """
    found: list[str] = []
    text, depth, at = "", 0, 0
    while at < len(source):
        token = _TOKEN.match(source, at)
        if token is None or (token.lastgroup == "either" and depth == 0):
            return []
        at, kind = token.end(), token.lastgroup
        if kind == "literal" and depth == 0:
            text += token[0][-1]
            continue
        if kind == "repeat" and token[0][0] != "+":
            text = text[:-1]
        found.append(text)
        text = ""
        depth += (kind == "open") - (kind == "close")
    found.append(text)
    return sorted((text for text in dict.fromkeys(found) if len(text) >= _SHORTEST), key=len, reverse=True)[:_MOST]


_WILD = re.compile(r"[*?]")
_SHORTEST = 3
_MOST = 4
_TOKEN = re.compile(
    r"""(?P<literal>\\[!-/:-@\[-`{-~]|[^\\^$.|?*+()\[\]{}])
    |(?P<gap>[.^$]|\(\?[smU]+\)|\\[dDwWsSbBAzntrfva]|\\[pP](?:\{\^?\w+\}|[A-Z])
        |\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\])
    |(?P<open>\((?:\?:|\?P?<\w+>)?(?!\?))
    |(?P<close>\))
    |(?P<either>\|)
    |(?P<repeat>[*+?]\??|\{[0-9]+(?:,[0-9]*)?\}\??)""",
    re.DOTALL | re.VERBOSE,
)
"""Of RE2's syntax, what people write: not flags, numbers of characters, `\\Q`, `\\C`."""

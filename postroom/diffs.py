"""Differences of two texts, line by line."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

_MOST_LINES = 20_000
_CONTEXT = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One line. Numbers count from 1; None where the line is not in that text."""

    sign: str
    """`-` only in the old text, `+` only in the new one, a blank in both; `@` stands for lines left aside."""
    old: int | None
    new: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Diff:
    """How one file differs. `gone` and `come` count lines."""

    path: str
    kind: str
    """`new`, `deleted`, `changed` or `same`."""
    lines: tuple[Line, ...]
    gone: int
    come: int


def diff(path: str, old: str | None, new: str | None) -> Diff:
    """What of a file changed; None stands for no file."""
    kind = "same" if old == new else "new" if old is None else "deleted" if new is None else "changed"
    before, after = _lines(old), _lines(new)
    if kind == "same":
        return Diff(path, kind, (), 0, 0)
    if len(before) + len(after) > _MOST_LINES:
        told = Line("@", None, None, f"{len(before)} lines, then {len(after)}: too many to compare here")
        return Diff(path, kind, (told,), len(before), len(after))
    lines: list[Line] = []
    gone = come = 0
    for number, group in enumerate(difflib.SequenceMatcher(None, before, after).get_grouped_opcodes(_CONTEXT)):
        if number or group[0][1] or group[0][3]:
            lines.append(Line("@", None, None, f"line {group[0][3] + 1}"))
        for tag, a, b, c, d in group:
            if tag == "equal":
                lines += [Line(" ", a + at + 1, c + at + 1, before[a + at]) for at in range(b - a)]
                continue
            lines += [Line("-", at + 1, None, before[at]) for at in range(a, b)]
            lines += [Line("+", None, at + 1, after[at]) for at in range(c, d)]
            gone, come = gone + b - a, come + d - c
    return Diff(path, kind, tuple(lines), gone, come)


def _lines(text: str | None) -> list[str]:
    lines = (text or "").split("\n")
    return lines if lines[-1] else lines[:-1]


def of_files(old: dict[str, str], new: dict[str, str]) -> list[Diff]:
    """The files that differ between two sets, by path."""
    paths = sorted({*old, *new}, key=lambda path: path.split("/"))
    return [diff(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)]

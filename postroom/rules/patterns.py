"""Patterns in time linear to the text, whatever both are: RE2 for regular expressions, globs and whole words.

The standard library's `re` backtracks; one mail written for it would stop the program.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import re2

_MEMORY = 2 << 20
"""Bytes that one pattern may take while it runs; beyond that RE2 goes on with less memory and more (linear) time."""
_MEMORY_AT_MOST = 64 << 20
"""Tried where a pattern itself is too large for `_MEMORY`: long lists of globs, counted repetitions."""

Regex = Any
"""A compiled pattern of google-re2 (it has no type stubs). Search in UTF-8 bytes: a text is encoded each time."""


class PatternError(ValueError):
    """A pattern that RE2 cannot take; the text is one sentence for the operator."""


def compile_re2(pattern: str, *, case_sensitive: bool = False) -> Regex:
    """Raises PatternError."""
    try:
        return re2.compile(pattern, re2_options(case_sensitive, _MEMORY))
    except re2.error as error:
        reason = _text(error)
    if "too large" in reason:
        try:
            return re2.compile(pattern, re2_options(case_sensitive, _MEMORY_AT_MOST))
        except re2.error as error:
            reason = _text(error)
    raise PatternError(_explain(reason, pattern))


@dataclass(frozen=True, slots=True)
class Capture:
    """A pattern that captures: its groups by name, or none and then the first group (or the whole) counts."""

    regex: Regex
    names: tuple[str, ...]
    indexes: tuple[int, ...]

    def find(self, text: bytes) -> str | dict[str, str] | None:
        """What the first match captured, trimmed; a group that took no part is the empty text. None: no match."""
        found = self.regex.search(text)
        if found is None:
            return None
        if not self.names:
            return _captured(found.group(self.indexes[0]))
        return {name: _captured(found.group(index)) for name, index in zip(self.names, self.indexes, strict=True)}


def compile_capture(pattern: str, *, case_sensitive: bool = False) -> Capture:
    """Raises PatternError."""
    regex = compile_re2(pattern, case_sensitive=case_sensitive)
    named: dict[str, int] = regex.groupindex
    if len(_GROUP_NAME.findall(_NO_GROUP.sub("", pattern))) > len(named):
        raise PatternError("two groups of the pattern have the same name")
    if named:
        return Capture(regex, tuple(named), tuple(named.values()))
    return Capture(regex, (), (min(1, regex.groups),))


def glob_test(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a text as a whole meets one of the globs: `*` any characters, `?` one. Compare folded with folded."""
    exact: set[str] = set()
    starts: list[str] = []
    ends: list[str] = []
    others: list[str] = []
    for pattern in dict.fromkeys(patterns):
        if not is_glob(pattern):
            exact.add(pattern)
        elif pattern[0] == "*" and not is_glob(pattern[1:]):
            ends.append(pattern[1:])
        elif pattern[-1] == "*" and not is_glob(pattern[:-1]):
            starts.append(pattern[:-1])
        else:
            others.append("".join(_GLOB_PARTS.get(char) or re2.escape(char) for char in pattern))
    start, end = tuple(starts), tuple(ends)
    regex = compile_re2(rf"(?s)\A(?:{'|'.join(others)})\z", case_sensitive=True) if others else None

    def meets(text: str) -> bool:
        if text in exact or text.endswith(end) or text.startswith(start):
            return True
        return regex is not None and regex.search(text.encode()) is not None

    return meets


def is_glob(text: str) -> bool:
    return "*" in text or "?" in text


def word_test(words: Iterable[str]) -> Callable[[str], bool]:
    """Whether one of the words stands in a text with no letter, mark, digit or underscore next to it.

    Compare folded with folded.
    """
    wanted = tuple(words)
    compiled: list[Regex] = []

    def meets(text: str) -> bool:
        # Most texts hold the letters nowhere, or a few times, which plain searches find out fastest: the pattern takes
        # a millisecond to compile and much memory. It is for texts that hold them again and again.
        left = _PLAIN_SEARCHES
        for word in wanted:
            at = text.find(word)
            while at >= 0 and left:
                left -= 1
                end = at + len(word)
                if (at == 0 or not _is_of_word(text[at - 1])) and (end == len(text) or not _is_of_word(text[end])):
                    return True
                at = text.find(word, at + 1)
        if left:
            return False
        if not compiled:
            either = "|".join(re2.escape(word) for word in wanted)
            compiled.append(compile_re2(rf"(?:\A|[^{_WORD}])(?:{either})(?:[^{_WORD}]|\z)", case_sensitive=True))
        return compiled[0].search(text.encode()) is not None

    return meets


def _is_of_word(char: str) -> bool:
    if char.isascii():
        return char.isalnum() or char == "_"
    return _WORD_CHARACTER.search(char.encode()) is not None


def control_character(text: str) -> str | None:
    """The name of a control character in a text, where an escape of YAML's double quotes made one by accident."""
    found = _CONTROL.search(text)
    return None if found is None else _CONTROL_NAMES.get(found[0], f"control (U+{ord(found[0]):04X})")


def re2_options(case_sensitive: bool, memory: int) -> Any:
    """`memory`: bytes that the pattern or set may take, compiled and while it runs."""
    options = re2.Options()
    options.case_sensitive = case_sensitive
    options.max_mem = memory
    options.log_errors = False
    return options


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _explain(reason: str, pattern: str) -> str:
    if re.search(r"\(\?<?[=!]", pattern):
        return "RE2 has no look-ahead and no look-behind; say it with two tests, or with not:"
    if re.search(r"\\[1-9]|\(\?P=|\\g<|\\k<", pattern):
        return "RE2 has no back-references"
    if re.search(r"\(\?>|[*+?}]\+", pattern):
        return "RE2 has no possessive or atomic groups, and needs none: it does not backtrack"
    return f"RE2 cannot take the pattern: {reason}"


def _captured(text: bytes | None) -> str:
    # A pattern with \C can cut a character in two.
    return "" if text is None else text.decode("utf-8", "replace").strip()


_WORD = r"\pL\pM\pN_"
_WORD_CHARACTER: Regex = re2.compile(f"[{_WORD}]")
_PLAIN_SEARCHES = 100
_GLOB_PARTS = {"*": ".*", "?": "."}
_GROUP_NAME = re.compile(r"\(\?P?<\w+>")
_NO_GROUP = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CONTROL_NAMES = {"\x08": "backspace", "\x00": "NUL", "\x07": "bell", "\x0b": "vertical tab", "\x0c": "form feed"}
_CONTROL_NAMES |= {"\x1b": "escape"}

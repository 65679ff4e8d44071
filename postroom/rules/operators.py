"""The operators of a test, each compiled to what answers it fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from postroom.rules.facts import Facts, Value
from postroom.rules.folding import fold_part, fold_text
from postroom.rules.patterns import Regex, glob_test, is_glob, word_test

WORDS = {
    "is": "is",
    "contains": "contains",
    "word": "has the word",
    "starts_with": "starts with",
    "ends_with": "ends with",
    "glob": "is like",
    "matches": "matches",
    "in": "is in",
}
"""How each operator reads in a sentence; `exists` makes its own."""
OPERATORS = (*WORDS, "exists")


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator with its operands. Both functions answer the same question."""

    words: str
    """As an operator would say it: `contains crash, traceback`."""
    of_field: Callable[[Facts], bool]
    """Whether some value of the field meets it."""
    of_value: Callable[[Value], bool]
    """Whether one value meets it: asked where several operators must hold of the same value."""


def exists(field: str, wanted: bool) -> Operator:
    if wanted:
        return Operator("exists", lambda facts: bool(facts[field]), lambda value: True)
    return Operator("does not exist", lambda facts: not facts[field], lambda value: False)


def equal(field: str, kind: str, texts: list[str]) -> Operator:
    wanted = frozenset(fold_text(kind, text) for text in texts)
    words = _words("is", texts)
    if len(wanted) == 1:
        (only,) = wanted
        return Operator(words, lambda facts: only in facts[field], lambda value: value.exact == only)
    return Operator(words, lambda facts: not wanted.isdisjoint(facts[field]), lambda value: value.exact in wanted)


def contains(field: str, kind: str, texts: list[str]) -> Operator:
    parts = _parts(kind, texts)
    joined = f"{field} joined"
    words = _words("contains", texts)

    def of_value(value: Value) -> bool:
        return any(part in spelling for spelling in value.spellings for part in parts)

    if len(parts) == 1:
        (only,) = parts
        return Operator(words, lambda facts: only in facts[joined], of_value)

    def of_field(facts: Facts) -> bool:
        text = facts[joined]
        for part in parts:  # noqa: SIM110  a generator costs more than the search
            if part in text:
                return True
        return False

    return Operator(words, of_field, of_value)


def starts_with(field: str, kind: str, texts: list[str]) -> Operator:
    parts = _parts(kind, texts)
    return _of_spellings(field, _words("starts_with", texts), lambda text: text.startswith(parts))


def ends_with(field: str, kind: str, texts: list[str]) -> Operator:
    parts = _parts(kind, texts)
    return _of_spellings(field, _words("ends_with", texts), lambda text: text.endswith(parts))


def word(field: str, kind: str, texts: list[str]) -> Operator:
    parts = _parts(kind, texts)
    operator = _of_spellings(field, _words("word", texts), word_test(parts))
    if len(parts) > 1:
        return operator
    # Most texts do not hold the letters at all, which one plain search finds out fastest.
    (only,), joined, of_field = parts, f"{field} joined", operator.of_field
    return replace(operator, of_field=lambda facts: only in facts[joined] and of_field(facts))


def glob(field: str, kind: str, texts: list[str]) -> Operator:
    """Raises PatternError where the globs are too large together."""
    return _of_spellings(field, _words("glob", texts), list_test(kind, texts))


def in_lists(field: str, names: list[str], tests: list[Callable[[str], bool]]) -> Operator:
    """`tests` are those of the named lists for this field's kind, see `list_test`."""
    if len(tests) == 1:
        return _of_spellings(field, _words("in", names), tests[0])
    return _of_spellings(field, _words("in", names), lambda text: any(test(text) for test in tests))


def matches(field: str, patterns: list[str], compiled: list[Regex]) -> Operator:
    key = f"{field} bytes"
    searches = [regex.search for regex in compiled]

    def of_field(facts: Facts) -> bool:
        texts = facts[key]
        for search in searches:
            for text in texts:
                if search(text) is not None:
                    return True
        return False

    def of_value(value: Value) -> bool:
        return any(search(text.encode()) is not None for text in value.patterns for search in searches)

    return Operator(_words("matches", patterns), of_field, of_value)


def list_test(kind: str, entries: Iterable[str]) -> Callable[[str], bool]:
    """Whether a spelling of a value is one of the entries, or like one that is a glob.

    Raises PatternError where the globs are too large together.
    """
    return glob_test(
        form
        for entry in entries
        for form in dict.fromkeys((fold_text(kind, entry), *(fold_part(kind, entry) if is_glob(entry) else ())))
    )


def _parts(kind: str, texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for text in texts for part in fold_part(kind, text)))


def _of_spellings(field: str, words: str, test: Callable[[str], bool]) -> Operator:
    each = f"{field} each"

    def of_field(facts: Facts) -> bool:
        for text in facts[each]:  # noqa: SIM110  a generator costs more than most tests
            if test(text):
                return True
        return False

    return Operator(words, of_field, lambda value: any(test(text) for text in value.spellings))


def _words(operator: str, operands: list[str]) -> str:
    return f"{WORDS[operator]} {', '.join(operand or 'empty' for operand in operands)}"

"""The operators of a test, each compiled to what answers it fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from postroom.rules import needs
from postroom.rules.facts import Facts, Value
from postroom.rules.folding import fold_part, fold_text
from postroom.rules.needs import Needs
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
    needs: Needs | None = None
    """What must be so before either function can say yes; None where nothing is known."""


@dataclass(frozen=True, slots=True)
class ListTest:
    """The entries of a list or the globs of a test, for one kind of field."""

    meets: Callable[[str], bool]
    """Whether a spelling of a value is one of the entries, or like one that is a glob."""
    forms: tuple[str, ...]
    """The entries folded."""
    _needs: dict[str, Needs | None] = field(default_factory=dict)

    def needs_in(self, name: str) -> Needs | None:
        """Of a field: the same object for each rule, since a list may be long and the rules many."""
        if name not in self._needs:
            self._needs[name] = needs.like(name, self.forms)
        return self._needs[name]


def exists(field: str, wanted: bool) -> Operator:
    if wanted:
        return Operator("exists", lambda facts: bool(facts[field]), lambda value: True)
    return Operator("does not exist", lambda facts: not facts[field], lambda value: False)


def equal(field: str, kind: str, texts: list[str]) -> Operator:
    wanted = frozenset(fold_text(kind, text) for text in texts)
    words, needed = _words("is", texts), needs.exact(field, wanted)
    if len(wanted) == 1:
        (only,) = wanted
        return Operator(words, lambda facts: only in facts[field], lambda value: value.exact == only, needed)
    return Operator(
        words, lambda facts: not wanted.isdisjoint(facts[field]), lambda value: value.exact in wanted, needed
    )


def contains(field: str, kind: str, texts: list[str]) -> Operator:
    parts = _parts(kind, texts)
    joined = f"{field} joined"
    words, needed = _words("contains", texts), needs.part(field, parts)

    def of_value(value: Value) -> bool:
        return any(part in spelling for spelling in value.spellings for part in parts)

    if len(parts) == 1:
        (only,) = parts
        return Operator(words, lambda facts: only in facts[joined], of_value, needed)

    def of_field(facts: Facts) -> bool:
        text = facts[joined]
        for part in parts:  # noqa: SIM110  a generator costs more than the search
            if part in text:
                return True
        return False

    return Operator(words, of_field, of_value, needed)


def starts_with(field: str, kind: str, texts: list[str]) -> Operator:
    parts = _parts(kind, texts)
    needed = needs.part(field, parts, first=True)
    return _of_spellings(field, _words("starts_with", texts), lambda text: text.startswith(parts), needed)


def ends_with(field: str, kind: str, texts: list[str]) -> Operator:
    parts = _parts(kind, texts)
    needed = needs.part(field, parts, last=True)
    return _of_spellings(field, _words("ends_with", texts), lambda text: text.endswith(parts), needed)


def word(field: str, kind: str, texts: list[str]) -> Operator:
    parts = _parts(kind, texts)
    operator = _of_spellings(field, _words("word", texts), word_test(parts), needs.part(field, parts))
    if len(parts) > 1:
        return operator
    # Most texts do not hold the letters at all, which one plain search finds out fastest.
    (only,), joined, of_field = parts, f"{field} joined", operator.of_field
    return replace(operator, of_field=lambda facts: only in facts[joined] and of_field(facts))


def glob(field: str, kind: str, texts: list[str]) -> Operator:
    """Raises PatternError where the globs are too large together."""
    test = list_test(kind, texts)
    return _of_spellings(field, _words("glob", texts), test.meets, test.needs_in(field))


def in_lists(field: str, names: list[str], lists: list[ListTest]) -> Operator:
    """`lists` are the named ones for this field's kind."""
    tests = [each.meets for each in lists]
    words, needed = _words("in", names), needs.some([each.needs_in(field) for each in lists])
    if len(tests) == 1:
        return _of_spellings(field, words, tests[0], needed)
    return _of_spellings(field, words, lambda text: any(test(text) for test in tests), needed)


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

    pairs = zip(patterns, compiled, strict=True)
    needed = needs.some(
        [needs.pattern(field, source, case_sensitive=regex.options.case_sensitive) for source, regex in pairs]
    )
    return Operator(_words("matches", patterns), of_field, of_value, needed)


def list_test(kind: str, entries: Iterable[str]) -> ListTest:
    """Raises PatternError where the globs are too large together."""
    forms = tuple(
        form
        for entry in entries
        for form in dict.fromkeys((fold_text(kind, entry), *(fold_part(kind, entry) if is_glob(entry) else ())))
    )
    return ListTest(glob_test(forms), forms)


def _parts(kind: str, texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for text in texts for part in fold_part(kind, text)))


def _of_spellings(field: str, words: str, test: Callable[[str], bool], needed: Needs | None) -> Operator:
    each = f"{field} each"

    def of_field(facts: Facts) -> bool:
        for text in facts[each]:  # noqa: SIM110  a generator costs more than most tests
            if test(text):
                return True
        return False

    return Operator(words, of_field, lambda value: any(test(text) for text in value.spellings), needed)


def _words(operator: str, operands: list[str]) -> str:
    return f"{WORDS[operator]} {', '.join(operand or 'empty' for operand in operands)}"

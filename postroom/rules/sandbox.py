"""The Jinja sandbox that templates run in: what they may reach, and what they may cost.

A template is written by an operator, yet it meets mail by strangers: whatever a mail holds, rendering ends soon, with
a text of bounded length. Hence no functions, no operators that make long texts out of short ones, counted loops.
"""

from __future__ import annotations

import html
import json
import operator
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final, cast

from jinja2 import StrictUndefined
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as JINJA_TESTS
from jinja2.utils import pass_context

from postroom.mail.images import place_images
from postroom.mail.targets import Markup, escape
from postroom.rules.template_names import ATTRIBUTES, LOOP, Lazy, MarkdownText

LONGEST_OUTPUT = 1_000_000
"""Characters of one rendered field, and of any text made on the way."""
MOST_ROUNDS = 20_000
"""Of all loops of one template together."""


def as_text(value: object) -> str:
    """How a value prints in a template: nothing for none, lists with commas, times in ISO 8601."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, Iterator)):
        return bounded_join(settled(value), ", ")
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)


def as_markup(markup: Markup, value: object) -> str:
    """How a value prints in a text of the given markup: nothing of a mail acts there."""
    if isinstance(value, MarkdownText):
        if markup is Markup.PLAIN:
            # Who shows no markup has no use for images of the mail either: their words stand.
            return place_images(str(value), {})
        if markup is Markup.MARKDOWN:
            return str(value)
        return value.textile or escape(markup, value.plain)
    return escape(markup, as_text(value))


def bounded_join(parts: Iterable[object], between: str = "") -> str:
    """Raises SecurityError beyond LONGEST_OUTPUT."""
    texts = [part if isinstance(part, str) else as_text(part) for part in parts]
    _bound(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def settled(value: Any) -> Any:
    """The value of an expression with all generators run and nothing undefined in it.

    Raises SecurityError beyond MOST_ROUNDS members, UndefinedError where a member is undefined.
    """
    if isinstance(value, Undefined):
        str(value)  # a strict undefined raises, and says what is missing
    if isinstance(value, dict):
        return {str(key): settled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, Iterator)):
        found = [settled(item) for item in islice(value, MOST_ROUNDS + 1)]
        if len(found) > MOST_ROUNDS:
            raise SecurityError(f"a list gets longer than {MOST_ROUNDS:,} members")
        return found
    return value


class Sandbox(ImmutableSandboxedEnvironment):
    """Raises SecurityError where a template asks for more than it may have."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%"])

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict):
            return self.getitem(obj, attribute)
        if not isinstance(obj, Undefined) and attribute in _ATTRIBUTES.get(type(obj), ()):
            return getattr(obj, attribute)
        if isinstance(obj, Undefined):
            return getattr(obj, attribute)  # raises, naming what is undefined
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        try:
            return obj[argument]
        except (AttributeError, TypeError, LookupError):
            # `map(attribute='name')` comes this way.
            if isinstance(argument, str) and not isinstance(obj, dict):
                return self.getattr(obj, argument)
            return self.undefined(obj=obj, name=argument)

    def is_safe_callable(self, obj: Any) -> bool:
        # Only what `getattr` handed out: bound methods of the types that it knows.
        owner = getattr(obj, "__self__", None)
        return getattr(obj, "__name__", None) in _ATTRIBUTES.get(type(owner), ())

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return bounded_join([left, right])
        if operator == "+" and isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
            _bound(len(left) + len(right))
            return [*left, *right]
        if not _is_number(left) or not _is_number(right):
            hint = "; join texts with ~" if operator in "+%" else ""
            raise SecurityError(f"{operator} is for numbers{hint}")
        result = _OPERATIONS[operator](left, right)
        if isinstance(result, int) and result.bit_length() > 256:
            raise SecurityError("a number gets too large")
        return result


@pass_context
def counted(context: Context, items: Any) -> list[Any]:
    """What each `for` loop runs over, put there when a template is compiled; counts the rounds of all of them."""
    budget = context.parent[BUDGET]
    found = list(islice(items, budget[0] + 1))
    budget[0] -= len(found)
    if budget[0] < 0:
        raise SecurityError(f"loops go on for more than {MOST_ROUNDS:,} rounds")
    return found


BUDGET: Final = " rounds left"
MARKUP: Final = " markup"
"""Name of the count in a context: no template can spell it."""


def _replace(text: object, old: str, new: str, count: int = -1) -> str:
    source, old, new = as_text(text), as_text(old), as_text(new)
    times = len(source) + 1 if not old else source.count(old)
    _bound(len(source) + max(0, len(new) - len(old)) * (times if count < 0 else min(times, count)))
    return source.replace(old, new, count)


def _indent(text: object, width: int = 4, first: bool = False) -> str:
    source = as_text(text)
    lines = source.splitlines()
    _bound(len(source) + len(lines) * abs(int(width)))
    indented = [" " * int(width) + line if line and (index or first) else line for index, line in enumerate(lines)]
    return "\n".join(indented)


def _join(items: Iterable[object], between: str = "") -> str:
    return bounded_join(items, as_text(between))


def _round(value: float, precision: int = 0) -> float:
    return round(value, max(0, min(int(precision), 15)))


def _tojson(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=as_text)


def _bound(length: int) -> None:
    if length > LONGEST_OUTPUT:
        raise SecurityError(f"a text gets longer than {LONGEST_OUTPUT:,} characters")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_OPERATIONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
_ATTRIBUTES: Final[dict[type, frozenset[str]]] = {**ATTRIBUTES, LoopContext: frozenset(LOOP.attributes)}

FILTERS: Final[dict[str, Callable[..., Any]]] = {
    name: cast(Callable[..., Any], JINJA_FILTERS[name])
    for name in [
        "abs",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "filesizeformat",
        "first",
        "float",
        "int",
        "items",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "reverse",
        "select",
        "selectattr",
        "sort",
        "sum",
        "title",
        "trim",
        "truncate",
        "unique",
        "upper",
        "urlencode",
        "wordcount",
    ]
}
FILTERS.update(
    {
        "escape": lambda value: html.escape(as_text(value)),
        "indent": _indent,
        "join": _join,
        "replace": _replace,
        "round": _round,
        "string": as_text,
        "tojson": _tojson,
    }
)
TESTS: Final[dict[str, Callable[..., Any]]] = {
    name: cast(Callable[..., Any], JINJA_TESTS[name])
    for name in [
        "defined",
        "undefined",
        "none",
        "string",
        "number",
        "integer",
        "float",
        "boolean",
        "true",
        "false",
        "mapping",
        "iterable",
        "sequence",
        "odd",
        "even",
        "divisibleby",
        "eq",
        "equalto",
        "==",
        "ne",
        "!=",
        "lt",
        "lessthan",
        "<",
        "le",
        "<=",
        "gt",
        "greaterthan",
        ">",
        "ge",
        ">=",
        "in",
        "lower",
        "upper",
    ]
}


def _make() -> Sandbox:
    # Not optimised: the optimiser would run filters while a template is compiled.
    made = Sandbox(
        undefined=StrictUndefined,
        autoescape=False,
        optimized=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
        cache_size=0,
    )
    made.filters = {**FILTERS, COUNTED: counted, JOINED: bounded_join}
    made.tests = dict(TESTS)
    made.globals = {}
    made.context_class = _LazyContext
    return made


@pass_context
def _finalize(context: Context, value: object) -> object:
    return value if isinstance(value, Undefined) else as_markup(context.parent[MARKUP], value)


class _LazyContext(Context):
    """Makes a Lazy value when its name is first used."""

    def resolve_or_missing(self, key: str) -> Any:
        found = super().resolve_or_missing(key)
        if isinstance(found, Lazy):
            found = self.parent[key] = found.make()
        return found


COUNTED: Final = " counted"
JOINED: Final = " joined"
SANDBOX: Final = _make()

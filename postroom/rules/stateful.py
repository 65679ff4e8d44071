"""`correlate` and `limit` of rules: their keys are made with the plan, and decided where the mail is stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any

from postroom.fields import parse_duration
from postroom.plan import Correlation, Limit
from postroom.problems import Place, did_you_mean, listed
from postroom.rules.field_values import compile_value
from postroom.rules.reading import Reading
from postroom.rules.template_names import Shape
from postroom.rules.templates import FillError, Template, is_template
from postroom.yamlfile import Mapping, Node

OVER = ("suppress", "hold", "drop")
CORRELATE_KEYS = ("by", "window", "group")
LIMIT_KEYS = ("per", "count", "window", "over")
NOT_YET = frozenset(("message_url", "reply_address"))
"""Names of templates that have no value before the mail is stored."""
_LONGEST_KEY = 500
_ONE_NAME = re.compile(r"\{\{-?\s*(\w+)\s*-?\}\}")


@dataclass(frozen=True, slots=True)
class CorrelateRule:
    """`correlate` of a rule."""

    by: Template | str
    window: float
    group: str

    def correlation(self, rule: str, names: MappingType[str, Any]) -> Correlation | None:
        """None where the key is empty. Raises FillError."""
        key = _key(self.by, names)
        return Correlation(rule, self.group, key, self.window) if key else None


@dataclass(frozen=True, slots=True)
class LimitRule:
    """`limit` of a rule."""

    per: Template | str
    count: int
    window: float
    over: str

    def limit(self, rule: str, names: MappingType[str, Any]) -> Limit:
        """Raises FillError."""
        return Limit(rule, _key(self.per, names), self.count, self.window, self.over)


def read_correlate(
    node: Node, where: str, group: str, names: MappingType[str, Shape], reading: Reading
) -> CorrelateRule | None:
    """None, and reported, where it is not valid. `group`: where it names none."""
    what = f"correlate of {where}"
    parts = _parts(node, what, CORRELATE_KEYS, ("by", "window"), reading, '{by: "{{ alert.host }}", window: 3d}')
    if parts is None:
        return None
    by, window = _template(parts["by"], f"by of {what}", names, reading), _window(parts["window"], what, reading)
    if "group" in parts:
        scalar = reading.text(parts["group"], f"group of {what}")
        if scalar is None:
            return None
        if is_template(scalar.value):
            reading.report(scalar, f"group of {what} is a name, not a template; what differs stands in by")
            return None
        group = scalar.value
    return None if by is None or window is None else CorrelateRule(by, window, group)


def read_limit(node: Node, where: str, names: MappingType[str, Shape], reading: Reading) -> LimitRule | None:
    """None, and reported, where it is not valid."""
    what = f"limit of {where}"
    example = '{per: "{{ from }}", count: 5, window: 1h, over: suppress}'
    parts = _parts(node, what, LIMIT_KEYS, ("per", "count", "window"), reading, example)
    if parts is None:
        return None
    per, window = _template(parts["per"], f"per of {what}", names, reading), _window(parts["window"], what, reading)
    count = reading.text(parts["count"], f"count of {what}")
    number = int(count.value) if count is not None and count.value.isdecimal() and len(count.value) < 9 else 0
    if count is not None and number < 1:
        reading.report(count, f"count of {what} must be a whole number from 1")
    over = "suppress"
    if "over" in parts:
        scalar = reading.text(parts["over"], f"over of {what}")
        over = "" if scalar is None else scalar.value
        if scalar is not None and over not in OVER:
            reading.report(scalar, f"over of {what} must be one of {listed(OVER)}{did_you_mean(over, OVER)}")
    return (
        None
        if per is None or window is None or not number or over not in OVER
        else LimitRule(per, number, window, over)
    )


def _parts(
    node: Node, what: str, known: tuple[str, ...], needed: tuple[str, ...], reading: Reading, example: str
) -> dict[str, Node] | None:
    if not isinstance(node, Mapping):
        reading.report(node, f"{what} takes a mapping such as {example}")
        return None
    good = True
    for key, _ in node.entries:
        if key.value not in known:
            reading.unknown(key, "key", known, what)
            good = False
    parts = {key.value: value for key, value in node.entries}
    for name in needed:
        if name not in parts:
            reading.report(node, f"{what}: '{name}' is missing, as in {example}")
            good = False
    return parts if good else None


def names_before_storing(names: MappingType[str, Shape]) -> dict[str, Shape]:
    """Those of the names that have a value while the mail is routed."""
    return {name: shape for name, shape in names.items() if name not in NOT_YET}


def early_report(what: str, reading: Reading) -> Callable[[Place, str], None]:
    """Reports problems of a template that is filled in then; a name without a value yet is told as such."""

    def report(place: Place, message: str) -> None:
        early = next((name for name in NOT_YET if f"unknown name '{name}'" in message), None)
        reading.report(place, f"{what}: '{early}' is not known before the mail is stored" if early else message)

    return report


def _template(node: Node, what: str, names: MappingType[str, Shape], reading: Reading) -> Template | str | None:
    scalar = reading.text(node, what)
    if scalar is None:
        return None
    before = len(reading.problems)
    known, report = names_before_storing(names), early_report(what, reading)
    if not is_template(scalar.value) and scalar.value.partition(".")[0] in names:
        mend = f'for its value write "{{{{ {scalar.value} }}}}"'
        report(scalar.place, f"{what}: '{scalar.value}' is here the same text for all mails; {mend}")
    if (whole := _ONE_NAME.fullmatch(scalar.value)) and (shape := known.get(whole[1])) is not None:
        if shape.item is not None:
            first = "[0]" if shape.item.attributes else " | join(' ')"
            report(scalar.place, f"{what} must be a text, and '{whole[1]}' is a list; write such as {whole[1]}{first}")
        elif shape.attributes and not shape.methods:
            parts = ", ".join(f"{whole[1]}.{part}" for part in shape.attributes)
            report(scalar.place, f"{what} must be a text, and '{whole[1]}' has parts; write one of {parts}")
    value = compile_value(scalar, what, known, report)
    return value if len(reading.problems) == before else None


def _window(node: Node, what: str, reading: Reading) -> float | None:
    scalar = reading.text(node, f"window of {what}")
    if scalar is None:
        return None
    try:
        window = float(parse_duration(scalar.value))
    except ValueError as error:
        reading.report(scalar, f"window of {what}: {error}")
        return None
    if not window:
        reading.report(scalar, f"window of {what} must be longer than nothing")
        return None
    return window


def _key(source: Template | str, names: MappingType[str, Any]) -> str:
    if isinstance(source, str):
        return source
    value = source.render(names)
    if isinstance(value, (list, dict)):
        raise FillError("the key is a list, not a text")
    if value is None:
        return ""
    return " ".join(str(value).split()).casefold()[:_LONGEST_KEY]

"""From YAML to conditions on what is no text: numbers, attachments, networks, times, items."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import date
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from postroom.fields import parse_size
from postroom.message import Attachment
from postroom.problems import did_you_mean
from postroom.rules import measures
from postroom.rules.conditions import Condition
from postroom.rules.measures import COMPARISONS, SIZES, WEEKDAYS, Comparison, Span
from postroom.rules.operators import Operator
from postroom.rules.reading import Reading
from postroom.yamlfile import Mapping, Node, Scalar, Sequence

T = TypeVar("T")
ReadOperators = Callable[[str, Node], list[Operator] | None]
"""Reads the test of a text: its label, then the node."""
_ATTACHMENT_KEYS = ("name", "type", "size")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_RECEIVED_KEYS = ("weekday", "between", "from", "until", "date", "timezone")


def read_number(reading: Reading, name: str, node: Node, where: str) -> Condition | None:
    """The test of one of NUMBERS. None, and reported, where it is not valid; so it is for all functions here."""
    if isinstance(node, Mapping) and (given := node.get("exists")) is not None:
        wanted = reading.flag(given, f"exists of {name} in {where}")
        if len(node.entries) > 1:
            reading.report(node, f"{name} in {where}: exists stands alone")
            return None
        return None if wanted is None else measures.number(name, [], wanted)
    comparisons = read_comparisons(reading, name, node, where, is_size=name in SIZES)
    return None if comparisons is None else measures.number(name, comparisons)


def read_comparisons(reading: Reading, label: str, node: Node, where: str, *, is_size: bool) -> list[Comparison] | None:
    """`10`, `[1, 2]` or `{above: 1MB, ..}`."""
    what = f"the test of {label} in {where}"
    whole = label == "attachment_count"
    if not isinstance(node, Mapping):
        operands = _operands(reading, node, what, is_size, whole)
        return None if operands is None else [measures.compared("is", operands)]
    if not node.entries:
        reading.report(node, f"{what} is empty")
        return None
    found: dict[str, list[tuple[str, float]]] = {}
    for key, value in node.entries:
        if key.value not in COMPARISONS:
            known = (*COMPARISONS, "exists") if label in measures.NUMBERS else COMPARISONS
            reading.unknown(key, "operator", known, what)
            continue
        operands = _operands(reading, value, f"{key.value} of {label} in {where}", is_size, whole)
        if operands is not None:
            found[key.value] = operands
    if len(found) < len(node.entries):
        return None
    comparisons = [measures.compared(operator, operands) for operator, operands in found.items()]
    least = [min(value for _, value in found[each]) for each in ("above", "at_least") if each in found]
    most = [max(value for _, value in found[each]) for each in ("below", "at_most") if each in found]
    strict = not found.keys().isdisjoint(("above", "below"))
    if least and most and (max(least) > min(most) or (max(least) == min(most) and strict)):
        reading.report(node, f"{what}: nothing {' and '.join(each.words for each in comparisons)}")
        return None
    return comparisons


def _operands(reading: Reading, node: Node, what: str, is_size: bool, whole: bool) -> list[tuple[str, float]] | None:
    scalars = reading.texts(node, what)
    if scalars is None:
        return None
    found: list[tuple[str, float]] = []
    for scalar in scalars:
        try:
            if is_size:
                found.append((scalar.value, float(parse_size(scalar.value))))
            elif whole and not scalar.value.strip().isdecimal():
                raise ValueError(f"'{scalar.value}' is no whole number")
            elif re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,15})?", scalar.value.strip()):
                found.append((scalar.value, float(scalar.value)))
            else:
                raise ValueError(f"'{scalar.value}' is no number")
        except ValueError as error:
            reading.report(scalar, f"{what}: {error}")
    return found if len(found) == len(scalars) else None


def read_attachment(reading: Reading, node: Node, where: str, texts: ReadOperators) -> Condition | None:
    """`attachment: {name, type, size}`."""
    if isinstance(node, Mapping) and (given := node.get("exists")) is not None:
        wanted = reading.flag(given, f"exists of attachment in {where}")
        if len(node.entries) > 1:
            reading.report(node, f"attachment in {where}: exists stands alone; a test of a name asks for one already")
            return None
        return None if wanted is None else measures.attachments_there(wanted)
    found = read_file_test(reading, node, f"attachment in {where}", where, texts)
    return None if found is None else measures.some_attachment(*found)


def read_file_test(
    reading: Reading, node: Node, what: str, where: str, texts: ReadOperators
) -> tuple[Callable[[Attachment], bool], str] | None:
    """The tests of one attachment, and how they read in a sentence."""
    if not isinstance(node, Mapping) or not node.entries:
        reading.report(node, f"{what} takes tests of name, type and size, such as {{name: {{ends_with: .pdf}}}}")
        return None
    names: list[Operator] = []
    types: list[Operator] = []
    sizes: list[Comparison] = []
    words: list[str] = []
    good = True
    for key, value in node.entries:
        if key.value in ("name", "type"):
            operators = texts(f"attachment {key.value}", value)
            good = good and operators is not None
            (names if key.value == "name" else types).extend(operators or ())
            words += [f"{key.value} {each.words}" for each in operators or ()]
        elif key.value == "size":
            comparisons = read_comparisons(reading, "attachment size", value, where, is_size=True)
            good = good and comparisons is not None
            sizes += comparisons or ()
            words += [f"size {each.words}" for each in comparisons or ()]
        else:
            reading.unknown(key, "key", _ATTACHMENT_KEYS, what)
            good = False
    if not good:
        return None
    return measures.file_test(names, types, sizes), f"attachment with {' and '.join(words)}"


def read_ip(reading: Reading, node: Node, where: str) -> Condition | None:
    """`ip: {within: 192.0.2.0/24}`, the address itself, or whether it is known."""
    if isinstance(node, Mapping) and (there := node.get("exists")) is not None and len(node.entries) == 1:
        wanted = reading.flag(there, f"exists of ip in {where}")
        return None if wanted is None else measures.client_known(wanted)
    given = node
    if isinstance(node, Mapping):
        for key, _ in node.entries:
            if key.value not in ("within", "is"):
                reading.unknown(key, "operator", ("within", "exists"), f"the test of ip in {where}")
                return None
        if len(node.entries) != 1:
            reading.report(node, f"the test of ip in {where} takes within: with networks, such as 192.0.2.0/24")
            return None
        given = node.entries[0][1]
    scalars = reading.texts(given, f"within of ip in {where}")
    if scalars is None:
        return None
    networks = []
    for scalar in scalars:
        try:
            networks.append(ipaddress.ip_network(scalar.value.strip(), strict=False))
        except ValueError:
            reading.report(
                scalar, f"within of ip in {where}: '{scalar.value}' is no network; write such as 192.0.2.0/24"
            )
    return measures.within(networks, [each.value for each in scalars]) if len(networks) == len(scalars) else None


def read_item(reading: Reading, node: Node, where: str) -> Condition | None:
    """`item: {exists: true}`, or names of destinations."""
    if isinstance(node, Mapping):
        given = node.get("exists")
        if given is None or len(node.entries) != 1:
            reading.report(node, f"item in {where} takes a destination, or {{exists: true}}")
            return None
        wanted = reading.flag(given, f"exists of item in {where}")
        return None if wanted is None else measures.items(None, wanted, [])
    scalars = reading.texts(node, f"the test of item in {where}")
    if scalars is None:
        return None
    known = reading.destinations
    for scalar in scalars:
        if known is not None and scalar.value not in known:
            hint = did_you_mean(scalar.value, known)
            reading.report(scalar, f"item in {where}: no destination '{scalar.value}' in config.yaml{hint}")
            return None
    texts = [scalar.value for scalar in scalars]
    return measures.items(frozenset(texts), True, texts)


def read_received(reading: Reading, node: Node, where: str) -> Condition | None:
    """`received: {weekday, between, from, until, date, timezone}`."""
    what = f"received in {where}"
    if not isinstance(node, Mapping) or not node.entries:
        reading.report(node, f"{what} takes a mapping, such as {{weekday: [mon, tue], between: 09:00-17:00}}")
        return None
    before = len(reading.problems)
    for key, _ in node.entries:
        if key.value not in _RECEIVED_KEYS:
            reading.unknown(key, "key", _RECEIVED_KEYS, what)
    parts = dict(zip(node.keys(), (value for _, value in node.entries), strict=True))
    zone = _zone(reading, parts.get("timezone"), what)
    weekdays = _each(reading, parts.get("weekday"), f"weekday of {what}", _weekdays)
    between = _each(reading, parts.get("between"), f"between of {what}", _minutes)
    for name in ("from", "until"):
        if isinstance(given := parts.get(name), Sequence):
            reading.report(given, f"{name} of {what} takes one date; several stand in date")
    since = _each(reading, parts.get("from"), f"from of {what}", _date)
    until = _each(reading, parts.get("until"), f"until of {what}", _date)
    dates = _each(reading, parts.get("date"), f"date of {what}", _date)
    if since and until and since[0] > until[0]:
        reading.report(node, f"{what}: it ends ({until[0]}) before it begins ({since[0]})")
    if dates and not any((not since or since[0] <= each) and (not until or each <= until[0]) for each in dates):
        reading.report(node, f"{what}: none of its dates lies between from and until")
    if parts.keys() == {"timezone"}:
        reading.report(node, f"{what}: timezone stands beside weekday, between, from, until or date")
    if len(reading.problems) > before:
        return None
    words = " and ".join(f"{key.value} {_told(value)}" for key, value in node.entries)
    return measures.received(
        Span(
            words=words,
            zone=zone or reading.zone,
            weekdays=None if weekdays is None else frozenset(day for days in weekdays for day in days),
            between=tuple(between or ()),
            since=since[0] if since else None,
            until=until[0] if until else None,
            dates=None if dates is None else frozenset(dates),
        )
    )


def _told(node: Node) -> str:
    items = node.items if isinstance(node, Sequence) else (node,)
    return ", ".join(item.value for item in items if isinstance(item, Scalar))


def _zone(reading: Reading, node: Node | None, what: str) -> ZoneInfo | None:
    scalar = None if node is None else reading.text(node, f"timezone of {what}")
    if scalar is None:
        return None
    try:
        return ZoneInfo(scalar.value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        reading.report(
            scalar, f"timezone of {what}: there is no time zone '{scalar.value}'; write such as Europe/Berlin"
        )
        return None


def _each(reading: Reading, node: Node | None, what: str, parse: Callable[[str], T]) -> list[T] | None:
    scalars = None if node is None else reading.texts(node, what)
    if scalars is None:
        return None
    found: list[T] = []
    for scalar in scalars:
        try:
            found.append(parse(scalar.value.strip()))
        except ValueError as error:
            reading.report(scalar, f"{what}: {error}")
    return found


def _weekdays(text: str) -> list[int]:
    parts = [part.strip().lower() for part in text.split("-")]
    days = [part[:3] for part in parts]
    known = all(any(day.startswith(part) for day in _DAYS) and len(part) > 2 for part in parts)
    if len(days) > 2 or not known:
        raise ValueError(f"'{text}' is no weekday; write such as mon, or mon-fri")
    first, last = WEEKDAYS.index(days[0]), WEEKDAYS.index(days[-1])
    return [(first + step) % 7 for step in range((last - first) % 7 + 1)]


def _minutes(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", text)
    start, end = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])) if found else (0, 0)
    if found is None or start >= 1440 or end > 1440 or start == end or max(found[2], found[4]) > "59":
        raise ValueError(f"'{text}' is no span of a day; write such as 09:00-17:00 or 22:00-06:00")
    return start, end


def _date(text: str) -> date:
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text}' is no date; write such as 2026-12-24") from None

"""Actions of rules: what is sent to which destination, and with which content."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

from postroom.fields import FieldSet, Spec, specs
from postroom.mail.targets import Markup
from postroom.message import Attachment, Message
from postroom.plan import Content, Step, Verdict
from postroom.problems import Place, did_you_mean, listed
from postroom.rules.condition_reader import ConditionReader, Extracted
from postroom.rules.defaults import NO_DEFAULTS, Defaults
from postroom.rules.field_values import Compiled, check_value, coerce, compile_value, render_value, text_of
from postroom.rules.measure_reader import read_file_test
from postroom.rules.reading import EMPTY, Reading
from postroom.rules.stateful import early_report, names_before_storing
from postroom.rules.template_names import Shape, values_of
from postroom.rules.templates import FillError, Template
from postroom.yamlfile import Mapping, Node, Scalar, Sequence

FileTest = Callable[[Attachment], bool]
COMMON = ("title", "body", "footer", "attachments")
"""Fields that every destination takes."""
BUILTINS = {"update": ("body", "state", "destination"), "hold": ("reason",), "drop": ("reason",)}
"""Actions that go to no destination of their own, with their fields."""
STATES = ("open", "closed")
_BESIDE = ("reuse", "per_recipient")
"""What may stand beside the name of a destination."""
NO_SUBJECT = "(no subject)"
"""The title where a mail gives none."""
_BODIES = {
    (False, False): Template("{{ text }}"),
    (False, True): Template("{{ reply_text }}"),
    (True, False): Template("{{ markdown }}"),
    (True, True): Template("{{ reply_markdown }}"),
}
"""The body where a rule gives none, by whether the destination shows markup and whether the mail continues an item."""


class RenderError(ValueError):
    """The content of a step cannot be made; `reason` is one sentence that names the rule and the field."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Action:
    """One entry of a rule's `then`."""

    destination: str
    """Empty for `hold` and `drop`, and for an `update` that names none."""
    fields: MappingType[str, Compiled]
    """By name, those of COMMON (but `attachments`) included."""
    attachments: FileTest | None = None
    """Which of the mail's attachments go along; None: all."""
    builtin: str = ""
    """`update`, `hold` or `drop`; empty where it goes to a destination."""
    reuse: bool = True
    per_recipient: bool = False

    @property
    def label(self) -> str:
        """What people call it."""
        return self.builtin or self.destination

    def verdict(self, rule: str, names: Callable[[], MappingType[str, Any]]) -> Verdict:
        """Of `hold` and `drop`. A reason that cannot be made is told as it is written."""
        given = self.fields.get("reason")
        try:
            reason = text_of(given, names()) if isinstance(given, Template) else given or ""
        except FillError:
            reason = given.source if isinstance(given, Template) else ""
        return Verdict(rule, " ".join(reason.split())[:500])


def read_actions(
    node: Node, where: str, names: MappingType[str, Shape], reading: Reading, defaults: Defaults = NO_DEFAULTS
) -> list[Action] | None:
    """A rule's `then`. None, and reported, where something is not valid."""
    if not isinstance(node, Sequence):
        shown = next(iter(node.keys()), "jira") if isinstance(node, Mapping) else node.value or "jira"
        entry = f"{shown}: {{..}}" if isinstance(node, Mapping) else shown
        reading.report(node, f"then in {where} takes a list of actions; write then: [{entry}]")
        return None
    if not node.items:
        reading.report(node, f"then in {where} is an empty list; leave it out, or name a destination")
        return None
    found = [_read(item, where, names, reading, defaults) for item in node.items]
    good = [action for action in found if action is not None]
    return good if len(good) == len(found) else None


def render(
    action: Action,
    step: Step,
    message: Message,
    *,
    message_url: str,
    reply_address: str,
    continues: bool,
    fields: FieldSet,
) -> Content:
    """What a step sends. Raises RenderError."""
    names = values_of(
        message, message_url=message_url, reply_address=reply_address, rule=step.rule, extracted=step.values
    )
    if action.builtin:
        return _render_update(action, step, names, fields.markup)
    declared = _specs(fields.fields)
    field = ""
    own: dict[str, Any] = {}
    texts = dict.fromkeys(COMMON[:3], "")
    try:
        for field in texts:
            # A title is one line without markup everywhere.
            markup = Markup.PLAIN if field == "title" else fields.markup
            if field in action.fields:
                texts[field] = text_of(action.fields[field], names, markup)
            elif field == "title":
                texts[field] = names["subject"]
            elif field == "body":
                texts[field] = text_of(_BODIES[markup is not Markup.PLAIN, continues], names, markup)
        for field, value in action.fields.items():
            if field in texts:
                continue
            if field not in declared:
                raise FillError(f"{fields.kind} has no such field")
            own[field] = coerce(declared[field].type, render_value(value, names))
    except (FillError, ValueError) as error:
        raise RenderError(f"rule '{step.rule}', {step.destination}: {field}: {error}") from error
    return Content(
        title=_one_line(texts["title"]) or NO_SUBJECT,
        body=texts["body"],
        footer=texts["footer"],
        fields=own,
        attachments=tuple(
            position
            for position, attachment in enumerate(message.attachments)
            if action.attachments is None or action.attachments(attachment)
        ),
    )


def _render_update(action: Action, step: Step, names: dict[str, Any], markup: Markup) -> Content:
    """What an `update` sends: a comment of what is new, and what the item is to be."""
    body = action.fields.get("body", _BODIES[markup is not Markup.PLAIN, True])
    try:
        text = text_of(body, names, markup)
    except FillError as error:
        raise RenderError(f"rule '{step.rule}', update: body: {error}") from error
    state = str(action.fields.get("state", ""))
    # As with any comment, the files of the mail go along: no other action may be there to bring them.
    files = tuple(range(len(names["attachments"])))
    return Content(
        title=_one_line(names["subject"]) or NO_SUBJECT, body=text, attachments=files, state=state, update=True
    )


def _read(
    node: Node, where: str, names: MappingType[str, Shape], reading: Reading, defaults: Defaults
) -> Action | None:
    if isinstance(node, Scalar):
        if node.is_null or not node.value:
            reading.report(node, f"an action in {where} {EMPTY}")
            return None
        return _action(node, Mapping((), node.place), where, names, reading, defaults)
    entries = node.entries if isinstance(node, Mapping) else ()
    named = [(key, value) for key, value in entries if key.value not in _BESIDE]
    if not isinstance(node, Mapping) or len(named) != 1:
        message = f"an action in {where} must be the name of a destination, or its name with fields"
        mend = "; put a - before each destination, and indent its fields below it" if len(named) > 1 else ""
        known = (*_BESIDE, *(reading.destinations or ()))
        for key in (key for key, _ in named if len(named) > 1 and key.value not in known):
            if hint := did_you_mean(key.value, _BESIDE):
                reading.report(key, f"unknown key '{key.value}' beside an action in {where}{hint}")
                return None
        reading.report(node, f"{message}, such as - jira: {{title: ..}}{mend}")
        return None
    ((key, fields),) = named
    if isinstance(fields, Scalar) and fields.is_null:
        fields = Mapping((), key.place)
    if not isinstance(fields, Mapping):
        first = BUILTINS.get(key.value, COMMON)[0]
        example = f"{key.value}: {{{first}: ..}}"
        reading.report(fields, f"{key.value} in {where} takes a mapping of fields, such as {example}")
        return None
    action = _action(key, fields, where, names, reading, defaults)
    beside = {
        name.value: reading.flag(value, f"{name.value} of {key.value} in {where}")
        for name, value in entries
        if name.value in _BESIDE
    }
    if beside and key.value in BUILTINS:
        for name in (name for name, _ in entries if name.value in beside):
            reading.report(name, f"{name.value} in {where} stands beside a destination, not beside {key.value}")
        return None
    if action is None or None in beside.values():
        return None
    return replace(action, reuse=beside.get("reuse") is not False, per_recipient=beside.get("per_recipient") is True)


def _action(
    name: Scalar, fields: Mapping, where: str, names: MappingType[str, Shape], reading: Reading, defaults: Defaults
) -> Action | None:
    if name.value in BUILTINS:
        return _builtin(name, fields, names, reading)
    declared: FieldSet | None = None
    if reading.destinations is not None:
        declared = reading.destinations.get(name.value)
        if declared is None:
            hint = did_you_mean(name.value, (*reading.destinations, *BUILTINS))
            there = f"; there are {listed(reading.destinations)}" if reading.destinations else "; it has none"
            reading.report(name, f"no destination '{name.value}' in config.yaml{hint or there}")
            return None
    merged = defaults.merged(name.value, reading.kinds.get(name.value), fields)
    return _fields(name, merged, declared, where, names, reading)


def _builtin(name: Scalar, fields: Mapping, names: MappingType[str, Shape], reading: Reading) -> Action | None:
    known = BUILTINS[name.value]
    before = len(reading.problems)
    compiled: dict[str, Compiled] = {}
    destination = ""
    for key, value in fields.entries:
        what = f"{name.value}: {key.value}"
        if key.value not in known:
            reading.unknown(key, "field", known, name.value)
        elif (text := reading.text(value, what)) is None:
            continue
        elif key.value == "state":
            if text.value not in STATES:
                reading.report(text, f"{what} must be open or closed{did_you_mean(text.value, STATES)}")
            compiled["state"] = text.value
        elif key.value == "destination":
            destination = text.value
            if reading.destinations is not None and destination not in reading.destinations:
                hint = did_you_mean(destination, reading.destinations)
                reading.report(text, f"{what}: no destination '{destination}' in config.yaml{hint}")
        elif key.value == "reason":
            known_now = names_before_storing(names)
            compiled["reason"] = compile_value(text, what, known_now, early_report(what, reading))
        else:
            compiled[key.value] = compile_value(text, what, names, _report(reading))
    if len(reading.problems) > before:
        return None
    return Action(destination, compiled, builtin=name.value)


def _fields(
    name: Scalar,
    fields: Mapping,
    declared: FieldSet | None,
    where: str,
    names: MappingType[str, Shape],
    reading: Reading,
) -> Action | None:
    own = {} if declared is None else _specs(declared.fields)
    before = len(reading.problems)
    compiled: dict[str, Compiled] = {}
    attachments: FileTest | None = None
    for key, value in fields.entries:
        what = f"{name.value}: {key.value}"
        if key.value == "attachments":
            attachments = _attachments(value, what, where, reading)
            continue
        if declared is not None and key.value not in COMMON and key.value not in own:
            if key.value in _BESIDE:
                example = f"{{{name.value}: {{..}}, {key.value}: {value.value if isinstance(value, Scalar) else '..'}}}"
                reading.report(key, f"{name.value}: {key.value} stands beside {name.value}, not in it: {example}")
                continue
            takes = f"it takes {listed((*COMMON, *own))}"
            hint = did_you_mean(key.value, (*COMMON, *own))
            reading.report(key, f"{name.value}: '{key.value}' is not a field of {name.value}; {takes}{hint}")
            continue
        if key.value in COMMON:
            check_value(str, value, what, _report(reading))
        elif declared is not None:
            check_value(own[key.value].type, value, what, _report(reading))
        compiled[key.value] = compile_value(value, what, names, _report(reading))
    for spec in own.values():
        if spec.required and fields.get(spec.name) is None:
            doc = f" ({spec.doc})" if spec.doc else ""
            reading.report(name, f"{name.value}: the field '{spec.name}' is missing{doc}")
    return Action(name.value, compiled, attachments) if len(reading.problems) == before else None


def _attachments(node: Node, what: str, where: str, reading: Reading) -> FileTest | None:
    if isinstance(node, Mapping):
        reader = ConditionReader(reading, where, Extracted())
        found = read_file_test(reading, node, what, where, reader.text_operators)
        return None if found is None else found[0]
    if isinstance(node, Scalar) and node.value in ("all", "none"):
        return None if node.value == "all" else _no_file
    reading.report(node, f"{what} must be all, none, or tests such as {{name: {{ends_with: .pdf}}}}")
    return None


def _no_file(attachment: Attachment) -> bool:
    return False


def _report(reading: Reading) -> Any:
    def report(place: Place, message: str) -> None:
        reading.report(place, message)

    return report


_specs = cast(Callable[[type[Any]], MappingType[str, Spec]], lru_cache(maxsize=256)(specs))
# To read type hints takes longer than all else that a rule's action needs.


def _one_line(text: str) -> str:
    return " ".join(part.strip() for part in text.splitlines()).strip()

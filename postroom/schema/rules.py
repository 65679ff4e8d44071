"""The schema of rule files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from postroom.fields import Seconds, Spec, specs
from postroom.integration import Integration
from postroom.rules.actions import _BESIDE, BUILTINS, COMMON, STATES
from postroom.rules.extracts import KEYS as EXTRACT_KEYS
from postroom.rules.facts import FIELDS
from postroom.rules.loader import _FILE_KEYS, _RULE_KEYS
from postroom.rules.modes import WORDS as MODES
from postroom.rules.stateful import CORRELATE_KEYS, LIMIT_KEYS, OVER
from postroom.schema import words
from postroom.schema.conditions import HEADER, VALUE, condition_schemas, value_name
from postroom.schema.values import (
    TEMPLATE,
    Schema,
    choice,
    described,
    flag,
    mapping,
    nullable,
    one_or_list,
    setting_of,
    text,
    value_of,
)


def rules_schema(kinds: Mapping[str, type[Integration]], destinations: Mapping[str, str] | None) -> Schema:
    """The schema of rule files.

    `destinations` are the kinds of those in config.yaml by name, and no others may stand in a rule. None: the kinds'
    names are offered, and any other name is fine.
    """
    names = {kind: kind for kind in kinds} if destinations is None else dict(destinations)
    kinds_used = {kind: kinds[kind] for kind in dict.fromkeys(names.values())}
    definitions: dict[str, Schema] = {
        **condition_schemas(names),
        **_rule_schemas(),
        "extract": _extract(),
        "defaults": _defaults({**{kind: kind for kind in kinds_used}, **names}, destinations is None),
        "action": _action(names, kinds, is_open=destinations is None),
        **{f"fields_{name}": _fields(kind) for name, kind in kinds_used.items()},
        **{f"fields_{name}": _built_in(name, names, is_open=destinations is None) for name in BUILTINS},
    }
    if destinations is None:
        definitions["fields"] = nullable({**_fields(None), "additionalProperties": True})
    parts = _file_parts(names, is_open=destinations is None)
    file = {key: described(nullable(parts.get(key, {})), words.FILE_KEYS.get(key)) for key in _FILE_KEYS}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Postroom: a rule file",
        **nullable(mapping(file)),
        "definitions": definitions,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _file_parts(names: Mapping[str, str], *, is_open: bool) -> dict[str, Schema]:
    texts: Schema = {"type": "array", "items": text()}
    listed = {"anyOf": [texts, {"type": "object", "additionalProperties": text(empty=True)}]}
    return {
        "lists": {"type": "object", "additionalProperties": listed},
        "conditions": {
            "type": "object",
            "propertyNames": {"not": {"enum": list(words.WORDS)}},
            "additionalProperties": _ref("when"),
        },
        "defaults": {"type": "object", "allOf": [_ref("defaults")]},
        "rules": {"type": "array", "items": _ref("rule")},
        "tests": {"type": "array", "items": _test(names, is_open=is_open)},
    }


def _rule_schemas() -> dict[str, Schema]:
    """A rule; and one that stands where its parents extract values."""
    made = {}
    for inner in ("", "inner_"):
        parts: dict[str, Schema] = {
            "name": text(),
            "description": text(empty=True),
            "tags": one_or_list(text(), least=0),
            "mode": {"anyOf": [choice(words.told(MODES, words.MODES)), _share()]},
            "when": _ref(f"{inner}when"),
            "extract": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": f"^{VALUE}$"},
                "additionalProperties": _ref("extract"),
            },
            "then": {"type": "array", "minItems": 1, "items": _ref("action")},
            "rules": {"type": "array"},
            "first_only": flag(),
            "stop": flag(),
            "correlate": _keyed(
                words.told(CORRELATE_KEYS, words.CORRELATE), {"window": value_of(Seconds, None)}, ("by", "window")
            ),
            "limit": _keyed(
                words.told(LIMIT_KEYS, words.LIMIT),
                {
                    "count": {"type": ["integer", "string"], "minimum": 1, "pattern": r"^0*[1-9]\d{0,7}$"},
                    "window": value_of(Seconds, None),
                    "over": choice(words.told(OVER, words.OVER)),
                },
                ("per", "count", "window"),
            ),
            "defaults": _ref("defaults"),
        }
        rule = mapping(
            {key: described(parts.get(key, {}), words.RULE_KEYS.get(key)) for key in _RULE_KEYS},
            required=("name", "when"),
            anyOf=[{"required": [key]} for key in ("then", "rules", "stop")],
        )
        below = {"properties": {"rules": {"items": _ref("inner_rule")}}}
        if inner:
            rule["allOf"] = [below]
        else:
            same = {"properties": {"rules": {"items": _ref("rule")}}}
            rule |= {"if": {"required": ["extract"]}, "then": below, "else": same}
        made[f"{inner}rule"] = rule
    return made


def _keyed(meanings: Mapping[str, str], parts: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    """A mapping with these keys; what stands not in `parts` is a text."""
    return mapping({key: described(parts.get(key, text()), told) for key, told in meanings.items()}, required=required)


def _share() -> Schema:
    return {"type": "string", "pattern": r"^\s*\d{1,3}(\.\d{1,3})? ?%\s*$"}


def _extract() -> Schema:
    field: Schema = {
        "anyOf": [
            {"enum": list(FIELDS)},
            {"type": "string", "pattern": rf"^header\.{HEADER}$"},
            {"type": "string", "pattern": value_name()},
        ]
    }
    default = {"anyOf": [text(empty=True), {"type": "object", "additionalProperties": text(empty=True)}]}
    parts = {"from": field, "matches": one_or_list(text()), "case_sensitive": flag(), "default": default}
    made = _keyed(words.told(EXTRACT_KEYS, words.EXTRACT), parts, ("from",))
    return {**made, "anyOf": [{"required": ["matches"]}, {"required": ["map"]}]}


def _action(names: Mapping[str, str], kinds: Mapping[str, type[Integration]], *, is_open: bool) -> Schema:
    """The name of a destination, or its name with fields; so for what is built in."""
    built_in = words.told(BUILTINS, words.BUILT_IN)
    plain = choice({**{name: _told(kinds[kind]) for name, kind in names.items()}, **built_in})
    entries = {name: described(_ref(f"fields_{kind}"), _told(kinds[kind])) for name, kind in names.items()}
    entries |= {name: described(_ref(f"fields_{name}"), told) for name, told in built_in.items()}
    entries |= {name: described(flag(), told) for name, told in words.told(_BESIDE, words.BESIDE).items()}
    made = mapping(entries, **_counted())
    if is_open:
        made["additionalProperties"] = _ref("fields")
        plain = {"anyOf": [plain, text()]}
    return {"anyOf": [plain, made]}


def _counted() -> Schema:
    """One name stands in an action, whatever stands beside it; nothing stands beside what is built in."""

    def exactly(count: int) -> Schema:
        return {"minProperties": count, "maxProperties": count}

    there = [{"required": [name]} for name in _BESIDE]
    made = {"if": {"anyOf": there}, "then": exactly(2), "else": exactly(1)}
    made = {"if": {"allOf": there}, "then": exactly(len(there) + 1), "else": made}
    return {"if": {"anyOf": [{"required": [name]} for name in BUILTINS]}, "then": exactly(1), "else": made}


def _told(kind: type[Integration]) -> str:
    return f"{kind.summary} (Kind {kind.kind}.)"


def _fields(kind: type[Integration] | None) -> Schema:
    """What a rule fills in for a destination. No field must be there: defaults may give it, also those of other files.

    `labels+` adds to what the defaults give.
    """
    chosen: Schema = {"anyOf": [{"enum": ["all", "none"]}, _ref("attachment_test")]}
    made: dict[str, Schema] = {}
    for name in COMMON:
        made[name] = described(chosen if name == "attachments" else text(empty=True), words.COMMON.get(name))
    own: Mapping[str, Spec] = {} if kind is None else specs(kind.Fields)
    for name, spec in own.items():
        if name in made:
            continue
        made[name] = setting_of(spec, TEMPLATE)
        if _is_list(spec.type):
            made[f"{name}+"] = described(made[name], f"Added to the `{name}` that the defaults give:")
    return nullable(mapping(made))


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list or any(get_origin(part) is list for part in get_args(kind))


def _built_in(name: str, destinations: Mapping[str, str], *, is_open: bool) -> Schema:
    known: Schema = {"enum": list(destinations)}
    parts: dict[str, Schema] = {
        "state": {"enum": list(STATES)},
        "destination": {"anyOf": [known, text()]} if is_open else known,
    }
    return nullable(_keyed(words.told(BUILTINS[name], words.BUILT_IN_FIELDS.get(name, {})), parts))


def _defaults(names: Mapping[str, str], is_open: bool) -> Schema:
    """Fields by destination, or by kind."""
    entries: dict[str, Schema] = {
        name: {"description": f"Fields for the actions at {name}.", "type": "object", "allOf": [_ref(f"fields_{kind}")]}
        for name, kind in names.items()
    }
    made = mapping(entries)
    return {**made, "additionalProperties": {"type": "object", "allOf": [_ref("fields")]}} if is_open else made


def _test(names: Mapping[str, str], *, is_open: bool) -> Schema:
    # Fields of a mail are offered, and others left to `check`; so is what counts in an action.
    fields = {name: described(text(empty=True), words.MAIL[name]) for name in words.MAIL}
    message: Schema = {"anyOf": [text(), {"type": "object", "properties": fields}]}
    actions: dict[str, Schema] = {name: {"type": ["object", "null"]} for name in (*names, *BUILTINS)}
    happens = mapping(
        {"rule": described(text(), "The rule that acts."), **actions}, required=("rule",), maxProperties=2
    )
    if is_open:
        happens["additionalProperties"] = {"type": ["object", "null"]}
    parts: dict[str, Schema] = {
        "message": message,
        "earlier": one_or_list(message, least=0),
        "expect": {"type": "array", "items": happens},
    }
    return _keyed(words.TEST, parts, ("name", "message", "expect"))

"""The schema of rule files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_origin

from postroom.fields import Seconds, Spec, specs
from postroom.integration import Integration
from postroom.rules.actions import COMMON
from postroom.rules.facts import FIELDS
from postroom.rules.loader import _FILE_KEYS, _RULE_KEYS
from postroom.schema import words
from postroom.schema.asking import DESTINATION, takes, takes_action
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

_SAMPLES = {"update": {"body": "a", "state": "open", "destination": DESTINATION}, "hold": {}, "drop": {}}
"""Actions that go to no destination of their own, each with fields that it takes."""
_EXTRACT = {"case_sensitive": "true", "map": "asked", "default": "a"}


def rules_schema(kinds: Mapping[str, type[Integration]], destinations: Mapping[str, str] | None) -> Schema:
    """The schema of rule files.

    `destinations` are the kinds of those in config.yaml by name, and no others may stand in a rule. None: the kinds'
    names are offered, and any other name is fine.
    """
    names = {kind: kind for kind in kinds} if destinations is None else dict(destinations)
    kinds_used = {kind: kinds[kind] for kind in dict.fromkeys(names.values())}
    built_in = [name for name, fields in _SAMPLES.items() if takes_action({name: fields})]
    definitions = {
        **condition_schemas(names),
        **_rule_schemas(),
        "extract": _extract(),
        "action": _action(names, kinds, built_in, is_open=destinations is None),
        **{f"fields_{name}": _fields(kind) for name, kind in kinds_used.items()},
        **{f"fields_{name}": _built_in(name, names, is_open=destinations is None) for name in built_in},
    }
    if destinations is None:
        definitions["fields"] = nullable({**_fields(None), "additionalProperties": True})
    if "defaults" in _RULE_KEYS or "defaults" in _FILE_KEYS:
        definitions["defaults"] = _defaults({**{kind: kind for kind in kinds_used}, **names}, destinations is None)
    parts = _file_parts(names, built_in, is_open=destinations is None)
    file = {key: described(nullable(parts.get(key, {})), words.FILE_KEYS.get(key)) for key in _FILE_KEYS}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Postroom: a rule file",
        **nullable(mapping(file)),
        "definitions": definitions,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _file_parts(names: Mapping[str, str], built_in: list[str], *, is_open: bool) -> dict[str, Schema]:
    listed: Schema = {"type": "array", "items": text()}
    if _has_maps():
        listed = {"anyOf": [listed, {"type": "object", "additionalProperties": text(empty=True)}]}
    return {
        "lists": {"type": "object", "additionalProperties": listed},
        "conditions": {
            "type": "object",
            "propertyNames": {"not": {"enum": list(words.WORDS)}},
            "additionalProperties": _ref("when"),
        },
        "defaults": {"type": "object", "allOf": [_ref("defaults")]},
        "rules": {"type": "array", "items": _ref("rule")},
        "tests": {"type": "array", "items": _test(names, built_in, is_open=is_open)},
    }


def _has_maps() -> bool:
    return _takes_extract("map")


def _takes_extract(key: str) -> bool:
    value = {"from": "subject", "matches": "(.)", key: _EXTRACT[key]}
    rule = {"name": "asked", "when": "always", "stop": "true", "extract": {"found": value}}
    return takes({"lists": {"asked": {"a": "b"}} if key == "map" else {}, "rules": [rule]})


def _rule_schemas() -> dict[str, Schema]:
    """A rule; and one that stands where its parents extract values."""
    made = {}
    for inner in ("", "inner_"):
        parts: dict[str, Schema] = {
            "name": text(),
            "description": text(empty=True),
            "tags": one_or_list(text(), least=0),
            "mode": {"anyOf": [choice(words.MODES), {"type": "string", "pattern": r"^\s*\d{1,3}(\.\d{1,3})? ?%\s*$"}]},
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
                words.CORRELATE, {"by": text(), "window": _window(), "group": text()}, ("by", "window")
            ),
            "limit": _keyed(
                words.LIMIT,
                {"per": text(), "count": _count(), "window": _window(), "over": choice(words.OVER)},
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


def _keyed(meanings: Mapping[str, str], parts: Mapping[str, Schema], required: tuple[str, ...]) -> Schema:
    return mapping({key: described(schema, meanings[key]) for key, schema in parts.items()}, required=required)


def _window() -> Schema:
    return value_of(Seconds, None)


def _count() -> Schema:
    return {"type": ["integer", "string"], "minimum": 1, "pattern": r"^0*[1-9]\d{0,7}$"}


def _extract() -> Schema:
    field: Schema = {
        "anyOf": [
            {"enum": list(FIELDS)},
            {"type": "string", "pattern": rf"^header\.{HEADER}$"},
            {"type": "string", "pattern": value_name()},
        ]
    }
    default = {"anyOf": [text(empty=True), {"type": "object", "additionalProperties": text(empty=True)}]}
    parts = {"from": field, "matches": one_or_list(text()), "case_sensitive": flag(), "map": text(), "default": default}
    known = [key for key in parts if key not in _EXTRACT or _takes_extract(key)]
    made = mapping({key: described(parts[key], words.EXTRACT[key]) for key in known}, required=("from",))
    finds = [{"required": [key]} for key in ("matches", "map") if key in known]
    return {**made, "anyOf": finds}


def _action(
    names: Mapping[str, str], kinds: Mapping[str, type[Integration]], built_in: list[str], *, is_open: bool
) -> Schema:
    """The name of a destination, or its name with fields; so for what is built in."""
    bare = {name: _told(kinds[kind]) for name, kind in names.items() if not _needs_fields(kinds[kind])}
    plain = choice({**bare, **{name: words.BUILT_IN[name] for name in built_in}})
    entries = {name: described(_ref(f"fields_{kind}"), _told(kinds[kind])) for name, kind in names.items()}
    entries |= {name: described(_ref(f"fields_{name}"), words.BUILT_IN[name]) for name in built_in}
    beside = [name for name in words.BESIDE if takes_action({DESTINATION: {}, name: "false"})]
    entries |= {name: described(flag(), words.BESIDE[name]) for name in beside}
    made = mapping(entries, **_counted(built_in, beside))
    if is_open:
        made["additionalProperties"] = _ref("fields")
        plain = {"anyOf": [plain, text()]}
    return {"anyOf": [plain, made]}


def _counted(built_in: list[str], beside: list[str]) -> Schema:
    """One name stands in an action, whatever stands beside it."""

    def exactly(count: int) -> Schema:
        return {"minProperties": count, "maxProperties": count}

    if not beside:
        return exactly(1)
    made = exactly(1)
    for count in range(1, len(beside) + 1):
        # The last of these is asked first: all of them there, then some.
        there = [{"required": [name]} for name in beside]
        asked: Schema = {"allOf": there} if count == len(beside) else {"anyOf": there}
        made = {"if": asked, "then": exactly(count + 1), "else": made}
    if built_in:
        made = {"if": {"anyOf": [{"required": [name]} for name in built_in]}, "then": exactly(1), "else": made}
    return made


def _needs_fields(kind: type[Integration]) -> bool:
    return "defaults" not in _FILE_KEYS and any(spec.required for spec in specs(kind.Fields).values())


def _told(kind: type[Integration]) -> str:
    return f"{kind.summary} (Kind {kind.kind}.)"


def _fields(kind: type[Integration] | None) -> Schema:
    """What a rule fills in for a destination. `labels+` adds to what defaults give, where there are any."""
    own: Mapping[str, Spec] = {} if kind is None else specs(kind.Fields)
    made: dict[str, Schema] = {}
    for name in COMMON:
        made[name] = described(_attachments() if name == "attachments" else text(empty=True), words.COMMON.get(name))
    for name, spec in own.items():
        if name in made:
            continue
        made[name] = setting_of(spec, TEMPLATE)
        if "defaults" in _FILE_KEYS and _is_list(spec.type):
            made[f"{name}+"] = described({**made[name]}, f"Added to the `{name}` that the defaults give:")
    needed = [] if "defaults" in _FILE_KEYS else [spec.name for spec in own.values() if spec.required]
    schema = mapping(made, required=needed)
    return schema if needed else nullable(schema)


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list or any(get_origin(part) is list for part in get_args(kind))


def _attachments() -> Schema:
    chosen: Schema = {"enum": ["all", "none"]}
    if takes_action({DESTINATION: {"attachments": {"name": "a.pdf"}}}):
        return {"anyOf": [chosen, _ref("attachment_test")]}
    return chosen


def _built_in(name: str, destinations: Mapping[str, str], *, is_open: bool) -> Schema:
    known: Schema = {"enum": list(destinations)}
    parts: dict[str, Schema] = {
        "state": {"enum": ["open", "closed"]},
        "destination": {"anyOf": [known, text()]} if is_open else known,
    }
    fields = words.BUILT_IN_FIELDS[name]
    return nullable(mapping({key: described(parts.get(key, text()), told) for key, told in fields.items()}))


def _defaults(names: Mapping[str, str], is_open: bool) -> Schema:
    """Fields by destination, or by kind."""
    entries: dict[str, Schema] = {
        name: {"description": f"Fields for the actions at {name}.", "type": "object", "allOf": [_ref(f"fields_{kind}")]}
        for name, kind in names.items()
    }
    made = mapping(entries)
    return {**made, "additionalProperties": {"type": "object", "allOf": [_ref("fields")]}} if is_open else made


def _test(names: Mapping[str, str], built_in: list[str], *, is_open: bool) -> Schema:
    # What a message may say, and what counts in an action, is not narrowed here: the test itself shows a slip.
    message: Schema = {"anyOf": [text(), {"type": "object", "minProperties": 1}]}
    actions: dict[str, Schema] = {name: {"type": ["object", "null"]} for name in (*names, *built_in)}
    happens = mapping({"rule": described(text(), "The rule that acts."), **actions}, required=("rule",))
    if is_open:
        happens["additionalProperties"] = {"type": ["object", "null"]}
    parts: dict[str, Schema] = {
        "name": text(),
        "message": message,
        "earlier": {"type": "array", "items": message},
        "expect": {"type": "array", "items": happens},
    }
    return _keyed(words.TEST, parts, ("name", "message", "expect"))

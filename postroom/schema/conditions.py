"""Schemas of conditions and their tests, from the fields and operators that the loader knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from postroom.fields import Bytes
from postroom.mail.kinds import Kind
from postroom.rules.condition_reader import _OTHERS
from postroom.rules.facts import ADDRESS_FIELDS, FIELDS
from postroom.rules.measure_reader import _ATTACHMENT_KEYS, _RECEIVED_KEYS
from postroom.rules.measures import COMPARISONS, NUMBERS, SIZES
from postroom.rules.operators import OPERATORS
from postroom.rules.template_names import NAMES, RESERVED
from postroom.schema import words
from postroom.schema.values import Schema, choice, described, flag, mapping, one_or_list, text, value_of

VALUE = "[A-Za-z][A-Za-z0-9_]*"
HEADER = "[!-9;-~]+"
_DAY = r"([Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt]|[Ss][Uu][Nn])[A-Za-z]*"
_DATE: Schema = {"type": "string", "pattern": r"^\s*\d{4}-\d{2}-\d{2}\s*$"}
_RECEIVED: Mapping[str, Schema] = {
    "weekday": one_or_list({"type": "string", "pattern": rf"^\s*{_DAY}(\s*-\s*{_DAY})?\s*$"}),
    "between": one_or_list({"type": "string", "pattern": r"^\s*\d{1,2}:\d{2}\s*-\s*\d{1,2}:\d{2}\s*$"}),
    "from": _DATE,
    "until": _DATE,
    "date": one_or_list(_DATE),
}
_MEASURED = (*NUMBERS, "attachment", *_OTHERS)
"""The fields that are no texts."""


def value_name() -> str:
    """A pattern for the fields that are extracted values: `version`, `alert.state`; no slip in `from.domain` is one."""
    fields = {name.partition(".")[0] for name in (*FIELDS, *_MEASURED)}
    taken = "|".join(sorted({*NAMES, *ADDRESS_FIELDS, *RESERVED, *fields}))
    return rf"^(?!({taken})(\.|$)){VALUE}(\.{VALUE})?$"


def condition_schemas(destinations: Iterable[str]) -> dict[str, Schema]:
    """The definitions of conditions. `inner_` ones stand where extracted values of a parent are fields too."""
    made: dict[str, Schema] = {
        "text_test": _text_test(text(empty=True)),
        "kind_test": _text_test(choice(words.told(map(str, Kind), words.KINDS))),
        "number_test": _number_test({"type": ["number", "string"], "pattern": r"^\s*[+-]?\d{1,15}(\.\d{1,15})?\s*$"}),
        "size_test": _number_test(value_of(Bytes, None)),
        "attachment_test": mapping(_attachment(), minProperties=1),
        "named_condition": {
            "type": "string",
            "minLength": 1,
            "not": {"enum": list(words.WORDS)},
            "description": "The name of one of `conditions`.",
        },
    }
    own = {name: described(_special(name, destinations), words.FIELDS.get(name)) for name in _MEASURED}
    for inner in ("", "inner_"):
        made[f"{inner}condition"] = _condition(inner, own)
        made[f"{inner}conditions"] = {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [_ref(f"{inner}condition"), _word("unmatched"), _ref("named_condition")]},
        }
        made[f"{inner}when"] = {
            "anyOf": [
                _ref(f"{inner}condition"),
                _word("always"),
                _word("unmatched"),
                _ref("named_condition"),
            ]
        }
    return made


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _word(word: str) -> Schema:
    return {"const": word, "description": words.WORDS[word]}


def _condition(inner: str, own: Mapping[str, Schema]) -> Schema:
    one = {"allOf": [_ref(f"{inner}condition"), {"maxProperties": 1}]}
    header = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{HEADER}$"},
        "additionalProperties": _ref("text_test"),
    }
    logic: dict[str, Schema] = {
        "all": _ref(f"{inner}conditions"),
        "any": _ref(f"{inner}conditions"),
        "not": {"anyOf": [one, _ref("named_condition")]},
        "header": header,
    }
    fields = {
        name: described(_ref("kind_test" if name == "kind" else "text_test"), field_words(name)) for name in FIELDS
    }
    made = mapping(
        {**fields, **own, **{name: described(schema, words.LOGIC[name]) for name, schema in logic.items()}},
        minProperties=1,
    )
    if inner:
        made["patternProperties"] = {value_name(): described(_ref("text_test"), "A value that was extracted above.")}
    return made


def field_words(name: str) -> str | None:
    """What an editor says about a field; None where nobody wrote it."""
    field, _, part = name.partition(".")
    if name in words.FIELDS:
        return words.FIELDS[name]
    return words.PARTS[part].format(field) if part in words.PARTS and field in words.FIELDS else None


def _text_test(one: Schema) -> Schema:
    """A value, a list of values, or operators. `one` is what the whole value can be."""
    operands: dict[str, Schema] = {"is": one_or_list(one), "exists": flag()}
    operators = {
        name: described(operands.get(name, one_or_list(text())), words.OPERATORS.get(name)) for name in OPERATORS
    }
    case = described(flag(), words.OPERATORS["case_sensitive"])
    asked = mapping(
        {**operators, "case_sensitive": case}, minProperties=1, dependencies={"case_sensitive": ["matches"]}
    )
    plain = one_or_list(one)
    if "enum" in one:
        # Editors complete the words only here.
        return {"anyOf": [*plain["anyOf"], asked]}
    # So editors name the wrong operator; of `anyOf` they would say that a mapping is no text.
    return {"if": {"type": "object"}, "then": asked, "else": plain}


def _number_test(one: Schema) -> Schema:
    compared = {name: described(one_or_list(one), words.OPERATORS.get(name)) for name in COMPARISONS}
    compared["is"]["description"] = "Is the number, or one of them."
    return {
        "anyOf": [
            one,
            {"type": "array", "items": one, "minItems": 1},
            mapping(compared, minProperties=1),
            _exists(),
        ]
    }


def _exists() -> Schema:
    return mapping({"exists": described(flag(), words.OPERATORS["exists"])}, required=("exists",))


def _attachment() -> dict[str, Schema]:
    tests = {"name": "text_test", "type": "text_test", "size": "size_test"}
    return {name: described(_ref(tests[name]), words.ATTACHMENT.get(name)) for name in _ATTACHMENT_KEYS}


def _special(name: str, destinations: Iterable[str]) -> Schema:
    """The test of a field that is no text."""
    if name == "received":
        keys = {key: described(_RECEIVED.get(key, text()), words.RECEIVED.get(key)) for key in _RECEIVED_KEYS}
        return mapping(keys, minProperties=1)
    if name == "attachment":
        return {"anyOf": [_ref("attachment_test"), _exists()]}
    if name == "ip":
        networks = one_or_list({"type": "string", "pattern": r"^\s*[0-9A-Fa-f:.]+(/[0-9.]+)?\s*$"})
        operators = {key: described(networks, words.OPERATORS[key]) for key in ("within", "is")}
        operators["is"]["description"] = "Is the address, or one of them."
        return {"anyOf": [*networks["anyOf"], mapping(operators, minProperties=1, maxProperties=1), _exists()]}
    if name == "item":
        known = list(destinations)
        return {"anyOf": [*one_or_list({"anyOf": [{"enum": known}, text()]} if known else text())["anyOf"], _exists()]}
    if name in NUMBERS:
        return _ref("size_test" if name in SIZES else "number_test")
    return {}

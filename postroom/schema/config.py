"""The schema of config.yaml."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from postroom import config
from postroom.config import Config, DestinationCommon, IngressCommon
from postroom.fields import Reader, specs
from postroom.ingress.base import Ingress
from postroom.integration import Integration
from postroom.problems import InvalidFiles, Place, Problem
from postroom.schema.values import VARIABLE, Schema, choice, described, mapping, nullable, setting_of, settings, text
from postroom.yamlfile import Mapping as Node
from postroom.yamlfile import read

SECTIONS: Final[Mapping[str, str]] = {
    "server": "Where Postroom listens, and how people and providers reach it.",
    "data_dir": "The folder of the SQLite file, of generated secrets and of what `file` destinations write.",
    "rules_dir": "The folder of the rule files.",
    "plugins_dir": "A folder of your own integrations.",
    "ingress": "The ways in, by names of yours: POST /inbound/NAME.",
    "destinations": "The ways out, by names of yours: what rules say in `then`.",
    "dispatch": "How deliveries are made.",
    "rules": "How rule files are taken.",
    "mail": "How mail is understood.",
    "limits": "What is refused so that the machine stays well; the provider keeps that mail and sends it again.",
    "retention": "How long messages are kept.",
    "notify": "Who is told when something needs a person.",
    "dashboard": "The pages for people.",
}
"""What editors say about each section. Which of them exist is the loader's to know, not this table's."""


def config_schema(ingress: Mapping[str, type[Ingress]], destinations: Mapping[str, type[Integration]]) -> Schema:
    """The schema of config.yaml for these kinds of ways in and out."""
    definitions: dict[str, Schema] = {}
    hints = get_type_hints(Config)
    sections = {
        "ingress": _named("ingress", ingress, IngressCommon, _ways_in(ingress), definitions),
        "destinations": _named("destination", destinations, DestinationCommon, _told(destinations), definitions),
    }
    known = {
        name: described(sections.get(name) or _section(hints.get(name)), SECTIONS.get(name))
        for name in config._SECTIONS
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Postroom: config.yaml",
        **nullable(mapping(known)),
        "definitions": definitions,
    }


def destinations_in(path: Path, kinds: Mapping[str, type[Integration]]) -> dict[str, str]:
    """The kinds of the destinations in a config.yaml, by name.

    What else is wrong with the file does not matter: an editor is used where the secrets are not.
    Raises InvalidFiles where it cannot be read, or is no YAML.
    """
    problems: list[Problem] = []
    try:
        root = read(path.read_text(encoding="utf-8"), str(path), problems)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InvalidFiles([Problem(Place(str(path)), f"cannot read it: {reason}")]) from None
    if problems:
        raise InvalidFiles(problems)
    if not isinstance(root, Node):
        return {}
    found = config._named(root, "destinations", kinds, Reader(problems, path.parent))
    return {name.value: kind for name, kind, _ in found}


def _ways_in(kinds: Mapping[str, type[Ingress]]) -> dict[str, str]:
    return {name: kind.summary for name, kind in kinds.items()}


def _told(kinds: Mapping[str, type[Integration]]) -> dict[str, str]:
    return {name: f"{kind.summary} A repeated attempt: {kind.guarantee}." for name, kind in kinds.items()}


def _section(hint: Any) -> Schema:
    kind = next((part for part in (hint, *get_args(hint)) if isinstance(part, type)), None)
    if kind is None:
        return {}
    if dataclasses.is_dataclass(kind):
        return settings(specs(kind), VARIABLE)
    return nullable(text(empty=True)) if kind is Path else {}


def _named(
    what: str, kinds: Mapping[str, Any], common: type[Any], told: Mapping[str, str], definitions: dict[str, Schema]
) -> Schema:
    """A mapping from names to settings, which depend on the kind. The kind defaults to the name."""
    shared = specs(common)
    kind_setting = described(choice(told), "The kind; without it, the name is that of the kind.")
    ways: list[Schema] = []
    for name, kind in kinds.items():
        options = {key: spec for key, spec in specs(kind.Options).items() if key not in shared}
        made = settings({**options, **shared}, VARIABLE)
        properties = {"kind": {**kind_setting}, **made["properties"]}
        definitions[f"{what}_{name}"] = described({**made, "properties": properties}, told[name])
        ways.append(
            {
                "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
                "then": _ref(f"{what}_{name}"),
            }
        )
    every = {"kind": kind_setting, **{key: setting_of(spec, VARIABLE) for key, spec in shared.items()}}
    definitions[what] = {"type": "object", "properties": every, "required": ["kind"], "allOf": ways}
    by_kind = {
        name: {"if": {"type": "object", "required": ["kind"]}, "then": _ref(what), "else": _ref(f"{what}_{name}")}
        for name in kinds
    }
    taken = "|".join(kinds)
    return {
        "type": ["object", "null"],
        "properties": by_kind,
        "patternProperties": {f"^(?!(?:{taken})$){config._NAME.pattern}$": _ref(what)},
        "additionalProperties": False,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}

"""Asks the loader of rules which words it takes, where no table says so: what it refuses, no schema offers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from postroom.fields import FieldSet
from postroom.problems import InvalidFiles
from postroom.rules import compile_rules

DESTINATION = "asked"
"""The one destination that there is in what is asked."""


@dataclass(frozen=True)
class _NoFields:
    pass


def takes(file: Mapping[str, Any]) -> bool:
    """Whether a rule file loads."""
    return _loads(json.dumps(file))


def takes_rule(**keys: Any) -> bool:
    """Whether a rule with these keys loads, beside those that every rule needs."""
    return takes({"rules": [{"name": "asked", "when": "always", "stop": "true", **keys}]})


def takes_condition(condition: Any) -> bool:
    """Whether a condition may be written so."""
    return takes_rule(when=condition)


def takes_action(action: Any) -> bool:
    """Whether an action may be written so."""
    return takes_rule(then=[action])


@lru_cache(maxsize=1024)
def _loads(text: str) -> bool:
    # JSON is YAML too.
    try:
        compile_rules({"asked.yaml": text}, {DESTINATION: FieldSet(DESTINATION, _NoFields)})
    except InvalidFiles:
        return False
    return True

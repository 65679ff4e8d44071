"""JSON Schema (draft-07) of what people write, for editors: made of the tables and classes that the loaders use."""

from __future__ import annotations

import json

from postroom.schema.config import config_schema, destinations_in
from postroom.schema.rules import rules_schema
from postroom.schema.values import Schema

__all__ = ["Schema", "config_schema", "destinations_in", "rules_schema", "written"]


def written(schema: Schema) -> str:
    """A schema as the text of its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"

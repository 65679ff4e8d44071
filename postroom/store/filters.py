"""What there is to filter messages by: the names that the search knows."""

from __future__ import annotations

import sqlite3

KEYS = ("dest", "kind", "rule")
MOST = 60
"""Of each key that are named."""


def names(db: sqlite3.Connection) -> dict[str, list[str]]:
    """For each of KEYS the values that some message is found by, in the order of their names."""
    found = {}
    for key in KEYS:
        # `;` follows `:`, so this is a range of the index.
        rows = db.execute(
            "SELECT name FROM facets WHERE name > ? AND name < ? ORDER BY name LIMIT ?", (f"{key}:", f"{key};", MOST)
        )
        found[key] = [row[0].removeprefix(f"{key}:") for row in rows]
    return found

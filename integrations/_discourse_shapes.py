"""Bodies of requests and pieces of text as Discourse takes them: no request is made here. https://docs.discourse.org"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from postroom.mail.targets import Markup, escape

TITLE = 255
"""Characters of a title."""


def topic_body(
    title: str,
    text: str,
    external_id: str,
    category: int | None,
    tags: list[Any],
    recipients: list[str],
    fields: dict[str, Any],
) -> dict[str, Any]:
    """What `POST /posts.json` takes for a topic, or for a personal message."""
    body = {**(fields.get("fields") or {}), "title": title, "raw": text, "external_id": external_id}
    if category is not None:
        body["category"] = category
    if recipients:
        body |= {"archetype": "private_message", "target_recipients": ",".join(recipients)}
    if tags:
        body["tags"] = tags
    return body


def reply_body(topic: int, text: str) -> dict[str, Any]:
    """What `POST /posts.json` takes for a reply."""
    return {"topic_id": topic, "raw": text}


def upload_link(name: str, upload: dict[str, Any]) -> str:
    """A file as Discourse's composer writes it: an image in its size, anything else as a link with its size."""
    told = escape(Markup.MARKDOWN, re.sub(r"[\[\]|]", "", name)) or "file"
    if upload.get("width"):
        return f"![{told}|{upload['width']}x{upload.get('height') or upload['width']}]({upload['short_url']})"
    return f"[{told}|attachment]({upload['short_url']}) ({upload['filesize']} Bytes)"


def distinct_title(title: str, received_at: int, key: str) -> str:
    """The title with the moment of the mail, and the end of the delivery's key: one that no other topic has."""
    moment = datetime.fromtimestamp(received_at / 1000, UTC)
    behind = f" ({moment:%Y-%m-%d %H:%M:%S}, {key[-6:]})"
    return title[: TITLE - len(behind)].rstrip() + behind


def categories_named(rows: list[dict[str, Any]], wanted: str) -> list[int]:
    """The numbers of the categories of a name, a slug, or a path of either."""
    told = wanted.casefold().strip()
    parents = {row["id"]: row for row in rows}
    found = []
    for row in rows:
        own = {str(row.get(each)).casefold().strip() for each in ("name", "slug")}
        above = parents.get(row.get("parent_category_id")) or {}
        over = {str(above.get(each)).casefold().strip() for each in ("name", "slug") if above}
        if told in own or told in {f"{one}/{other}" for one in over for other in own}:
            found.append(int(row["id"]))
    return found

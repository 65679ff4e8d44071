"""A message as Slack takes it: blocks for people, a short text for notifications.

https://docs.slack.dev/reference/block-kit/blocks and https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from postroom.composition import title_of
from postroom.integration import Job

HEADER = 150
SECTION = 3_000
TEXT = 11_000
"""Characters of all sections: Slack takes fifty of them, but refuses messages beyond some 13,000 characters
(`msg_blocks_too_long`, https://github.com/slackapi/bolt-js/issues/2509)."""
_FENCE = "```"
_TOKEN = re.compile(r"<[^<>]*>|&(?:amp|lt|gt);|\s+|[^\s<&]+|.", re.DOTALL)


def chat_message(job: Job, markdown: str) -> dict[str, Any]:
    """What `chat.postMessage` and webhooks have in common.

    Nothing of a mail mentions anybody: `verbatim` keeps Slack from reading names, and `<`, `>`, `&` are escaped. No
    page that a mail links to is fetched for a preview.
    """
    from postroom.markdown import mrkdwn

    title = title_of(job, HEADER)
    opening = [{"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}]
    text = mrkdwn.convert(markdown, limit=TEXT)
    source = job.message.from_ or job.message.return_path
    sender = mrkdwn.escape(f"{source.name} ({source.address})" if source.name else source.address or "nobody")
    link = f"<{job.message_url}|this mail>".replace("&", "&amp;")
    blocks = [
        *(opening if job.item is None else []),
        *({"type": "section", "text": _mrkdwn(part)} for part in sections(text)),
        {"type": "context", "elements": [_mrkdwn(f"From {sender[: SECTION // 4]} · {link}")]},
    ]
    return {
        "text": mrkdwn.escape(title),
        "blocks": blocks,
        "mrkdwn": True,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def sections(text: str) -> Iterator[str]:
    """The text in pieces that fit into sections; no link or sign is cut, and code stays code."""
    piece, in_code = "", False
    room = SECTION - 2 * len(_FENCE) - 2
    for line in text.splitlines():
        for part in _short(line, room - 1):
            if piece.strip("`\n ") and len(piece) + len(part) + 1 > room:
                yield _closed(piece, in_code)
                piece = f"{_FENCE}\n" if in_code else ""
            piece += part + "\n"
        if line.strip() == _FENCE:
            in_code = not in_code
    if piece.strip("`\n "):
        yield _closed(piece, in_code)


def _closed(piece: str, in_code: bool) -> str:
    return piece.strip("\n") + (f"\n{_FENCE}" if in_code else "")


def _short(line: str, most: int) -> Iterator[str]:
    """A line in pieces of at most `most` characters."""
    if len(line) <= most:
        yield line
        return
    piece = ""
    for token in _TOKEN.findall(line):
        for at in range(0, len(token), most):
            part = token[at : at + most]
            if len(piece) + len(part) > most:
                yield piece
                piece = ""
            piece += part
    yield piece


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}

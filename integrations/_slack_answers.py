"""What Slack answers: `ok`, or an error by its own name, sorted.

https://docs.slack.dev/reference/methods/chat.postMessage lists the names; most methods share them.
"""

from __future__ import annotations

from typing import Any

from postroom.exchange import Answer, retry_after
from postroom.integration import DeliveryError

_UNKNOWN = frozenset(("fatal_error", "internal_error", "service_unavailable"))
"""Some of what was asked may have been done."""
_LATER = frozenset(("request_timeout", "team_added_to_org"))
_LIMITED = frozenset(("ratelimited", "rate_limited", "message_limit_exceeded", "message_limits_exceeded"))
_GONE = frozenset(
    (
        *("thread_not_found", "message_not_found", "cannot_reply_to_message", "restricted_action_thread_locked"),
        *("channel_not_found", "is_archived"),
    )
)
"""An answer cannot be said in the thread: a new message can, perhaps elsewhere."""
_HINTS = {
    "not_in_channel": "invite the app to the channel",
    "channel_not_found": "or the app is not in it, where it is private",
    "missing_scope": "the app lacks a scope",
}


class TooLong(DeliveryError):
    """A page of a list was cut."""


class Refused(DeliveryError):
    """Slack said no, for good."""

    code = ""


def checked(method: str, answer: Answer, *, in_thread: bool) -> dict[str, Any]:
    """The document of an answer that is `ok`. Raises DeliveryError, sorted by Slack's own words."""
    document = answer.json()
    if not isinstance(document, dict) or not isinstance(document.get("ok"), bool):
        raise answer.error(f"{answer.host} answered nothing that Slack says", unknown=True)
    if document["ok"]:
        return document
    code = str(document.get("error") or "no reason given")
    details = [code, *([_HINTS[code]] if code in _HINTS else [])]
    if isinstance(document.get("needed"), str):
        details.append(f"it needs {document['needed']}")
    details += [str(each) for each in listed(mapping(document.get("response_metadata")).get("messages"))[:3]]
    reason = f"Slack refused {method}: {'; '.join(details)}"
    wish = retry_after(answer.headers.get("Retry-After"))
    if code in _LIMITED:
        raise answer.error(reason, retry_after=wish, limited=True)
    if code in _UNKNOWN or code in _LATER:
        raise answer.error(reason, unknown=code in _UNKNOWN, retry_after=wish)
    if in_thread and code in _GONE:
        raise answer.error(reason, item_gone=True)
    plain = answer.error(reason, permanent=True)
    error = Refused(plain.reason, permanent=True, status=plain.status, answer=plain.answer)
    error.code = code
    raise error


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in listed(value) if isinstance(row, dict)]

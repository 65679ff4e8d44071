"""Requests to Jira, and the sort of its refusals.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/#status-codes and
https://developer.atlassian.com/cloud/jira/platform/rate-limiting/
"""

from __future__ import annotations

import base64
import datetime
import time
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from postroom import exchange
from postroom.exchange import LONGEST_RETRY_AFTER, Answer, retry_after
from postroom.integration import DeliveryError, Http

_SORTED_HERE = frozenset((200, 201, 204, 400, 401, 403, 404, 409, 413, 415, 422, 429))


class JiraApi:
    """The REST API of one Jira for one account."""

    def __init__(self, http: Http, url: str, *, cloud: bool, user: str | None, token: str) -> None:
        """Without a `user` the token is a personal access token of Data Center."""
        basic = base64.b64encode(f"{user}:{token}".encode()).decode()
        self._http = http
        self._url = f"{url.rstrip('/')}/rest/api/{3 if cloud else 2}"
        self._headers = {"Authorization": f"Basic {basic}" if user else f"Bearer {token}", "Accept": "application/json"}

    def ask(
        self,
        method: str,
        path: str,
        *,
        also: Collection[int] = (),
        what: str = "a look",
        looks: bool = False,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Answer:
        """One request. Any 2xx and what is in `also` comes back; all else is raised, with `what` it was about.

        `looks`: it is a POST that changes nothing.
        """
        sent = self._headers | dict(headers or {})
        try:
            answer = self._http.request(method, self._url + path, headers=sent, expect=_SORTED_HERE, **request)
        except DeliveryError as error:
            error.unknown = error.unknown and not looks and method != "GET"
            raise
        if answer.status < 300 or answer.status in also:
            return answer
        if answer.status == 429:
            wish = retry_after(answer.headers.get("Retry-After")) or _until(answer.headers.get("X-RateLimit-Reset"))
            raise answer.error("Jira asks for fewer requests", retry_after=wish, limited=True)
        words = said(answer) or f"it answered {answer.status}"
        if answer.status == 401:
            raise answer.error(f"Jira does not accept the credentials: {words}", permanent=True)
        raise answer.error(f"Jira refused {what}: {words}", permanent=answer.status != 409)


def issue_path(key: str) -> str:
    return f"/issue/{quote(key, safe='')}"


def gone(key: str, answer: Answer) -> DeliveryError:
    """The error of a 404, with which Jira tells of both."""
    return answer.error(f"issue {key} is gone from Jira, or hidden from this account", item_gone=True)


def said(answer: Answer) -> str:
    """Jira's own sentences: {"errorMessages": [..], "errors": {"field": ".."}}."""
    document = answer.mapping
    messages, errors = document.get("errorMessages"), mapping(document.get("errors"))
    told = [str(each) for each in messages] if isinstance(messages, list) else []
    return "; ".join([*told, *(f"{name}: {text}" for name, text in errors.items())])


def _until(moment: str | None) -> float | None:
    """Seconds until a time in ISO 8601."""
    try:
        then = datetime.datetime.fromisoformat(moment or "")
    except ValueError:
        return None
    left = (then if then.tzinfo else then.replace(tzinfo=datetime.UTC)).timestamp() - time.time()
    return min(left, LONGEST_RETRY_AFTER) if left > 0 else None


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object; an empty one where something else stands."""
    return value if isinstance(value, dict) else {}


def inside(answer: Answer, *names: str) -> Any:
    """What stands in an answer below these names; None where there is nothing."""
    return exchange.inside(answer.json(), *names)


def rows(value: Any) -> list[dict[str, Any]]:
    """The objects of a JSON array; none where something else stands."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

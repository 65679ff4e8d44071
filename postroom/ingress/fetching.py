"""What a way in must fetch before a mail is whole: over the one guarded road to the network.

Only a request that is known to be genuine makes us fetch anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from postroom.exchange import DeliveryError, Http
from postroom.ingress.base import Refusal


def fetch(http: Http, url: str, *, what: str, limit: int, headers: Mapping[str, str] | None = None) -> bytes:
    """The body of an answer of at most `limit` bytes.

    Raises Refusal: 503 where it may be there later, 400 where it is gone or too large. `what` names it in the reason.
    """
    try:
        answer = http.get(url, headers=headers, limit=limit)
    except DeliveryError as error:
        # A wrong key of ours (401, 403) is mended, and the mail is still there.
        gone = error.status in (404, 410)
        raise Refusal(400 if gone else 503, f"{what} could not be fetched: {error.reason}") from None
    if answer.truncated:
        raise Refusal(400, f"{what} is larger than {limit} bytes")
    return answer.body

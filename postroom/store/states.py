"""Every state has its name here, with one sentence."""

from __future__ import annotations

import enum


class MessageState(enum.StrEnum):
    """What became of a message as a whole."""

    ROUTED = "routed"
    """All its deliveries are final or under way."""
    UNMATCHED = "unmatched"
    """No rule planned an action: it waits for a person."""
    HELD = "held"
    """A rule or the loop brake wants a person to decide; nothing of it is sent."""
    DROPPED = "dropped"
    """A rule decided that nothing of it is sent."""
    DISCARDED = "discarded"
    """A person decided that nothing of it is sent."""


class DeliveryState(enum.StrEnum):
    """What became of one action owed to one destination."""

    PENDING = "pending"
    """Not yet tried."""
    SENDING = "sending"
    """Claimed by the dispatcher; its lease says until when."""
    RETRYING = "retrying"
    """Failed and waits for its next attempt."""
    DELIVERED = "delivered"
    """The destination has it."""
    DEAD = "dead"
    """Given up: a permanent error, or all attempts used."""
    SUPPRESSED = "suppressed"
    """Not owed: the same action was already taken for the same mail."""
    CANCELLED = "cancelled"
    """A person took it back before it was delivered."""


class AttemptResult(enum.StrEnum):
    """How one try ended."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """It did not happen, and may succeed later."""
    REFUSED = "refused"
    """A permanent error: trying again cannot help."""
    UNKNOWN = "unknown"
    """It may have happened: the answer was lost, or the program ended before it was recorded."""


# The states stand in the SQL as literals: only so does SQLite see that the partial indexes serve.
MESSAGES_IN = {
    state.value: f"m.state = '{state}'" + ("" if state is MessageState.ROUTED else " AND m.state <> 'routed'")
    for state in MessageState
}
"""SQL for `messages m`: those in a state."""
UNDER_WAY = "state IN ('pending', 'sending', 'retrying')"
DELIVERIES_IN = {
    "dead": "state = 'dead'",
    "pending": UNDER_WAY,
    "retrying": f"{UNDER_WAY} AND state = 'retrying'",
}
"""SQL for `deliveries`: what people look for among them; `pending` is all that is under way."""
LEFT_OUT = "CASE WHEN m.state NOT IN ('held', 'discarded') THEN m.held_by END AS left_out"
"""SQL for `messages m`: the rules that a release passed over. While it waits, the same column names those that a
release is to pass over."""

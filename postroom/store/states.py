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

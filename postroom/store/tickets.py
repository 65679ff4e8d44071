"""Tickets of requests: some providers sign a token in place of the document, so each is good for one document only.

A ticket is used up by the transaction that stores the mail: a request that failed has used up nothing, and the
provider may send it again. The same document may come again with the same ticket, for its answer may have been lost.
"""

from __future__ import annotations

import sqlite3

from postroom.ingress.base import Ticket


class TicketUsed(Exception):
    """Another document came with this ticket before."""


def use(db: sqlite3.Connection, ticket: Ticket, now: int) -> None:
    """Uses a ticket up, and forgets those that have expired. Raises TicketUsed where another document has."""
    db.execute("DELETE FROM tickets WHERE expires_at < ?", (now,))
    db.execute(
        "INSERT INTO tickets VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (ticket.token, ticket.document, ticket.expires_at),
    )
    (document,) = db.execute("SELECT document FROM tickets WHERE token = ?", (ticket.token,)).fetchone()
    if document != ticket.document:
        raise TicketUsed

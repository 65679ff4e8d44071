"""From an accepted mail to a durable one: plan, commit, answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from postroom.identity import identify
from postroom.ingress.base import Mail
from postroom.message import Message
from postroom.plan import Plan
from postroom.store.content import pack
from postroom.store.messages import NewMessage, Stored, insert_all
from postroom.store.writer import Writer


class Receiver:
    """Routes and stores. `active` gives the evaluation of the active rule set and that set's number in the store."""

    def __init__(self, writer: Writer, active: Callable[[], tuple[Callable[[Message], Plan], int]]) -> None:
        self._writer = writer
        self._active = active

    def prepare(self, mails: Sequence[Mail]) -> list[NewMessage]:
        """Routes the mails of one request, and makes ready all that is stored of them: whatever takes time."""
        if not mails:
            return []
        evaluate, rule_set = self._active()
        return [
            NewMessage(
                message=mail.message,
                identity=identify(mail.message),
                block=pack(mail.message, mail.payload),
                contents=mail.contents,
                plan=evaluate(mail.message),
                rule_set=rule_set,
            )
            for mail in mails
        ]

    def store(self, prepare: Callable[[], Sequence[NewMessage]]) -> list[Stored]:
        """Stores the mails of one request in one transaction, with the deliveries owed for each.

        `prepare` makes them ready, in whichever thread commits. Returns once they are on the disk. Raises what
        `prepare` raises, and sqlite3.Error where they could not be stored: then none is.
        """
        return list(self._writer.run_grouped(insert_all, prepare))

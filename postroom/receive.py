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

    def receive(self, mails: Sequence[Mail]) -> list[Stored]:
        """Stores the mails of one request in one transaction, with the deliveries owed for each.

        Returns once they are on the disk. Raises sqlite3.Error where they could not be stored: then none is.
        """
        evaluate, rule_set = self._active()
        # All that takes time is done here, before the lock of the store is asked for.
        new = [
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
        return list(self._writer.run_grouped(insert_all, new))

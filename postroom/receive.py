"""From an accepted request to durable messages: plan, commit, answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from postroom.identity import identify
from postroom.ingress.base import Mail
from postroom.message import Message
from postroom.plan import Plan
from postroom.store.content import pack
from postroom.store.messages import NewMessage, Stored, insert_all
from postroom.store.writer import Writer

Accept = Callable[[], Sequence[Mail]]
"""Authenticates and parses one request. Raises ingress.base.Refusal."""


log = logging.getLogger("postroom.receive")


class Receiver:
    """Routes and stores. `active` gives the evaluation of the active rule set and that set's number in the store."""

    def __init__(self, writer: Writer, active: Callable[[], tuple[Callable[[Message], Plan], int]]) -> None:
        self._writer = writer
        self._active = active

    def receive(self, accept: Accept, *, large: bool = False) -> list[Stored]:
        """Stores the mails of one request in one transaction, with the deliveries owed for each.

        Returns once they are on the disk. Raises what `accept` raises, and sqlite3.Error where they could not be
        stored: then none is. A `large` request is parsed here, so that nobody else's mail waits for it.
        """
        if large:
            mails = accept()
            ready = self._route(mails)
            return list(self._writer.run(lambda db: insert_all(db, ready)))
        return list(self._writer.run_grouped(insert_all, self._make, accept))

    def _make(self, accepts: Sequence[Accept]) -> list[Sequence[NewMessage] | BaseException]:
        """What is to be stored of the requests of several threads."""
        accepted: list[Sequence[Mail] | BaseException] = []
        for accept in accepts:
            try:
                accepted.append(accept())
            except BaseException as error:
                accepted.append(error)
        everything = [mail for mails in accepted if not isinstance(mails, BaseException) for mail in mails]
        try:
            ready = iter(self._route(everything))
            return [each if isinstance(each, BaseException) else [next(ready) for _ in each] for each in accepted]
        except Exception:
            log.exception("mails could not be made ready together")
            return [each if isinstance(each, BaseException) else self._route_alone(each) for each in accepted]

    def _route_alone(self, mails: Sequence[Mail]) -> Sequence[NewMessage] | BaseException:
        try:
            return self._route(mails)
        except Exception as error:
            return error

    def _route(self, mails: Sequence[Mail]) -> list[NewMessage]:
        # Step by step for all mails, not mail by mail: the code of a step stays in the processor's cache.
        evaluate, rule_set = self._active()
        identities = [identify(mail.message) for mail in mails]
        plans = [_plan(evaluate, mail.message) for mail in mails]
        blocks = [pack(mail.message, mail.payload) for mail in mails]
        return [
            NewMessage(mail.message, identity, block, mail.contents, plan, rule_set)
            for mail, identity, plan, block in zip(mails, identities, plans, blocks, strict=True)
        ]


def _plan(evaluate: Callable[[Message], Plan], message: Message) -> Plan:
    try:
        return evaluate(message)
    except Exception:
        # A fault of ours must not lose the mail: it waits for a person as unmatched.
        log.exception("the rules could not be evaluated for message %s", message.id)
        return Plan()

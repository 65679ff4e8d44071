"""From an accepted request to durable messages: plan, commit, answer."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import partial

from postroom.identity import identify
from postroom.ingress.base import Mail, Refusal
from postroom.message import Message
from postroom.plan import Plan
from postroom.recognise import NO_TIES, Recogniser, Ties
from postroom.store.brake import Brake
from postroom.store.content import pack
from postroom.store.conversations import addressee_key, sender_key
from postroom.store.messages import Inserter, ItemsOf, NewMessage, Stored
from postroom.store.tickets import TicketUsed
from postroom.store.writer import Writer

Accept = Callable[[], Sequence[Mail]]
"""Authenticates and parses one request. Raises ingress.base.Refusal."""


log = logging.getLogger("postroom.receive")


class Receiver:
    """Routes and stores. `active` gives the evaluation of the active rule set and that set's number in the store."""

    def __init__(
        self,
        writer: Writer,
        active: Callable[[], tuple[Callable[..., Plan], int]],
        recogniser: Recogniser,
        brake: Brake,
        makers: Collection[str] = (),
    ) -> None:
        self._writer = writer
        self._active = active
        self._recogniser = recogniser
        self._insert_all = Inserter(brake, makers).insert_all

    def receive(self, accept: Accept, *, large: bool = False) -> list[Stored]:
        """Stores the mails of one request in one transaction, with the deliveries owed for each.

        Returns once they are on the disk. Raises what `accept` raises, and sqlite3.Error where they could not be
        stored: then none is. A `large` request is parsed here, so that nobody else's mail waits for it.
        """
        try:
            if large:
                mails = accept()
                ready = self._route(mails)
                return list(self._writer.run(lambda db: self._insert_all(db, ready)))
            return list(self._writer.run_grouped(self._insert_all, self._make, accept))
        except TicketUsed:
            raise Refusal(401, "its token came with another document before") from None

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
        known = [self._recognise(mail) for mail in mails]
        identities = [identify(message) for message, _ in known]
        plans = [_plan(evaluate, message) for message, _ in known]
        blocks = [pack(message, mail.payload) for (message, _), mail in zip(known, mails, strict=True)]
        return [
            NewMessage(
                message=message,
                identity=identity,
                block=block,
                contents=mail.contents,
                plan=plan,
                rule_set=rule_set,
                ties=ties,
                sender=sender_key(message),
                addressee=addressee_key(message),
                replan=partial(_plan, evaluate, message) if plan.asked_items else None,
                ticket=mail.ticket,
            )
            for mail, (message, ties), identity, plan, block in zip(
                mails, known, identities, plans, blocks, strict=True
            )
        ]

    def _recognise(self, mail: Mail) -> tuple[Message, Ties]:
        try:
            return self._recogniser.recognise(mail.message, mail.contents)
        except Exception:
            # A fault of ours must not lose the mail: it goes on as one of no kind.
            log.exception("message %s could not be classed", mail.message.id)
            return mail.message, NO_TIES


def _plan(evaluate: Callable[..., Plan], message: Message, items: ItemsOf | None = None) -> Plan:
    try:
        return evaluate(message, items)
    except sqlite3.Error:
        # Of the store, which is asked for the items: the transaction as a whole fails, and the provider keeps the mail.
        raise
    except Exception:
        # A fault of ours must not lose the mail: it waits for a person as unmatched.
        log.exception("the rules could not be evaluated for message %s", message.id)
        return Plan()

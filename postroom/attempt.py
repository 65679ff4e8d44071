"""One attempt of one delivery: looks for what an earlier one made, lets the integration try, records how it went."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from postroom.answer import Answering
from postroom.destination import Destination
from postroom.ids import now_ms
from postroom.integration import DeliveryError, Guarantee, Job, JobAttachment, NothingToDo, Receipt
from postroom.message import Attachment, Message
from postroom.plan import Content
from postroom.store import destinations, outbox
from postroom.store.attachments import chunks
from postroom.store.database import connect
from postroom.store.outbox import Attempt, Owed
from postroom.store.states import AttemptResult
from postroom.store.writer import Work, Writer

log = logging.getLogger("postroom.dispatch")

_ANSWER = 2_000
_SEARCHED = (Guarantee.CONSISTENT_SEARCH, Guarantee.LAGGING_SEARCH)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is ours for one attempt."""

    owed: Owed
    destination: Destination
    message: Message | None
    content: Content | None
    """None where it could not be rendered: `fault` says why."""
    frozen: bytes | None
    fault: str
    steps: dict[str, str]
    item: Receipt | None
    lease: str


class LeaseLost(Exception):
    """The claim ran out and may have been given to somebody else: nothing more may be sent or recorded."""


class _TooSoon(DeliveryError):
    """A search that lags found nothing yet: that is only believed later."""


class Attempts:
    """Makes attempts, from several threads at once."""

    def __init__(self, database: Path, writer: Writer, message_url: Callable[[str], str], answering: Answering) -> None:
        self._database = database
        self._writer = writer
        self._message_url = message_url
        self._answering = answering
        self._local = threading.local()
        self._stopping = False

    def stop(self) -> None:
        """What cannot be recorded now is not waited for any longer."""
        self._stopping = True

    def make(self, claim: Claim) -> None:
        if claim.content is not None and claim.content.update and claim.item is None:
            reason = "the conversation has no item here to comment on"
            self._record(claim, lambda db: outbox.suppressed(db, claim.owed, claim.lease, reason, now_ms()))
            return
        started_at, clock = now_ms(), time.monotonic()
        receipt: Receipt | None = None
        error: DeliveryError | None = None
        try:
            receipt = self._deliver(claim)
        except NothingToDo as nothing:
            reason = nothing.reason
            self._record(claim, lambda db: outbox.suppressed(db, claim.owed, claim.lease, reason, now_ms()))
            return
        except DeliveryError as raised:
            error = raised
            # Kinds mask what they tell. Not all that people drop in do.
            mask = claim.destination.integration.http.mask
            error.reason, error.answer = mask(error.reason), mask(error.answer)
        except LeaseLost:
            raise
        except Exception as raised:
            # A fault of ours or of a plug-in's. What it did is unknown, and it may be mended by an update: retry.
            log.exception("the integration of '%s' failed on delivery %s", claim.destination.name, claim.owed.id)
            error = DeliveryError(f"the integration failed: {type(raised).__name__}", unknown=True)
        took = int((time.monotonic() - clock) * 1000)
        if receipt is not None:
            self._record_success(claim, receipt, Attempt(claim.owed.attempt, started_at, took, AttemptResult.DELIVERED))
        elif error is not None:
            self._record_failure(claim, error, started_at, took)

    def _deliver(self, claim: Claim) -> Receipt:
        message = claim.message
        if claim.content is None or message is None:
            raise DeliveryError(claim.fault, permanent=True)
        integration, owed = claim.destination.integration, claim.owed
        steps = dict(claim.steps)

        def record(step: str, reference: str) -> None:
            until = now_ms() + int(claim.destination.lease * 1000)

            def work(db: sqlite3.Connection) -> None:
                renewed = db.execute(
                    "UPDATE deliveries SET lease_until = ? WHERE seq = ? AND lease = ? AND state = 'sending'",
                    (until, owed.seq, claim.lease),
                ).rowcount
                if not renewed:
                    raise LeaseLost
                outbox.record_step(db, owed.seq, step, reference, now_ms())

            self._writer.run(work)
            steps[step] = reference

        job = Job(
            key=owed.id,
            content=claim.content,
            message=message,
            message_url=self._message_url(message.id),
            reply_address=self._answering.address(owed.conversation, message),
            answer=self._answering.answer(owed.conversation, message, owed.id),
            own_headers=self._answering.own_headers(owed.conversation, message, owed.id),
            rule=owed.rule,
            attachments=tuple(
                self._attachment(message.attachments[position]) for position in claim.content.attachments
            ),
            item=claim.item,
            attempt=owed.attempt,
            steps=steps,
            record=record,
            uncertain=owed.uncertain,
        )
        step = "comment" if claim.item is not None else "item"
        guarantee = integration.guarantee_of(integration.options)
        if owed.uncertain and guarantee in _SEARCHED and step not in steps:
            found = integration.find(job)
            if found is not None:
                if claim.item is not None and found.reference != claim.item.reference:
                    # An earlier attempt made an item of its own, before the conversation had this one.
                    return found
                record(step, found.reference or "")
                if claim.item is None and found.url and integration.opens_items(integration.options):
                    record("url", found.url)
            elif guarantee is Guarantee.LAGGING_SEARCH:
                _believe(integration.search_lag, owed)
        receipt = integration.deliver(job)
        if not isinstance(receipt, Receipt) or not all(
            isinstance(each, str | None) for each in (receipt.reference, receipt.url)
        ):
            raise DeliveryError(f"the integration '{integration.kind}' gave no receipt", unknown=True)
        return receipt

    def _attachment(self, info: Attachment) -> JobAttachment:
        def stream() -> Iterator[bytes]:
            db = getattr(self._local, "db", None)
            if db is None:
                db = self._local.db = connect(self._database, read_only=True)
            try:
                yield from chunks(db, info.sha256)
            except KeyError as error:
                raise DeliveryError(str(error.args[0]), permanent=True) from None

        return JobAttachment(info, stream)

    def _record_success(self, claim: Claim, receipt: Receipt, attempt: Attempt) -> None:
        destination = claim.destination
        destination.rested()
        was_open = destination.circuit.answered()

        def work(db: sqlite3.Connection) -> bool:
            if was_open:
                destinations.close_circuit(db, destination.name, now_ms())
            return outbox.delivered(
                db,
                claim.owed,
                claim.lease,
                attempt,
                reference=receipt.reference,
                url=receipt.url,
                opens_item=destination.makes_items and claim.item is None,
                now=now_ms(),
            )

        if was_open:
            log.warning("destination %s works again", destination.name)
        self._record(claim, work)

    def _record_failure(self, claim: Claim, error: DeliveryError, started_at: int, took: int) -> None:
        destination, owed = claim.destination, claim.owed
        retried = AttemptResult.UNKNOWN if error.unknown else AttemptResult.FAILED
        result = AttemptResult.REFUSED if error.permanent else retried
        attempt = Attempt(
            owed.attempt, started_at, took, result, error.status, error.reason, error.answer[:_ANSWER] or None
        )
        circuit, was_open = destination.circuit, destination.circuit.is_open
        waits = isinstance(error, _TooSoon) or self._judge(destination, error, owed.seq)
        pause = error.retry_after
        if error.limited and not error.permanent and (pause := destination.rest(error.retry_after)) is not None:
            waits = True  # A limit says nothing against the delivery: it uses up no place in its schedule.
        gone = error.item_gone and claim.item is not None
        retry_at: int | None
        if waits and circuit.is_open:
            retry_at = circuit.probe_at
        elif waits:
            retry_at = now_ms() + int((pause or 0.0) * 1000)
        else:
            pause = None if error.permanent else destination.pause_after(owed.tries + 1, error.retry_after)
            if gone and pause is not None:
                pause = 0.0  # What it was to comment on is no more: the next attempt makes an item.
            retry_at = None if pause is None else now_ms() + int(pause * 1000)
        log.info("delivery %s to %s: %s", owed.id, destination.name, error.reason)
        if circuit.is_open and not was_open:
            log.warning("destination %s fails again and again: its deliveries wait", destination.name)

        def work(db: sqlite3.Connection) -> bool:
            done = outbox.failed(
                db,
                owed,
                claim.lease,
                attempt,
                retry_at=retry_at,
                counts=not waits,
                opens_item=destination.makes_items,
                item_gone=gone,
                now=now_ms(),
            )
            if circuit.opened_at is not None:
                destinations.open_circuit(db, destination.name, circuit.opened_at, circuit.probe_at, error.reason)
            elif was_open:
                destinations.close_circuit(db, destination.name, now_ms())
            if error.closed:
                destinations.pause(db, destination.name, destinations.OURSELVES, error.reason, now_ms())
            return done

        self._record(claim, work)

    def _judge(self, destination: Destination, error: DeliveryError, seq: int) -> bool:
        """Whether the delivery waits with all others, for the circuit is open and the destination is to blame.

        Then it does not die, and uses up no place in its schedule.
        """
        at_fault = destination.is_at_fault(error)
        if at_fault is False:
            destination.circuit.answered()
        return at_fault is True and destination.circuit.failed(seq, now_ms())

    def _record(self, claim: Claim, work: Work[bool]) -> None:
        # Only this process knows how it went: on a full disk it tries to say so for as long as the claim may last.
        ends = time.monotonic() + claim.destination.lease
        while True:
            try:
                if not self._writer.run(work):
                    raise LeaseLost
                return
            except sqlite3.Error:
                if self._stopping or time.monotonic() > ends:
                    raise
                time.sleep(0.5)


def _believe(lag: float, owed: Owed) -> None:
    """Raises while a search that lags may not have seen yet what an earlier attempt made."""
    since = (now_ms() - (owed.unknown_at or 0)) / 1000
    if since < lag:
        reason = f"the search found nothing yet; it is asked again in {lag - since:.0f} s, before anything is made anew"
        raise _TooSoon(reason, retry_after=lag - since)

"""The dispatcher: claims what is owed, tries it, records how it went, and waits until something is due.

It is a process of its own. Each destination has its own concurrency, rate and back-off, so that a slow one hurts no
other. Every decision is in the store before its effect: content before it is sent, a step before the next one.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from postroom.answer import Answering
from postroom.destination import Destination
from postroom.doorbell import Bell
from postroom.ids import now_ms
from postroom.integration import DeliveryError, Guarantee, Job, JobAttachment, Receipt
from postroom.message import Attachment, Message
from postroom.plan import Content, Step
from postroom.store import outbox
from postroom.store.attachments import chunks
from postroom.store.content import pack_content, unpack, unpack_content
from postroom.store.database import connect
from postroom.store.outbox import Attempt, Owed
from postroom.store.states import AttemptResult
from postroom.store.writer import Work, Writer

log = logging.getLogger("postroom.dispatch")

POLL_SECONDS = 2.0
"""Behind the bell: work that nobody rang for is found this late."""
_ANSWER = 2_000
_SEARCHED = (Guarantee.CONSISTENT_SEARCH, Guarantee.LAGGING_SEARCH)


@dataclass(frozen=True, slots=True)
class _Claim:
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


class Render(Protocol):
    """Renders one step under the message's rule set. Raises ValueError with the reason."""

    def __call__(
        self, owed: Owed, step: Step, message: Message, *, message_url: str, reply_address: str, continues: bool
    ) -> Content: ...


class LeaseLost(Exception):
    """The claim ran out and may have been given to somebody else: nothing more may be sent or recorded."""


class Dispatcher:
    """Runs until `stop` is called."""

    def __init__(
        self,
        *,
        database: Path,
        bell: Bell,
        destinations: Mapping[str, Destination],
        render: Render,
        message_url: Callable[[str], str],
        answering: Answering,
        workers: int = 8,
        parent: int | None = None,
    ) -> None:
        """`parent`: the process to end with."""
        self._database = database
        self._bell = bell
        self._destinations = list(destinations.values())
        self._render = render
        self._message_url = message_url
        self._answering = answering
        self._workers = workers
        self._parent = parent
        self._writer = Writer(database)
        self._reads = connect(database, read_only=True)
        self._local = threading.local()
        self._under_way: set[int] = set()
        self._stopping = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers + len(self._destinations), thread_name_prefix="deliver")

    def stop(self) -> None:
        """Ends `run` after what is under way. May be called from a signal handler."""
        self._stopping = True
        self._bell.press()

    def run(self) -> None:
        """Delivers until stopped. The caller must hold the only dispatcher's lock on the data folder."""
        freed = self._reap(2**62)
        if freed:
            log.warning("%d deliveries were under way when the program last ended; each is looked for first", freed)
        reaped_at = time.monotonic()
        while not self._stopping:
            if self._parent is not None and os.getppid() != self._parent:
                log.warning("the supervisor is gone; stopping")
                break
            try:
                if time.monotonic() - reaped_at > 10:
                    reaped_at = time.monotonic()
                    self._reap(now_ms())
                self._start(self._claim())
                pause = self._pause()
            except sqlite3.Error as error:
                # A full disk or a lock held too long: nothing is lost by looking again.
                log.error("the store cannot be used: %s", error)
                pause = 1.0
            self._bell.wait(pause)
        self._pool.shutdown(wait=True)
        self._writer.close()

    def _reap(self, until: int) -> int:
        rounds = {each.name: len(each.retry) for each in self._destinations}
        with self._lock:
            # What a thread here still works on is not lost, however long it takes.
            alive = frozenset(self._under_way)
        return self._writer.run(lambda db: outbox.reap(db, now_ms(), until=until, alive=alive, rounds=rounds))

    def _claim(self) -> list[_Claim]:
        """Takes what is due, as much as every destination's limits allow, in one short transaction."""
        candidates: list[_Claim] = []
        now = now_ms()
        total = sum(each.under_way for each in self._destinations)
        random.shuffle(self._destinations)
        for destination in self._destinations:
            # Each destination can always have one under way, whatever the slow ones hold.
            share = max(self._workers - total - len(candidates), 0 if destination.under_way else 1)
            room = min(share, destination.concurrency - destination.under_way, destination.allowance())
            if destination.paused or room <= 0:
                continue
            for owed in outbox.due(self._reads, destination.name, now, room):
                candidates.append(self._prepare(owed, destination))
        if not candidates:
            return []

        def take(db: sqlite3.Connection) -> list[_Claim]:
            taken = []
            for each in candidates:
                until = now_ms() + int(each.destination.lease * 1000)
                if outbox.claim(db, each.owed, each.frozen, each.lease, until):
                    taken.append(each)
            return taken

        return self._writer.run(take)

    def _prepare(self, owed: Owed, destination: Destination) -> _Claim:
        message: Message | None = None
        content: Content | None = None
        frozen = owed.content
        fault = ""
        known = outbox.item_of(self._reads, owed.conversation, owed.destination)
        item = Receipt(*known) if known and destination.makes_items and not owed.own_item else None
        try:
            row = self._reads.execute("SELECT data FROM contents WHERE message = ?", (owed.message,)).fetchone()
            message, _ = unpack(row[0])
            if frozen is not None:
                content = unpack_content(frozen)
            else:
                step = Step(owed.rule, owed.action, owed.destination, owed.values)
                rendered = self._render(
                    owed,
                    step,
                    message,
                    message_url=self._message_url(message.id),
                    reply_address=self._answering.address(owed.conversation, message),
                    continues=item is not None,
                )
                frozen, content = pack_content(rendered), rendered
        except sqlite3.Error:
            raise
        except ValueError as error:
            fault = str(error)
        except Exception as error:
            # Whatever a mail makes of a rule, it may cost its own delivery only.
            log.exception("the content of delivery %s could not be made", owed.id)
            fault = f"the content could not be made ({type(error).__name__})"
        return _Claim(
            owed=owed,
            destination=destination,
            message=message,
            content=content,
            frozen=frozen,
            fault=fault,
            steps=outbox.steps_of(self._reads, owed.seq) if owed.attempt > 1 else {},
            item=item,
            lease=secrets.token_hex(8),
        )

    def _start(self, claims: list[_Claim]) -> None:
        for claim in claims:
            with self._lock:
                claim.destination.under_way += 1
                self._under_way.add(claim.owed.seq)
            claim.destination.spend(1)
            self._pool.submit(self._attempt, claim, time.monotonic() + claim.destination.lease)

    def _pause(self) -> float:
        names = [each.name for each in self._destinations if not each.paused and each.under_way < each.concurrency]
        due_at = outbox.next_due(self._reads, names, now_ms())
        pause = POLL_SECONDS if due_at is None else min(POLL_SECONDS, (due_at - now_ms()) / 1000)
        for each in self._destinations:
            if each.rate is not None and each.allowance() < 1:
                pause = min(pause, each.rate.seconds / each.rate.count)
        return max(pause, 0.001)

    def _attempt(self, claim: _Claim, lease_ends: float) -> None:
        """One try in a thread of its own, from the claim to the record of its result."""
        try:
            if self._stopping or time.monotonic() > lease_ends - claim.destination.lease / 2:
                self._writer.run(lambda db: outbox.give_back(db, claim.owed, claim.lease))
                return
            self._try(claim)
        except LeaseLost:
            log.warning("delivery %s to %s took longer than its lease", claim.owed.id, claim.destination.name)
        except Exception:
            # The lease runs out, and the next attempt looks for what this one made.
            log.exception("what became of delivery %s could not be recorded", claim.owed.id)
        finally:
            with self._lock:
                claim.destination.under_way -= 1
                self._under_way.discard(claim.owed.seq)
            self._bell.press()

    def _try(self, claim: _Claim) -> None:
        if claim.content is not None and claim.content.update and claim.item is None:
            reason = "the conversation has no item here to comment on"
            self._record(claim, lambda db: outbox.suppressed(db, claim.owed, claim.lease, reason, now_ms()))
            return
        started_at, clock = now_ms(), time.monotonic()
        receipt: Receipt | None = None
        error: DeliveryError | None = None
        try:
            receipt = self._deliver(claim)
        except DeliveryError as raised:
            error = raised
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

    def _deliver(self, claim: _Claim) -> Receipt:
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
            rule=owed.rule,
            attachments=tuple(
                self._attachment(message.attachments[position]) for position in claim.content.attachments
            ),
            item=claim.item,
            attempt=owed.attempt,
            steps=steps,
            record=record,
        )
        step = "comment" if claim.item is not None else "item"
        if owed.uncertain and integration.guarantee in _SEARCHED and step not in steps:
            found = integration.find(job)
            if found is not None:
                if claim.item is not None and found.reference != claim.item.reference:
                    # An earlier attempt made an item of its own, before the conversation had this one.
                    return found
                record(step, found.reference or "")
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

    def _record_success(self, claim: _Claim, receipt: Receipt, attempt: Attempt) -> None:
        self._record(
            claim,
            lambda db: outbox.delivered(
                db,
                claim.owed,
                claim.lease,
                attempt,
                reference=receipt.reference,
                url=receipt.url,
                opens_item=claim.destination.makes_items and claim.item is None,
                now=now_ms(),
            ),
        )

    def _record_failure(self, claim: _Claim, error: DeliveryError, started_at: int, took: int) -> None:
        retried = AttemptResult.UNKNOWN if error.unknown else AttemptResult.FAILED
        result = AttemptResult.REFUSED if error.permanent else retried
        attempt = Attempt(
            claim.owed.attempt, started_at, took, result, error.status, error.reason, error.answer[:_ANSWER] or None
        )
        gone = error.item_gone and claim.item is not None
        pause = None if error.permanent else claim.destination.pause_after(claim.owed.tries + 1, error.retry_after)
        if gone and pause is not None:
            pause = 0.0  # What it was to comment on is no more: the next attempt makes an item.
        retry_at = None if pause is None else now_ms() + int(pause * 1000)
        log.info("delivery %s to %s: %s", claim.owed.id, claim.destination.name, error.reason)
        self._record(
            claim,
            lambda db: outbox.failed(
                db,
                claim.owed,
                claim.lease,
                attempt,
                retry_at=retry_at,
                opens_item=claim.destination.makes_items,
                item_gone=gone,
                now=now_ms(),
            ),
        )

    def _record(self, claim: _Claim, work: Work[bool]) -> None:
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

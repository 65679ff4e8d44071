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
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from postroom.answer import Answering
from postroom.attempt import Attempts, Claim, LeaseLost
from postroom.destination import Destination
from postroom.doorbell import Bell
from postroom.ids import now_ms
from postroom.integration import Receipt
from postroom.message import Message
from postroom.plan import Content, Step
from postroom.store import outbox
from postroom.store.content import pack_content, unpack, unpack_content
from postroom.store.database import connect
from postroom.store.destinations import standings
from postroom.store.outbox import Owed
from postroom.store.writer import Writer

log = logging.getLogger("postroom.dispatch")

POLL_SECONDS = 2.0
"""Behind the bell: work that nobody rang for is found this late."""


class Render(Protocol):
    """Renders one step under the message's rule set. Raises ValueError with the reason."""

    def __call__(
        self, owed: Owed, step: Step, message: Message, *, message_url: str, reply_address: str, continues: bool
    ) -> Content: ...


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
        self._attempts = Attempts(database, self._writer, message_url, answering)
        self._under_way: set[int] = set()
        self._stopping = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers + len(self._destinations), thread_name_prefix="deliver")

    def stop(self) -> None:
        """Ends `run` after what is under way. May be called from a signal handler."""
        self._stopping = True
        self._attempts.stop()
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
        makers = frozenset(each.name for each in self._destinations if each.makes_items)
        with self._lock:
            # What a thread here still works on is not lost, however long it takes.
            alive = frozenset(self._under_way)
        return self._writer.run(
            lambda db: outbox.reap(db, now_ms(), until=until, alive=alive, rounds=rounds, makers=makers)
        )

    def _claim(self) -> list[Claim]:
        """Takes what is due, as much as every destination's limits allow, in one short transaction."""
        candidates: list[Claim] = []
        now = now_ms()
        total = sum(each.under_way for each in self._destinations)
        known = standings(self._reads)
        random.shuffle(self._destinations)
        for destination in self._destinations:
            destination.adopt(known.get(destination.name))
            # Each destination can always have one under way, whatever the slow ones hold.
            share = max(self._workers - total - len(candidates), 0 if destination.under_way else 1)
            room = min(share, destination.room(now))
            if room <= 0:
                continue
            # A probe is best made by what was tried least: another may fail by its own fault.
            fresh = destination.circuit.is_open
            for owed in outbox.due(self._reads, destination.name, now, room, fewest_tries=fresh):
                candidates.append(self._prepare(owed, destination))
        if not candidates:
            return []

        def take(db: sqlite3.Connection) -> list[Claim]:
            taken = []
            for each in candidates:
                until = now_ms() + int(each.destination.lease * 1000)
                if outbox.claim(db, each.owed, each.frozen, each.lease, until):
                    taken.append(each)
            return taken

        return self._writer.run(take)

    def _prepare(self, owed: Owed, destination: Destination) -> Claim:
        message: Message | None = None
        content: Content | None = None
        frozen = owed.content
        fault = ""
        known = None
        if destination.makes_items and not owed.own_item:
            known = outbox.item_of(self._reads, owed.conversation, owed.destination)
        item = Receipt(*known) if known else None
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
        return Claim(
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

    def _start(self, claims: list[Claim]) -> None:
        for claim in claims:
            with self._lock:
                claim.destination.under_way += 1
                self._under_way.add(claim.owed.seq)
            claim.destination.spend(1)
            self._pool.submit(self._attempt, claim, time.monotonic() + claim.destination.lease)

    def _pause(self) -> float:
        now = now_ms()
        names = [each.name for each in self._destinations if each.room(now) > 0]
        due_at = outbox.next_due(self._reads, names, now)
        pause = POLL_SECONDS if due_at is None else min(POLL_SECONDS, (due_at - now) / 1000)
        for each in self._destinations:
            pause = min(pause, each.opens_in(now))
        return max(pause, 0.001)

    def _attempt(self, claim: Claim, lease_ends: float) -> None:
        """One try in a thread of its own, from the claim to the record of its result."""
        try:
            if self._stopping or time.monotonic() > lease_ends - claim.destination.lease / 2:
                self._writer.run(lambda db: outbox.give_back(db, claim.owed, claim.lease))
                return
            self._attempts.make(claim)
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

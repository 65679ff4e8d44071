"""`/destinations`: how each stands, and the switch that lets its deliveries wait."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from threading import BoundedSemaphore
from typing import Annotated

import msgspec
from msgspec import Meta

from postroom.store import destinations as store
from postroom.store.destinations import Queue, Standing
from postroom.store.history import History
from postroom.web.api.contract import Call, Done, Fault, OneName, Route
from postroom.web.destinations import MOST, Deeds, Way


class DestinationState(msgspec.Struct, frozen=True):
    """A destination, how it stands, and what it is owed."""

    name: str
    kind: str
    summary: str
    guarantee: str
    paused_in_config: bool
    """Paused by config.yaml: then nothing here resumes it."""
    standing: Standing
    queue: Queue


class DestinationList(msgspec.Struct, frozen=True):
    """Every destination of config.yaml."""

    rows: list[DestinationState]


class Pause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why deliveries shall wait."""

    reason: Annotated[str, Meta(max_length=300)] = ""


class CheckResult(msgspec.Struct, frozen=True):
    """What a destination said of itself."""

    well: bool
    found: tuple[str, ...]
    """Sentences: who Postroom is there and what that account may do, or the one fault."""


class TestSent(msgspec.Struct, frozen=True):
    """A test delivery is under way: `/messages/{id}` tells what becomes of it."""

    message: str
    """The message's id."""


class Retried(msgspec.Struct, frozen=True):
    """So many deliveries are tried again."""

    done: int


_CHECKS_AT_ONCE = 4
"""A check may take as long as the destination: it must not take all threads."""
_UNKNOWN = {404: "No destination has this name."}
_STANDS = {**_UNKNOWN, 409: "It stands so already."}


def routes(history: History, ways: Sequence[Way], deeds: Deeds) -> list[Route]:
    """`ways` are the destinations of config.yaml, `deeds` what can be done to them."""
    turns = BoundedSemaphore(_CHECKS_AT_ONCE)
    by_name = {way.name: way for way in ways}

    def states(ways: Sequence[Way]) -> list[DestinationState]:
        seen = history.read(partial(store.look, names=[way.name for way in ways]))
        return [
            DestinationState(way.name, way.kind, way.summary, way.guarantee, way.paused, *seen[way.name])
            for way in ways
        ]

    def every(_: Call) -> DestinationList:
        return DestinationList(states(ways))

    def destination(call: Call) -> DestinationState:
        return states([by_name[named(call)]])[0]

    def named(call: Call) -> str:
        name: str = call.path.name
        if name not in by_name:
            raise Fault(404, "No destination has this name.")
        return name

    def pause(call: Call) -> Done:
        name = named(call)
        # One line: it stands in lists and in the log.
        reason = " ".join(call.body.reason.split())
        if not deeds.pause(name, call.who, reason):
            raise Fault(409, f"{name} is paused already.")
        return Done()

    def resume(call: Call) -> Done:
        name = named(call)
        if not deeds.resume(name, call.who):
            raise Fault(409, f"{name} is neither paused from here, nor is its circuit open.")
        return Done()

    def check(call: Call) -> CheckResult:
        name = named(call)
        if not turns.acquire(blocking=False):
            raise Fault(503, "Too many destinations are asked at once.", headers={"Retry-After": "10"})
        try:
            well, found = deeds.check(name, call.who)
        finally:
            turns.release()
        return CheckResult(well, tuple(found))

    def test(call: Call) -> TestSent:
        name = named(call)
        if needed := by_name[name].needs_fields:
            raise Fault(409, f"No test delivery can be made: a rule must give {', '.join(needed)}.")
        return TestSent(deeds.test(name, call.who))

    def retry(call: Call) -> Retried:
        name = named(call)
        dead = history.read(partial(store.dead, name=name, most=MOST))
        return Retried(deeds.retry([id for _, id in dead], call.who) if dead else 0)

    path = "/destinations/{name}"
    return [
        Route("GET", "/destinations", "Every destination: paused, circuit, what waits.", every, DestinationList),
        Route("GET", path, "One destination.", destination, DestinationState, takes=OneName, faults=_UNKNOWN),
        Route("POST", f"{path}/pause", "Lets its deliveries wait.", pause, Done, "operator", takes=OneName,
              body=Pause, faults=_STANDS),
        Route("POST", f"{path}/resume", "Ends a pause, and lets an open circuit be probed at once.", resume, Done,
              "operator", takes=OneName, faults=_STANDS),
        Route("POST", f"{path}/check", "Asks it whether address and credentials hold; nothing is sent.", check,
              CheckResult, "operator", takes=OneName, faults=_UNKNOWN),
        Route("POST", f"{path}/test", "Sends a test delivery: a message that nobody wrote.", test, TestSent,
              "operator", takes=OneName, faults={**_UNKNOWN, 409: "Only a rule can give it what it needs."}),
        Route("POST", f"{path}/retry", f"Tries again what is dead there: the oldest {MOST:,} at most.", retry, Retried,
              "operator", takes=OneName, faults=_UNKNOWN),
    ]  # fmt: skip

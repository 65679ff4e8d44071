"""`/destinations`: how each stands, and the switch that lets its deliveries wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from postroom.ids import now_ms
from postroom.store import destinations
from postroom.store.destinations import Queue, Standing
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.web.api.contract import Call, Done, Fault, OneName, Route
from postroom.web.destinations import Way


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


Check = Callable[[str], tuple[bool, Sequence[str]]]

_UNKNOWN = {404: "No destination has this name."}
_STANDS = {**_UNKNOWN, 409: "It stands so already."}


def routes(history: History, writer: Writer, ways: Sequence[Way], check: Check | None = None) -> list[Route]:
    """`ways` are the destinations of config.yaml; `check` asks one, by its name, of itself."""
    by_name = {way.name: way for way in ways}

    def state(way: Way) -> DestinationState:
        standing = history.read(destinations.standings).get(way.name, destinations.Standing())
        queue = history.read(partial(destinations.queue, name=way.name))
        return DestinationState(way.name, way.kind, way.summary, way.guarantee, way.paused, standing, queue)

    def every(_: Call) -> DestinationList:
        return DestinationList([state(way) for way in ways])

    def destination(call: Call) -> DestinationState:
        return state(by_name[named(call)])

    def named(call: Call) -> str:
        name: str = call.path.name
        if name not in by_name:
            raise Fault(404, "No destination has this name.")
        return name

    def pause_it(call: Call) -> Done:
        name = named(call)
        # One line: it stands in lists and in the log.
        reason = " ".join(call.body.reason.split())
        if not writer.run(lambda db: destinations.pause(db, name, call.who, reason, now_ms())):
            raise Fault(409, f"{name} is paused already.")
        return Done()

    def resume_it(call: Call) -> Done:
        name = named(call)
        if not writer.run(lambda db: destinations.resume(db, name, call.who, now_ms())):
            raise Fault(409, f"{name} is neither paused from here, nor is its circuit open.")
        return Done()

    def check_it(call: Call) -> CheckResult:
        assert check is not None
        well, found = check(named(call))
        return CheckResult(well, tuple(found))

    made = [
        Route("GET", "/destinations", "Every destination: paused, circuit, what waits.", every, DestinationList),
        Route("GET", "/destinations/{name}", "One destination.", destination, DestinationState, takes=OneName,
              faults=_UNKNOWN),
        Route("POST", "/destinations/{name}/pause", "Lets its deliveries wait.", pause_it, Done, "operator",
              takes=OneName, body=Pause, faults=_STANDS),
        Route("POST", "/destinations/{name}/resume", "Ends a pause, and lets an open circuit be probed at once.",
              resume_it, Done, "operator", takes=OneName, faults=_STANDS),
    ]  # fmt: skip
    if check is not None:
        summary = "Asks the destination whether address and credentials hold; nothing is sent."
        path = "/destinations/{name}/check"
        made.append(Route("POST", path, summary, check_it, CheckResult, "operator", takes=OneName, faults=_UNKNOWN))
    return made

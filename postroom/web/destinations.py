"""The dashboard's page of destinations: how each stands, and what a person can do about it.

| URL | what |
| --- | --- |
| `GET /destinations` | every destination: paused, circuit, what waits, what failed lately, its last day |
| `POST /destinations/NAME/pause`, `/resume` | 303 back to the page; needs the role operator, as all below |
| `POST /destinations/NAME/check` | asks it whether address and credentials hold; nothing is sent. 303 |
| `GET`, `POST /destinations/NAME/test` | what a test delivery is; sends one: 303 to its message |
| `GET`, `POST /destinations/NAME/retry` | how many dead deliveries are tried again; does so, 1,000 at most: 303 |

htmx asks for the page every ten seconds and gets the part that changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom.ids import now_ms
from postroom.store import destinations as store
from postroom.store import statistics
from postroom.store.destinations import COUNTED_TO
from postroom.store.history import History
from postroom.web import auth, charts, display

MOST = 1_000
"""Dead deliveries that are tried again at once."""
_LONGEST_REASON = 300
_DAY_MS = 86_400_000
_CHECKS_AT_ONCE = 4
"""A check may take as long as the destination: it must not take all threads."""


@dataclass(frozen=True, slots=True)
class Way:
    """A destination as config.yaml has it."""

    name: str
    kind: str
    summary: str
    guarantee: str
    paused: bool
    """By config.yaml: then no button resumes it."""
    needs_fields: tuple[str, ...] = ()
    """What only a rule can give it: then no test delivery can be made."""


@dataclass(frozen=True, slots=True)
class Deeds:
    """What can be done to a destination, by its name. `who` is the person."""

    pause: Callable[[str, str, str], bool]
    """Takes name, who and why; False where it is paused already."""
    resume: Callable[[str, str], bool]
    check: Callable[[str, str], tuple[bool, Sequence[str]]]
    """Whether all is well there, and sentences."""
    test: Callable[[str, str], str]
    """Sends a test delivery; the message's id."""
    retry: Callable[[Sequence[str], str], int]
    """Takes ids of deliveries and who; how many are tried again."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a destination said of itself when somebody asked it last. Kept in memory."""

    well: bool
    found: tuple[str, ...]
    who: str
    at: int


def blueprint(
    *, history: History, ways: Sequence[Way], deeds: Deeds, problems: Callable[[], Sequence[str]]
) -> Blueprint:
    """The page."""
    pages = Blueprint("destinations", __name__)
    pages.before_request(auth.require_login)
    pages.context_processor(lambda: {"problems": list(problems())})
    pages.add_app_template_filter(charts.within, "within")
    known = {way.name: way for way in ways}
    checks: dict[str, Checked] = {}
    asking: set[str] = set()
    lock = threading.Lock()

    @pages.get("/destinations")
    def destinations() -> ResponseReturnValue:
        until = now_ms()
        since = until - _DAY_MS
        return render_template(
            "_destinations.html" if request.headers.get("HX-Request") == "true" else "destinations.html",
            ways=ways,
            states=history.read(partial(store.look, names=list(known))),
            results=history.read(partial(statistics.results, since=since, until=until)),
            latencies=history.read(partial(statistics.latencies, since=since, until=until)),
            checks=dict(checks),
            cap=COUNTED_TO,
        )

    @pages.post("/destinations/<name>/pause")
    def pause_destination(name: str) -> ResponseReturnValue:
        reason = display.line(request.form.get("reason", ""), _LONGEST_REASON).strip()
        return switched(name, lambda who: deeds.pause(name, who, reason), f"{name} is paused: its deliveries wait.")

    @pages.post("/destinations/<name>/resume")
    def resume_destination(name: str) -> ResponseReturnValue:
        return switched(name, partial(deeds.resume, name), f"{name} goes on: what waits for it is tried now.")

    def switched(name: str, switch: Callable[[str], bool], done: str) -> ResponseReturnValue:
        way, who = acted_on(name)
        if switch(who):
            flash(done, "good")
        else:
            flash(f"{name} stands so already.", "bad")
        return back_to(way)

    @pages.post("/destinations/<name>/check")
    def check_destination(name: str) -> ResponseReturnValue:
        way, who = acted_on(name)
        with turn(name) as free:
            if free:
                well, found = deeds.check(name, who)
                checks[name] = Checked(well, tuple(found), who, now_ms())
            else:
                flash(f"{name} is asked already, or too many others are: wait a moment.", "bad")
        return back_to(way)

    @contextmanager
    def turn(name: str) -> Iterator[bool]:
        """True where this destination may be asked now."""
        with lock:
            free = name not in asking and len(asking) < _CHECKS_AT_ONCE
            if free:
                asking.add(name)
        try:
            yield free
        finally:
            if free:
                with lock:
                    asking.discard(name)

    @pages.get("/destinations/<name>/test")
    def test_form(name: str) -> ResponseReturnValue:
        way, _ = acted_on(name)
        sentences = [
            f"A test message is stored, and delivered to {name} as any other. {way.summary}",
            "It says that it is a test and who sent it. What it makes there is real, and yours to delete.",
        ]
        if way.needs_fields:
            sentences = [f"No test delivery can be sent: a rule must give {', '.join(way.needs_fields)}."]
        return confirmed(way, f"Send a test delivery to {name}", sentences, "" if way.needs_fields else "Send it")

    @pages.post("/destinations/<name>/test")
    def send_test(name: str) -> ResponseReturnValue:
        way, who = acted_on(name)
        if way.needs_fields:
            abort(400, "No test delivery can be sent to this destination.")
        id = deeds.test(name, who)
        flash(f"A test delivery to {name} is under way: this page shows what becomes of it.", "good")
        return redirect(url_for("dashboard.message", id=id), 303)

    @pages.get("/destinations/<name>/retry")
    def retry_form(name: str) -> ResponseReturnValue:
        way, _ = acted_on(name)
        dead = history.read(partial(store.dead, name=name, most=MOST + 1))
        count, some = min(len(dead), MOST), len(dead) > MOST
        if not dead:
            return confirmed(way, f"Retry all dead at {name}", [f"No delivery to {name} is dead."], "")
        sentences = [
            f"{'The oldest ' if some else ''}{count:,} {'delivery' if count == 1 else 'deliveries'} to {name} will be"
            " tried again, with the same content and the same keys, from the beginning of the schedule."
        ]
        if some:
            sentences.append(f"There are more: at most {MOST:,} are taken at once.")
        verb = "Retry it" if count == 1 else f"Retry {count:,}"
        return confirmed(way, f"Retry all dead at {name}", sentences, verb, dead[:MOST][-1][0])

    @pages.post("/destinations/<name>/retry")
    def retry_dead(name: str) -> ResponseReturnValue:
        way, who = acted_on(name)
        upto = request.form.get("upto", 0, type=int)
        # No more than the form spoke of: what died meanwhile is another matter.
        dead = history.read(partial(store.dead, name=name, most=MOST))
        done = deeds.retry([id for seq, id in dead if seq <= upto], who)
        if done:
            flash(f"{done:,} {'delivery' if done == 1 else 'deliveries'} to {name} will be tried again now.", "good")
        else:
            flash(f"No delivery to {name} is dead any more.", "bad")
        return back_to(way)

    def acted_on(name: str) -> tuple[Way, str]:
        auth.require_role("operator")
        if name not in known:
            abort(404, "No destination has this name.")
        return known[name], auth.current_user() or ""

    def confirmed(way: Way, title: str, sentences: Sequence[str], verb: str, upto: int = 0) -> ResponseReturnValue:
        return render_template(
            "destination_confirm.html", way=way, title=title, sentences=sentences, verb=verb, upto=upto
        )

    def back_to(way: Way) -> ResponseReturnValue:
        return redirect(url_for("destinations.destinations", _anchor=way.name), 303)

    return pages

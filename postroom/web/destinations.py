"""The dashboard's page of destinations: how each stands, and the switch that lets its deliveries wait.

| URL | what |
| --- | --- |
| `GET /destinations` | every destination: paused, circuit, what waits and for how long, what failed lately |
| `POST /destinations/NAME/pause`, `/resume` | 303 back to the page; needs the role operator |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom.store.destinations import COUNTED_TO, Queue, Standing
from postroom.web import auth, display

_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Way:
    """A destination as config.yaml has it."""

    name: str
    kind: str
    summary: str
    guarantee: str
    paused: bool
    """By config.yaml: then no button resumes it."""


def blueprint(
    *,
    ways: Sequence[Way],
    look: Callable[[], Mapping[str, tuple[Standing, Queue]]],
    pause: Callable[[str, str, str], bool],
    resume: Callable[[str, str], bool],
    problems: Callable[[], Sequence[str]],
) -> Blueprint:
    """The page. `look` tells how each way stands; `pause` takes its name, who and why, `resume` its name and who."""
    pages = Blueprint("destinations", __name__)
    pages.before_request(auth.require_login)
    pages.context_processor(lambda: {"problems": list(problems())})
    known = {way.name for way in ways}

    @pages.get("/destinations")
    def destinations() -> ResponseReturnValue:
        return render_template("destinations.html", ways=ways, states=look(), cap=COUNTED_TO)

    @pages.post("/destinations/<name>/pause")
    def pause_destination(name: str) -> ResponseReturnValue:
        reason = display.line(request.form.get("reason", ""), _LONGEST_REASON).strip()
        return switched(name, lambda who: pause(name, who, reason), f"{name} is paused: its deliveries wait.")

    @pages.post("/destinations/<name>/resume")
    def resume_destination(name: str) -> ResponseReturnValue:
        return switched(name, lambda who: resume(name, who), f"{name} goes on: what waits for it is tried now.")

    def switched(name: str, switch: Callable[[str], bool], done: str) -> ResponseReturnValue:
        auth.require_role("operator")
        if name not in known:
            abort(404, "No destination has this name.")
        if switch(auth.current_user() or ""):
            flash(done, "good")
        else:
            flash(f"{name} stands so already.", "bad")
        return redirect(url_for("destinations.destinations", _anchor=name), 303)

    return pages

"""The dashboard's first page: where mail goes now, what it does over time, and what needs a person.

| URL | what |
| --- | --- |
| `GET /` | the overview; `range`: 1h, 24h, 7d, 30d, 90d. With `q`, `state` or `before` 302 to `/messages` |

htmx asks for the same URL every ten seconds and gets the part that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom.ids import now_ms
from postroom.store import overview as store
from postroom.store.destinations import COUNTED_TO, OURSELVES, Queue, Standing
from postroom.store.history import History
from postroom.web import auth, charts, display, flow
from postroom.web.destinations import Way
from postroom.web.refusals import Refused

RANGES = {"1h": 1, "24h": 24, "7d": 7 * 24, "30d": 30 * 24, "90d": 90 * 24}
"""In hours."""
_HOUR_MS = 3_600_000
_DEFAULT = "24h"
_MOVED = ("q", "state", "before")
"""What the list of messages is asked with, which was at `/` once."""
_ROWS = 100


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that needs a person. `tone`: a state's name, for its colour; `more`: sentences beneath."""

    text: str
    url: str | None = None
    tone: str = "dead"
    count: int | None = None
    more: tuple[str, ...] = ()


def blueprint(
    *,
    history: History,
    ways: Sequence[Way],
    concerns: Callable[[], Sequence[Concern]],
    refusals: Callable[[], Mapping[str, Refused]],
    ingresses: Sequence[str] = (),
    public_url: str = "",
) -> Blueprint:
    """The page. `concerns`: what the program itself knows to be wrong; `refusals`: of secrets, by way in.

    `ingresses` and `public_url` make the endpoint URLs that the empty page shows a newcomer.
    """
    pages = Blueprint("overview", __name__)
    pages.before_request(auth.require_login)
    pages.add_app_template_filter(charts.within, "within")
    pages.add_app_template_filter(charts.moment, "moment")

    @pages.get("/")
    def overview() -> ResponseReturnValue:
        if any(name in request.args for name in _MOVED):
            return redirect(f"{url_for('dashboard.messages')}?{request.query_string.decode('ascii', 'replace')}")
        chosen = request.args.get("range", _DEFAULT)
        if chosen not in RANGES:
            abort(400, f"There is no such range; known are {', '.join(RANGES)}.")
        until = now_ms()
        since = until - RANGES[chosen] * _HOUR_MS
        seen = history.read(partial(store.look, since=since, until=until, names=[way.name for way in ways]))
        base = (public_url or request.url_root).rstrip("/")
        return render_template(
            "_overview.html" if request.headers.get("HX-Request") == "true" else "overview.html",
            ranges=RANGES,
            chosen=chosen,
            seen=seen,
            ways=ways,
            empty=seen.empty,
            endpoints=[f"{base}/inbound/{name}" for name in ingresses],
            picture=flow.draw(seen.flows, seen.arrivals, seen.dead, partial(_list_of, chosen)),
            flow=flow,
            rows=[(each, _list_of(chosen, each.rule, each.destination)) for each in seen.flows[:_ROWS]],
            list_of=partial(_list_of, chosen),
            charts=charts,
            needs=[*concerns(), *_of_ways(ways, seen.standings), *_of_refusals(refusals()), *_of_counts(seen)],
            cap=COUNTED_TO,
        )

    return pages


def _list_of(chosen: str, rule: str, destination: str, state: str = "") -> str:
    """The messages of the chosen time that a rule matched and that went to a destination; either empty for any."""
    terms = []
    if destination in flow.TONES:
        state, destination = destination.strip("()"), ""
    for key, value in (("rule", rule), ("dest", destination)):
        if '"' in value:
            # The search has no way to say it whole: words find it, if not it alone.
            terms.append(value.replace('"', " ") if " " in value else f"{key}:{value}")
        elif value:
            terms.append(f'{key}:"{value}"')
    if state:
        terms.append(f"state:{state}")
    return url_for("dashboard.messages", q=" ".join((*terms, f"after:{chosen}")))


def _of_counts(seen: store.Overview) -> Iterator[Concern]:
    for state, count, thing, text in (
        ("held", seen.held, "message", "held: a rule or the loop brake wants a person to decide"),
        ("unmatched", seen.unmatched, "message", "unmatched: no rule planned anything"),
        ("dead", seen.given_up, "delivery", "given up"),
    ):
        if count:
            things = thing if count == 1 else "deliveries" if thing == "delivery" else f"{thing}s"
            yield Concern(f"{things} {text}", url_for("dashboard.messages", state=state), state, count)


def _of_ways(ways: Sequence[Way], standings: Mapping[str, tuple[Standing, Queue]]) -> Iterator[Concern]:
    for way in ways:
        standing, queue = standings[way.name]
        url = url_for("destinations.destinations", _anchor=way.name)
        reason = f": {standing.pause_reason}" if standing.pause_reason else ""
        if standing.opened_at is not None:
            text = f"the destination {way.name} fails again and again; its deliveries wait: {standing.error}"
            yield Concern(text, url)
        elif standing.paused_by == OURSELVES:
            yield Concern(f"the destination {way.name} is paused, for it wants no more deliveries{reason}", url)
        elif standing.paused_at is not None:
            since = display.ago(standing.paused_at)
            yield Concern(f"the destination {way.name} is paused by {standing.paused_by}, {since}{reason}", url, "held")
        elif way.paused and queue.waiting:
            yield Concern(f"the destination {way.name} is paused in config.yaml, and deliveries wait", url, "held")


def _of_refusals(refusals: Mapping[str, Refused]) -> Iterator[Concern]:
    for name, each in refusals.items():
        count = (
            f"more than {each.count:,} requests"
            if each.more
            else "a request"
            if each.count == 1
            else f"{each.count:,} requests"
        )
        text = f"the way in {name} refused {count} in the last day, for the secret was wrong"
        yield Concern(f"{text}; the last {display.ago(each.last)}", tone="retrying")

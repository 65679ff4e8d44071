"""Every page in a real browser: wide and narrow, light and dark, nothing wrong, nothing in anybody's way."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Response, Route

import app
from tests.browser.conftest import Open
from tests.browser.mailroom import Mailroom
from tests.browser.pages import NO_PAGES, PAGES, Shown
from tests.browser.watch import OF_COLOURS, OF_LAYOUT, Watch, unfold, violations

SIZES = {1280: 800, 390: 844}
_BY_NAME = {each.name: each for each in PAGES}


def test_every_page_is_on_the_list(room: Mailroom) -> None:
    made = app.create_app(*app.load_config(room.instance.config_file))
    routes = {rule.rule for rule in made.url_map.iter_rules() if rule.methods and "GET" in rule.methods}
    api = {rule for rule in routes if rule.startswith("/api/") and rule not in {each.rule for each in PAGES}}
    listed = {each.rule for each in PAGES if each.rule}
    assert listed | set(NO_PAGES) == routes - api


@pytest.mark.parametrize("name", _BY_NAME)
def test_is_well(name: str, room: Mailroom, shared: tuple[Page, Watch], window: Open) -> None:
    shown = _BY_NAME[name]
    page, watch = shared if shown.who == "edda" else window(shown.who)
    watch.expected = (f"answered {shown.answers}", f"status of {shown.answers}") if shown.answers != 200 else ()
    faults = [fault for width in SIZES for fault in _faults(page, watch, shown, room, width)]
    assert not faults, "\n".join(["", *dict.fromkeys(faults)])


@pytest.mark.parametrize("name", [each.name for each in PAGES if each.who])
def test_is_well_for_a_viewer(name: str, room: Mailroom, viewer: tuple[Page, Watch]) -> None:
    page, watch = viewer
    shown = _BY_NAME[name]
    page.set_viewport_size({"width": 1280, "height": 800})
    watch.expected = ("answered 40", "status of 40")
    watch.take()
    answer = _go(page, shown, room)
    assert answer is not None and answer.status in (shown.answers, 403)
    unfold(page)
    assert violations(page, without=shown.without) == []
    assert watch.take() == []


def _faults(page: Page, watch: Watch, shown: Shown, room: Mailroom, width: int) -> list[str]:
    page.set_viewport_size({"width": width, "height": SIZES[width]})
    page.emulate_media(color_scheme="light")
    watch.take()
    answer = _go(page, shown, room)
    assert answer is not None and answer.status == shown.answers
    faults = [] if shown.framed else _head(page)
    before = page.evaluate("document.documentElement.scrollWidth")
    unfold(page)
    own = page.evaluate("document.documentElement.scrollWidth")
    if max(before, own) > width:
        faults.append(f"{width}: the page is {before} px wide, {own} px unfolded: {_widest(page, width)}")
    rules = () if width == max(SIZES) else OF_LAYOUT
    faults += [f"{width}, light: {each}" for each in violations(page, only=rules, without=shown.without)]
    page.emulate_media(color_scheme="dark")
    faults += [f"{width}, dark: {each}" for each in violations(page, only=OF_COLOURS, without=shown.without)]
    return faults + watch.take()


def _go(page: Page, shown: Shown, room: Mailroom) -> Response | None:
    if not shown.framed:
        return page.goto(shown.path(room))
    # A page whose sandbox forbids scripts cannot be looked at by axe-core: here alone it is opened without.
    page.route("**/html", _without_sandbox)
    answer = page.goto(shown.path(room))
    page.unroute("**/html")
    return answer


def _without_sandbox(route: Route) -> None:
    answer = route.fetch()
    policy, _, sandbox = answer.headers["content-security-policy"].partition("; sandbox")
    assert "allow-scripts" not in sandbox and "script-src" not in policy
    route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": policy})


def _head(page: Page) -> list[str]:
    faults = []
    if not page.title().strip():
        faults.append("no title")
    if (count := page.locator("h1").count()) != 1:
        faults.append(f"{count} headings of the first rank")
    if not page.locator("html").get_attribute("lang"):
        faults.append("no language")
    return faults


def _widest(page: Page, width: int) -> str:
    """The elements that stick out, the innermost last."""
    script = """width => [...document.querySelectorAll('body *')]
      .filter(each => each.getBoundingClientRect().right > width + 0.5)
      .slice(-3).map(each => each.outerHTML.slice(0, 160)).join(' | ')"""
    return str(page.evaluate(script, width))

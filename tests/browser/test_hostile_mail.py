"""Mail that wants the browser to run, load, post or go anywhere, on every page that shows it: nothing happens.

The last tests show the same mail as it came: then the same listeners hear of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route

from tests.browser import hostile
from tests.browser.conftest import Desk, Open
from tests.browser.mailroom import Mailroom
from tests.browser.watch import Watch, unfold
from tests.instance import until

_ANYWHERE = (
    "/",
    "/messages",
    "/messages?q=to:hostile",
    "/messages?state=dead",
    "/messages?q=%3Cscript%3Ealert(1)%3C/script%3E%22%27",
    "/destinations",
    "/destinations/strict/retry",
    "/rules",
    "/rules/backtest?since=30d",
    "/rules/explain?q=to:hostile",
    "/audit",
)
_ABOUT = ("", "?view=raw", "/make-rule", "/make-test", "/retry", "/re-route")
_EACH = [name for name, _ in hostile.mails("")]


@pytest.fixture(scope="module")
def eyes(desk: Desk) -> Iterator[tuple[Page, Watch]]:
    """A window whose page tells of everything that its policy had to stop."""
    context = desk.context("edda")
    page, watch = desk.watched(context)
    context.expose_binding("told", lambda source, what: watch.faults.append(f"the policy stopped {what}"))
    context.add_init_script(
        "addEventListener('securitypolicyviolation', event => told(event.violatedDirective + ' ' + event.blockedURI))"
    )
    yield page, watch
    context.close()


@pytest.mark.parametrize("path", _ANYWHERE)
def test_pages_of_many_mails(path: str, room: Mailroom, eyes: tuple[Page, Watch]) -> None:
    _look(path, room, *eyes)


@pytest.mark.parametrize("name", _EACH)
def test_the_page_of_one_mail(name: str, room: Mailroom, eyes: tuple[Page, Watch]) -> None:
    _look(f"/messages/{room.ids[name]}", room, *eyes)


@pytest.mark.parametrize("about", _ABOUT)
def test_pages_about_the_worst_mail(about: str, room: Mailroom, eyes: tuple[Page, Watch]) -> None:
    _look(f"/messages/{room.ids['everywhere']}{about}", room, *eyes)
    _look(f"/rules/explain?message={room.ids['everywhere']}", room, *eyes)


def test_its_html_opened_by_itself(room: Mailroom, eyes: tuple[Page, Watch]) -> None:
    for name in ("everywhere", "all html", "html 0", "deep"):
        _look(f"/messages/{room.ids[name]}/html", room, *eyes)


def test_only_plain_links_are_left(room: Mailroom, shared: tuple[Page, Watch]) -> None:
    page, _ = shared
    for name in ("everywhere", "all html"):
        page.goto(f"/messages/{room.ids[name]}/html")
        links = page.evaluate("[...document.links].map(each => [each.href, each.target, each.rel])")
        assert links
        for address, target, relation in links:
            assert urlsplit(address).scheme in ("http", "https", "mailto"), address
            assert target == "_blank" and "noopener" in relation and "noreferrer" in relation
        assert page.locator("script, style, link:not([href^='/static/']), img, form, input, svg, base").count() == 0


def test_what_can_be_downloaded_is_never_opened(room: Mailroom, window: Open) -> None:
    page, watch = window("edda")
    id = room.ids["everywhere"]
    exports = ("/messages/export.csv?q=to:hostile", "/messages/export.json?q=to:hostile", "/audit.csv")
    for path in (f"/messages/{id}/payload", *(f"/messages/{id}/attachments/{number}" for number in range(5)), *exports):
        page.goto("/account")
        with page.expect_download() as download:
            page.evaluate("path => { location.href = path }", path)
        name = download.value.suggested_filename
        assert not set(name) & set("/\\\u202e\u2066\r\n") and download.value.failure() is None
        answer = page.request.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "text/html" not in answer.headers["content-type"] and "svg" not in answer.headers["content-type"]
    assert watch.take() == [] and room.trap.requests == []


def test_the_list_stays_as_wide_as_the_window(room: Mailroom, window: Open) -> None:
    page, _ = window("edda", viewport={"width": 390, "height": 844})
    for path in ("/messages?q=to:hostile", *(f"/messages/{room.ids[name]}" for name in _EACH if "subject" in name)):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_a_mail_shown_as_it_came_is_noticed(room: Mailroom, window: Open) -> None:
    """Without any of the fences: the listeners hear scripts, dialogs, requests and leaving."""
    page, watch = window("edda")
    body = hostile.everywhere(room.trap.url)["Message"]["HtmlBody"]
    _serve(page, "<!doctype html><title>raw</title>" + body)
    page.goto(f"/messages/{room.ids['everywhere']}", wait_until="commit")
    until(lambda: page.wait_for_timeout(50) or _heard(watch, "dialog", "leaves the origin"), "it is heard")
    until(lambda: page.wait_for_timeout(50) or _heard(watch, "navigated to"), "the page was left")
    until(lambda: page.wait_for_timeout(50) or room.trap.requests, "the trap is asked")
    room.trap.requests.clear()


def test_a_script_of_a_mail_is_noticed(room: Mailroom, window: Open) -> None:
    page, watch = window("edda")
    _serve(page, f"<!doctype html><title>raw</title><script>{hostile.script(room.trap.url, 'x')}</script>")
    page.goto(f"/messages/{room.ids['everywhere']}")
    assert watch.owned() == ["x"]
    assert any(fault.startswith("dialog") for fault in watch.take())
    room.trap.requests.clear()


def test_html_that_was_not_cleaned_is_noticed_within_its_frame(room: Mailroom, window: Open) -> None:
    """The policy and the sandbox still stand: scripts do not run, and what was stopped is told."""
    page, watch = window("edda")
    raw = "<!doctype html><title>raw</title>" + "".join(hostile.markup(room.trap.url, "frame")[:5])

    def serve(route: Route) -> None:
        route.fulfill(response=route.fetch(), body=raw)

    page.route("**/html", serve)
    page.goto(f"/messages/{room.ids['all html']}")
    unfold(page)
    page.locator("iframe").scroll_into_view_if_needed()
    until(lambda: page.wait_for_timeout(50) or _heard(watch, "Content Security Policy"), "the policy tells")
    assert watch.owned() == [] and room.trap.requests == [], "the second fence holds"


def _look(path: str, room: Mailroom, page: Page, watch: Watch) -> None:
    watch.take()
    page.goto(path)
    unfold(page)
    _unfold_frames(page)
    assert watch.take() == []
    assert watch.owned() == []
    assert page.url == room.base + path
    assert len(page.context.pages) == 1
    assert room.trap.requests == []


def _unfold_frames(page: Page) -> None:
    """Frames are loaded when they come into sight."""
    for frame in page.locator("iframe").all():
        frame.scroll_into_view_if_needed()
        until(lambda: page.wait_for_timeout(10) or len(page.frames) > 1, "the frame is there")
        inner = page.frames[-1]
        inner.wait_for_url("**/html", wait_until="load")


def _serve(page: Page, body: str) -> None:
    page.route("**/messages/*", lambda route: route.fulfill(body=body, content_type="text/html"))


def _heard(watch: Watch, *words: str) -> bool:
    return all(any(word in fault for fault in watch.faults) for word in words)

"""One Chromium and one filled instance for all tests in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, sync_playwright

from tests.browser import mailroom
from tests.browser.mailroom import PASSWORD, PEOPLE, Mailroom
from tests.browser.watch import Watch
from tests.needs import require
from tests.servers import Receiver

CHROMIUM = shutil.which("chromium")
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium. Without one tests fail where CI=true, and are skipped elsewhere."""
    require(None if CHROMIUM else "real Chromium absent: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailroom]:
    """The filled instance. Tests that change it take mail that no other test looks at."""
    with Receiver() as receiver, Receiver() as trap:
        found = mailroom.build(tmp_path_factory.mktemp("mailroom"), receiver, trap)
        yield found
        found.instance.kill()


@dataclass
class Desk:
    """Opens windows of people at the instance's dashboard."""

    browser: Browser
    room: Mailroom
    sessions: dict[str, StorageState]

    def context(self, name: str | None = "edda", **options: Any) -> BrowserContext:
        """Where this person is logged in; nobody is, without a name."""
        stored = self._session(name) if name else None
        context = self.browser.new_context(base_url=self.room.base, storage_state=stored, **options)
        context.set_default_timeout(10_000)
        return context

    def watched(self, context: BrowserContext) -> tuple[Page, Watch]:
        page = context.new_page()
        return page, Watch(page, self.room.base)

    def _session(self, name: str) -> StorageState:
        assert name in PEOPLE
        if name not in self.sessions:
            context = self.browser.new_context(base_url=self.room.base)
            page = context.new_page()
            page.goto("/login")
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url(lambda url: "/login" not in url)
            self.sessions[name] = context.storage_state()
            context.close()
        return self.sessions[name]


@pytest.fixture(scope="session")
def desk(browser: Browser, room: Mailroom) -> Desk:
    return Desk(browser, room, {})


Open = Callable[..., tuple[Page, Watch]]


@pytest.fixture
def window(desk: Desk) -> Iterator[Open]:
    """Opens a watched window: takes what `Desk.context` takes. All are closed at the end of the test."""
    contexts: list[BrowserContext] = []

    def make(name: str | None = "edda", **options: Any) -> tuple[Page, Watch]:
        contexts.append(desk.context(name, **options))
        return desk.watched(contexts[-1])

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shared(desk: Desk) -> Iterator[tuple[Page, Watch]]:
    """One watched window of the editor for all tests of a file."""
    context = desk.context("edda")
    yield desk.watched(context)
    context.close()


@pytest.fixture(scope="module")
def viewer(desk: Desk) -> Iterator[tuple[Page, Watch]]:
    """The same of somebody who only looks."""
    context = desk.context("vera")
    yield desk.watched(context)
    context.close()

"""A page of a browser that is watched: whatever must not happen on it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Dialog, Page, Request, Response

from tests.browser.hostile import OWNED

_AXE = (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")
_STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_COLOURS = ("color-contrast", "link-in-text-block")
"""What may differ between light and dark."""
OF_LAYOUT = (
    *OF_COLOURS, "scrollable-region-focusable", "target-size", "heading-order", "landmark-unique", "region",
    "page-has-heading-one", "landmark-one-main", "duplicate-id-aria", "label", "button-name", "link-name", "list",
    "definition-list", "aria-hidden-focus", "skip-link", "svg-img-alt", "image-alt", "select-name",
)  # fmt: skip
"""What may differ between wide and narrow windows, where parts are hidden or shown."""
_LOCAL = ("data", "blob", "about")


@dataclass
class Watch:
    """What happened on a page that should not. `origin`: of the site; nothing else may be asked."""

    page: Page
    origin: str
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Faults with one of these words in them are no faults: the answer 404 of a page that is asked for on purpose."""

    def __post_init__(self) -> None:
        page = self.page
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._note(f"script error: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", self._request)
        page.on("requestfailed", self._failed)
        page.on("response", self._response)
        page.on("popup", lambda other: self._note(f"a window opened: {other.url}"))
        page.on("framenavigated", lambda frame: self._navigated(frame.url))
        page.on("worker", lambda worker: self._note(f"a worker started: {worker.url}"))
        page.on("websocket", lambda socket: self._note(f"a socket opened: {socket.url}"))

    def owned(self) -> list[str]:
        """What scripts of mail left on the window of any frame."""
        found = [frame.evaluate(f"String(window.{OWNED} || '')") for frame in self.page.frames]
        return [each for each in found if each]

    def take(self) -> list[str]:
        """The faults since the last call."""
        found, self.faults = self.faults, []
        return found

    def _note(self, fault: str) -> None:
        if not any(word in fault for word in self.expected):
            self.faults.append(fault[:500])

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self._note(f"console {message.type}: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self._note(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not self._ours(request.url):
            self._note(f"leaves the origin: {request.url}")

    def _failed(self, request: Request) -> None:
        # A download takes the place of the page that was asked for; a live part may be left while it is renewed.
        if request.failure != "net::ERR_ABORTED":
            self._note(f"failed: {request.url}: {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self._note(f"answered {response.status}: {response.url}")

    def _navigated(self, url: str) -> None:
        if not self._ours(url):
            self._note(f"navigated to {url}")

    def _ours(self, url: str) -> bool:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}" == self.origin or parts.scheme in _LOCAL


def unfold(page: Page) -> None:
    """Opens all that can be opened: what is folded away is on the page, too."""
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")


def violations(page: Page, *, only: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> list[str]:
    """What axe-core finds on the page, a line each. Frames hold a stranger's HTML and are looked at as pages.

    `only`: these rules of it, else all.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"{_AXE}; 0")
    run = (
        {"type": "rule", "values": [name for name in only if name not in without]}
        if only
        else {"type": "tag", "values": _STANDARDS}
    )
    options = {
        "runOnly": run,
        "iframes": False,
        "resultTypes": ["violations"],
        "rules": {name: {"enabled": False} for name in without},
    }
    found: dict[str, Any] = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]} ({node['failureSummary'].splitlines()[-1].strip()[:200]})"
        for each in found["violations"]
        for node in each["nodes"][:5]
    ]

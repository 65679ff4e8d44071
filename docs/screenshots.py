"""Pictures of pages, by headless Chromium: each at two widths, light and dark.

    python docs/screenshots.py FOLDER [--login NAME:PASSWORD] NAME=URL...
    python docs/screenshots.py FOLDER --demo      what `make screenshots` does: the pages that the documents show

A page wider than its window is reported: nothing should have to be scrolled sideways. Chromium is spoken to by its
DevTools protocol over a pipe (--remote-debugging-pipe): no port, no library.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

WIDTHS = {1280: 800, 390: 844}
SCHEMES = ("light", "dark")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
_LOG_IN = """(function (name, password) {
  document.querySelector('#name').value = name;
  document.querySelector('#password').value = password;
  document.querySelector('form.fields').submit();
})(%s, %s)"""


# A page of the demo by the name of its pictures; `message` is found by its subject.
_DEMO = {
    "overview": "/",
    "messages": "/messages",
    "message": "",
    "editor": "/rules/file?path=20-bugs.yaml",
    "destinations": "/destinations",
}
_FIND_MESSAGE = """[...document.querySelectorAll('a.subject')]
  .find(each => each.textContent.includes('Printer on fire')).href"""


class Browser:
    """One Chromium with one page. Use as a context."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.mkdtemp(prefix="screenshots-")
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        program = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"

        # Chromium reads commands from descriptor 3 and writes answers to 4: the shell puts the pipes there.
        script = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, program, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            pass_fds=(commands, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._buffer, self._number, self._session = b"", 0, ""
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def go(self, url: str) -> None:
        """Opens a page and waits until it is there."""
        self.call("Page.navigate", url=url)
        self.wait()

    def wait(self) -> None:
        """Waits until the page and its pictures are loaded."""
        for _ in range(200):
            time.sleep(0.05)
            if self.evaluate("document.readyState") == "complete":
                return
        raise RuntimeError("the page did not load")

    def shoot(self, width: int, height: int, scheme: str, *, whole: bool = True) -> tuple[bytes, int]:
        """A PNG of the whole page, or of its first window; and the page's own width."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        time.sleep(0.15)
        own: int = self.evaluate("document.documentElement.scrollWidth")
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(picture["data"]), own

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._answers, 1 << 20)
            if not piece:
                raise RuntimeError("Chromium ended")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def demo() -> Iterator[tuple[str, str]]:
    """The demo with all its mail delivered: its address, and NAME:PASSWORD."""
    program = Path(__file__).resolve().parent.parent / "app.py"
    process = subprocess.Popen(
        [sys.executable, str(program), "demo", "--keep"],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = login = ""
    try:
        for line in process.stdout:
            if found := re.match(r"Dashboard:\s+(\S+)", line):
                address = found[1]
            elif found := re.match(r"Login:\s+(\S+) / (\S+)", line):
                login = f"{found[1]}:{found[2]}"
            elif line.startswith("Look around"):
                break
        else:
            raise RuntimeError("the demo could not be started")
        # What is counted behind the mail is there a moment later.
        time.sleep(5)
        yield address, login
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def main() -> int:
    """Takes the pictures; 1 where a page is wider than its window."""
    arguments = argparse.ArgumentParser(description="Pictures of pages at two widths, light and dark.")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("pages", nargs="*", metavar="NAME=URL")
    arguments.add_argument("--login", metavar="NAME:PASSWORD")
    arguments.add_argument("--demo", action="store_true", help="the pages of a demo that is started for it")
    given = arguments.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.demo:
        with demo() as (address, login):
            return take(
                given.folder, {name: urljoin(address, path) for name, path in _DEMO.items()}, login, whole=False
            )
    if not given.pages:
        arguments.error("give pages, or --demo")
    return take(given.folder, dict(page.split("=", 1) for page in given.pages), given.login)


def take(folder: Path, pages: dict[str, str], login: str | None, *, whole: bool = True) -> int:
    """Takes the pictures of pages by name; 1 where one is wider than its window."""
    faults = 0
    with Browser() as browser:
        if login:
            name, password = login.split(":", 1)
            browser.go(urljoin(next(iter(pages.values())), "/login"))
            browser.evaluate(_LOG_IN % (json.dumps(name), json.dumps(password)))
            time.sleep(1)
            browser.wait()
        for name, url in pages.items():
            browser.go(browser.evaluate(_FIND_MESSAGE) if name == "message" and url.endswith("/") else url)
            for width, height in WIDTHS.items():
                for scheme in SCHEMES:
                    target = folder / f"{name}-{width}-{scheme}.png"
                    picture, own = browser.shoot(width, height, scheme, whole=whole)
                    target.write_bytes(picture)
                    if own > width:
                        print(f"{target}: the page is {own} px wide", file=sys.stderr)
                        faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

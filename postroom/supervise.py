"""The supervisor: keeps the web server and the dispatcher running, and ends both in good order.

It imports nothing that costs memory, for it does nothing but wait. Run as `python -m postroom.supervise`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType

GRACE_SECONDS = 40.0
"""How long a child may finish what it is doing; a delivery takes less."""
WEB_THREADS = 64
"""Most of them wait for clients; the server makes them as they are needed."""
_SHORT_LIFE = 5.0
_PR_SET_PDEATHSIG = 1


@dataclass
class _Child:
    name: str
    command: list[str]
    may_fail: bool = False
    """Whether the others go on without it: mail is taken in while nothing can be delivered."""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    """How often it ended soon after its start, in a row."""
    lived: bool = False

    def start(self) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command, preexec_fn=_end_with_parent)


def web_command(host: str, port: int, target: str, threads: int = WEB_THREADS) -> list[str]:
    """The web server: granian runs the WSGI application that the factory `target` makes, in one process.

    `target` names the file by its whole path (`/srv/app.py:web`): a name alone is looked for in the current folder.

    One process, since SQLite has one writer; threads, since a request mostly waits for the disk.
    """
    options = {
        "--interface": "wsgi",
        "--host": host,
        "--port": str(port),
        "--http": "1",
        "--workers": "1",
        "--blocking-threads": str(threads),
        "--workers-kill-timeout": "30",
        "--log-level": "error",
    }
    words = [word for pair in options.items() for word in pair]
    return [sys.executable, "-P", "-m", "granian", *words, "--no-ws", "--respawn-failed-workers", "--factory", target]


def supervise(children: list[_Child]) -> int:
    """Runs until SIGTERM or SIGINT. A child that ends is started again, with a pause where it ended at once."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for child in children:
        child.start()
    while not stopping.wait(0.2):
        for child in children:
            if child.process is None:
                if time.monotonic() > child.started:
                    child.start()
                continue
            child.lived = child.lived or time.monotonic() - child.started > _SHORT_LIFE
            if child.process.poll() is None:
                continue
            code = child.process.returncode
            print(f"postroom: the {child.name} ended (status {code}); starting it again", file=sys.stderr, flush=True)
            child.failures = child.failures + 1 if time.monotonic() - child.started < _SHORT_LIFE else 0
            if child.failures >= 5 and not child.lived and not child.may_fail:
                print(f"postroom: the {child.name} cannot be started; giving up", file=sys.stderr, flush=True)
                _end(children)
                return 1
            # The next start, after a pause that grows; the others are looked after meanwhile.
            child.process = None
            child.started = time.monotonic() + (min(0.5 * 2**child.failures, 30) if child.failures else 0)
    _end(children)
    return 0


def _end(children: list[_Child]) -> None:
    for child in children:
        if child.process is not None and child.process.poll() is None:
            child.process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for child in children:
        if child.process is None:
            continue
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()


def _end_with_parent() -> None:
    # Linux: where the supervisor is killed, its children end too; elsewhere they notice by their parent's number.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> int:
    """`python -m postroom.supervise HOST PORT WEB_TARGET DISPATCH_COMMAND...`"""
    host, port, target, *dispatch = sys.argv[1:]
    # Few malloc arenas: sixteen threads would otherwise each keep the memory of the largest mail they saw.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "131072")
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "131072")
    # granian brings an allocator of its own (jemalloc), which would keep 90 MB after a few large mails.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:2,dirty_decay_ms:500,muzzy_decay_ms:0,background_thread:true")
    return supervise(
        [_Child("web server", web_command(host, int(port), target)), _Child("dispatcher", dispatch, may_fail=True)]
    )


if __name__ == "__main__":
    sys.exit(main())

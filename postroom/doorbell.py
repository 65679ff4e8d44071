"""How one process wakes another within milliseconds: a byte through a named pipe in the data folder."""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

FILE_NAME = "dispatcher.bell"


def ring(path: Path) -> None:
    """Wakes the process that waits there. Nothing happens where none does: its slow poll finds the work later."""
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        _press(pipe)
    finally:
        os.close(pipe)


class Bell:
    """The end that waits."""

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # Opened for both ways, so that the pipe stays open while nobody rings.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def press(self) -> None:
        """Rings from inside the process, from any thread or signal handler."""
        _press(self._pipe)

    def wait(self, seconds: float) -> None:
        """Returns when somebody rang, or after so many seconds."""
        if select.select([self._pipe], [], [], max(0.0, seconds))[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._pipe, 65536)

    def close(self) -> None:
        os.close(self._pipe)


def _press(pipe: int) -> None:
    # A full pipe means that the other end has reason enough to wake.
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(pipe, b"!")

"""One dispatcher for one data folder: a file lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_NAME = "dispatcher.lock"
_PATIENCE = 2.0


def hold(data_dir: Path) -> int:
    """Takes the lock; it is held until the descriptor that is returned is closed, or the process ends.

    Raises BlockingIOError where another dispatcher holds it.
    """
    lock = os.open(data_dir / _NAME, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            # It may be only somebody who looks whether it is held.
            if time.monotonic() > deadline:
                os.close(lock)
                raise
            time.sleep(0.02)


def is_held(data_dir: Path) -> bool:
    """True while a dispatcher works on the data folder."""
    try:
        lock = os.open(data_dir / _NAME, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False

"""The log of a process: lines on standard error, in which no configured secret stands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from postroom.exchange import masking

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Masked(logging.Formatter):
    """Masks the whole line, trace included: an error of anybody's code may name what it stumbled over."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        super().__init__(_FORMAT)
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        return self._mask(super().format(record))


def start() -> None:
    """Begins to log, before the configuration is known."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT)


def mask(secrets: Iterable[str]) -> None:
    """From now on no line shows one of these, in whatever form."""
    formatter = _Masked(masking(secrets))
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)

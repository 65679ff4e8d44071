"""What many tests share: running instances that end with their test, and what a run says at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.instance import Instance

Start = Callable[..., Instance]


@pytest.fixture
def make_instance(tmp_path: Path) -> Iterator[Start]:
    """Makes instances that are not started yet; all are killed at the end of the test."""
    made: list[Instance] = []

    def make(**options: Any) -> Instance:
        instance = Instance(tmp_path / f"instance{len(made)}", **options)
        made.append(instance)
        return instance

    yield make
    for instance in made:
        instance.kill()


@pytest.fixture
def start_instance(make_instance: Start) -> Start:
    """Starts instances: takes what `Instance` takes."""

    def start(**options: Any) -> Instance:
        return make_instance(**options).start()

    return start


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says loudly what was not run, and why."""
    # Here, and not beside the tests: where these run side by side, the process that tells reads no other conftest.py.
    reports = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports).items():
        terminalreporter.section(f"{count} tests not run", red=True)
        terminalreporter.line(reason, red=True)

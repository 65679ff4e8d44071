"""Real servers, started once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import misago_server, roundup_server, rt_server
from tests.integration.misago_server import MisagoServer
from tests.integration.redmine_server import RedmineServer, absent
from tests.integration.roundup_server import RoundupServer
from tests.integration.rt_server import RtServer


def require(reason: str | None) -> None:
    """`reason`: why a real server is absent. Without it tests fail where CI=true, and are skipped elsewhere."""
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def redmine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedmineServer]:
    """A real Redmine. Without one tests fail where CI=true, and are skipped elsewhere."""
    reason = absent()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)
    server = RedmineServer.start(tmp_path_factory.mktemp("redmine"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def misago(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MisagoServer]:
    """A real Misago. Without one tests fail where CI=true, and are skipped elsewhere."""
    reason = misago_server.absent()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)
    server = MisagoServer.start(tmp_path_factory.mktemp("misago"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def rt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtServer]:
    """A real Request Tracker. Without one tests fail where CI=true, and are skipped elsewhere."""
    require(rt_server.absent())
    server = RtServer.start(tmp_path_factory.mktemp("rt"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def roundup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundupServer]:
    """A real Roundup. Without one tests fail where CI=true, and are skipped elsewhere."""
    require(roundup_server.absent())
    server = RoundupServer.start(tmp_path_factory.mktemp("roundup"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def limited_roundup(tmp_path: Path) -> Iterator[RoundupServer]:
    """A real Roundup that takes five calls in half a minute."""
    require(roundup_server.absent())
    server = RoundupServer.start(tmp_path / "roundup", rate=5)
    try:
        yield server
    finally:
        server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says loudly what was not run."""
    reports = terminalreporter.stats.get("skipped", [])
    for name, script in (
        ("Redmine", "redmine"),
        ("Misago", "misago"),
        ("Request Tracker", "rt"),
        ("Roundup", "roundup"),
        ("Chats", "chats"),
        ("Postfix", "postfix"),
    ):
        skipped = [report for report in reports if f"real {name} absent" in str(report.longrepr)]
        if skipped:
            told = f"real {name} absent: {len(skipped)} tests not run; .ci/{script}.sh install"
            terminalreporter.section(f"real {name} absent", red=True)
            terminalreporter.line(told, red=True)

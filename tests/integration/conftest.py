"""Real servers, started once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.redmine_server import RedmineServer, absent


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says loudly what was not run."""
    reports = terminalreporter.stats.get("skipped", [])
    skipped = [report for report in reports if "real Redmine absent" in str(report.longrepr)]
    if skipped:
        terminalreporter.section("real Redmine absent", red=True)
        terminalreporter.line(f"real Redmine absent: {len(skipped)} tests not run; .ci/redmine.sh install", red=True)

"""Real servers, started once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.misago_server import MisagoServer
from tests.integration.redmine_server import RedmineServer
from tests.integration.roundup_server import RoundupServer
from tests.integration.rt_server import RtServer


@pytest.fixture(scope="session")
def redmine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedmineServer]:
    with RedmineServer.start(tmp_path_factory.mktemp("redmine")) as server:
        yield server


@pytest.fixture(scope="session")
def misago(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MisagoServer]:
    with MisagoServer.start(tmp_path_factory.mktemp("misago")) as server:
        yield server


@pytest.fixture(scope="session")
def rt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtServer]:
    with RtServer.start(tmp_path_factory.mktemp("rt")) as server:
        yield server


@pytest.fixture(scope="session")
def roundup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundupServer]:
    with RoundupServer.start(tmp_path_factory.mktemp("roundup")) as server:
        yield server


@pytest.fixture
def limited_roundup(tmp_path: Path) -> Iterator[RoundupServer]:
    """A real Roundup that takes five calls in half a minute."""
    with RoundupServer.start(tmp_path / "roundup", rate=5) as server:
        yield server

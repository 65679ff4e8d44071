"""Real servers for tests: each is started by its script in `.ci`, on ports of its own, with its files in a folder.

Where one is not installed its tests fail where CI=true, and are skipped elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.instance import ROOT
from tests.needs import require
from tests.servers import closed_port

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Script:
    """A script of `.ci`; `title` is what it starts, `ports` the variables by which it is told where."""

    name: str
    title: str
    ports: tuple[str, ...] = ("PORT",)
    hint: str = ""

    @property
    def path(self) -> Path:
        return ROOT / ".ci" / f"{self.name}.sh"

    def run(self, environment: Environment, *command: str) -> str:
        """What it tells. `environment` holds `RUN`, the folder of the server."""
        # It goes to a file: the server would keep a pipe open.
        log = Path(environment["RUN"]) / "script.log"
        with log.open("w") as output:
            done = subprocess.run(
                [self.path, *command], env=environment, check=False, stdout=output, stderr=output, timeout=300
            )
        told = log.read_text(encoding="utf-8", errors="replace")
        if done.returncode:
            raise RuntimeError(f"{self.path} {' '.join(command)} failed: {told[-3000:]}")
        return told

    def seed(self) -> Path:
        """The folder with what `seed` makes. That takes a while, so it is kept as long as the script is the same."""
        self._require()
        version = hashlib.sha256(self.path.read_bytes()).hexdigest()[:8]
        folder = ROOT / ".run" / f"{self.name}-seed-{version}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.run(self._environment(folder), "seed")
        return folder

    @contextlib.contextmanager
    def running(self, folder: Path, *arguments: str, **settings: str) -> Iterator[Environment]:
        """Starts a server with its files in `folder`, and stops it. Several may run at once.

        Another program may take a port before the server does: then it is started once more, with others.
        """
        self._require()
        folder.mkdir(parents=True, exist_ok=True)
        environment = self._environment(folder, **settings)
        try:
            try:
                self.run(environment, "start", *arguments)
            except RuntimeError:
                self.run(environment, "stop")
                if not any(_taken(int(environment[name])) for name in self.ports):
                    raise
                environment = self._environment(folder, **settings)
                self.run(environment, "start", *arguments)
            yield environment
        finally:
            self.run(environment, "stop")

    def _require(self) -> None:
        present = subprocess.run([self.path, "present"], check=False).returncode == 0
        require(None if present else f"real {self.title} absent: .ci/{self.name}.sh install{self.hint}")

    def _environment(self, folder: Path, **settings: str) -> Environment:
        return {**os.environ, "RUN": str(folder), **settings, **{name: str(closed_port()) for name in self.ports}}


def _taken(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return False
    return True

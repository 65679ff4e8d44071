"""Servers to measure: Postroom itself on a throw-away folder, and the bare Flask endpoint that is the floor."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postroom.supervise import web_command

ROOT = Path(__file__).resolve().parent.parent
SECRET = "bench-secret"


@dataclass
class Running:
    """A server under measurement."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    def processes(self) -> list[tuple[int, str]]:
        """Process id and part of each."""
        found = []
        for pid in _tree(self.process.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"postroom.supervise" in words:
                name = "supervisor"
            elif b"dispatch" in words:
                name = "dispatcher"
            else:
                # granian's own process forks the worker, whose command line it may replace.
                name = "web worker" if any(each == "web" for _, each in found) else "web"
            found.append((pid, name))
        return found

    def memory(self) -> dict[str, float]:
        """Proportional set size of each process, in MB."""
        sizes = {}
        for pid, name in self.processes():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            sizes[name] = int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1]) / 1000  # type: ignore[index]
        return sizes


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [each for child in children for each in _tree(int(child))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def postroom(rules: str, destinations: str) -> Iterator[Running]:
    """A whole instance with these rules and this `destinations:` section."""
    with tempfile.TemporaryDirectory(prefix="postroom-bench-", dir=os.environ.get("BENCH_DIR")) as name:
        folder, port = Path(name), free_port()
        (folder / "rules").mkdir()
        (folder / "rules" / "bench.yaml").write_text(rules)
        (folder / "config.yaml").write_text(
            f"server: {{listen: 127.0.0.1:{port}}}\n"
            f"ingress: {{socketlabs: {{servers: [{{secret_key: {SECRET}, validation_key: v}}]}}}}\n"
            f"destinations:\n{destinations}\n"
        )
        command = [sys.executable, str(ROOT / "app.py"), "serve", "--config", str(folder / "config.yaml")]
        with _running(command, port, folder, "/readyz") as running:
            yield running


@contextmanager
def running_at(folder: Path, config: str) -> Iterator[Running]:
    """An instance on a folder that is there already; `{port}` of its configuration is filled in."""
    port = free_port()
    (folder / "config.yaml").write_text(config.format(port=port))
    command = [sys.executable, str(ROOT / "app.py"), "serve", "--config", str(folder / "config.yaml")]
    with _running(command, port, folder, "/readyz") as running:
        yield running


@contextmanager
def floor() -> Iterator[Running]:
    """Bare Flask on the same server and as many threads: decodes the JSON, compares the secret."""
    with tempfile.TemporaryDirectory(prefix="postroom-bench-") as name:
        port = free_port()
        command = web_command("127.0.0.1", port, f"{ROOT}/bench/floor.py:create")
        with _running(command, port, Path(name), "/healthz") as running:
            yield running


@contextmanager
def _running(command: list[str], port: int, folder: Path, path: str) -> Iterator[Running]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port, path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)
        yield Running(port, process, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()

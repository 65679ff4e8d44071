"""A big attachment goes through the dispatcher in pieces, whatever the kind of destination."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.instance import Instance, document
from tests.servers import Receiver
from tests.standin_settings import settings
from tests.standins import Standin, standins

SIZE = 20_000_000
ALLOWED = 60_000_000
"""Bytes by which the dispatcher may grow."""
RULES = """\
rules:
  - name: Everything
    when: always
    then: [there]
"""
KINDS = {kind: standin for kind, standin in standins().items() if standin.takes_attachments}


@pytest.fixture
def standin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Standin]:
    with Receiver() as receiver:
        yield KINDS[request.param](tmp_path, receiver)


def memory(pid: int, name: str) -> int:
    """A figure of /proc/PID/status in bytes: VmRSS now, or VmHWM at its highest since `forget`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{pid} has no {name}")


def forget(pid: int) -> None:
    """Begins VmHWM anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def file(content: bytes) -> dict[str, Any]:
    return {
        "Name": "big.bin",
        "ContentType": "application/octet-stream",
        "ContentId": None,
        "Content": base64.b64encode(content).decode(),
        "CustomHeaders": None,
    }


@pytest.mark.parametrize("standin", sorted(KINDS), indirect=True)
def test_a_big_attachment_goes_through_in_pieces(start_instance: Callable[..., Instance], standin: Standin) -> None:
    well = standin.well
    if isinstance(getattr(well, "largest", None), int):
        well.largest = 1 << 40
    instance = start_instance(rules=RULES, destinations={"there": settings(standin, timeout="60s", retry=["0s", "1s"])})
    # The first delivery brings in what the kind needs: it counts as before.
    instance.wait_for_states(instance.post(document(attachments=[file(b"small")])).message, "delivered", seconds=30)
    pid = instance.dispatcher()
    before = memory(pid, "VmRSS")
    forget(pid)
    sent = instance.post(document(attachments=[file(os.urandom(SIZE))])).message
    (made,) = instance.wait_for_states(sent, "delivered", seconds=60)
    grown = memory(pid, "VmHWM") - before
    assert instance.dispatcher() == pid and made["attempts"] == 1
    assert grown < ALLOWED, f"{grown / 1e6:.0f} MB"
    if standin.attached():
        assert standin.attached().count("big.bin") == 2
    if standin.speaks_http and standin.attached():
        assert sum(len(request.body) for request in standin.receiver.requests) > SIZE

"""Effectively once, over every kind: whatever becomes of an answer, in the end each thing was made, and made once.

A conversation of three mails goes through the real dispatcher to a kind's stand-in: the first makes an item, the second
comments on it, the third closes it. Without faults once, to see what there must be; then with a fault at each request
that changes something there, one after the other, each in a conversation and at a stand-in of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from postroom.integration import Guarantee
from postroom.testing.faults import FAULTS, KILLED
from tests.faulty_conversations import (
    CLOSING,
    FILES,
    LAG,
    SECONDS,
    STANDINS,
    TEXTS,
    Case,
    cases_of,
    described,
    instance_of,
    lags,
    run,
)
from tests.instance import Instance
from tests.kinds import KINDS, job
from tests.servers import Receiver
from tests.standins import Standin

OPEN = ("pending", "sending", "retrying")


@pytest.fixture(autouse=True)
def _searches_lag_little(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS.values():
        if lags(kind):
            monkeypatch.setattr(kind, "search_lag", 2 * LAG)


@dataclass
class Reference:
    """What a conversation makes without faults, and how many requests changed something for it."""

    made: dict[str, Any]
    changing: int
    items: bool


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Reference]:
    known: dict[str, Reference] = {}

    def reference(kind: str) -> Reference:
        if kind not in known:
            folder = tmp_path_factory.mktemp(f"well_{kind}")
            with cases_of(folder / "standins", [(kind, "", 0)]) as (case,):
                run(folder, [case])
                known[kind] = Reference(case.made(), len(case.changing), case.items)
        return known[kind]

    return reference


def require(reference: Reference, case: Case) -> list[str]:
    """How what a case made differs from what was to be made."""
    found = case.made()
    if not case.met.is_set():
        return [f"{case.name}: the fault was never met"]
    if case.guarantee is Guarantee.NONE and case.fault != "refused before":
        # A duplicate is possible, and said to be. Nothing may be missing.
        low = [name for name in ("items",) if found[name] < reference.made[name]]
        return [f"{case.name}: {case}: {name} are missing" for name in low]
    return [
        f"{case.name}: {case}: {name} are {found[name]}, not {expected}"
        for name, expected in reference.made.items()
        if found[name] != expected
    ]


@pytest.mark.parametrize("kind", sorted(STANDINS))
def test_without_faults(references: Callable[[str], Reference], kind: str) -> None:
    reference = references(kind)
    made, standin = reference.made, STANDINS[kind]
    assert reference.changing >= (3 if reference.items else 2), "the stand-in sees what changes something there"
    if not reference.items:
        assert made["items"] == 2 and made["comments"] == []
        return
    assert made["items"] == 1 and len(made["texts"]) == 1, made
    assert len(made["comments"]) == 2, made
    assert TEXTS[0] in _plainly(made["texts"][0]), made
    comments = [_plainly(each) for each in made["comments"]]
    assert [sum(text in each for each in comments) for text in (TEXTS[1], CLOSING)] == [1, 1], made
    if standin.takes_attachments:
        assert made["attached"] == sorted(name for names in FILES for name in names), made
    assert made["state"] == "closed" or (made["state"] == "" and standin.state is Standin.state), made


def _plainly(text: str) -> str:
    """Without what markups put before signs."""
    return re.sub(r"\\(?=\W)", "", text).replace("&#39;", "'").replace("&#x27;", "'")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", sorted(STANDINS))
def test_a_fault_at_any_request(references: Callable[[str], Reference], tmp_path: Path, kind: str, fault: str) -> None:
    reference = references(kind)
    wanted = [(kind, fault, at) for at in range(1, reference.changing + 1)]
    with cases_of(tmp_path / "standins", wanted) as cases:
        run(tmp_path, cases)
        wrong = [each for case in cases for each in require(reference, case)]
    assert not wrong, "\n".join(wrong)


def test_the_standins_of_lagging_searches_lag(tmp_path: Path) -> None:
    """Else what this file says of such kinds would prove little."""
    for kind in filter(lambda each: lags(KINDS[each]), STANDINS):
        (tmp_path / kind).mkdir()
        with Receiver() as receiver:
            standin = STANDINS[kind](tmp_path / kind, receiver)
            standin.lag = 3600
            integration, once = standin.integration(), job()
            receipt = integration.deliver(once)
            assert integration.find(once) is None, kind
            standin.lag = 0
            assert integration.find(once) == receipt, kind


# Kill -9: one process delivers for all kinds, and each case waits at its request until it is dead.


@dataclass
class Killed:
    cases: dict[str, list[Case]]
    described: dict[str, list[str]]
    traceback: bool


@pytest.fixture(scope="module")
def killed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    references: Callable[[str], Reference],
) -> Iterator[Killed]:
    folder = tmp_path_factory.mktemp("killed")
    chosen = {
        each.callspec.params["kind"]
        for each in request.session.items
        if isinstance(each, pytest.Function) and each.originalname == "test_kill_at_any_request"
    }
    wanted = []
    for kind in sorted(chosen):
        with contextlib.suppress(Exception):  # its own test says why
            wanted += [(kind, KILLED, at) for at in range(1, references(kind).changing + 1)]
    (folder / "plugins").mkdir()
    lines = [
        f"from integrations import {kind.__module__.rpartition('.')[2]} as module; "
        f"module.{kind.__name__}.search_lag = {2 * LAG}"
        for kind in KINDS.values()
        if lags(kind)
    ]
    (folder / "plugins" / "searches_lag_little.py").write_text("\n".join(lines))
    with cases_of(folder / "standins", wanted) as cases:
        instance = instance_of(folder, cases, plugins_dir="plugins")
        try:
            _kill_once(instance, cases)
            told = described(instance)
        finally:
            instance.kill()
        yield Killed(
            {kind: [case for case in cases if case.standin.kind == kind] for kind in chosen},
            {case.name: [each for each in told if each.startswith(f"{case.name}:")] for case in cases},
            "Traceback" in instance.log(),
        )


def _kill_once(instance: Instance, cases: Sequence[Case]) -> None:
    instance.start()
    for posted in (mail for case in cases for mail in case.mails()):
        assert instance.post(posted).status == 200
    deadline = time.monotonic() + 2 * SECONDS
    while (late := [case for case in cases if not case.met.is_set()]) and time.monotonic() < deadline:
        time.sleep(0.05)
        owed = {row["destination"] for row in instance.deliveries() if row["state"] in OPEN}
        if not owed & {case.name for case in late}:
            break  # They ended before the kill: their tests say so.
    os.kill(instance.dispatcher(), signal.SIGKILL)
    for case in cases:
        case.over.set()
    with contextlib.suppress(AssertionError):  # each kind's test says what became of its own
        instance.wait_until_quiet(2 * SECONDS)


@pytest.mark.parametrize("kind", sorted(STANDINS))
def test_kill_at_any_request(references: Callable[[str], Reference], killed: Killed, kind: str) -> None:
    reference = references(kind)
    wrong = [each for case in killed.cases[kind] for each in require(reference, case)]
    told = [each for case in killed.cases[kind] for each in killed.described[case.name]]
    wrong += [
        each for each in told if ": delivered: " not in each and (reference.items or ": suppressed: " not in each)
    ]
    assert not wrong, "\n".join(wrong)
    assert not killed.traceback

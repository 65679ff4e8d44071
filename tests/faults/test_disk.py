"""A disk without room: mail is refused with 503, nothing is half-stored, and all goes on once there is room again."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.instance import Answer, Instance, document, hook, until
from tests.servers import Receiver

RULES = "rules: [{name: Hook, when: always, then: [hook: {title: '{{ subject }}'}]}]\n"
SMALL = 16 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here ({mounted.stderr.strip()}); needs root and mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def big(number: int) -> dict[str, object]:
    """A document that takes a megabyte in the store, for its text cannot be packed."""
    return document(f"big {number}", text=os.urandom(500_000).hex())


def fill(instance: Instance) -> tuple[list[str], dict[str, object]]:
    """Posts until mail is refused for want of room; ids of what was accepted, and the first refused document."""
    accepted: list[str] = []
    for number in range(200):
        posted = big(number)
        answer = instance.post(posted)
        if answer.status != 200:
            refused_well(answer)
            return accepted, posted
        accepted.append(answer.message)
    raise AssertionError("the disk is never full")


def refused_well(answer: Answer) -> None:
    assert answer.status == 503, answer
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]


def goes_through(instance: Instance, make_room: Callable[[], None]) -> None:
    """From the first mail to the full disk and back."""
    accepted, refused = fill(instance)
    assert accepted, "there was room at first"
    before = {row["id"] for row in instance.rows("SELECT id FROM messages")}
    assert before == set(accepted)
    for _ in range(5):
        refused_well(instance.post(refused))
        refused_well(instance.post(big(1000)))
    counts = instance.census()
    assert counts["messages"] == counts["contents"] == counts["identities"] == counts["deliveries"] == len(accepted)
    assert instance.get("/healthz").status == 200

    make_room()
    answer = until(lambda: taken(instance.post(refused)), "mail is accepted again")
    assert answer.message not in accepted, "the refused document left no identity behind"
    after = instance.post(document("after it")).message
    instance.wait_until_quiet()
    for message in (*accepted, answer.message, after):
        assert [row["state"] for row in instance.deliveries(message)] == ["delivered"]
    with instance.db() as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def taken(answer: Answer) -> Answer | None:
    return answer if answer.status == 200 else None


def test_a_full_disk(make_instance: Start, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(SMALL // 4))
    with Receiver() as receiver:
        instance = make_instance(rules=RULES, destinations={"hook": hook(receiver.url)}, limits={"min_free": "0"})
        instance.config["data_dir"] = str(small_disk / "data")
        instance.data_dir = small_disk / "data"
        instance.database = instance.data_dir / instance.database.name
        instance.write_config()
        instance.start()
        goes_through(instance, ballast.unlink)
        titles = [request.json()["title"] for request in receiver.requests]
        assert "after it" in titles
        assert len(titles) == len(set(titles)), "what could not be recorded at once was recorded later, not sent again"


def test_min_free_refuses_before_the_disk_is_full(make_instance: Start, small_disk: Path) -> None:
    with Receiver() as receiver:
        instance = make_instance(rules=RULES, destinations={"hook": hook(receiver.url)}, limits={"min_free": "8MB"})
        instance.config["data_dir"] = str(small_disk / "data")
        instance.data_dir = small_disk / "data"
        instance.database = instance.data_dir / instance.database.name
        instance.write_config()
        instance.start()
        message = instance.post(document("before")).message
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(SMALL // 2))
        until(lambda: instance.post(document("none")).status == 503, "mail is refused")
        until(lambda: instance.get("/readyz").status == 503, "readyz says so")
        instance.wait_for_states(message, "delivered")
        ballast.unlink()
        until(lambda: taken(instance.post(document("after it"))), "mail is accepted again")


def test_a_file_that_may_not_grow(make_instance: Start) -> None:
    """Needs no rights: the system refuses to write past a size, as a quota does."""
    with Receiver() as receiver:
        instance = make_instance(rules=RULES, destinations={"hook": hook(receiver.url)}).start()
        instance.wait_for_states(instance.post(document("before")).message, "delivered")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

        def limit(size: int) -> None:
            for pid in instance.members():
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))

        limit(6_000_000)
        accepted, refused = fill(instance)
        known = {row["id"] for row in instance.rows("SELECT id FROM messages")}
        assert set(accepted) <= known
        assert len(known) == len(accepted) + 1
        for _ in range(5):
            refused_well(instance.post(refused))
        assert {row["id"] for row in instance.rows("SELECT id FROM messages")} == known
        counts = instance.census()
        assert counts["messages"] == counts["contents"] == counts["identities"] == counts["deliveries"]
        limit(hard)
        until(lambda: taken(instance.post(refused)), "mail is accepted again")
        instance.wait_until_quiet()
        assert {row["state"] for row in instance.deliveries()} == {"delivered"}
        with instance.db() as db:
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"

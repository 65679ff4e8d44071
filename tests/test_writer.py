"""Group commit: everybody gets the result of their own work, whoever commits it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from postroom.store.database import connect
from postroom.store.writer import Writer


class Faulty(Exception):
    """What some of the work raises."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.db"
    db = connect(path)
    db.execute("CREATE TABLE things (number INTEGER PRIMARY KEY)")
    db.close()
    return path


def insert(db: sqlite3.Connection, numbers: Sequence[int]) -> list[str]:
    db.executemany("INSERT INTO things VALUES (?)", [(number,) for number in numbers])
    return [f"did {number}" for number in numbers]


def make(raws: Sequence[int]) -> list[Sequence[int] | BaseException]:
    return [Faulty(raw) if raw % 7 == 0 else [raw] for raw in raws]


def numbers(path: Path) -> set[int]:
    db = connect(path, read_only=True)
    try:
        return {row[0] for row in db.execute("SELECT number FROM things")}
    finally:
        db.close()


def test_each_thread_gets_its_own_result_or_its_own_error(path: Path) -> None:
    writer = Writer(path)
    order = list(range(1, 401)) + list(range(1, 401))
    random.Random(1).shuffle(order)

    def one(number: int) -> tuple[int, object]:
        try:
            if number % 5 == 0:
                return number, writer.run(lambda db: insert(db, [number])[0])
            (result,) = writer.run_grouped(insert, make, number)
            return number, result
        except (Faulty, sqlite3.IntegrityError) as error:
            return number, type(error)

    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(one, order, timeout=60))
    expected = {number for number in order if number % 7 or number % 5 == 0}
    assert numbers(path) == expected
    for number in expected:
        # Asked for twice: once it was done, once it was refused, and nobody else's work went with it.
        results = [result for other, result in done if other == number]
        assert sorted(results, key=str) == sorted([sqlite3.IntegrityError, f"did {number}"], key=str)
    assert all(result is Faulty for number, result in done if number not in expected)


def test_a_commit_that_fails_fails_for_all_of_it_and_the_next_one_works(path: Path) -> None:
    writer = Writer(path)
    db = connect(path)
    db.execute("PRAGMA busy_timeout=0")
    writer._db.execute("PRAGMA busy_timeout=0")
    db.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(8) as pool:
        refused = [pool.submit(writer.run_grouped, insert, make, number) for number in range(1, 7)]
        for each in refused:
            assert isinstance(each.exception(timeout=20), sqlite3.OperationalError)
    db.execute("ROLLBACK")
    assert numbers(path) == set()
    assert writer.run_grouped(insert, make, 8) == ["did 8"]
    assert numbers(path) == {8}


def test_a_make_that_raises_leaves_nobody_waiting(path: Path) -> None:
    writer = Writer(path)

    def broken(raws: Sequence[int]) -> list[Sequence[int] | BaseException]:
        raise Faulty

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(writer.run_grouped, insert, broken, number) for number in range(20)]:
            assert isinstance(each.exception(timeout=20), Faulty)
    assert writer.run(lambda db: insert(db, [1])) == ["did 1"]


def test_writers_of_two_connections_take_turns(path: Path) -> None:
    writers = [Writer(path), Writer(path)]
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(writers[number % 2].run, lambda db, number=number: insert(db, [number]))
            for number in range(1, 301)
        ]
        for each in jobs:
            each.result(timeout=60)
    assert numbers(path) == set(range(1, 301))

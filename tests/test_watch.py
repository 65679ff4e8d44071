"""The watcher of the rule files by itself: what it takes and refuses, when, and what its fingerprint sees."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postroom import rulebook, watch
from postroom.problems import InvalidFiles, Place, Problem
from postroom.rulebook import RuleBook
from postroom.rules import RuleSet, compile_rules, read_files
from postroom.store import rulesets
from postroom.store.database import connect, migrate
from postroom.store.writer import Writer
from postroom.watch import Watcher, fingerprint
from tests.instance import until
from tests.test_reload import NOT_TAKEN, SECONDS, rule


class Bench:
    """A store, a folder of rules, and a watcher that looks when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.rules = folder / "rules"
        self.rules.mkdir()
        database = folder / "postroom.db"
        migrate(database)
        self.reader = connect(database, read_only=True)
        self.book = RuleBook(database, {})
        self.writer = Writer(database)
        self.load: Callable[[], RuleSet] = lambda: compile_rules(read_files(self.rules), None)
        self.watcher = Watcher(self.rules, lambda: self.load(), self.book, self.writer)

    def write(self, text: str, name: str = "a.yaml") -> None:
        (self.rules / name).write_text(text)

    def settle(self) -> int | None:
        """Looks until an edit has come to rest; the number of the active rule set."""
        for _ in range(3):
            self.watcher.look()
        return rulesets.active(self.reader)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.writer.close()
    made.reader.close()


def test_the_first_mail_after_the_switch_compiles_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write(rule("First"))
    assert bench.settle() == 1
    bench.book.active()
    bench.write(rule("Second"))
    assert bench.settle() == 2

    def compiles(*args: object, **options: object) -> RuleSet:
        raise AssertionError("compiled within a message")

    monkeypatch.setattr(rulebook, "compile_rules", compiles)
    assert bench.book.active()[1] == 2, "at once, although the book asked less than a second ago"
    assert [each.name for each in bench.book.rule_set(2).rules] == ["Second"]


def test_what_was_asked_before_a_switch_is_not_believed_after_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write(rule("First"))
    bench.settle()
    real = rulebook.active

    def slow(db: sqlite3.Connection) -> int | None:
        found = real(db)
        monkeypatch.setattr(rulebook, "active", real)
        bench.book.refresh()  # as the watcher does, while this thread still holds the old answer
        return found

    monkeypatch.setattr(rulebook, "active", slow)
    assert bench.book.active()[1] == 1
    bench.writer.run(lambda db: rulesets.publish(db, "another", {}, 0))
    assert bench.book.active()[1] == 2


def test_rules_whose_tests_fail_are_refused_until_they_pass(bench: Bench) -> None:
    """A test may read a file that is no rule: that file alone can mend it."""
    bench.write(rule("First"))
    bench.settle()
    plain = bench.load

    def tested() -> RuleSet:
        if not (bench.rules / "sample.eml").exists():
            raise InvalidFiles([Problem(Place("rules/a.yaml", 9, 5), "there is no sample.eml")])
        return plain()

    bench.load = tested
    bench.write(rule("Second"))
    assert bench.settle() == 1
    assert bench.watcher.problems == (
        f"{NOT_TAKEN}: 1 problem; the last good ones stay",
        "rules/a.yaml:9:5: there is no sample.eml",
    )
    bench.write("Subject: x\n\n", "sample.eml")
    assert bench.settle() == 2
    assert bench.watcher.problems == () and bench.watcher.note is None


def test_an_edit_under_way_is_left_alone_but_not_for_ever(bench: Bench) -> None:
    bench.write(rule("First"))
    bench.settle()
    started, looks = time.monotonic(), 0
    while rulesets.active(bench.reader) == 1:
        late = time.monotonic() - started
        assert late < SECONDS, "whoever writes without end gets no new rules"
        bench.write(rule("Second") + "#" * looks)
        bench.watcher.look()
        looks += 1
        time.sleep(0.02)
    assert late > 0.5, "it was taken while somebody still wrote"


def test_edits_within_one_tick_of_the_clock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems stamp by a coarse clock: the second of two edits can leave the stamp of the first."""
    stamp = time.time_ns()
    monkeypatch.setattr(watch, "fingerprint", lambda folder: {"a.yaml": (stamp, stamp, 1, 2, 3)})
    bench.write(rule("Edit1"))
    assert bench.settle() == 1
    bench.write(rule("Edit2"))
    assert bench.settle() == 2
    stamp -= 3_000_000_000
    assert bench.settle() == 2
    bench.write(rule("Edit3"))
    assert bench.settle() == 2, "old stamps are believed: nothing is read four times a second for ever"


def test_a_fault_of_the_store_is_told_and_overcome(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "_PAUSE_AFTER_FAULT", 0.05)
    monkeypatch.setattr(watch, "_FRESH_NS", 0)  # it must not be the age of the files that makes it try again
    broken = threading.Event()
    broken.set()
    tries = []
    real = rulesets.publish

    def publish(*args: object) -> int:
        tries.append(args)
        if broken.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(rulesets, "publish", publish)
    bench.write(rule("First"))
    bench.watcher.start()
    told = until(lambda: bench.watcher.problems, "the fault is told", SECONDS)
    assert told[1] == "the rules could not be read or stored: OperationalError: database or disk is full"
    until(lambda: len(tries) >= 3, "it tries again", SECONDS)
    assert len([each for each in caplog.records if NOT_TAKEN in each.getMessage()]) == 1, "the log is told once"
    broken.clear()
    until(lambda: rulesets.active(bench.reader), "the rules are stored after all", SECONDS)
    until(lambda: not bench.watcher.problems, "and nothing is told any more", SECONDS)


def test_long_rule_sets_of_the_past_are_let_go(bench: Bench) -> None:
    text = rule("First") + "#" * 900_000
    for number in range(6):
        bench.write(text + str(number))
        bench.settle()
        bench.book.active()
    assert 1 <= len(bench.book._sets) <= 2


def test_a_name_that_is_no_text_spoils_no_page(bench: Bench) -> None:
    name = os.fsencode(bench.rules) + b"/b\xff.yaml"
    with contextlib.closing(os.fdopen(os.open(name, os.O_CREAT | os.O_WRONLY), "w")) as file:
        file.write("rules: [{nam: x}]")
    bench.settle()
    assert any("b\\udcff.yaml" in problem for problem in bench.watcher.problems)
    assert "\n".join(bench.watcher.problems).encode()


# The fingerprint


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Rules with links and with what editors leave."""
    root, outside = tmp_path / "rules", tmp_path / "shared"
    for folder in (root / "sub", root / ".git", outside / "inner"):
        folder.mkdir(parents=True)
    for path in (
        "a.yaml",
        "sub/b.yml",
        ".git/x.yaml",
        "sample.eml",
        ".a.yaml.swp",
        "a.yaml~",
        "#a.yaml#",
        "~a.yaml",
        "4913",
    ):
        (root / path).write_text("rules: []")
    (outside / "inner" / "c.yaml").write_text("rules: []")
    (root / "link").symlink_to(outside)
    (root / "link-again").symlink_to(outside)
    (root / "sub" / "up").symlink_to(root)
    (root / "file-link.yaml").symlink_to(outside / "inner" / "c.yaml")
    (root / ".#a.yaml").symlink_to("jo@host.1234")
    return root


def names(root: Path) -> set[str]:
    return {os.path.relpath(path, root) for path in fingerprint(root)}


def test_the_fingerprint_sees_what_is_read(tree: Path) -> None:
    read = {"a.yaml", "sub/b.yml", "link/inner/c.yaml", "file-link.yaml"}
    assert set(read_files(tree)) == read, "the reading changed: does the fingerprint still see all of it?"
    assert names(tree) == {*read, "sample.eml"}


@pytest.mark.parametrize("name", ["a.yaml", "sub/b.yml", "link/inner/c.yaml", "sample.eml"])
def test_the_fingerprint_changes_with_each_file(tree: Path, name: str) -> None:
    file = tree / name
    old, before = file.stat(), fingerprint(tree)
    assert fingerprint(tree) == before
    time.sleep(0.02)  # more than a tick of the file system's clock
    file.write_text("rules: {}")
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    edited = fingerprint(tree)
    assert edited != before, "same size, old time put back"
    file.with_name(".new").write_text("rules: {}")
    file.with_name(".new").replace(file)
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    replaced = fingerprint(tree)
    assert replaced != edited
    file.unlink()
    assert len(fingerprint(tree)) < len(replaced)


def test_the_fingerprint_passes_over_what_editors_leave(tree: Path) -> None:
    before = fingerprint(tree)
    for name in (".a.yaml.swp", "a.yaml~", "#a.yaml#", "~a.yaml", "4913", "sub/.b.yml.swx", ".git/x.yaml"):
        (tree / name).write_text("edited")
    assert fingerprint(tree) == before


def test_the_fingerprint_of_links_and_folders(tree: Path) -> None:
    before = fingerprint(tree)
    other = tree.parent / "other"
    shutil.copytree(tree.parent / "shared", other)
    (tree / "link").unlink()
    (tree / "link").symlink_to(other)
    moved = fingerprint(tree)
    assert moved != before, "the link leads elsewhere"
    (tree / "broken.yaml").symlink_to("nowhere")
    broken = fingerprint(tree)
    assert broken[f"{tree}/broken.yaml"] == (errno.ENOENT,)
    (tree / "nowhere").write_text("rules: []")
    assert fingerprint(tree) != broken, "it leads somewhere now"
    tree.rename(tree.with_name("away"))
    gone = fingerprint(tree)
    tree.mkdir()
    assert gone != fingerprint(tree) == {}, "gone is not empty"


def test_what_a_person_writes_is_taken_at_once_in_their_name(bench: Bench) -> None:
    bench.write(rule("First"))
    bench.settle()
    assert bench.watcher.apply(lambda: bench.write(rule("Second")), "edda") == ()
    assert rulesets.active(bench.reader) == 2
    assert [(each.rule_set, each.who) for each in rulesets.activations(bench.reader)] == [
        (2, "edda"),
        (1, "rules folder"),
    ]
    assert bench.settle() == 2, "the next look finds nothing new"
    problems = bench.watcher.apply(lambda: bench.write("rules: ["), "edda")
    assert problems and rulesets.active(bench.reader) == 2


def test_what_a_person_wrote_is_taken_later_where_the_store_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write(rule("First"))
    bench.settle()

    def full(*_: object, **options: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(rulesets, "publish", full)
        with pytest.raises(sqlite3.OperationalError):
            bench.watcher.apply(lambda: bench.write(rule("Second")), "edda")
    assert rulesets.active(bench.reader) == 1
    assert bench.settle() == 2

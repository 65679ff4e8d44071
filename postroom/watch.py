"""Live reload: the running program takes the next good edit of the rule files by itself.

One process watches (the web process, which owns the writer). It looks at the files a few times a second, waits until an
edit has come to rest, compiles what is there now, and publishes it by its hash. A bad edit changes nothing: the last
good rules stay active, and the problems are told until the next good edit.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from postroom.ids import now_ms
from postroom.problems import InvalidFiles
from postroom.rulebook import RuleBook
from postroom.rules import RuleSet, read_files
from postroom.rules.loader import hash_of
from postroom.store import rulesets
from postroom.store.writer import Writer

Stamp = tuple[int, ...]
"""Of one file: times of change in nanoseconds, size, inode, device; of one that cannot be looked at, the error."""

_POLL_SECONDS = 0.25
_PATIENCE_SECONDS = 1.0
"""For so long an edit may go on (a checkout of many files, a slow upload) before what is there is taken or refused."""
_FRESH_NS = 2_000_000_000
"""Two edits within one tick of the file system's clock, which is up to two seconds, can leave the same stamp."""
_PAUSE_AFTER_FAULT = 5.0
_SWITCH_SECONDS = 0.0005
_SHOWN = 10

log = logging.getLogger(__name__)


class Watcher:
    """Looks after the rule files below one folder. `start` once; tests may call `look` instead."""

    def __init__(self, folder: Path, load: Callable[[], RuleSet], book: RuleBook, writer: Writer) -> None:
        """`load` compiles and proves the files as they are now; it raises InvalidFiles with every problem.

        `book` is the one that the receiver asks: it is told of a new rule set at once.
        """
        self._folder = folder
        self._load = load
        self._book = book
        self._writer = writer
        self._taken: dict[str, Stamp] | None = None
        """The files as they were when they were last read: taken or refused."""
        self._last: dict[str, Stamp] | None = None
        self._moving_since: float | None = None
        self._turn = threading.RLock()
        """Held while the files are read or written, so that nothing half-written is read."""
        self._refused: tuple[str | None, tuple[str, ...]] | None = None
        """Hash (None where not even that could be read) and problems of what was refused last, while that stands."""

    def start(self) -> None:
        """Watches from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="rules", daemon=True).start()

    @property
    def note(self) -> str | None:
        """One sentence, without anything out of the files, while the rules on disk are not the active ones."""
        refused = self._refused
        if refused is None:
            return None
        count = len(refused[1])
        return f"the rules on disk were not taken: {count} problem{'' if count == 1 else 's'}; the last good ones stay"

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for people: the note, and what is wrong with the files."""
        note, refused = self.note, self._refused
        if note is None or refused is None:
            return ()
        found = refused[1]
        more = len(found) - _SHOWN
        rest = (f"and {more} more problems of the rules: `postroom check` lists them all",) if more > 0 else ()
        return (note, *found[:_SHOWN], *rest)

    def look(self) -> None:
        """Takes or refuses the files where they have changed and come to rest."""
        with self._turn:
            self._look()

    def apply(self, write: Callable[[], None], who: str) -> tuple[str, ...]:
        """Changes the files by `write`, and takes them at once, in the name of a person; `problems` afterwards.

        Raises what `write` raises; then nothing is taken.
        """
        with self._turn:
            write()
            self._moving_since = None
            self._taken = self._last = fingerprint(self._folder)
            try:
                self._take(again=True, who=who)
            except BaseException:
                # The store is full, say. The files are written: the next look tries them again.
                self._taken = None
                raise
            return self.problems

    def _look(self) -> None:
        seen, now = fingerprint(self._folder), time.monotonic()
        if seen == self._taken:
            self._moving_since = None
            if _fresh(seen):
                self._take(again=False)
            return
        self._moving_since = now if self._moving_since is None else self._moving_since
        resting = seen == self._last
        self._last = seen
        if resting or now - self._moving_since > _PATIENCE_SECONDS:
            self._moving_since = None
            # Before the files are read: what changes from here on is seen the next time.
            self._taken = seen
            self._take(again=True)

    def _take(self, *, again: bool, who: str = rulesets.FOLDER) -> None:
        """`again`: what was refused is tried once more, for its tests may read files that are no rules."""
        found = None
        try:
            found = hash_of(read_files(self._folder))
            if found == self._book.active_hash():
                self._settle()
                return
            if not again and self._refused is not None and self._refused[0] == found:
                return
            with giving_way():
                rule_set = self._load()
        except InvalidFiles as error:
            self._refuse(found, tuple(str(problem) for problem in error.problems))
            return
        if not rule_set.files:
            # Rather a mistake, or a disk that is not there, than the wish that no mail be routed any more.
            what = "has no rule file left" if self._folder.is_dir() else "is gone"
            self._refuse(found, (f"{self._folder} {what}; to have no rules, leave a file that says rules: []",))
            return
        self._publish(rule_set, who)

    def _publish(self, rule_set: RuleSet, who: str) -> None:
        # The book has the compiled rules before anybody can ask for them: no mail waits for a compilation.
        self._book.prepare(rule_set)
        seq = self._writer.run(lambda db: rulesets.publish(db, rule_set.hash, rule_set.files, now_ms(), who))
        self._book.refresh()
        self._refused = None
        log.info("rule set %d is active: %s", seq, rulesets.counted(rule_set.files))

    def _settle(self) -> None:
        if self._refused is not None:
            self._refused = None
            log.info("the rules on disk are the active ones again")

    def _refuse(self, found: str | None, problems: tuple[str, ...], fault: Exception | None = None) -> None:
        # Names of files may be bytes that are no text, which no page could show.
        shown = tuple(problem.encode("utf-8", "backslashreplace").decode() for problem in problems)
        before, self._refused = self._refused, (found, shown)
        if before != self._refused:
            log.warning("%s:\n%s", self.note, "\n".join(shown), exc_info=fault)

    def _run(self) -> None:
        try:
            # The first mail after the start need not wait for a compilation either.
            self._book.active()
        except Exception:
            log.exception("the active rule set cannot be compiled")
        pause = 0.0
        while True:
            time.sleep(pause)
            pause = _POLL_SECONDS
            try:
                self.look()
            except Exception as error:
                # The disk is full, say: the rules on disk are tried again, for this thread must outlive everything.
                what = f"the rules could not be read or stored: {type(error).__name__}: {error}"
                self._refuse(None, (what,), error)
                self._taken = None
                pause = _PAUSE_AFTER_FAULT


def fingerprint(folder: Path) -> dict[str, Stamp]:
    """What stands below the folder, by path: changes when a rule file, or a file that a rule's test reads, does.

    Follows symlinked folders, none of them twice, and passes over hidden files and what editors leave behind, as the
    reading of rules does. It reads no file, and never fails: what cannot be looked at stands there with its error.
    """
    found: dict[str, Stamp] = {}
    seen: set[str] = set()

    def failed(error: OSError) -> None:
        found[str(error.filename)] = (error.errno or 0,)

    for place, folders, names in os.walk(folder, onerror=failed, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # In the order of the reading: of two ways to one folder, both take the same.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith((".", "#", "~")) or name.endswith("~") or name == _VIM_PROBE:
                continue
            path = f"{place}/{name}"
            try:
                stat = Path(path).stat()
                # The time of the last change of anything, too: a copy may bring its old time of modification along.
                found[path] = stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino, stat.st_dev
            except OSError as error:
                found[path] = (error.errno or 0,)
    return found


_VIM_PROBE = "4913"
"""The file by which Vim finds out whether it may write into a folder."""


def _fresh(seen: dict[str, Stamp]) -> bool:
    """Whether a file changed so lately that another change may hide behind the same stamp."""
    now = time.time_ns()
    return any(len(stamp) > 1 and abs(now - max(stamp[:2])) < _FRESH_NS for stamp in seen.values())


_giving = 0
_usual = 0.0
_giving_lock = threading.Lock()


@contextmanager
def giving_way() -> Iterator[None]:
    """A long compilation lets other threads have the interpreter ten times as often: mail is taken in meanwhile."""
    global _giving, _usual
    with _giving_lock:
        if not _giving:
            _usual = sys.getswitchinterval()
            sys.setswitchinterval(_SWITCH_SECONDS)
        _giving += 1
    try:
        yield
    finally:
        with _giving_lock:
            _giving -= 1
            if not _giving:
                sys.setswitchinterval(_usual)

"""Editing the rules: drafts of people, and how one becomes the active rule set. The files on the disk stay the truth.

A draft is what differs from the disk. It remembers of each file what stood there when its edit began: where that has
changed since, nothing is written until the person has decided.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from postroom import rulefiles
from postroom.ids import now_ms
from postroom.problems import InvalidFiles, Problem
from postroom.rulebench import Bench
from postroom.rules import read_files
from postroom.rules.loader import in_order
from postroom.store import drafts, rulesets
from postroom.store.drafts import Author, Edit
from postroom.store.history import History
from postroom.store.writer import Writer

Apply = Callable[[Callable[[], None], str], tuple[str, ...]]
"""Writes the files and takes them, in the name of a person; sentences where they are refused. See watch.Watcher."""
T = TypeVar("T")


class NotActivated(Exception):
    """Nothing was written."""

    def __init__(self, sentence: str, problems: tuple[Problem, ...] = (), conflicts: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.problems = problems
        self.conflicts = conflicts
        """Files that changed on the disk since their edits began."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a person has before them."""

    disk: Mapping[str, str]
    files: Mapping[str, str]
    """As they would be once the draft is active."""
    edits: Mapping[str, Edit]
    """By path: those that differ from the disk."""
    conflicts: tuple[str, ...]
    """Paths of edits that began from something else than what is on the disk now."""


def mark(text: str | None) -> str:
    """A short mark of a text, by which a form says what it began from; that of no file is empty."""
    return "" if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


class RuleDesk:
    """Drafts and activation, shared by pages and API."""

    def __init__(self, folder: Path, bench: Bench, history: History, writer: Writer, apply: Apply) -> None:
        self.folder = folder
        self.bench = bench
        self._history = history
        self._writer = writer
        self._apply = apply

    def look(self, who: str) -> Desk:
        """The files and the draft of a person. Raises InvalidFiles where files on the disk cannot be read."""
        disk = read_files(self.folder)
        found = self._history.read(partial(drafts.edits, who=who))
        edits = {each.path: each for each in found if disk.get(each.path) != each.text}
        files = dict(disk)
        for path, edit in edits.items():
            if edit.text is None:
                files.pop(path, None)
            else:
                files[path] = edit.text
        conflicts = tuple(path for path, edit in edits.items() if disk.get(path) != edit.base)
        return Desk(disk, in_order(files), edits, conflicts)

    def others(self, who: str) -> list[Author]:
        """Other people's drafts."""
        return [each for each in self._history.read(drafts.authors) if each.who != who]

    def count(self, who: str) -> int:
        """How many files a person's draft holds."""
        return len(self._history.read(partial(drafts.edits, who=who)))

    @property
    def writable(self) -> bool:
        """Whether files can be written at all."""
        return rulefiles.is_writable(self.folder)

    def save(self, who: str, path: str, text: str | None, was: str | None = None) -> bool:
        """Saves one file of a person's draft; a text that equals the disk's is no edit. None takes the file away.

        `was` is the `mark` of what the person had before them. False, and nothing is saved, where that is not what is
        there any more. Raises ValueError with a sentence for a path that no new rule file can have.
        """
        desk = self.look(who)
        there = desk.files.get(path)
        if was is not None and was != mark(there):
            return False
        if path not in desk.disk and path not in desk.edits and text is not None:
            self._new_name(desk, path)
        disk, edit = desk.disk.get(path), desk.edits.get(path)
        if text == disk:
            self._write(partial(drafts.forget, who=who, path=path))
        else:
            base = disk if edit is None else edit.base
            self._write(partial(drafts.keep, who=who, path=path, text=text, base=base, now=now_ms()))
        return True

    def rename(self, who: str, path: str, to: str) -> None:
        """Gives a file of a person's draft another path. Raises ValueError with a sentence."""
        desk = self.look(who)
        if path not in desk.files:
            raise ValueError(f"there is no file {path}")
        self._new_name(desk, to)
        self.save(who, to, desk.files[path])
        self.save(who, path, None)

    def forget(self, who: str, path: str | None = None) -> int:
        """Throws away an edit, or the whole draft."""
        return self._write(partial(drafts.forget, who=who, path=path))

    def settle(self, who: str, path: str, keep: Literal["mine", "disk"], seen: str) -> bool:
        """A person's decision about a file that changed on the disk: their text, or the disk's.

        `seen` is the `mark` of the disk's text that they saw. False where there is another one by now.
        """
        desk = self.look(who)
        disk, edit = desk.disk.get(path), desk.edits.get(path)
        if edit is None or mark(disk) != seen:
            return False
        if keep == "disk":
            self.forget(who, path)
        else:
            self._write(partial(drafts.keep, who=who, path=path, text=edit.text, base=disk, now=now_ms()))
        return True

    def activate(self, who: str) -> tuple[str, ...]:
        """Writes a person's draft to the disk and makes it the active rule set; sentences where it was not taken.

        Raises NotActivated, InvalidFiles where files on the disk cannot be read, and rulebench.Busy.
        """
        desk = self.look(who)
        if not desk.edits:
            raise NotActivated("There is nothing to activate: the draft is the same as the files on the disk.")
        done = self._activate(who, desk, {path: edit.text for path, edit in desk.edits.items()})
        self.forget(who)
        return done

    def restore(self, who: str, rule_set: int) -> tuple[str, ...]:
        """Writes the files of a rule set of the past to the disk and makes it the active one again.

        A draft of the person stays, and meets the files as they are then. Raises as `activate`, and KeyError.
        """
        disk = read_files(self.folder)
        files = self.files_of(rule_set)
        desk = Desk(disk, in_order(files), {}, ())
        changes = _changes(disk, files)
        if not changes:
            raise NotActivated("These are the files on the disk already.")
        return self._activate(who, desk, changes)

    def draft_of(self, who: str, rule_set: int) -> None:
        """Makes a rule set of the past the draft of a person, in place of what they had. Raises KeyError."""
        disk = read_files(self.folder)
        changes = _changes(disk, self.files_of(rule_set))
        now = now_ms()

        def work(db: Any) -> None:
            drafts.forget(db, who)
            for path, text in changes.items():
                drafts.keep(db, who, path, text, disk.get(path), now)

        self._writer.run(work)

    def files_of(self, rule_set: int) -> dict[str, str]:
        """The files of a rule set that was active once. Raises KeyError."""
        return self._history.read(partial(rulesets.files_of, seq=rule_set))

    def _activate(self, who: str, desk: Desk, changes: Mapping[str, str | None]) -> tuple[str, ...]:
        if desk.conflicts:
            raise NotActivated("Files changed on the disk since their edits began.", conflicts=desk.conflicts)
        if not desk.files:
            raise NotActivated("No rule file would be left; to have no rules, leave a file that says rules: []")
        if refused := self.bench.refused(desk.files):
            raise NotActivated("The rules are not well, and nothing was written.", problems=refused)

        def write() -> None:
            try:
                now = read_files(self.folder)
            except InvalidFiles as invalid:
                raise NotActivated(
                    "Files on the disk cannot be read any more.", problems=tuple(invalid.problems)
                ) from None
            if changed := tuple(path for path in changes if now.get(path) != desk.disk.get(path)):
                raise NotActivated("Files changed on the disk meanwhile.", conflicts=changed)
            try:
                rulefiles.write(self.folder, changes)
            except rulefiles.NotWritten as error:
                raise NotActivated(f"The files could not be written: {error}.") from None

        return self._apply(write, who)

    def _new_name(self, desk: Desk, path: str) -> None:
        if path in desk.files:
            raise ValueError(f"there is a file {path} already")
        if path not in desk.disk and (fault := rulefiles.fault_of_name(path)):
            raise ValueError(fault)

    def _write(self, work: Callable[[Any], T]) -> T:
        return self._writer.run(work)


def _changes(disk: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str | None]:
    return {path: files.get(path) for path in {**disk, **files} if disk.get(path) != files.get(path)}


def archive(files: Mapping[str, str]) -> bytes:
    """The files as a ZIP archive, to be unpacked in a rules folder."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for path, text in files.items():
            file.writestr(path, text)
    return made.getvalue()

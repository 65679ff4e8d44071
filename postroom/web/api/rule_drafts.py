"""`/rules/draft`: edits of rule files that are not active yet, and their way to the disk.

Each person and each token has one draft. Where a file has changed on the disk since its edit began, nothing is written
until that is settled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from postroom.ruledesk import NotActivated, RuleDesk, mark
from postroom.web.api.contract import UNSET, Call, Done, Fault, Place, Route, Unset
from postroom.web.api.rules import NOT_WELL, RulePath, SetPath, guarded, told_of

Mark = Annotated[str, Meta(max_length=64)]


class DraftEdit(msgspec.Struct, frozen=True):
    """One file that differs from the disk."""

    path: str
    text: str | None
    """None takes the file away."""
    at: int
    """When it was last saved."""
    conflict: bool
    """The file changed on the disk since the edit began."""
    disk: str
    """The mark of what is on the disk now; empty: no file."""


class Draft(msgspec.Struct, frozen=True):
    """The caller's draft."""

    edits: tuple[DraftEdit, ...]
    files: dict[str, str]
    """All files as they would be once the draft is active."""
    marks: dict[str, str]
    """Of each file, to give as `was`."""


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of the draft. `text` null takes it away. `was`: the mark of what you began from; empty: no file."""

    path: RulePath
    text: str | None
    was: Mark | Unset = UNSET


class Forget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which edit; without a path the whole draft."""

    path: RulePath | Unset = UNSET


class Settle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that changed on the disk: which text stays, and the mark of the disk's text that you saw."""

    path: RulePath
    keep: Literal["mine", "disk"]
    seen: Mark


class Activated(msgspec.Struct, frozen=True):
    """The files were written."""

    active: bool
    """False: they were not taken, `problems` say why; the last good rules stay active."""
    problems: tuple[str, ...]


def routes(desk: RuleDesk) -> list[Route]:
    """The draft of whoever calls."""

    def draft(call: Call) -> Draft:
        mine = desk.look(call.who)
        return Draft(
            edits=tuple(
                DraftEdit(path, each.text, each.at, path in mine.conflicts, mark(mine.disk.get(path)))
                for path, each in mine.edits.items()
            ),
            files=dict(mine.files),
            marks={path: mark(text) for path, text in mine.files.items()},
        )

    def save(call: Call) -> Done:
        body: Edit = call.body
        try:
            saved = desk.save(call.who, body.path, body.text, None if body.was is UNSET else body.was)
        except ValueError as error:
            raise Fault(409, f"{error}.") from None
        if not saved:
            raise Fault(409, "The file was changed meanwhile: nothing was saved.")
        return Done()

    def forget(call: Call) -> Done:
        if not desk.forget(call.who, None if call.query.path is UNSET else call.query.path):
            raise Fault(409, "There is no such edit.")
        return Done()

    def settle(call: Call) -> Done:
        body: Settle = call.body
        if not desk.settle(call.who, body.path, body.keep, body.seen):
            raise Fault(409, "There is no such edit, or the file changed again on the disk.")
        return Done()

    def activate(call: Call) -> Activated:
        return written(lambda: desk.activate(call.who))

    def restore(call: Call) -> Activated:
        try:
            return written(lambda: desk.restore(call.who, call.path.n))
        except KeyError:
            raise Fault(404, "No rule set has this number.") from None

    def written(write: Callable[[], tuple[str, ...]]) -> Activated:
        try:
            problems = write()
        except NotActivated as refused:
            places = [
                Place(f"{each.path}:{each.line}:{each.column}", each.message) for each in told_of(refused.problems)
            ]
            places += [Place(path, "changed on the disk") for path in refused.conflicts]
            raise Fault(409, str(refused), places) from None
        return Activated(not problems, problems)

    path = "/rules/draft"
    refused = {409: "Nothing was written; `detail` and `errors` say why."}
    return [
        Route("GET", path, "The caller's draft of the rules.", guarded(draft), Draft, faults=NOT_WELL),
        Route("PUT", path, "Saves one file of the caller's draft.", guarded(save), Done, "editor", body=Edit,
              faults={409: "No rule file can have this path, or it was changed meanwhile."}),
        Route("DELETE", path, "Throws away an edit, or the whole draft.", forget, Done, "editor", query=Forget,
              faults={409: "There is no such edit."}),
        Route("POST", f"{path}/settle", "Decides about a file that changed on the disk.", guarded(settle), Done,
              "editor", body=Settle, faults={409: "There is no such edit, or the file changed again."}),
        Route("POST", "/rules/activate", "Writes the caller's draft to the rules folder and makes it active.",
              guarded(activate), Activated, "editor", faults=refused),
        Route("POST", "/rules/sets/{n}/restore", "Makes a rule set of the past the active one again.",
              guarded(restore), Activated, "editor", takes=SetPath,
              faults={404: "No rule set has this number.", **refused}),
    ]  # fmt: skip

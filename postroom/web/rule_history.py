"""The rule sets of the past: what changed, when and by whom, and the way back.

| URL | what |
| --- | --- |
| `GET /rules/history` | every activation, newest first; `before`: paging |
| `GET /rules/history/N` | one activation (its number): its difference to the set before it, and to the files of today |
| `POST /rules/history/N/draft` | that set as the draft of the person; 303 |
| `POST /rules/history/N/restore` | writes that set to the rules folder and makes it active (`sure`); 303, or 409 |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom import diffs
from postroom.ruledesk import NotActivated, RuleDesk
from postroom.rules import read_files
from postroom.store import rulesets
from postroom.store.history import History
from postroom.store.rulesets import Activation
from postroom.web import auth
from postroom.web.rule_drafts import tell

_PAGE = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """An activation in the list."""

    activation: Activation
    files: int
    changes: tuple[diffs.Diff, ...]
    """To the set before it."""
    first: bool


def add(pages: Blueprint, desk: RuleDesk, history: History) -> None:
    """Adds these pages to those of the rules."""

    @pages.get("/rules/history")
    def past() -> ResponseReturnValue:
        before = request.args.get("before", type=int)
        found = history.read(partial(rulesets.activations, before=before, limit=_PAGE + 1))
        sets = {each.rule_set: desk.files_of(each.rule_set) for each in found}
        entries = []
        for number, each in enumerate(found[:_PAGE]):
            earlier = found[number + 1] if number + 1 < len(found) else None
            changes = diffs.of_files(sets[earlier.rule_set], sets[each.rule_set]) if earlier else []
            entries.append(Entry(each, len(sets[each.rule_set]), tuple(changes), earlier is None))
        return render_template(
            "rules_history.html",
            entries=entries,
            older=found[_PAGE - 1].seq if len(found) > _PAGE else None,
            before=before,
            active=history.read(rulesets.active),
        )

    @pages.get("/rules/history/<int:seq>")
    def activation(seq: int) -> ResponseReturnValue:
        return show(seq)

    def show(seq: int, refused: NotActivated | None = None) -> str:
        each, earlier = one(seq)
        files = desk.files_of(each.rule_set)
        before = desk.files_of(earlier.rule_set) if earlier else {}
        newer = history.read(partial(rulesets.activations_after, seq=seq, limit=1))
        return render_template(
            "rules_set.html",
            each=each,
            earlier=earlier,
            newer=newer[0] if newer else None,
            files=files,
            changes=diffs.of_files(before, files) if earlier else [],
            today=diffs.of_files(read_files(desk.folder), files),
            active=history.read(rulesets.active) == each.rule_set,
            refused=refused,
            writable=desk.writable,
        )

    @pages.post("/rules/history/<int:seq>/draft")
    def as_draft(seq: int) -> ResponseReturnValue:
        auth.require_role("editor")
        each, _ = one(seq)
        who = auth.current_user() or ""
        if desk.look(who).edits and not request.form.get("sure"):
            flash("You have a draft, which this would replace: tick the box, or throw it away first.", "bad")
            return redirect(url_for("rules.activation", seq=seq), 303)
        desk.draft_of(who, each.rule_set)
        flash(f"Rule set {each.rule_set} is your draft now.", "good")
        return redirect(url_for("rules.draft"), 303)

    @pages.post("/rules/history/<int:seq>/restore")
    def restore(seq: int) -> ResponseReturnValue:
        auth.require_role("editor")
        each, _ = one(seq)
        if not request.form.get("sure"):
            flash("Nothing was done: tick the box to make this set active again.", "bad")
            return redirect(url_for("rules.activation", seq=seq), 303)
        try:
            done = desk.restore(auth.current_user() or "", each.rule_set)
        except NotActivated as refused:
            return show(seq, refused), 409
        tell(done)
        return redirect(url_for("rules.past"), 303)

    def one(seq: int) -> tuple[Activation, Activation | None]:
        found = history.read(partial(rulesets.activations, before=min(seq, 2**62) + 1, limit=2))
        if not found or found[0].seq != seq:
            abort(404, "No rule set has this number in the history.")
        return found[0], found[1] if len(found) > 1 else None

"""The draft of the rules: what differs from the disk, what it does, and its way to the disk.

| URL | what |
| --- | --- |
| `GET /rules/draft` | what a person's draft changes, its problems, and what changed on the disk meanwhile |
| `POST /rules/draft/activate` | writes the draft to the rules folder and makes it active; 303, or 409 and the reasons |
| `POST /rules/draft/discard` | throws an edit (`path`) or the whole draft away |
| `POST /rules/draft/settle` | a file that changed on the disk: `keep` is `mine` or `disk`, `seen` the disk's mark |
| `GET /rules/draft.zip` | the files as the draft has them |
| `GET /rules/test` | runs the tests in the draft's files |
| `GET /rules/explain` | a stored message under the draft: `message` (its id), or `q` (a search to choose one by) |
| `GET /rules/backtest` | `since` (such as 7d) and `most`: how the mail that came would go under the draft |

Without a draft of theirs, people test, explain and judge the files on the disk.
"""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom import diffs
from postroom.fields import parse_duration
from postroom.ids import now_ms
from postroom.plan import Trace
from postroom.problems import InvalidFiles
from postroom.ruledesk import Desk, NotActivated, RuleDesk, archive, mark
from postroom.store.history import History
from postroom.web import auth

_FOUND = 20
MOST = (500, 2_000, 10_000)
"""How many messages a backtest on the dashboard judges at most: a choice."""


def add(pages: Blueprint, desk: RuleDesk, history: History) -> None:
    """Adds these pages to those of the rules."""

    @pages.get("/rules/draft")
    def draft() -> ResponseReturnValue:
        return review(desk.look(auth.current_user() or ""))

    def review(mine: Desk, refused: NotActivated | None = None) -> str:
        changes = [diffs.diff(path, mine.disk.get(path), edit.text) for path, edit in mine.edits.items()]
        conflicts = [
            {
                "path": path,
                "seen": mark(mine.disk.get(path)),
                "theirs": diffs.diff(path, mine.edits[path].base, mine.disk.get(path)),
                "ours": diffs.diff(path, mine.edits[path].base, mine.edits[path].text),
            }
            for path in mine.conflicts
        ]
        return render_template(
            "rules_draft.html",
            mine=mine,
            changes=changes,
            conflicts=conflicts,
            found=desk.bench.problems(mine.files),
            refused=refused,
            writable=desk.writable,
            folder=desk.folder,
            others=desk.others(auth.current_user() or ""),
        )

    @pages.post("/rules/draft/activate")
    def activate() -> ResponseReturnValue:
        auth.require_role("editor")
        who = auth.current_user() or ""
        try:
            done = desk.activate(who)
        except NotActivated as refused:
            return review(desk.look(who), refused), 409
        tell(done)
        return redirect(url_for("rules.tree"), 303)

    @pages.post("/rules/draft/discard")
    def discard() -> ResponseReturnValue:
        auth.require_role("editor")
        path = request.form.get("path") or None
        if path is None and not request.form.get("sure"):
            flash("Nothing was done: tick the box to throw the whole draft away.", "bad")
        elif desk.forget(auth.current_user() or "", path):
            flash(f"Your edit of {path} is gone." if path else "Your draft is gone.", "good")
        else:
            flash("There was no such edit.", "bad")
        return redirect(url_for("rules.draft"), 303)

    @pages.post("/rules/draft/settle")
    def settle() -> ResponseReturnValue:
        auth.require_role("editor")
        path, keep, seen = (request.form.get(name, "") for name in ("path", "keep", "seen"))
        if keep not in ("mine", "disk"):
            abort(400, "Which one is to stay, yours or the disk's?")
        if desk.settle(auth.current_user() or "", path, "mine" if keep == "mine" else "disk", seen):
            flash(f"{path}: {'your text stays, and replaces the disk’s' if keep == 'mine' else 'the disk’s text stays'}"
                  f"{' once you activate' if keep == 'mine' else ''}.", "good")  # fmt: skip
        else:
            flash(f"{path} changed again on the disk: look once more.", "bad")
        return redirect(url_for("rules.draft"), 303)

    @pages.get("/rules/draft.zip")
    def download() -> ResponseReturnValue:
        mine = desk.look(auth.current_user() or "")
        answer = Response(archive(mine.files), mimetype="application/zip")
        answer.headers.set("Content-Disposition", "attachment", filename="rules.zip")
        return answer

    @pages.get("/rules/test")
    def tests() -> ResponseReturnValue:
        mine = desk.look(auth.current_user() or "")
        try:
            tested = desk.bench.tests(mine.files)
        except InvalidFiles as invalid:
            return render_template("rules_test.html", mine=mine, tested=None, found=invalid.problems)
        outcomes = sorted(tested.outcomes, key=lambda each: each.passed)
        return render_template("rules_test.html", mine=mine, tested=tested, outcomes=outcomes, found=())

    @pages.get("/rules/explain")
    def explain() -> ResponseReturnValue:
        mine = desk.look(auth.current_user() or "")
        wanted, search = request.args.get("message", ""), request.args.get("q", "").strip()[:400]
        shown = {"mine": mine, "search": search, "rows": [], "explained": None, "trace": None, "fault": "", "found": ()}
        if wanted:
            detail = history.message(_id(wanted))
            if detail is None:
                abort(404, "No message has this id. It may have been pruned or erased.")
            try:
                explained = desk.bench.explain(mine.files, detail)
                shown |= {"explained": explained, "trace": Trace(explained.trace["rules"], explained.plan)}
            except ValueError as error:
                shown["fault"] = f"{error}."
            except InvalidFiles as invalid:
                shown["found"] = tuple(invalid.problems)
            shown["row"] = detail.row
        else:
            # Without words the newest ones: something to begin with.
            found = history.find(search, limit=_FOUND)
            shown |= {"rows": found.rows, "fault": "; ".join(found.problems)}
        return render_template("rules_explain.html", **shown)

    @pages.get("/rules/backtest")
    def backtest() -> ResponseReturnValue:
        mine = desk.look(auth.current_user() or "")
        since, most = request.args.get("since", ""), request.args.get("most", MOST[1], type=int)
        shown = {"mine": mine, "since": since or "7d", "most": most, "choices": MOST, "report": None, "found": ()}
        if since:
            auth.require_role("editor")
            try:
                seconds = parse_duration(since)
            except ValueError as error:
                return render_template("rules_backtest.html", **shown, fault=f"Since: {error}."), 400
            if most not in MOST:
                abort(400, "That is not among the numbers to choose from.")
            start = max(0, now_ms() - int(seconds * 1000))
            try:
                shown["report"] = desk.bench.backtest(mine.files, start, most)
            except InvalidFiles as invalid:
                shown["found"] = tuple(invalid.problems)
        return render_template("rules_backtest.html", **shown, fault="")


def tell(problems: tuple[str, ...]) -> None:
    """Says how an activation went."""
    if problems:
        flash("The files were written, but not taken: see the problems. The last good rules stay active.", "bad")
    else:
        flash("The rules are active: mail that comes now goes by them.", "good")


def _id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        abort(404, "That is no id of a message.")

"""The dashboard's pages of the rules: what there is and what it matches; files to edit.

| URL | what |
| --- | --- |
| `GET /rules` | the active rules by file, with traffic of 30 days and tests; `file`: one file of very many |
| `GET`, `POST /rules/file?path=P` | the editor; `line`: where to; `do` is `check`, `save`, `test` or `review` |
| `POST /rules/new`, `/rules/rename`, `/rules/delete` | of files, in the draft; 303 |
| `POST /rules/check` | JSON: the problems of the draft with `text` in place of the file `path` |
| `GET /rules/schema.json` | the JSON Schema of rule files, with the destinations of config.yaml |

rule_drafts.py adds the draft, tests, explain and backtest; rule_history.py the rule sets of the past. All need a login;
what changes something needs the role editor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from postroom.ids import now_ms
from postroom.problems import InvalidFiles, Problem
from postroom.rulebench import Busy, Tested
from postroom.ruledesk import Desk, RuleDesk, mark
from postroom.rules import Rule, RuleSet
from postroom.rules.modes import LIVE
from postroom.store.history import History
from postroom.store.rule_traffic import Matched, traffic
from postroom.web import auth, display, rule_drafts, rule_history

DAYS = 30
_LONGEST_TEXT = 1_000_000
_MOST_RULES = 300
_CHECK_PATIENCE = 2.0
_NEW_FILE = """\
rules:
  - name: Give it a name
    when: {subject: {contains: something}}
    then: [hold: {reason: try it out}]
"""
BUSY = "Another check of the rules takes long. Please try again in a moment."


@dataclass(frozen=True, slots=True)
class Row:
    """A rule in the tree."""

    rule: Rule
    depth: int
    first_of: str
    """The parent of which only the first child that matches is considered; empty where there is none such."""
    mode: str
    """Empty for a live one."""
    matched: Matched | None


def blueprint(
    *,
    desk: RuleDesk,
    history: History,
    active: Callable[[], tuple[int, RuleSet] | None],
    schema: Callable[[], str],
    problems: Callable[[], Sequence[str]],
) -> Blueprint:
    """The pages. `active` gives the number and the rules of the active set; `schema` the JSON Schema as a text."""
    pages = Blueprint("rules", __name__)
    display.install(pages)

    pages.before_request(auth.require_login)
    pages.context_processor(
        lambda: {
            "problems": list(problems()),
            "drafted": _drafted(desk),
            "meanings": display.MEANINGS,
            "search_url": _search_url,
        }
    )

    @pages.errorhandler(Busy)
    def busy(error: Busy) -> ResponseReturnValue:
        return render_template("error.html", code=503, title="One moment", sentence=BUSY), 503

    @pages.errorhandler(InvalidFiles)
    def unreadable(error: InvalidFiles) -> ResponseReturnValue:
        return render_template("rules_unreadable.html", found=error.problems), 409

    @pages.get("/rules")
    def tree() -> ResponseReturnValue:
        found = active()
        if found is None:
            return render_template("rules.html", number=None, files=[], folder=desk.folder)
        number, rule_set = found
        rows = list(_rows(rule_set.rules))
        only = request.args.get("file", "") if len(rows) > _MOST_RULES else ""
        shown = [row for row in rows if not only or row.rule.file == only]
        few = len(rows) <= _MOST_RULES or bool(only)
        shown = shown[:_MOST_RULES] if few else []
        names = [row.rule.name for row in shown]
        counts = history.read(partial(traffic, rules=names, since=now_ms() - DAYS * 86_400_000))
        tested, misfits = _tested(desk, rule_set)
        by_file: dict[str, list[Row]] = {}
        for row in shown:
            matched = counts.by_rule[row.rule.name]
            by_file.setdefault(row.rule.file, []).append(Row(row.rule, row.depth, row.first_of, row.mode, matched))
        numbers: dict[str, int] = {}
        for row in rows:
            numbers[row.rule.file] = numbers.get(row.rule.file, 0) + 1
        mine, disk_problems = _look(desk)
        return render_template(
            "rules.html",
            number=number,
            files=[path for path in rule_set.files if not only or path == only],
            by_file=by_file,
            numbers=numbers,
            few=few,
            only=only,
            cut=few and len([row for row in rows if not only or row.rule.file == only]) > len(shown),
            counts=counts,
            tested=tested,
            misfits=misfits,
            mine=mine,
            disk_problems=disk_problems,
            inactive=[] if mine is None else [path for path in mine.files if path not in rule_set.files],
            others=desk.others(auth.current_user() or ""),
            days=DAYS,
            folder=desk.folder,
            never=sum(
                row.matched is not None and row.matched.last is None for each in by_file.values() for row in each
            ),
        )

    @pages.get("/rules/file")
    def file() -> ResponseReturnValue:
        who, path = auth.current_user() or "", request.args.get("path", "")
        mine = desk.look(who)
        if path not in mine.files:
            edit = mine.edits.get(path)
            abort(404, "Your draft takes this file away." if edit else "There is no rule file of this name.")
        return editor(mine, path, mine.files[path], mark(mine.files[path]))

    @pages.post("/rules/file")
    def save() -> ResponseReturnValue:
        auth.require_role("editor")
        who, path, text = auth.current_user() or "", request.args.get("path", ""), _text()
        was, do = request.form.get("was", ""), request.form.get("do", "save")
        mine = desk.look(who)
        if path not in mine.files and path not in mine.disk and path not in mine.edits:
            abort(404, "There is no rule file of this name.")
        if do == "check":
            return editor(mine, path, text, was, checked=True)
        if not desk.save(who, path, text, was):
            flash("This file was changed elsewhere while you wrote: nothing was saved yet.", "bad")
            return editor(mine, path, text, mark(mine.files.get(path)), met=True), 409
        if do == "test":
            return redirect(url_for("rules.tests"), 303)
        if do == "review":
            return redirect(url_for("rules.draft"), 303)
        flash("Saved in your draft; what is active has not changed.", "good")
        return redirect(url_for("rules.file", path=path), 303)

    def editor(mine: Desk, path: str, text: str, was: str, *, checked: bool = False, met: bool = False) -> str:
        files = {**mine.files, path: text}
        found: tuple[Problem, ...] | None
        try:
            found = desk.bench.problems(files, _CHECK_PATIENCE)
        except Busy:
            found = None
        return render_template(
            "rules_file.html",
            path=path,
            text=text,
            was=was,
            found=found,
            checked=checked,
            there=mine.files.get(path) if met else None,
            met=met,
            edit=mine.edits.get(path),
            conflict=path in mine.conflicts,
            writable=desk.writable,
            line=request.args.get("line", type=int),
            too_long=len(text) > _LONGEST_TEXT,
        )

    @pages.post("/rules/new")
    def new() -> ResponseReturnValue:
        auth.require_role("editor")
        path = request.form.get("path", "").strip()
        path = path if path.endswith((".yaml", ".yml")) else f"{path}.yaml"
        text = _text() if request.form.get("text") else _NEW_FILE
        return named(lambda who: desk.save(who, path, text, ""), path, url_for("rules.tree"))

    @pages.post("/rules/rename")
    def rename() -> ResponseReturnValue:
        auth.require_role("editor")
        path, to = request.form.get("path", ""), request.form.get("to", "").strip()
        return named(lambda who: desk.rename(who, path, to), to, url_for("rules.file", path=path))

    @pages.post("/rules/delete")
    def delete() -> ResponseReturnValue:
        auth.require_role("editor")
        path = request.form.get("path", "")
        if not request.form.get("sure"):
            flash("Nothing was done: tick the box to take the file away.", "bad")
            return redirect(url_for("rules.file", path=path), 303)
        who = auth.current_user() or ""
        if path not in desk.look(who).files:
            abort(404, "There is no rule file of this name.")
        desk.save(who, path, None)
        flash(f"{path} is taken away in your draft. It stays on the disk until you activate.", "good")
        return redirect(url_for("rules.draft"), 303)

    def named(act: Callable[[str], object], path: str, back: str) -> ResponseReturnValue:
        try:
            done = act(auth.current_user() or "")
        except ValueError as error:
            flash(f"{path}: {error}.", "bad")
            return redirect(back, 303)
        if done is False:
            flash(f"There is a file {path} already.", "bad")
        return redirect(url_for("rules.file", path=path), 303)

    @pages.post("/rules/check")
    def check() -> ResponseReturnValue:
        path = request.form.get("path", "")
        mine = desk.look(auth.current_user() or "")
        if path not in mine.files:
            abort(404)
        try:
            found = desk.bench.problems({**mine.files, path: _text()}, _CHECK_PATIENCE)
        except Busy:
            return {"busy": True, "problems": []}
        return {
            "busy": False,
            "problems": [
                {"file": each.place.path, "line": each.place.line, "column": each.place.column, "message": each.message}
                for each in found[:200]
            ],
        }

    @pages.get("/rules/schema.json")
    def schema_json() -> ResponseReturnValue:
        text = schema()
        answer = Response(text, mimetype="application/schema+json")
        answer.set_etag(hashlib.sha256(text.encode()).hexdigest()[:24])
        answer.headers["Cache-Control"] = "private, no-cache"
        return answer.make_conditional(request)

    rule_drafts.add(pages, desk, history)
    rule_history.add(pages, desk, history)
    return pages


def _search_url(rule: str) -> str:
    """The messages that a rule matched lately."""
    return url_for("dashboard.messages", q=f'rule:"{rule}" after:{DAYS}d')


def _text() -> str:
    """The posted text, with the line ends of files: browsers send CRLF."""
    text = request.form.get("text", "").replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > _LONGEST_TEXT:
        abort(413)
    return text


def _rows(rules: Sequence[Rule], depth: int = 0, first_of: str = "") -> Iterator[Row]:
    for rule in rules:
        yield Row(rule, depth, first_of, "" if rule.mode == LIVE else str(rule.mode), None)
        yield from _rows(rule.rules, depth + 1, rule.name if rule.first_only else "")


def _tested(desk: RuleDesk, rule_set: RuleSet) -> tuple[Tested | None, tuple[Problem, ...]]:
    """How the tests of the active rules go, where that is soon told; and why they fit config.yaml no more."""
    try:
        return desk.bench.known_tests(rule_set.files), ()
    except InvalidFiles as invalid:
        return None, tuple(invalid.problems)
    except Busy:
        return None, ()


def _look(desk: RuleDesk) -> tuple[Desk | None, tuple[Problem, ...]]:
    try:
        return desk.look(auth.current_user() or ""), ()
    except InvalidFiles as invalid:
        return None, tuple(invalid.problems)


def _drafted(desk: RuleDesk) -> int:
    """How many files the current user's draft changes."""
    if not auth.may("editor"):
        return 0
    return desk.count(auth.current_user() or "")

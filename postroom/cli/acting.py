"""Commands by which people act on mail: they work beside the running program, which is woken for what they owe."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from postroom import doorbell, listing
from postroom.acting import LIMIT, Act, Acting, BulkOutcome, BulkPreview, Preview
from postroom.acts import ON_DELIVERIES, counted
from postroom.cli.house import House, commands, config_option, history_of, json_option, search_of, who
from postroom.rulebook import RuleBook
from postroom.store.database import FILE_NAME
from postroom.store.writer import Writer

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ASKS_FROM = 10
"""So many are acted on without a question where they are named by their ids; what a search finds, never."""
_SHOWN = 20
_DONE = {
    "retry": "tried again now",
    "replay": "made again",
    "cancel": "taken back",
    "re-route": "routed again",
    "release": "released",
    "discard": "discarded",
}


def _command(act: Act, summary: str, again: bool = False) -> None:
    """Adds one command; they differ in nothing else."""

    def run(
        house: House,
        config_path: Path,
        query: tuple[str, ...],
        yes: bool,
        dry_run: bool,
        as_json: bool,
        again: bool = False,
    ) -> int:
        return _run(house, config_path, act, query, yes=yes, dry_run=dry_run, as_json=as_json, again=again)

    wrapped: Callable[..., Any] = click.pass_obj(run)
    options = [
        config_option,
        click.argument("query", nargs=-1, required=True, metavar="ID...|QUERY"),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
        json_option,
    ]
    if again:
        options.append(click.option("--again", is_flag=True, help="Owe all that the rules plan, though it had it."))
    for option in reversed(options):
        wrapped = option(wrapped)
    what = "a delivery, or of a message for its deliveries" if act in ON_DELIVERIES else "a message"
    more = f"ID: of {what}. QUERY: a search, as in `history`; at most {LIMIT:,} at once, the newest."
    commands.command(act, help=f"{summary}\n\n{more}")(wrapped)


_command("retry", "Tries dead and waiting deliveries again now: same content, same key.")
_command("replay", "Delivers again what was delivered, on purpose: same content, new key.")
_command("cancel", "Takes back deliveries that are not made yet.")
_command("re-route", "Routes messages under today's rules; sends only what they have not had.", again=True)
_command("release", "Routes held messages under today's rules, without the rules that held them.")
_command("discard", "Ends held and unmatched messages: nothing of them is sent.")


def _run(
    house: House,
    config_path: Path,
    act: Act,
    query: tuple[str, ...],
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    again: bool,
) -> int:
    by_ids = all(_ID.fullmatch(word) for word in query)
    with _acting(house, config_path) as acting:
        asked: dict[str, Any] = {"ids": query} if by_ids else {"query": search_of(query)}
        preview = acting.bulk_preview(act, again=again, **asked)
        if preview.problems:
            raise click.UsageError("; ".join(preview.problems))
        if dry_run:
            click.echo(listing.as_json(preview) if as_json else told(preview))
            return 0 if preview.targets else 1
        count = len(preview.targets)
        if not count:
            if as_json:
                click.echo(listing.as_json(acting.bulk(act, [], who())))
            raise click.ClickException(f"nothing to {act}{_why(preview.impossible)}")
        if not yes and (not by_ids or count > _ASKS_FROM):
            click.echo(told(preview, each=False), err=True)
            click.confirm(f"{act.capitalize()} {_things(act, count)}?", abort=True, err=True)
        with click.progressbar(length=count, label=act, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            done = acting.bulk(
                act,
                preview.targets,
                who(),
                again=again,
                rule_set=preview.rule_set,
                advance=lambda each: bar.update(each),
            )
    if as_json:
        click.echo(listing.as_json(done))
    else:
        click.echo(told_outcome(done, preview))
    return 0 if done.done else 1


@contextmanager
def _acting(house: House, config_path: Path) -> Iterator[Acting]:
    config, kinds = house.load_config(config_path)
    history = history_of(house, config_path)
    database = config.data_dir / FILE_NAME
    writer = Writer(database, after_commit=partial(doorbell.ring, config.data_dir / doorbell.FILE_NAME))
    book = RuleBook(database, {}, config.mail.timezone)
    try:
        yield Acting(writer, history, book.active, house.item_makers(config, kinds))
    finally:
        writer.close()


def told(preview: BulkPreview, *, each: bool = True) -> str:
    """A preview for people: sums, then what becomes of each of the first."""
    count = len(preview.targets)
    lines = [f"{preview.act}: {_things(preview.act, count)}, now {_sums(preview.states)}" if count else "nothing to do"]
    if preview.becomes:
        lines.append(f"  would be: {_sums(preview.becomes)}")
    if preview.destinations:
        what = "deliveries" if preview.act in ON_DELIVERIES else "new deliveries"
        lines.append(f"  {what}: {_sums(preview.destinations, places=True)}")
    lines += [f"  not possible for {number}: {reason}" for reason, number in preview.impossible.items()]
    if preview.more:
        lines.append(f"  more than these meet the search: the newest {LIMIT:,} are taken")
    if each:
        for one in preview.each[:_SHOWN]:
            lines += ["", *_told_one(one)]
        if len(preview.each) > _SHOWN:
            lines += ["", f"and {len(preview.each) - _SHOWN} more; --json tells all"]
    return listing.safe("\n".join(lines))


def told_outcome(done: BulkOutcome, preview: BulkPreview) -> str:
    """How it ended, for people; what the preview found impossible counts as left too."""
    left = dict(preview.impossible)
    for reason, number in done.skipped.items():
        left[reason] = left.get(reason, 0) + number
    total = done.asked + sum(preview.impossible.values())
    things = "deliveries" if done.act in ON_DELIVERIES else "messages"
    verb = f"are {_DONE[done.act]}" if done.act in ON_DELIVERIES else _DONE[done.act]
    lines = [f"{done.done} of {total} {things} {verb}"]
    if done.made and done.act == "re-route":
        lines.append(f"  {counted(done.made, 'new delivery', 'new deliveries')}")
    lines += [f"  {number} left: {reason}" for reason, number in left.items()]
    return listing.safe("\n".join(lines))


def _told_one(preview: Preview) -> list[str]:
    place = f"  to {preview.destination} by rule '{preview.rule}'" if preview.destination else ""
    lines = [
        f"{preview.id}  {preview.state}{place}",
        f"    to {preview.recipient}: {listing.one_line(preview.subject or '(no subject)', 100)}",
        f"    {preview.sentence}",
    ]
    for action in preview.planned:
        mark, note = ("+", "") if action.new else ("=", f" ({action.had})" if action.had else "")
        lines.append(f"    {mark} {action.rule}: {action.destination}{note}")
    return lines


def _things(act: str, count: int) -> str:
    one, many = ("delivery", "deliveries") if act in ON_DELIVERIES else ("message", "messages")
    return counted(count, one, many)


def _sums(counts: dict[str, int], *, places: bool = False) -> str:
    return ", ".join(f"{name} {count}" if places else f"{count} {name}" for name, count in counts.items())


def _why(impossible: dict[str, int]) -> str:
    return f": {'; '.join(impossible)}" if impossible else ": nothing that meets this is in a state for it"

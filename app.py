"""Postroom, wired together: read it from top to bottom as a mail travels.

provider -> ingress -> rules -> store == one transaction ==> 200
                                  |
                              dispatcher -> integration -> Jira, Redmine, webhook, ...
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import integrations
from postroom import cli, data_lock, doorbell, logs, trial
from postroom.acting import Acting
from postroom.answer import Answering
from postroom.circuit import Circuit
from postroom.cli import checking
from postroom.config import Config, DestinationConfig, field_sets, load, plugins_dir_of
from postroom.destination import Destination
from postroom.dispatch import Dispatcher
from postroom.exchange import Http
from postroom.fields import secrets_of, specs
from postroom.ids import now_ms
from postroom.ingress import KINDS as INGRESS_KINDS
from postroom.integration import Integration, discover
from postroom.problems import InvalidFiles
from postroom.receive import Receiver
from postroom.recognise import Recogniser
from postroom.rulebook import RuleBook
from postroom.rules import RuleSet, compile_rules, read_files
from postroom.rules.cases import Case
from postroom.ruletests import Outcome, run_cases
from postroom.store import destinations, keys
from postroom.store.brake import Brake
from postroom.store.database import FILE_NAME
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.supervise import WEB_THREADS
from postroom.watch import Watcher

# Commands and dispatcher need nothing of the web: it is loaded where the pages are wired, for it takes time and memory.
if TYPE_CHECKING:
    from flask import Flask

    from postroom.web import auth, health, overview
    from postroom.web import destinations as ways_out

HERE = Path(__file__).resolve().parent


def load_kinds(path: Path | None) -> dict[str, type[Integration]]:
    """The kinds of destinations that a config.yaml may name, whatever else it says. Raises InvalidFiles."""
    return discover(None if path is None else plugins_dir_of(path), integrations)


def load_config(path: Path) -> tuple[Config, dict[str, type[Integration]]]:
    """config.yaml and the kinds of destinations it may name. Raises InvalidFiles with every problem."""
    kinds = load_kinds(path)
    build = partial(create_integration, kinds)
    return load(path, ingress_kinds=INGRESS_KINDS, destination_kinds=kinds, build=build), kinds


def load_rules(config: Config, kinds: dict[str, type[Integration]]) -> RuleSet:
    """The rule files as they are now. Raises InvalidFiles with every problem; a test of theirs that fails is one."""
    shown = os.path.relpath(config.rules_dir)
    rule_set = compile_rules(
        read_files(config.rules_dir),
        field_sets(config, kinds),
        shown=shown,
        timezone=config.mail.timezone,
        ingresses=config.ingress,
    )
    if config.rules.require_tests:
        failed = [outcome.problem() for outcome in test_rules(config, kinds, rule_set) if not outcome.passed]
        if failed:
            raise InvalidFiles(failed)
    return rule_set


def test_rules(
    config: Config, kinds: dict[str, type[Integration]], rule_set: RuleSet, cases: Sequence[Case] | None = None
) -> list[Outcome]:
    """The outcomes of the tests in the rule files: of all, unless `cases` names some."""
    return run_cases(
        rule_set,
        config.rules_dir,
        field_sets(config, kinds),
        item_makers(config, kinds),
        config.mail.trusted_authserv_ids,
        cases,
    )


def create_app(config: Config, kinds: dict[str, type[Integration]]) -> Flask:
    """The web process: ways in, health, dashboard. The store must be migrated and a rule set published.

    Its extension `rules` is the watcher of the rule files, not yet started.
    """
    from flask import Flask
    from werkzeug.middleware.proxy_fix import ProxyFix

    from postroom.web import api, auth, dashboard, editing, health, inbound, overview, staff, tokens
    from postroom.web import destinations as ways_out
    from postroom.web.gate import Gate
    from postroom.web.proxy_login import Proxy
    from postroom.web.refusals import Refusals

    database = config.data_dir / FILE_NAME
    book = RuleBook(database, field_sets(config, kinds), config.mail.timezone)
    writer = Writer(database, after_commit=partial(doorbell.ring, config.data_dir / doorbell.FILE_NAME))
    recogniser = Recogniser(keys.mail_key(config.data_dir), config.mail.trusted_authserv_ids)
    makers = item_makers(config, kinds)
    receiver = Receiver(writer, book.active, recogniser, create_brake(config), makers)
    watcher = Watcher(config.rules_dir, partial(load_rules, config, kinds), book, writer)
    gate = Gate(config.limits.in_flight, config.data_dir, config.limits.min_free, readers=WEB_THREADS - 16)
    ways_in = {
        name: inbound.Entry(
            ingress=INGRESS_KINDS[way.kind](name, way.options),
            max_body=way.common.max_body,
            networks=tuple(ipaddress.ip_network(each, strict=False) for each in way.common.allow_ips),
            url=f"{config.server.url}/inbound/{name}",
        )
        for name, way in config.ingress.items()
    }
    refusals = Refusals()
    history = History(database)

    standings = partial(history.read, destinations.standings)

    def standstills() -> Sequence[str]:
        found = (
            ["the disk is nearly full: mail is refused for now, and the provider keeps it"] if gate.disk_low() else []
        )
        return (
            found
            if data_lock.is_held(config.data_dir)
            else [*found, "the dispatcher is not running: nothing is delivered"]
        )

    def problems() -> Sequence[str]:
        return [*standstills(), *watcher.problems, *troubles(config, standings())]

    def notes() -> Sequence[str]:
        count = len(troubles(config, standings()))
        waits = (
            [f"destinations that fail again and again, or are closed: {count}; their deliveries wait"] if count else []
        )
        return [*([watcher.note] if watcher.note else []), *waits]

    def figures() -> Sequence[health.Figure]:
        found = [each for name, each in standings().items() if name in config.destinations]
        return (
            ("postroom_rules_rejected", "1 while an edit of the rules is not taken.", int(bool(watcher.note))),
            (
                "postroom_circuits_open",
                "Destinations that fail again and again.",
                sum(each.opened_at is not None for each in found),
            ),
            (
                "postroom_destinations_paused",
                "Destinations paused by people.",
                sum(each.paused_at is not None for each in found),
            ),
        )

    def waiting() -> dict[str, int]:
        counts = history.counts()
        return {state: counts[state] for state in ("held", "unmatched", "pending", "retrying", "dead")}

    def users() -> dict[str, auth.User]:
        if config.dashboard.users is not None:
            return {name: auth.User(user.password_hash, user.role) for name, user in config.dashboard.users.items()}
        return {name: auth.User(*rest) for name, rest in history.users().items()}

    acting = Acting(writer, history, book.active, makers)
    ways, deeds = destination_ways(config, kinds), destination_deeds(config, kinds, writer, acting)
    desk = editing.desk(config, kinds, makers, partial(message_url, config), history, writer, watcher)
    app = Flask(__name__, template_folder=str(HERE / "templates"), static_folder=str(HERE / "static"))
    app.extensions["rules"] = watcher
    app.secret_key = keys.session_key(config.data_dir)
    app.wsgi_app = inbound.Inbound(app.wsgi_app, receiver, ways_in, gate, refusals)  # type: ignore[method-assign]
    if config.server.trusted_proxies:
        count = config.server.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    api.install(
        app,
        authenticate=tokens.token_user(history, writer),
        history=history,
        writer=writer,
        explain=book.explain,
        acting=acting,
        ways=ways,
        deeds=deeds,
        desk=desk,
        active=book.active_set,
        settings=config.dashboard,
    )
    proxy = config.dashboard.proxy_login
    auth.install(app, users, history, writer, Proxy(proxy, writer) if proxy else None)
    app.register_blueprint(health.blueprint(standstills, notes, waiting, figures))
    pages = dashboard.blueprint(
        history=history,
        explain=book.explain,
        acting=acting,
        rule_set_of=book.rule_set,
        active_number=lambda: book.active()[1],
        destinations=list(config.destinations),
        problems=problems,
        ingresses=list(ways_in),
        public_url=config.server.url,
    )
    app.register_blueprint(pages)
    app.register_blueprint(
        overview.blueprint(
            history=history,
            ways=ways,
            concerns=partial(own_concerns, standstills, watcher),
            refusals=refusals.lately,
            ingresses=list(ways_in),
            public_url=config.server.url,
        )
    )
    app.register_blueprint(ways_out.blueprint(history=history, ways=ways, deeds=deeds, problems=problems))
    for each in staff.blueprints(config.dashboard, history, writer, problems):
        app.register_blueprint(each)
    app.register_blueprint(editing.blueprint(config, kinds, desk, book, history, problems))
    dashboard.install_error_pages(app)
    return app


def destination_ways(config: Config, kinds: dict[str, type[Integration]]) -> list[ways_out.Way]:
    """What pages and API tell of every destination."""
    from postroom.web import destinations as ways_out

    return [
        ways_out.Way(
            name,
            way.kind,
            kinds[way.kind].summary,
            str(kinds[way.kind].guarantee_of(way.options)),
            way.common.paused,
            tuple(each.name for each in specs(kinds[way.kind].Fields).values() if each.required),
        )
        for name, way in config.destinations.items()
    ]


def check_destination(config: Config, kinds: dict[str, type[Integration]], name: str) -> tuple[bool, Sequence[str]]:
    """What a destination says of itself: whether all is well, and sentences."""
    way = Destination(integration=create_integration(kinds, config.destinations[name], config.data_dir))
    (found,) = checking.ask({name: way})
    return found.well, found.found


def own_concerns(standstills: Callable[[], Sequence[str]], watcher: Watcher) -> list[overview.Concern]:
    """What the program itself knows to be wrong."""
    from postroom.web import overview

    found = [overview.Concern(each, "/readyz") for each in standstills()]
    if watcher.note:
        found.append(overview.Concern(watcher.note, "/rules", more=tuple(watcher.problems[1:])))
    return found


def destination_deeds(
    config: Config, kinds: dict[str, type[Integration]], writer: Writer, acting: Acting
) -> ways_out.Deeds:
    """What people can do to a destination, on its page and by the API."""
    from postroom.web import destinations as ways_out

    fields = field_sets(config, kinds)

    def check(name: str, who: str) -> tuple[bool, Sequence[str]]:
        well, found = check_destination(config, kinds, name)
        writer.run(lambda db: destinations.checked(db, name, who, well, now_ms()))
        return well, found

    return ways_out.Deeds(
        pause=lambda name, who, why: writer.run(lambda db: destinations.pause(db, name, who, why, now_ms())),
        resume=lambda name, who: writer.run(lambda db: destinations.resume(db, name, who, now_ms())),
        check=check,
        test=lambda name, who: writer.run(lambda db: trial.send(db, name, fields[name].markup, who, now_ms())),
        retry=lambda ids, who: acting.bulk("retry", ids, who).done,
    )


def troubles(config: Config, standings: Mapping[str, destinations.Standing]) -> list[str]:
    """A sentence on each destination that needs a person: it fails again and again, or wants no more deliveries."""
    found = []
    for name, standing in standings.items():
        if name not in config.destinations:
            continue
        if standing.opened_at is not None:
            found.append(f"the destination {name} fails again and again; its deliveries wait: {standing.error}")
        elif standing.paused_by == destinations.OURSELVES:
            found.append(f"the destination {name} is paused, for it wants no more deliveries: {standing.pause_reason}")
    return found


def create_dispatcher(config: Config, kinds: dict[str, type[Integration]], parent: int | None) -> Dispatcher:
    """The dispatcher with every configured destination."""
    database = config.data_dir / FILE_NAME
    book = RuleBook(database, field_sets(config, kinds), config.mail.timezone)
    return Dispatcher(
        database=database,
        bell=doorbell.Bell(config.data_dir / doorbell.FILE_NAME),
        destinations=create_destinations(config, kinds),
        render=book.render,
        message_url=partial(message_url, config),
        answering=Answering(keys.mail_key(config.data_dir)),
        workers=config.dispatch.workers,
        parent=parent,
    )


def create_brake(config: Config) -> Brake:
    """The loop brake that the accepting transaction asks."""
    limits = config.mail.loop_brake
    return Brake(limits.per_conversation, limits.per_sender)


def item_makers(config: Config, kinds: dict[str, type[Integration]]) -> frozenset[str]:
    """The destinations that make items, on which later mail of a conversation comments."""
    return frozenset(name for name, way in config.destinations.items() if kinds[way.kind].opens_items(way.options))


def message_url(config: Config, message_id: str) -> str:
    """The page of one message: what issues and notes link to."""
    return f"{config.server.url}/messages/{message_id}"


def create_destinations(config: Config, kinds: dict[str, type[Integration]]) -> dict[str, Destination]:
    """Every configured destination with its integration and its road to the network."""
    made = {}
    for name, way in config.destinations.items():
        common = way.common
        made[name] = Destination(
            integration=create_integration(kinds, way, config.data_dir),
            timeout=common.timeout,
            concurrency=common.concurrency,
            rate=common.rate,
            paused=common.paused,
            retry=tuple(common.retry),
            circuit=Circuit(common.circuit.failures, common.circuit.probe),
        )
    return made


def create_integration(kinds: dict[str, type[Integration]], way: DestinationConfig, data_dir: Path) -> Integration:
    """One destination's way out, with its road to the network. Raises ValueError where its kind minds the options."""
    secrets = secrets_of(way.options)
    http = Http(timeout=way.common.timeout, allow_private=way.common.allow_private, secrets=secrets)
    return kinds[way.kind](way.name, way.options, http=http, data_dir=data_dir)


def web() -> Flask:
    """The factory that the web server calls in its own process; POSTROOM_CONFIG names the file."""
    logs.start()
    config, kinds = load_config(Path(os.environ["POSTROOM_CONFIG"]))
    logs.mask(secrets_of(config))
    cli.end_with_parent()
    app = create_app(config, kinds)
    app.extensions["rules"].start()
    return app


def house() -> cli.House:
    """What the commands are given."""
    return cli.House(
        load_kinds=load_kinds,
        load_config=load_config,
        load_rules=load_rules,
        test_rules=test_rules,
        item_makers=item_makers,
        create_dispatcher=create_dispatcher,
        create_destinations=create_destinations,
        ingress_kinds=INGRESS_KINDS,
        message_url=message_url,
        web_target=f"{HERE}/app.py:web",
        folder=HERE,
    )


def main() -> int:
    """The command `postroom`, or `python app.py`."""
    return cli.main(house())


if __name__ == "__main__":
    sys.exit(main())

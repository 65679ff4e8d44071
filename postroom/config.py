"""config.yaml: read whole, checked whole, every problem with its place."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import available_timezones

from postroom import dashboard_config
from postroom.dashboard_config import Dashboard
from postroom.fields import (
    Bytes,
    FieldSet,
    Rate,
    Reader,
    Seconds,
    Url,
    parse_duration,
    read_settings,
    setting,
)
from postroom.mail.targets import Markup
from postroom.problems import InvalidFiles, Place, Problem, did_you_mean, listed
from postroom.yamlfile import Mapping, Node, Scalar, read

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SECTIONS = (
    "server", "data_dir", "rules_dir", "plugins_dir", "ingress", "destinations", "dispatch", "rules", "mail", "limits",
    "dashboard",
)  # fmt: skip
ACTION_WORDS = ("update", "hold", "drop", "reuse", "per_recipient")
"""What `then` of rules may name beside destinations."""
DEFAULT_RETRY = "0s 5s 5m 30m 2h 5h 10h 10h"
"""The schedule of Svix's webhooks: each pause counts from the last failure."""


class WayInKind(Protocol):
    """What the configuration must know of a kind of ingress."""

    kind: str
    Options: type[Any]

    def faults(self, options: Any) -> Sequence[str]: ...


class WayOutKind(Protocol):
    """What the configuration must know of a kind of destination."""

    kind: str
    Options: type[Any]
    Fields: type[Any]

    def markup(self, options: Any) -> Markup: ...


@dataclass(frozen=True)
class Server:
    listen: str = setting("address and port to listen on", default="127.0.0.1:8025")
    public_url: Url | None = setting("how people and providers reach it; for links", default=None)
    trusted_proxies: int = setting("reverse proxies in front whose X-Forwarded-* is believed", default=0)

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @property
    def url(self) -> str:
        """The public URL without a slash at its end."""
        return (self.public_url or f"http://{self.listen}").rstrip("/")


@dataclass(frozen=True)
class Dispatch:
    workers: int = setting("deliveries under way at once; a destination can always have one", default=8)


@dataclass(frozen=True)
class LoopBrake:
    per_conversation: Rate | None = setting("mails of one conversation", default=Rate(20, 3600))
    per_sender: Rate | None = setting("mails from one address", default=Rate(200, 3600))


@dataclass(frozen=True)
class MailSemantics:
    timezone: str = setting("of `received` in rules, where a rule names none: such as Europe/Berlin", default="UTC")
    trusted_authserv_ids: list[str] = setting(
        "hosts whose Authentication-Results header is believed; none: auth.* is unknown", default_factory=list
    )
    loop_brake: LoopBrake = setting("mails beyond so many in a time are held", default=LoopBrake())


@dataclass(frozen=True)
class Rules:
    require_tests: bool = setting("rules are taken only where their own tests pass", default=True)


@dataclass(frozen=True)
class Limits:
    in_flight: Bytes = setting("bytes of bodies in memory at once; more: 503", default=Bytes(64_000_000))
    min_free: Bytes = setting("free space of the disk; less: 503", default=Bytes(200_000_000))


@dataclass(frozen=True)
class IngressCommon:
    """What every ingress takes, beside the options of its kind."""

    allow_ips: list[str] = setting("networks that requests may come from; empty: any", default_factory=list)
    max_body: Bytes = setting("largest body; more: 413", default=Bytes(75_000_000))


@dataclass(frozen=True)
class CircuitBreaker:
    failures: int = setting(
        "so many in a row, of several deliveries, and its deliveries wait in place of dying; 0: never", default=10
    )
    probe: Seconds = setting("pause until one delivery tries again; it grows to tenfold", default=Seconds(30))


@dataclass(frozen=True)
class DestinationCommon:
    """What every destination takes, beside the options of its kind."""

    timeout: Seconds = setting("for a whole exchange", default=Seconds(15))
    concurrency: int = setting("deliveries under way at once", default=4)
    rate: Rate | None = setting("deliveries in a time, such as 10/s", default=None)
    paused: bool = setting("deliveries wait while true", default=False)
    retry: list[Seconds] = setting(
        "pause before each attempt, counted from the last failure",
        default_factory=lambda: [parse_duration(word) for word in DEFAULT_RETRY.split()],
    )
    circuit: CircuitBreaker = setting("when it is left alone but for a probe now and then", default=CircuitBreaker())
    allow_private: bool = setting("may it reach private and loopback addresses?", default=False)


@dataclass(frozen=True)
class IngressConfig:
    name: str
    kind: str
    options: Any
    common: IngressCommon


@dataclass(frozen=True)
class DestinationConfig:
    name: str
    kind: str
    options: Any
    common: DestinationCommon


@dataclass(frozen=True, kw_only=True)
class Config:
    path: Path
    server: Server
    data_dir: Path
    rules_dir: Path
    plugins_dir: Path | None
    dispatch: Dispatch
    rules: Rules
    mail: MailSemantics
    limits: Limits
    dashboard: Dashboard
    ingress: dict[str, IngressConfig] = field(default_factory=dict)
    destinations: dict[str, DestinationConfig] = field(default_factory=dict)


def load(
    path: Path,
    *,
    ingress_kinds: MappingType[str, WayInKind],
    destination_kinds: MappingType[str, WayOutKind],
    environ: MappingType[str, str] | None = None,
    build: Callable[[DestinationConfig, Path], object] | None = None,
) -> Config:
    """Reads and checks config.yaml.

    `build(destination, data_dir)` makes the integration, whose ValueError is a problem of the destination too.
    Raises InvalidFiles with every problem in it.
    """
    problems: list[Problem] = []
    shown = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidFiles([Problem(Place(shown), "there is no such file; `postroom init` writes one")]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InvalidFiles([Problem(Place(shown), f"cannot read it: {reason}")]) from None
    root = read(text, shown, problems)
    reader = Reader(problems, path.parent) if environ is None else Reader(problems, path.parent, environ)
    root = _root(root, shown, reader)
    server = _section(root, "server", Server, reader) or Server()
    if not re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^:\s]+):\d{1,5}", server.listen) or server.port > 65535:
        reader.report(_place(root, "server"), f"server: listen must be an address and a port, not '{server.listen}'")
    if server.trusted_proxies < 0:
        reader.report(_place(root, "server"), "server: trusted_proxies must be 0 or more")
    config = Config(
        path=path,
        server=server,
        data_dir=_folder(root, "data_dir", path.parent / "data", reader),
        rules_dir=_folder(root, "rules_dir", path.parent / "rules", reader),
        plugins_dir=_folder(root, "plugins_dir", None, reader),
        dispatch=_section(root, "dispatch", Dispatch, reader) or Dispatch(),
        rules=_section(root, "rules", Rules, reader) or Rules(),
        mail=_section(root, "mail", MailSemantics, reader) or MailSemantics(),
        limits=_section(root, "limits", Limits, reader) or Limits(),
        dashboard=_section(root, "dashboard", Dashboard, reader) or Dashboard(),
    )
    if config.dispatch.workers < 1:
        reader.report(_place(root, "dispatch"), "dispatch: workers must be at least 1")
    if config.mail.timezone not in available_timezones():
        hint = did_you_mean(config.mail.timezone, available_timezones()) or "; write such as Europe/Berlin"
        reader.report(_place(root, "mail"), f"mail: there is no timezone '{config.mail.timezone}'{hint}")
    for fault in dashboard_config.faults(config.dashboard):
        reader.report(_place(root, "dashboard"), f"dashboard: {fault}")
    for name, kind, entry in _named(root, "ingress", ingress_kinds, reader):
        options, common = _split(
            ingress_kinds[kind].Options, IngressCommon, entry, f"ingress '{name.value}'", name, reader
        )
        if common is not None:
            _check_networks(common.allow_ips, name, reader)
            for fault in ingress_kinds[kind].faults(options):
                reader.report(name.place, f"ingress '{name.value}': {fault}")
            config.ingress[name.value] = IngressConfig(name.value, kind, options, common)
    for name, kind, entry in _named(root, "destinations", destination_kinds, reader):
        what = f"destination '{name.value}'"
        options, extra = _split(destination_kinds[kind].Options, DestinationCommon, entry, what, name, reader)
        if extra is not None:
            _check_destination(extra, what, name, reader)
            destination = DestinationConfig(name.value, kind, options, extra)
            config.destinations[name.value] = destination
            if build is not None:
                try:
                    build(destination, config.data_dir)
                except ValueError as error:
                    reader.report(name.place, f"{what}: {error}")
    if problems:
        raise InvalidFiles(problems)
    return config


def plugins_dir_of(path: Path) -> Path | None:
    """The folder of plug-ins that a file names: what the kinds are that `load` needs. `load` tells what is wrong."""
    ignored: list[Problem] = []
    try:
        root = read(path.read_text(encoding="utf-8"), str(path), ignored)
    except (OSError, UnicodeDecodeError):
        return None
    return _folder(root, "plugins_dir", None, Reader(ignored, path.parent)) if isinstance(root, Mapping) else None


def field_sets(config: Config, destination_kinds: MappingType[str, WayOutKind]) -> dict[str, FieldSet]:
    """What rules may fill in, for each destination."""
    return {
        name: FieldSet(
            destination.kind, (kind := destination_kinds[destination.kind]).Fields, kind.markup(destination.options)
        )
        for name, destination in config.destinations.items()
    }


def _root(root: Node | None, shown: str, reader: Reader) -> Mapping:
    if root is None:
        return Mapping((), Place(shown))
    if not isinstance(root, Mapping):
        reader.report(root.place, "the file must be a mapping of settings")
        return Mapping((), Place(shown))
    for key, _ in root.entries:
        if key.value not in _SECTIONS:
            hint = did_you_mean(key.value, _SECTIONS) or f"; known are {listed(_SECTIONS)}"
            reader.report(key.place, f"unknown key '{key.value}'{hint}")
    return root


def _place(root: Mapping, key: str) -> Place:
    node = root.get(key)
    return node.place if node is not None else root.place


def _section(root: Mapping, key: str, settings: type[Any], reader: Reader) -> Any:
    return read_settings(settings, root.get(key), _place(root, key), key, reader)


def _folder(root: Mapping, key: str, default: Any, reader: Reader) -> Any:
    node = root.get(key)
    if node is None or (isinstance(node, Scalar) and node.is_null):
        return default
    if not isinstance(node, Scalar):
        reader.report(node.place, f"{key} must be the path of a folder")
        return default
    return reader.folder / node.value


def _named(
    root: Mapping, section: str, kinds: MappingType[str, Any], reader: Reader
) -> list[tuple[Scalar, str, Mapping]]:
    """The entries of a section whose keys are people's names: (name, kind, settings). Kinds default to the name."""
    node = root.get(section)
    if node is None or (isinstance(node, Scalar) and node.is_null):
        return []
    if not isinstance(node, Mapping):
        reader.report(node.place, f"{section} must be a mapping from names to settings")
        return []
    found = []
    for name, entry in node.entries:
        what = f"{section}: '{name.value}'"
        if not _NAME.fullmatch(name.value):
            reader.report(name.place, f"{what} is no name; use letters, digits, - and _")
            continue
        if section == "destinations" and name.value in ACTION_WORDS:
            reader.report(name.place, f"{what} means something in rules already; choose another name")
            continue
        if isinstance(entry, Scalar) and entry.is_null:
            entry = Mapping((), name.place)
        if not isinstance(entry, Mapping):
            reader.report(entry.place, f"{what} must be a mapping of settings")
            continue
        kind = entry.get("kind")
        kind_name = kind.value if isinstance(kind, Scalar) else name.value
        if kind_name not in kinds:
            place = kind.place if kind is not None else name.place
            hint = did_you_mean(kind_name, kinds) or f"; known are {listed(sorted(kinds))}"
            reader.report(place, f"{what}: there is no kind '{kind_name}'{hint}")
            continue
        found.append((name, kind_name, entry))
    return found


def _split(
    options: type[Any], common: type[Any], entry: Mapping, what: str, name: Scalar, reader: Reader
) -> tuple[Any, Any]:
    """One mapping holds the options of a kind and those that all kinds take: reads both."""
    shared = {each.name for each in dataclasses.fields(common)}
    of_kind = {each.name.rstrip("_") for each in dataclasses.fields(options)} - shared
    mine = Mapping(tuple(pair for pair in entry.entries if pair[0].value not in shared), entry.place)
    rest = Mapping(tuple(pair for pair in entry.entries if pair[0].value in shared), entry.place)
    read_options = read_settings(
        options, mine, name.place, what, reader, skip=frozenset(("kind",)) | (shared - of_kind)
    )
    read_common = read_settings(common, rest, name.place, what, reader)
    return (read_options, read_common) if read_options is not None else (None, None)


def _check_networks(networks: list[str], name: Scalar, reader: Reader) -> None:
    for network in networks:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            reader.report(name.place, f"ingress '{name.value}': allow_ips: '{network}' is no address and no network")


def _check_destination(common: DestinationCommon, what: str, name: Scalar, reader: Reader) -> None:
    if common.concurrency < 1:
        reader.report(name.place, f"{what}: concurrency must be at least 1")
    if not 0 < common.timeout <= 600:
        reader.report(name.place, f"{what}: timeout must be between 0 and 600 seconds")
    if common.circuit.failures < 0:
        reader.report(name.place, f"{what}: circuit: failures must be 0 or more")
    if common.circuit.probe <= 0:
        reader.report(name.place, f"{what}: circuit: probe must be longer than nothing")
    if not common.retry:
        reader.report(name.place, f"{what}: retry must name at least one attempt, such as [0s]")

"""The contract of every way out: one class for one kind of system.

An integration tries once. It never sleeps and never retries: the dispatcher does, by the sort of the error.
`docs/writing-an-integration.md` walks through one.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from postroom.answer import Answer
from postroom.exchange import DeliveryError, Http, NothingToDo, inside
from postroom.fields import setting, specs
from postroom.mail.targets import Markup, escape
from postroom.message import Attachment, Message
from postroom.multipart import File, Form
from postroom.plan import Content
from postroom.problems import InvalidFiles, Place, Problem

__all__ = [
    "Content",
    "DeliveryError",
    "Form",
    "Guarantee",
    "Http",
    "Integration",
    "Job",
    "JobAttachment",
    "Markup",
    "NothingToDo",
    "Receipt",
    "discover",
    "escape",
    "inside",
    "number_of",
    "setting",
]

ENTRY_POINTS = "postroom.integrations"
"""Group under which an installed package offers kinds: each entry point names a module or a class."""


class Guarantee(enum.StrEnum):
    """How a kind keeps a repeated attempt from making a second item."""

    NATIVE_KEY = "native key"
    """The target itself absorbs a repeat by the idempotency key."""
    CONSISTENT_SEARCH = "consistent search"
    """What was made is found at once by a search for the marker."""
    LAGGING_SEARCH = "lagging search"
    """The search sees new items late: it waits and looks twice."""
    NONE = "none"
    """A duplicate is possible where the result of an attempt stays unknown."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the destination gave back. `reference` names the item there (`APP-42`, `17`), `url` leads to it."""

    reference: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class JobAttachment:
    """An attachment to deliver. `chunks()` yields its bytes, at most 1 MB at a time, from the start on every call."""

    info: Attachment
    chunks: Callable[[], Iterator[bytes]]

    def read(self) -> bytes:
        """The whole content: only where the target takes nothing else."""
        return b"".join(self.chunks())

    def as_file(self, field: str) -> File:
        """The same as a file of a form, under the name of its field there."""
        return File(field, self.info.name, self.info.content_type, self.info.size, self.chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One attempt of one delivery."""

    key: str
    """Idempotency key: the same over all attempts of a delivery. UUID as text."""
    content: Content
    message: Message
    message_url: str
    """The page of this mail on the dashboard."""
    reply_address: str = ""
    """Mail that is sent there continues this conversation."""
    answer: Answer | None = None
    """How to answer this mail by mail; None where it must get no answer."""
    own_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of any mail that is sent about this one and is no answer: Message-ID, and the marks against loops."""
    rule: str
    attachments: tuple[JobAttachment, ...] = ()
    item: Receipt | None = None
    """The item that this conversation already has here: comment on it. None: make one."""
    attempt: int = 1
    steps: Mapping[str, str] = field(default_factory=dict)
    """Steps that are finished, with their references: skip them. `record` adds to them."""
    record: Callable[[str, str], None] = lambda step, reference: None
    """`record(step, reference)` commits a finished step, so that a later attempt goes on after it."""
    uncertain: bool = False
    """An earlier attempt ended without a known result: whatever is no recorded step may have happened all the same."""

    @property
    def marker(self) -> str:
        """A text to put into an item and to search for: it holds the idempotency key and nothing secret."""
        return f"postroom-{self.key}"

    @property
    def part(self) -> str:
        """The step that makes what is seen: `item`, or `comment` where the conversation has an item already."""
        return "item" if self.item is None else "comment"

    def once(self, step: str, make: Callable[[], str]) -> str:
        """The reference of a step: that of an earlier attempt, or else what `make` returns, which is recorded."""
        done = self.steps.get(step)
        if done is None:
            done = make()
            self.record(step, done)
        return done


class Integration(ABC):
    """One destination. Subclasses set the class variables and write `deliver`.

    One object serves all attempts of a destination, from several threads at once: keep no state of an attempt in it.
    """

    kind: ClassVar[str]
    """What `kind:` says in config.yaml."""
    summary: ClassVar[str]
    """One sentence for the docs: what a delivery makes."""
    guarantee: ClassVar[Guarantee]
    """That of a destination as most people configure it; see `guarantee_of`."""
    search_lag: ClassVar[float] = 0.0
    """Seconds after which a lagging search has surely seen what was made; nothing is made anew before."""
    example: ClassVar[str] = ""
    """YAML of one such destination's settings in config.yaml, `kind` first: for the docs and config.example.yaml."""
    makes_items: ClassVar[bool] = True
    """True where later mail of a conversation comments on what the first made; False: each stands alone."""
    Options: ClassVar[type[Any]]
    """Frozen dataclass: one destination's settings in config.yaml."""
    Fields: ClassVar[type[Any]]
    """Frozen dataclass: what a rule may fill in, beside title, body, footer and attachments."""

    def __init__(self, name: str, options: Any, *, http: Http, data_dir: Path) -> None:
        self.name = name
        self.options = options
        self.http = http
        self.data_dir = data_dir

    @classmethod
    def guarantee_of(cls, options: Any) -> Guarantee:
        """The guarantee of a destination with these options, where it depends on them."""
        return cls.guarantee

    @classmethod
    def opens_items(cls, options: Any) -> bool:
        """Whether this destination makes items, on which later mail of a conversation comments."""
        return cls.makes_items

    @classmethod
    def markup(cls, options: Any) -> Markup:
        """What this destination makes of body and footer. The mail's own text is escaped for it: nothing acts there."""
        return Markup.PLAIN

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    @abstractmethod
    def deliver(self, job: Job) -> Receipt:
        """Tries once. Steps that stand in `job.steps` are not done again.

        Raises DeliveryError, sorted: see its docstring; NothingToDo where this mail must make nothing here.
        """

    def find(self, job: Job) -> Receipt | None:
        """Looks for what an earlier attempt of this job made whose result is unknown; None where there is nothing.

        Called before `deliver` after such an attempt, where the guarantee is one of search. What it returns is
        recorded as step `item` (or `comment`, where `job.item` is set), which `deliver` then skips. Where it raises,
        nothing is known yet: it is called again before the next `deliver`.
        """
        return None

    def check(self) -> Sequence[str]:
        """Proves address and credentials at the destination itself, and changes nothing there: `check --online`.

        Returns sentences on what was found: as whom Postroom is known there, what that account may do, and what of
        the settings it does not find. None at all: this kind cannot be checked. Raises DeliveryError.
        """
        return ()


def number_of(item: Receipt, what: str) -> str:
    """The number that is an item's reference at most trackers and forums; `what`: such as `issue of Redmine`.

    Raises DeliveryError where it is none: the destination was of another kind when the item was made.
    """
    reference = item.reference or ""
    if not (reference.isascii() and reference.isdigit()):
        raise DeliveryError(f"the item '{reference}' is no {what}", permanent=True)
    return reference


def discover(folder: Path | None, package: ModuleType | None) -> dict[str, type[Integration]]:
    """Every kind there is, by name: of the package's modules, of the `*.py` files in a folder, of installed packages.

    A class counts where it stands in the module that is looked at, and its name has no leading underscore.
    Raises InvalidFiles with every file that does not import, and every class that is no whole kind.
    """
    problems: list[Problem] = []
    found: list[tuple[type[Integration], Place]] = []
    if package is not None:
        for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            path = f"{package.__path__[0]}/{info.name.rpartition('.')[2]}.py"
            found += _of_module(functools.partial(importlib.import_module, info.name), Place(path), problems)
    if folder is not None:
        if not folder.is_dir():
            problems.append(Problem(Place(str(folder)), "the folder of integrations does not exist"))
        for file in sorted(folder.glob("[!_.]*.py")):
            found += _of_module(functools.partial(_load, file), Place(str(file)), problems)
    for entry in entry_points(group=ENTRY_POINTS):
        found += _of_module(entry.load, Place(f"entry point {entry.name} = {entry.value}"), problems)
    kinds: dict[str, type[Integration]] = {}
    places: dict[str, Place] = {}
    for kind, place in found:
        faults = _faults(kind)
        if not faults and kinds.get(kind.kind, kind) is not kind:
            faults = [f"the kind '{kind.kind}' is already that of {places[kind.kind].path}"]
        problems += [Problem(place, f"{kind.__name__}: {fault}") for fault in faults]
        if not faults:
            kinds[kind.kind], places[kind.kind] = kind, place
    if problems:
        raise InvalidFiles(problems)
    return dict(sorted(kinds.items()))


def _load(file: Path) -> ModuleType:
    name = f"postroom_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _of_module(load: Callable[[], Any], place: Place, problems: list[Problem]) -> list[tuple[type[Integration], Place]]:
    try:
        loaded = load()
    except SyntaxError as error:
        problems.append(Problem(Place(place.path, error.lineno or 1, error.offset or 1), f"no Python: {error.msg}"))
        return []
    except Exception as error:  # someone else's code: whatever it raises is told
        line = _line_in(error, place.path)
        problems.append(Problem(Place(place.path, line), f"does not import: {type(error).__name__}: {error}"))
        return []
    if not isinstance(loaded, ModuleType):
        return [(loaded, place)] if _is_kind(loaded, loaded) else []
    return [
        (each, Place(place.path, inspect.getsourcelines(each)[1]))
        for each in vars(loaded).values()
        if _is_kind(each, loaded)
    ]


def _is_kind(value: Any, home: Any) -> bool:
    if not isinstance(value, type) or not issubclass(value, Integration) or value.__name__.startswith("_"):
        return False
    return home is value or value.__module__ == home.__name__


def _line_in(error: BaseException, path: str) -> int:
    """The last line of a file that an error passed through."""
    lines = [1]
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines[-1]


def _faults(kind: type[Integration]) -> list[str]:
    """What is missing from a class to be a kind."""
    missing = [name for name in ("kind", "summary", "guarantee", "Options", "Fields") if not hasattr(kind, name)]
    if missing:
        return [f"a kind of integration needs {', '.join(missing)}"]
    if inspect.isabstract(kind):
        return ["a kind of integration needs the method deliver"]
    faults = []
    if not isinstance(kind.kind, str) or not re.fullmatch("[a-z][a-z0-9_]*", kind.kind):
        faults.append(f"kind is {kind.kind!r}, which is no word of small letters")
    if not isinstance(kind.guarantee, Guarantee):
        faults.append("guarantee is none of the values of Guarantee")
    if kind.guarantee in (Guarantee.CONSISTENT_SEARCH, Guarantee.LAGGING_SEARCH) and kind.find is Integration.find:
        faults.append(f"the guarantee '{kind.guarantee}' needs the method find")
    for name in ("Options", "Fields"):
        settings: type[Any] = getattr(kind, name)
        if not (isinstance(settings, type) and dataclasses.is_dataclass(settings)):
            faults.append(f"{name} is no dataclass")
            continue
        try:
            undocumented = [spec.name for spec in specs(settings).values() if not spec.doc]
            faults += [f"{name}: '{each}' has no text for the docs" for each in undocumented]
        except Exception as error:  # an annotation may raise anything
            faults.append(f"{name} cannot be read: {error}")
    return faults

"""The contract of every way in: check that a request is genuine, and make messages of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from postroom.message import Message


class Refusal(Exception):
    """A request that is not taken, with the HTTP status and one sentence that holds no secret."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Request:
    """What came over HTTP. The body is handed out once, so that no frame keeps it alive while it is decoded."""

    content_type: str
    """Media type in lower case without parameters; empty where the header is missing."""
    query: Mapping[str, str]
    body: bytes | bytearray
    environ: Mapping[str, Any] = field(default_factory=dict)
    """The WSGI environment: see `header`."""
    url: str = ""
    """The public URL of the ingress, with the query of this request: what some providers sign."""
    hold: Callable[[int], None] = lambda count: None
    """Counts bytes that were fetched for this request, beside its body. Raises Refusal(503) where there is no room."""

    def header(self, name: str) -> str:
        """A header's value, several of one name joined by commas; empty where it is missing."""
        key = name.upper().replace("-", "_")
        value = self.environ.get(key if key == "CONTENT_TYPE" else f"HTTP_{key}")
        if not isinstance(value, str):
            return ""
        # WSGI hands bytes on as Latin-1 (PEP 3333); they are UTF-8 where they are anything but ASCII.
        return value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")

    def take_body(self) -> bytes | bytearray:
        """The body, which the request then forgets."""
        body, self.body = self.body, b""
        return body


@dataclass(frozen=True, slots=True)
class Mail:
    """One message with all that is to be stored of it."""

    message: Message
    payload: bytes
    """The provider's document with credentials masked and attachments named by hash."""
    contents: tuple[bytes, ...] = ()
    """The decoded attachments, in the order of `message.attachments`."""
    ticket: Ticket | None = None
    """Where the request could be used again by somebody who saw it."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the provider signs in place of the document: good for one document, which may come several times.

    It is kept by the transaction that stores the mail: a request that was answered 5xx has used up nothing.
    """

    token: bytes
    """Unique among all tickets of all ingresses."""
    document: bytes
    """A hash of all that came with it."""
    expires_at: int
    """When it is forgotten, in milliseconds since 1970: by then it is refused by its age."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A genuine request: the mails in it (none in a validation request), and what to answer once they are stored."""

    mails: tuple[Mail, ...]
    answer: dict[str, Any] = field(default_factory=dict)
    """Members of the JSON answer that the provider asks for."""


class Ingress(ABC):
    """One configured way in. Subclasses set the class variables and write `accept`."""

    kind: ClassVar[str]
    summary: ClassVar[str] = ""
    """One sentence: what comes in by it, and what it is known by."""
    Options: ClassVar[type[Any]]
    """Frozen dataclass: the settings in config.yaml, beside those that every ingress takes."""
    unfit: ClassVar[int] = 400
    """The status in place of 400 of which this provider knows that the request is never to be sent again."""
    busy: ClassVar[int] = 503
    """The status in place of 503 of which this provider knows that the request is to be sent again."""
    probes: ClassVar[frozenset[str]] = frozenset()
    """Methods beside POST by which the provider looks whether the URL is there."""
    asks: ClassVar[bool] = False
    """Whether `accept` asks others over the network: nobody else's mail waits for it then."""

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options = options

    @classmethod
    def faults(cls, options: Any) -> Sequence[str]:
        """What is wrong with options that are well each by itself, a sentence for each."""
        return ()

    @abstractmethod
    def accept(self, request: Request) -> Accepted:
        """Authenticates and parses. Nothing of the request is believed before its credentials are.

        Raises Refusal with 401 (credentials), 415 (content type), 400 (anything else that is wrong) or 503 (it cannot
        be told now: what must be asked is not there).
        """

    @abstractmethod
    def panel(self, url: str) -> list[tuple[str, str]]:
        """What to paste into the provider's control panel: pairs of label and value."""

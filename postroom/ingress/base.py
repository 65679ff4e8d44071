"""The contract of every way in: check that a request is genuine, and make messages of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """A genuine request: the mails in it (none in a validation request), and what to answer once they are stored."""

    mails: tuple[Mail, ...]
    answer: dict[str, Any] = field(default_factory=dict)
    """Members of the JSON answer that the provider asks for."""


class Ingress(ABC):
    """One configured way in. Subclasses set the class variables and write `accept`."""

    kind: ClassVar[str]
    Options: ClassVar[type[Any]]
    """Frozen dataclass: the settings in config.yaml, beside those that every ingress takes."""

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options = options

    @abstractmethod
    def accept(self, request: Request) -> Accepted:
        """Authenticates and parses. Nothing of the request is believed before its credentials are.

        Raises Refusal with 401 (credentials), 415 (content type) or 400 (anything else that is wrong).
        """

    @abstractmethod
    def panel(self, url: str) -> list[tuple[str, str]]:
        """What to paste into the provider's control panel: pairs of label and value."""

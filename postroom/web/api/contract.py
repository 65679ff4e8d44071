"""What a route of the API says of itself. Routing, validation and the OpenAPI document are all made from it.

Parameters and bodies are msgspec Structs: their types, bounds and patterns are what is checked and what is documented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta
from msgspec import UnsetType as Unset

__all__ = (
    "LARGEST_BODY", "LARGEST_NUMBER", "MOST_ROWS", "UNSET",
    "Before", "Call", "Done", "Download", "Fault", "Id", "Limit", "Name", "Nothing", "OneId", "OneName", "Place",
    "Problem", "Route", "Unset", "given", "is_optional",
)  # fmt: skip

LARGEST_BODY = 1_000_000
"""Of a request, in bytes."""
LARGEST_NUMBER = 2**63 - 1
MOST_ROWS = 200

UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
Id = Annotated[str, Meta(pattern=UUID, description="A UUID.")]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Before = Annotated[
    int,
    Meta(ge=1, le=LARGEST_NUMBER, description="Only what is older than this: `next` of the page before."),
]
Limit = Annotated[int, Meta(ge=1, le=MOST_ROWS, description="The most rows of a page.")]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class OneId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a path names."""

    id: Id


class OneName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a path names."""

    name: Name


class Done(msgspec.Struct, frozen=True):
    """The action was taken."""

    done: bool = True


class Place(msgspec.Struct, frozen=True):
    """One thing that is wrong in a request."""

    where: str
    """`path`, `query` or `body`, and the name there: `query.limit`."""
    detail: str


class Problem(msgspec.Struct, frozen=True):
    """Why a request was not answered: RFC 9457."""

    type: str
    """Always `about:blank`: the status says which kind of problem it is."""
    title: str
    status: int
    detail: str
    errors: tuple[Place, ...] = ()


class Fault(Exception):
    """Ends a call with a problem."""

    def __init__(self, status: int, detail: str, errors: Iterable[Place] = (), headers: Mapping[str, str] = {}) -> None:
        """`status` is one that the route tells of; `detail` one sentence for people."""
        super().__init__(detail)
        self.problem = Problem("about:blank", HTTPStatus(status).phrase, status, detail, tuple(errors))
        self.headers = dict(headers)


def given(value: Any) -> Any:
    """The value of a parameter or member; None where it was left out."""
    return None if value is UNSET else value


def is_optional(body: type[msgspec.Struct]) -> bool:
    """Whether a body may be left out: every member has a default."""
    return not any(each.required for each in msgspec.structs.fields(body))


@dataclass(frozen=True, slots=True)
class Call:
    """One request that passed: who asks, and what, as the route's own Structs."""

    who: str
    role: str
    path: Any
    query: Any
    body: Any


@dataclass(frozen=True, slots=True)
class Download:
    """An answer that is no JSON."""

    body: Iterable[bytes]
    size: int


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    """Below /api/v1, with `{id}` for each member of `takes`."""
    summary: str
    """One sentence."""
    handler: Callable[[Call], Any]
    """Gives the answer, of the type that `answers` says, or raises Fault."""
    answers: Any
    """The type of the answer in JSON; Download for bytes."""
    role: str = "viewer"
    """The least that may do this; empty: everybody, without a token."""
    takes: type[msgspec.Struct] = Nothing
    query: type[msgspec.Struct] = Nothing
    body: type[msgspec.Struct] | None = None
    one_of: tuple[str, ...] = ()
    """Members of the body of which exactly one is given; the others are UNSET."""
    faults: Mapping[int, str] = field(default_factory=dict)
    """Statuses beside those that follow from the rest, and when they are answered."""

    @property
    def name(self) -> str:
        """Of the operation: `get_messages_id`."""
        words = self.path.replace("{", "").replace("}", "").replace("-", "_").split("/")
        return "_".join([self.method.lower(), *filter(None, words)])

    @property
    def statuses(self) -> dict[int, str]:
        """Every status but 200 that this may be answered with, and what it means."""
        found = dict(self.faults)
        found.setdefault(400, "A parameter is unknown or makes no sense, or the body is no JSON; `errors` say which.")
        if self.role:
            found.setdefault(401, "There is no token, or none that is known.")
        if self.role not in ("", "viewer"):
            found.setdefault(403, f"The token has not the role {self.role}.")
        if self.body is not None:
            found.setdefault(413, f"The body is larger than {LARGEST_BODY} bytes.")
            found.setdefault(415, "The body is not application/json.")
            found.setdefault(422, "The body is JSON, but not what this takes; `errors` say where.")
        found.setdefault(503, "The store cannot be read or written now. Try again.")
        return dict(sorted(found.items()))

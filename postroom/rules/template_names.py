"""What templates may name: the values a mail gives, and their attributes, for checking at load and for rendering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from postroom import bodies
from postroom.mail.images import images_in
from postroom.mail.subjects import base_subject
from postroom.message import Address, Attachment, Message

LONGEST_TEXT = 500_000
"""Characters of one text that a template gets; a note stands where it was cut."""

TEXT_METHODS = frozenset(
    [
        "upper",
        "lower",
        "title",
        "capitalize",
        "casefold",
        "swapcase",
        "strip",
        "lstrip",
        "rstrip",
        "removeprefix",
        "removesuffix",
        "split",
        "rsplit",
        "splitlines",
        "partition",
        "rpartition",
        "startswith",
        "endswith",
        "find",
        "rfind",
        "count",
        "isdigit",
        "isalpha",
        "isalnum",
        "isspace",
        "isupper",
        "islower",
    ]
)
"""None of these can make a long text out of short ones: `replace` is a filter with a bound; `center` is out."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a value at load."""

    name: str
    attributes: Mapping[str, Shape]
    methods: frozenset[str] = frozenset()
    item: Shape | None = None
    """Of the members, where the value is a list."""


ANY: Final = Shape("value", {})
"""Not known: the sandbox decides when the template is rendered."""
TEXT: Final = Shape("text", {}, TEXT_METHODS)
NUMBER: Final = Shape("number", {})
TIME: Final = Shape(
    "time",
    dict.fromkeys(("year", "month", "day", "hour", "minute", "second"), NUMBER),
    frozenset({"strftime", "isoformat", "timestamp", "weekday", "isoweekday"}),
)
ADDRESS: Final = Shape("address", dict.fromkeys(("address", "name", "user", "detail", "domain"), TEXT), TEXT_METHODS)
ATTACHMENT: Final = Shape("attachment", {"name": TEXT, "content_type": TEXT, "size": NUMBER})
HEADERS: Final = Shape("headers", {}, frozenset({"all"}))
LOOP: Final = Shape(
    "loop", dict.fromkeys(("index", "index0", "revindex", "revindex0", "first", "last", "length"), NUMBER)
)

NAMES: Final[Mapping[str, Shape]] = {
    "subject": TEXT,
    "base_subject": TEXT,
    "text": TEXT,
    "html": TEXT,
    "markdown": TEXT,
    "reply_text": TEXT,
    "reply_markdown": TEXT,
    "from": ADDRESS,
    "to": Shape("list", {}, item=ADDRESS),
    "cc": Shape("list", {}, item=ADDRESS),
    "reply_to": Shape("list", {}, item=ADDRESS),
    "recipient": ADDRESS,
    "return_path": ADDRESS,
    "headers": HEADERS,
    "attachments": Shape("list", {}, item=ATTACHMENT),
    "date": TIME,
    "received_at": TIME,
    "message_id": TEXT,
    "message_url": TEXT,
    "reply_address": TEXT,
    "kind": Shape("list", {}, item=TEXT),
    "spam_score": NUMBER,
    "rule": TEXT,
}
MEANT: Final = {"body": "text", "sender": "from", "sender_ip": "ip", "attachments": "attachment"}
"""What people write for a name that is called otherwise here, and how it is called."""
RESERVED: Final = frozenset(
    [
        "header",
        "all",
        "any",
        "not",
        "always",
        "unmatched",
        "and",
        "or",
        "in",
        "is",
        "if",
        "else",
        "elif",
        "for",
        "true",
        "false",
        "none",
        "True",
        "False",
        "None",
        "loop",
        "self",
        "super",
        "varargs",
        "kwargs",
        "caller",
        "context",
        "environment",
        "set",
        "endif",
        "endfor",
        "resolve",
        "undefined",
        "missing",
        "cond_expr",
        "result",
    ]
)
"""Words that no extracted value may have as its name: words of the rules, of templates and of what templates become."""


def groups_shape(groups: tuple[str, ...]) -> Shape:
    """An extracted value: a text, or texts by the names of groups."""
    return Shape("value with parts", dict.fromkeys(groups, TEXT)) if groups else TEXT


class AddressText(str):
    """An address in a template: prints as the address, and has its parts. Absent parts are empty."""

    __slots__ = ("address", "detail", "domain", "name", "user")
    address: str
    name: str
    user: str
    detail: str
    domain: str

    def __new__(cls, address: Address) -> AddressText:
        made = super().__new__(cls, _cut(address.address))
        made.address = str(made)
        made.name = _cut(address.name)
        made.user = _cut(address.user or "")
        made.detail = _cut(address.detail or "")
        made.domain = _cut(address.domain or "")
        return made


class MarkdownText(str):
    """Markdown in which the mail's own text is escaped already. `plain` is the same without markup.

    `textile`: the same as Textile where images of the mail stand in it; else empty.
    """

    __slots__ = ("plain", "textile")
    plain: str
    textile: str

    def __new__(cls, markdown: str, plain: str, textile: Callable[[], str] | None = None) -> MarkdownText:
        made = super().__new__(cls, _cut(markdown))
        made.plain = _cut(plain)
        made.textile = _cut(textile()) if textile and images_in(made) else ""
        return made


class Lazy:
    """A value that takes time to make: made where a template uses its name."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


class Headers:
    """`headers['X-Name']` is the first value or empty; `headers.all('Received')` lists every one."""

    __slots__ = ("_message",)

    def __init__(self, message: Message) -> None:
        self._message = message

    def __getitem__(self, name: object) -> str:
        return _cut(self._message.header(str(name)) or "")

    def all(self, name: str) -> list[str]:
        return [_cut(value) for value in self._message.header_all(str(name))]


ATTRIBUTES: Final[Mapping[type, frozenset[str]]] = {
    str: TEXT_METHODS,
    MarkdownText: TEXT_METHODS,
    AddressText: TEXT_METHODS | frozenset(ADDRESS.attributes),
    Attachment: frozenset(ATTACHMENT.attributes),
    Headers: HEADERS.methods,
    datetime: frozenset(TIME.attributes) | TIME.methods,
}
"""What the sandbox lets templates reach, by type. Nothing else has attributes there."""


def values_of(
    message: Message, *, message_url: str, reply_address: str, rule: str, extracted: Mapping[str, Any]
) -> dict[str, Any]:
    """The names of a template with their values for one message."""
    received = _time(message.received_at)
    date = message.date
    return {
        "subject": _cut(message.subject or ""),
        "base_subject": Lazy(lambda: base_subject(_cut(message.subject or ""))),
        "markdown": Lazy(
            lambda: MarkdownText(
                bodies.markdown_of(message), message.text or "", partial(bodies.pictured_textile_of, message)
            )
        ),
        "reply_text": Lazy(lambda: _cut(bodies.split_of(message).text)),
        "reply_markdown": Lazy(
            lambda: MarkdownText(
                bodies.reply_markdown_of(message),
                bodies.split_of(message).text,
                partial(bodies.pictured_textile_of, message, reply=True),
            )
        ),
        "text": _cut(message.text or ""),
        "html": _cut(message.html or ""),
        "from": AddressText(message.from_ or Address()),
        "to": [AddressText(address) for address in message.to],
        "cc": [AddressText(address) for address in message.cc],
        "reply_to": [AddressText(address) for address in message.reply_to],
        "recipient": AddressText(message.recipient),
        "return_path": AddressText(message.return_path),
        "headers": Headers(message),
        "attachments": list(message.attachments),
        "date": received if date is None else _time(date, received),
        "received_at": received,
        "message_id": message.message_id or "",
        "message_url": message_url,
        "reply_address": reply_address,
        "kind": [verdict.kind for verdict in message.kinds],
        "spam_score": message.spam_score,
        "rule": rule,
        **extracted,
    }


def _cut(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]}\n[cut here: {len(text) - LONGEST_TEXT:,} more characters in the mail]"


def _time(milliseconds: int, otherwise: datetime | None = None) -> datetime:
    """A mail may claim a year that no calendar has; then its time of receipt stands in."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return otherwise or datetime.fromtimestamp(0, UTC)

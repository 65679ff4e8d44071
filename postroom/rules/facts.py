"""What a message has in each field, prepared for comparing: made when first asked for, kept for one evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from postroom.bodies import split_of
from postroom.mail.addresses import address_key
from postroom.mail.authentication import METHODS
from postroom.mail.folding import fold, fold_domain, nfc, spell_domain
from postroom.mail.subjects import base_subject
from postroom.message import Address, Message
from postroom.plan import Correlation
from postroom.rules.folding import LONGEST

ADDRESS_FIELDS = ("recipient", "return_path", "from", "to", "cc", "reply_to", "addressed")
ADDRESS_PARTS = ("domain", "user", "detail", "name")
TEXT_FIELDS = ("subject", "base_subject", "text", "html", "reply_text")
FIELDS = (
    *(field + part for field in ADDRESS_FIELDS for part in ("", *(f".{part}" for part in ADDRESS_PARTS))),
    *TEXT_FIELDS,
    "kind",
    "ingress",
    *(f"auth.{method}" for method in METHODS),
)
"""Every field that is tested as a text, but `header` and the extracted values; others are in measures.py."""


def kind_of(field: str) -> str:
    """How values of a field compare: `address`, `domain` or `text`."""
    if field in ADDRESS_FIELDS:
        return "address"
    return "domain" if field in {f"{name}.domain" for name in ADDRESS_FIELDS} else "text"


ItemsOf = Callable[[Sequence[Correlation]], tuple[str, ...]]
"""The destinations where a conversation has an item, or is to have one: asked with the correlations known so far."""


class Value(NamedTuple):
    """One value of a field."""

    raw: str
    """In NFC, its case kept: what patterns search and people see."""
    exact: str
    """What `is` and `in` compare."""
    spellings: tuple[str, ...]
    """What `contains`, `glob` and their like search: internationalised domains in both their forms."""
    patterns: tuple[str, ...]
    """What `matches` searches: `raw`, and the other form of an internationalised domain."""


class Facts(dict[str, Any]):
    """The fields of one message. A key is a field, or a field, a blank and a form:

    (none)    a tuple of the values' exact forms
    values    a tuple of Value
    each      a tuple of all spellings
    joined    all spellings in one text, NUL between them (no message and no condition holds one)
    bounded   a tuple of this one text in UTF-8, NUL at its ends too
    bytes     a tuple of what patterns search, in UTF-8

    Fields of headers are `header.` and the name in lower case; extracted values are a rule's number, `=` and the name.
    """

    __slots__ = ("_headers", "_items", "asked_items", "correlations", "found", "message", "planned")

    def __init__(self, message: Message, items: ItemsOf | None = None) -> None:
        """`items`: None where the store is not asked; then no conversation has any."""
        self.message = message
        self._items = items
        self.asked_items = False
        self.correlations: list[Correlation] = []
        """Of the rules that matched so far."""
        self.planned = False
        """An action was planned already."""
        self.found: dict[str, str] = {}
        """The extracted values."""
        self._headers: dict[str, list[str]] | None = None

    def items_there(self) -> tuple[str, ...]:
        """The destinations where this mail's conversation, or a key that it was correlated by, has an item."""
        self.asked_items = True
        return () if self._items is None else self._items(self.correlations)

    def __missing__(self, key: str) -> Any:
        field, _, form = key.partition(" ")
        made: Any
        if form == "values":
            made = tuple(self._values(field))
        elif form == "each":
            made = tuple(spelling for value in self[f"{field} values"] for spelling in value.spellings)
        elif form == "joined":
            made = "\0".join(self[f"{field} each"])
        elif form == "bounded":
            made = (f"\0{self[f'{field} joined']}\0".encode("utf-8", "replace"),)
        elif form == "bytes":
            made = tuple(
                text.encode("utf-8", "replace") for value in self[f"{field} values"] for text in value.patterns
            )
        else:
            made = tuple(value.exact for value in self[f"{field} values"])
        self[key] = made
        return made

    def _values(self, field: str) -> Iterable[Value]:
        message = self.message
        if field.startswith("header."):
            return [text_value(value) for value in self._header(field[7:])]
        if field in _TEXTS:
            text = _TEXTS[field](message)
            return [] if text is None else [text_value(text)]
        if field == "kind":
            return [text_value(verdict.kind) for verdict in message.kinds]
        if field == "ingress":
            return [text_value(message.ingress)]
        if field.startswith("auth."):
            return [text_value(result) for method, result in message.auth if method == field[5:]]
        if "=" in field:
            found = self.found.get(field)
            return [] if found is None else [text_value(found)]
        name, _, part = field.partition(".")
        addresses = _ADDRESSES[name](message)
        if not part:
            return [_address(address) for address in addresses]
        if part == "domain":
            return [_domain(found) for address in addresses if (found := address.domain) is not None]
        texts = (_PARTS[part](address) for address in addresses)
        return [text_value(text) for text in texts if text is not None]

    def _header(self, name: str) -> list[str]:
        if self._headers is None:
            self._headers = {}
            for key, value in self.message.headers:
                self._headers.setdefault(key.lower(), []).append(value)
        return self._headers.get(name, [])


def _display_name(address: Address) -> str | None:
    # The null sender has every part (it is the empty text, RFC 5228); a mailbox without a display name has none.
    return address.name or ("" if not address.address else None)


_ADDRESSES: dict[str, Callable[[Message], tuple[Address, ...]]] = {
    "recipient": lambda message: (message.recipient,),
    "return_path": lambda message: (message.return_path,),
    "from": lambda message: () if message.from_ is None else (message.from_,),
    "to": lambda message: message.to,
    "cc": lambda message: message.cc,
    "reply_to": lambda message: message.reply_to,
    "addressed": lambda message: (*message.to, *message.cc, message.recipient),
}
_TEXTS: dict[str, Callable[[Message], str | None]] = {
    "subject": lambda message: message.subject,
    "base_subject": lambda message: None if message.subject is None else base_subject(message.subject),
    "text": lambda message: message.text,
    "html": lambda message: message.html,
    "reply_text": lambda message: None if message.text is None else split_of(message).text,
}
_PARTS: dict[str, Callable[[Address], str | None]] = {
    "user": lambda address: address.user,
    "detail": lambda address: address.detail,
    "name": _display_name,
}


def text_value(text: str) -> Value:
    """A text as conditions see it."""
    text = text[:LONGEST].replace("\0", "")
    folded = fold(text)
    return Value(raw := nfc(text), folded, (folded,), (raw,))


def _domain(domain: str) -> Value:
    domain = domain[:LONGEST]
    folded = fold_domain(domain)
    spelt = spell_domain(folded)
    if spelt == folded:
        return Value(domain, folded, (folded,), (domain,))
    return Value(raw := nfc(domain), folded, (folded, spelt), tuple(dict.fromkeys((raw, spelt, folded))))


def _address(address: Address) -> Value:
    raw = nfc(address.address[:LONGEST])
    folded = address_key(address.address)
    local, at, domain = folded.rpartition("@")
    spelt = spell_domain(domain)
    if not at or spelt == domain:
        return Value(raw, folded, (folded,), (raw,))
    other = f"{local}@{spelt}"
    return Value(raw, folded, (folded, other), tuple(dict.fromkeys((raw, other, folded))))

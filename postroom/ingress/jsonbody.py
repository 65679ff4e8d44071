"""JSON bodies of providers: decoded fast where they are well, leniently where a real mail would be lost otherwise."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from postroom.ingress.base import Refusal, Request
from postroom.mail.texts import clean

_decode = msgspec.json.Decoder().decode


Scrub = Callable[[str], str]

JSON_TYPES = frozenset(("application/json", "text/json", ""))
"""Content types of documents in JSON."""


def decode_json(body: bytes | bytearray) -> tuple[Any, Scrub]:
    """The document, and what its texts must go through.

    Bytes that are no UTF-8 and lone surrogates are accepted: refusing them would lose a real mail.

    Raises Refusal(400) where it is no JSON, or is nested too deeply to be a mail.
    """
    try:
        # msgspec takes no lone surrogates, and a NUL can only have come as an escape: most documents need no scrubbing.
        return _decode(body), (clean if b"\\u0000" in body else _as_it_is)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # The lenient decoder decides.
    except RecursionError:
        raise Refusal(400, "the JSON is nested too deeply") from None
    if not body.strip():
        raise Refusal(400, "the body is empty; a JSON document was expected")
    try:
        return json.loads(
            body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff"), strict=False
        ), clean
    except RecursionError:
        raise Refusal(400, "the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise Refusal(400, f"the body is no valid JSON: {error.msg} ({where})") from None
    except ValueError:
        raise Refusal(400, "the body is no valid JSON: a number is too long") from None


def encode_json(document: Any) -> bytes:
    """The document as JSON for keeping, lone surrogates as escapes."""
    try:
        return msgspec.json.encode(document)
    except (msgspec.EncodeError, UnicodeEncodeError, OverflowError, ValueError):
        return json.dumps(document, separators=(",", ":")).encode("ascii")


def read_document(request: Request, types: Collection[str] = JSON_TYPES) -> Members:
    """The JSON object in the body, which the request forgets.

    Raises Refusal: 415 where the content type is none of `types`, 400 where it is no JSON object.
    """
    require_type(request, types)
    source, scrub = decode_json(request.take_body())
    if not isinstance(source, dict):
        raise Refusal(400, "the document must be a JSON object")
    return Members(source, "", scrub)


def require_type(request: Request, types: Collection[str] = JSON_TYPES) -> None:
    """Raises Refusal(415) where the content type is another."""
    if request.content_type not in types:
        raise Refusal(415, f"the content type must be application/json, not {request.content_type[:100]}")


class Members:
    """The members of one JSON object, found without regard to case; problems name the place in the document."""

    __slots__ = ("_members", "_place", "scrub", "source")

    def __init__(self, source: dict[str, Any], place: str, scrub: Scrub = clean) -> None:
        self.source = source
        self.scrub = scrub
        self._place = place
        self._members: Mapping[str, str] = {key.lower(): key for key in source}

    def get(self, name: str) -> Any:
        """The value; None where it is null or absent."""
        key = self._members.get(name.lower())
        return None if key is None else self.source[key]

    def key(self, name: str) -> str | None:
        """The member's name as the document spells it."""
        return self._members.get(name.lower())

    def place(self, name: str) -> str:
        return f"{self._place}{name}"

    def text(self, name: str) -> str | None:
        """A text without NUL and lone surrogates, or None. Raises Refusal(400) where it is something else."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise Refusal(400, f"{self.place(name)} must be a text or null, not {_sort(value)}")
        return self.scrub(value)

    def number(self, name: str) -> float | None:
        """A number (also one written as text), or None. Raises Refusal(400) where it is something else."""
        value = self.get(name)
        if value is None or value == "":
            return None
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError
            return float(value)
        except (ValueError, OverflowError):
            raise Refusal(400, f"{self.place(name)} must be a number or null") from None

    def object(self, name: str) -> Members | None:
        """An object, or None. Raises Refusal(400) where it is something else."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise Refusal(400, f"{self.place(name)} must be an object or null, not {_sort(value)}")
        return Members(value, f"{self.place(name)}.", self.scrub)

    def objects(self, name: str) -> list[Members]:
        """A list of objects; null entries are left out. Raises Refusal(400) where it is something else."""
        value = self.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise Refusal(400, f"{self.place(name)} must be a list or null, not {_sort(value)}")
        found = []
        for position, item in enumerate(value):
            if item is None:
                continue
            if not isinstance(item, dict):
                raise Refusal(400, f"{self.place(name)}[{position}] must be an object, not {_sort(item)}")
            found.append(Members(item, f"{self.place(name)}[{position}].", self.scrub))
        return found

    def take_base64(self, name: str) -> bytes:
        """The decoded content; the document forgets the encoded text. Raises Refusal(400) where it is no base64."""
        key = self.key(name)
        value = None if key is None else self.source.pop(key)
        if value is None:
            return b""
        if not isinstance(value, str):
            raise Refusal(400, f"{self.place(name)} must be base64 text or null, not {_sort(value)}")
        try:
            return b64decode(value, validate=True)
        except ValueError:
            pass  # Line breaks and missing padding occur; a second, slower look decides.
        try:
            bare = "".join(value.split()).rstrip("=")
            return b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(400, f"{self.place(name)} is no valid base64") from None


def _as_it_is(text: str) -> str:
    return text


def _sort(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"

"""How a message and its payload lie in the store: one compressed block, for they repeat each other."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import zstandard

from postroom.message import Message
from postroom.plan import Content

_LEVEL = 1
_LARGEST = 512 * 1024 * 1024


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    message: Message
    payload: bytes | None
    """None once it was pruned."""


class _Codecs(threading.local):
    """zstd's contexts serve one thread at a time."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_codecs = _Codecs()
_encode = msgspec.msgpack.Encoder().encode
_decode_stored = msgspec.msgpack.Decoder(_Stored).decode
_decode_content = msgspec.msgpack.Decoder(Content).decode


def pack(message: Message, payload: bytes | None) -> bytes:
    """The block to store."""
    return _codecs.compress(_encode(_Stored(message, payload)))


def unpack(data: bytes) -> tuple[Message, bytes | None]:
    """The message, and its payload unless that was pruned."""
    stored = _decode_stored(_codecs.decompress(data, max_output_size=_LARGEST))
    return stored.message, stored.payload


def pack_content(content: Content) -> bytes:
    """Rendered content, as it is frozen at the first claim."""
    return _codecs.compress(_encode(content))


def unpack_content(data: bytes) -> Content:
    """The frozen content of a delivery."""
    return _decode_content(_codecs.decompress(data, max_output_size=_LARGEST))


def pack_files(files: dict[str, str]) -> bytes:
    """The files of a rule set."""
    return _codecs.compress(msgspec.json.encode(files))


def unpack_files(data: bytes) -> dict[str, str]:
    """The files of a rule set by their relative paths."""
    files: dict[str, Any] = msgspec.json.decode(_codecs.decompress(data, max_output_size=_LARGEST))
    return files

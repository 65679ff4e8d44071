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


# One context for all threads: its tables are worth more in the processor's cache than sixteen of them side by side.
_compressor = zstandard.ZstdCompressor(level=_LEVEL)
_decompressor = zstandard.ZstdDecompressor()
_compressing, _decompressing = threading.Lock(), threading.Lock()
_encode = msgspec.msgpack.Encoder().encode
_decode_stored = msgspec.msgpack.Decoder(_Stored).decode
_decode_content = msgspec.msgpack.Decoder(Content).decode


def pack(message: Message, payload: bytes | None) -> bytes:
    """The block to store."""
    return _compress(_encode(_Stored(message, payload)))


def unpack(data: bytes) -> tuple[Message, bytes | None]:
    """The message, and its payload unless that was pruned."""
    stored = _decode_stored(_decompress(data))
    return stored.message, stored.payload


def pack_content(content: Content) -> bytes:
    """Rendered content, as it is frozen at the first claim."""
    return _compress(_encode(content))


def unpack_content(data: bytes) -> Content:
    """The frozen content of a delivery."""
    return _decode_content(_decompress(data))


def pack_files(files: dict[str, str]) -> bytes:
    """The files of a rule set."""
    return _compress(msgspec.json.encode(files))


def unpack_files(data: bytes) -> dict[str, str]:
    """The files of a rule set by their relative paths."""
    files: dict[str, Any] = msgspec.json.decode(_decompress(data))
    return files


def _compress(data: bytes) -> bytes:
    with _compressing:
        return _compressor.compress(data)


def _decompress(data: bytes) -> bytes:
    with _decompressing:
        return _decompressor.decompress(data, max_output_size=_LARGEST)

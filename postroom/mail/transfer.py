"""Content-Transfer-Encoding (RFC 2045, 6): the bytes of a part, whatever state its encoding is in."""

from __future__ import annotations

import base64
import binascii
import re

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_UU = re.compile(rb"^begin [0-7]{3,4} [^\r\n]{0,300}\r?\n", re.MULTILINE)
_LONGEST_UU_LINE = 200
_MOST_PIECES = 10_000


def decode_transfer(data: bytes, encoding: str) -> bytes:
    """The bytes that a part's body stands for; as they are where the encoding is unknown or none."""
    if encoding == "base64":
        return decode_base64(data)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        return _decode_uu(data)
    return data


def decode_base64(data: bytes) -> bytes:
    """The bytes of base64; signs that do not belong there are passed over, a cut end is read as far as it goes."""
    try:
        # Line breaks alone are what nearly every part has beside: taking them out costs one copy, and little time.
        return base64.b64decode(data.translate(None, b"\r\n\t "), validate=True)
    except ValueError:
        pass
    # Padding in the middle: several encoded pieces stand one after the other.
    pieces = data.split(b"=", _MOST_PIECES)
    return b"".join([_piece(piece) for piece in pieces if piece])


def _piece(data: bytes) -> bytes:
    bare = _NOT_BASE64.sub(b"", data)
    if len(bare) % 4 == 1:
        bare = bare[:-1]  # Six bits make no byte.
    return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4))


def _decode_uu(data: bytes) -> bytes:
    begin = _UU.search(data)
    if begin is None:
        return data
    made: list[bytes] = []
    for line in data[begin.end() :].splitlines():
        if line.strip() in (b"end", b"`", b""):
            break
        try:
            made.append(binascii.a2b_uu(line[:_LONGEST_UU_LINE]))
        except binascii.Error:
            # Some programs write blanks too many at the end of a line: its first sign says how many bytes count.
            wanted = (((line[0] - 32) & 63) * 4 + 5) // 3
            try:
                made.append(binascii.a2b_uu(line[:wanted]))
            except binascii.Error:
                break
    return b"".join(made)

"""Mail as bytes (RFC 5322, RFC 2045): headers that no stranger's text breaks out of, files that go through in chunks.

Every line ends in CRLF and has at most 998 characters. All is ASCII, unless addresses are asked for as UTF-8.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from urllib.parse import quote

from postroom.mail.folding import fold_domain
from postroom.message import Address

_WIDTH = 76
_LONGEST_WORD = 900
_WORD_BYTES = 42
"""Of UTF-8 in one encoded word, which has 75 characters at most (RFC 2047, 2)."""
_LINES = 57 * 4096
"""Bytes of a file that are encoded at once: whole lines of base64."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_NAME = re.compile(r"[!-9;-~]{1,76}")
_TYPE = re.compile(r"(?!multipart/|message/)[\w.+-]{1,100}/[\w.+-]{1,100}", re.ASCII | re.IGNORECASE)
_LOCAL = r"(?:[^\x00-\x20\x7f-\xa0\"(),:;<>@\[\]\\]{1,64}|\"(?:[^\x00-\x1f\x7f-\xa0\"\\]|\\[ -~]){0,62}\")"
_ADDRESS = re.compile(rf"({_LOCAL})@(\[[0-9A-Fa-f:.IPv]{{2,50}}\]|[^\x00-\x20\x7f-\xa0\"(),:;<>@\[\]\\]{{1,253}})")
_MAILBOX = re.compile(rf"\s*(?:\"((?:[^\"\\\r\n]|\\.)*)\"|([^\"<>@,;:\r\n]*))\s*<({_ADDRESS.pattern})>\s*")


@dataclass(frozen=True, slots=True)
class Part:
    """A body with its own headers. `size` in bytes; `chunks()` yields it from the start on every call."""

    size: int
    chunks: Callable[[], Iterator[bytes]]


def read_mailbox(text: str) -> Address:
    """One mailbox as people write it: `jo@example.org` or `Jo Doe <jo@example.org>`.

    Raises ValueError where the text is anything else, two mailboxes included.
    """
    if _ADDRESS.fullmatch(text.strip()):
        return Address(text.strip())
    found = _MAILBOX.fullmatch(text) if len(text) < 1000 else None
    if found is None:
        raise ValueError(
            f"'{_plain(text)[:100]}' is no address; write such as jo@example.org or Jo Doe <jo@example.org>"
        )
    name = re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2].strip()
    return Address(found[3], name)


def wire_address(address: str) -> str:
    """The address as it is sent: its domain in A-labels. Raises ValueError where it is none."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"'{_plain(address)[:100]}' is no address that mail can be sent to")
    domain = found[2] if found[2].isascii() else fold_domain(found[2])
    if not domain.isascii():
        raise ValueError(f"'{_plain(found[2])[:100]}' is no domain")
    return f"{found[1]}@{domain}"


def header(name: str, value: str) -> bytes:
    """A header of free text, such as Subject; empty where the name is none."""
    if not _NAME.fullmatch(name):
        return b""
    text = _plain(value)
    words = text.split()
    if not text.isascii() or "=?" in text or any(len(word) > _LONGEST_WORD for word in words):
        words = _encoded(text)
    return _folded(name, words)


def kept_header(name: str, value: str) -> bytes:
    """A header of a mail as it came: encoded words in it stay what they are."""
    text = _plain(value)
    if text.isascii() and _NAME.fullmatch(name) and all(len(word) <= _LONGEST_WORD for word in text.split()):
        return _folded(name, text.split())
    return header(name, value)


def keys_header(name: str, value: str) -> bytes:
    """A header of Message-IDs: those that can stand in one."""
    keys = [key for key in _plain(value).split() if key.isascii() and len(key) <= _LONGEST_WORD]
    return _folded(name, keys) if any(keys) else b""


def mailboxes_header(name: str, mailboxes: Iterable[Address], *, utf8: bool = False) -> bytes:
    """A header of addresses. Those that need UTF-8 are left out without it, and what is none at all always."""
    written = []
    for each in mailboxes:
        try:
            address = wire_address(each.address)
        except ValueError:
            continue
        if address.isascii() or utf8:
            shown = _phrase(_plain(each.name))
            written.append([*shown, f"<{address}>"] if shown else [address])
    if not written:
        return b""
    words = [word for box in written[:-1] for word in [*box[:-1], box[-1] + ","]] + written[-1]
    return _folded(name, words)


def date_header(moment: float) -> bytes:
    """The header Date of a moment in seconds since 1970."""
    return _folded("Date", format_datetime(datetime.datetime.fromtimestamp(int(moment), datetime.UTC)).split(" "))


def text_part(text: str, subtype: str = "plain") -> Part:
    """Text in UTF-8, quoted-printable."""
    lines = re.sub(r"\r\n|\r|\n", "\r\n", text).rstrip("\r\n") + "\r\n"
    body = binascii.b2a_qp(lines.encode("utf-8", "replace"), istext=True)
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return _fixed(head.encode() + body)


def file_part(
    name: str,
    content_type: str,
    size: int,
    chunks: Callable[[], Iterator[bytes]],
    *,
    content_id: str = "",
) -> Part:
    """A file in base64. With a Content-ID it is shown in place by the HTML beside it."""
    kind = content_type if _TYPE.fullmatch(content_type) else "application/octet-stream"
    shown = _plain(name)[:200] or "attachment"
    disposition = f"{'inline' if content_id else 'attachment'}{_filename(shown)}"
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: {disposition}\r\n"
    if content_id and re.fullmatch(r"[!-;=?-~]{1,300}", content_id):
        head += f"Content-ID: <{content_id}>\r\n"
    begin = head.encode("ascii") + b"\r\n"

    def encoded() -> Iterator[bytes]:
        yield begin
        yield from _base64(chunks())

    letters = (size + 2) // 3 * 4
    return Part(len(begin) + letters + 2 * -(-letters // _WIDTH), encoded)


def multipart(subtype: str, boundary: str, parts: Sequence[Part]) -> Part:
    """Parts together.

    `boundary` begins with `=_`, as nothing does that is encoded, and with no boundary of what is around it or inside:
    readers compare beginnings (RFC 2046, 5.1.1).
    """
    head = f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n\r\n'.encode()
    between = f"--{boundary}\r\n".encode()
    end = f"--{boundary}--\r\n".encode()

    def chunks() -> Iterator[bytes]:
        yield head
        for part in parts:
            yield between
            yield from part.chunks()
            yield b"\r\n"
        yield end

    return Part(len(head) + sum(len(between) + part.size + 2 for part in parts) + len(end), chunks)


def whole(headers: Iterable[bytes], body: Part) -> Part:
    """A mail: its headers before those of its body."""
    head = b"".join(headers) + b"MIME-Version: 1.0\r\n"
    return _after(head, body)


def attached_mail(mail: Part, name: str = "message.eml") -> Part:
    """A mail as a part of another (RFC 2046, 5.2.1)."""
    head = f'Content-Type: message/rfc822\r\nContent-Disposition: attachment;\r\n filename="{name}"\r\n\r\n'
    return _after(head.encode(), mail)


def _after(head: bytes, part: Part) -> Part:
    def chunks() -> Iterator[bytes]:
        yield head
        yield from part.chunks()

    return Part(len(head) + part.size, chunks)


def _fixed(data: bytes) -> Part:
    return Part(len(data), lambda: iter((data,)))


def _base64(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        rest = rest + chunk if rest else chunk
        ready = len(rest) // 57 * 57
        for at in range(0, ready, _LINES):
            yield _lines(rest[at : min(at + _LINES, ready)])
        rest = rest[ready:]
    if rest:
        yield _lines(rest)


def _filename(name: str) -> str:
    """The parameter; where it is not plain ASCII, in percent codes and in pieces (RFC 2231)."""
    if re.fullmatch(r"[ !#-\[\]-~]{1,60}", name):
        return f';\r\n filename="{name}"'
    pieces = [""]
    for code in (quote(character, safe="") for character in name):
        if len(pieces[-1]) + len(code) > 50:
            pieces.append("")
        pieces[-1] += code
    if len(pieces) == 1:
        return f";\r\n filename*=utf-8''{pieces[0]}"
    first = f";\r\n filename*0*=utf-8''{pieces[0]}"
    return first + "".join(f";\r\n filename*{at}*={piece}" for at, piece in enumerate(pieces[1:], 1))


def _lines(data: bytes) -> bytes:
    letters = base64.b64encode(data)
    return b"".join([letters[at : at + _WIDTH] + b"\r\n" for at in range(0, len(letters), _WIDTH)])


def _plain(text: str) -> str:
    """On one line, without control characters."""
    return _CONTROLS.sub(" ", text.encode("utf-8", "replace").decode()).strip()


def _phrase(name: str) -> list[str]:
    """A display name as words of a header."""
    if not name:
        return []
    if not name.isascii() or "=?" in name or len(name) > 200:
        return _encoded(name[:500])
    if _ATOMS.fullmatch(name):
        return name.split()
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return [f'"{quoted}"']


def _encoded(text: str) -> list[str]:
    """Encoded words, cut between characters. What separates them is no part of the text."""
    words, piece = [], b""
    for character in text:
        data = character.encode()
        if len(piece) + len(data) > _WORD_BYTES:
            words.append(piece)
            piece = b""
        piece += data
    return [f"=?utf-8?b?{base64.b64encode(each).decode()}?=" for each in [*words, piece]]


def _folded(name: str, words: Iterable[str]) -> bytes:
    lines: list[str] = []
    line = f"{name}:"
    for word in words:
        if len(line) + 1 + len(word) > _WIDTH and (lines or len(line) > len(name) + 1):
            lines.append(line)
            line = ""
        line += f" {word}"
    return "\r\n".join([*lines, line]).encode("utf-8") + b"\r\n"

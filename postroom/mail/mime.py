"""Raw mail (RFC 5322 with MIME, RFC 2045 to 2047) told apart into headers, bodies and files, whatever its state.

No tree of objects is made: parts are slices of the source, found by their boundaries, down to a bounded depth. The time
is linear in the length of the source, and nothing in it raises.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from postroom.mail.charsets import decode_text
from postroom.mail.encoded_words import decode_words
from postroom.mail.texts import clean
from postroom.mail.transfer import decode_transfer

DEEPEST = 20
"""Parts inside of parts; what lies deeper is kept as a file."""
MOST_PARTS = 1_000
"""Parts that are told apart; the rest is kept as one file."""
MOST_HEADERS = 10_000
"""Headers that are read."""

_HEADERS_END = re.compile(rb"\r?\n(?=\r?\n)|\r(?=\r)")
_EMPTY_LINE = re.compile(rb"\r?\n|\r(?!\n)")
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\n)")
_NAME = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_LEADING = re.compile(rb"(?:[ \t]*\r?\n)*(?:>?From [^\r\n]*\r?\n)?")
"""Empty lines, and the line that begins a mail in an mbox."""
_TYPE = re.compile(r"\s*([\w.+-]{1,100})\s*/\s*([\w.+-]{1,150})")
_BOUNDARY_END = re.compile(rb"(--)?[ \t]{0,1000}(?=[\r\n]|\Z)")
_PARAMETER = re.compile(
    r";\s{0,100}([\w.%'-]{1,60}?)(\*\d{1,3})?(\*)?\s{0,20}=\s{0,100}(?:\"((?:[^\"\\]|\\.){0,8000})\"?|([^;\"\s][^;]{0,8000}))"
)
_ESCAPED = re.compile(r"\\(.)")
_META_CHARSET = re.compile(rb"<meta[^>]{0,300}charset\s{0,9}=\s{0,9}[\"']?([\w-]{2,40})", re.IGNORECASE)
_LONGEST_STRUCTURED = 20_000
_LONGEST_NAME = 500


@dataclass(frozen=True, slots=True)
class Passage:
    """By what the encoded content of a part is found again in the source of its mail, without keeping it."""

    head: bytes
    size: int
    check: int

    @classmethod
    def of(cls, content: bytes) -> Passage:
        return cls(content[:64], len(content), hash(content))


@dataclass(slots=True)
class File:
    """A part that is neither the text nor the HTML of the mail."""

    name: str
    content_type: str
    content: bytes
    content_id: str
    """Without angle brackets; empty where the part has none."""
    inline: bool
    """True where the HTML shows it in place."""
    passage: Passage


@dataclass(slots=True)
class RawMail:
    """A mail told apart. Texts hold no NUL and no lone surrogate."""

    headers: tuple[tuple[str, str], ...]
    """In the order of the mail, unfolded, encoded words left as they are: see `shown_headers`."""
    text: str | None
    html: str | None
    files: tuple[File, ...]
    notices: tuple[str, ...]
    """What was cut, or kept without being understood."""

    def shown_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers with their encoded words resolved. Addresses are told apart before: names may hold commas."""
        return tuple([(name, clean(decode_words(value))) for name, value in self.headers])

    def header(self, name: str) -> str | None:
        """The first header of a name, in lower case, encoded words left as they are."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(slots=True)
class _Body:
    """A passage of the mail's words: in plain text, in HTML, or in both."""

    text: str | None = None
    html: str | None = None


@dataclass(slots=True)
class _Reading:
    files: list[File] = field(default_factory=list)
    notices: dict[str, None] = field(default_factory=dict)
    parts: int = 0


def read_mime(raw: bytes) -> RawMail:
    """Reads a mail. Any bytes are taken: what is no mail has no headers and one text."""
    reading = _Reading()
    start = _LEADING.match(raw)
    headers, content = _split(raw[start.end() :] if start else raw)
    if len(headers) >= MOST_HEADERS:
        reading.notices[f"of its headers, the first {MOST_HEADERS:,} were read"] = None
    body = _joined(_read_part(reading, headers, content, 0))
    return RawMail(headers, body.text, body.html, tuple(reading.files), tuple(reading.notices))


def _joined(bodies: list[_Body]) -> _Body:
    """Several passages as one. It has no plain text where one of them has none: that is made of the whole HTML then."""
    full = [body for body in bodies if (body.text or body.html or "").strip()]
    bodies = full or bodies[:1]
    texts = [body.text for body in bodies if body.text is not None]
    sources = [_as_html(body) for body in bodies]
    return _Body(
        text="\n".join(texts) if texts and len(texts) == len(bodies) else None,
        html="\n".join(sources) if any(body.html is not None for body in bodies) else None,
    )


def _as_html(body: _Body) -> str:
    if body.html is not None:
        return body.html
    return f"<pre>{html.escape(body.text or '', quote=False)}</pre>"


def _split(part: bytes) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Headers and content. A line that is no header ends the headers, and belongs to the content."""
    if empty := _EMPTY_LINE.match(part):
        return (), part[empty.end() :]
    ends = _HEADERS_END.search(part)
    block = part if ends is None else part[: ends.end()]
    after = len(part) if ends is None else _after_line(part, ends.end())
    headers: list[tuple[str, str]] = []
    name, pieces = "", list[bytes]()
    at = 0
    while at < len(block) and len(headers) < MOST_HEADERS:
        found_end = _LINE_END.search(block, at)
        end, following = (found_end.start(), found_end.end()) if found_end else (len(block), len(block))
        if block[at : at + 1] in (b" ", b"\t") and name:
            pieces.append(block[at:end])
        elif found := _NAME.match(block, at, end):
            if name:
                headers.append((name, _value(pieces)))
            name, pieces = found[1].decode("ascii"), [block[found.end() : end]]
        else:
            after = at
            break
        at = following
    if name:
        headers.append((name, _value(pieces)))
    return tuple(headers), part[after:]


def _after_line(part: bytes, at: int) -> int:
    found = _EMPTY_LINE.match(part, at)
    return found.end() if found else at


def _value(pieces: list[bytes]) -> str:
    return clean(decode_text(b"".join(pieces).strip()))


def _read_part(reading: _Reading, headers: tuple[tuple[str, str], ...], content: bytes, depth: int) -> list[_Body]:
    """The passages of a part; its files are added to those found."""
    fields = _Fields(headers)
    kind, parameters = fields.content_type()
    boundary = parameters.get("boundary", "").rstrip()
    if kind.startswith("multipart/") and boundary:
        if depth >= DEEPEST:
            reading.notices[f"parts that lie deeper than {DEEPEST} are kept as one file"] = None
        else:
            inner = list(_children(reading, content, boundary, "message/rfc822" if kind == "multipart/digest" else ""))
            if inner:
                return _read_children(reading, inner, kind, depth)
            reading.notices["a multipart body holds no boundary: it is kept as text"] = None
            kind = "text/plain"
    elif kind.startswith("multipart/"):
        reading.notices["a multipart body names no boundary: it is kept as text"] = None
        kind = "text/plain"
    disposition, dispositions = fields.structured("content-disposition")
    name = _file_name(dispositions.get("filename") or parameters.get("name") or "")
    data = decode_transfer(content, fields.first("content-transfer-encoding").strip().lower())
    if kind in ("text/plain", "text/html") and disposition != "attachment" and not name:
        charset = parameters.get("charset")
        if kind == "text/html":
            if charset is None and (meta := _META_CHARSET.search(data[:2_000])):
                charset = meta[1].decode("ascii")
            return [_Body(html=_text(data, charset))]
        return [_Body(text=_text(data, charset))]
    content_id = clean(fields.first("content-id")).strip().strip("<>").strip()
    inline = disposition != "attachment" and bool(content_id) and not kind.startswith("message/")
    reading.files.append(File(name or _default_name(kind, data), kind, data, content_id, inline, Passage.of(content)))
    return []


def _read_children(
    reading: _Reading, inner: list[tuple[tuple[tuple[str, str], ...], bytes]], kind: str, depth: int
) -> list[_Body]:
    children = [_read_part(reading, headers, content, depth + 1) for headers, content in inner]
    if kind != "multipart/alternative":
        return [body for bodies in children for body in bodies]
    forms = [_joined(bodies) for bodies in children]
    # The same words in several forms, the richest last (RFC 2046, 5.1.4); empty ones say nothing.
    text = _first_full([form.text for form in forms if form.text is not None])
    source = _first_full([form.html for form in reversed(forms) if form.html is not None])
    return [] if text is None and source is None else [_Body(text, source)]


def _first_full(found: list[str]) -> str | None:
    return next((each for each in found if each.strip()), found[0] if found else None)


def _children(
    reading: _Reading, content: bytes, boundary: str, default_type: str
) -> Iterator[tuple[tuple[tuple[str, str], ...], bytes]]:
    """Headers and content of each part between the lines of a boundary (RFC 2046, 5.1.1)."""
    start: int | None = None
    for line_start, line_end, is_last in _boundary_lines(content, b"--" + boundary.encode("utf-8", "replace")):
        if start is not None:
            yield _split(_with_type(content[_after_line(content, start) : line_start], default_type))
        start = line_end
        if is_last:
            return
        if reading.parts >= MOST_PARTS:
            reading.notices[f"the mail has more than {MOST_PARTS:,} parts: the rest is kept as one file"] = None
            yield (("Content-Type", "application/octet-stream"),), content[start:]
            return
        reading.parts += 1
    if start is not None:
        # The last boundary is missing: what follows is a part all the same.
        yield _split(_with_type(content[_after_line(content, start) :], default_type))


def _boundary_lines(content: bytes, mark: bytes) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each line that consists of a boundary, and whether it closes the body.

    The line break before it belongs to the boundary.
    """
    at = content.find(mark)
    while at >= 0:
        end = _BOUNDARY_END.match(content, at + len(mark))
        if end and (at == 0 or content[at - 1] in b"\r\n"):
            start = at - 2 if content[at - 2 : at] == b"\r\n" else max(at - 1, 0)
            yield start, end.end(), bool(end[1])
        at = content.find(mark, at + len(mark))


def _with_type(part: bytes, default: str) -> bytes:
    return f"Content-Type: {default}\n".encode() + part if default and _EMPTY_LINE.match(part) else part


def _text(data: bytes, charset: str | None) -> str:
    return clean(decode_text(data, charset).removeprefix("\ufeff"))


class _Fields:
    """The headers of one part, by name."""

    def __init__(self, headers: tuple[tuple[str, str], ...]) -> None:
        self._found: dict[str, str] = {}
        for name, value in headers:
            if name[:8].lower() == "content-":
                self._found.setdefault(name.lower(), value)

    def first(self, name: str) -> str:
        """The value; empty where there is none."""
        return self._found.get(name, "")

    def content_type(self) -> tuple[str, dict[str, str]]:
        """The media type in lower case, and its parameters."""
        value = self.first("content-type")[:_LONGEST_STRUCTURED]
        found = _TYPE.match(value)
        if found is None:
            # RFC 2045, 5.2: what has no readable type is plain text.
            return "text/plain", _parameters(";" + value.partition(";")[2])
        return f"{found[1]}/{found[2]}".lower(), _parameters(value[found.end() :])

    def structured(self, name: str) -> tuple[str, dict[str, str]]:
        """The word that a header begins with, in lower case, and its parameters."""
        word, semicolon, rest = self.first(name)[:_LONGEST_STRUCTURED].partition(";")
        return word.strip().lower(), _parameters(semicolon + rest)


def _parameters(text: str) -> dict[str, str]:
    """The parameters, those in pieces joined and those with a character set decoded (RFC 2231)."""
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for found in _PARAMETER.finditer(text):
        value = _ESCAPED.sub(r"\1", found[4]) if found[4] is not None else found[5].strip()
        name, number, encoded = found[1].lower(), found[2], bool(found[3])
        if number or encoded:
            pieces.setdefault(name, {}).setdefault(int(number[1:]) if number else 0, (value, encoded))
        else:
            plain.setdefault(name, value)
    for name, numbered in pieces.items():
        charset: str | None = None
        made: list[bytes] = []
        for position, (value, encoded) in sorted(numbered.items()):
            if encoded and position == 0 and value.count("'") >= 2:
                charset, _, value = value.split("'", 2)
            data = value.encode("utf-8", "replace")
            made.append(unquote_to_bytes(data) if encoded else data)
        plain[name] = decode_text(b"".join(made), charset)
    return plain


def _file_name(value: str) -> str:
    """A name without folders and without what cannot be shown."""
    name = clean(decode_words(value)).replace("\\", "/").rpartition("/")[2]
    return " ".join(name.split())[:_LONGEST_NAME]


def _default_name(kind: str, data: bytes) -> str:
    if kind == "message/rfc822":
        headers, _ = _split(data[:100_000])
        subject = next((value for name, value in headers if name.lower() == "subject"), "")
        return f"{_file_name(subject)[:80].strip() or 'message'}.eml"
    return ""

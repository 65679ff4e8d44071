"""A search written out as CSV or JSON, piece by piece: no more than one page of it is in memory.

=================  ====================================================================================================
column             what
=================  ====================================================================================================
``id``             of the message
``received_at``    ``2026-11-24T10:00:12.345Z``
``ingress``        the way in
``recipient``      the envelope's
``return_path``    the envelope's sender
``from``           the sender's address
``from_name``      the sender's name
``subject``        at most 1,000 characters of it
``state``          of the message
``reason``         why it is held, dropped or unmatched
``kinds``          how it was classed
``rules``          that matched
``deliveries``     each ``DESTINATION STATE REFERENCE``
``size``           in bytes
``attachments``    how many
=================  ====================================================================================================

In CSV (RFC 4180, UTF-8) several values of one cell stand on lines of their own, and a text that a spreadsheet would
take for a formula has ``'`` before it: mail is written by strangers. JSON has the records that the API has.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from postroom.store.history import Found
from postroom.store.records import MessageRow

COLUMNS = (
    "id", "received_at", "ingress", "recipient", "return_path", "from", "from_name", "subject", "state", "reason",
    "kinds", "rules", "deliveries", "size", "attachments",
)  # fmt: skip
INCOMPLETE = "INCOMPLETE: time was up before all was looked at; a narrower search finds the rest"

_FORMULA = ("=", "+", "-", "@")
_BLANKS = ("\t", "\r", "\n")

Pages = Callable[[int | None], Found]
"""The page of a search that comes before a message (its seq); the newest for None."""


def rows_of(pages: Pages) -> Iterator[list[MessageRow] | None]:
    """Each page of a search, newest first; None at the end where time was up and older messages may be missing."""
    before: int | None = None
    while True:
        found = pages(before)
        if found.rows:
            before = found.rows[-1].seq
            yield found.rows
        if found.cut:
            yield None
            return
        if not found.rows:
            return


def as_csv(pages: Pages) -> Iterator[bytes]:
    """The lines, a page at a time. Where time was up, the last line says so."""
    yield lines([COLUMNS])
    for rows in rows_of(pages):
        yield lines([(INCOMPLETE,)] if rows is None else [_cells(row) for row in rows])


def as_json(pages: Pages) -> Iterator[bytes]:
    """One object: `messages`, and `complete`, which is false where time was up."""
    complete, separator = True, b""
    yield b'{"messages":['
    for rows in rows_of(pages):
        if rows is None:
            complete = False
            continue
        yield separator + b",".join(msgspec.json.encode(row) for row in rows)
        separator = b",\n"
    yield b'],"complete":%s}\n' % (b"true" if complete else b"false")


def harmless(text: str) -> str:
    """A cell that no spreadsheet runs (CWE-1236): `'` before what begins like a formula, blanks before it or not."""
    first = unicodedata.normalize("NFKC", text.lstrip()[:1])
    return f"'{text}" if first in _FORMULA or text.startswith(_BLANKS) else text


def _cells(row: MessageRow) -> list[str]:
    moment = datetime.fromtimestamp(row.received_at / 1000, UTC)
    owed = [" ".join(filter(None, (one.destination, one.state, one.reference))) for one in row.deliveries]
    return [
        row.id,
        f"{moment:%Y-%m-%dT%H:%M:%S}.{row.received_at % 1000:03}Z",
        row.ingress,
        row.recipient,
        row.return_path,
        row.from_address or "",
        row.from_name or "",
        row.subject or "",
        row.state,
        row.reason or "",
        "\n".join(row.kinds),
        "\n".join(row.matched),
        "\n".join(owed),
        str(row.size),
        str(row.attachments),
    ]


def lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows as CSV, each cell made harmless."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([harmless(cell) for cell in row] for row in rows)
    return buffer.getvalue().encode("utf-8", "replace")

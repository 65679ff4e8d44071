"""`POST /inbound/NAME`: the ways in.

Every answer is a short JSON object. What each status means:

- **200** the mails are on the disk, with all that is owed for them; what the provider asks for stands in it.
- **400** no mail can be made of the document, **401** its credentials are wrong, **403** its address is not allowed.
- **404** there is no such ingress, **405** only POST is taken, **413** the body is too large, **415** its type is
  wrong.
- **503** with Retry-After: too many bytes are under way, the disk is nearly full, or the store cannot be written. The
  provider keeps the mail and sends it again.

Providers do not all keep to this: an ingress names other statuses in place of 400 and 503 where its provider goes by
those.
"""

from __future__ import annotations

import ipaddress
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from postroom.ingress.base import Accepted, Ingress, Mail, Refusal, Request
from postroom.receive import Receiver
from postroom.web.gate import PIECE, Gate
from postroom.web.refusals import Refusals

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("postroom.inbound")

PREFIX = "/inbound/"

_DRAINED = 256 * 1024 * 1024
_encode = msgspec.json.Encoder().encode
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Entry:
    """One configured way in with what the web process must know of it."""

    ingress: Ingress
    max_body: int
    networks: tuple[_Network, ...] = ()
    url: str = ""
    """The public one."""


class Inbound:
    """The WSGI application in front of the dashboard's: takes what is below /inbound/, hands on the rest.

    It is plain WSGI, since a framework's request costs more than all that is done with a mail here but the commit.
    """

    def __init__(
        self,
        others: WSGIApplication,
        receiver: Receiver,
        entries: Mapping[str, Entry],
        gate: Gate,
        refusals: Refusals | None = None,
    ) -> None:
        """`refusals` is told of requests whose credentials were wrong."""
        self._refusals = Refusals() if refusals is None else refusals
        self._others = others
        self._receiver = receiver
        self._entries = entries
        self._gate = gate

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if not path.startswith(PREFIX):
            return self._others(environ, start_response)
        status, document = self._answer(environ, path[len(PREFIX) :])
        body = _encode(document)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        if status in (503, 429):
            headers.append(("Retry-After", "30"))
        elif status == 405:
            headers.append(("Allow", "POST"))
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [body]

    def _answer(self, environ: WSGIEnvironment, name: str) -> tuple[int, dict[str, Any]]:
        entry = self._entries.get(name)
        unfit, busy = (400, 503) if entry is None else (entry.ingress.unfit, entry.ingress.busy)
        try:
            if entry is None:
                raise Refusal(404, f"there is no ingress named '{name[:64]}'")
            if environ["REQUEST_METHOD"] != "POST":
                if environ["REQUEST_METHOD"] in entry.ingress.probes:
                    return 200, {}
                raise Refusal(405, "only POST is taken here")
            return 200, self._take(environ, entry)
        except Refusal as refusal:
            self._drain(environ["wsgi.input"], refusal.status)
            status = {400: unfit, 503: busy}.get(refusal.status, refusal.status)
            log.info("ingress %r refused a request: %d %s", name[:64], status, refusal.reason)
            if refusal.status == 401 and name in self._entries:
                self._refusals.note(name)
            return status, {"error": refusal.reason}
        except sqlite3.Error as error:
            log.error("a mail could not be stored: %s", error)
            return busy, {"error": "the mail could not be stored; send it again"}
        except Exception:
            # A fault of ours: the provider keeps the mail and sends it again, by when it may be mended.
            log.exception("ingress %r failed", name[:64])
            return 500 if busy == 503 else busy, {"error": "the request could not be handled; send it again"}

    def _drain(self, stream: InputStream, status: int) -> None:
        """Reads on what the client still sends, within bounds: one that is cut off while sending never sees the reason.

        Not for strangers to an ingress, and only while threads are left: a body may never end.
        """
        if status in (403, 404, 405):
            return
        left = _DRAINED
        try:
            with self._gate.reading():
                while left > 0 and (piece := stream.read(PIECE)):
                    left -= len(piece)
        except (Refusal, OSError, RuntimeError, ValueError):
            pass  # No thread is left, or the client is gone.

    def _take(self, environ: WSGIEnvironment, entry: Entry) -> dict[str, Any]:
        if entry.networks and not _allowed(environ.get("REMOTE_ADDR"), entry.networks):
            raise Refusal(403, "requests from this address are not taken")
        size = _content_length(environ)
        if size is not None and size > entry.max_body:
            raise Refusal(413, f"the body is larger than {entry.max_body} bytes")
        with self._gate.passing() as passage:
            kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
            text = environ.get("QUERY_STRING", "")
            query = _query(text)
            body = passage.read(environ["wsgi.input"], size, entry.max_body)
            large = len(body) > PIECE or entry.ingress.asks
            url = f"{entry.url}?{text}" if text else entry.url
            incoming = Request(kind, query, body, environ, url, passage.hold)
            # The request alone holds it from here on, and forgets it once it is decoded.
            del body
            accepted = Accepted(())

            def accept() -> tuple[Mail, ...]:
                nonlocal accepted
                accepted = entry.ingress.accept(incoming)
                return accepted.mails

            stored = self._receiver.receive(accept, large=large)
            if not accepted.mails:
                return accepted.answer
            return {**accepted.answer, "messages": [each.id for each in stored]}


def _query(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=1000))
    except ValueError:
        raise Refusal(400, "the query has too many fields") from None


def _content_length(environ: WSGIEnvironment) -> int | None:
    value = environ.get("CONTENT_LENGTH")
    if not value:
        return None
    if not value.isdecimal():
        raise Refusal(400, "the Content-Length is no number")
    return int(value)


def _allowed(address: str | None, networks: tuple[_Network, ...]) -> bool:
    try:
        client = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped:
        client = client.ipv4_mapped
    return any(client in network for network in networks)

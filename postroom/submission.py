"""Mail handed to a mail server (RFC 5321, RFC 6409): one session with a deadline, errors sorted, mails streamed.

It leads only where `postroom.connection` lets connections lead, and its TLS is verified. A mail that was not sent to
its last line is none (RFC 5321, 4.2.5): only after that the result of a lost connection is unknown.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from postroom.connection import Exchange, Refused, Unreachable, authorities, open_socket, watcher
from postroom.exchange import EXCERPT, DeliveryError

Security = Literal["starttls", "tls", "none"]
_LONGEST_LINE = 4_000
_LONGEST_ANSWER = 40_000
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class TooLarge(DeliveryError):
    """The server takes no mail of this size."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in, and as whom."""

    host: str
    port: int
    security: Security
    username: str | None
    password: str | None = field(repr=False)
    helo: str | None
    """By what name we greet; None: by the address we come from."""
    timeout: float
    """In seconds, of the whole session."""
    allow_private: bool
    mask: Callable[[str], str] = field(repr=False)

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the recipients of one mail; texts are the server's own."""

    accepted: tuple[str, ...]
    refused: dict[str, str]
    """For good."""
    deferred: dict[str, str]


class Session:
    """An open session: greeted, encrypted and logged in as the server's settings say."""

    def __init__(self, server: MailServer, exchange: Exchange, client: _Client) -> None:
        self._server = server
        self._exchange = exchange
        self._client = client
        self.handed_over = False
        """The last line of a mail was sent: from then on the server may have it."""

    @property
    def largest(self) -> int | None:
        """Bytes of the largest mail that the server takes (RFC 1870); None where it does not say."""
        said = self._client.esmtp_features.get("size", "").strip()
        return int(said) if said.isascii() and said.isdigit() and 0 < len(said) < 16 and int(said) else None

    @property
    def international(self) -> bool:
        """Whether it takes addresses that are not ASCII (RFC 6531)."""
        return self._client.has_extn("smtputf8")

    @property
    def encryption(self) -> str:
        """Such as TLSv1.3; empty where there is none."""
        sock = self._client.sock
        return (sock.version() or "") if isinstance(sock, ssl.SSLSocket) else ""

    def noop(self) -> None:
        self._expect("refused NOOP", *self._client.noop())

    def send(
        self, sender: str, recipients: Sequence[str], size: int, chunks: Iterable[bytes], *, utf8: bool
    ) -> Outcome:
        """Sends one mail to those recipients whom the server takes; empty `sender`: the null sender.

        Raises TooLarge, or DeliveryError where nobody gets it.
        """
        client = self._client
        if self.largest is not None and size > self.largest:
            raise TooLarge(f"{self._server.shown} takes mails of {self.largest} bytes at most", permanent=True)
        options = f" SIZE={size}" if client.has_extn("size") else ""
        if utf8:
            options += " SMTPUTF8"
            client.command_encoding = "utf-8"
        self._expect("refused the sender", *client.docmd(f"MAIL FROM:<{sender}>{options}"))
        accepted: list[str] = []
        refused: dict[str, str] = {}
        deferred: dict[str, str] = {}
        for each in recipients:
            code, text = client.docmd(f"RCPT TO:<{each}>")
            if 200 <= code < 300:
                accepted.append(each)
            elif code == 421:
                self._expect("ended the session", code, text)
            else:
                (refused if code >= 500 else deferred)[each] = self._said(code, text)
        if not accepted:
            client.rset()
            return Outcome((), refused, deferred)
        self._expect("refused the mail", *client.docmd("DATA"), wanted=354)
        for chunk in _dotted(chunks):
            self._exchange.left()
            client.send(chunk)
        self._exchange.left()
        self.handed_over = True
        client.send(b".\r\n")
        code, text = client.getreply()
        self._expect("refused the mail", code, text, unknown=code == 421)
        self.handed_over = False
        return Outcome(tuple(accepted), refused, deferred)

    def _expect(self, what: str, code: int, text: bytes, *, wanted: int = 250, unknown: bool = False) -> None:
        """Raises the error that an answer stands for, unless it is the one that is wanted."""
        if code == wanted or (wanted == 250 and 200 <= code < 300):
            return
        # A full mailbox has the same code as a mail that is too large.
        if code == 552 and b"5.2.2" not in text:
            self._client.rset()
            self.handed_over = False
            said = self._said(code, text)
            reason = f"{self._server.shown} takes no mail of this size: {said}"
            raise TooLarge(reason, permanent=True, status=code, answer=said)
        raise _refusal(self._server, what, code, text, unknown=unknown)

    def _said(self, code: int, text: bytes) -> str:
        return _said(self._server, code, text)


@contextlib.contextmanager
def session(server: MailServer) -> Iterator[Session]:
    """Connects, greets, encrypts, logs in. All ends with the server's time. Raises DeliveryError, sorted."""
    exchange = Exchange(server.timeout, server.allow_private)
    client = _Client(server, exchange)
    opened: Session | None = None
    watcher.add(exchange)
    try:
        client.begin()
        opened = Session(server, exchange, client)
        yield opened
        with contextlib.suppress(OSError, smtplib.SMTPException):
            client.putcmd("QUIT")  # out of courtesy: nothing depends on the answer
    except Refused:
        reason = f"{server.shown} is a private address; reaching it needs `allow_private: true` at the destination"
        raise DeliveryError(reason, permanent=True) from None
    except Unreachable as error:
        raise _lost(server, exchange, opened, f"cannot be reached: {error}") from None
    except ssl.SSLError as error:
        detail = (getattr(error, "verify_message", None) or error.reason or "").replace("_", " ").lower()
        raise _lost(server, exchange, opened, f"cannot be reached: no encrypted connection ({detail})") from None
    except (OSError, smtplib.SMTPException) as error:
        detail = str(error) if isinstance(error, _NoAnswer) else "closed the connection"
        raise _lost(server, exchange, opened, detail) from None
    finally:
        spare = exchange.sock
        watcher.remove(exchange)
        client.close()
        if spare is not None:
            spare.close()


class _NoAnswer(smtplib.SMTPServerDisconnected):
    """What came is no answer of a mail server."""


class _Client(smtplib.SMTP):
    """smtplib's client on a socket that leads where it may, with answers of bounded length."""

    def __init__(self, server: MailServer, exchange: Exchange) -> None:
        super().__init__(local_hostname=server.helo or "localhost", timeout=server.timeout)
        self._server = server
        self._exchange = exchange
        self._host = server.host  # whom the certificate must name

    def begin(self) -> None:
        server = self._server
        code, text = self.connect(server.host, server.port)
        if code != 220:
            raise _refusal(server, "takes no mail now", code, text)
        self._greet()
        if server.security == "starttls":
            if not self.has_extn("starttls"):
                raise DeliveryError(f"{server.shown} offers no encryption (STARTTLS)")
            code, text = self.starttls(context=authorities())
            if code != 220:
                raise _refusal(server, "refused to encrypt", code, text)
            self._greet()
        if server.username is not None and server.password is not None:
            try:
                self.login(server.username, server.password)
            except smtplib.SMTPAuthenticationError as error:
                raise _refusal(server, "refused the login", error.smtp_code, _bytes(error.smtp_error)) from None
            except smtplib.SMTPNotSupportedError:
                raise DeliveryError(f"{server.shown} offers no login that is known here", permanent=True) from None
            except UnicodeError:
                raise DeliveryError("user name and password must be ASCII to be sent", permanent=True) from None

    def _greet(self) -> None:
        code, text = self.ehlo()
        if code != 250:
            raise _refusal(self._server, "refused the greeting", code, text)

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        sock = open_socket(host, port, self._exchange)
        # What the watcher shuts: the handshake takes the first descriptor away.
        self._exchange.sock = sock.dup()
        if self._server.helo is None:
            ours = sock.getsockname()[0].partition("%")[0]
            self.local_hostname = f"[IPv6:{ours}]" if sock.family == socket.AF_INET6 else f"[{ours}]"
        if self._server.security == "tls":
            try:
                return authorities().wrap_socket(sock, server_hostname=self._host)
            except BaseException:
                sock.close()
                raise
        return sock

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            self.file = self.sock.makefile("rb")  # type: ignore[union-attr]
        lines, size = [], 0
        while True:
            line = self.file.readline(_LONGEST_LINE)
            size += len(line)
            if not line:
                raise smtplib.SMTPServerDisconnected
            if not re.match(rb"[2-5]\d\d[ \r\n-]", line) or not line.endswith(b"\n") or size > _LONGEST_ANSWER:
                raise _NoAnswer("does not answer as a mail server does")
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)


def _lost(server: MailServer, exchange: Exchange, opened: Session | None, detail: str) -> DeliveryError:
    """The error of a session that ended before its time."""
    unknown = opened is not None and opened.handed_over
    # The watcher shuts the socket first and says so after it.
    if exchange.expired or exchange.ends <= time.monotonic():
        detail = f"was not done within {server.timeout:g} s"
    return DeliveryError(server.mask(f"{server.shown} {detail}"), unknown=unknown)


def _refusal(server: MailServer, what: str, code: int, text: bytes, *, unknown: bool = False) -> DeliveryError:
    said = _said(server, code, text)
    return DeliveryError(
        f"{server.shown} {what}: {said}", permanent=code >= 500, unknown=unknown, status=code, answer=said
    )


def _said(server: MailServer, code: int, text: bytes) -> str:
    """The server's words on one line, secrets masked."""
    words = _UNSPEAKABLE.sub(" ", server.mask(text.decode("utf-8", "replace")))
    return f"{code} {words[:EXCERPT]}".strip()


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")


def _dotted(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same with a dot before each dot that begins a line (RFC 5321, 4.5.2)."""
    before = b"\r\n"
    for chunk in chunks:
        joined = before + chunk
        yield joined.replace(b"\r\n.", b"\r\n..")[len(before) :]
        before = joined[-2:]

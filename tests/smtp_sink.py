"""A real mail server on loopback (aiosmtpd) that keeps what it is handed; and one that says what a test wants."""

from __future__ import annotations

import contextlib
import email
import email.policy
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.servers import closed_port, raw_server


@dataclass(frozen=True)
class Handed:
    """A mail as it was handed in."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def mail(self) -> EmailMessage:
        found = email.message_from_bytes(self.content, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found


class Sink:
    """A mail server. `on_rcpt(address)` and `on_data()` may give another answer than 250."""

    def __init__(
        self,
        *,
        user: str | None = None,
        password: str = "",
        tls: ssl.SSLContext | None = None,
        utf8: bool = True,
        largest: int = 50_000_000,
    ) -> None:
        """With `user` it takes mail only after a login; with `tls` only after STARTTLS."""
        self.handed: list[Handed] = []
        self.commands: list[str] = []
        self.on_rcpt: Callable[[str], str | None] = lambda address: None
        self.on_data: Callable[[], str | None] = lambda: None
        self.host, self.port = "localhost" if tls else "127.0.0.1", closed_port()

        def known(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
            good = isinstance(data, LoginPassword) and (data.login, data.password) == (
                (user or "").encode(),
                password.encode(),
            )
            return AuthResult(success=good, handled=good)

        settings: dict[str, Any] = {}
        if user is not None:
            settings |= {"authenticator": known, "auth_required": True, "auth_require_tls": tls is not None}
        if tls is not None:
            settings |= {"tls_context": tls, "require_starttls": True}
        self._controller = Controller(
            _Handler(self),
            "127.0.0.1",
            self.port,
            enable_SMTPUTF8=utf8,
            data_size_limit=largest,
            ready_timeout=20,
            **settings,
        )

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._controller.stop()

    @property
    def only(self) -> Handed:
        (found,) = self.handed
        return found


class _Handler:
    """What aiosmtpd asks at each command."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, name: str, answers: list[str]) -> list[str]:  # noqa: N802
        self._sink.commands.append(f"EHLO {name}")
        session.host_name = name
        return answers

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        self._sink.commands.append(" ".join([f"MAIL <{address}>", *options]))
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        if (answer := self._sink.on_rcpt(address)) is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if (answer := self._sink.on_data()) is not None:
            return answer
        self._sink.handed.append(
            Handed((envelope.mail_from or "").strip("<>"), list(envelope.rcpt_tos), envelope.original_content)
        )
        return "250 2.0.0 queued"


@contextlib.contextmanager
def scripted(answers: dict[str, str | None], *, extensions: tuple[str, ...] = ()) -> Iterator[tuple[int, list[str]]]:
    """A mail server that answers each command by its first word; None closes the connection there.

    Beside the verbs: `greeting`, `text` (the first line of a mail's text: it closes there) and `end` (its last line).
    Yields its port, and the commands that came.
    """
    came: list[str] = []
    said = {
        "greeting": "220 ready",
        "EHLO": "\r\n".join([*(f"250-{each}" for each in ("here", *extensions)), "250 HELP"]),
        "MAIL": "250 ok",
        "RCPT": "250 ok",
        "DATA": "354 go on",
        "end": "250 queued",
        "RSET": "250 ok",
        "NOOP": "250 ok",
        "QUIT": "221 bye",
        **answers,
    }

    def talk(client: socket.socket) -> None:
        lines = client.makefile("rb")

        def say(word: str) -> bool:
            answer = said.get(word, "500 what")
            if answer is not None and answer:
                client.sendall(answer.encode() + b"\r\n")
            return answer is not None

        going = say("greeting")
        while going and (line := lines.readline()):
            word = line.split(maxsplit=1)[0].decode("latin-1").upper()
            came.append(f"{word} {line[len(word) :].decode('latin-1').strip()}".strip())
            going = say(word)
            if word == "DATA" and said["DATA"] and said["DATA"].startswith("354") and going:
                if "text" in said:
                    lines.readline()
                    break
                while (line := lines.readline()) and line != b".\r\n":
                    pass
                if line:
                    came.append(".")
                    going = say("end")

    with raw_server(talk) as url:
        yield int(url.rpartition(":")[2]), came

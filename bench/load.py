"""Load for loopback servers: unique documents over kept-alive connections, from one thread without threads' cost."""

from __future__ import annotations

import json
import random
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate

# fmt: off
_WORDS = (
    "printer", "invoice", "crash", "please", "order", "login", "server", "paper", "delivery", "monday", "garden",
    "account", "version", "error", "attached", "question", "thanks", "meeting", "network", "password", "customer",
    "room", "screen", "update", "backup", "regards", "fire", "smoke", "ticket", "street",
)
# fmt: on


def words(count: int, rng: random.Random) -> str:
    """Text that compresses about as mail does."""
    made = []
    for _ in range(count):
        made.append(rng.choice(_WORDS) if rng.random() < 0.7 else f"{rng.getrandbits(36):x}")
    return " ".join(made)


def document(secret: str, size: int, rng: random.Random, recipient: str = "support@bench.example") -> bytes:
    """A SocketLabs document of about `size` bytes; `@@ID@@` stands where each copy gets a number of its own."""
    share = max(1, (size - 1600) // 17)
    text = words(share, rng)
    html = "<html><body><p>" + words(share, rng) + "</p></body></html>"
    headers = [
        ("Received", "from mail.example.org ([192.0.2.7]) by mx.socketlabs.com; Mon, 16 Nov 2026 10:01:04 +0100"),
        (
            "Received",
            "from localhost (localhost [127.0.0.1]) by mail.example.org; Mon, 16 Nov 2026 10:00:47 +0100 (CET)",
        ),
        ("Date", formatdate()),
        ("Message-ID", "<@@ID@@@mail.example.org>"),
        ("MIME-Version", "1.0"),
        ("Content-Type", 'multipart/alternative; boundary="=-omjqkVTVbwdgCWFRgIkx"'),
        ("X-Mailer", "Evolution 3.50"),
    ]
    made = {
        "SecretKey": secret,
        "Message": {
            "TextCharSet": "utf-8", "HtmlCharSet": "utf-8", "EmbeddedMedia": None, "MailingId": None, "MessageId": None,
            "Subject": words(8, rng), "TextBody": text, "HtmlBody": html,
            "CustomHeaders": [{"Name": name, "Value": value} for name, value in headers],
            "To": [{"EmailAddress": recipient, "FriendlyName": "Support"}], "Cc": None, "Bcc": None,
            "From": {"EmailAddress": "jo-@@ID@@@example.org", "FriendlyName": "Jo Doe"},
            "ReplyTo": None, "Attachments": None,
        },
        "InboundMailFrom": "jo@example.org", "InboundRcptTo": recipient, "InboundIpAddress": "192.0.2.7",
        "ErrorLog": None, "SpamScore": 0, "SpamDetails": None,
    }  # fmt: skip
    return json.dumps(made).encode()


def requests(path: str, secret: str, size: int, seed: int) -> Iterator[bytes]:
    """Endless HTTP requests with documents that all differ."""
    rng = random.Random(seed)
    bodies = [document(secret, size, rng).split(b"@@ID@@") for _ in range(64)]
    number = seed * 10**9
    while True:
        for parts in bodies:
            number += 1
            body = (b"%020d" % number).join(parts)
            head_line = b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n" % path.encode()
            yield b"".join((head_line, b"Content-Length: %d\r\n\r\n" % len(body), body))


@dataclass
class Result:
    """What one run measured. Latencies in seconds."""

    seconds: float
    answered: int = 0
    failed: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.answered / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def run(port: int, source: Iterator[bytes], *, seconds: float, connections: int = 16, rate: float | None = None,
        on_answer: Callable[[], None] = lambda: None) -> Result:  # fmt: skip
    """Sends as fast as answers come, or at a steady `rate` a second, for so many seconds."""
    selector = selectors.DefaultSelector()
    sockets = []
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets.append(sock)
        selector.register(sock, selectors.EVENT_READ)
    begun: dict[socket.socket, float] = {}
    received: dict[socket.socket, bytes] = {}
    start = time.perf_counter()
    result = Result(seconds)
    free = list(sockets)
    sent = 0
    while True:
        now = time.perf_counter()
        open_for_more = now - start < seconds
        while free and open_for_more and (rate is None or sent < (now - start) * rate):
            sock = free.pop()
            sock.sendall(next(source))
            begun[sock] = time.perf_counter()
            sent += 1
        if not begun and not open_for_more:
            break
        for key, _ in selector.select(0.001 if rate else 1.0):
            sock = key.fileobj  # type: ignore[assignment]
            data = received.pop(sock, b"") + sock.recv(65536)
            if not _complete(data):
                received[sock] = data
                continue
            result.latencies.append(time.perf_counter() - begun.pop(sock))
            if data.startswith(b"HTTP/1.1 200"):
                result.answered += 1
                on_answer()
            else:
                result.failed += 1
            free.append(sock)
    result.seconds = time.perf_counter() - start
    for sock in sockets:
        sock.close()
    return result


def _complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return found is not None and len(body) >= int(found[1])

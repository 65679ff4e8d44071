"""End to end: mail in, rules, store, one webhook each. And the dispatcher alone against bare `requests` calls."""

from __future__ import annotations

import os
import re
import signal
import socketserver
import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Process, Queue

import requests as bare_requests

from bench.instances import SECRET, Running, free_port, postroom
from bench.load import requests, run

SECONDS = 6.0
BACKLOG = 3_000
RULES = "rules:\n  - {name: all, when: always, then: [hook]}"


class _Receiver(socketserver.ThreadingTCPServer):
    """Answers 204 at once, and keeps when each mail arrived."""

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = True
    arrivals: dict[str, float]


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline(65536)
                if not line:
                    return
                head += line
            length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
            body = self.rfile.read(length)
            found = re.search(rb"<(\d{20})@", body)
            if found:
                self.server.arrivals.setdefault(found[1].decode(), time.perf_counter())  # type: ignore[attr-defined]
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _receive(port: int, orders: Queue[str], answers: Queue[dict[str, float]]) -> None:
    server = _Receiver(("127.0.0.1", port), _Handler)
    server.arrivals = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while orders.get() != "stop":
        answers.put(dict(server.arrivals))


def main() -> None:
    port = free_port()
    orders: Queue[str] = Queue()
    answers: Queue[dict[str, float]] = Queue()
    receiver = Process(target=_receive, args=(port, orders, answers), daemon=True)
    receiver.start()

    def arrived() -> dict[str, float]:
        orders.put("report")
        return answers.get()

    hook = (
        f"  hook: {{kind: webhook, url: 'http://127.0.0.1:{port}/', allow_private: true, concurrency: 8, timeout: 10s}}"
    )
    with postroom(RULES, hook) as whole:
        run(whole.port, requests("/inbound/socketlabs", SECRET, 10_000, 1), seconds=1.0)
        _drain(whole)
        before = len(arrived())
        start = time.perf_counter()
        result = run(whole.port, requests("/inbound/socketlabs", SECRET, 10_000, 2), seconds=SECONDS)
        at_end = len(arrived()) - before
        _drain(whole)
        both = (len(arrived()) - before) / (time.perf_counter() - start)
        print(f"end to end, 10 kB documents, one webhook each, {SECONDS:.0f} s at full load")
        print(f"  accepted              {result.rate:8.0f} /s")
        print(
            f"  delivered meanwhile   {at_end / result.seconds:8.0f} /s, over all until nothing was owed {both:.0f} /s"
        )

        sent_at: dict[str, float] = {}
        steady = run(
            whole.port, _noted(requests("/inbound/socketlabs", SECRET, 10_000, 3), sent_at), seconds=5.0, rate=200
        )
        _drain(whole)
        now = arrived()
        waits = sorted(now[mark] - at for mark, at in sent_at.items() if mark in now)
        p50, p99 = waits[len(waits) // 2] * 1000, waits[int(len(waits) * 0.99)] * 1000
        print(
            f"  receipt to arrival    p50 {p50:.1f} ms, p99 {p99:.1f} ms at {steady.rate:.0f} mails/s (targets 10, 40)"
        )
        memory = whole.memory()
        print(f"  memory                {sum(memory.values()):8.0f} MB")
    _dispatch_alone(port)
    orders.put("stop")


def _dispatch_alone(port: int) -> None:
    """Deliveries from a backlog, against the same calls made by as many threads of requests."""
    session = threading.local()
    body = b"x" * 10_000

    def call(_: int) -> None:
        if not hasattr(session, "http"):
            session.http = bare_requests.Session()
        session.http.post(f"http://127.0.0.1:{port}/", data=body, timeout=10)

    rates = []
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            start = time.perf_counter()
            list(pool.map(call, range(1500)))
            rates.append(1500 / (time.perf_counter() - start))
    paused = (
        f"  hook: {{kind: webhook, url: 'http://127.0.0.1:{port}/', allow_private: true, concurrency: 8, paused: true}}"
    )
    with postroom(RULES, paused) as whole:
        source = requests("/inbound/socketlabs", SECRET, 10_000, 4)
        while _owed(whole) < BACKLOG:
            run(whole.port, source, seconds=1.0)
        backlog = _owed(whole)
        config = whole.folder / "config.yaml"
        config.write_text(config.read_text().replace("paused: true", "paused: false"))
        # The dispatcher reads the new configuration when the supervisor starts it again.
        for pid, name in whole.processes():
            if name == "dispatcher":
                os.kill(pid, signal.SIGTERM)
        while _owed(whole) == backlog:
            time.sleep(0.01)
        first, start = _owed(whole), time.perf_counter()
        _drain(whole)
        rate = first / (time.perf_counter() - start)
    bare = statistics.median(rates)
    print(f"dispatch from a backlog, 8 at once: {rate:.0f} /s, bare requests {bare:.0f} /s,"
          f" ratio {rate / bare:.2f} (target 0.6: {'met' if rate / bare >= 0.6 else 'MISSED'})")  # fmt: skip


def _noted(source: Iterator[bytes], sent_at: dict[str, float]) -> Iterator[bytes]:
    for request in source:
        found = re.search(rb"<(\d{20})@", request)
        sent_at[found[1].decode()] = time.perf_counter()  # type: ignore[index]
        yield request


def _owed(whole: Running) -> int:
    database = sqlite3.connect(whole.folder / "data" / "postroom.db", timeout=10)
    try:
        query = "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending', 'retrying')"
        count: int = database.execute(query).fetchone()[0]
        return count
    finally:
        database.close()


def _drain(whole: Running, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while _owed(whole) and time.monotonic() < deadline:
        time.sleep(0.02)

"""Durable ingest (rules evaluated, all committed with fsync) against bare Flask on the same server."""

from __future__ import annotations

import sqlite3
import statistics
import sys

from bench.instances import SECRET, floor, postroom
from bench.load import requests, run

ROUNDS = 3
SECONDS = 4.0
SIZE = 10_000
TARGET = 0.4


def rules(count: int = 100) -> str:
    """Exact recipients, words of subjects and headers in turn; the last one takes the bench's mail."""
    made = ["rules:"]
    for number in range(count - 1):
        when = (
            f"{{recipient: desk{number}@example.org}}",
            f"{{subject: {{contains: [token{number}, mark{number}]}}}}",
            f"{{header: {{X-Kind: {{word: kind{number}}}}}}}",
        )[number % 3]
        made.append(f"  - {{name: rule {number}, when: {when}, then: [archive], stop: true}}")
    made.append("  - {name: the mail, when: {recipient: support@bench.example}, then: [archive]}")
    return "\n".join(made)


def main() -> None:
    # Paused: what is measured is the way in. The deliveries are stored all the same.
    destinations = "  archive: {kind: file, path: archive.jsonl, paused: true}"
    with floor() as bare, postroom(rules(), destinations) as whole:
        idle = whole.memory()
        floors, durable, latencies, failed = [], [], [], 0
        for number in range(ROUNDS):
            floors.append(
                run(bare.port, requests("/inbound/socketlabs", SECRET, SIZE, 2 * number + 1), seconds=SECONDS).rate
            )
            result = run(whole.port, requests("/inbound/socketlabs", SECRET, SIZE, 2 * number + 2), seconds=SECONDS)
            durable.append(result.rate)
            latencies += result.latencies
            failed += result.failed
        loaded = whole.memory()
        database = sqlite3.connect(whole.folder / "data" / "postroom.db")
        count = database.execute("SELECT count(*) FROM deliveries").fetchone()[0]
        pages = database.execute("PRAGMA page_count").fetchone()[0] * database.execute("PRAGMA page_size").fetchone()[0]
        database.close()
    ratio = statistics.median(durable) / statistics.median(floors)
    latencies.sort()
    print(f"ingest, {SIZE // 1000} kB documents, 100 rules, 16 connections, {ROUNDS} rounds of {SECONDS:.0f} s")
    print(f"  bare Flask            {statistics.median(floors):8.0f} /s")
    p50, p99 = latencies[len(latencies) // 2] * 1000, latencies[int(len(latencies) * 0.99)] * 1000
    print(f"  durable ingest        {statistics.median(durable):8.0f} /s, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    print(f"  not accepted          {failed:8d}")
    print(f"  ratio                 {ratio:8.2f}     target {TARGET}: {'met' if ratio >= TARGET else 'MISSED'}")
    print(f"  database              {pages / max(count, 1):8.0f} bytes a message ({count} messages)")
    for label, memory in (("idle", idle), ("after the load", loaded)):
        parts = ", ".join(f"{name} {size:.0f}" for name, size in memory.items())
        print(f"  memory {label:14} {sum(memory.values()):8.0f} MB ({parts})")
    sys.stdout.flush()

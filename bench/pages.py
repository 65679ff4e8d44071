"""Every page of the dashboard over a store of a million messages, beside `/healthz` of the same server.

The store is made by rows, not by mail, and is kept in `BENCH_DIR` (by default .run/bench) for the next run: making it
takes some minutes. `BENCH_MESSAGES` says how many messages there are; two sizes show how a page grows.
"""

from __future__ import annotations

import html
import http.cookiejar
import os
import random
import re
import sqlite3
import statistics
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from werkzeug.security import generate_password_hash

from bench.instances import ROOT, running_at
from postroom.ids import now_ms
from postroom.message import Address, Message
from postroom.store import people
from postroom.store import statistics as counts
from postroom.store.content import pack, pack_files
from postroom.store.conversations import key_of_address
from postroom.store.database import FILE_NAME, connect, migrate
from postroom.store.search_index import index_next

SIZES = tuple(int(each) for each in os.environ.get("BENCH_MESSAGES", "10000 1000000").split())
ROUNDS = 15
TARGET_MS = 150.0
TARGET_GROWTH = 3.0
_PASSWORD = "a-password-for-pages"
_DAYS = 90
_WORDS = 20_000
RULES = """\
rules:
  - {name: Crash reports, when: {recipient.user: crashes}, then: [tracker]}
  - {name: Everything else, when: always, then: [archive]}
"""
CONFIG = """\
server: {{listen: 127.0.0.1:{port}}}
ingress: {{socketlabs: {{servers: [{{secret_key: k, validation_key: v}}]}}}}
destinations:
  tracker: {{kind: file, path: tracker.jsonl, paused: true}}
  archive: {{kind: file, path: archive.jsonl, paused: true}}
"""
_STATES = ("delivered",) * 90 + ("dead",) * 2 + ("retrying",) * 3 + ("pending",) * 5


def store(folder: Path, size: int) -> None:
    """A store of so many messages over ninety days, indexed and counted."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    migrate(path)
    db = connect(path)
    db.execute("PRAGMA synchronous=OFF")
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghiklmnoprstuvw", k=rng.randint(3, 10))) for _ in range(_WORDS)]
    files = pack_files({"bench.yaml": RULES})
    db.execute("INSERT OR IGNORE INTO rule_sets (seq, hash, files, created_at) VALUES (1, 'bench', ?, 1)", (files,))
    people.add(db, "admin", generate_password_hash(_PASSWORD), "editor", 1)
    have = db.execute("SELECT COALESCE(MAX(seq), 0) FROM messages").fetchone()[0]
    first = now_ms() - _DAYS * 86_400_000
    for start in range(have + 1, size + 1, 5_000):
        db.execute("BEGIN IMMEDIATE")
        _insert(db, range(start, min(start + 5_000, size + 1)), size, first, words, rng)
        db.execute("COMMIT")
    for work in (lambda: index_next(db, 2_000), lambda: counts.count_attempts(db, 5_000)):
        more = True
        while more:
            db.execute("BEGIN IMMEDIATE")
            more = bool(work())
            db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _insert(db: sqlite3.Connection, seqs: range, size: int, first: int, words: list[str], rng: random.Random) -> None:
    messages, contents, deliveries, attempts = [], [], [], []
    for seq in seqs:
        at = first + int(_DAYS * 86_400_000 * seq / size)
        id = str(uuid.UUID(int=(at << 80) | (7 << 76) | (2 << 62) | rng.getrandbits(60)))
        # The common words are as common as in mail: a few make up most of every text.
        text = " ".join(words[min(int(rng.paretovariate(0.6)), _WORDS - 1)] for _ in range(60))
        subject = text[: rng.randint(20, 60)]
        sender, user = f"user{rng.randrange(5_000)}@example{rng.randrange(300)}.com", rng.choice(("crashes", "support"))
        recipient = f"{user}@example.org"
        message = Message(
            id=id, received_at=at, ingress="socketlabs", recipient=Address(recipient), from_=Address(sender, "Jo Doe"),
            subject=subject, text=text, message_id=f"<{seq}@example.com>", size=10_000,
        )  # fmt: skip
        state = "held" if seq % 500 == 0 else "unmatched" if seq % 300 == 0 else "routed"
        rule, destination = ("Crash reports", "tracker") if user == "crashes" else ("Everything else", "archive")
        conversation = seq if seq % 4 else max(1, seq - 1)
        messages.append(
            (seq, id, at, "socketlabs", recipient, sender, sender, "Jo Doe", subject, state, None, 1, rule,
             conversation, 10_000, 0, key_of_address(sender), key_of_address(recipient), "new")
        )  # fmt: skip
        contents.append((seq, pack(message, text.encode())))
        if state != "routed":
            continue
        outcome = rng.choice(_STATES)
        done = at + int(rng.paretovariate(1) * 300) if outcome in ("delivered", "dead") else None
        reason = None if outcome in ("delivered", "pending") else "tracker.example answered 500"
        key = str(uuid.UUID(int=rng.getrandbits(128)))
        deliveries.append(
            (seq, key, seq, conversation, rule, 0, destination, outcome, reason, int(outcome != "pending"),
             at + 10**12, at, done, f"APP-{seq}" if outcome == "delivered" else None)
        )  # fmt: skip
        if outcome != "pending":
            result = "delivered" if outcome == "delivered" else "unknown"
            attempts.append((seq, 1, done or at + 40, 20, result))
    db.executemany(
        "INSERT INTO messages (seq, id, received_at, ingress, recipient, return_path, from_address, from_name, subject,"
        " state, reason, rule_set, matched, conversation, size, attachments, sender, addressee, kinds)"
        f" VALUES ({', '.join('?' * 19)})",
        messages,
    )
    db.executemany("INSERT INTO contents VALUES (?, ?)", contents)
    db.executemany(
        "INSERT INTO deliveries (seq, id, message, conversation, rule, action, destination, state, reason, attempts,"
        f" next_at, created_at, finished_at, reference) VALUES ({', '.join('?' * 14)})",
        deliveries,
    )
    db.executemany(
        "INSERT INTO attempts (delivery, number, started_at, took_ms, result) VALUES (?, ?, ?, ?, ?)", attempts
    )


def paths(folder: Path, size: int) -> Iterator[str]:
    """What people open: every kind of page, and searches that find much, little and nothing."""
    db = connect(folder / FILE_NAME, read_only=True)
    one = "SELECT id, subject FROM messages WHERE seq = ?"
    newest, middle = (db.execute(one, (seq,)).fetchone() for seq in (size, size // 2))
    word, rare = newest["subject"].split()[0], middle["subject"].split()[-1]
    db.close()
    yield from ("/healthz", "/", "/?range=90d", "/messages", f"/messages?before={size // 2}")
    for search in (
        word, word[:3], rare, f"{word} {rare}", "nothingofthekind", "to:crashes", "from:user42", f"APP-{size // 2}",
        newest["id"][:18], 'rule:"Crash reports"', "dest:archive state:dead", "state:held", f"-{word} support",
        "kind:bounce", "after:7d", f"before:80d {word}",
    ):  # fmt: skip
        yield f"/messages?q={urllib.parse.quote(search)}"
    for state in ("dead", "retrying", "pending", "held", "unmatched"):
        yield f"/messages?state={state}"
    yield from (
        f"/messages/{newest['id']}",
        f"/messages/{middle['id']}",
        "/destinations",
        "/rules",
        "/rules/history",
        "/people",
        "/audit",
    )


def measure(size: int) -> dict[str, float]:
    """Median milliseconds of each page."""
    folder = Path(os.environ.get("BENCH_DIR", ROOT / ".run/bench")) / f"pages-{size}"
    began = time.monotonic()
    store(folder / "data", size)
    print(f"store of {size:,} messages: {time.monotonic() - began:.0f} s to make or open,"
          f" {(folder / 'data' / FILE_NAME).stat().st_size / size / 1000:.1f} kB a message")  # fmt: skip
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules/bench.yaml").write_text(RULES)
    found = {}
    with running_at(folder, CONFIG) as running:
        browser = _login(running.port)
        for path in paths(folder / "data", size):
            took = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                try:
                    with browser.open(f"http://127.0.0.1:{running.port}{path}", timeout=60) as answer:
                        answer.read()
                except urllib.error.HTTPError as error:
                    if error.code != 404:
                        raise
                    break
                took.append((time.perf_counter() - start) * 1000)
            if took:
                found[path] = statistics.median(took)
    return found


def _login(port: int) -> urllib.request.OpenerDirector:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    base = f"http://127.0.0.1:{port}/login"
    page = browser.open(base, timeout=30).read().decode()
    token = html.unescape(re.search(r'name="csrf_token" value="([^"]+)"', page)[1])  # type: ignore[index]
    form = {"csrf_token": token, "name": "admin", "password": _PASSWORD}
    browser.open(base, urllib.parse.urlencode(form).encode(), timeout=30).read()
    return browser


def main() -> None:
    by_size = {size: measure(size) for size in SIZES}
    largest = by_size[max(SIZES)]
    floor = largest["/healthz"]
    smallest = by_size[min(SIZES)]
    print(f"{'page':60} {'ms':>8} {'x healthz':>10} {'growth':>7}")
    for (path, took), before in zip(largest.items(), smallest.values(), strict=True):
        growth = took / before
        note = "" if took < TARGET_MS and (growth < TARGET_GROWTH or took < 10) else "   MISSED"
        print(f"{path[:60]:60} {took:8.1f} {took / floor:10.1f} {growth:7.1f}{note}")
    print(f"targets: under {TARGET_MS:g} ms; growth under {TARGET_GROWTH:g} from the smallest size to the largest")

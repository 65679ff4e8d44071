"""Kill -9 of the whole program at any moment: what was answered with 200 is stored and delivered, each once."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections import defaultdict

from tests.conftest import Start
from tests.instance import Instance, document, hook
from tests.servers import Receiver, Request

KILLS = 20
SENDERS = 4
RULES = """\
rules:
  - name: Hook
    when: always
    then: [hook: {title: "{{ subject }}"}]
"""


class Load:
    """Threads that send as the provider does: each document again and again until it is answered with 200."""

    def __init__(self, instance: Instance) -> None:
        self.accepted: dict[str, str] = {}
        """Ids of messages by the subject of their document."""
        self._instance = instance
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(30)

    def _send(self, sender: int) -> None:
        number = 0
        while not self._ends.is_set():
            subject = f"mail {number} of sender {sender}"
            # Some belong to one conversation, some carry something to write.
            text = "x" * random.choice((10, 1_000, 200_000))
            thread = f"<thread-{sender}-{number // 5}@example.org>" if number % 2 else None
            posted = document(subject, text=text, in_reply_to=thread)
            while not self._ends.is_set() and subject not in self.accepted:
                # A document without an answer may be stored all the same.
                with contextlib.suppress(OSError, http.client.HTTPException):
                    answer = self._instance.post(posted, timeout=10)
                    if answer.status == 200:
                        self.accepted[subject] = answer.message
                if subject not in self.accepted:
                    self._ends.wait(0.02)
            number += 1
            self._ends.wait(0.02)


def test_kill_at_any_moment_loses_nothing_and_doubles_nothing(make_instance: Start) -> None:
    seed = time.time_ns()
    moments = random.Random(seed)
    ids: dict[str, set[str]] = defaultdict(set)
    bodies: dict[str, set[bytes]] = defaultdict(set)

    def keep(request: Request) -> None:
        title = request.json()["title"]
        ids[title].add(request.headers["webhook-id"])
        bodies[title].add(request.body)

    with Receiver(keep) as receiver:
        instance = make_instance(rules=RULES, destinations={"hook": hook(receiver.url, timeout="5s")})
        with Load(instance) as load:
            for _ in range(KILLS):
                instance.start(wait_for="/healthz")
                time.sleep(moments.uniform(0.0, 0.8))
                instance.kill()
                receiver.requests.clear()
            instance.start()
        instance.wait_until_quiet(60)
        subjects = {row["id"]: row["subject"] for row in instance.rows("SELECT id, subject FROM messages")}
        states = {row["subject"]: row["state"] for row in instance.deliveries()}
        with instance.db() as db:
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert not db.execute("PRAGMA foreign_key_check").fetchall()
        orphans = "SELECT 1 FROM messages m WHERE NOT EXISTS (SELECT 1 FROM contents c WHERE c.message = m.seq)"
        assert not instance.rows(orphans)

    where = f"seed {seed}, {len(load.accepted)} accepted"
    assert len(load.accepted) > 100, where
    lost = {subject for subject, message in load.accepted.items() if subjects.get(message) != subject}
    assert not lost, f"answered with 200 and not in the store: {lost}; {where}"
    assert len(set(subjects.values())) == len(subjects), f"stored twice; {where}"
    assert {states[subject] for subject in subjects.values()} == {"delivered"}, where
    assert not set(subjects.values()) - set(ids), f"delivered, says the store, but never sent; {where}"
    doubled = {title: found for title, found in ids.items() if len(found) > 1}
    assert not doubled, f"a receiver that ignores ids it has seen would see these twice: {doubled}; {where}"
    assert all(len(found) == 1 for found in bodies.values()), "each attempt sends the same"
    assert "Traceback" not in instance.log()


def test_what_was_under_way_is_marked(make_instance: Start) -> None:
    """After a crash while a delivery is under way, the record says that its first attempt's result is unknown."""
    release, came = threading.Event(), threading.Event()

    def stall(request: Request) -> None:
        came.set()
        release.wait(30)

    with Receiver(stall) as receiver:
        instance = make_instance(rules=RULES, destinations={"hook": hook(receiver.url)}).start()
        message = instance.post(document("under way")).message
        assert came.wait(10)
        instance.kill()
        release.set()
        instance.start()
        (delivery,) = instance.wait_for_states(message, "delivered")
        attempts = instance.rows("SELECT * FROM attempts WHERE delivery = ? ORDER BY number", delivery["seq"])
        assert [row["result"] for row in attempts] == ["unknown", "delivered"]
        assert [row["number"] for row in attempts] == [1, 2]
        assert {request.headers["webhook-id"] for request in receiver.requests} == {delivery["id"]}

"""What history finds, and what it takes to find it."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
from dashboard_store import StoreBuilder

from postroom.message import Address
from postroom.plan import Content
from postroom.store.history import COUNT_CAP, History
from postroom.store.search_index import index_next
from postroom.store.states import MessageState


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "postroom.db")


@pytest.fixture
def history(store: StoreBuilder) -> History:
    return History(store.path)


def found(history: History, **query: object) -> list[str]:
    return [row.id for row in history.messages(**query)]  # type: ignore[arg-type]


def test_newest_first_and_page_by_page(store: StoreBuilder, history: History) -> None:
    ids = [store.message(f"mail {number}") for number in range(7)]
    assert found(history) == ids[::-1]
    pages, before = [], None
    while rows := history.messages(limit=3, before=before):
        pages.append([row.id for row in rows])
        before = rows[-1].seq
        store.message("arrives while somebody pages")
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [id for page in pages for id in page] == ids[::-1]


@pytest.mark.parametrize(
    ("search", "hit"),
    [
        ("CRASH", True),
        ("crash report", True),
        ("report  crash", True),
        ("crash nothing", False),
        ("ada@example.org", True),
        ("lovelace", True),
        ("bugs@", True),
        ("app-42", True),
        ("100%", True),
        ("100_", True),
        ("%", False),
        ("_", False),
        ("\\", False),
        ("straße", True),
        ("STRASSE", True),
        ("GRÖSSE", True),
        ("größe", True),
        ("GRÖßE", True),
        ("gro\u0308ße", True),
        ("'; DROP TABLE messages --", False),
        ("crash\0", True),
        ("", True),
        ("a" * 100_000, False),
    ],
)
@pytest.mark.parametrize("indexed", [False, True])
def test_search(store: StoreBuilder, history: History, search: str, hit: bool, indexed: bool) -> None:
    wanted = store.message(
        "Crash report: 100% of Straße, Größe",
        sender=Address("Ada@Example.org", "Ada Lovelace"),
        recipient="bugs@example.com",
    )
    store.delivery(wanted, reference="APP-42")
    other = store.message("Lunch", sender=None, recipient="x@y.z")
    if indexed:
        assert index_next(store.db, 100) == 2
    assert (wanted in found(history, search=search)) is hit
    if search:
        assert other not in found(history, search=search)


def test_search_by_ids(store: StoreBuilder, history: History) -> None:
    first, second = store.message("one", received_at=1), store.message("two")
    delivery = store.delivery(second)
    assert found(history, search=first) == [first]
    assert found(history, search=second.upper()) == [second]
    assert found(history, search=delivery) == [second]
    assert set(found(history, search=first[:8])) >= {first}
    assert found(history, search="ffffffff-ffff") == []


def test_states(store: StoreBuilder, history: History) -> None:
    made = {state: store.message(state.value, state=state.value) for state in MessageState}
    routed = made[MessageState.ROUTED]
    store.delivery(routed)
    dead, retrying, pending, sending = (store.message(name) for name in ("dead", "retrying", "pending", "sending"))
    store.delivery(dead, "dead")
    store.delivery(dead, "dead", destination="hook")
    store.delivery(retrying, "retrying")
    store.delivery(pending, "pending")
    store.delivery(sending, "sending")
    for state in (MessageState.UNMATCHED, MessageState.HELD, MessageState.DROPPED, MessageState.DISCARDED):
        assert found(history, state=state.value) == [made[state]]
    assert len(found(history, state="routed")) == 5
    assert found(history, state="dead") == [dead]
    assert found(history, state="retrying") == [retrying]
    assert found(history, state="pending") == [sending, pending, retrying]
    assert found(history, state="dead", search="nothing") == []
    assert history.counts() == {
        "all": 9, "unmatched": 1, "held": 1, "dropped": 1, "discarded": 1, "dead": 1, "pending": 3, "retrying": 1
    }  # fmt: skip
    with pytest.raises(ValueError, match="'delivred' is no state"):
        history.messages(state="delivred")


def test_counts_stop_at_the_cap(store: StoreBuilder, history: History) -> None:
    store.message()
    store.db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO messages"
        " SELECT i, i, 1, '', '', '', '', '', '', 'held', '', 1, '', i, 0, 0, NULL, NULL, '', NULL, NULL,"
        " NULL FROM n",
        (COUNT_CAP + 500,),
    )
    counts = history.counts()
    assert counts["all"] == counts["held"] == COUNT_CAP + 1
    assert counts["dead"] == 0


def test_filters_use_their_indexes(store: StoreBuilder, history: History) -> None:
    seen: list[str] = []
    history._db.set_trace_callback(seen.append)
    for state in ("held", "dead", "pending", "retrying"):
        history.messages(state=state)
    history.counts()
    history._db.set_trace_callback(None)
    plans = "\n".join(
        row["detail"]
        for query in seen
        if query.startswith("SELECT")
        for row in store.db.execute("EXPLAIN QUERY PLAN " + query)
    )
    assert "messages_waiting" in plans
    assert "deliveries_dead" in plans
    assert "deliveries_open" in plans
    assert "SCAN deliveries\n" not in plans
    assert "deliveries_of_message" not in plans, "the counts walk all deliveries"


def test_a_page_costs_the_same_queries_whatever_is_on_it(store: StoreBuilder, history: History) -> None:
    def queries() -> int:
        seen: list[str] = []
        history._db.set_trace_callback(seen.append)
        for row in history.messages():
            assert len(row.deliveries) == 2
        history._db.set_trace_callback(None)
        return len(seen)

    numbers = set()
    for _ in range(3):
        for _ in range(5):
            id = store.message()
            store.delivery(id)
            store.delivery(id, destination="hook")
        numbers.add(queries())
    assert len(numbers) == 1


def test_a_message_whole(store: StoreBuilder, history: History) -> None:
    before = store.message("first")
    id = store.message(
        "second",
        conversation=store.seq(before),
        matched=("Crash reports", "Copy, to all"),
        files=(("a.pdf", b"x" * 2500),),
    )
    after = store.message("third", conversation=store.seq(before))
    store.message("another conversation")
    failed = (1000, 120, "failed", 503, "busy", "<html>")
    delivery = store.delivery(
        id,
        "retrying",
        attempts=(failed, (2000, None, "unknown", None, "time-out", None)),
        sends=Content("T", "B"),
        next_at=5,
    )
    store.delivery(id, destination="hook")
    store.step(delivery, "issue", "APP-1")
    store.event(id, "retry", detail="asked for")
    store.item(id, "jira", "APP-1", "https://jira.example/APP-1")
    detail = history.message(id)
    assert detail and detail.message
    assert detail.row.subject == detail.message.subject == "second"
    assert detail.row.matched == ("Crash reports", "Copy, to all")
    assert [row.subject for row in detail.conversation] == ["first", "third"]
    assert [row.id for row in detail.conversation] == [before, after]
    first, second = detail.deliveries
    assert [(each.number, each.result, each.status, each.took_ms) for each in first.attempts] == [
        (1, "failed", 503, 120),
        (2, "unknown", None, None),
    ]
    assert first.content == Content("T", "B")
    assert first.row.message == id
    assert first.steps[0].reference == "APP-1"
    assert second.attempts == () and second.content is None
    assert (detail.items[0].reference, detail.events[0].what, detail.stored) == ("APP-1", "retry", (0,))
    assert detail.payload_size == len(history.payload(id) or b"")
    decoded = msgspec.json.decode(msgspec.json.encode(detail))
    assert decoded["deliveries"][0]["row"]["state"] == "retrying"
    assert history.message("00000000-0000-7000-8000-000000000000") is None


def test_what_was_pruned_is_said_so(store: StoreBuilder, history: History) -> None:
    no_text = store.message(keep_content=False)
    detail = history.message(no_text)
    assert detail and detail.message is None and detail.payload_size is None
    assert history.payload(no_text) is None
    no_payload = store.message(payload=None, files=(("a", b"12"),))
    store.db.execute("DELETE FROM attachments")
    detail = history.message(no_payload)
    assert detail and detail.message and detail.payload_size is None and detail.stored == ()
    assert history.attachment(no_payload, 0) is None


def test_attachments_come_in_pieces(store: StoreBuilder, history: History) -> None:
    data = bytes(range(256)) * 20
    id = store.message(files=(("first", b""), ("second.bin", data)))
    assert store.seq(id)
    found = history.attachment(id, 1)
    assert found
    part, size, chunks = found
    pieces = list(chunks)
    assert (part.name, size, b"".join(pieces)) == ("second.bin", len(data), data)
    assert max(map(len, pieces)) == 1000
    empty = history.attachment(id, 0)
    assert empty and list(empty[2]) == []
    assert history.attachment(id, 2) is None
    assert history.attachment(id, -1) is None


def test_deliveries(store: StoreBuilder, history: History) -> None:
    id = store.message()
    ids = [store.delivery(id, state, destination=to) for state, to in (("dead", "a"), ("pending", "b"), ("dead", "b"))]
    assert [row.id for row in history.deliveries()] == ids[::-1]
    assert [row.id for row in history.deliveries(state="dead")] == [ids[2], ids[0]]
    assert [row.id for row in history.deliveries(state="pending", destination="b")] == [ids[1]]
    assert [row.id for row in history.deliveries(before=history.deliveries()[0].seq, limit=1)] == [ids[1]]
    delivery = history.delivery(ids[0])
    assert delivery and (delivery.message, delivery.destination) == (id, "a")
    assert history.delivery("nothing") is None
    with pytest.raises(ValueError, match="DeliveryState"):
        history.deliveries(state="daed")


def test_it_cannot_write_and_serves_threads(store: StoreBuilder, history: History) -> None:
    store.message()
    with pytest.raises(Exception, match="readonly"):
        history._db.execute("DELETE FROM messages")
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(history.messages()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1] * 8


def test_no_snapshot_is_left_open(store: StoreBuilder, history: History) -> None:
    id = store.message(files=(("a", b"y" * 5000),))
    history.messages()
    history.message(id)
    found = history.attachment(id, 0)
    assert found
    next(found[2])
    assert not history._db.in_transaction
    assert store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0

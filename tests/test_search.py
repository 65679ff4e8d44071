"""The language of the search, and that the index finds what a look at each message finds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.message import Address
from postroom.store import searching
from postroom.store.history import History
from postroom.store.query import KEYS, conditions, parse, pieces, with_condition, without_condition
from postroom.store.search_index import add_facets, index_next, indexed_upto, remove
from tests.dashboard_store import StoreBuilder

NOW = 1_795_000_000_000
DAY = 86_400_000


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "postroom.db")


@pytest.fixture
def history(store: StoreBuilder) -> History:
    return History(store.path)


def subjects(history: History, search: str, **more: object) -> list[str]:
    return [row.subject or "" for row in history.messages(search=search, **more)]  # type: ignore[arg-type]


def fill(store: StoreBuilder) -> None:
    files = (("invoice-2026.pdf", b"%PDF"),)
    fire = store.message(
        "Printer on fire", recipient="bugs@example.com", text="The tray is melting", matched=("Crash reports",)
    )
    store.delivery(fire, "dead", destination="jira")
    lunch = store.message(
        "Lunch", sender=Address("ada@example.org", "Ada Lovelace"), recipient="office+team@example.com"
    )
    store.delivery(lunch, "delivered", destination="forum")
    store.message("Your bill", recipient="billing@example.com", files=files, state="held")
    store.message("東京の天気", sender=None, recipient="bugs@example.com", text="晴れ")


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("pri", ["Printer on fire"]),
        ("fire printer", ["Printer on fire"]),
        ("melting", ["Printer on fire"]),
        ("PRINTER lunch", []),
        ("-printer", ["東京の天気", "Your bill", "Lunch"]),
        ("example -fire -bill", ["東京の天気", "Lunch"]),
        ("to:bugs", ["東京の天気", "Printer on fire"]),
        ("to:bugs@example.com fire", ["Printer on fire"]),
        ("to:team", ["Lunch"]),
        ("from:ada", ["Lunch"]),
        ("from:lovelace", ["Lunch"]),
        ("to:ada", []),
        ("subject:melting", []),
        ('rule:"Crash reports"', ["Printer on fire"]),
        ("rule:Crash", []),
        ("dest:forum", ["Lunch"]),
        ("-dest:forum has:attachment", ["Your bill"]),
        ("has:attachments", ["Your bill"]),
        ("invoice", ["Your bill"]),
        ("state:dead", ["Printer on fire"]),
        ("state:held", ["Your bill"]),
        ("state:dead lunch", []),
        ("-state:held bill", []),
        ("天気", ["東京の天気"]),
        ("晴", ["東京の天気"]),
        ("* OR AND NOT NEAR( \" '", []),
        ("http://nothing.example/", []),
    ],
)
def test_finds(store: StoreBuilder, history: History, search: str, expected: list[str], indexed: bool) -> None:
    fill(store)
    if indexed:
        assert index_next(store.db, 100) == 4
    assert subjects(history, search) == expected


def test_half_of_it_indexed(store: StoreBuilder, history: History) -> None:
    fill(store)
    assert index_next(store.db, 2) == 2
    assert subjects(history, "example") == ["東京の天気", "Your bill", "Lunch", "Printer on fire"]
    assert subjects(history, "to:bugs") == ["東京の天気", "Printer on fire"]


@pytest.mark.parametrize("indexed", [False, True])
def test_pages(store: StoreBuilder, history: History, indexed: bool) -> None:
    for number in range(25):
        store.message(f"mail {number}")
    if indexed:
        index_next(store.db, 10)
        index_next(store.db, 100)
    seen: list[str] = []
    before = None
    while rows := history.messages(search="mail", before=before, limit=7):
        seen += [row.subject or "" for row in rows]
        before = rows[-1].seq
    assert seen == [f"mail {number}" for number in reversed(range(25))]


@pytest.mark.parametrize("indexed", [0, 10, 110])
@pytest.mark.parametrize("search", ["mail", "", "to:bugs", "dest:jira"])
def test_pages_towards_the_newest(store: StoreBuilder, history: History, indexed: int, search: str) -> None:
    for number in range(25):
        store.delivery(store.message(f"mail {number}", recipient="bugs@example.com"))
    if indexed:
        index_next(store.db, indexed)
    seen: list[str] = []
    after = 0
    while rows := history.find(search, after=after, limit=7).rows:
        assert [row.seq for row in rows] == sorted((row.seq for row in rows), reverse=True)
        seen += [row.subject or "" for row in reversed(rows)]
        after = rows[0].seq
    assert seen == [f"mail {number}" for number in range(25)]


def test_times(store: StoreBuilder, history: History) -> None:
    for age in range(10, 0, -1):
        store.message(f"mail {age}", received_at=NOW - age * DAY)
    index_next(store.db, 100)
    day = "2026-11-1"  # NOW is 2026-11-18
    assert parse(f"before:{day}6", NOW, ()).before == 1_794_787_200_000
    assert parse("after:3d", NOW, ()).after == NOW - 3 * DAY
    assert subjects(history, f"after:{day}5 before:{day}7") == ["mail 2", "mail 3"]
    assert subjects(history, f"before:{day}0 mail") == ["mail 9", "mail 10"]
    assert subjects(history, "before:1970-01-01") == [] and subjects(history, "after:2999-01-01") == []


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ("state:ded", "state:ded is no state; known are dead, held"),
        ("before:yesterday", "before:yesterday is no time"),
        ("has:fun", "has:fun means nothing; write has:attachment"),
        ("to:", "to: wants a value"),
        ("a " * 20, "only the first 12 conditions count"),
    ],
)
def test_says_what_makes_no_sense(search: str, problem: str) -> None:
    query = parse(search, NOW, ("dead", "held"))
    assert len(query.problems) == 1 and problem in query.problems[0]


@pytest.mark.parametrize(
    ("text", "without", "condition", "then"),
    [
        ("crash", None, ("dest", "jira"), "crash dest:jira"),
        ("", None, ("rule", "Crash reports"), 'rule:"Crash reports"'),
        ("dest:forum crash", "dest", ("dest", "jira"), "crash dest:jira"),
        ('RULE:"A b" -dest:x rule:c', "rule", ("kind", "bounce"), "-dest:x kind:bounce"),
        ('"an open', None, ("dest", "jira"), '"an open" dest:jira'),
        ("x", None, ("rule", 'with "quotes"'), "x rule:'with quotes'"),
    ],
)
def test_conditions_are_added(text: str, without: str | None, condition: tuple[str, str], then: str) -> None:
    changed = with_condition(text, *condition, instead_of=without)
    assert changed == then.replace("'", '"')
    value = condition[1].replace('"', "")
    assert any((term.key, term.value) == (condition[0], value) for term in parse(changed, NOW, ()).terms)


def test_conditions_are_taken_away() -> None:
    text = 'crash -kind:bounce dest:jira "two words" before:3d'
    parts = conditions(text)
    assert parts == ["crash", "-kind:bounce", "dest:jira", '"two words"', "before:3d"]
    assert without_condition(text, 1) == 'crash dest:jira "two words" before:3d'
    assert [without_condition(each, 0) for each in parts] == [""] * 5


def test_a_colon_of_no_key_is_a_word(store: StoreBuilder, history: History) -> None:
    store.message("Re:fund for http://shop.example/x")
    for search in ("re:fund", "http://shop.example", '"re: fund"'):
        assert len(subjects(history, search)) == 1


def test_a_very_frequent_word_stands_for_itself(
    store: StoreBuilder, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        store.message(f"print {number}")
    store.message("printer")
    index_next(store.db, 100)
    assert len(subjects(history, "print")) == 7
    monkeypatch.setattr(searching, "_FREQUENT", 5)
    assert len(subjects(history, "print")) == 6 and subjects(history, "printe") == ["printer"]


def test_taken_out_and_added_to(store: StoreBuilder, history: History) -> None:
    fill(store)
    index_next(store.db, 100)
    (row,) = history.messages(search="printer")
    add_facets(store.db, row.seq, ["dest:later", "dest:later"])
    assert subjects(history, "dest:later") == ["Printer on fire"]
    remove(store.db, row.seq)
    assert subjects(history, "printer") == [] == subjects(history, "dest:later")
    assert subjects(history, "lunch") == ["Lunch"], "the others stay"
    assert indexed_upto(store.db) == 4


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([f"{key}:" for key in KEYS] + ['"', "-", "dead", "a1", " "])).map("".join)
)
def test_any_text_is_a_search(text: str) -> None:
    query = parse(text, NOW, ("dead",))
    assert all(term.key in ("", *KEYS) for term in query.terms)
    assert all(piece == piece.casefold() for piece in pieces(text))


def test_any_search_runs(store: StoreBuilder, history: History) -> None:
    fill(store)
    index_next(store.db, 2)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.sampled_from([*(f"{key}:" for key in KEYS), '"', "-", " ", "fire", "dead", "é", "'", "*", "0198"]),
            max_size=12,
        )
    )
    def run(parts: list[str]) -> None:
        assert len(history.find("".join(parts)).rows) <= 4

    run()

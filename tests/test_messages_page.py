"""The list of messages: search, filters, paging, export, acting on many."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from postroom import export
from postroom.store.history import FILTERS, Found, History
from postroom.store.query import KEYS, parse
from postroom.store.search_index import index_next
from postroom.web.messages import HELP, PAGE
from tests.dashboard_site import Site, token
from tests.dashboard_store import StoreBuilder
from tests.mail_house import MailHouse, form_of


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "postroom.db")


def ids(page: str) -> list[str]:
    return re.findall(r'class="subject" href="/messages/([^"]+)"', page)


def link(page: str, pattern: str) -> str:
    found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*{pattern}', page)
    assert found, pattern
    return found[1].replace("&amp;", "&").replace("&#34;", '"')


# Search and filters


def test_the_help_names_every_key() -> None:
    found = [term.key for example, _ in HELP for term in parse(example, 0, FILTERS).terms]
    bounds = [parse(example, 0, FILTERS) for example, _ in HELP]
    found += ["before"] * any(query.before is not None for query in bounds)
    found += ["after"] * any(query.after is not None for query in bounds)
    assert set(KEYS) <= set(found)
    assert not any(query.problems for query in bounds)


def test_examples_can_be_clicked(site: Site) -> None:
    site.store.message()
    page = site.client("vera").get("/messages").text
    assert 'href="/messages?q=kind:bounce"' in page or 'href="/messages?q=kind%3Abounce"' in page


def test_problems_of_a_search_are_hints(site: Site) -> None:
    shown = site.store.message("Printer")
    page = site.client("vera").get("/messages", query_string={"q": "printer state:<b> before:soon"}).text
    assert "state:&lt;b&gt; is no state; known are" in page and "before:soon is no time" in page
    assert ids(page) == [shown]


def test_a_search_that_was_cut_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store.message("Printer")
    row = site.store.path
    page = History(row).find("printer")
    monkeypatch.setattr(History, "find", lambda *_, **__: Found(page.rows, (), True))
    assert "Time was up before all messages were looked at" in site.client("vera").get("/messages?q=printer").text


def test_filters_add_to_the_search(site: Site) -> None:
    store = site.store
    one = store.message("Crash", matched=("Crash reports",), state="held")
    store.delivery(one, destination="jira")
    two = store.message("Crash", matched=("Crash reports",))
    store.delivery(two, destination="forum")
    index_next(store.db, 10)
    client = site.client("vera")
    page = client.get("/messages?q=crash").text
    assert ids(page) == [two, one]
    narrowed = link(page, "><bdi>jira</bdi>")
    page = client.get(narrowed).text
    assert ids(page) == [one]
    assert 'aria-label="Take away dest:jira"' in page
    assert ids(client.get(link(page, "><bdi>forum</bdi>")).text) == [two]
    by_rule = client.get(link(page, "><bdi>Crash reports</bdi>")).text
    assert ids(by_rule) == [one] and "Take away rule:&#34;Crash reports&#34;" in by_rule
    assert ids(client.get(link(by_rule, 'aria-label="Take away dest:jira"')).text) == [two, one]
    # A state stays when the search changes, and a search when the state does.
    page = client.get("/messages?q=crash&state=held").text
    assert "state=held" in link(page, "><bdi>jira</bdi>") and "q=crash" in link(page, ">All")


def test_pages_there_and_back(site: Site) -> None:
    made = [site.store.message(f"mail {number}") for number in range(PAGE * 2 + 7)][::-1]
    client = site.client("vera")
    first = client.get("/messages?q=mail").text
    second = client.get(link(first, 'rel="next"')).text
    third = client.get(link(second, 'rel="next"')).text
    assert [ids(first), ids(second), ids(third)] == [made[:PAGE], made[PAGE : 2 * PAGE], made[2 * PAGE :]]
    assert 'rel="next"' not in third and 'rel="prev"' not in first
    back = client.get(link(third, 'rel="prev"')).text
    assert ids(back) == ids(second)
    back = client.get(link(back, 'rel="prev"')).text
    assert ids(back)[:PAGE] == made[:PAGE]
    assert ids(client.get(f"/messages?after={site.store.seq(made[3])}").text) == made[:PAGE]
    for query in ("after=0", "after=-1", "after=99999999999999999999"):
        assert client.get(f"/messages?{query}").status_code == 400


def test_htmx_gets_the_part_that_changes(site: Site) -> None:
    shown = site.store.message("Printer")
    client = site.client("vera")
    typed = client.get("/messages?q=print", headers={"HX-Request": "true", "HX-Trigger": "q"})
    assert "<html" not in typed.text and ids(typed.text) == [shown]
    assert typed.headers["Vary"] == "HX-Request" or "HX-Request" in typed.headers["Vary"]
    assert "1 message found" in typed.text
    polled = client.get("/messages?q=print", headers={"HX-Request": "true", "HX-Trigger": "results"}).text
    assert 'hx-trigger="every 10s"' in polled and "1 message found" not in polled
    assert 'hx-trigger="every' not in client.get("/messages?before=999", headers={"HX-Request": "true"}).text
    restored = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in client.get("/messages?q=print", headers=restored).text


def test_a_viewer_chooses_nothing(site: Site) -> None:
    site.store.message()
    assert 'type="checkbox"' not in site.client("vera").get("/messages").text
    assert 'id="bulk"' in site.client("otto").get("/messages").text


# Export


def test_export(site: Site) -> None:
    store = site.store
    one = store.message(
        "=HYPERLINK(1)", state="held", matched=("A", "B"), reason="waits", received_at=1_795_000_000_012
    )
    store.delivery(one, "dead", destination="jira", reference="APP-1")
    two = store.message('größe, "x"\n', sender=None)
    client = site.client("vera")
    answer = client.get("/messages/export.csv")
    assert (
        answer.mimetype == "text/csv" and "attachment; filename=messages.csv" in answer.headers["Content-Disposition"]
    )
    rows = list(csv.reader(io.StringIO(answer.data.decode(), newline="")))
    assert tuple(rows[0]) == export.COLUMNS
    by_name = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert [row["id"] for row in by_name] == [two, one]
    assert by_name[0]["subject"] == 'größe, "x"\n'
    assert by_name[1]["subject"] == "'=HYPERLINK(1)"
    assert by_name[1]["rules"] == "A\nB" and by_name[1]["deliveries"] == "jira dead APP-1"
    assert by_name[1]["received_at"] == "2026-11-18T11:06:40.012Z"
    assert len(list(csv.reader(io.StringIO(client.get("/messages/export.csv?state=held").text)))) == 2
    answer = client.get("/messages/export.json?q=hyperlink")
    told = json.loads(answer.data)
    assert told["complete"] is True and [row["id"] for row in told["messages"]] == [one]
    assert told["messages"][0]["deliveries"][0]["reference"] == "APP-1"
    assert json.loads(client.get("/messages/export.json?q=nothing").data) == {"messages": [], "complete": True}
    assert client.get("/messages/export.csv?state=x").status_code == 400
    assert site.client().get("/messages/export.csv").status_code == 303


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", " =1", "\t=1", "\rx", "\n\n@x", "\uff1d1", "\u3000+1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert export.harmless(text) == f"'{text}"
    assert export.harmless(f"x{text}") == f"x{text}" and export.harmless("") == ""


def test_an_export_reads_page_by_page(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "postroom.db")
    made = [store.message(f"mail {number}") for number in range(25)]
    history = History(store.path)
    asked: list[int | None] = []

    def pages(before: int | None) -> Found:
        asked.append(before)
        return history.find("mail", before=before, limit=10)

    pieces = export.as_csv(pages)
    assert next(pieces).startswith(b"id,") and asked == []
    assert next(pieces).count(b"\r\n") == 10 and asked == [None]
    rest = b"".join(pieces)
    assert rest.count(b"\r\n") == 15
    assert [row["id"] for row in json.loads(b"".join(export.as_json(pages)))["messages"]] == made[::-1]


def test_an_export_that_was_cut_says_so(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "postroom.db")
    store.message()
    rows = History(store.path).find("").rows
    assert b"".join(export.as_csv(lambda _: Found(rows, (), True))).decode().endswith(f"\r\n{export.INCOMPLETE}\r\n")
    assert json.loads(b"".join(export.as_json(lambda _: Found([], (), True)))) == {"messages": [], "complete": False}


def test_the_columns_are_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "dashboard.md").read_text(encoding="utf-8")
    assert all(f"| `{column}` |" in page for column in export.COLUMNS)


# Many at once


@pytest.fixture
def house(tmp_path: Path) -> MailHouse:
    return MailHouse(tmp_path / "house")


def test_retry_of_many(house: MailHouse) -> None:
    crashes = [house.receive(f"crash {number}", recipient="bugs@example.com") for number in range(3)]
    for id in crashes:
        house.settle(id, "tracker", "dead", error="410 gone")
        house.settle(id, "chat", "delivered")
    otto = house.client("otto")
    preview = otto.post("/messages/bulk", act="retry", id=crashes[:2], q="crash")
    assert "Retry 2 deliveries?" in preview.text and "it is delivered; replay delivers it again" in preview.text
    assert set(house.states(crashes[0]).values()) == {"dead", "delivered"}
    answer = otto.submit(preview.text, "confirm")
    assert (answer.status_code, answer.location) == (303, "/messages?q=crash")
    assert "Retry: 2 of 2 done." in otto.get(answer.location)
    assert [house.states(id)["tracker"] for id in crashes] == ["retrying", "retrying", "dead"]
    assert house.events() == [("otto", "retry")] * 2
    # The same form again finds nothing left to do.
    again = otto.submit(preview.text, "confirm")
    assert again.status_code == 303 and house.events() == [("otto", "retry")] * 2


def test_all_that_a_search_finds(house: MailHouse) -> None:
    held = [house.receive(f"offer {number}", recipient="sales@example.com") for number in range(PAGE + 3)]
    other = house.receive("question", recipient="sales@example.com")
    unmatched = house.receive("offer too", recipient="nobody@example.com")
    otto = house.client("otto")
    preview = otto.post("/messages/bulk", act="discard", all="1", q="offer", state="held").text
    assert f"Discard {len(held)} messages?" in preview
    otto.submit(preview, "confirm")
    found = dict(house.db.execute("SELECT id, state FROM messages").fetchall())
    assert {found[id] for id in held} == {"discarded"}
    assert (found[other], found[unmatched]) == ("held", "unmatched")
    # Nothing asked for: everything is meant.
    assert "Discard 2 messages?" in otto.post("/messages/bulk", act="discard", all="1").text


def test_many_are_routed_again(house: MailHouse) -> None:
    id = house.receive("hello", recipient="press@example.com")
    had = house.receive("crash", recipient="bugs@example.com")
    house.change_rules("rules: [{name: Crash reports, when: always, then: [tracker: {title: x}, chat]}]")
    otto = house.client("otto")
    preview = otto.post("/messages/bulk", act="re-route", id=[id, had]).text
    assert "Re-route 1 message?" in preview and "it has had all that today" in preview and "would be routed" in preview
    otto.submit(preview, "confirm")
    assert house.states(id) == {"tracker": "pending", "chat": "pending"}
    house.settle(had, "chat", "delivered")
    again = otto.submit(preview, "again").text
    assert "Preview without what they had" in again
    # Rules that changed between the look and the press route nothing.
    house.change_rules("rules: []")
    other = house.client("otto")
    action, fields = form_of(again, "confirm")
    assert other.post(action, **{**fields, "csrf_token": token(other.ask("/messages"))}).status_code == 303
    assert "other rules are active than in the preview" in other.get("/messages")


def test_a_search_with_a_slip_does_nothing(house: MailHouse) -> None:
    house.receive("hello", recipient="sales@example.com")
    preview = house.client("otto").post("/messages/bulk", act="discard", all="1", q="state:hedl").text
    assert "nothing to do" in preview and "state:hedl is no state" in preview and 'id="confirm"' not in preview


def test_what_bulk_refuses(house: MailHouse) -> None:
    id = house.receive("hello", recipient="sales@example.com")
    otto = house.client("otto")
    assert otto.post("/messages/bulk", act="discard").location == "/messages"
    assert "Choose messages first" in otto.get("/messages")
    assert otto.post("/messages/bulk", act="erase", id=id).status_code == 400
    assert otto.post("/messages/bulk", act="discard", id=id, state="x").status_code == 400
    assert otto.post("/messages/bulk/confirm", act="discard", targets="a " * 1001).status_code == 400
    nothing = otto.post("/messages/bulk", act="discard", id="no-such-id").text
    assert "nothing to do" in nothing and "there is no such delivery or message" in nothing
    vera = house.client("vera")
    assert vera.post("/messages/bulk", act="discard", id=id).status_code == 403
    assert vera.post("/messages/bulk/confirm", act="discard", targets=id).status_code == 403
    assert otto.client.post("/messages/bulk/confirm", data={"act": "discard", "targets": id}).status_code == 400
    assert house.events() == []

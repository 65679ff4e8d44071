"""People, by the dashboard's pages and by commands: who may change whom, passwords, the audit log."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dashboard_site import HASHES, PASSWORD, Site, log_in, token
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from postroom.dashboard_config import Dashboard, User
from postroom.ids import now_ms
from postroom.store import audit, people
from postroom.store.people import Refused
from postroom.web import passwords
from tests.conftest import Start
from tests.instance import ROOT

LONG = "three words and one"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "postroom.db", Dashboard())
    for name, role in (("vera", "viewer"), ("otto", "operator"), ("edda", "editor")):
        made.writer.run(lambda db, name=name, role=role: people.create(db, name, HASHES[name], role, "the test", 1))
    return made


def press(client: FlaskClient, url: str, **fields: str) -> TestResponse:
    return client.post(url, data={"csrf_token": token(client.get("/account")), **fields})


def events(site: Site) -> list[tuple[str, str, str | None]]:
    rows = site.store.db.execute("SELECT who, what, detail FROM events WHERE who <> 'the test' ORDER BY seq")
    return [tuple(row) for row in rows if not row["what"].startswith("login")]


def roles(site: Site) -> dict[str, str]:
    return {name: role for name, (_, role) in site.history.users().items()}


def shown_once(answer: TestResponse) -> str:
    found = re.search(r'<code class="copy">([^<]+)</code>', answer.text)
    assert found
    return found[1]


# Who may


@pytest.mark.parametrize("name", ["vera", "otto"])
def test_only_editors_see_people_tokens_and_the_log(site: Site, name: str) -> None:
    client = site.client(name)
    for url in ("/people", "/tokens", "/audit", "/audit.csv"):
        assert client.get(url).status_code == 403
    for url, fields in (
        ("/people", {"name": "eve", "role": "editor"}), ("/people/vera/role", {"role": "editor"}),
        ("/people/edda/password", {}), ("/people/edda/remove", {"sure": "1"}), ("/people/edda/logout", {}),
        ("/tokens", {"name": "x", "role": "editor"}), ("/tokens/x/revoke", {}),
    ):  # fmt: skip
        assert press(client, url, **fields).status_code == 403, url
    assert roles(site) == {"vera": "viewer", "otto": "operator", "edda": "editor"}
    assert 'href="/people"' not in client.get("/account").text
    assert 'href="/people"' in site.client("edda").get("/account").text


def test_strangers_are_sent_to_the_login(site: Site) -> None:
    client = site.client()
    for url in ("/people", "/tokens", "/audit", "/audit.csv", "/account"):
        assert client.get(url).status_code == 303
    form = {"csrf_token": token(client.get("/login")), "name": "eve", "role": "editor"}
    assert client.post("/people", data=form).status_code == 303
    assert "eve" not in roles(site)


# Changing people


def test_somebody_is_added_with_a_generated_password(site: Site) -> None:
    editor = site.client("edda")
    answer = press(editor, "/people", name="kim", role="operator")
    assert answer.status_code == 200
    password = shown_once(answer)
    assert len(password) >= 18 and password not in editor.get("/people").text
    assert log_in(site.client(), "kim", password).status_code == 303
    assert roles(site)["kim"] == "operator"
    assert events(site) == [("edda", "add user", "kim: operator")]
    assert password not in str([tuple(row) for row in site.store.db.execute("SELECT * FROM users, events").fetchall()])


def test_somebody_is_added_with_a_given_password(site: Site) -> None:
    editor = site.client("edda")
    assert press(editor, "/people", name="kim@example.com", role="viewer", password=LONG).status_code == 303
    assert log_in(site.client(), "kim@example.com", LONG).status_code == 303
    assert "kim@example.com" in editor.get("/people").text


@pytest.mark.parametrize(
    ("name", "password", "sentence"),
    [
        ("kim", "eleven char", "at least 12 characters"),
        ("kim", "passwordpassword", "guessed first"),
        ("kimberly", "kimberlykimberly1", "guessed first"),
        ("kim", "aaaaaaaaaaaaaaaa", "guessed first"),
        ("kim", "x1y2z3" * 200, "at most 1000 characters"),
        ("vera", LONG, "There is somebody named vera already."),
        ("", LONG, "cannot be a name"),
        ("two words", LONG, "cannot be a name"),
        ("<b>", LONG, "cannot be a name"),
        ("vеra", LONG, "cannot be a name"),  # a Cyrillic letter
        ("x" * 65, LONG, "cannot be a name"),
        ("postroom", LONG, "cannot be a name"),
        ("somebody", LONG, "cannot be a name"),
    ],
)
def test_what_is_not_taken(site: Site, name: str, password: str, sentence: str) -> None:
    answer = press(site.client("edda"), "/people", name=name, role="viewer", password=password)
    assert answer.status_code == 422 and sentence in answer.text
    assert password not in answer.text and "<b>" not in answer.text.partition("<main")[2].replace("<bdi>", "")
    assert len(roles(site)) == 3 and not events(site)


def test_a_role_that_is_none(site: Site) -> None:
    editor = site.client("edda")
    assert press(editor, "/people", name="kim", role="king", password=LONG).status_code == 400
    assert press(editor, "/people/vera/role", role="king").status_code == 400


def test_a_role_counts_from_the_next_request_on(site: Site) -> None:
    editor, vera = site.client("edda"), site.client("vera")
    assert vera.get("/people").status_code == 403
    assert press(editor, "/people/vera/role", role="editor").status_code == 303
    assert vera.get("/people").status_code == 200
    assert press(editor, "/people/vera/role", role="editor").status_code == 422
    assert events(site) == [("edda", "set role", "vera: viewer to editor")]


def test_a_reset_ends_every_session(site: Site) -> None:
    editor, vera = site.client("edda"), site.client("vera")
    password = shown_once(press(editor, "/people/vera/password"))
    assert vera.get("/account").status_code == 303
    assert log_in(site.client(), "vera").status_code == 401
    assert log_in(site.client(), "vera", password).status_code == 303
    assert press(editor, "/people/vera/password", password="short").status_code == 422
    assert press(editor, "/people/vera/password", password=LONG).status_code == 303
    assert log_in(site.client(), "vera", LONG).status_code == 303
    assert [each[:2] for each in events(site)] == [("edda", "set password")] * 2


def test_who_is_removed_is_out_at_once(site: Site) -> None:
    editor, otto = site.client("edda"), site.client("otto")
    assert press(editor, "/people/otto/remove").status_code == 422, "the box was not ticked"
    assert otto.get("/account").status_code == 200
    assert press(editor, "/people/otto/remove", sure="1").status_code == 303
    assert otto.get("/account").status_code == 303 and log_in(site.client(), "otto").status_code == 401
    assert press(editor, "/people/otto/remove", sure="1").status_code == 422
    # A namesake who comes later inherits no session.
    press(editor, "/people", name="otto", role="operator", password=LONG)
    assert otto.get("/account").status_code == 303


def test_who_leaves_tokens_behind_is_told_of(site: Site) -> None:
    editor = site.client("edda")
    press(editor, "/people/vera/role", role="editor")
    press(site.client("vera"), "/tokens", name="nightly", role="viewer")
    press(editor, "/people/vera/remove", sure="1")
    assert "Tokens that vera made still work: nightly." in editor.get("/people").text


def test_nobody_locks_out_themselves_or_the_last_editor(site: Site) -> None:
    editor = site.client("edda")
    for url, fields in (
        ("/people/edda/role", {"role": "viewer"}),
        ("/people/edda/remove", {"sure": "1"}),
        ("/people/edda/password", {}),
    ):
        assert press(editor, url, **fields).status_code == 422, url
    press(editor, "/people/vera/role", role="editor")
    assert press(editor, "/people/edda/remove", sure="1").status_code == 422, "not even beside another editor"
    assert press(site.client("vera"), "/people/edda/role", role="viewer").status_code == 303
    assert roles(site) == {"vera": "editor", "otto": "operator", "edda": "viewer"}
    with pytest.raises(Refused, match="last editor"):
        site.writer.run(lambda db: people.remove(db, "vera", "root (command line)", now_ms()))
    with pytest.raises(Refused, match="last editor"):
        site.writer.run(lambda db: people.set_role(db, "vera", "operator", "root (command line)", now_ms()))


def test_an_editor_logs_somebody_out(site: Site) -> None:
    editor, vera, again = site.client("edda"), site.client("vera"), site.client("vera")
    assert "2 sessions" in editor.get("/people").text
    assert press(editor, "/people/vera/logout").status_code == 303
    assert vera.get("/account").status_code == again.get("/account").status_code == 303
    assert press(editor, "/people/vera/logout").status_code == 422
    assert events(site) == [("edda", "end sessions", "vera: 2")]


def test_where_config_names_people_nothing_is_changed(tmp_path: Path) -> None:
    named = {
        name: User(password_hash=HASHES[name], role=role) for name, role in (("edda", "editor"), ("vera", "viewer"))
    }
    site = Site(tmp_path / "postroom.db", Dashboard(users=named))
    editor, vera = site.client("edda"), site.client("vera")
    page = editor.get("/people").text
    assert 'id="named"' in page and "vera" in page and "Add somebody" not in page and "Reset" not in page
    for url, fields in (
        ("/people", {"name": "kim", "role": "viewer", "password": LONG}), ("/people/vera/role", {"role": "editor"}),
        ("/people/vera/password", {"password": LONG}), ("/people/vera/remove", {"sure": "1"}),
        ("/account/password", {"old": PASSWORD, "new": LONG, "again": LONG}),
    ):  # fmt: skip
        assert press(editor, url, **fields).status_code == 409, url
    assert site.history.users() == {} and vera.get("/account").status_code == 200
    assert "named in" in vera.get("/account").text
    assert press(editor, "/people/vera/logout").status_code == 303, "sessions are the store's"
    assert vera.get("/account").status_code == 303


# One's own account


def test_changing_ones_own_password(site: Site) -> None:
    here, there = site.client("vera"), site.client("vera")
    form = {"old": PASSWORD, "new": LONG, "again": LONG}
    for change, sentence in (
        ({"old": "wrong"}, "The old password is wrong."),
        ({"again": LONG + "!"}, "not the same both times"),
        ({"new": "short", "again": "short"}, "at least 12 characters"),
    ):
        answer = press(here, "/account/password", **{**form, **change})
        assert answer.status_code == 422 and sentence in answer.text
    assert there.get("/account").status_code == 200
    assert press(here, "/account/password", **form).status_code == 303
    assert here.get("/account").status_code == 200, "this session goes on"
    assert there.get("/account").status_code == 303, "all others end"
    assert log_in(site.client(), "vera").status_code == 401
    assert log_in(site.client(), "vera", LONG).status_code == 303
    assert events(site) == [("vera", "set password", "vera")]


def test_the_old_password_is_not_guessed_at_a_browser_left_open(site: Site) -> None:
    client = site.client("vera")
    form = {"old": "wrong", "new": LONG, "again": LONG}
    answers = [press(client, "/account/password", **form) for _ in range(11)]
    assert [each.status_code for each in answers] == [422] * 10 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 31
    assert press(client, "/account/password", **{**form, "old": PASSWORD}).status_code == 429
    assert log_in(site.client(), "vera").status_code == 303, "and nobody is locked out by it"


# The audit log


def test_the_log_tells_who_did_what(site: Site) -> None:
    id = site.store.message("Printer")
    delivery = site.store.delivery(id, "dead")
    editor = site.client("edda")
    press(editor, "/people/vera/role", role="operator")
    db = site.store.db
    db.execute("INSERT INTO events (at, who, what, message, delivery) VALUES (5, 'otto', 'retry', 1, 1)")
    db.execute("INSERT INTO events (at, who, what, message) VALUES (6, 'ingress socketlabs', 'absorbed', 1)")
    db.execute("INSERT INTO events (at, who, what, detail) VALUES (7, 'postroom', 'circuit opened', 'jira')")
    page = editor.get("/audit").text
    for text in ("vera: viewer to operator", "from 127.0.0.1, Werkzeug/", f"/messages/{id}#delivery-{delivery}"):
        assert text in page
    assert "absorbed" not in page and "circuit opened" not in page
    only = editor.get("/audit?who=otto").text
    assert f"#delivery-{delivery}" in only and "vera: viewer" not in only
    only = editor.get("/audit?what=set role").text
    assert "vera: viewer" in only and f"#delivery-{delivery}" not in only
    assert "vera: viewer" in editor.get("/audit?who=edda&what=set role").text
    assert "Nothing is like that" in editor.get("/audit?who=otto&what=set role").text
    for before in ("0", "-1", "9" * 30):
        assert editor.get(f"/audit?before={before}").status_code == 400


def test_the_log_in_pages(site: Site) -> None:
    editor = site.client("edda")
    for number in range(120):
        site.writer.run(lambda db, number=number: audit.note(db, "otto", "pause", f"number {number}.", number))
    seen: list[str] = []
    url = "/audit?who=otto"
    while url:
        page = editor.get(url).text
        seen += re.findall(r"number (\d+)\.", page)
        older = re.search(r'href="([^"]+)" rel="next"', page)
        url = older[1].replace("&amp;", "&") if older else ""
    assert seen == [str(number) for number in reversed(range(120))]


def test_the_log_as_csv(site: Site) -> None:
    for number in range(2100):
        site.store.db.execute(
            "INSERT INTO events (at, who, what, detail) VALUES (?, 'otto', 'pause', ?)", (number, f'=1+{number},"x"\ny')
        )
    answer = site.client("edda").get("/audit.csv?who=otto")
    assert answer.mimetype == "text/csv" and "attachment" in answer.headers["Content-Disposition"]
    head, *rows = csv.reader(io.StringIO(answer.get_data(as_text=True), newline=""))
    assert head == ["seq", "at", "who", "what", "detail", "message", "delivery"]
    assert len(rows) == 2100 and {len(row) for row in rows} == {7}
    assert rows[0][2:5] == ["otto", "pause", '\'=1+2099,"x"\ny'], "no spreadsheet takes it for a formula"
    assert rows[-1][1] == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("filters", [{}, {"who": "otto"}, {"what": "pause"}, {"who": "otto", "what": "pause"}])
def test_a_page_of_the_log_looks_at_no_more_than_its_rows(site: Site, filters: dict[str, str]) -> None:
    """Whatever else there is: documents that came again, what other people did."""
    db = site.store.db
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO events (at, who, what) VALUES (1, ?, ?)",
        [("otto", "pause")] * 60 + [("ingress socketlabs", "absorbed")] * 20_000 + [("edda", "retry")] * 20_000
        + [("otto", "retry")] * 20_000,
    )  # fmt: skip
    db.execute("COMMIT")
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    db.set_progress_handler(count, 100)
    found = audit.entries(db, **filters, limit=50)
    assert len(found) == 50
    assert set(audit.kinds(db)) == {"add user", "pause", "retry"}
    assert {"otto", "edda"} <= set(audit.actors(db))
    db.set_progress_handler(None, 0)
    assert steps[0] < 100, "hundreds of instructions each"


# Commands


def test_the_commands(make_instance: Start) -> None:
    house = make_instance()

    def command(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "app.py"), *words, "--config", str(house.config_file)],
            input=typed, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    made = command("user", "add", "ada", "--role", "editor", "--generate", "--json")
    assert made.returncode == 0 and '"role": "editor"' in made.stdout, made.stderr
    found = re.search(r'"password": "([^"]+)"', made.stdout)
    assert found
    assert command("user", "add", "bob", typed="short\n").returncode == 1
    assert command("user", "add", "bob").returncode == 2
    assert command("user", "add", "bob", typed=f"{LONG}\n").stdout == "bob is viewer now\n"
    assert command("user", "add", "bob", typed=f"{LONG}\n").returncode == 1
    assert '"name": "bob"' in command("user", "list", "--json").stdout
    refused = command("user", "remove", "ada")
    assert refused.returncode == 1 and "last editor" in refused.stderr
    house.start()
    assert "Login:" not in house.log(), "there is somebody already"
    (row,) = house.rows("SELECT password_hash FROM users WHERE name = 'ada'")
    assert passwords.is_right(row[0], found[1])
    assert command("user", "passwd", "bob", typed="another long one\n").returncode == 0
    assert command("user", "passwd", "eve", "--generate").returncode == 1
    assert command("user", "remove", "bob").stdout == "bob is removed\n"
    whats = [row["what"] for row in house.rows("SELECT what FROM events WHERE what LIKE '%user%' OR what LIKE 'set%'")]
    assert whats == ["add user", "add user", "set password", "remove user"]


def test_the_commands_leave_config_alone(make_instance: Start) -> None:
    house = make_instance(dashboard={"users": {"ada": {"password_hash": "x", "role": "editor"}}})
    refused = house.command("user", "add", "bob", "--generate")
    assert refused.returncode == 1 and "change them there" in refused.stderr
    listed = house.command("user", "list")
    assert listed.returncode == 0 and listed.stdout.startswith("ada ") and "editor" in listed.stdout

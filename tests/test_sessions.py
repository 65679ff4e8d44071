"""Sessions in the store, failed logins on record, login by a proxy in front, headers by the way a request came."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import requests
from dashboard_site import HASHES, Site, log_in, post, token
from flask.testing import FlaskClient

from postroom.dashboard_config import Dashboard, ProxyLogin
from postroom.store import people
from postroom.web import auth, sessions
from postroom.web.failed_logins import FailedLogins
from postroom.web.people import ROLES
from postroom.web.sessions import device
from tests.conftest import Start
from tests.instance import until

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "postroom.db")


def rows(site: Site, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in site.store.db.execute(query)]


def inside(client: FlaskClient) -> bool:
    return client.get("/account").status_code == 200


# Sessions


def test_a_login_is_a_session_in_the_store(site: Site) -> None:
    client = site.app.test_client()
    client.environ_base.update(REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT=FIREFOX)
    assert log_in(client, "vera").status_code == 303
    (row,) = rows(site, "SELECT name, address, agent, created_at - seen_at FROM sessions")
    assert row == ("vera", "192.0.2.7", "Firefox on Linux", 0)
    with client.session_transaction() as cookie:
        id = cookie["id"]
    (kept,) = rows(site, "SELECT * FROM sessions")
    assert id not in str(kept) and id.encode() not in b"".join(each for each in kept if isinstance(each, bytes))
    page = client.get("/account").text
    assert "Firefox on Linux" in page and "this one" in page and "192.0.2.7" in page
    assert rows(site, "SELECT who, what, detail FROM events") == [("vera", "login", "from 192.0.2.7, Firefox on Linux")]


def test_each_login_has_an_id_of_its_own(site: Site) -> None:
    client = site.client("vera")
    with client.session_transaction() as cookie:
        first = cookie["id"]
    post(client, "/logout", "/account")
    assert log_in(client, "vera").status_code == 303
    with client.session_transaction() as cookie:
        assert cookie["id"] != first
        cookie["id"] = first
    assert not inside(client), "what was logged out stays so, though the cookie is signed"


def test_logging_out_one_and_all_others(site: Site) -> None:
    here, there, yonder, otto = (site.client(name) for name in ("vera", "vera", "vera", "otto"))
    seqs = [seq for (seq,) in rows(site, "SELECT seq FROM sessions WHERE name = 'vera' ORDER BY seq")]
    (foreign,) = rows(site, "SELECT seq FROM sessions WHERE name = 'otto'")
    assert post(here, f"/account/sessions/{seqs[1]}/end", "/account").status_code == 303
    assert not inside(there) and inside(yonder) and inside(here)
    post(here, f"/account/sessions/{foreign[0]}/end", "/account")
    post(here, f"/account/sessions/{10**30}/end", "/account")
    assert inside(otto), "nobody ends the sessions of others"
    assert post(here, "/account/sessions/end", "/account").status_code == 303
    assert inside(here) and not inside(yonder) and inside(otto)
    assert rows(site, "SELECT detail FROM events WHERE what = 'end sessions'") == [("vera: 1",), ("vera: 1",)]


def test_what_is_over_is_forgotten(site: Site) -> None:
    for name in ("vera", "otto"):
        site.client(name)
    site.store.db.execute("UPDATE sessions SET created_at = 1 WHERE name = 'vera'")
    site.client("otto")
    assert rows(site, "SELECT name, count(*) FROM sessions GROUP BY name") == [("otto", 2)]


def test_nobody_fills_the_table(site: Site) -> None:
    book = sessions.Book(site.history, site.writer)
    ids = [book.begin("vera", "mark", "192.0.2.7", "curl") for _ in range(60)]
    assert len(book.of("vera")) == 50
    assert book.find(ids[0], "") is None and book.find(ids[-1], "") is not None


def test_that_it_was_used_is_written_down_now_and_then(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = site.client("vera")
    writes: list[object] = []
    run = site.writer.run
    monkeypatch.setattr(site.writer, "run", lambda work: (writes.append(work), run(work))[1])
    for _ in range(5):
        assert inside(client)
    assert not writes
    site.store.db.execute("UPDATE sessions SET seen_at = seen_at - ?", (sessions.SEEN_EVERY_MS,))
    client.environ_base["REMOTE_ADDR"] = "192.0.2.99"
    for _ in range(5):
        assert inside(client)
    assert len(writes) == 1
    assert rows(site, "SELECT address FROM sessions") == [("192.0.2.99",)]


def test_a_full_disk_keeps_nobody_from_looking(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = site.client("vera")
    site.store.db.execute("UPDATE sessions SET seen_at = 0")

    def full(work: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(site.writer, "run", full)
    assert inside(client)


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36 "
         "Edg/142.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18 "
         "Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Mobile Safari/537.36",
         "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 CriOS/142.0 Mobile Safari/604.1",
         "Chrome on iPhone"),
        ("curl/8.14.1", "curl"),
        ("my-script/1 <script>", "my-script/1"),
        ("", "an unknown program"),
        ("<b>" + "x" * 5000, "an unknown program"),
        ("x" * 5000, "x" * 40),
    ],
)  # fmt: skip
def test_browsers_are_told_as_people_know_them(agent: str, shown: str) -> None:
    assert device(agent) == shown


# Failed logins


def test_failed_logins_are_one_event_a_minute(site: Site) -> None:
    now = [1_000_000]
    failed = FailedLogins(site.writer, lambda: now[0])
    for name in ("vera", "vera", "hunter2-my-secret", "root"):
        failed.note(name, "192.0.2.7", {"vera"})
    for _ in range(1000):
        failed.note("vera", "2001:db8::/64", {"vera"}, refused=True)
    assert rows(site, "SELECT who, what, detail FROM events") == [
        ("somebody", "login failed", "4 wrong, at least 512 more refused unheard; as vera, hun…, roo…;"
         " from 192.0.2.7, 2001:db8::/64")
    ]  # fmt: skip
    now[0] += 60_000
    for number in range(20):
        failed.note(f"name{number}", f"192.0.2.{number}", {"vera", *(f"name{each}" for each in range(20))})
    second = rows(site, "SELECT detail FROM events ORDER BY seq")[1][0]
    assert second.startswith("20 wrong; as name0, name1, name2, name3, name4 and others; from 192.0.2.0,")
    assert len(rows(site, "SELECT 1 FROM events")) == 2


def test_a_failed_login_is_on_record_without_the_password(site: Site) -> None:
    log_in(site.client(), "vera", "not-the-password")
    log_in(site.client(), "not-a-name", "not-the-password")
    log_in(site.client(), "vera")
    (detail,) = [row[0] for row in rows(site, "SELECT detail FROM events WHERE what = 'login failed'")]
    assert detail == "2 wrong; as vera, not…; from 127.0.0.1"


def test_guessing_elsewhere_does_not_keep_out_who_is_known(site: Site) -> None:
    """Somebody who guesses the password of a name blocks it for strangers, but not where its owner is logged in."""
    home = site.app.test_client()
    home.environ_base["REMOTE_ADDR"] = "198.51.100.4"
    assert log_in(home, "vera").status_code == 303
    attacker = site.client()
    for number in range(12):
        attacker.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        last = log_in(attacker, "vera", "wrong").status_code
    assert last == 429
    stranger = site.app.test_client()
    stranger.environ_base["REMOTE_ADDR"] = "203.0.113.9"
    assert log_in(stranger, "vera").status_code == 429
    another = site.app.test_client()
    another.environ_base["REMOTE_ADDR"] = "198.51.100.4"
    assert log_in(another, "vera").status_code == 303


# Headers


def test_headers_by_the_way_the_request_came(site: Site) -> None:
    client = site.client("edda")
    for url in ("/account", "/people", "/tokens", "/audit", "/login", "/audit.csv", "/static/style.css"):
        plain = client.get(url).headers
        assert "Strict-Transport-Security" not in plain
        assert "camera=()" in plain["Permissions-Policy"] and "connect-src 'self'" in plain["Content-Security-Policy"]
        assert (plain["Cache-Control"] == "no-store") is not url.startswith("/static")
        secure = client.get(url, base_url="https://mail.example.com").headers
        assert secure["Strict-Transport-Security"] == "max-age=31536000"


def test_pages_around_people_need_no_inline_script_or_style(site: Site) -> None:
    client = site.client("edda")
    for url in ("/account", "/people", "/tokens", "/audit"):
        assert not re.search(r"<style|<script(?! src=)|\sstyle=|\son\w+=", client.get(url).text), url


def test_large_forms_are_for_people_who_are_in(site: Site) -> None:
    client = site.client()
    form = {"csrf_token": token(client.get("/login")), "name": "x" * 100_000}
    for url in ("/login", "/people", "/account/password"):
        assert client.post(url, data=form).status_code == 413, url
    assert log_in(client, "edda").status_code == 303
    form["csrf_token"] = token(client.get("/account"))
    assert client.post("/people", data=form).status_code in (200, 422)


# Login by a proxy


def behind(tmp_path: Path, **settings: Any) -> Site:
    site = Site(tmp_path / "postroom.db", Dashboard(proxy_login=ProxyLogin(**{"from_": ["10.0.0.0/8"], **settings})))
    site.writer.run(lambda db: people.create(db, "edda", HASHES["edda"], "editor", "the test", 1))
    return site


def asked(site: Site, peer: str = "10.1.2.3", **headers: str) -> FlaskClient:
    client = site.app.test_client()
    client.environ_base["REMOTE_ADDR"] = peer
    for name, value in headers.items():
        client.environ_base[f"HTTP_{name.upper()}"] = value
    return client


def role_of(client: FlaskClient) -> str:
    answer = client.get("/account")
    found = re.search(r'class="badge role-(\w+)"', answer.text)
    return found[1] if answer.status_code == 200 and found else ""


def test_who_a_listed_proxy_names_is_in(tmp_path: Path) -> None:
    site = behind(tmp_path)
    kim = asked(site, remote_user="kim@example.com")
    assert role_of(kim) == "viewer", "the default"
    page = kim.get("/account").text
    assert "kim@example.com" in page and "Log out</button>" not in page and "password is not kept here" in page
    assert kim.get("/people").status_code == 403
    assert role_of(asked(site, remote_user="edda")) == "editor", "that of the stored user"
    assert rows(site, "SELECT who, detail FROM events WHERE what = 'login' ORDER BY seq") == [
        ("kim@example.com", "from 10.1.2.3, by the word of the proxy"),
        ("edda", "from 10.1.2.3, by the word of the proxy"),
    ], "once, not at each request"
    assert 'id="proxy"' in asked(site, remote_user="edda").get("/people").text
    assert kim.get("/login").status_code == 303
    form = {"csrf_token": token(asked(site, remote_user="edda").get("/people")), "name": "x", "role": "viewer"}
    assert asked(site, remote_user="edda").post("/people", data=form).status_code == 400, "forms need their token still"


@pytest.mark.parametrize("peer", ["192.0.2.7", "127.0.0.1", "::1", "", "10.1.2.3.4", "::ffff:192.0.2.7"])
def test_the_header_of_anybody_else_is_as_if_it_were_not_there(tmp_path: Path, peer: str) -> None:
    site = behind(tmp_path)
    client = asked(site, peer, remote_user="edda", x_forwarded_for="10.1.2.3", x_real_ip="10.1.2.3")
    assert client.get("/account").status_code == 303
    assert not rows(site, "SELECT 1 FROM events WHERE what = 'login'")
    assert log_in(client, "edda").status_code == 303, "by name and password, as without"
    assert role_of(client) == "editor"


def test_mapped_addresses_are_those_they_map(tmp_path: Path) -> None:
    assert role_of(asked(behind(tmp_path), "::ffff:10.1.2.3", remote_user="kim")) == "viewer"


@pytest.mark.parametrize(
    "name", ["", " ", "a,b", "edda,eve", "<b>", "two words", "x" * 65, "postroom", "somebody", "é"]
)
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    assert asked(behind(tmp_path), remote_user=name).get("/account").status_code == 303


def test_without_the_header_a_proxy_is_no_better_than_others(tmp_path: Path) -> None:
    client = asked(behind(tmp_path))
    assert client.get("/account").status_code == 303
    assert log_in(client, "edda").status_code == 303 and role_of(client) == "editor"


def test_only_those_with_a_role(tmp_path: Path) -> None:
    site = behind(tmp_path, role="none")
    assert asked(site, remote_user="kim").get("/account").status_code == 303
    assert role_of(asked(site, remote_user="edda")) == "editor"


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        ("postroom-operator", "operator"),
        ("staff, Operator ,x", "operator"),
        ("viewer,postroom-editor", "editor"),
        ("editors,postroom-,admin", "viewer"),
        ("", "viewer"),
    ],
)
def test_roles_by_groups(tmp_path: Path, groups: str, role: str) -> None:
    site = behind(tmp_path, roles_header="Remote-Groups")
    assert role_of(asked(site, remote_user="kim", remote_groups=groups)) == role


def test_groups_go_before_the_store(tmp_path: Path) -> None:
    site = behind(tmp_path, roles_header="Remote-Groups")
    assert role_of(asked(site, remote_user="edda", remote_groups="viewer")) == "viewer"
    assert role_of(asked(site, remote_user="edda", remote_groups="staff")) == "editor"


def test_another_header(tmp_path: Path) -> None:
    site = behind(tmp_path, header="X-Forwarded-User")
    assert role_of(asked(site, x_forwarded_user="kim")) == "viewer"
    assert not role_of(asked(site, remote_user="kim"))


def test_the_peer_counts_and_not_what_it_forwards(start_instance: Start) -> None:
    """A whole instance behind a trusted proxy on loopback: clients' addresses are by its word, the login by its own."""
    for listed, let_in in (("127.0.0.1/32", True), ("192.0.2.0/24", False)):
        house = start_instance(
            server={"trusted_proxies": 1}, dashboard={"proxy_login": {"from": [listed], "role": "editor"}}
        )
        headers = {"Remote-User": "kim", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
        answer = requests.get(
            f"http://127.0.0.1:{house.port}/account", headers=headers, timeout=10, allow_redirects=False
        )
        assert answer.status_code == (200 if let_in else 303)
        assert answer.headers["Strict-Transport-Security"]
        if let_in:
            until(lambda house=house: house.rows("SELECT 1 FROM events WHERE who = 'kim'"), "the login is on record")
            (row,) = house.rows("SELECT detail FROM events WHERE who = 'kim'")
            assert row["detail"] == "from 192.0.2.7, by the word of the proxy"


def test_roles_are_told_by_one_list() -> None:
    assert tuple(ROLES) == auth.ROLES

"""Who gets in, and what for: login, sessions, roles, forms, headers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dashboard_site import HASHES, NOBODY, PASSWORD, Site, log_in, post, token

from postroom.store import sessions as stored_sessions
from postroom.web import auth, passwords
from postroom.web.brake import Brake


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "postroom.db")


def test_every_page_needs_a_login(site: Site) -> None:
    id = site.store.message("Secret subject", files=(("a", b"1"),))
    delivery = site.store.delivery(id, "dead")
    client = site.client()
    for rule in site.app.url_map.iter_rules():
        if not rule.endpoint.startswith("dashboard."):
            continue
        url = rule.rule.replace("<uuid:id>", delivery if "deliveries" in rule.rule else id).replace(
            "<int:position>", "0"
        )
        url = re.sub(r'<any\("(\w+)".*?\):act>', r"\1", url)
        if "POST" in (rule.methods or ()):
            answer = client.post(url, data={"csrf_token": token(client.get("/login"))})
        else:
            answer = client.get(url)
        assert answer.status_code == 303, url
        assert answer.location.startswith("/login"), url
        assert "Secret" not in answer.text
    assert site.acted == []


def test_login_and_logout(site: Site) -> None:
    client = site.client()
    assert client.get("/messages?state=held&q=a%26b").location == "/login?next=/messages?state%3Dheld%26q%3Da%2526b"
    answer = log_in(client, "vera", next="/messages?state=held")
    assert (answer.status_code, answer.location) == (303, "/messages?state=held")
    page = client.get("/messages")
    assert page.status_code == 200
    assert "vera" in page.text
    assert client.get("/login").location == "/"
    assert post(client, "/logout").status_code == 303
    assert client.get("/messages").status_code == 303


def test_the_cookie(site: Site) -> None:
    plain = log_in(site.client(), "vera").headers["Set-Cookie"]
    assert plain.startswith("postroom_session=")
    for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Expires="):
        assert part in plain
    assert "Secure" not in plain
    client = site.app.test_client()
    https = {"base_url": "https://mail.example.com", "headers": {"Referer": "https://mail.example.com/login"}}
    form = {"csrf_token": token(client.get("/login", **https)), "name": "vera", "password": PASSWORD}
    assert "Secure" in client.post("/login", data=form, **https).headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("name", "password"), [("vera", "wrong"), ("nobody", PASSWORD), ("", ""), ("vera", "x" * 2000), ("VERA", PASSWORD)]
)
def test_wrong_name_or_password(site: Site, name: str, password: str) -> None:
    client = site.client()
    answer = log_in(client, name, password)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert client.get("/messages").status_code == 303


def test_hashes_are_scrypt(site: Site) -> None:
    site.users["vera"] = auth.User(passwords.hash_password("new one"))
    assert site.users["vera"].password_hash.startswith("scrypt:")
    assert log_in(site.client(), "vera", "new one").status_code == 303


def test_a_mistyped_hash_lets_nobody_in(site: Site) -> None:
    site.users["vera"] = auth.User("plain text", "viewer")
    assert log_in(site.client(), "vera", "plain text").status_code == 401


def test_a_session_ends_with_password_user_and_time(site: Site) -> None:
    clients = [site.client("vera") for _ in range(3)]
    site.users["vera"] = auth.User(passwords.hash_password("another"), "viewer")
    assert clients[0].get("/messages").status_code == 303
    site.users["vera"] = auth.User(HASHES["vera"], "viewer")
    assert clients[0].get("/messages").status_code == 200
    del site.users["vera"]
    assert clients[1].get("/messages").status_code == 303
    site.users["vera"] = auth.User(HASHES["vera"], "viewer")
    assert clients[2].get("/messages").status_code == 200
    site.store.db.execute("UPDATE sessions SET created_at = created_at - ?", (stored_sessions.LIFETIME_MS,))
    assert clients[2].get("/messages").status_code == 303


def test_the_password_hash_is_not_in_the_cookie(site: Site) -> None:
    client = site.client("vera")
    with client.session_transaction() as session:
        assert HASHES["vera"][-20:] not in str(dict(session))


def test_too_many_attempts_on_one_name(site: Site) -> None:
    client = site.client()
    answers = [log_in(client, "vera", "wrong").status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
    answer = log_in(client, "vera")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 31
    assert "Too many attempts" in answer.text
    assert client.get("/messages").status_code == 303
    assert log_in(site.client(), "otto").status_code == 303


def test_too_many_attempts_from_one_address(site: Site) -> None:
    client = site.client()
    answers = [log_in(client, f"name{number}", "wrong").status_code for number in range(21)]
    assert answers == [401] * 20 + [429]
    assert log_in(client, "vera").status_code == 429
    elsewhere = site.app.test_client()
    elsewhere.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    assert log_in(elsewhere, "vera").status_code == 303


def test_the_brake_lets_go_and_stays_small() -> None:
    now = [0.0]
    brake = Brake(2, 10, lambda: now[0])
    assert [brake.take("a") for _ in range(3)] == [0, 0, 10]
    now[0] = 9
    assert brake.take("a") == pytest.approx(1)
    now[0] = 10
    assert [brake.take("a"), brake.take("a")] == [0, 20], "the pauses grow"
    brake.give_back("a")
    assert brake.take("a") == 0
    for _ in range(40):
        now[0] += 900
        assert brake.take("a") == 0, "up to a quarter of an hour"
    now[0] += 3601
    assert [brake.take("a") for _ in range(3)] == [0, 0, 10], "and what rested is forgotten"
    for number in range(25_000):
        brake.take(str(number))
    assert len(brake._used) <= 10_000
    assert brake.take("a") > 0


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "\\/x",
        "x",
    ],
)
def test_next_stays_here(site: Site, target: str) -> None:
    answer = log_in(site.client(), "vera", next=target)
    assert (answer.status_code, answer.location) == (303, "/")
    assert site.client("vera").get("/login", query_string={"next": target}).location == "/"


def test_posts_without_token_are_refused(site: Site) -> None:
    id = site.store.message()
    delivery = site.store.delivery(id, "dead")
    client = site.client("otto")
    for url in ("/login", "/logout", f"/deliveries/{delivery}/retry"):
        answer = client.post(url, data={"name": "otto", "password": PASSWORD})
        assert answer.status_code == 400
        assert "came from another site" in answer.text
    assert site.acted == []
    assert client.get("/messages").status_code == 200
    assert client.post("/inbound/socketlabs", json={}).text == "the key"


def test_forms_are_bounded(site: Site) -> None:
    client = site.client()
    answer = client.post("/login", data={"csrf_token": token(client.get("/login")), "name": "x" * 100_000})
    assert answer.status_code == 413


def test_headers(site: Site) -> None:
    id = site.store.message()
    client = site.client("vera")
    for url in ("/messages", "/login", f"/messages/{id}", f"/messages/{NOBODY}", "/nowhere"):
        headers = client.get(url).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none';")
        assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
    assert client.get("/static/style.css").headers["Cache-Control"] != "no-store"


def test_pages_need_no_inline_script_or_style(site: Site) -> None:
    id = site.store.message()
    client = site.client("otto")
    for url in ("/messages", f"/messages/{id}"):
        page = re.sub(r'<script src="/static/[\w/.]+" defer></script>', "", client.get(url).text)
        assert not re.search(r"<style|<script|\sstyle=|\son\w+=", page)

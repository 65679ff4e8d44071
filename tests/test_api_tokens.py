"""Keys of programs: how they are made, shown once, checked, revoked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dashboard_site import Site, post, token
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from postroom.store import tokens as stored
from postroom.web import tokens
from tests.conftest import Start


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "postroom.db")


def make(client: FlaskClient, **fields: str) -> TestResponse:
    form = {"csrf_token": token(client.get("/tokens")), "name": "ci", "role": "viewer", "days": "0", **fields}
    return client.post("/tokens", data=form)


def key_of(answer: TestResponse) -> str:
    found = re.search(r'<code class="copy">([^<]+)</code>', answer.text)
    assert answer.status_code == 200 and found
    return found[1]


def test_a_key_is_shown_once_and_kept_as_its_hash(site: Site) -> None:
    editor = site.client("edda")
    key = key_of(make(editor, role="operator"))
    assert re.fullmatch(r"prt_[\w-]{43}", key)
    assert key not in editor.get("/tokens").text
    (row,) = site.store.db.execute("SELECT * FROM tokens").fetchall()
    assert row["hash"] == tokens.hash_of(key) and key not in str(tuple(row))
    event = site.store.db.execute("SELECT who, what, detail FROM events WHERE what LIKE '%token'").fetchone()
    assert tuple(event) == ("edda", "add token", "ci: operator")


def test_who_it_is_that_shows_a_key(site: Site) -> None:
    key = tokens.make(site.writer, "ci", "operator", None, "edda")
    who = tokens.token_user(site.history, site.writer)
    assert who(f"Bearer {key}") == ("ci (token)", "operator")
    assert who(f"bearer   {key} ") == ("ci (token)", "operator"), "RFC 7235: the scheme's case does not matter"
    other = tokens.make(site.writer, "other", "viewer", None, "edda")
    assert who(f"Bearer {other}") == ("other (token)", "viewer")
    for header in (
        None, "", "Bearer", "Bearer ", key, f"Basic {key}", f"Bearer {key}x", f"Bearer {key[:-1]}", "Bearer prt_",
        f"Bearer {key.upper()}", f"Bearer {tokens.new_key()}", "Bearer prt_" + "é" * 43, f"Bearer {key}\x00",
    ):  # fmt: skip
        assert who(header) is None, header


def test_a_key_expires(site: Site) -> None:
    who = tokens.token_user(site.history, site.writer)
    assert who(f"Bearer {tokens.make(site.writer, 'gone', 'viewer', -0.001, 'edda')}") is None
    assert who(f"Bearer {tokens.make(site.writer, 'lasts', 'viewer', 1, 'edda')}") == ("lasts (token)", "viewer")
    page = site.client("edda").get("/tokens").text
    assert page.count("expired</span>") == 1


def test_a_revoked_key_opens_nothing(site: Site) -> None:
    editor = site.client("edda")
    key = key_of(make(editor, name="night run"))
    who = tokens.token_user(site.history, site.writer)
    assert who(f"Bearer {key}") is not None
    assert post(editor, "/tokens/night%20run/revoke", "/account").status_code == 303
    assert who(f"Bearer {key}") is None
    assert "is revoked" in editor.get("/tokens").text
    post(editor, "/tokens/night%20run/revoke", "/account")
    assert "no token night run any more" in editor.get("/tokens").text
    whats = [row[0] for row in site.store.db.execute("SELECT what FROM events WHERE what LIKE '%token' ORDER BY seq")]
    assert whats == ["add token", "revoke token"]


def test_use_is_written_down_now_and_then(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tokens.make(site.writer, "ci", "viewer", None, "edda")
    who = tokens.token_user(site.history, site.writer)
    writes = []
    monkeypatch.setattr(site.writer, "run", lambda work, run=site.writer.run: (writes.append(1), run(work))[1])
    for _ in range(5):
        assert who(f"Bearer {key}")
    assert len(writes) == 1
    later = tokens.now_ms() + tokens.SEEN_EVERY_MS
    monkeypatch.setattr(tokens, "now_ms", lambda: later)
    assert who(f"Bearer {key}") and who(f"Bearer {key}")
    assert len(writes) == 2
    (found,) = site.history.read(stored.tokens)
    assert found.used_at == later


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"name": ""}, 422, "name has 1 to 64"),
        ({"name": "<script>"}, 422, "name has 1 to 64"),
        ({"name": "x" * 65}, 422, "name has 1 to 64"),
        ({"name": "taken"}, 422, "named taken already"),
        ({"role": "king"}, 400, "no such role"),
        ({"days": "7"}, 400, "no such time"),
    ],
)
def test_what_is_not_taken(site: Site, fields: dict[str, str], status: int, sentence: str) -> None:
    tokens.make(site.writer, "taken", "viewer", None, "edda")
    answer = make(site.client("edda"), **fields)
    assert answer.status_code == status and sentence in answer.text
    assert len(site.history.read(stored.tokens)) == 1


def test_the_commands(make_instance: Start) -> None:
    house = make_instance()
    made = house.command("token", "add", "ci", "--role", "operator", "--days", "0.5", "--json")
    assert made.returncode == 0, made.stderr
    found = re.search(r'"key": "(prt_[\w-]{43})"', made.stdout)
    assert found
    assert house.command("token", "add", "ci").returncode == 1
    key = house.command("token", "add", "plain").stdout.strip()
    listed = house.command("token", "list")
    assert "ci " in listed.stdout and "expires" in listed.stdout and "prt_" not in listed.stdout
    assert '"used_at": null' in house.command("token", "list", "--json").stdout
    house.start()
    assert house.get("/api/v1/openapi.json").status == 200
    assert house.get("/api/v1/messages", headers={"Authorization": f"Bearer {key}"}).status == 200
    assert house.command("token", "revoke", "plain").returncode == 0
    assert house.command("token", "revoke", "plain").returncode == 1
    assert house.get("/api/v1/messages", headers={"Authorization": f"Bearer {key}"}).status == 401
    assert key not in house.log() and key.encode() not in house.database.read_bytes()

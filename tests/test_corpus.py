"""Every mail of the test corpus comes in, is stored whole, and can be looked at on the dashboard."""

from __future__ import annotations

import html
import http.client
import json
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.corpus import SOCKETLABS, needs_socketlabs
from tests.instance import SECRET_KEY, Instance

pytestmark = needs_socketlabs


def documents() -> list[tuple[str, dict[str, Any]]]:
    """The file that each document was made of, and the document with the key of the test's instance."""
    found = []
    for path in SOCKETLABS:
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            assert entry["payload"]["SecretKey"] == "SECRET"
            found.append((entry["_file"], {**entry["payload"], "SecretKey": SECRET_KEY}))
    return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("corpus"))
    try:
        yield instance.start()
    finally:
        instance.kill()


def _alike(payload: dict[str, Any]) -> list[Any]:
    """What two documents of the same mail have in common."""
    message = payload["Message"]
    sender = (message["From"] or {}).get("EmailAddress")
    files = (message["Attachments"] or []) + (message["EmbeddedMedia"] or [])
    texts = [message[name] for name in ("Subject", "TextBody", "HtmlBody")]
    return [payload["InboundRcptTo"], sender, *texts, *(each["Content"] for each in files)]


class Browser:
    """One session of the dashboard, logged in with the password that `serve` printed."""

    def __init__(self, house: Instance) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
        self._cookie = ""
        page = self.page("/login")
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token
        form = {"csrf_token": html.unescape(token[1]), "name": "admin", "password": house.password(), "next": "/"}
        status, _ = self._ask("POST", "/login", urlencode(form))
        assert status in (302, 303)

    def page(self, path: str) -> str:
        status, body = self._ask("GET", path)
        assert status == 200, (status, path)
        return body

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        headers = {"Cookie": self._cookie}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, path, body=body, headers=headers)
        response = self._connection.getresponse()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            self._cookie = cookie.partition(";")[0]
        return response.status, response.read().decode()


def test_every_mail_is_accepted_stored_delivered_and_shown(house: Instance) -> None:
    posted = documents()
    if "POSTROOM_TEST_MAIL" not in os.environ:
        assert len(posted) == 325
    ids: dict[str, tuple[str, dict[str, Any]]] = {}
    absorbed = 0
    for name, payload in posted:
        answer = house.post(payload)
        assert answer.status == 200, (name, answer)
        first, kept = ids.setdefault(answer.message, (name, payload))
        if kept is not payload:
            absorbed += 1
            assert _alike(payload) == _alike(kept), f"{name} was absorbed by {first}"
    rows = house.rows("SELECT id FROM messages ORDER BY seq")
    assert [row["id"] for row in rows] == list(ids), "each is stored, in the order it came"
    assert absorbed == len(house.rows("SELECT 1 FROM events WHERE what = 'absorbed'"))

    again = {house.post(payload).message for _, payload in posted}
    assert again <= set(ids), "sent again, nothing is stored twice"
    assert len(house.rows("SELECT id FROM messages")) == len(ids)

    house.wait_until_quiet(60)
    states = {row["state"] for row in house.deliveries()}
    assert states <= {"delivered", "suppressed"}, [row["reason"] for row in house.deliveries() if row["reason"]]
    delivered = sum(row["state"] == "delivered" for row in house.deliveries())
    lines = (house.data_dir / "delivered.jsonl").read_bytes().splitlines()
    assert len(lines) == delivered
    assert all(json.loads(line)["message"]["id"] in ids for line in lines)

    for message, (name, source) in ids.items():
        stored, payload = house.stored(message)
        assert payload["InboundRcptTo"] == source["InboundRcptTo"], name
        given = [header["Name"] for header in source["Message"]["CustomHeaders"] or []]
        assert [header for header, _ in stored.headers] == given, name
        files = (source["Message"].get("Attachments") or []) + (source["Message"].get("EmbeddedMedia") or [])
        assert len(stored.attachments) == len(files), name

    browser = Browser(house)
    seen: set[str] = set()
    path = "/messages"
    for _ in range(50):
        page = browser.page(path)
        seen |= set(re.findall(r"/messages/([0-9a-f-]{36})", page))
        older = re.findall(r'href="([^"]*before=\d+[^"]*)"', page)
        if not older:
            break
        path = html.unescape(older[-1])
        path = path if path.startswith("/") else f"/{path}"
    assert seen == set(ids), f"{len(set(ids) - seen)} messages are on no page of the list"
    for message, (name, _) in ids.items():
        page = browser.page(f"/messages/{message}")
        assert "<script>alert" not in page, name
    assert "Traceback" not in house.log()

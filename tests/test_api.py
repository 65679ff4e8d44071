"""The API by its answers: what each route tells and does, who may ask it, and what is wrong with a request."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import requests
from api_site import RULES, ApiSite
from dashboard_site import NOBODY
from werkzeug.test import TestResponse

from postroom.ids import now_ms
from postroom.plan import Content
from postroom.store import tokens as store_tokens
from postroom.store.history import History
from postroom.store.writer import Writer
from postroom.web import passwords, tokens
from postroom.web.api.contract import LARGEST_BODY
from tests.conftest import Start
from tests.instance import Instance, document


@pytest.fixture
def site(tmp_path: Path) -> ApiSite:
    return ApiSite(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> ApiSite:
    """One for all tests that change nothing."""
    return ApiSite(tmp_path_factory.mktemp("api"))


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    """The problem document of an answer that must be one."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = answer.json
    assert found["type"] == "about:blank" and found["status"] == status and found["title"] and found["detail"]
    return found


# Who may ask


def test_without_a_token_nothing_but_the_document_is_told(unchanged: ApiSite) -> None:
    answer = unchanged.get("/messages", who="")
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Postroom"'
    wrong = unchanged.get("/messages", who="mallory")
    problem(wrong, 401)
    assert 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]
    assert unchanged.get("/openapi.json", who="").json["openapi"] == "3.1.0"


def test_roles(unchanged: ApiSite) -> None:
    least = {"viewer": "vera", "operator": "otto", "editor": "edda"}
    order = list(least)
    for path, methods in unchanged.get("/openapi.json").json["paths"].items():
        for method, operation in methods.items():
            words = operation["description"].split("Needs the role ")
            needed = words[1].removesuffix(".") if len(words) > 1 else "viewer"
            for role in order[: order.index(needed)]:
                shown = path.removeprefix("/api/v1").replace("{id}", NOBODY).replace("{name}", "jira")
                found = problem(unchanged.ask(method.upper(), shown.replace("{n}", "1"), least[role]), 403)
                assert found["detail"] == f"This needs the role {needed}; the token has {role}."


# What is wrong with a request


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/messages?limit=many", "query.limit"),
        ("/messages?limit=0", "query.limit"),
        ("/messages?limit=201", "query.limit"),
        ("/messages?before=99999999999999999999", "query.before"),
        ("/messages?state=lost", "query.state"),
        ("/messages?q=a&q=b", "query.q"),
        ("/messages/12", "path.id"),
        (f"/messages/{NOBODY}/attachments/x", "path.n"),
        ("/statistics?range=1y", "query.range"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(unchanged: ApiSite, path: str, where: str) -> None:
    found = problem(unchanged.get(path), 400)
    assert [each["where"] for each in found["errors"]] == [where]
    assert found["errors"][0]["detail"]


def test_an_unknown_parameter_is_refused(unchanged: ApiSite) -> None:
    found = problem(unchanged.get("/messages?stat=dead"), 400)
    assert "unknown field `stat`" in found["detail"]


def test_what_is_not_there(unchanged: ApiSite) -> None:
    for path in ("/", "", "/nothing", "/messages/", f"/messages/{NOBODY}", f"/messages/{NOBODY}/trace",
                 f"/messages/{NOBODY}/payload", f"/messages/{NOBODY}/attachments/0", f"/deliveries/{NOBODY}",
                 "/destinations/slack"):  # fmt: skip
        problem(unchanged.get(path), 404)


def test_a_method_that_a_path_does_not_take(unchanged: ApiSite) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"):
        answer = unchanged.ask(method, "/messages")
        problem(answer, 405)
        assert answer.headers["Allow"] == "GET, HEAD"
    assert unchanged.ask("HEAD", "/messages").status_code == 200


def test_bodies(unchanged: ApiSite) -> None:
    pause = "/destinations/jira/pause"
    kind = {"Content-Type": "application/json"}
    problem(unchanged.ask("POST", pause, "otto", data={"reason": "x"}), 415)
    problem(unchanged.ask("POST", pause, "otto", data=b"{", headers=kind), 400)
    problem(unchanged.ask("POST", pause, "otto", data=b'{"reason": "\\ud800"}', headers=kind), 400)
    problem(unchanged.ask("POST", pause, "otto", data=b"[" * 100_000, headers=kind), 400)
    problem(unchanged.ask("POST", pause, "otto", data=b"[" * 50 + b"]" * 50, headers=kind), 422)
    problem(unchanged.ask("POST", pause, "otto", data=b" " * (LARGEST_BODY + 1), headers=kind), 413)
    assert problem(unchanged.post(pause, {"reason": 1}), 422)["errors"][0]["where"] == "body.reason"
    problem(unchanged.post(pause, {"why": "x"}), 422)
    problem(unchanged.post(pause, {"reason": "x" * 301}), 422)
    assert not unchanged.store.db.execute("SELECT * FROM destinations").fetchall()
    chosen = b'{"action": "retry", "ids": ["%s"], "rule_set": %s}'
    for number, status in ((b"1.0", 200), (b"1.5", 422), (b'"1"', 422), (b"1e300", 422), (b"true", 422)):
        body = chosen % (NOBODY.encode(), number)
        assert unchanged.ask("POST", "/actions", "otto", data=body, headers=kind).status_code == status


def test_a_fault_of_ours_tells_nothing_of_itself(unchanged: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for fault, status in ((RuntimeError("a secret"), 500), (sqlite3.OperationalError("a secret"), 503)):
        monkeypatch.setattr(History, "find", Mock(side_effect=fault))
        answer = unchanged.get("/messages")
        problem(answer, status)
        assert "secret" not in answer.text


# Messages and deliveries


def test_messages_are_searched_and_paged(site: ApiSite) -> None:
    ids = [site.store.message(f"mail {number}") for number in range(25)]
    site.store.message("another", state="held")
    seen: list[str] = []
    before: dict[str, int] = {}
    while True:
        page = site.get("/messages", q="mail", limit=10, **before).json
        seen += [row["id"] for row in page["rows"]]
        assert page["problems"] == [] and page["cut"] is False
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert seen == ids[::-1]
    (held,) = site.get("/messages", state="held").json["rows"]
    assert held["subject"] == "another" and held["state"] == "held"
    assert "before:soon" in site.get("/messages", q="before:soon").json["problems"][0]


def test_one_message_whole(site: ApiSite) -> None:
    store = site.store
    message = store.message("Crash <script>", files=(("log.txt", b"x" * 2500), ("b.txt", b"b")), text="It fell over.")
    attempts = ((now_ms(), 120, "refused", 400, "the server said no", "no"),)
    delivery = store.delivery(message, "dead", attempts=attempts, sends=Content("T", "B"))
    store.event(message, "retry", who="otto")
    whole = site.get(f"/messages/{message.upper()}").json
    detail = whole["message"]
    assert detail["row"]["subject"] == "Crash <script>"
    assert detail["message"]["text"] == "It fell over."
    assert detail["deliveries"][0]["row"]["id"] == delivery
    assert detail["deliveries"][0]["attempts"][0]["error"] == "the server said no"
    assert detail["events"][0]["who"] == "otto"
    assert detail["stored"] == [0, 1]
    assert whole["trace"] == {"rules": [], "plan": site.get(f"/messages/{message}/trace").json["plan"]}
    assert site.get(f"/messages/{message}/trace").json == whole["trace"]
    file = site.get(f"/messages/{message}/attachments/0")
    assert file.data == b"x" * 2500 and file.content_type == "application/octet-stream"
    assert file.headers["Content-Disposition"] == "attachment" and file.headers["Content-Length"] == "2500"
    assert site.get(f"/messages/{message}/payload").data == b'{"Message": 1}'
    problem(site.get(f"/messages/{message}/attachments/2"), 404)


def test_a_pruned_message_has_no_trace(site: ApiSite) -> None:
    message = site.store.message(keep_content=False)
    assert site.get(f"/messages/{message}").json["trace"] is None
    problem(site.get(f"/messages/{message}/trace"), 404)
    problem(site.get(f"/messages/{message}/payload"), 404)


def test_deliveries(site: ApiSite) -> None:
    message = site.store.message()
    ids = [site.store.delivery(message, state, destination="hook") for state in ("delivered", "dead", "pending")]
    site.store.delivery(message, "delivered", destination="jira")
    first = site.get("/deliveries", destination="hook", limit=2).json
    second = site.get("/deliveries", destination="hook", limit=2, before=first["next"]).json
    assert [row["id"] for row in (*first["rows"], *second["rows"])] == ids[::-1] and second["next"] is None
    (dead,) = site.get("/deliveries", state="dead").json["rows"]
    assert dead == site.get(f"/deliveries/{dead['id']}").json
    assert dead["message"] == message


# Destinations


def test_destinations_pause_and_resume(site: ApiSite) -> None:
    message = site.store.message()
    site.store.delivery(message, "pending", destination="jira")
    rows = {row["name"]: row for row in site.get("/destinations").json["rows"]}
    assert list(rows) == ["archive", "jira", "hook"]
    assert rows["hook"]["paused_in_config"] and not rows["jira"]["paused_in_config"]
    assert rows["jira"] == site.get("/destinations/jira").json
    assert rows["jira"]["queue"]["waiting"] == 1 and rows["jira"]["standing"]["paused_at"] is None
    problem(site.post("/destinations/jira/resume"), 409)
    assert site.post("/destinations/jira/pause", {"reason": "an\nupgrade"}).json == {"done": True}
    standing = site.get("/destinations/jira").json["standing"]
    assert standing["paused_by"] == "otto (token)" and standing["pause_reason"] == "an upgrade"
    problem(site.post("/destinations/jira/pause", {}), 409)
    assert site.post("/destinations/jira/resume").json == {"done": True}
    assert site.get("/destinations/jira").json["standing"]["paused_at"] is None
    problem(site.post("/destinations/slack/pause", {}), 404)
    events = site.get("/events", who="edda").json["rows"]
    assert [(row["who"], row["what"], row["detail"]) for row in events] == [
        ("otto (token)", "resume", "jira"),
        ("otto (token)", "pause", "jira: an upgrade"),
    ]


def test_a_destination_is_asked_of_itself(site: ApiSite) -> None:
    answer = site.post("/destinations/jira/check").json
    assert answer == {"well": True, "found": ["the kind file cannot be checked without sending something"]}
    (event,) = site.get("/events", who="edda").json["rows"]
    assert (event["who"], event["what"], event["detail"]) == ("otto (token)", "check", "jira: well")
    problem(site.post("/destinations/slack/check"), 404)


def test_a_test_delivery(site: ApiSite) -> None:
    message = site.post("/destinations/jira/test").json["message"]
    (delivery,) = site.get(f"/messages/{message}").json["message"]["deliveries"]
    assert (delivery["row"]["destination"], delivery["row"]["state"]) == ("jira", "pending")
    problem(site.post("/destinations/slack/test"), 404)


def test_all_that_is_dead_at_a_destination_is_retried(site: ApiSite) -> None:
    message = site.store.message()
    dead = [site.store.delivery(message, "dead", destination="jira") for _ in range(3)]
    other = site.store.delivery(message, "dead", destination="hook")
    assert site.post("/destinations/jira/retry").json == {"done": 3}
    assert [state_of(site, each) for each in (*dead, other)] == ["retrying"] * 3 + ["dead"]
    assert site.post("/destinations/jira/retry").json == {"done": 0}


# Actions on mail


def state_of(site: ApiSite, delivery: str) -> str:
    return str(site.get(f"/deliveries/{delivery}").json["state"])


def test_a_delivery_is_retried_cancelled_and_replayed(site: ApiSite) -> None:
    message = site.store.message()
    dead, waits, there = (site.store.delivery(message, state) for state in ("dead", "pending", "delivered"))
    done = site.post(f"/deliveries/{dead.upper()}/retry").json
    assert done["done"] and "same content" in done["sentence"]
    assert state_of(site, dead) == "retrying"
    assert site.post(f"/deliveries/{waits}/cancel").json["done"]
    assert state_of(site, waits) == "cancelled"
    assert "taken back already" in problem(site.post(f"/deliveries/{waits}/cancel"), 409)["detail"]
    (new,) = site.post(f"/deliveries/{there}/replay").json["made"]
    assert state_of(site, new) == "pending"
    problem(site.post(f"/deliveries/{new}/replay"), 409)
    problem(site.post(f"/deliveries/{NOBODY}/retry"), 404)
    who = {(row["who"], row["what"]) for row in site.get("/events", who="edda").json["rows"]}
    assert who == {("otto (token)", "retry"), ("otto (token)", "cancel"), ("otto (token)", "replay")}


def test_what_is_asked_twice_for_once_is_done_once(site: ApiSite) -> None:
    there = site.store.delivery(site.store.message(), "delivered")
    path = f"/deliveries/{there}/replay"
    first, second = (site.post(path, {"once": "mine"}).json for _ in range(2))
    assert first == second and len(site.get("/deliveries").json["rows"]) == 2
    assert site.post(path, {"once": "another"}).json["made"] != first["made"]


def test_messages_are_released_discarded_and_routed_again(site: ApiSite) -> None:
    held, other, unmatched = (site.store.message("a crash", state=each) for each in ("held", "held", "unmatched"))
    assert len(site.post(f"/messages/{held}/release").json["made"]) == 1
    assert site.get(f"/messages/{held}").json["message"]["row"]["state"] == "routed"
    problem(site.post(f"/messages/{held}/release"), 409)
    assert site.post(f"/messages/{other}/discard").json["done"]
    assert site.get(f"/messages/{other}").json["message"]["row"]["state"] == "discarded"
    assert len(site.post(f"/messages/{unmatched}/re-route", {}).json["made"]) == 1
    problem(site.post(f"/messages/{unmatched}/re-route"), 409)
    site.store.db.execute("UPDATE deliveries SET state = 'delivered'")
    assert len(site.post(f"/messages/{unmatched}/re-route", {"again": True}).json["made"]) == 1
    for act in ("release", "discard", "re-route", "retry", "replay", "cancel"):
        problem(site.post(f"/messages/{NOBODY}/{act}"), 404)


def test_the_deliveries_of_a_message_are_acted_on_together(site: ApiSite) -> None:
    message = site.store.message()
    dead = [site.store.delivery(message, "dead", destination=name) for name in ("jira", "hook")]
    site.store.delivery(message, "delivered", destination="third")
    assert site.post(f"/messages/{message}/retry").json["done"]
    assert [state_of(site, each) for each in dead] == ["retrying", "retrying"]
    assert site.post(f"/messages/{message}/cancel").json["done"]
    assert len(site.post(f"/messages/{message}/replay").json["made"]) == 1


def test_many_at_once_after_a_preview(site: ApiSite) -> None:
    store = site.store
    held = [store.message(f"crash {number}", state="held") for number in range(3)]
    store.message("crash already", state="discarded")
    preview = site.post("/actions/preview", {"action": "release", "query": "crash"}).json
    assert sorted(preview["targets"]) == sorted(held)
    assert preview["destinations"] == {"jira": 3} and preview["becomes"] == {"routed": 3} and not preview["more"]
    assert not site.get("/deliveries").json["rows"], "a preview does nothing"
    body = {"action": "release", "ids": preview["targets"], "rule_set": 99}
    assert site.post("/actions", body).json["skipped"] == {"other rules are active than in the preview": 3}
    outcome = site.post("/actions", {**body, "rule_set": preview["rule_set"]}).json
    assert (outcome["done"], outcome["made"]) == (3, 3) and set(outcome["outcomes"]) == set(held)
    again = site.post("/actions", {"action": "release", "ids": [*preview["targets"], NOBODY]}).json
    assert again["done"] == 0 and again["skipped"]["there is no such delivery or message"] == 1
    by_search = site.post("/actions", {"action": "cancel", "query": "crash"}).json
    assert by_search["done"] == 3
    nonsense = site.post("/actions/preview", {"action": "discard", "query": "before:soon"}).json
    assert nonsense["problems"] and not nonsense["targets"]


def test_many_wants_ids_or_a_query(unchanged: ApiSite) -> None:
    for path in ("/actions", "/actions/preview"):
        for more in ({}, {"ids": [NOBODY], "query": "x"}, {"ids": []}, {"query": "  "}, {"ids": [NOBODY] * 1001},
                     {"ids": ["x"]}, {"ids": [NOBODY], "action": "erase"}):  # fmt: skip
            problem(unchanged.post(path, {"action": "retry", **more}), 422)
        assert unchanged.post(path, {"action": "retry", "ids": [NOBODY] * 1000}).status_code == 200


# Over a running instance


def key_of(house: Instance, role: str = "operator") -> str:
    """A new key of an instance."""
    key = tokens.new_key()
    Writer(house.database).run(lambda db: store_tokens.add(db, tokens.hash_of(key), role, role, None, "test", now_ms()))
    return key


def test_an_instance_answers_tokens_and_no_logins(start_instance: Start) -> None:
    house = start_instance()
    message = house.post(document("Printer on fire")).message
    house.wait_for_states(message, "delivered")
    assert house.get("/api/v1/messages").status == 401
    browser = requests.Session()
    base = f"http://127.0.0.1:{house.port}"
    found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(f"{base}/login", timeout=10).text)
    assert found
    form = {"name": "admin", "password": house.password(), "csrf_token": found[1]}
    assert browser.post(f"{base}/login", data=form, timeout=10).status_code == 200
    assert browser.get(f"{base}/api/v1/messages", timeout=10).status_code == 401
    headers = {"Authorization": f"Bearer {key_of(house)}"}
    answer = house.get("/api/v1/messages?q=printer", headers=headers)
    assert [row["id"] for row in answer.json()["rows"]] == [message]
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
    whole = house.get(f"/api/v1/messages/{message}", headers=headers).json()
    shown = house.command("show", message, "--json")
    assert whole == json.loads(shown.stdout)
    # No form, no CSRF token: a token is enough.
    done = house.post({"reason": "x"}, path="/api/v1/destinations/archive/pause", headers=headers)
    assert (done.status, done.json()) == (200, {"done": True})
    checked = house.request("POST", "/api/v1/destinations/archive/check", headers=headers)
    assert checked.json()["well"] is True
    assert house.get("/api/v1/statistics", headers=headers).json()["waiting"]["all"] == 1


# People and tokens


def test_users_are_added_changed_and_removed(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "hash_password", lambda password: f"hash of {password}")

    def ask(method: str, path: str, body: Any = None) -> TestResponse:
        return site.ask(method, path, "edda", **({} if body is None else {"json": body}))

    made = ask("POST", "/users", {"name": "ada", "role": "editor"}).json
    assert made["name"] == "ada" and len(made["password"]) >= 12
    given = ask("POST", "/users", {"name": "bob", "role": "viewer", "password": "a long enough sentence"}).json
    assert given == {"name": "bob", "password": None}
    problem(ask("POST", "/users", {"name": "bob", "role": "viewer"}), 409)
    problem(ask("POST", "/users", {"name": "cleo", "role": "viewer", "password": "short"}), 409)
    for body in ({"name": "a/b", "role": "viewer"}, {"name": "x", "role": "root"}, {"name": "x"}):
        problem(ask("POST", "/users", body), 422)
    assert ask("PUT", "/users/bob/role", {"role": "operator"}).json == {"done": True}
    problem(ask("PUT", "/users/ada/role", {"role": "viewer"}), 409)
    again = ask("PUT", "/users/bob/password").json["password"]
    assert site.history.users()["bob"] == (f"hash of {again}", "operator")
    problem(ask("POST", "/users/bob/logout"), 409)
    assert {row["name"]: row["role"] for row in ask("GET", "/users").json["rows"]} == {
        "ada": "editor",
        "bob": "operator",
    }
    assert ask("DELETE", "/users/bob").json == {"done": True}
    for method, path, body in (("DELETE", "", None), ("PUT", "/role", {"role": "viewer"}), ("POST", "/logout", None)):
        problem(ask(method, f"/users/bob{path}", body), 404)
    assert "hash" not in ask("GET", "/users").text
    told = [row["what"] for row in ask("GET", "/events").json["rows"]]
    assert told == ["remove user", "set password", "set role", "add user", "add user"]


def test_people_of_the_configuration_are_changed_there(tmp_path: Path) -> None:
    site = ApiSite(tmp_path, dashboard={"users": {"otto": {"password_hash": "x", "role": "operator"}}})
    found = site.ask("GET", "/users", "edda").json
    assert found["in_config"] and [row["name"] for row in found["rows"]] == ["otto"]
    problem(site.post("/users", {"name": "ada", "role": "editor"}, who="edda"), 409)
    problem(site.ask("DELETE", "/users/otto", "edda"), 409)
    problem(site.ask("DELETE", "/users/ada", "edda"), 404)


def test_tokens_are_made_and_revoked(site: ApiSite) -> None:
    made = site.post("/tokens", {"name": "nightly report", "role": "viewer", "days": 30}, who="edda").json
    assert made["key"].startswith("prt_")
    problem(site.post("/tokens", {"name": "nightly report", "role": "viewer"}, who="edda"), 409)
    listed = site.get("/tokens", who="edda")
    row = next(row for row in listed.json["rows"] if row["name"] == "nightly report")
    assert row["created_by"] == "edda (token)" and row["expires_at"] and made["key"] not in listed.text
    assert site.ask("DELETE", "/tokens/nightly report", "edda").json == {"done": True}
    problem(site.ask("DELETE", "/tokens/nightly report", "edda"), 404)


# Rules

MORE = RULES.replace("contains: crash", "contains: [crash, fire]")
WRONG = RULES.replace("[jira]", "[jura]")


def test_the_active_rules_as_a_tree(unchanged: ApiSite) -> None:
    found = unchanged.get("/rules").json
    assert found["rule_set"] == 2 and found["files"] == ["rules.yaml"]
    (crashes,) = found["rules"]
    assert (crashes["name"], crashes["file"], crashes["line"]) == ("Crashes", "rules.yaml", 2)
    assert crashes["destinations"] == ["jira"] and (crashes["matched"], crashes["last"]) == (0, None)
    assert [each["name"] for each in crashes["children"]] == ["Printers"]


def test_rules_are_checked_and_tested_without_being_active(unchanged: ApiSite) -> None:
    assert unchanged.post("/rules/check", who="vera").json == {"problems": []}
    (wrong,) = unchanged.post("/rules/check", {"files": {"a.yaml": WRONG}}, who="vera").json["problems"]
    assert (wrong["path"], wrong["line"]) == ("a.yaml", 4) and "jura" in wrong["message"]
    tested = unchanged.post("/rules/test", {}, who="vera").json
    assert (tested["failed"], tested["left"]) == (0, 0)
    assert [(each["name"], each["passed"]) for each in tested["outcomes"]] == [("a crash goes to the developers", True)]
    other = RULES.replace("{subject: A crash}", "{subject: A bang}")
    assert unchanged.post("/rules/test", {"files": {"a.yaml": other}}, who="vera").json["failed"] == 1
    assert problem(unchanged.post("/rules/test", {"files": {"a.yaml": WRONG}}, who="vera"), 409)["errors"]
    for files in ({"a.txt": ""}, {"a.yaml": 1}, {"": ""}, []):
        problem(unchanged.post("/rules/check", {"files": files}, who="vera"), 422)


def test_rules_explain_a_message_and_judge_the_mail_that_came(site: ApiSite) -> None:
    message = site.store.message("A fire", state="unmatched")
    ask = {"message": message}
    assert site.post("/rules/explain", ask, who="vera").json["state"] == "unmatched"
    explained = site.post("/rules/explain", {**ask, "files": {"rules.yaml": MORE}}, who="vera").json
    assert explained["state"] == "routed" and explained["contents"][0]["destination"] == "jira"
    problem(site.post("/rules/explain", {"message": NOBODY}, who="vera"), 404)
    problem(site.post("/rules/explain", {"message": site.store.message(keep_content=False)}, who="vera"), 404)
    report = site.post("/rules/backtest", {"files": {"rules.yaml": MORE}, "days": 1}, who="edda").json
    assert (report["judged"], report["changed"], report["cannot_be_judged"]) == (1, 1, 1), report
    assert report["mails"][0]["new"] == [{"rule": "Crashes", "what": "jira"}]


def put(site: ApiSite, path: str, body: dict[str, Any]) -> TestResponse:
    return site.ask("PUT", path, "edda", json=body)


def test_a_draft_becomes_active_and_the_past_comes_back(site: ApiSite) -> None:
    file = site.house.folder / "rules" / "rules.yaml"
    draft = site.get("/rules/draft", who="edda").json
    assert draft["edits"] == [] and draft["files"] == {"rules.yaml": RULES}
    edit = {"path": "rules.yaml", "text": MORE, "was": draft["marks"]["rules.yaml"]}
    assert put(site, "/rules/draft", edit).json == {"done": True}
    problem(put(site, "/rules/draft", edit), 409)
    (saved,) = site.get("/rules/draft", who="edda").json["edits"]
    assert saved["text"] == MORE and not saved["conflict"]
    assert not site.get("/rules/draft", who="vera").json["edits"], "everybody has a draft of their own"
    problem(put(site, "/rules/draft", {"path": "../a.yaml", "text": ""}), 409)
    assert file.read_text() == RULES
    assert site.post("/rules/activate", who="edda").json == {"active": True, "problems": []}
    assert file.read_text() == MORE and site.get("/rules").json["rule_set"] == 3
    problem(site.post("/rules/activate", who="edda"), 409)
    page = site.get("/rules/sets", limit=1).json
    assert page["rows"][0]["rule_set"] == 3 and page["rows"][0]["who"] == "edda (token)" and page["next"]
    assert site.get("/rules/sets/2").json == {"rule_set": 2, "active": False, "files": {"rules.yaml": RULES}}
    problem(site.get("/rules/sets/99"), 404)
    assert site.post("/rules/sets/2/restore", who="edda").json["active"]
    assert file.read_text() == RULES and site.get("/rules").json["rule_set"] == 2
    problem(site.post("/rules/sets/2/restore", who="edda"), 409)
    problem(site.post("/rules/sets/99/restore", who="edda"), 404)


def test_a_draft_that_is_not_well_is_not_written(site: ApiSite) -> None:
    put(site, "/rules/draft", {"path": "rules.yaml", "text": WRONG})
    found = problem(site.post("/rules/activate", who="edda"), 409)
    assert found["errors"][0]["where"].startswith("rules.yaml:4:") and "jura" in found["errors"][0]["detail"]
    assert (site.house.folder / "rules" / "rules.yaml").read_text() == RULES
    assert site.ask("DELETE", "/rules/draft?path=rules.yaml", "edda").json == {"done": True}
    problem(site.ask("DELETE", "/rules/draft", "edda"), 409)


def test_what_changed_on_the_disk_is_settled_first(site: ApiSite) -> None:
    file = site.house.folder / "rules" / "rules.yaml"
    put(site, "/rules/draft", {"path": "rules.yaml", "text": MORE})
    file.write_text(RULES + "# another hand\n")
    assert problem(site.post("/rules/activate", who="edda"), 409)["errors"][0]["where"] == "rules.yaml"
    (edit,) = site.get("/rules/draft", who="edda").json["edits"]
    assert edit["conflict"]
    settle = {"path": "rules.yaml", "keep": "mine", "seen": edit["disk"]}
    problem(site.post("/rules/draft/settle", {**settle, "seen": "old"}, who="edda"), 409)
    assert site.post("/rules/draft/settle", settle, who="edda").json == {"done": True}
    assert site.post("/rules/activate", who="edda").json["active"]
    assert file.read_text() == MORE


# Figures and the log


def test_statistics(site: ApiSite) -> None:
    site.store.message(state="held")
    found = site.get("/statistics", range="7d").json
    assert found["waiting"]["held"] == 1 and found["until"] - found["since"] == 7 * 86_400_000
    assert found["slots"] and found["flows"] == []


def test_events_are_paged_and_filtered(site: ApiSite) -> None:
    message = site.store.message()
    for number in range(5):
        site.store.event(message, "retry" if number % 2 else "release", who="ada")
    first = site.ask("GET", "/events?limit=3", "edda").json
    second = site.ask("GET", f"/events?limit=3&before={first['next']}", "edda").json
    assert len(first["rows"]) == 3 and len(second["rows"]) == 2 and second["next"] is None
    assert first["rows"][0]["message"] == message
    retries = site.ask("GET", "/events?what=retry&who=ada", "edda").json["rows"]
    assert [row["what"] for row in retries] == ["retry", "retry"]
    assert site.ask("GET", "/events?who=bob", "edda").json["rows"] == []

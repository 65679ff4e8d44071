"""The page of one message: views, conversation, the story in time, what people do, and what is made of a mail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import app as program
from postroom.ids import now_ms
from postroom.rules import compile_rules
from postroom.store.history import History
from postroom.timeline import Entry, timeline
from tests.dashboard_site import NOBODY, Site
from tests.dashboard_store import StoreBuilder
from tests.mail_house import RULES, MailHouse, form_of, unescape


@pytest.fixture
def house(tmp_path: Path) -> MailHouse:
    return MailHouse(tmp_path / "house")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "postroom.db")


def textarea(page: str) -> str:
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    assert found
    return unescape(found[1])


# The raw document


def test_the_raw_document(house: MailHouse) -> None:
    id = house.receive("crash <script>alert(1)</script>", recipient="bugs@example.com")
    vera = house.client("vera")
    assert "Raw document" in vera.get(f"/messages/{id}") and 'class="raw"' not in vera.get(f"/messages/{id}")
    page = vera.get(f"/messages/{id}", view="raw")
    assert "&#34;InboundRcptTo&#34;: &#34;bugs@example.com&#34;" in page and "indented to be read" in page
    assert "<script>alert" not in page
    assert '"sk"' not in page and "&#34;sk&#34;" not in page


def test_a_raw_document_that_is_no_json(site: Site) -> None:
    client = site.client("vera")
    page = client.get(f"/messages/{site.store.message(payload=b'From: x' + bytes([255]))}?view=raw").text
    assert "From: x\ufffd" in page and "indented" not in page
    assert "{not json" in client.get(f"/messages/{site.store.message(payload=b'{not json')}?view=raw").text
    long = client.get(f"/messages/{site.store.message(payload=b'[' * 400_000)}?view=raw").text
    assert "this is its beginning" in long and len(long) < 400_000
    deep = client.get(f"/messages/{site.store.message(payload=b'[' * 200_000)}?view=raw")
    assert deep.status_code == 200
    pruned = site.store.message(keep_content=False)
    page = client.get(f"/messages/{pruned}?view=raw").text
    assert "Its text was pruned" in page and "Raw document" not in page and "Make a rule" not in page


# The conversation


def test_the_conversation_with_deliveries(site: Site) -> None:
    store = site.store
    first = store.message("Crash")
    store.delivery(first, reference="APP-1")
    middle = store.message("Re: Crash", conversation=store.seq(first), found_by="a reference")
    last = store.message("Re: Re: Crash", conversation=store.seq(first), state="held")
    page = site.client("vera").get(f"/messages/{middle}").text
    thread = page[page.index('class="thread"') :]
    assert thread.index("APP-1") < thread.index("this message") < thread.index(f"/messages/{last}")
    assert f"q=in:{middle}" in page or f"q=in%3A{middle}" in page
    assert "No other message belongs to it" in site.client("vera").get(f"/messages/{store.message()}").text


# The story


def story(house: MailHouse, id: str) -> list[tuple[str, str]]:
    detail = house.history.message(id)
    assert detail is not None
    return [(each.who, each.what) for each in timeline(detail)]


def test_the_story_of_a_message(house: MailHouse) -> None:
    id = house.receive("crash", recipient="bugs@example.com", message_id="<1@example.org>")
    house.settle(id, "tracker", "dead", error="410 gone")
    otto = house.client("otto")
    otto.post(f"/deliveries/{house.delivery(id, 'tracker')}/retry")
    otto.post(f"/deliveries/{house.delivery(id, 'chat')}/cancel")
    told = story(house, id)
    assert told == [
        ("ingress socketlabs", "received it from jo@example.org for bugs@example.com"),
        ("postroom", "judged it by rule set 1"),
        ("postroom", "tried tracker, attempt 1"),
        ("otto", "asked for another try of tracker"),
        ("otto", "took back the delivery to chat"),
    ]
    page = otto.get(f"/messages/{id}")
    story_part = page[page.index('id="happened"') :]
    assert "matched: Crash reports; to tracker by &#39;Crash reports&#39;; to chat" in story_part
    assert "410 gone" in story_part


def test_repeats_are_told_once(site: Site) -> None:
    id = site.store.message()
    for _ in range(5):
        site.store.event(id, "absorbed", "ingress socketlabs", "the same document came again")
    page = site.client("vera").get(f"/messages/{id}").text
    assert page.count("got the same document again, and absorbed it") == 1 and "5 times, the last time" in page


def test_a_long_story_is_folded(site: Site) -> None:
    now = now_ms()
    id = site.store.message(received_at=now - 1_000_000)
    tries = tuple((now - 900_000 + n * 1000, 10, "failed", 503, f"busy {n}", None) for n in range(40))
    site.store.delivery(id, "retrying", attempts=tries)
    page = site.client("vera").get(f"/messages/{id}").text
    found = page[page.index('id="happened"') :]
    assert "25 more in between" in found
    assert [found.count(f"busy {n}<") for n in (0, 20, 39)] == [1, 1, 1]


@pytest.mark.parametrize("state", ["suppressed", "dead"])
def test_how_a_delivery_ended(tmp_path: Path, state: str) -> None:
    store = StoreBuilder(tmp_path / "postroom.db")
    id = store.message(state="routed", received_at=now_ms() - 5000)
    delivery = store.delivery(id, state, reason="no more")
    store.step(delivery, "item", "APP-1")
    store.db.execute("UPDATE deliveries SET finished_at = created_at + 1000")
    detail = History(store.path).message(id)
    assert detail is not None
    entries = timeline(detail)
    assert entries == sorted(entries, key=lambda each: each.at)
    assert (
        Entry(
            at=entries[-1].at,
            who="postroom",
            what="gave up the delivery to jira" if state == "dead" else "has nothing to do at jira",
            detail="no more",
            state=state,
            delivery=delivery,
        )
        == entries[-1]
    )
    assert any(each.detail == "item APP-1" for each in entries)


# What people do


def test_cancel_and_replay(house: MailHouse) -> None:
    id = house.receive("crash", recipient="bugs@example.com")
    house.settle(id, "chat", "delivered")
    otto = house.client("otto")
    page = otto.get(f"/messages/{id}")
    chat = house.delivery(id, "chat")
    assert f"/deliveries/{house.delivery(id, 'tracker')}/cancel" in page
    look = otto.get(f"/deliveries/{chat}/replay")
    assert "The delivery to chat is made again now: same content, new key." in look
    assert house.events() == []
    answer = otto.submit(look, "act")
    assert answer.status_code == 303 and "#delivery-" in answer.location
    assert house.delivery(id, "chat") in answer.location and house.delivery(id, "chat") != chat
    # The same form once more does it only once.
    otto.submit(look, "act")
    assert house.events() == [("otto", "replay")]
    otto.post(f"/deliveries/{house.delivery(id, 'tracker')}/cancel")
    assert house.states(id) == {"tracker": "cancelled", "chat": "pending"}
    look = otto.get(f"/deliveries/{house.delivery(id, 'tracker')}/cancel")
    assert "it was taken back already" in look and "<button>Cancel</button>" not in look


def test_a_re_route_is_looked_at_first(house: MailHouse) -> None:
    id = house.receive("crash", recipient="bugs@example.com")
    house.settle(id, "tracker", "delivered")
    house.settle(id, "chat", "delivered")
    otto = house.client("otto")
    look = otto.get(f"/messages/{id}/re-route")
    assert "it has had all that today" in unescape(look) and "<button>Re-route</button>" not in look
    again = otto.get(f"/messages/{id}/re-route", again=1)
    assert "2 new deliveries, to chat and tracker" in again and "checked" in again
    house.change_rules(
        RULES.replace("      - chat\n", "").replace("rules:", "rules:\n  - {name: Also, when: always, then: [chat]}")
    )
    otto = house.client("otto")
    look = otto.get(f"/messages/{id}/re-route")
    for part in (
        "Rules that match",
        "Also",
        "Crash reports",
        "1 new delivery, to chat",
        ">New<",
        ">Had already<",
        "delivered",
    ):
        assert part in look, part
    assert otto.submit(look, "act").status_code == 303
    assert house.events() == [("otto", "re-route")]
    page = otto.get(f"/messages/{id}")
    assert "It is routed: 1 new delivery, to chat." in page and "routed it under today&#39;s rules" in page
    told = story(house, id)
    assert told.index(("otto", "routed it under today's rules")) + 1 == told.index(
        ("postroom", "owes it to a destination")
    )
    action, fields = form_of(again, "act")
    otto.post(action, **{name: value for name, value in fields.items() if name != "csrf_token"})
    assert house.states(id)["tracker"] == "pending"


def test_release_and_discard(house: MailHouse) -> None:
    id, other = (house.receive(f"offer {n}", recipient="sales@example.com") for n in range(2))
    otto = house.client("otto")
    look = otto.get(f"/messages/{id}/release")
    assert "It would be unmatched" in look
    otto.submit(look, "act")
    otto.post(f"/messages/{other}/discard")
    assert dict(house.db.execute("SELECT id, state FROM messages")) == {id: "unmatched", other: "discarded"}
    assert story(house, other)[-1] == ("otto", "discarded it")


def test_who_may(house: MailHouse) -> None:
    id = house.receive("offer", recipient="sales@example.com")
    vera, otto = house.client("vera"), house.client("otto")
    page = vera.get(f"/messages/{id}")
    assert not re.search(rf"/messages/{id}/(release|discard|re-route|replay|retry)", page)
    for act in ("release", "discard", "re-route", "replay", "retry", "cancel"):
        assert vera.ask(f"/messages/{id}/{act}").status_code == 403
        assert vera.post(f"/messages/{id}/{act}").status_code == 403
        assert otto.ask(f"/messages/{NOBODY}/{act}").status_code == 404
        assert otto.post(f"/messages/{NOBODY}/{act}").status_code == 404
    for act in ("replay", "retry", "cancel"):
        assert otto.ask(f"/deliveries/{NOBODY}/{act}").status_code == 404
        assert otto.post(f"/deliveries/{NOBODY}/{act}").status_code == 404
    assert otto.ask(f"/messages/{id}/erase").status_code == 404
    assert house.events() == []


# A rule, a test


def test_a_rule_from_a_mail_opens_in_the_editor(house: MailHouse) -> None:
    id = house.receive("Invoice 7", recipient="billing@example.com", sender="shop@example.org")
    edda = house.client("edda")
    assert f"/messages/{id}/make-rule" in edda.get(f"/messages/{id}")
    page = edda.get(f"/messages/{id}/make-rule")
    text = textarea(page)
    rules = compile_rules({"05.yaml": text}, None)
    assert rules.evaluate(house.message(id)).matched == ("Invoice 7",)
    assert "- hold:" in textarea(edda.get(f"/messages/{id}/make-rule", destination="-"))
    assert "- chat" in textarea(edda.get(f"/messages/{id}/make-rule", destination="chat"))
    answer = edda.submit(page, "draft", text=text, path="05-invoices.yaml")
    assert answer.status_code == 303
    assert "name: Invoice 7" in edda.get(answer.location)
    otto = house.client("otto").get(f"/messages/{id}/make-rule")
    assert "Open in the editor" not in otto and "ask somebody with the role editor" in otto


def test_a_test_from_a_mail_passes(house: MailHouse) -> None:
    id = house.receive("crash at night", recipient="bugs@example.com", text="It <b> burns\n")
    edda = house.client("edda")
    page = edda.get(f"/messages/{id}/make-test")
    text = textarea(page)
    assert "tracker: {}" in text and "chat: {}" in text and "made-up names" in page
    (house.folder / "rules" / "95.yaml").write_text(text, encoding="utf-8")
    # Rules are loaded only where their tests pass.
    assert len(program.load_rules(house.config, house.kinds).cases) == 1
    (house.folder / "rules" / "95.yaml").write_text(text.replace("chat: {}", "chat: {title: x}"), encoding="utf-8")
    with pytest.raises(Exception, match="fails"):
        program.load_rules(house.config, house.kinds)


def test_a_test_of_a_released_mail_has_the_rules_alone(house: MailHouse) -> None:
    id = house.receive("offer", recipient="sales@example.com")
    otto = house.client("otto")
    otto.post(f"/messages/{id}/release")
    text = textarea(otto.get(f"/messages/{id}/make-test"))
    assert "hold: {}" in text and "It was held by To be looked at, and released" in text


def test_nothing_is_made_of_what_was_pruned(site: Site) -> None:
    pruned = site.store.message(keep_content=False)
    client = site.client("vera")
    for what in ("make-rule", "make-test"):
        assert client.get(f"/messages/{pruned}/{what}").status_code == 404
        assert client.get(f"/messages/{NOBODY}/{what}").status_code == 404


def test_hostile_mail_in_drafts(house: MailHouse) -> None:
    id = house.receive(
        "</textarea><script>alert(1)</script>\u202e{{ 7 * 7 }}", recipient="bugs@example.com", text="</textarea>\u202ex"
    )
    vera = house.client("vera")
    for what in ("make-rule", "make-test"):
        page = vera.get(f"/messages/{id}/{what}")
        assert "<script>alert" not in page and "\u202e" not in page
        compile_rules({"05.yaml": textarea(page), "10.yaml": RULES}, None)

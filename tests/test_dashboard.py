"""The dashboard's pages, by a client that logs in as people do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dashboard_site import HASHES, NOBODY, Site, post

from postroom.ids import now_ms
from postroom.mail.kinds import Verdict
from postroom.message import Address, Message
from postroom.plan import Content, Trace
from postroom.web import auth


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "postroom.db")


# The list


def test_an_empty_store_leads_a_newcomer(site: Site) -> None:
    page = site.client("vera").get("/messages").text
    assert "No mail has arrived yet" in page
    assert "https://mail.example.com/inbound/socketlabs" in page


def test_list_search_and_states(site: Site) -> None:
    store = site.store
    crash, held = store.message("Crash in 2.1"), store.message("Waits", state="held", reason="no rule for this mail")
    store.delivery(crash, reference="APP-42", url="https://jira.example/browse/APP-42")
    store.delivery(crash, "dead", destination="ops-hook")
    client = site.client("vera")
    page = client.get("/messages").text
    assert page.index(held) < page.index(crash)
    assert "no rule for this mail" in page
    assert '<a href="https://jira.example/browse/APP-42"' in page
    assert crash in client.get("/messages?q=app-42").text
    assert held not in client.get("/messages?q=app-42").text
    assert crash in client.get("/messages?state=dead").text
    assert held not in client.get("/messages?state=dead").text
    assert held in client.get("/messages?state=held").text
    nothing = client.get("/messages", query_string={"q": "<img src=x>"}).text
    assert "No message matches" in nothing
    assert "<img src=x>" not in nothing
    for query in ("state=delivred", "before=-1", "before=99999999999999999999"):
        assert client.get(f"/messages?{query}").status_code == 400


def test_paging(site: Site) -> None:
    ids = [site.store.message(f"mail {number}") for number in range(120)]
    client = site.client("vera")
    seen: list[str] = []
    url: str | None = "/messages?q=mail"
    pages = 0
    while url:
        page = client.get(url).text
        seen += re.findall(r'class="subject" href="/messages/([^"]+)"', page)
        older = re.search(r'href="([^"]+)" rel="next"', page)
        url = older.group(1).replace("&amp;", "&") if older else None
        pages += 1
    assert seen == ids[::-1]
    assert pages == 3


def test_problems_stand_on_every_page(site: Site) -> None:
    site.problems = [f"rules/20-support.yaml:{line}:9: unknown field <i>" for line in range(7)]
    client = site.client("vera")
    for url in ("/messages", f"/messages/{site.store.message()}"):
        page = client.get(url).text
        assert "7 problems need" in page
        assert "unknown field &lt;i&gt;" in page


# One message


def test_a_message_whole(site: Site) -> None:
    store = site.store
    first = store.message("Crash in 2.1")
    id = store.message(
        "Re: Crash in 2.1",
        conversation=store.seq(first),
        text="It crashed.\nAgain.",
        html="<p>It <b>crashed</b>.</p>",
        headers=(("Received", "by mx"), ("X-Odd", "value")),
        files=(("trace.pdf", b"x" * 3000),),
        notices=("a charset was guessed",),
    )
    now = now_ms()
    delivery = store.delivery(
        id,
        "retrying",
        reason="the destination answered 503",
        attempts=((now - 65_000, 1500, "failed", 503, "the destination answered 503", "<h1>busy</h1>"),),
        sends=Content("Crash in 2.1", "The body", "The footer", {"labels": ["email"]}),
        next_at=now + 290_000,
    )
    store.delivery(id, reference="APP-42", url="https://jira.example/browse/APP-42")
    store.step(delivery, "issue", "APP-41")
    store.event(id, "retry", detail="by hand")
    store.item(id, "jira", "APP-40")
    page = site.client("otto").get(f"/messages/{id}").text
    for text in (
        "Re: Crash in 2.1",
        "It crashed.\nAgain.",
        "25 bytes, without scripts and remote images",
        "X-Odd",
        "trace.pdf",
        "a charset was guessed",
        "the destination answered 503",
        "HTTP 503",
        "took 1.5 s",
        "1 minute ago",
        "in 4 minutes",
        "&lt;h1&gt;busy&lt;/h1&gt;",
        "The footer",
        "APP-41",
        "by hand",
        'href="https://jira.example/browse/APP-42"',
        "APP-40",
        first,
        "subject contains crash",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "rules/20-support.yaml:14",
        "&#39;Crash reports&#39; stops",
        "1 of 2 rules matched",
    ):
        assert text in page, text
    assert "<b>crashed" not in page
    assert page.count("/retry") == 1
    assert f'action="/deliveries/{delivery}/retry"' in page


HOSTILE = '"><script>alert(1)</script>{{ 7*7 }}\u202egpj.exe\u2066\x00\x1b[31m'


def test_hostile_mail(site: Site) -> None:
    store = site.store
    id = store.message(
        HOSTILE.replace("\0", ""),
        sender=Address(HOSTILE, HOSTILE),
        recipient="x@y.z" + HOSTILE,
        text=HOSTILE,
        html=HOSTILE,
        headers=((HOSTILE, HOSTILE), ("Date", "Fri, 31 Dec 9999 23:59:59 -1200")),
        files=((HOSTILE, b"1"),),
        notices=(HOSTILE,),
        message_id=HOSTILE,
        to=(Address(HOSTILE, HOSTILE),),
        client_ip=HOSTILE,
        reason=HOSTILE,
    )
    for url in (
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil",
        "https:",
        "ht\ntp://x",
        "http://[",
        'http://h/"onx=',
    ):
        store.delivery(
            id,
            "dead",
            reference=HOSTILE,
            url=url,
            reason=HOSTILE,
            attempts=((1, 1, "refused", 400, HOSTILE, HOSTILE),),
            sends=Content(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: {HOSTILE: HOSTILE}}),
        )
    store.event(id, HOSTILE, HOSTILE, HOSTILE)
    client = site.client("otto")
    for url in ("/messages", f"/messages/{id}"):
        answer = client.get(url)
        assert answer.status_code == 200
        assert "<script" not in re.sub(r'<script src="/static/[\w/.]+" defer></script>', "", answer.text)
        # Ids, times and tokens may hold the digits by chance.
        assert "49" not in re.sub(r"[0-9a-f-]{36}|[\d:-]{8,}|value=\"[^\"]*\"|\d+ \w+ ago", "", answer.text)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", answer.text)
        targets = set(re.findall(r'href="([^"]*)"', answer.text))
        assert all(target.startswith(("/", "#", "http://h/&#34;onx=")) for target in targets), targets
        assert not any(target.startswith("//") for target in targets)


def test_mails_of_any_size_are_cut(site: Site) -> None:
    id = site.store.message(
        "x" * 200_000,
        text="y" * 3_000_000,
        headers=tuple((f"X-{number}", "z" * 5_000) for number in range(500)),
        to=tuple(Address(f"a{number}@example.org") for number in range(1000)),
    )
    client = site.client("vera")
    page = client.get(f"/messages/{id}").text
    assert len(page) < 1_000_000
    assert "3,000,000 characters" in page
    assert "200,000 characters" in page
    assert "300 more are in the payload" in page
    assert "980 more" in page
    assert len(client.get("/messages").text) < 20_000


def test_a_mail_with_nothing_in_it(site: Site) -> None:
    id = site.store.message(None, sender=None, text=None, state="unmatched")
    client = site.client("vera")
    page = client.get(f"/messages/{id}").text
    assert "(no subject)" in page
    assert "The mail has no text." in page
    assert "Nothing is owed" in page
    assert "(no subject)" in client.get("/messages").text


def test_a_pruned_message(site: Site) -> None:
    id = site.store.message(keep_content=False, matched=("Crash reports",))
    page = site.client("vera").get(f"/messages/{id}").text
    assert "was pruned" in page
    assert "These rules matched" in page
    assert site.client("vera").get(f"/messages/{id}/payload").status_code == 404


def test_a_trace_that_fails_leaves_the_page(site: Site) -> None:
    def fails(rule_set: int, message: Message) -> Trace | None:
        raise RuntimeError("the rule set is gone")

    site.explain = fails
    page = site.client("vera").get(f"/messages/{site.store.message()}")
    assert page.status_code == 200
    assert "The trace could not be computed" in page.text


@pytest.mark.parametrize("id", [NOBODY, "1", "../../etc/passwd", "x" * 36])
def test_unknown_things_are_404(site: Site, id: str) -> None:
    client = site.client("otto")
    for url in (f"/messages/{id}", f"/messages/{id}/payload", f"/messages/{id}/attachments/0", f"/nowhere/{id}"):
        answer = client.get(url)
        assert answer.status_code == 404
        assert "There is nothing here" in answer.text
    assert post(client, f"/deliveries/{id}/retry").status_code == 404
    assert client.get("/inbound/nowhere/at/all").text == "404 Not Found\n"


def test_wrong_methods_are_405(site: Site) -> None:
    answer = site.client("vera").delete("/login")
    assert answer.status_code in (400, 405)


# What people do


def test_retry(site: Site) -> None:
    id = site.store.message()
    dead = site.store.delivery(id, "dead")
    client = site.client("otto")
    answer = post(client, f"/deliveries/{dead}/retry", f"/messages/{id}")
    assert answer.status_code == 303
    assert answer.location == f"/messages/{id}#delivery-{dead}"
    assert site.acted == [("retry", dead, "otto")]
    assert "It is done." in client.get(f"/messages/{id}").text
    site.possible = False
    post(client, f"/deliveries/{dead}/retry", f"/messages/{id}")
    assert "Nothing to do." in client.get(f"/messages/{id}").text
    assert post(client, f"/deliveries/{NOBODY}/retry", f"/messages/{id}").status_code == 404


def test_roles(site: Site) -> None:
    id = site.store.message()
    dead = site.store.delivery(id, "dead")
    viewer = site.client("vera")
    assert "/retry" not in viewer.get(f"/messages/{id}").text
    answer = post(viewer, f"/deliveries/{dead}/retry")
    assert answer.status_code == 403
    assert "This needs the role operator." in answer.text
    assert site.acted == []
    assert post(site.client("edda"), f"/deliveries/{dead}/retry").status_code == 303
    site.users["edda"] = auth.User(HASHES["edda"], "emperor")
    assert site.client().get("/messages").status_code == 303


# Downloads


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.pdf", "a.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("", "attachment-1"),
        ("...", "attachment"),
        ("x\r\nSet-Cookie: a=b", "x Set-Cookie: a=b"),
        ("inv\u202egpj.exe", "invgpj.exe"),
        ("größe.txt", "gr%C3%B6%C3%9Fe.txt"),
        ('a"; filename="b', "a'; filename='b"),
        ("x" * 5000, "x" * 150),
    ],
)
def test_attachments_are_for_the_disk_only(site: Site, name: str, shown: str) -> None:
    data = b"<script>alert(1)</script>" * 1000
    id = site.store.message(files=((name, data),))
    answer = site.client("vera").get(f"/messages/{id}/attachments/0")
    assert answer.status_code == 200
    assert answer.data == data
    headers = answer.headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Length"] == str(len(data))
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    disposition = headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename")
    assert shown in disposition
    assert "Set-Cookie" not in headers
    assert "\n" not in disposition and len(disposition) < 500


def test_payload(site: Site) -> None:
    id = site.store.message(payload=b' {"Message": {"Subject": "x"}}')
    answer = site.client("vera").get(f"/messages/{id}/payload")
    assert answer.data == b' {"Message": {"Subject": "x"}}'
    assert answer.headers["Content-Disposition"] == f"attachment; filename=payload-{id}.json"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    raw = site.store.message(payload=b"From: x")
    assert f"payload-{raw}.txt" in site.client("vera").get(f"/messages/{raw}/payload").headers["Content-Disposition"]


def test_attachments_that_are_not_there(site: Site) -> None:
    id = site.store.message(files=(("a", b"1"),))
    client = site.client("vera")
    for position in ("1", "99999999999999999999", "-1", "x"):
        assert client.get(f"/messages/{id}/attachments/{position}").status_code == 404


def test_the_html_of_a_mail_is_framed_and_harmless(site: Site) -> None:
    source = "<p onclick=x>hello <script>alert(1)</script><img src=http://x/y alt=cat></p>"
    id = site.store.message("html", html=source)
    client = site.client("vera")
    assert f'src="/messages/{id}/html"' in client.get(f"/messages/{id}").text
    frame = client.get(f"/messages/{id}/html")
    assert "<p>hello cat</p>" in frame.text and "script" not in frame.text
    policy = frame.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "allow-scripts" not in policy
    assert client.get(f"/messages/{site.store.message('plain')}/html").status_code == 404
    assert site.client().get(f"/messages/{id}/html").status_code == 303


def test_what_was_cut_of_the_text_is_shown_apart(site: Site) -> None:
    text = "New words\n\n-- \nJo\n\nOn Mon, 16 Nov 2026 at 10:01, Ada <ada@example.com> wrote:\n> old words"
    page = site.client("vera").get(f"/messages/{site.store.message('a', text=text)}").text
    assert re.search(r">Signature <.*?Jo.*?>Quoted text <.*?old words", page, re.DOTALL)


def test_kinds_and_evidence(site: Site) -> None:
    id = site.store.message(
        "a",
        kinds=(Verdict("auto_reply", "Auto-Submitted: <auto-replied>"),),
        found_by="the Message-ID <1@x>, which is known",
    )
    client = site.client("vera")
    assert ">auto reply<" in client.get("/messages").text
    page = client.get(f"/messages/{id}").text
    assert "Auto-Submitted: &lt;auto-replied&gt;" in page and "found by" in page and "&lt;1@x&gt;" in page


@pytest.mark.parametrize(("verb", "state"), [("release", "held"), ("discard", "held"), ("discard", "unmatched")])
def test_decisions(site: Site, verb: str, state: str) -> None:
    id = site.store.message("waits", state=state)
    client = site.client("otto")
    assert f"/messages/{id}/{verb}" in client.get(f"/messages/{id}").text
    assert post(client, f"/messages/{id}/{verb}").status_code == 303
    assert site.acted == [(verb, id, "otto")]
    assert "It is done." in client.get(f"/messages/{id}").text
    site.possible = False
    post(client, f"/messages/{id}/{verb}")
    assert "Nothing to do." in client.get(f"/messages/{id}").text
    assert post(client, f"/messages/{NOBODY}/{verb}").status_code == 404
    viewer = site.client("vera")
    assert f"/messages/{id}/{verb}" not in viewer.get(f"/messages/{id}").text
    assert post(viewer, f"/messages/{id}/{verb}").status_code == 403


def test_nothing_is_to_decide_about_a_routed_message(site: Site) -> None:
    page = site.client("otto").get(f"/messages/{site.store.message('done')}").text
    assert "/release" not in page and "/discard" not in page

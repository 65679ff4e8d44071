"""The overview: what it says of the mail, where its parts lead, and that it keeps its shape whatever comes."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from dashboard_site import Site
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.ids import now_ms
from postroom.store import statistics
from postroom.store.search_index import index_next
from postroom.store.statistics import LATENCIES, Flow, Slot
from postroom.web import charts, flow
from postroom.web.destinations import Way
from postroom.web.overview import Concern
from postroom.web.refusals import Refusals, Refused

HOUR = 3_600_000
DELIVERED = (None, 200, "delivered", 200, None, None)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "postroom.db")


def index(site: Site) -> None:
    while index_next(site.store.db, 50):
        pass
    while statistics.count_attempts(site.store.db, 50):
        pass


def attempt(at: int, result: str = "delivered", took: int = 80) -> tuple[int, int, str, int, None, None]:
    return (at, took, result, 200, None, None)


def mail(site: Site, state: str = "delivered", rule: str = "Crash reports", destination: str = "jira") -> str:
    now = now_ms()
    id = site.store.message("Crash", matched=(rule,))
    attempts = (attempt(now),) if state == "delivered" else (attempt(now, "failed"),)
    site.store.delivery(id, state, destination=destination, rule=rule, attempts=attempts, reason="503")
    return id


def links(page: str) -> list[str]:
    return [html.unescape(each) for each in re.findall(r'href="([^"]+)"', page)]


def searches(page: str) -> set[str]:
    """What the links to the list search for."""
    return {parse_qs(urlsplit(each).query).get("q", [""])[0] for each in links(page) if each.startswith("/messages?")}


# What it says


def test_the_flow_and_its_links(site: Site) -> None:
    for _ in range(3):
        mail(site)
    dead = mail(site, "dead", destination="ops-hook", rule='Odd "rule" here')
    held = site.store.message("Waits", state="held", matched=("Hold",))
    index(site)
    client = site.client("vera")
    page = client.get("/").text
    assert {
        'rule:"Crash reports" after:24h',
        'rule:"Crash reports" dest:"jira" after:24h',
        'dest:"jira" after:24h',
        'rule:"Hold" state:held after:24h',
        'dest:"ops-hook" state:dead after:24h',
        "after:24h",
    } <= searches(page)
    for search, found in (('dest:"ops-hook" state:dead after:24h', dead), ("state:held after:24h", held)):
        shown = client.get("/messages", query_string={"q": search}).text
        assert f"/messages/{found}" in shown and shown.count('class="subject"') == 1
    odd = next(each for each in searches(page) if "Odd" in each)
    assert f"/messages/{dead}" not in client.get("/messages", query_string={"q": "nowhere"}).text
    assert '"rule"' not in odd
    table = page[page.index('id="flow-table"') :]
    assert re.search(r"Crash reports</bdi></td><td>jira</td><td class=\"number\"><a [^>]+>3</a>", table)
    assert "1 dead" in page and "is-held" in page


def test_what_needs_a_person(site: Site) -> None:
    mail(site)
    index(site)
    client = site.client("vera")
    assert "Nothing needs a person" in client.get("/").text
    mail(site, "dead")
    site.store.message(state="held"), site.store.message(state="unmatched"), site.store.message(state="unmatched")
    site.ways += [Way("shut", "webhook", "Posts JSON.", "none", True)]
    site.concerns = [Concern("the rules on disk were not taken", "/rules", more=("rules/a.yaml:1:1: <b>bad</b>",))]
    site.refusals = {"socketlabs": Refused(3, now_ms() - 5_000)}
    for name, at, who, opened in (("jira", None, None, 5), ("ops-hook", 5, "ada", None)):
        site.store.db.execute(
            "INSERT INTO destinations (name, paused_at, paused_by, pause_reason, opened_at, error)"
            " VALUES (?, ?, ?, '<i>tea</i>', ?, 'jira answered 503')",
            (name, at, who, opened),
        )
    page = client.get("/").text
    assert "Nothing needs a person" not in page
    for sentence, link in (
        ("1 message held", "/messages?state=held"),
        ("2 messages unmatched", "/messages?state=unmatched"),
        ("1 delivery given up", "/messages?state=dead"),
        ("jira fails again and again; its deliveries wait: jira answered 503", "/destinations#jira"),
        ("ops-hook is paused by ada", "/destinations#ops-hook"),
        ("he rules on disk were not taken", "/rules"),
    ):
        assert sentence in " ".join(re.sub(r"<[^>]*>", "", page).split()), sentence
        assert link in links(page), link
    assert "The way in socketlabs refused 3 requests in the last day" in page
    assert "&lt;b&gt;bad&lt;/b&gt;" in page and "&lt;i&gt;tea" in page and "<i>tea" not in page
    assert "shut" in page, "paused in config.yaml is no trouble while nothing waits"
    assert "shut is paused in config.yaml" not in page


def test_figures_of_each_range(site: Site) -> None:
    now = now_ms()
    for age in (0, 3 * HOUR, 5 * 24 * HOUR, 20 * 24 * HOUR, 80 * 24 * HOUR):
        id = site.store.message(received_at=now - age)
        site.store.delivery(id, attempts=(attempt(now - age + 900, "failed"), attempt(now - age + 1_900, took=0)))
    index(site)
    client = site.client("vera")
    for name, count in (("1h", 1), ("24h", 2), ("7d", 3), ("30d", 4), ("90d", 5)):
        page = client.get(f"/?range={name}").text
        assert re.search(rf"<dt>Messages</dt><dd><a [^>]+>{count}</a>", page), name
        assert f"<dt>Delivered</dt><dd>{count}</dd>" in page
        assert f"<dt>Failed attempts</dt><dd>{count}</dd>" in page
        assert "<dt>Half delivered within</dt><dd>≤ 3 s</dd>" in page
        assert f'range={name}" aria-current="true"' in page
    assert client.get("/?range=2y").status_code == 400


def test_links_of_old_lead_to_the_list(site: Site) -> None:
    client = site.client("vera")
    for query in ("q=a%26b&state=held", "state=dead", "before=7", "q="):
        answer = client.get(f"/?{query}")
        assert (answer.status_code, answer.location) == (302, f"/messages?{query}")


def test_the_part_that_renews_itself(site: Site) -> None:
    mail(site)
    index(site)
    client = site.client("vera")
    part = client.get("/?range=7d", headers={"HX-Request": "true"}).text
    assert part.lstrip().startswith('<div id="live"') and "<html" not in part
    assert 'hx-get="/?range=7d"' in part
    whole = client.get("/?range=7d").text
    assert part.strip()[:200] in whole
    stranger = site.client().get("/", headers={"HX-Request": "true"})
    assert stranger.status_code == 303


def test_an_empty_store_leads_a_newcomer(site: Site) -> None:
    page = site.client("vera").get("/").text
    assert "No mail has arrived yet" in page and "https://mail.example.com/inbound/socketlabs" in page


def test_names_of_any_kind_are_harmless(site: Site) -> None:
    name = '"><script>alert(1)</script>\u202egpj.exe' + "x" * 3_000
    mail(site, rule=name)
    site.store.message(matched=(name,), state="held")
    index(site)
    page = site.client("vera").get("/").text
    assert "<script>alert" not in page and "\u202e" not in page
    assert len(page) < 100_000


# The picture

NAMES = st.sampled_from(("", *(f"name {number}" for number in range(40))))
FLOWS = st.builds(
    Flow,
    ingress=st.sampled_from(("mail", "other", "third")),
    rule=NAMES,
    destination=st.one_of(NAMES.filter(bool), st.sampled_from(tuple(flow.TONES))),
    count=st.integers(1, 100_000),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(FLOWS, max_size=60, unique_by=lambda each: (each.ingress, each.rule, each.destination)))
def test_the_picture_keeps_its_shape(flows: list[Flow]) -> None:
    flows = sorted(flows, key=lambda each: -each.count)
    total = sum(each.count for each in flows)
    picture = flow.draw(flows, {}, {"name 1": 3}, lambda rule, destination: f"{rule}>{destination}")
    for column in picture.columns:
        assert len(column) <= flow.MOST
        assert sum(node.count for node in column) == total
        below = 0.0
        for node in column:
            assert node.y >= below - 0.01 and node.height > 0 and 0 <= node.share <= 1
            below = node.y + node.height
        assert below <= picture.height + 0.01
    states = {each.destination for each in flows} & set(flow.TONES)
    assert {node.key for node in picture.columns[2]} >= states, "what went nowhere is always shown"
    assert all("\0" not in (node.label + (node.url or "")) for column in picture.columns for node in column)
    assert all("\0" not in band.title + (band.url or "") for band in picture.bands)


def test_nothing_is_no_picture() -> None:
    assert flow.draw([], {}, {}, lambda rule, destination: None).bands == []


# Charts and words


def test_bars_fit_and_lead_to_their_messages() -> None:
    slots = [Slot(at * HOUR, messages, messages * 2, at) for at, messages in enumerate((0, 5, 1_000))]
    for chart in (charts.messages(slots), charts.attempts(slots)):
        assert all(bar.y >= 0 and bar.y + bar.height <= charts.HEIGHT + 1.5 for bar in chart.bars)
        assert max(bar.x for bar in chart.bars) < chart.width
    assert charts.messages(slots).bars[0].url == "after:1970-01-01T01:00 before:1970-01-01T02:00"
    assert charts.attempts([Slot(0, 0, 0, 0)]).bars == () and charts.ticks([]) == ("", "", "")


def test_latencies_in_words() -> None:
    told = [charts.within(each) for each in (None, *LATENCIES, LATENCIES[-1] + 1)]
    assert told == [
        "–", "≤ 100 ms", "≤ 300 ms", "≤ 1 s", "≤ 3 s", "≤ 10 s", "≤ 30 s", "≤ 1 min", "≤ 5 min", "≤ 30 min", "≤ 2 h",
        "≤ 1 day", "> 1 day",
    ]  # fmt: skip


def test_refusals_are_counted_for_a_day_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_790_000_000_000]
    monkeypatch.setattr("postroom.web.refusals.now_ms", lambda: clock[0])
    refusals = Refusals()
    for _ in range(1_500):
        refusals.note("mail")
    clock[0] += 20 * HOUR
    refusals.note("other")
    found = refusals.lately()
    assert found["mail"].count == 1_000 and found["mail"].more and not found["other"].more
    clock[0] += 5 * HOUR
    assert set(refusals.lately()) == {"other"}

"""The kind `misago` against its stand-in: what a real forum (test_real_misago.py) does not do at will."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.misago import categories_named, in_misagos_words, post_body, thread_body
from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration, Receipt
from tests.kinds import attachment, job
from tests.servers import Receiver
from tests.standins.misago import CATEGORIES, FakeMisago, MisagoStandin


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[MisagoStandin]:
    with Receiver() as receiver:
        yield MisagoStandin(tmp_path, receiver)


@pytest.fixture
def forum(standin: MisagoStandin) -> Integration:
    return standin.integration()


@pytest.fixture
def fake(standin: MisagoStandin) -> FakeMisago:
    fake: FakeMisago = standin.well
    return fake


def failure(destination: Integration, /, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        destination.deliver(job(**options))
    return caught.value


def test_bodies() -> None:
    fields = {"category": "Support", "pinned": "globally"}
    assert thread_body(5, "On fire", "text", [1, 2], fields) == {
        "category": 5, "title": "On fire", "post": "text", "attachments": [1, 2], "pin": 2,
    }  # fmt: skip
    assert post_body("text", []) == {"post": "text"}


def test_words_that_misago_reads_otherwise() -> None:
    assert (
        in_misagos_words(r"\~\~gone\~\~ \\\| a \* !(x) ![a](b)")
        == r"&#126;&#126;gone&#126;&#126; \\&#124; a \* !\(x) ![a](b)"
    )


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [("first CATEGORY", [3]), ("Printers", [5, 7]), ("Support/printers", [5]), ("archive/printers", [7]), ("x", [])],
)
def test_categories(wanted: str, numbers: list[int]) -> None:
    assert categories_named(CATEGORIES, wanted) == numbers


def test_a_category_of_several_is_asked_back(forum: Integration, fake: FakeMisago) -> None:
    assert (
        failure(forum, category="Printers").reason == "Misago has several categories 'Printers': write `parent/child`"
    )
    forum.deliver(job(category="archive/printers"))
    assert fake.threads[1]["sent"]["category"] == 7
    refused = failure(forum, category="4")
    assert refused.permanent and refused.reason == "Misago refused the thread: Selected category is invalid."


def test_no_category(standin: MisagoStandin) -> None:
    error = failure(standin.integration(category=None))
    assert error.permanent and error.reason == "neither the rule nor the destination names a category"


def test_signs_in_once(forum: Integration, fake: FakeMisago) -> None:
    item = forum.deliver(job(attachment()))
    forum.deliver(job(item=item))
    assert fake.signed_in == 1


def test_signs_in_again(forum: Integration, fake: FakeMisago) -> None:
    first = job()
    item = forum.deliver(first)
    for again in (lambda: forum.find(first), lambda: forum.deliver(job(item=item)), lambda: forum.deliver(job())):
        fake.sessions.clear()
        assert again() is not None
    assert fake.signed_in == 4 and len(fake.threads) == 2 and len(fake.posts) == 3


def test_an_account_that_may_not_sign_in(standin: MisagoStandin) -> None:
    error = failure(standin.integration(password=Secret("another")))
    assert error.permanent and error.status == 400 and "Login or password is incorrect." in error.reason
    assert "another" not in error.reason + error.answer


def test_flood_control_waits(forum: Integration, fake: FakeMisago) -> None:
    item = forum.deliver(job())
    fake.flood = True
    for error in (failure(forum), failure(forum, item=item)):
        assert (
            error.limited
            and error.retry_after == 3
            and not error.permanent
            and not error.unknown
            and not error.item_gone
        )


def test_a_text_of_long_words_is_cut_as_misago_counts(forum: Integration, fake: FakeMisago) -> None:
    delivery = job(body=r"\~ " * 15_000)
    forum.deliver(delivery)
    text = fake.threads[1]["sent"]["post"]
    assert 50_000 < len(text) <= 60_000 and text.endswith(delivery.marker) and text.startswith("&#126; &#126;")


def test_an_upload_that_failed_made_nothing(standin: MisagoStandin, forum: Integration, fake: FakeMisago) -> None:
    standin.receiver.answer = lambda request: None if request.path == "/api/attachments/" else fake(request)
    with pytest.raises(DeliveryError) as caught:
        forum.deliver(job(attachment()))
    assert not caught.value.permanent and not caught.value.unknown and not fake.threads


def test_more_files_than_a_post_takes(forum: Integration, fake: FakeMisago) -> None:
    forum.deliver(job(*(attachment(f"{number}.txt") for number in range(18))))
    assert len(fake.threads[1]["sent"]["attachments"]) == 16
    assert "Attachment not taken: 17.txt" in fake.threads[1]["sent"]["post"].replace("\\", "")


def test_the_type_of_a_file_is_that_of_its_name(forum: Integration, fake: FakeMisago) -> None:
    forum.deliver(job(attachment("scan.pdf", b"%PDF", "application/octet-stream")))
    assert fake.files[1]["post"] == 1


@pytest.mark.parametrize("searches", [True, False], ids=["waiting for approval", "no right to search"])
def test_finds_what_no_search_shows(forum: Integration, fake: FakeMisago, searches: bool) -> None:
    fake.searches, fake.moderated = searches, searches
    first = job()
    assert forum.find(first) is None
    item = forum.deliver(first)
    for _ in range(5):
        forum.deliver(job(item=item))
    assert forum.find(first) == item
    reply = job(item=item)
    assert forum.find(reply) is None
    forum.deliver(reply)
    assert forum.find(reply) == item


def test_a_thread_without_replies_is_left(forum: Integration, fake: FakeMisago) -> None:
    item = forum.deliver(job())
    fake.threads[1]["can_reply"] = False
    closed = failure(forum, item=item)
    assert closed.item_gone and not closed.permanent and not closed.limited
    gone = failure(forum, item=Receipt("99"))
    assert gone.item_gone and not gone.permanent
    assert failure(forum, item=Receipt("../x")).reason == "the item '../x' is no thread of Misago"


def test_state(forum: Integration, fake: FakeMisago) -> None:
    steps: dict[str, str] = {}
    item = forum.deliver(job(state="closed", record=steps.__setitem__))
    assert fake.threads[1]["is_closed"] and steps == {"item": "1", "state": "closed"}
    forum.deliver(job(item=item, state="open"))
    assert not fake.threads[1]["is_closed"]
    member = forum.deliver(job(category="archive/printers"))
    error = failure(forum, item=member, state="closed")
    assert error.permanent and "You don't have permission to close this thread." in error.reason


def test_check(forum: Integration, standin: MisagoStandin) -> None:
    assert list(forum.check()) == [
        "known as Postroom (bot@example.com)",
        "may start threads in First category, Printers, Printers",
        "may attach files of 4096 kB",
        "may close threads",
    ]
    assert standin.integration(category="Archive").check()[-1] == "may not start threads in 'Archive'"
    assert "no category 'X'" in standin.integration(category="X").check()[-1]

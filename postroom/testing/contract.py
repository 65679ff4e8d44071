"""What every kind of destination owes, as tests: a module of tests subclasses `IntegrationContract`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from postroom.config import DestinationCommon
from postroom.exchange import DeliveryError
from postroom.fields import specs
from postroom.integration import Guarantee, Integration, Job, Receipt
from postroom.testing.faults import FAULTS, Faulty
from postroom.testing.jobs import SECRET, attachment, deliver_in_the_end, job
from postroom.testing.servers import CLOSE, Receiver, Reply, closed_port, raw_server
from postroom.testing.standin import Standin

FOR_ALL = frozenset(("title", "body", "footer", "attachments", "per_recipient", "reuse"))
"""Every action takes these."""
TITLE = "The printer in the cellar is on fire"
BODY = "It burns, and there is nobody here to put it out."
SEARCHED = (Guarantee.CONSISTENT_SEARCH, Guarantee.LAGGING_SEARCH)
ANSWERS = {
    "400": (Reply(400), True, False),
    "401": (Reply(401), True, False),
    "403": (Reply(403), True, False),
    "404": (Reply(404), True, False),
    "429": (Reply(429, headers={"Retry-After": "7"}), False, False),
    "500": (Reply(500), False, True),
    "503": (Reply(503), False, True),
    "redirect": (Reply(302, headers={"Location": "http://elsewhere.example/"}), True, False),
    "closed": (CLOSE, False, True),
    "torn": (Reply(201, b"x" * 9, cut=3), False, True),
}
"""An answer, and whether the error it makes is permanent, and its result unknown."""
SENSELESS = (b"<html>hi</html>", b"[]", b"{}", b"null", b'{"issue": 7}', b'{"issue": {"id": "x"}}', b'{"data": [{}]}')


class IntegrationContract:
    """The tests of one kind. A subclass names its stand-in, whose `kind` is what is tested."""

    standin: ClassVar[type[Standin]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.standin.speaks_http:
            for name in ONLINE:
                setattr(cls, name, None)  # pytest looks past it

    @pytest.fixture
    def there(self, tmp_path: Path) -> Iterator[Standin]:
        """The system that is delivered to."""
        with Receiver() as receiver:
            yield self.standin(tmp_path, receiver)

    def test_declares_itself(self, there: Standin) -> None:
        kind = type(there.integration())
        assert kind.summary.endswith("."), "the summary is a sentence"
        assert isinstance(kind.guarantee, Guarantee) and kind.__doc__
        options, fields = specs(kind.Options), specs(kind.Fields)
        assert not {"kind", *specs(DestinationCommon)} & set(options), "every destination takes these: no kind's own"
        assert not FOR_ALL & set(fields), "every action takes these: they are no kind's own"
        assert all(spec.doc for spec in [*options.values(), *fields.values()]), "each has a text for the docs"
        assert all(not spec.required for spec in fields.values()), "a comment on an item fills in nothing"
        assert (kind.search_lag > 0) == (kind.guarantee is Guarantee.LAGGING_SEARCH), (
            "of lagging searches, and no other"
        )

    def test_delivers(self, there: Standin) -> None:
        receipt = there.integration().deliver(job(attachment()))
        assert isinstance(receipt, Receipt) and there.made() == 1

    def test_a_repeat_makes_nothing_again(self, there: Standin) -> None:
        """As the dispatcher does after an attempt whose result is unknown: find, record, deliver."""
        integration = there.integration()
        once = job(attachment(), attachment("b.txt"))
        guarantee = guarantee_of(integration)
        if guarantee is Guarantee.NONE:
            return  # it is said that a duplicate is possible
        assert integration.find(once) is None
        first = integration.deliver(once)
        if guarantee is Guarantee.NATIVE_KEY:
            integration.deliver(once)
        else:
            found = integration.find(once)
            assert found == first and found is not None
            assert integration.deliver(job(key=once.key, steps=_found(found))) == first
        assert there.made() == 1
        integration.deliver(job())
        assert there.made() == 2

    def test_later_mail_comments(self, there: Standin) -> None:
        integration = there.integration()
        if not opens_items(integration):
            return
        item = integration.deliver(job())
        reply = job(item=item)
        assert integration.find(reply) is None
        receipt = integration.deliver(reply)
        assert receipt.reference == item.reference and there.made() == 1
        if guarantee_of(integration) in SEARCHED:
            assert integration.find(reply) == receipt
        steps = {"comment": receipt.reference or ""}
        assert integration.deliver(job(key=reply.key, item=item, steps=steps)) == receipt

    def test_a_reference_is_enough_to_comment_on(self, there: Standin) -> None:
        """An `update` has no fields of a rule, and a restart forgets all but the reference."""
        integration = there.integration()
        if not opens_items(integration):
            return
        item = integration.deliver(job())
        again = there.integration().deliver(job(item=Receipt(item.reference), state="closed"))
        assert again.reference == item.reference and there.made() == 1

    @pytest.mark.parametrize("answer", ANSWERS)
    def test_faults_are_sorted(self, there: Standin, answer: str) -> None:
        reply, permanent, unknown = ANSWERS[answer]
        there.receiver.answer = reply
        error = failure(there.integration())
        assert (error.permanent, error.unknown) == (permanent, unknown)
        assert error.retry_after == (7 if reply.status == 429 else None)
        there.reset()
        there.integration().deliver(job())

    @pytest.mark.parametrize("body", SENSELESS)
    def test_an_answer_that_makes_no_sense_is_never_a_crash(self, there: Standin, body: bytes) -> None:
        for status in (200, 201, 422):
            there.receiver.answer = Reply(status, body)
            integration = there.integration()
            calls: Sequence[Callable[[], object]] = (
                lambda: integration.deliver(job(attachment())),  # noqa: B023
                lambda: integration.find(job()),  # noqa: B023
                lambda: integration.check(),  # noqa: B023
            )
            for call in calls:
                try:
                    call()
                except DeliveryError as error:
                    assert error.reason

    def test_nobody_there_and_nobody_answering(self, there: Standin) -> None:
        error = failure(there.integration(url=f"http://127.0.0.1:{closed_port()}"))
        assert not error.permanent and not error.unknown
        with raw_server(lambda client: time.sleep(5)) as url:
            error = failure(there.integration(url=url))
        assert error.unknown and not error.permanent

    def test_no_secret_is_shown(self, there: Standin, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        integration = there.integration()
        # Where an account signs in, its password stands in the body.
        there.receiver.answer = lambda request: Reply(400, repr((request.body[:100], request.headers)).encode())
        error = failure(integration)
        assert "***" in error.answer
        shown = [error.reason, error.answer, str(error), repr(error)]
        shown += [repr(integration), repr(integration.options), caplog.text]
        assert not any(SECRET in text for text in shown)

    def test_looking_changes_nothing(self, there: Standin) -> None:
        """`find` and `check` only look."""
        integration = there.integration()
        said = integration.check()
        assert not isinstance(said, str) and all(isinstance(each, str) and each for each in said)
        integration.find(job())
        changing = [request for request in there.receiver.requests if there.mutates(request)]
        assert not changing and there.made() == 0

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_at_any_request(self, there: Standin, tmp_path: Path, fault: str) -> None:
        """A conversation, with a fault at each request that changes something: each thing is made, and made once."""
        guarantee = guarantee_of(there.integration())
        expected, well = self._conversation(tmp_path / "well", "", 0)
        for at in range(1, len(well.changing) + 1):
            made, faulty = self._conversation(tmp_path / f"at_{at}", fault, at)
            if guarantee is Guarantee.NONE and fault != "refused before":
                assert made["items"] >= expected["items"], str(faulty)
            else:
                assert made == expected, str(faulty)

    def _conversation(self, folder: Path, fault: str, at: int) -> tuple[dict[str, Any], Faulty]:
        """What two mails with attachments and a close make, and what changed something for it."""
        folder.mkdir()
        with Receiver() as receiver:
            there = self.standin(folder, receiver)
            faulty = Faulty(there, fault, at)
            integration = there.integration()
            files = (attachment(), attachment("b.txt", b"b")), (attachment(content=b"other"), attachment("c.txt", b"c"))
            item = deliver_in_the_end(integration, job(*files[0], title=TITLE, body=BODY))
            opened = item if opens_items(integration) else None
            deliver_in_the_end(integration, job(*files[1], title=TITLE, body=BODY, item=opened))
            if opened is not None:
                deliver_in_the_end(integration, job(title=TITLE, body=BODY, item=opened, state="closed"))
            counts = {name: len(getattr(there, name)()) for name in ("texts", "comments")}
            made = {"items": there.made(), **counts, "attached": sorted(there.attached()), "state": there.state()}
            return made, faulty


ONLINE = (
    "test_faults_are_sorted",
    "test_an_answer_that_makes_no_sense_is_never_a_crash",
    "test_nobody_there_and_nobody_answering",
    "test_no_secret_is_shown",
    "test_a_fault_at_any_request",
)
"""Tests of what speaks HTTP."""


def opens_items(integration: Integration) -> bool:
    """Whether later mail of a conversation comments there."""
    return integration.opens_items(integration.options)


def guarantee_of(integration: Integration) -> Guarantee:
    """That of this destination, with its options."""
    return integration.guarantee_of(integration.options)


def failure(integration: Integration, to: Job | None = None) -> DeliveryError:
    """How a delivery fails."""
    with pytest.raises(DeliveryError) as caught:
        integration.deliver(to or job())
    return caught.value


def _found(receipt: Receipt) -> dict[str, str]:
    """The steps that the dispatcher records of what was found."""
    return {"item": receipt.reference or "", **({"url": receipt.url} if receipt.url else {})}

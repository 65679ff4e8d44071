"""What every kind of destination owes, over every kind there is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom import integration as contract
from postroom.exchange import DeliveryError
from postroom.fields import Secret, specs
from postroom.integration import Guarantee, Integration, Receipt, discover
from postroom.problems import InvalidFiles
from tests.kinds import KINDS, SECRET, attachment, build, documented, job
from tests.servers import CLOSE, Receiver, Reply, closed_port, raw_server
from tests.standins import Standin, standins

pytestmark = pytest.mark.filterwarnings("error")
STANDINS = standins()
COMMON = {"kind", "timeout", "concurrency", "rate", "paused", "retry", "allow_private", "circuit"}
FOR_ALL = {"title", "body", "footer", "attachments", "per_recipient", "reuse"}
DOCS = Path(__file__).parent.parent / "docs/integrations.md"


@pytest.fixture(params=sorted(KINDS))
def standin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Standin]:
    with Receiver() as receiver:
        yield STANDINS[request.param](tmp_path, receiver)


@pytest.fixture(params=[kind for kind in sorted(KINDS) if STANDINS[kind].speaks_http])
def online(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Standin]:
    with Receiver() as receiver:
        yield STANDINS[request.param](tmp_path, receiver)


def attempt(integration: Integration, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        integration.deliver(job(**options))
    return caught.value


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_declares_itself(kind: type[Integration]) -> None:
    assert kind.summary.endswith(".") and isinstance(kind.guarantee, Guarantee) and kind.__doc__
    options, fields = specs(kind.Options), specs(kind.Fields)
    assert not COMMON & set(options), "every destination takes these: they are no kind's own"
    assert not FOR_ALL & set(fields), "every action takes these: they are no kind's own"
    assert not documented(kind.Options) and not documented(kind.Fields)
    assert all(not spec.required for spec in fields.values()), "a comment on an item fills in nothing"
    text = DOCS.read_text()
    section = text.partition(f"\n## {kind.kind}\n")[2].partition("\n## ")[0]
    assert section and kind.guarantee.value in section
    for name in [*options, *fields]:
        assert f"| `{name}` |" in section, f"{name} is not in docs/integrations.md"


def test_delivers(standin: Standin) -> None:
    receipt = standin.integration().deliver(job(attachment()))
    assert isinstance(receipt, Receipt) and standin.made() == 1


def test_a_repeat_makes_nothing_again(standin: Standin) -> None:
    """As the dispatcher does after an attempt whose result is unknown: find, record, deliver."""
    integration = standin.integration()
    once = job(attachment(), attachment("b.txt"))
    assert integration.find(once) is None
    first = integration.deliver(once)
    if integration.guarantee is Guarantee.NATIVE_KEY:
        integration.deliver(once)
    else:
        found = integration.find(once)
        assert found == first and found is not None
        assert integration.deliver(job(key=once.key, steps={"item": found.reference or ""})) == first
    assert standin.made() == 1
    integration.deliver(job())
    assert standin.made() == 2


def test_later_mail_comments(standin: Standin) -> None:
    integration = standin.integration()
    if not integration.makes_items:
        return
    item = integration.deliver(job())
    reply = job(item=item)
    assert integration.find(reply) is None
    receipt = integration.deliver(reply)
    assert receipt.reference == item.reference and standin.made() == 1
    assert integration.find(reply) == receipt
    assert integration.deliver(job(key=reply.key, item=item, steps={"comment": receipt.reference or ""})) == receipt


@pytest.mark.parametrize(
    ("reply", "permanent", "unknown"),
    [
        (Reply(400), True, False), (Reply(401), True, False), (Reply(403), True, False), (Reply(404), True, False),
        (Reply(429, headers={"Retry-After": "7"}), False, False), (Reply(500), False, True), (Reply(503), False, True),
        (Reply(302, headers={"Location": "http://elsewhere.example/"}), True, False), (CLOSE, False, True),
        (Reply(201, b"x" * 9, cut=3), False, True),
    ],
    ids=["400", "401", "403", "404", "429", "500", "503", "redirect", "closed", "torn"],
)  # fmt: skip
def test_faults_are_sorted(online: Standin, reply: Reply, permanent: bool, unknown: bool) -> None:
    online.receiver.answer = reply
    error = attempt(online.integration())
    assert (error.permanent, error.unknown) == (permanent, unknown)
    assert error.retry_after == (7 if reply.status == 429 else None)
    online.reset()
    online.integration().deliver(job())


@pytest.mark.parametrize(
    "body", [b"<html>hi</html>", b"[]", b"{}", b"null", b'{"issue": 7}', b'{"issue": {"id": "x"}}']
)
def test_an_answer_that_makes_no_sense_is_never_a_crash(online: Standin, body: bytes) -> None:
    for status in (200, 201, 422):
        online.receiver.answer = Reply(status, body)
        try:
            online.integration().deliver(job(attachment()))
            online.integration().find(job())
        except DeliveryError as error:
            assert error.reason


def test_nobody_there_and_nobody_answering(online: Standin) -> None:
    error = attempt(online.integration(url=f"http://127.0.0.1:{closed_port()}"))
    assert not error.permanent and not error.unknown
    with raw_server(lambda client: time.sleep(5)) as url:
        error = attempt(online.integration(url=url))
    assert error.unknown and not error.permanent


def test_no_secret_is_shown(online: Standin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    integration = online.integration()
    online.receiver.answer = lambda request: Reply(400, repr(request.headers).encode())
    error = attempt(integration)
    assert "***" in error.answer
    shown = [
        error.reason,
        error.answer,
        str(error),
        repr(error),
        repr(integration),
        repr(integration.options),
        caplog.text,
    ]
    assert not any(SECRET in text for text in shown)


def test_every_kind_has_a_standin() -> None:
    assert set(STANDINS) == set(KINDS)


# Discovery

PLUGIN = """
from dataclasses import dataclass
from postroom.integration import Guarantee, Integration, Receipt, setting
@dataclass(frozen=True)
class ChatOptions:
    room: str = setting("the room")
@dataclass(frozen=True)
class ChatFields:
    pass
class Chat(Integration):
    kind = "chat"
    summary = "Says it."
    guarantee = Guarantee.NONE
    Options = ChatOptions
    Fields = ChatFields
    def deliver(self, job):
        return Receipt()
"""


def test_discovers_a_dropped_file(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(PLUGIN)
    (tmp_path / "_draft.py").write_text("not python")
    kinds = discover(tmp_path, None)
    assert list(kinds) == ["chat"] and specs(kinds["chat"].Options)["room"].required


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("def x(:\n", 1, "no Python"),
        ("\nimport nothing_like_that\n", 2, "does not import: ModuleNotFoundError"),
        (PLUGIN.replace('    kind = "chat"\n', ""), 10, "Chat: a kind of integration needs kind"),
        (PLUGIN.replace('"chat"', '"My Chat"'), 10, "no word of small letters"),
        (PLUGIN.replace("def deliver", "def send"), 10, "needs the method deliver"),
        (PLUGIN.replace("Guarantee.NONE", "Guarantee.CONSISTENT_SEARCH"), 10, "needs the method find"),
        (PLUGIN.replace("Guarantee.NONE", "'none at all'"), 10, "none of the values of Guarantee"),
        (PLUGIN.replace("Options = ChatOptions", "Options = dict"), 10, "Options is no dataclass"),
        (PLUGIN.replace('setting("the room")', '"x"'), 10, "Options: 'room' has no text"),
        (PLUGIN.replace("room: str", "room: 'Strr'"), 10, "Options cannot be read"),
        (
            PLUGIN + PLUGIN.partition("class Chat(")[1] + "Integration): pass\n",
            None,
            "a kind of integration needs kind",
        ),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    (tmp_path / "chat.py").write_text(text)
    with pytest.raises(InvalidFiles) as caught:
        discover(tmp_path, None)
    (problem,) = caught.value.problems
    assert words in problem.message and problem.place.path == str(tmp_path / "chat.py")
    assert line is None or problem.place.line == line


def test_two_kinds_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(PLUGIN)
    (tmp_path / "b.py").write_text(PLUGIN)
    with pytest.raises(InvalidFiles, match=r"b\.py:10:1: Chat: the kind 'chat' is already that of .*a\.py"):
        discover(tmp_path, None)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidFiles, match="does not exist"):
        discover(tmp_path / "none", None)


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name, value = "webhook2", "package.module:Class"

        def load(self) -> Any:
            return KINDS["webhook"]

    monkeypatch.setattr(contract, "entry_points", lambda group: [Entry()])
    assert discover(None, None) == {"webhook": KINDS["webhook"]}


# The kinds' own checks of their settings


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("file", {"path": "/etc/x.log"}, "leads out of data_dir"),
        ("file", {"path": "../x.log"}, "leads out of data_dir"),
        ("file", {"path": "a/../../x.log"}, "leads out of data_dir"),
        ("file", {"path": "link/x.log"}, "leads out of data_dir"),
        ("file", {"path": "postroom.db"}, "must end in"),
        ("webhook", {"url": "http://x", "secret": [Secret("whsec_!")]}, "no base64"),
        ("webhook", {"url": "http://x", "headers": {"webhook-id": Secret("1")}}, "cannot be set"),
        ("webhook", {"url": "http://x", "headers": {"Host": Secret("1")}}, "cannot be set"),
        ("webhook", {"url": "http://x", "headers": {"A": Secret(SECRET + "\r\nB: 1")}}, "no header may hold"),
    ],
)
def test_refuses_settings(tmp_path: Path, kind: str, options: dict[str, Any], words: str) -> None:
    (tmp_path / "link").symlink_to("/tmp")
    with pytest.raises(ValueError, match=words) as caught:
        build(kind, tmp_path, **options)
    assert SECRET not in str(caught.value)

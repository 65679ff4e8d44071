"""What every kind of destination owes, over every kind there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from postroom import integration as contract
from postroom.fields import Secret, specs
from postroom.integration import discover
from postroom.problems import InvalidFiles
from postroom.testing import IntegrationContract
from tests.kinds import KINDS, SECRET, build
from tests.standins import standins

pytestmark = pytest.mark.filterwarnings("error")
STANDINS = standins()

# One class a kind, such as Test_redmine: what pytest's -k takes.
globals().update(
    {
        name: type(name, (IntegrationContract,), {"standin": standin, "__module__": __name__})
        for kind, standin in STANDINS.items()
        if kind in KINDS
        for name in [f"Test_{kind}"]
    }
)


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

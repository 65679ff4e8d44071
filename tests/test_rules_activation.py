"""From a draft of rules to the files on the disk, and back by the history."""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom import rulefiles
from tests.instance import SECRET_KEY
from tests.rules_site import BUGS, REST, House, Person


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "house")
    yield made
    made.db.close()


@pytest.fixture
def edda(house: House) -> Person:
    return Person(house, "edda")


# Files


def test_new_renamed_and_deleted_files(house: House, edda: Person) -> None:
    assert "55-shop.yaml" in edda.press("/rules/new", path="shop/55-shop")
    edda.write("shop/55-shop.yaml", REST.replace("Rest", "Shop"))
    edda.press("/rules/rename", path="90-rest.yaml", to="95-rest.yaml")
    page = edda.press("/rules/delete", path="10-bugs.yaml")
    assert "tick the box" in page
    page = edda.press("/rules/delete", path="10-bugs.yaml", sure="yes")
    assert "deleted" in page and "new" in page
    assert (house.rules / "10-bugs.yaml").exists(), "not before it is activated"
    edda.page("/rules/file", 404, path="10-bugs.yaml")
    edda.press("/rules/draft/activate")
    files = sorted(path.relative_to(house.rules).as_posix() for path in house.rules.rglob("*") if path.is_file())
    assert files == ["95-rest.yaml", "shop/55-shop.yaml"] == sorted(house.active())


@pytest.mark.parametrize(
    "path",
    ["../out.yaml", "/etc/x.yaml", "a/../../b.yaml", ".hidden.yaml", "a\\b.yaml", "a/.b/c.yaml", "~x.yaml", "x\n.yaml"],
)
def test_no_file_leaves_the_folder(house: House, edda: Person, path: str) -> None:
    before = sorted(house.rules.parent.rglob("*"))
    assert "names begin with a letter" in edda.press("/rules/new", path=path)
    edda.press("/rules/rename", path="90-rest.yaml", to=path)
    edda.press("/rules/file?path=" + path, 404, text="rules: []", was="", do="save")
    assert "Nothing is edited" in edda.page("/rules/draft")
    assert sorted(house.rules.parent.rglob("*")) == before


def test_a_test_reads_no_other_file_of_the_machine(house: House, edda: Person) -> None:
    for sample in ("../config.yaml", str(house.rules.parent / "config.yaml")):
        text = BUGS.replace("message: {recipient: support@x.example, subject: A crash}", f"message: {sample}")
        page = edda.write("10-bugs.yaml", text, "test")
        assert "does not lie below the rules folder" in page and SECRET_KEY not in page


def test_a_file_keeps_its_rights_line_ends_and_link(house: House, edda: Person) -> None:
    path = house.rules / "90-rest.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + REST.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    (house.rules / "kept").mkdir()
    (house.rules / "kept" / "real.txt").write_text("rules: []\n")
    (house.rules / "80-link.yaml").symlink_to("kept/real.txt")
    edda.write("90-rest.yaml", REST + "# more\n")
    edda.write("80-link.yaml", "rules: []\n# more\n")
    edda.press("/rules/draft/activate")
    assert path.read_bytes() == b"\xef\xbb\xbf" + (REST + "# more\n").replace("\n", "\r\n").encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (house.rules / "80-link.yaml").is_symlink()
    assert (house.rules / "kept" / "real.txt").read_text() == "rules: []\n# more\n"
    assert [each.name for each in house.rules.rglob(".*")] == [], "nothing is left behind"


def test_a_link_out_of_the_folder_is_not_followed(house: House, edda: Person, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text("rules: []\n")
    (house.rules / "80-link.yaml").symlink_to(outside)
    edda.write("80-link.yaml", "rules: []\n# more\n")
    edda.write("90-rest.yaml", REST + "# more\n")
    assert "leads outside of the rules folder" in edda.press("/rules/draft/activate", 409)
    assert outside.read_text() == "rules: []\n"
    assert (house.rules / "90-rest.yaml").read_text() == REST, "all or nothing"


def test_what_cannot_be_written_changes_nothing(house: House, edda: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    edda.write("10-bugs.yaml", BUGS + "# more\n")
    edda.write("90-rest.yaml", REST + "# more\n")
    real, calls = Path.replace, []

    def full(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    assert "No space left on device" in edda.press("/rules/draft/activate", 409)
    assert (house.rules / "10-bugs.yaml").read_text() == BUGS and (house.rules / "90-rest.yaml").read_text() == REST
    assert len(edda.page("/rules/draft").split("# more")) > 2, "the draft is still there"


def test_a_folder_that_cannot_be_written(house: House, edda: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    edda.write("90-rest.yaml", REST + "# more\n")
    real = os.access
    monkeypatch.setattr(rulefiles.os, "access", lambda path, mode: False if mode & os.W_OK else real(path, mode))
    page = edda.page("/rules/draft")
    assert "cannot be written by Postroom here" in page and 'id="activate" disabled' in page
    archive = zipfile.ZipFile(io.BytesIO(edda.client.get("/rules/draft.zip").data))
    assert {name: archive.read(name).decode() for name in archive.namelist()} == {
        "10-bugs.yaml": BUGS,
        "90-rest.yaml": REST + "# more\n",
    }


# The disk changes meanwhile


def test_a_change_on_the_disk_is_shown_and_never_overwritten(house: House, edda: Person) -> None:
    path = house.rules / "90-rest.yaml"
    edda.write("90-rest.yaml", REST + "# mine\n")
    path.write_text("# theirs\n" + REST)
    page = edda.page("/rules/draft")
    assert "Changed on the disk meanwhile" in page and "# theirs" in page and "# mine" in page
    assert 'id="activate" disabled' in page
    assert "changed on the disk since" in edda.page("/rules/file", path="90-rest.yaml")
    edda.press("/rules/draft/activate", 409)
    assert path.read_text() == "# theirs\n" + REST
    seen = re.search(r'name="seen" value="([^"]*)"', page)
    assert seen
    path.write_text("# theirs, again\n" + REST)
    settle = {"path": "90-rest.yaml", "keep": "mine", "seen": seen[1]}
    assert "changed again on the disk" in edda.press("/rules/draft/settle", **settle)
    seen = re.search(r'name="seen" value="([^"]*)"', edda.page("/rules/draft"))
    assert seen
    page = edda.press("/rules/draft/settle", **{**settle, "seen": seen[1]})
    assert "Changed on the disk meanwhile" not in page
    edda.press("/rules/draft/activate")
    assert path.read_text() == REST + "# mine\n"


def test_the_change_on_the_disk_may_stay(house: House, edda: Person) -> None:
    edda.write("90-rest.yaml", REST + "# mine\n")
    (house.rules / "90-rest.yaml").unlink()
    page = edda.page("/rules/draft")
    seen = re.search(r'name="seen" value="([^"]*)"', page)
    assert seen and seen[1] == ""
    edda.press("/rules/draft/settle", path="90-rest.yaml", keep="disk", seen="")
    assert "Nothing is edited" in edda.page("/rules/draft")
    edda.page("/rules/file", 404, path="90-rest.yaml")


def test_files_that_cannot_be_read_leave_the_active_rules_visible(house: House, edda: Person) -> None:
    (house.rules / "90-rest.yaml").write_bytes(b"rules: \xff\n")
    page = edda.page("/rules")
    assert "no UTF-8 text" in page and "Crashes" in page
    assert "no UTF-8 text" in edda.page("/rules/file", 409, path="10-bugs.yaml")


# History


def test_history_shows_who_changed_what_and_leads_back(house: House, edda: Person) -> None:
    edda.write("90-rest.yaml", REST.replace("Rest", "Everything else"))
    edda.press("/rules/draft/activate")
    page = edda.page("/rules/history")
    assert page.index("Rule set 2") < page.index("Rule set 1") and "edda" in page and "rules folder" in page
    page = edda.page("/rules/history/2")
    assert "name: Everything else" in page and "name: Rest" in page
    edda.page("/rules/history/9", 404)
    assert "tick the box" in edda.press("/rules/history/1/restore")
    assert "The rules are active" in edda.press("/rules/history/1/restore", sure="yes")
    assert (house.rules / "90-rest.yaml").read_text() == REST == house.active()["90-rest.yaml"]
    assert [who for who, _ in house.events()] == ["rules folder", "edda", "edda"]
    assert house.events()[-1][1] == "rule set 1 is active: 2 files"
    edda.press("/rules/history/1/restore", 409, sure="yes")


def test_a_set_of_the_past_as_a_draft(house: House, edda: Person) -> None:
    edda.press("/rules/new", path="50-more.yaml")
    edda.press("/rules/draft/activate")
    edda.write("90-rest.yaml", REST + "# mine\n")
    assert "tick the box" in edda.press("/rules/history/1/draft")
    page = edda.press("/rules/history/1/draft", sure="yes")
    assert "50-more.yaml" in page and "deleted" in page and "# mine" not in page
    edda.press("/rules/draft/activate")
    assert sorted(house.active()) == ["10-bugs.yaml", "90-rest.yaml"]


def test_an_edit_by_hand_is_still_taken_from_the_disk(house: House, edda: Person) -> None:
    (house.rules / "90-rest.yaml").write_text(REST + "# by hand\n")
    for _ in range(3):
        house.app.extensions["rules"].look()
    assert house.events()[-1] == ("rules folder", "rule set 2 is active: 2 files")
    assert "+1" in edda.page("/rules/history")

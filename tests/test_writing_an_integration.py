"""docs/writing-an-integration.md is true: its files, as they stand there, make a kind that passes and delivers."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.fields import specs
from postroom.integration import Integration, Job, discover
from postroom.testing import Receiver, Standin
from tests.conftest import Start
from tests.instance import ROOT, document, message_id_of, run_command

PAGE = (ROOT / "docs/writing-an-integration.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
BUILT = "plugins/desk.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def standin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """The stand-in of the page's tests."""
    for part in ("plugins", "tests"):
        monkeypatch.syspath_prepend(str(folder / part))
    module = importlib.import_module("test_desk")
    with Receiver() as receiver:
        yield module.DeskStandin(folder, receiver)
    for name in ("desk", "test_desk"):
        del sys.modules[name]


def test_the_page_has_the_files_it_speaks_of() -> None:
    assert set(FILES) == {BUILT, "tests/test_desk.py", "config.yaml", "rules/desk.yaml"}
    code = [line for line in FILES[BUILT].splitlines() if line.strip()]
    assert len(code) < 90, "short enough to be read in one go"


def test_its_tests_pass_by_the_command_of_the_page(folder: Path) -> None:
    (command,) = re.findall(r"```sh\n(PYTHONPATH=.*?)\n```", PAGE)
    setting, python, *words = shlex.split(command)
    assert python == "python"
    environ = {**os.environ, "PYTHONPATH": f"{setting.removeprefix('PYTHONPATH=')}:{ROOT}"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 25, "the contract ran"  # type: ignore[index]
    assert "skipped" not in done.stdout


def test_its_contract_fails_where_the_kind_is_wrong(folder: Path) -> None:
    """A kind that looks for nothing makes tickets twice: the contract says so."""
    path = folder / BUILT
    text = path.read_text().replace("        if not ours:\n", "        if True:\n")
    assert text != path.read_text()
    path.write_text(text)
    environ = {**os.environ, "PYTHONPATH": f"plugins:{ROOT}"}
    words = [sys.executable, "-m", "pytest", "-q", "tests/test_desk.py", "-k", "any_request"]
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 1 and "closed after at changing request 1" in done.stdout


def test_it_delivers_from_plugins_dir(folder: Path, standin: Standin, start_instance: Start) -> None:
    settings = {"kind": "desk", "allow_private": True, **{key: str(value) for key, value in standin.options().items()}}
    instance = start_instance(
        rules=FILES["rules/desk.yaml"],
        destinations={"helpdesk": settings},
        plugins_dir=str(folder / "plugins"),
    )
    first = document("Printer on fire", recipient="hardware@customer.example")
    (delivery,) = instance.wait_for_states(instance.post(first).message, "delivered")
    assert (delivery["reference"], delivery["url"]) == ("1", f"{standin.receiver.url}/tickets/1")
    again = document("Re: Printer on fire", recipient="hardware@customer.example", in_reply_to=message_id_of(first))
    instance.wait_for_states(instance.post(again).message, "delivered")
    assert standin.made() == 1 and len(standin.comments()) == 1
    done = instance.command("schema", "rules")
    assert '"queue"' in done.stdout, done.stderr


def test_an_installed_package_offers_it(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (group, entry) = re.search(r'entry-points\."(.*?)"\]\n(.*?)\n', PAGE).groups()  # type: ignore[union-attr]
    name, target = re.fullmatch(r'(\w+) = "(.*)"', entry).groups()  # type: ignore[union-attr]
    site = tmp_path / "site"
    about = site / "postroom_desk-1.0.dist-info"
    about.mkdir(parents=True)
    (site / f"{target.partition(':')[0]}.py").write_text(FILES[BUILT])
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: postroom-desk\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(site))
    kinds = discover(None, None)
    assert kinds["desk"].__module__ == "postroom_desk" and specs(kinds["desk"].Fields)["queue"]
    # The program as people run it: it knows the kind, and that its URL is missing.
    (tmp_path / "config.yaml").write_text("destinations:\n  helpdesk: {kind: desk, token: x}\n")
    done = run_command("check", "--config", "config.yaml", cwd=tmp_path, environ={"PYTHONPATH": str(site)})
    assert done.returncode == 1 and "'url' is missing (address of the help desk)" in done.stdout + done.stderr


def test_the_reference_names_every_member() -> None:
    reference = PAGE.partition("\n# Reference\n")[2]
    members = {name for name in vars(Integration) if not name.startswith("_")} | {*Integration.__annotations__}
    members |= {*Job.__dataclass_fields__, *(name for name, each in vars(Job).items() if callable(each))} - {"once"}
    missing = [name for name in sorted(members) if not name.startswith("_") and f"`{name}" not in reference]
    assert not missing

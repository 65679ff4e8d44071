"""What docs/ingresses.md and config.example.yaml say of the ways in: every kind, every option, examples that load."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import app
from postroom.config import Config
from postroom.fields import specs
from postroom.ingress import KINDS
from postroom.schema import config_schema
from tests.kinds import KINDS as WAYS_OUT

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "ingresses.md").read_text(encoding="utf-8")
SECTIONS = {
    found[1]: found[2] for found in re.finditer(r"^## ([a-z_]+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
}
Load = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    def loading(text: str) -> Config:
        for name in re.findall(r"\$\{([A-Z_]+)\}", text):
            monkeypatch.setenv(name, "whsec_c2VjcmV0")
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return app.load_config(path)[0]

    return loading


def test_every_kind_has_a_section_and_a_row() -> None:
    assert set(SECTIONS) == set(KINDS)
    for kind in KINDS:
        assert f"| [{kind}](#{kind}) |" in PAGE


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_says_what_there_is_to_know(kind: str, load: Load) -> None:
    section = SECTIONS[kind]
    table = "".join(line for line in section.splitlines(keepends=True) if line.startswith("| `"))
    for name in specs(KINDS[kind].Options):
        assert f"`{name}`" in table, f"{kind}: the option {name} is not explained"
    for status in {200, 401, KINDS[kind].unfit, KINDS[kind].busy} if kind != "socketlabs" else {200, 401, 400}:
        assert f"**{status}**" in section, f"{kind}: when does it answer {status}?"
    blocks = re.findall(r"^```yaml\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert blocks, "a section shows what to write"
    for block in blocks:
        assert kind in {way.kind for way in load(block).ingress.values()}


def test_the_first_example_loads(load: Load) -> None:
    block = next(iter(re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)))
    assert load(block).ingress["support"].kind == "mailgun"


def test_the_example_configuration_has_every_kind(load: Load) -> None:
    text = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
    made = text.partition("\ningress:\n")[2].partition("\ndestinations:\n")[0]
    lines = [re.sub(r"^  # (?=[a-z ])", "  ", line) for line in made.splitlines() if not re.match(r"  # [A-Z]", line)]
    block = "\n".join(["ingress:", *lines]).replace("MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCrx...", _public_key())
    assert sorted(load(block).ingress) == sorted(KINDS)


def test_editors_are_told_of_every_kind() -> None:
    choice = config_schema(KINDS, WAYS_OUT)["definitions"]["ingress"]["properties"]["kind"]
    told = dict(zip(choice["enum"], choice["enumDescriptions"], strict=True))
    assert told == {name: kind.summary for name, kind in KINDS.items()}


def test_a_way_in_without_any_secret_is_a_problem_with_its_place(load: Load) -> None:
    from postroom.problems import InvalidFiles

    with pytest.raises(InvalidFiles, match=r"config\.yaml:2.*ingress 'sendgrid': it needs public_key or password"):
        load("ingress:\n  sendgrid: {username: x}\n")


def _public_key() -> str:
    found = re.search(r'public_key: "(.*)"', SECTIONS["postal"])
    assert found is not None
    return found[1]

"""What the documents say is true of the program."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

import app
from postroom import config, dashboard_config
from postroom.cli import commands
from postroom.fields import specs
from postroom.initial import write_config
from postroom.rules import compile_rules
from postroom.store.states import DeliveryState

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _examples(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_first_rule_of_the_readme_loads_beside_the_shipped_ones(tmp_path: Path) -> None:
    rule = next(each for each in _examples(README, "yaml") if each.startswith("rules:"))
    shipped = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.yaml"))}
    files = {"05-mine.yaml": rule, **shipped}
    path = _initial(tmp_path)
    found, kinds = app.load_config(path)
    rule_set = compile_rules(files, config.field_sets(found, kinds))
    assert next(each.name for each in rule_set.rules) == "Job applications"


def test_the_first_destination_of_the_readme_takes_the_place_of_the_file(tmp_path: Path) -> None:
    block = next(each for each in _examples(README, "yaml") if each.startswith("destinations:"))
    path = _initial(tmp_path)
    text = path.read_text(encoding="utf-8")
    line = "  support: {kind: file, path: support.jsonl, items: true}\n"
    assert line in text
    block = block.replace("${REDMINE_API_KEY}", "key")
    path.write_text(text.replace(line, block.removeprefix("destinations:\n")), encoding="utf-8")
    found, kinds = app.load_config(path)
    assert found.destinations["support"].kind == "redmine"
    app.load_rules(dataclasses.replace(found, rules_dir=ROOT / "rules"), kinds)


def test_the_example_configuration_loads_and_has_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "config.example.yaml", tmp_path / "config.yaml")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "redmine-key").write_text("key\n", encoding="utf-8")
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    for name in set(re.findall(r"\$\{([A-Z_]+)\}", text)):
        monkeypatch.setenv(name, "value")
    found, _ = app.load_config(tmp_path / "config.yaml")
    assert str(found.destinations["tracker"].options.api_key) == "key"
    common = (
        config.Server, config.Dispatch, config.MailSemantics, config.LoopBrake, config.Limits, config.Dashboard,
        dashboard_config.User, dashboard_config.ProxyLogin, config.IngressCommon, config.DestinationCommon,
    )  # fmt: skip
    for settings in common:
        for name in specs(settings):
            assert re.search(rf"\b{name}:", text), f"config.example.yaml does not name {name}"


def test_every_command_stands_in_a_document() -> None:
    documents = README + "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    shown = [name for name, command in commands.commands.items() if not command.hidden]
    assert len(shown) >= 7
    for name in shown:
        assert re.search(rf"postroom {name}\b|make {name}\b|app\.py {name}\b", documents), f"no document names {name}"


def test_every_state_of_a_delivery_but_those_nobody_can_reach_is_explained() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for state in DeliveryState:
        if state is not DeliveryState.CANCELLED:
            assert f"`{state}`" in operations


def test_every_dependency_is_explained() -> None:
    explained = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = project[project.index("dependencies = [") : project.index("[project.optional-dependencies]")]
    for name in re.findall(r'"([a-z0-9-]+)>=', block):
        assert re.search(rf"^\| {name} \|", explained, re.MULTILINE), f"docs/dependencies.md does not explain {name}"


def test_links_between_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def _initial(folder: Path) -> Path:
    path = folder / "config.yaml"
    write_config(path, listen="127.0.0.1:8025", public_url=None, rules_dir="rules")
    return path

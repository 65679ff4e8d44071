"""Every kind's documentation: made of the code and not stale, with examples that load, and a page for operators."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import app
from postroom import config
from postroom.config import Config
from postroom.ingress import KINDS as INGRESS_KINDS
from postroom.integration import Guarantee
from postroom.rules import compile_rules
from postroom.schema import config_schema
from tests.instance import ROOT
from tests.kinds import KINDS

PAGES = ROOT / "docs" / "integrations"
STALE = "it is stale; `make docs` makes it anew"
Load = Callable[[str], Config]


def _generator() -> Any:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generator()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a config.yaml of this text, with the secrets that it names."""

    def loading(text: str) -> Config:
        for name in re.findall(r"\$\{([A-Za-z_]\w*)\}", text):
            # Some secrets are URLs.
            url = "json://localhost" if "APPRISE" in name else "https://hooks.example.com/x"
            monkeypatch.setenv(name, url if name.endswith("_URL") else "value")
        for name in re.findall(r"\bfile: (secrets/[\w.-]+)", text):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("value\n")
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        found, _ = app.load_config(tmp_path / "config.yaml")
        return found

    return loading


def test_the_page_of_kinds_is_what_the_code_says() -> None:
    text = generate.PAGE.read_text(encoding="utf-8")
    assert text == generate.page(text, KINDS), STALE


def test_the_example_configuration_is_what_the_code_says() -> None:
    text = generate.EXAMPLE.read_text(encoding="utf-8")
    assert text == generate.example(text, KINDS), STALE


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_an_example_that_loads(load: Load, kind: str) -> None:
    example = KINDS[kind].example
    assert next(iter(yaml.safe_load(example) or [""])) == "kind", "an example begins with its kind"
    found = load(yaml.safe_dump({"destinations": {"here": yaml.safe_load(example)}}))
    assert found.destinations["here"].kind == kind


def test_the_commented_examples_load_as_they_stand(load: Load) -> None:
    """What an operator takes the `#` away from."""
    text = generate.EXAMPLE.read_text(encoding="utf-8")
    made = text.partition(generate.EXAMPLE_BEGIN)[2].partition(generate.EXAMPLE_END)[0]
    lines = [re.sub(r"^  # (?=[a-z ])", "  ", line) for line in made.splitlines() if not re.match(r"  # [A-Z]", line)]
    found = load("\n".join(["destinations:", *lines]))
    assert sorted(found.destinations) == sorted(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_page(load: Load, kind: str) -> None:
    path = PAGES / f"{kind}.md"
    assert path.exists(), f"docs/integrations/{kind}.md is to be written"
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {kind}\n")
    assert not re.search(r"^\|.*\| ?default ?\|", text, re.MULTILINE), "tables of options are made from the code"
    blocks = [
        (block, yaml.safe_load(block)) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]
    destinations = [block for block, data in blocks if "destinations" in data]
    rules = [block for block, data in blocks if "rules" in data]
    assert destinations and rules, "a page shows a destination and a rule"
    named: dict[str, Any] = {}
    for block in destinations:
        assert kind in {each.get("kind", name) for name, each in yaml.safe_load(block)["destinations"].items()}
        named |= yaml.safe_load(block)["destinations"]
    found = load(yaml.safe_dump({"destinations": named}))
    for number, block in enumerate(rules):
        compile_rules({f"{number}.yaml": block}, config.field_sets(found, KINDS))


def test_pages_and_their_links() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} <= set(KINDS), "each page is that of a kind"
    for path in PAGES.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_schema_tells_the_guarantee_of_every_kind() -> None:
    definition = config_schema(INGRESS_KINDS, KINDS)["definitions"]["destination"]
    choice = definition["properties"]["kind"]
    told = dict(zip(choice["enum"], choice["enumDescriptions"], strict=True))
    for name, kind in KINDS.items():
        assert kind.guarantee in told[name]


def test_every_guarantee_is_put_into_words() -> None:
    assert set(generate.GUARANTEES) == set(Guarantee)
    text = generate.PAGE.read_text(encoding="utf-8").partition(generate.BEGIN)[0]
    assert all(f"| {each} |" in text for each in Guarantee)

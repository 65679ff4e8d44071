"""The layout of the program: imports point one way, files stay short, names say what a module is about."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ORDER = (
    # ground
    "postroom.mail",
    "postroom.markdown",
    "postroom.problems",
    "postroom.yamlfile",
    "postroom.fields",
    "postroom.ids",
    # what a mail is, and what is decided about it
    "postroom.message",
    "postroom.normalise",
    "postroom.rawmail",
    "postroom.identity",
    "postroom.bodies",
    "postroom.plan",
    "postroom.recognise",
    "postroom.answer",
    "postroom.rules",
    # the ways in and out
    "postroom.dashboard_config",
    "postroom.config",
    "postroom.connection",
    "postroom.exchange",
    "postroom.pages",
    "postroom.remembered",
    "postroom.logs",
    "postroom.submission",
    "postroom.multipart",
    "postroom.outgoing",
    "postroom.integration",
    "postroom.composition",
    "postroom.rebuilt",
    "postroom.testing",
    "postroom.doorbell",
    "postroom.data_lock",
    "postroom.ingress",
    "postroom.schema",
    # what is kept, and what becomes of it
    "postroom.store",
    "postroom.receive",
    "postroom.acts",
    "postroom.aims",
    "postroom.acting",
    "postroom.rulebook",
    "postroom.trial",
    "postroom.watch",
    "postroom.circuit",
    "postroom.destination",
    "postroom.attempt",
    "postroom.dispatch",
    "postroom.indexer",
    "postroom.ruletests",
    "postroom.export",
    "postroom.timeline",
    "postroom.drafting",
    # what people see and use
    "postroom.listing",
    "postroom.backtest",
    "postroom.explaining",
    "postroom.diffs",
    "postroom.rulefiles",
    "postroom.rulebench",
    "postroom.ruledesk",
    "postroom.web",
    "postroom.sending",
    "postroom.initial",
    "postroom.demo",
    "postroom.supervise",
    "postroom.cli",
    # what uses the package
    "integrations",
    "app",
)
"""A module imports only from modules above it, or from its own package. A new one needs its line here."""

VAGUE = frozenset(("utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff"))
MOST_LINES = 400

FILES = [ROOT / "app.py", *sorted((ROOT / "postroom").rglob("*.py")), *sorted((ROOT / "integrations").rglob("*.py"))]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place_of(module: str) -> int | None:
    """Where in the order a module stands; None for what is none of ours, -1 for ours that stands nowhere."""
    if module == "postroom":
        return 0  # its version alone stands there
    for place, name in enumerate(ORDER):
        if module == name or module.startswith(f"{name}."):
            return place
    return -1 if module.split(".")[0] in ("postroom", "integrations", "app") else None


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports, wherever in it the import stands."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            for alias in node.names:
                # `from postroom import doorbell` imports a module, `from postroom.ids import new_id` a thing in one.
                whole = f"{base}.{alias.name}"
                place = ROOT / whole.replace(".", "/")
                yield node.lineno, whole if place.with_suffix(".py").exists() or place.is_dir() else base


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    module = module_of(path)
    here = place_of(module)
    assert here is not None and here >= 0, f"{module} has no place in ORDER of this test: give it one"
    wrong = []
    for line, name in imported(path):
        there = place_of(name)
        if there is None:
            continue
        inside = here == there
        if there < 0 or (there > here and not inside):
            wrong.append(f"{path.relative_to(ROOT)}:{line}: {module} imports {name}")
    assert not wrong, "an arrow the other way: " + "; ".join(wrong)


def test_the_spine_knows_neither_integrations_nor_app() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in FILES
        if module_of(path).split(".")[0] == "postroom"
        for line, name in imported(path)
        if name.split(".")[0] in ("integrations", "app", "tests", "bench")
    ]
    assert not wrong


def test_the_order_names_only_what_exists() -> None:
    modules = {module_of(path) for path in FILES}
    assert not [name for name in ORDER if name not in modules]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{lines} lines: part it by what it is about"


def test_no_module_has_a_vague_name() -> None:
    names = {part.removesuffix(".py") for path in FILES for part in path.relative_to(ROOT).parts}
    assert not names & VAGUE


def test_the_test_itself_sees_arrows(tmp_path: Path) -> None:
    names = [name for _, name in imported(ROOT / "app.py")]
    assert {"integrations", "postroom.cli", "postroom.doorbell", "postroom.store.history"} <= set(names)
    assert place_of("postroom.store.outbox") == ORDER.index("postroom.store")
    assert place_of("postroom.rulebook") == ORDER.index("postroom.rulebook"), "not that of postroom.rules"
    assert place_of("postroom.nowhere") == -1
    assert place_of("flask") is None


def test_commands_and_dispatcher_load_nothing_of_the_web() -> None:
    """It would cost each of them a tenth of a second and ten megabytes."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert not {"flask", "werkzeug", "wtforms", "nh3", "markdown_it", "apprise"} & set(done.stdout.split())

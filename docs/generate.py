"""Makes docs/integrations.md, docs/api.md and config.example.yaml say what the code says: `make docs`.

What stands before the first marker line, and after the second, is written by hand and stays.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal
from unittest.mock import Mock

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # this folder has one named like the package `integrations`

from postroom.config import DestinationCommon  # noqa: E402
from postroom.fields import Rate, Spec, specs  # noqa: E402
from postroom.integration import Guarantee, Integration  # noqa: E402
from postroom.schema.values import setting_of  # noqa: E402
from postroom.web import api  # noqa: E402

Kinds = Mapping[str, type[Integration]]

PAGE = ROOT / "docs" / "integrations.md"
EXAMPLE = ROOT / "config.example.yaml"
API = ROOT / "docs" / "api.md"
API_BEGIN, API_END = "<!-- routes -->", "<!-- end of routes -->"
BEGIN = "<!-- From here on made from the code by `make docs`: edit it there. -->"
EXAMPLE_BEGIN = (
    "  # Every kind with an example, made from the code by `make docs`; take the `#` away from what you need:"
)
EXAMPLE_END = "  # (end of what `make docs` makes)"
_SEARCHED = "After an attempt with unknown result the target is searched for the delivery's marker"
GUARANTEES = {
    Guarantee.NATIVE_KEY: "Each attempt carries the same key, by which the target recognises a repeat.",
    Guarantee.CONSISTENT_SEARCH: f"{_SEARCHED} before anything is made again.",
    Guarantee.LAGGING_SEARCH: f"{_SEARCHED}. Its search sees new items late, so nothing is made again before "
    "{lag} have passed and it was searched once more.",
    Guarantee.NONE: "A duplicate is possible where the answer to an attempt is lost.",
}


def page(before: str, kinds: Kinds) -> str:
    """docs/integrations.md: what people wrote, what all destinations take, a table of the kinds, a section for each."""
    rows = [f"| [{name}](#{name}) | {_cell(kind.summary)} | {kind.guarantee} |" for name, kind in kinds.items()]
    common = _options(DestinationCommon)
    parts = [
        before.partition(BEGIN)[0].rstrip(),
        BEGIN,
        "## What every destination takes",
        _table("option | meaning | default", common),
        "## The kinds",
        _table("kind | what a delivery makes | guarantee", rows),
        *(section(name, kind) for name, kind in kinds.items()),
    ]
    return "\n\n".join(parts) + "\n"


def section(name: str, kind: type[Integration]) -> str:
    """One kind."""
    told = GUARANTEES[kind.guarantee].format(lag=_lag(kind.search_lag))
    if kind.guarantee_of.__func__ is not Integration.guarantee_of.__func__:  # type: ignore[attr-defined]
        told += " With other options it is another."
    options, fields = _options(kind.Options), specs(kind.Fields).values()
    parts = [f"## {name}", textwrap.fill(f"{kind.summary} Guarantee: {kind.guarantee}. {told}", 120)]
    if (PAGE.parent / "integrations" / f"{name}.md").exists():
        parts.append(f"How to set it up, and what to know: [{name}](integrations/{name}.md).")
    if options:
        parts.append(_table("option | meaning | default", options))
    if fields:
        parts.append(_table("field | meaning", (f"| `{spec.name}` | {_meaning(spec)} |" for spec in fields)))
    if not kind.example.strip():
        return "\n\n".join(parts)
    example = textwrap.indent(kind.example.strip(), "    ")
    parts.append(f"```yaml\ndestinations:\n  {name}:\n{example}\n```")
    return "\n\n".join(parts)


def example(text: str, kinds: Kinds) -> str:
    """config.example.yaml with an example of every kind. What needs a secret is commented out."""
    before, _, rest = text.partition(EXAMPLE_BEGIN + "\n")
    after = rest.partition(EXAMPLE_END + "\n")[2]
    lines = []
    for name, kind in kinds.items():
        if not kind.example.strip():
            continue
        lines.append(f"  # {kind.summary}")
        mark = "  # " if needs_secret(kind.example) else "  "
        lines.append(f"{mark}{name}:")
        lines += [f"{mark}  {line}" for line in kind.example.strip().splitlines()]
    return "\n".join([before + EXAMPLE_BEGIN, *lines, EXAMPLE_END, after])


def needs_secret(settings: str) -> bool:
    """Whether an example loads only where a secret is."""
    return "${" in settings or "{file:" in settings


def _table(head: str, rows: Iterable[str]) -> str:
    return "\n".join([f"| {head} |", "| " + " | ".join("---" for _ in head.split("|")) + " |", *rows])


def _options(settings: type[Any], prefix: str = "") -> list[str]:
    """A row for each; one that is a mapping of settings has a row for each of them."""
    rows = []
    for spec in specs(settings).values():
        inner = next(filter(dataclasses.is_dataclass, (spec.type, *typing.get_args(spec.type))), None)
        if isinstance(inner, type) and inner is not Rate:
            rows += _options(inner, f"{prefix}{spec.name}.")
        else:
            rows.append(_option(spec, prefix))
    return rows


def _option(spec: Spec, prefix: str) -> str:
    default = setting_of(spec, None).get("default")
    if spec.required:
        shown = "required"
    elif isinstance(default, bool):
        shown = f"`{str(default).lower()}`"
    elif isinstance(default, list):
        shown = f"`[{', '.join(map(str, default))}]`" if default else "none"
    else:
        shown = "none" if default is None or default == "" else f"`{default}`"
    return f"| `{prefix}{spec.name}` | {_meaning(spec)} | {shown} |"


def _meaning(spec: Spec) -> str:
    words = _words(spec.type)
    missing = [word for word in words if word not in spec.doc]
    return _cell(spec.doc) + (f" ({', '.join(f'`{word}`' for word in words)})" if missing else "")


def _words(kind: Any) -> tuple[str, ...]:
    """The words that a setting takes, where they are few."""
    if typing.get_origin(kind) is Literal:
        return tuple(map(str, typing.get_args(kind)))
    return next(filter(None, map(_words, typing.get_args(kind))), ())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _lag(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds > 90 else f"{seconds:g} seconds"


def api_page(before: str) -> str:
    """docs/api.md: what people wrote, and a table of the routes."""
    # Routes are declarations: nothing of what they are given is asked for while they are made.
    parts = {name: Mock() for name in inspect.signature(api.routes).parameters}
    rows = [
        f"| {route.method} | `{route.path}` | {route.role} | {_cell(route.summary)} |"
        for route in api.routes(**{**parts, "ways": ()})
    ]
    head, _, rest = before.partition(API_BEGIN)
    table = _table("method | path | role | what", rows)
    return f"{head}{API_BEGIN}\n\n{table}\n\n{API_END}{rest.partition(API_END)[2]}"


def main() -> None:
    """Writes the files."""
    import app

    kinds = app.load_kinds(None)
    for path, make in ((PAGE, page), (EXAMPLE, example)):
        path.write_text(make(path.read_text(encoding="utf-8"), kinds), encoding="utf-8")
        print(f"Wrote {path.relative_to(ROOT)}.")
    API.write_text(api_page(API.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Wrote {API.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()

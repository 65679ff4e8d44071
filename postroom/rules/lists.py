"""The named lists of rule files: for `in`, and, where they are mappings, for `map` of `extract`."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingType

from postroom.mail.folding import spell_domain
from postroom.rules.folding import fold_part, fold_text
from postroom.rules.patterns import glob_test, is_glob
from postroom.rules.reading import Reading
from postroom.yamlfile import Mapping, Node, Sequence


def read_lists(node: Node, reading: Reading) -> None:
    """The `lists` of one file."""
    if not isinstance(node, Mapping):
        reading.report(node, "lists must be a mapping of names to lists of texts, such as vip: [ada@example.com]")
        return
    for key, value in node.entries:
        name = key.value
        if name in reading.list_places:
            first = reading.list_places[name]
            reading.report(key, f"the list '{name}' stands twice (first in {first.path}:{first.line})")
            continue
        reading.list_places[name] = key.place
        reading.lists[name] = []
        if isinstance(value, Mapping):
            entry = f"an entry of the list '{name}'"
            texts = [(known.value, reading.text(item, entry, empty=True)) for known, item in value.entries]
            reading.maps[name] = {known: text.value for known, text in texts if text is not None}
            reading.lists[name] = list(reading.maps[name])
        elif isinstance(value, Sequence):
            found = [reading.text(item, f"an entry of the list '{name}'") for item in value.items]
            reading.lists[name] = [text.value for text in found if text is not None]
        else:
            mend = f"such as {name}: [ada@example.com], or a mapping, such as {name}: {{billing: finance}}"
            reading.report(value, f"the list '{name}' must be a list of texts, {mend}")


def lookup(entries: MappingType[str, str], kind: str) -> Callable[[str], str | None]:
    """Finds what a text stands for: compared as in `in`, entries without globs first. Raises PatternError."""
    exact = {fold_text(kind, key): value for key, value in reversed(list(entries.items())) if not is_glob(key)}
    globs = [
        (glob_test((fold_text(kind, key), *fold_part(kind, key))), value)
        for key, value in entries.items()
        if is_glob(key)
    ]

    def find(text: str) -> str | None:
        folded = fold_text(kind, text)
        if folded in exact:
            return exact[folded]
        spellings = (folded,) if kind == "text" else dict.fromkeys((folded, _spelt(folded)))
        return next((value for meets, value in globs if any(map(meets, spellings))), None)

    return find


def _spelt(folded: str) -> str:
    """A folded address or domain with its domain as people write it."""
    local, at, domain = folded.rpartition("@")
    return f"{local}{at}{spell_domain(domain)}"

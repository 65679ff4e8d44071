"""Fields that actions have without saying so: `defaults` of the files, of rules, and what `labels+:` adds."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field

from postroom.problems import did_you_mean
from postroom.rules.reading import Reading
from postroom.yamlfile import Mapping, Node, Scalar, Sequence

_ADDS = "+"


@dataclass(frozen=True, slots=True)
class Defaults:
    """From the outermost level to the nearest: each a mapping of kinds and destinations to their fields."""

    levels: tuple[MappingType[str, tuple[Mapping, ...]], ...] = field(default=())

    def below(self, *parts: MappingType[str, Mapping]) -> Defaults:
        """With one more level, nearer than those before. Its parts, such as those of several files, are as near."""
        names = dict.fromkeys(name for part in parts for name in part)
        level = {name: tuple(part[name] for part in parts if name in part) for name in names}
        return Defaults((*self.levels, level)) if level else self

    def merged(self, destination: str, kind: str | None, own: Mapping) -> Mapping:
        """The fields of an action with what the levels give. The nearest wins; `labels+:` adds to what is outside.

        At one level the destination's own defaults are nearer than those of its kind (None: not known).
        """
        found: dict[str, tuple[Scalar, Node]] = {}
        for level in self.levels:
            for name in dict.fromkeys((kind or destination, destination)):
                for fields in level.get(name, ()):
                    _add(found, fields)
        _add(found, own)
        return Mapping(tuple(found.values()), own.place)


NO_DEFAULTS = Defaults()


def read_defaults(node: Node, where: str, reading: Reading) -> dict[str, Mapping]:
    """One level, checked as far as it can be without an action: the names."""
    if not isinstance(node, Mapping):
        reading.report(node, f"{where} takes a mapping of destinations to fields, such as jira: {{project: SUP}}")
        return {}
    found: dict[str, Mapping] = {}
    known = None
    if reading.destinations is not None:
        known = {*reading.destinations, *(each.kind for each in reading.destinations.values())}
    for key, value in node.entries:
        if known is not None and key.value not in known:
            hint = did_you_mean(key.value, known)
            reading.report(key, f"{where}: '{key.value}' is no destination of config.yaml, and no kind of one{hint}")
        elif not isinstance(value, Mapping):
            reading.report(value, f"{where}: {key.value} takes a mapping of fields, such as {{project: SUP}}")
        else:
            found[key.value] = value
    return found


def _add(found: dict[str, tuple[Scalar, Node]], fields: Mapping) -> None:
    # What replaces comes before what adds, in whichever order the two stand.
    for key, value in sorted(fields.entries, key=lambda entry: entry[0].value.endswith(_ADDS)):
        name = key.value.removesuffix(_ADDS)
        known = Scalar(name, key.place, key.plain)
        if name == key.value or name not in found:
            found[name] = known, value
            continue
        outer = found[name][1]
        if isinstance(outer, Mapping) and isinstance(value, Mapping):
            both = {each.value: (each, node) for each, node in (*outer.entries, *value.entries)}
            found[name] = known, Mapping(tuple(both.values()), value.place)
        else:
            items = tuple(item for each in (outer, value) for item in _items(each))
            found[name] = known, Sequence(items, value.place)


def _items(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Scalar) and node.is_null:
        return ()
    return node.items if isinstance(node, Sequence) else (node,)

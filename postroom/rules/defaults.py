"""Fields that actions have without saying so: `defaults` of the files, of rules, and what `labels+:` adds."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field

from postroom.fields import FieldSet
from postroom.problems import did_you_mean
from postroom.rules.reading import Reading
from postroom.yamlfile import Mapping, Node, Scalar, Sequence

_ADDS = "+"


@dataclass(frozen=True, slots=True)
class Defaults:
    """From the outermost level to the nearest: each a mapping of kinds and destinations to their fields."""

    levels: tuple[MappingType[str, Mapping], ...] = field(default=())

    def below(self, level: MappingType[str, Mapping]) -> Defaults:
        """With one more level, nearer than those before."""
        return Defaults((*self.levels, level)) if level else self

    def merged(self, destination: str, declared: FieldSet | None, own: Mapping) -> Mapping:
        """The fields of an action with what the levels give. The nearest wins; `labels+:` adds to what is outside.

        At one level the destination's own defaults are nearer than those of its kind.
        """
        kinds = () if declared is None or declared.kind == destination else (declared.kind,)
        found: dict[str, tuple[Scalar, Node]] = {}
        for level in self.levels:
            for name in (*kinds, destination):
                if name in level:
                    _add(found, level[name])
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
    for key, value in fields.entries:
        name = key.value.removesuffix(_ADDS)
        if name == key.value or name not in found:
            found[name] = Scalar(name, key.place, key.plain), value
        else:
            outer = found[name][1]
            items = tuple(item for each in (outer, value) for item in _items(each))
            found[name] = Scalar(name, key.place, key.plain), Sequence(items, value.place)


def _items(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Scalar) and node.is_null:
        return ()
    return node.items if isinstance(node, Sequence) else (node,)

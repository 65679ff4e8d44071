"""The flow of mail as a picture: ways in, rules, destinations, and bands between them as wide as what they carry.

Only geometry and links: the template draws it. Lengths are units of a picture that is WIDTH wide.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from postroom.store.statistics import Flow

WIDTH = 1160
COLUMNS = (180, 480, 840)
"""Where the bars of each column begin."""
BAR = 12
MOST = 12
"""Nodes in a column; the rest is one more, `others`."""
_VOLUME = 240.0
"""Height of all the mail together."""
_THINNEST = 1.5
_LINE, _GAP = 24.0, 7.0
TONES = {
    "(held)": "held",
    "(unmatched)": "unmatched",
    "(routed)": "suppressed",
    "(dropped)": "dropped",
    "(discarded)": "discarded",
}
"""Where nothing was owed: such a node has the colour of a state."""
_LABELS = {"suppressed": "nothing owed"}
_OTHERS = "\0others"

Link = Callable[[str, str], str | None]
"""Takes a rule and a destination, either empty for any. None: there is no such list."""


@dataclass(slots=True)
class Node:
    """One way in, rule or destination. `tone`: a state's name, for its colour; empty for none."""

    key: str
    label: str
    count: int
    tone: str = ""
    url: str | None = None
    dead: int = 0
    share: float = 0.0
    """Of the busiest in its column."""
    y: float = 0.0
    height: float = 0.0
    middle: float = 0.0
    """Where its label stands."""


@dataclass(frozen=True, slots=True)
class Band:
    """What goes from one node to one of the next column."""

    path: str
    tone: str
    url: str | None
    title: str


@dataclass(slots=True)
class Picture:
    """Everything to draw. Columns: ways in, rules, destinations."""

    columns: tuple[list[Node], list[Node], list[Node]]
    bands: list[Band] = field(default_factory=list)
    height: float = 0.0


def draw(flows: Sequence[Flow], arrivals: Mapping[str, int], dead: Mapping[str, int], link: Link) -> Picture:
    """`arrivals` by way in, `dead` deliveries by destination: as the statistics of the same time have them."""
    names = [_shown(flows, lambda each: each.ingress), _shown(flows, lambda each: each.rule), _ends(flows)]
    weights: Counter[tuple[str, str, str]] = Counter()
    for each in flows:
        parts = (each.ingress, each.rule, each.destination)
        weights[tuple(p if p in known else _OTHERS for p, known in zip(parts, names, strict=True))] += each.count  # type: ignore[index]
    scale = _VOLUME / max(sum(weights.values()), 1)
    firsts, seconds = _pairs(weights, 0), _pairs(weights, 1)
    rules = _ordered(names[1], seconds, names[2])
    ways = _ordered(names[0], firsts, rules)
    columns = (
        [_node(key, _flow_sum(weights, 0, key), f"{_left(flows, names[0], 0)} other ways in") for key in ways],
        [_node(key, _flow_sum(weights, 1, key), f"{_left(flows, names[1], 1)} other rules") for key in rules],
        [_node(key, _flow_sum(weights, 2, key), f"{_left(flows, names[2], 2)} others") for key in names[2]],
    )
    for node in columns[0]:
        node.count = arrivals.get(node.key, node.count)
        node.url = link("", "")
    for node in columns[1]:
        node.label = node.label or "no rule"
        node.url = link("", "") if node.key == _OTHERS else link(node.key, "") if node.key else link("", "(unmatched)")
    for node in columns[2]:
        node.url = link("", "" if node.key == _OTHERS else node.key)
        node.dead = dead.get(node.key, 0)
        node.tone = TONES.get(node.key, "")
        if node.tone:
            node.label = _LABELS.get(node.tone, node.tone)
    for column in columns:
        busiest = max((node.count for node in column), default=1) or 1
        for node in column:
            node.share = node.count / busiest
    picture = Picture(columns)
    thick = [{pair: max(count * scale, _THINNEST) for pair, count in pairs.items()} for pairs in (firsts, seconds)]
    picture.height = _place(columns, thick)
    for side, pairs in enumerate((firsts, seconds)):
        picture.bands += _bands(columns[side], columns[side + 1], pairs, thick[side], COLUMNS[side : side + 2], link)
    return picture


def _shown(flows: Sequence[Flow], name: Callable[[Flow], str]) -> list[str]:
    """The busiest names, busiest first."""
    counts: Counter[str] = Counter()
    for each in flows:
        counts[name(each)] += each.count
    ranked = [key for key, _ in counts.most_common()]
    return ranked if len(ranked) <= MOST else [*ranked[: MOST - 1], _OTHERS]


def _ends(flows: Sequence[Flow]) -> list[str]:
    """Destinations, and below them the states of mail that went nowhere: those are always shown."""
    there = {each.destination for each in flows}
    states = [state for state in TONES if state in there]
    ranked = _shown([each for each in flows if each.destination not in TONES], lambda each: each.destination)
    room = MOST - len(states)
    if len(ranked) > room:
        ranked = [*[key for key in ranked if key != _OTHERS][: room - 1], _OTHERS]
    return [*ranked, *states]


def _left(flows: Sequence[Flow], shown: Sequence[str], part: int) -> int:
    everything = {(each.ingress, each.rule, each.destination)[part] for each in flows}
    return len(everything - set(shown))


def _pairs(weights: Mapping[tuple[str, str, str], int], at: int) -> Counter[tuple[str, str]]:
    pairs: Counter[tuple[str, str]] = Counter()
    for parts, count in weights.items():
        pairs[parts[at], parts[at + 1]] += count
    return pairs


def _flow_sum(weights: Mapping[tuple[str, str, str], int], at: int, key: str) -> int:
    return sum(count for parts, count in weights.items() if parts[at] == key)


def _ordered(names: Sequence[str], pairs: Mapping[tuple[str, str], int], after: Sequence[str]) -> list[str]:
    """By where their mail goes, so that few bands cross; others last."""
    places = {key: place for place, key in enumerate(after)}
    centres: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (one, other), count in pairs.items():
        centres[one][0] += places[other] * count
        centres[one][1] += count
    return sorted(names, key=lambda key: (key == _OTHERS, centres[key][0] / (centres[key][1] or 1.0)))


def _node(key: str, count: int, others: str) -> Node:
    return Node(key, others if key == _OTHERS else key, count)


def _place(columns: Sequence[list[Node]], thick: Sequence[Mapping[tuple[str, str], float]]) -> float:
    """Gives every node its place, each column in the middle. Returns the height of the picture."""
    tall = []
    for at, column in enumerate(columns):
        y = 0.0
        for node in column:
            out = sum(width for (one, _), width in thick[at].items() if one == node.key) if at < 2 else 0.0
            into = sum(width for (_, other), width in thick[at - 1].items() if other == node.key) if at else 0.0
            node.height = max(out, into, 3.0)
            room = max(node.height, _LINE)
            node.middle, node.y = y + room / 2, y + (room - node.height) / 2
            y += room + _GAP
        tall.append(y - _GAP if column else 0.0)
    height = max(tall)
    for column, own in zip(columns, tall, strict=True):
        for node in column:
            node.y += (height - own) / 2
            node.middle += (height - own) / 2
    return height


def _bands(
    left: Sequence[Node],
    right: Sequence[Node],
    pairs: Mapping[tuple[str, str], int],
    thick: Mapping[tuple[str, str], float],
    ends: Sequence[int],
    link: Link,
) -> list[Band]:
    begins = {node.key: node.y for node in left}
    arrives = {node.key: node.y for node in right}
    targets = {node.key: node for node in right}
    starts: dict[tuple[str, str], float] = {}
    for one in left:
        for other in right:
            if (one.key, other.key) in pairs:
                starts[one.key, other.key] = begins[one.key]
                begins[one.key] += thick[one.key, other.key]
    bands = []
    for other in right:
        for one in left:
            pair = (one.key, other.key)
            if pair not in pairs:
                continue
            width, y1, y2 = thick[pair], starts[pair], arrives[other.key]
            arrives[other.key] += width
            target = targets[other.key]
            rule, destination = (
                (one.key, other.key) if target.key in TONES or ends[1] == COLUMNS[2] else (other.key, "")
            )
            known = _OTHERS not in (rule, destination) and (rule or destination)
            bands.append(
                Band(
                    _path(ends[0] + BAR, y1, ends[1], y2, width),
                    target.tone,
                    link(rule, destination) if known else link("", ""),
                    f"{one.label} → {other.label}: {pairs[pair]:,}",
                )
            )
    return bands


def _path(x1: float, y1: float, x2: float, y2: float, width: float) -> str:
    """A band of that width from one bar to another, its edges curved."""
    half = (x1 + x2) / 2
    return (
        f"M{x1:.0f} {y1:.1f}C{half:.0f} {y1:.1f} {half:.0f} {y2:.1f} {x2:.0f} {y2:.1f}"
        f"V{y2 + width:.1f}C{half:.0f} {y2 + width:.1f} {half:.0f} {y1 + width:.1f} {x1:.0f} {y1 + width:.1f}Z"
    )

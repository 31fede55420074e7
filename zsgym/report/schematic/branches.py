"""Rows and columns: which elements stand above each other, and which columns belong together.

A column is a chain of elements from one rail towards the other, each on the net on which the one above it ends. A fork
is a pair of equal elements on one net with their common tail: a differential pair. It is drawn symmetrically, its tail
in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from zsgym.netlist import TRANSISTORS
from zsgym.report.schematic.structure import Element, Structure


@dataclass(frozen=True, eq=False)
class Column:
    """Elements from top to bottom with their rows, counted from the upper rail."""

    elements: tuple[Element, ...]
    rows: tuple[int, ...]

    @cached_property
    def nets(self) -> frozenset[str]:
        """Every net that a drawn pin is on."""
        return frozenset(net for element in self.elements for net in element.nets)

    @cached_property
    def channel_nets(self) -> frozenset[str]:
        """Nets of the vertical path."""
        return frozenset(net for element in self.elements for net in (element.top, element.bottom))


@dataclass(frozen=True, eq=False)
class Block:
    """What is moved as one when columns are ordered: one column, or a fork (left, right) with its tail."""

    columns: tuple[Column, ...]
    tail: Column | None = None

    @cached_property
    def every(self) -> tuple[Column, ...]:
        """All columns."""
        return (*self.columns, *((self.tail,) if self.tail else ()))

    @cached_property
    def nets(self) -> frozenset[str]:
        """Every net that a drawn pin is on."""
        return frozenset[str]().union(*(column.nets for column in self.every))

    @cached_property
    def channel_nets(self) -> frozenset[str]:
        """Nets of the vertical paths."""
        return frozenset[str]().union(*(column.channel_nets for column in self.every))

    @cached_property
    def gates(self) -> frozenset[str]:
        """Nets of the gates."""
        return frozenset(e.gate for column in self.every for e in column.elements if e.gate is not None)


@dataclass(frozen=True, eq=False)
class Branches:
    """rows: how many there are; those from `lower` on count from the lower rail. signal: nets that the inputs move."""

    blocks: tuple[Block, ...]
    laterals: tuple[Element, ...]
    rows: int
    lower: int
    signal: frozenset[str]


def find_branches(structure: Structure) -> Branches:
    """Rows, columns and forks of a circuit."""
    vertical = [element for element in structure.elements if element.role != "lateral"]
    rows, count, lower = _rows(vertical, structure)
    forks = _forks(vertical, structure.rails)
    signal = signal_nets(structure)
    below = _links(vertical, rows, forks, structure.rails, signal)
    columns = _columns(vertical, rows, below)
    laterals = tuple(element for element in structure.elements if element.role == "lateral")
    return Branches(_blocks(columns, forks), laterals, count, lower, signal)


def signal_nets(structure: Structure) -> frozenset[str]:
    """Nets that the inputs (ports with nothing but gates) move: through gates to drains and sources, through sources to
    drains, through resistors both ways. Empty where a circuit has no input."""
    channel = {net for element in structure.elements for net in (element.top, element.bottom)}
    gates = {element.gate for element in structure.elements}
    moved = {port for port in structure.ports if port in gates and port not in channel}
    while True:
        new = {net for element in structure.elements for net in _moved_by(element, moved)}
        new -= moved | set(structure.rails)
        if not new:
            return frozenset(moved)
        moved |= new


def _moved_by(element: Element, moved: set[str]) -> Iterable[str]:
    if element.kind in TRANSISTORS:
        source, drain = element.device.nodes["s"], element.device.nodes["d"]
        if element.gate in moved:
            yield from (source, drain)
        elif source in moved:
            yield drain
    elif element.kind in ("resistor", "inductor"):
        if element.top in moved:
            yield element.bottom
        elif element.bottom in moved:
            yield element.top


# --- rows -----------------------------------------------------------------------------------------------------------


def _rows(vertical: Sequence[Element], structure: Structure) -> tuple[dict[Element, int], int, int]:
    """Element -> row, number of rows, and the first row that counts from below.

    pMOS transistors count from the upper rail, nMOS from the lower one, and so do whatever hangs below an nMOS.
    """
    rails = set(structure.rails)
    above = {e: [u for u in vertical if u.bottom == e.top and e.top not in rails and u is not e] for e in vertical}
    under = {e: [u for u in vertical if u.top == e.bottom and e.bottom not in rails and u is not e] for e in vertical}
    depth, height = _longest(vertical, above), _longest(vertical, under)
    low = {element for element in vertical if _counts_from_below(element, structure)}
    while new := {e for e in vertical if e not in low and any(u in low for u in above[e])}:
        low |= new
    upper = max((depth[e] for e in vertical if e not in low), default=0)
    count = max(1, upper + max((height[e] for e in low), default=0))
    count = max([count, *(depth[e] + height[e] - 1 for e in vertical)])
    return {e: count - height[e] if e in low else depth[e] - 1 for e in vertical}, count, upper


def _counts_from_below(element: Element, structure: Structure) -> bool:
    if element.kind in TRANSISTORS:
        return (element.kind == "nmos" and element.bottom != structure.high) or element.top == structure.low
    if element.role == "shunt":
        return structure.potentials.get(element.bottom, 0.5) < 0.5 or element.bottom == structure.low
    if structure.high == element.top:
        return False
    middle = (structure.potentials.get(element.top, 0.5) + structure.potentials.get(element.bottom, 0.5)) / 2.0
    return element.bottom == structure.low or middle < 0.5


def _longest(elements: Sequence[Element], following: Mapping[Element, Sequence[Element]]) -> dict[Element, int]:
    """Element -> number of elements on the longest path that begins with it; a way back is not followed."""
    known: dict[Element, int] = {}

    def length(element: Element, path: frozenset[Element]) -> int:
        if element not in known:
            path |= {element}
            known[element] = 1 + max((length(e, path) for e in following[element] if e not in path), default=0)
        return known[element]

    for element in elements:
        length(element, frozenset())
    return known


# --- columns --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fork:
    tail: Element
    left: Element
    right: Element


def _forks(vertical: Sequence[Element], rails: Sequence[str]) -> list[_Fork]:
    """Pairs of equal elements that share a net with one element on its other side."""
    found = []
    for net in dict.fromkeys(net for element in vertical for net in (element.top, element.bottom)):
        if net in rails:
            continue
        upper = [e for e in vertical if e.bottom == net and e.role == "branch"]
        lower = [e for e in vertical if e.top == net and e.role == "branch"]
        for tails, others in ((upper, lower), (lower, upper)):
            # What is a diode there refers to the tail, such as the bias of cascodes, and is not of the pair.
            twins = [e for e in others if e.gate not in (e.top, e.bottom)]
            if len(tails) == 1 and len(twins) == 2 and _are_twins(twins[0], twins[1], net):
                found.append(_Fork(tails[0], *twins))
    return found


def _are_twins(a: Element, b: Element, net: str) -> bool:
    if a.kind not in TRANSISTORS:
        return a.kind == b.kind
    return a.like(b) and a.gate != b.gate and all(e.device.nodes["s"] == net for e in (a, b))


def _links(
    vertical: Sequence[Element],
    rows: Mapping[Element, int],
    forks: Sequence[_Fork],
    rails: Sequence[str],
    signal: frozenset[str],
) -> dict[Element, Element]:
    """Element -> the one that stands below it in the same column."""
    forked = {fork.tail.bottom if fork.tail.bottom == fork.left.top else fork.tail.top for fork in forks}
    twins = {element for fork in forks for element in (fork.left, fork.right)}
    below: dict[Element, Element] = {}
    nets = [
        n for n in dict.fromkeys(n for e in vertical for n in (e.bottom, e.top)) if n not in rails and n not in forked
    ]

    def candidates(net: str, role: str) -> tuple[list[Element], list[Element]]:
        upper = [e for e in vertical if e.role == role and e.bottom == net and e not in below]
        lower = [e for e in vertical if e.role == role and e.top == net and e not in below.values()]
        return _without(upper, twins), _without(lower, twins)

    # Where there is one way to go on first: it tells what is symmetrical to what.
    for most in (1, len(vertical)):
        for role in ("branch", "shunt"):
            for net in nets:
                upper, lower = candidates(net, role)
                if max(len(upper), len(lower)) > most:
                    continue
                pairs = [(u, v) for u in upper for v in lower if rows[u] < rows[v]]
                for u, v in sorted(pairs, key=_worth(below, signal), reverse=True):
                    if u not in below and v not in below.values():
                        below[u] = v
    return below


def _without(elements: list[Element], twins: set[Element]) -> list[Element]:
    """Those that are not of a pair, where there are such: in a fold the other branch goes straight on, not the pair."""
    return [e for e in elements if e not in twins] or elements


def _worth(
    below: Mapping[Element, Element], signal: frozenset[str]
) -> Callable[[tuple[Element, Element]], tuple[int, int, int]]:
    """How well two elements stand above each other: as their twins do; diodes and current sources before others."""

    def same(a: Element, b: Element) -> bool:
        return a.gate is not None and a.gate == b.gate and a.like(b)

    def key(pair: tuple[Element, Element]) -> tuple[int, int, int]:
        upper, lower = pair
        alike = sum(same(u, upper) and same(v, lower) for u, v in below.items())
        diodes = sum(e.gate in (e.top, e.bottom) for e in pair)
        sources = sum(e.gate not in signal for e in pair)
        return alike, diodes, sources

    return key


def _columns(
    vertical: Sequence[Element], rows: Mapping[Element, int], below: Mapping[Element, Element]
) -> list[Column]:
    columns = []
    for element in vertical:
        if element in below.values():
            continue
        chain = [element]
        while chain[-1] in below:
            chain.append(below[chain[-1]])
        columns.append(Column(tuple(chain), tuple(rows[e] for e in chain)))
    return columns


def _blocks(columns: Sequence[Column], forks: Sequence[_Fork]) -> tuple[Block, ...]:
    """Forks, as far as their three columns are free, and every other column alone."""
    of = {element: column for column in columns for element in column.elements}
    taken: set[Column] = set()
    blocks: dict[Column, Block] = {}
    for fork in forks:
        left, right, tail = of[fork.left], of[fork.right], of[fork.tail]
        if len({left, right, tail}) == 3 and not taken & {left, right, tail}:
            taken |= {left, right, tail}
            blocks[left] = Block((left, right), tail)
    return tuple(
        blocks.get(column) or Block((column,)) for column in columns if column in blocks or column not in taken
    )

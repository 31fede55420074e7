"""From left to right: bias branches, input pairs, stages, outputs.

The order is the one with the smallest cost that moving one block, or exchanging two, can find from the order of the
signal: wires are long, and arrows that point to the left are hard to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from zsgym.report.schematic.branches import Block, Branches
from zsgym.report.schematic.structure import Structure

_BACKWARD = 3.0
"""Cost of a gate that stands to the left of what drives it, in columns of wire."""
_LABELLED = 0.15
"""Cost of a column between two places of a net that is not drawn as a wire."""
_MANY = 3
"""Gates, in as many blocks, from which a bias net gets labels."""


@dataclass(frozen=True, eq=False)
class Order:
    """bias, signal: blocks from left to right. labelled: nets that get labels. inputs, outputs: ports."""

    bias: tuple[Block, ...]
    signal: tuple[Block, ...]
    labelled: frozenset[str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All, from left to right."""
        return (*self.bias, *self.signal)


def order_blocks(structure: Structure, branches: Branches) -> Order:
    """The order, and which nets are wires."""
    channel = frozenset[str]().union(*(block.channel_nets for block in branches.blocks))
    channel |= {net for element in branches.laterals for net in element.nets}
    inputs = tuple(port for port in structure.ports if port not in channel)
    outputs = tuple(port for port in structure.ports if port in channel)
    labelled = _labelled(structure, branches, inputs)
    bias = _bias(structure, branches, labelled)
    signal = [b for b in branches.blocks if b not in bias]
    bias_order = _best(_by_signal(bias, structure.rails), lambda blocks: _bias_cost(blocks, structure, labelled))
    ties = [(element.top, element.bottom) for element in branches.laterals]
    signal_order = _best(
        _by_signal(signal, structure.rails), lambda blocks: _signal_cost(blocks, structure, labelled, outputs, ties)
    )
    return Order(tuple(bias_order), tuple(signal_order), labelled, inputs, outputs)


def _bias(structure: Structure, branches: Branches, labelled: frozenset[str]) -> list[Block]:
    """Blocks that no signal moves; without those at a port, and those that a wire joins to a stage, unless they hold a
    source."""
    if not branches.signal:
        return []
    still = [b for b in branches.blocks if not (b.gates | b.channel_nets) & branches.signal]
    gates = frozenset[str]().union(*(b.gates for b in branches.blocks if b not in still)) - labelled
    inner = [b for b in still if not b.nets & set(structure.ports)]
    return [b for b in inner if not b.channel_nets & gates or _has_source(b)]


def _has_source(block: Block) -> bool:
    return any(e.kind in ("isource", "vsource") for column in block.every for e in column.elements)


def _labelled(structure: Structure, branches: Branches, inputs: Iterable[str]) -> frozenset[str]:
    """Inputs, and nets with many gates that no input moves."""
    found = set(inputs)
    for net in {net for block in branches.blocks for net in block.nets} - set(structure.rails) - branches.signal:
        if sum(net in block.gates for block in branches.blocks) >= _MANY:
            found.add(net)
    return frozenset(found)


def _by_signal(blocks: Sequence[Block], rails: Sequence[str]) -> list[Block]:
    """Each after those that drive its gates, as far as that goes; else in the order of the netlist."""
    left, done = list(blocks), list[Block]()
    while left:
        driven = {net for block in left for net in block.channel_nets} - set(rails)
        waiting = [len((block.gates & driven) - block.channel_nets) for block in left]
        done.append(left.pop(waiting.index(min(waiting))))
    return done


def _best(blocks: list[Block], cost: Callable[[Sequence[Block]], float]) -> list[Block]:
    """The best order that single moves and exchanges lead to."""
    lowest = round(cost(blocks), 6)
    while True:
        candidates = list(_neighbours(blocks))
        if not candidates:
            return blocks
        costs = [round(cost(candidate), 6) for candidate in candidates]
        best = min(costs)
        if best >= lowest:
            return blocks
        blocks, lowest = candidates[costs.index(best)], best


def _neighbours(blocks: list[Block]) -> Iterable[list[Block]]:
    count = len(blocks)
    for i in range(count):
        rest = blocks[:i] + blocks[i + 1 :]
        for j in range(count):
            if j != i:
                yield [*rest[:j], blocks[i], *rest[j:]]
    for i in range(count):
        for j in range(i + 2, count):
            swapped = list(blocks)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            yield swapped


def _positions(blocks: Sequence[Block]) -> tuple[list[tuple[Block, float]], float]:
    """Middle of each block and the total width, in columns."""
    middles, x = [], 0.0
    for block in blocks:
        width = 1.5 if block.tail else 1.0
        middles.append((block, x + width / 2.0))
        x += width
    return middles, x


def _wires(middles: Sequence[tuple[Block, float]], rails: Sequence[str]) -> Mapping[str, list[float]]:
    places: dict[str, list[float]] = {}
    for block, x in middles:
        for net in block.nets:
            if net not in rails:
                places.setdefault(net, []).append(x)
    return places


def _backward(middles: Sequence[tuple[Block, float]], rails: Sequence[str]) -> float:
    """Sum over gates that stand to the left of all that drives them: of how far, and of a fixed share."""
    total = 0.0
    first: dict[str, float] = {}
    for block, x in middles:
        for net in block.channel_nets:
            first.setdefault(net, x)
    for block, x in middles:
        for net in block.gates - block.channel_nets - set(rails):
            if net in first and first[net] > x:
                total += _BACKWARD + 0.2 * (first[net] - x)
    return total


def _spans(places: Mapping[str, list[float]], labelled: frozenset[str]) -> float:
    return sum((max(x) - min(x)) * (_LABELLED if net in labelled else 1.0) for net, x in places.items())


def _bias_cost(blocks: Sequence[Block], structure: Structure, labelled: frozenset[str]) -> float:
    middles, _ = _positions(blocks)
    reference = sum(x for block, x in middles if _has_source(block))
    return _spans(_wires(middles, structure.rails), labelled) + _backward(middles, structure.rails) + 0.5 * reference


def _signal_cost(
    blocks: Sequence[Block],
    structure: Structure,
    labelled: frozenset[str],
    outputs: Sequence[str],
    ties: Sequence[tuple[str, str]],
) -> float:
    middles, width = _positions(blocks)
    places = _wires(middles, structure.rails)
    cost = _spans(places, labelled) + _backward(middles, structure.rails)
    cost += sum(2.0 * (width - max(places[net])) for net in outputs if net in places)
    for a, b in ties:
        if a in places and b in places:
            cost += 0.4 * min(abs(x - y) for x in places[a] for y in places[b])
    inputs = [x for block, x in middles if block.tail is not None]
    return cost + sum(inputs)

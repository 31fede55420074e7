"""Where elements lie that connect two nets from left to right: in a place of their own, left of the later net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zsgym.report.schematic.branches import Block, Branches
from zsgym.report.schematic.order import Order
from zsgym.report.schematic.structure import Element, Structure

APART = 5
"""Grid steps between the middles of flat elements above each other."""
_THROUGH = 6.0
"""Cost of a symbol in the way, in grid steps."""


@dataclass(frozen=True)
class Lateral:
    """A flat element: its height, and whether its second terminal is on the left."""

    element: Element
    y: int
    mirrored: bool


@dataclass(frozen=True)
class Heights:
    """What stands where in a drawing before its columns have their places.

    rows: y of the middle of each row. bottom: y of the lower rail.
    """

    rows: Sequence[int]
    bottom: int

    def span(self, block: Block, net: str) -> tuple[int, int] | None:
        """Highest and lowest y at which a wire along a block's columns is on a net."""
        ys = []
        gates = []
        for column in block.every:
            for element, row in zip(column.elements, column.rows, strict=True):
                y = self.rows[row]
                # Below a pin, where the wire of the column is.
                ys += [y - 3] * (element.top == net) + [y + 3] * (element.bottom == net)
                gates += [y] * (element.gate == net)
        found = ys or gates
        return (min(found), max(found)) if found else None

    def is_in_the_way(self, block: Block, y: int) -> bool:
        """Whether a level wire at y would hit a symbol of a block."""
        return any(abs(self.rows[row] - y) <= 2 for column in block.every for row in column.rows)


def slots_of_laterals(structure: Structure, branches: Branches, order: Order) -> dict[float, list[Element]]:
    """Place among the blocks (their numbers; a fraction lies between two) -> flat elements that share it."""
    places = net_places(branches.laterals, order)
    slots: dict[float, list[Element]] = {}
    for element in branches.laterals:
        later = max(places[element.top], places[element.bottom])
        slots.setdefault(later - 0.2, []).append(element)
    for members in slots.values():
        members.sort(key=lambda e: min(places[e.top], places[e.bottom]))
    return dict(sorted(slots.items()))


def net_places(laterals: Sequence[Element], order: Order) -> dict[str, float]:
    """Net -> where in the order it is driven last; nets that flat elements alone share lie before their later end."""
    places: dict[str, float] = {}
    for role in ("shunt", "branch"):
        for number, block in enumerate(order.blocks):
            nets = {net for c in block.every for e in c.elements if e.role == role for net in (e.top, e.bottom)}
            places.update(dict.fromkeys(sorted(nets), float(number)))
    for number, block in enumerate(order.blocks):
        for net in sorted(block.gates - places.keys()):
            places[net] = float(number)
    while True:
        near: dict[str, float] = {}
        for element in laterals:
            for known, unknown in ((element.top, element.bottom), (element.bottom, element.top)):
                if known in places and unknown not in places:
                    near[unknown] = max(near.get(unknown, 0.0), places[known] - 0.4)
        if not near:
            break
        places |= near
    for element in laterals:
        for net in element.nets:
            places.setdefault(net, float(len(order.blocks)))
    return places


def choose_heights(
    slots: Mapping[float, Sequence[Element]], structure: Structure, order: Order, heights: Heights
) -> dict[float, list[Lateral]]:
    """The same with the height of each element: near its nets, where its wires hit the fewest symbols.

    The last place comes first, since what lies before it may continue it.
    """
    laterals = [element for members in slots.values() for element in members]
    choice = _Choice(structure, order, heights, laterals, net_places(laterals, order))
    chosen: dict[float, list[Lateral]] = {}
    for place, members in sorted(slots.items(), reverse=True):
        chosen[place] = []
        for number, element in enumerate(members):
            share = (number + 1) / (len(members) + 1)
            y = choice.height(element, place, share, [item.y for item in chosen[place]])
            mirrored = choice.places[element.top] > choice.places[element.bottom]
            chosen[place].append(Lateral(element, y, mirrored))
    return dict(sorted(chosen.items()))


@dataclass
class _Choice:
    """Heights that have been chosen, and what the next one costs. lone: net of flat elements alone -> their heights."""

    structure: Structure
    order: Order
    heights: Heights
    laterals: Sequence[Element]
    places: Mapping[str, float]
    lone: dict[str, list[int]] = field(default_factory=dict)

    def height(self, element: Element, place: float, share: float, taken: Sequence[int]) -> int:
        """The cheapest height that is not taken, and the next ones know of it.

        :param share: where it would like to be, as a share of the height of its later net.
        """
        aim = self._aim(element, share)
        ends = [net for net in element.nets if net not in self.structure.rails]
        reached = [span for net in ends for span in self._reached(net, element, place)]

        def cost(y: int) -> float:
            total = 0.3 * abs(y - aim) + (100.0 if any(abs(y - other) < APART for other in taken) else 0.0)
            total += sum(2.0 * min(abs(y - other) for other in self.lone[net]) for net in ends if net in self.lone)
            for (top, bottom), between in reached:
                total += max(top - y, 0, y - bottom)
                total += _THROUGH * sum(self.heights.is_in_the_way(block, y) for block in between)
            return round(total, 6)

        best = min(range(4, self.heights.bottom - 3), key=lambda y: (cost(y), y))
        for net in ends:
            if not any(net in block.nets for block in self.order.blocks):
                self.lone.setdefault(net, []).append(best)
        return best

    def _aim(self, element: Element, share: float) -> float:
        later = max(element.nets, key=lambda net: self.places[net])
        spans = [self.heights.span(block, later) for block in self.order.blocks if later in block.channel_nets]
        low, high = next((span for span in reversed(spans) if span), (self.heights.rows[0], self.heights.rows[-1]))
        return low + share * (high - low)

    def _reached(
        self, net: str, element: Element, place: float, *, onwards: bool = True
    ) -> list[tuple[tuple[int, int], Sequence[Block]]]:
        """Where the nearest wire of a net is, and the blocks between; for flat elements alone what they reach."""
        blocks = self.order.blocks
        driven = any(net in block.channel_nets for block in blocks)
        found = [
            (abs(number - place), span, number)
            for number, block in enumerate(blocks)
            if (net in block.channel_nets or not driven) and (span := self.heights.span(block, net)) is not None
        ]
        if found:
            _, span, number = min(found)
            return [(span, blocks[min(number, int(place)) + 1 : max(number, int(place) + 1)])]
        if not onwards:
            return []
        beyond = [far for other in self.laterals if other is not element and net in other.nets for far in other.nets]
        further = [far for far in beyond if far not in (net, *self.structure.rails)]
        return [span for far in further for span in self._reached(far, element, place, onwards=False)]


def port_heights(order: Order, heights: Heights, chosen: Mapping[float, Sequence[Lateral]]) -> dict[str, int]:
    """Output -> y of its mark at the right edge."""
    found: dict[str, int] = {}
    last = [item.y for place, items in chosen.items() if place > len(order.blocks) - 2 for item in items]
    for port in order.outputs:
        spans = [span for block in order.blocks if (span := heights.span(block, port)) is not None]
        top, bottom = spans[-1] if spans else (heights.rows[0], heights.rows[-1])
        middle = (top + bottom) // 2
        free = [
            y
            for y in range(3, heights.bottom - 2)
            if all(abs(y - other) >= 2 for other in found.values()) and y not in last
        ]
        found[port] = min(free, key=lambda y: (abs(y - middle), y), default=middle)
    return found

"""Where elements lie that connect two nets from left to right: in a place of their own, left of the later net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    places = net_places(laterals, order)
    lone: dict[str, list[int]] = {}
    chosen: dict[float, list[Lateral]] = {}
    for place, members in sorted(slots.items(), reverse=True):
        chosen[place] = []
        for number, element in enumerate(members):
            taken = [item.y for item in chosen[place]]
            share = (number + 1) / (len(members) + 1)
            y = _height(element, place, share, taken, lone, places, structure, order, heights)
            for net in element.nets:
                if not any(net in block.nets for block in order.blocks):
                    lone.setdefault(net, []).append(y)
            mirrored = places[element.top] > places[element.bottom]
            chosen[place].append(Lateral(element, y, mirrored))
    return dict(sorted(chosen.items()))


def _height(
    element: Element,
    place: float,
    share: float,
    taken: Sequence[int],
    lone: Mapping[str, Sequence[int]],
    places: Mapping[str, float],
    structure: Structure,
    order: Order,
    heights: Heights,
) -> int:
    ends = sorted(element.nets, key=lambda net: places[net])
    later = [
        span
        for block in order.blocks
        if ends[-1] in block.channel_nets and (span := heights.span(block, ends[-1])) is not None
    ]
    low, high = (later[-1][0], later[-1][1]) if later else (heights.rows[0], heights.rows[-1])
    aim = low + share * (high - low)

    driven = {net for block in order.blocks for net in block.channel_nets}

    def cost(y: int) -> float:
        total = 0.3 * abs(y - aim)
        for net in ends:
            if net in structure.rails:
                continue
            reached = [
                (abs(number - place), span, number)
                for number, block in enumerate(order.blocks)
                if (span := heights.span(block, net)) is not None and (net in block.channel_nets or net not in driven)
            ]
            if net in lone:
                total += 2.0 * min(abs(y - other) for other in lone[net])
            elif reached:
                _, (top, bottom), number = min(reached)
                total += max(top - y, 0, y - bottom)
                between = order.blocks[min(number, int(place)) + 1 : max(number, int(place) + 1)]
                total += _THROUGH * sum(heights.is_in_the_way(block, y) for block in between)
        return total + (100.0 if any(abs(y - other) < APART for other in taken) else 0.0)

    return min(range(4, heights.bottom - 3), key=lambda y: (round(cost(y), 6), y))


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

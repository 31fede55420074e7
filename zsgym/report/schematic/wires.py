"""Wires of placed elements, and names where a wire would be long or finds no way."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from zsgym.report.schematic.branches import Block, Column
from zsgym.report.schematic.grid import Grid, Spot, between
from zsgym.report.schematic.model import Label, Placed
from zsgym.report.schematic.place import Placement, Placer
from zsgym.report.schematic.structure import Element
from zsgym.report.schematic.texts import STUB, body_box, label_box, text_boxes

_CLEAR = 0.4
"""Between the ends of a text and a wire."""
_LOOP = 40
"""Dearest wire within a column of a net that has names elsewhere, such as that of a diode."""
_DEAREST = 150
"""Dearest wire at all: length in grid steps, and what `grid.py` asks for bends and crossings."""


@dataclass
class Wiring:
    """segments, labels: as in a schematic. missing: nets that need names and had no room for them."""

    grid: Grid
    labels: dict[str, list[Label]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


def draw_wires(placer: Placer, placement: Placement) -> Wiring:
    """All wires and names."""
    grid = Grid(placement.width, 1, placement.bottom - 1)
    wiring = Wiring(grid)
    for element, item in placement.placed.items():
        grid.block(body_box(item))
        for box in text_boxes(item, placer.notes.get(element.device.name, ""), sizes=placer.sizes):
            grid.block((box[0] - _CLEAR, box[1], box[2] + _CLEAR, box[3]))
    for element, item in placement.placed.items():
        for pin, spot in item.pins.items():
            grid.add_pin(element.device.nodes[pin], _spot(spot))
    for net, spot in placement.ports.items():
        grid.add_pin(net, spot)
        grid.block(label_box(spot, net, 1, port=True))
        wiring.labels.setdefault(net, []).append(Label(spot, "start"))
    for block in placer.order.blocks:
        for column in block.every:
            _chain(placer, placement, grid, column)
    _joints(placer, placement, wiring)
    _end_labels(placer, placement, wiring)
    _gate_labels(placer, placement, wiring)
    for block in placer.order.blocks:
        _tail(block, placement, grid)
    _loops(placer, placement, grid)
    _remaining(placer, grid)
    _drop_lonely_ports(placement, wiring)
    _names(placer, wiring, placement.bottom)
    return wiring


def _spot(point: tuple[float, float]) -> Spot:
    return int(point[0]), int(point[1])


def _ends(element: Element, item: Placed) -> tuple[Spot, Spot]:
    """Grid points of the upper and the lower end."""
    pins = sorted((_spot(spot) for pin, spot in item.pins.items() if pin != "g"), key=lambda spot: (spot[1], spot[0]))
    return pins[0], pins[1]


def _chain(placer: Placer, placement: Placement, grid: Grid, column: Column) -> None:
    """Wires between the elements of a column, and from its ends to the rails."""
    ends = [_ends(element, placement.placed[element]) for element in column.elements]
    for (_, lower), (upper, _), element in zip(ends, ends[1:], column.elements, strict=False):
        grid.add_wire(element.bottom, [lower, upper])
    first, last = column.elements[0], column.elements[-1]
    if first.top == placer.structure.high:
        grid.add_wire(first.top, [ends[0][0], (ends[0][0][0], 0)])
    if last.bottom == placer.structure.low:
        grid.add_wire(last.bottom, [ends[-1][1], (ends[-1][1][0], placement.bottom)])


def _joints(placer: Placer, placement: Placement, wiring: Wiring) -> None:
    """Straight wires between gates that face each other, with the name of the net above where it has names."""
    for a, b in placer.sides.facing:
        left, right = (_spot(placement.placed[element].pins["g"]) for element in (a, b))
        net = a.gate or ""
        if not wiring.grid.clear_way(net, [left, right]):
            continue
        wiring.grid.add_wire(net, [left, right])
        if net in placer.labelled:
            middle = ((left[0] + right[0]) // 2, left[1])
            wiring.labels.setdefault(net, []).append(Label(middle))
            half = label_box(middle, net, 1, port=False)[2] - middle[0]
            wiring.grid.block((middle[0] - half / 2, middle[1] - 1, middle[0] + half / 2, middle[1] - 1))


def _gate_labels(placer: Placer, placement: Placement, wiring: Wiring) -> None:
    """Stubs with names at the gates for which the placement has kept room."""
    joined = {element for pair in placer.sides.facing for element in pair}
    for element, item in placement.placed.items():
        if element.gate in placer.labelled | set(placer.structure.rails) and element not in joined:
            _stub(placer, wiring, element.gate or "", _spot(item.pins["g"]), 1 if item.mirrored else -1)


def _end_labels(placer: Placer, placement: Placement, wiring: Wiring) -> None:
    """Names at ends of symbols for which the placement has kept room."""
    first = {column.elements[0] for block in placer.order.blocks for column in block.every}
    for element, item in placement.placed.items():
        for net, path in placer.named_ends(element, item, first=element in first):
            if wiring.grid.clear_way(net, path):
                _write(placer, wiring, net, path, 1 if path[-1][0] >= item.x else -1)


def _write(placer: Placer, wiring: Wiring, net: str, path: list[Spot], side: int) -> None:
    """A wire with a name at its end."""
    wiring.grid.add_wire(net, path)
    wiring.labels.setdefault(net, []).append(Label(path[-1], "start" if side > 0 else "end"))
    box = label_box(path[-1], net, side, port=net in placer.structure.ports)
    wiring.grid.block((box[0] + (side > 0), box[1], box[2] - (side < 0), box[3]))


def _stub(placer: Placer, wiring: Wiring, net: str, spot: Spot, side: int) -> None:
    _write(placer, wiring, net, [spot, (spot[0] + side * STUB, spot[1])], side)


def _tail(block: Block, placement: Placement, grid: Grid) -> None:
    """The common net of a pair, symmetrical to its tail."""
    if block.tail is None:
        return
    for tail in (block.tail.elements[0], block.tail.elements[-1]):
        for net, end in ((tail.bottom, 1), (tail.top, 0)):
            twins = [e for column in block.columns for e in column.elements if net in (e.top, e.bottom)]
            if len(twins) != 2:
                continue
            start = _ends(tail, placement.placed[tail])[end]
            spots = [_ends(e, placement.placed[e])[0 if e.top == net else 1] for e in twins]
            level = start[1] + (2 if end else -2)
            paths = [[start, (start[0], level), (x, level), (x, y)] for x, y in spots]
            if (level < spots[0][1]) == bool(end) and all(grid.clear_way(net, path) for path in paths):
                grid.add_wire(net, paths[0])
                grid.add_wire(net, paths[1][1:])
                return


def _loops(placer: Placer, placement: Placement, grid: Grid) -> None:
    """Wires from gates to the column that they stand in."""
    columns = [column for block in placer.order.blocks for column in block.every]
    for column, element in [(c, e) for c in columns for e in c.elements]:
        net = element.gate
        if net is None or net not in column.channel_nets or net in placer.structure.rails:
            continue
        gate = _piece(grid, net, _spot(placement.placed[element].pins["g"]))
        nearest = next(other for other in column.elements if net in (other.top, other.bottom))
        upper, lower = _ends(nearest, placement.placed[nearest])
        channel = _piece(grid, net, upper if net == nearest.top else lower)
        if channel is not gate:
            grid.connect(net, gate, _LOOP, to=channel)


def _piece(grid: Grid, net: str, spot: Spot) -> set[Spot]:
    return next(piece for piece in grid.pieces[net] if spot in piece)


def _remaining(placer: Placer, grid: Grid) -> None:
    """Wires of the nets that have no names, the shortest nets first."""
    left = [net for net in grid.pieces if net not in placer.labelled and net not in placer.structure.rails]

    def extent(net: str) -> tuple[int, str]:
        spots = [spot for piece in grid.pieces[net] for spot in piece]
        xs, ys = [x for x, _ in spots], [y for _, y in spots]
        return max(xs) - min(xs) + max(ys) - min(ys), net

    for net in sorted(left, key=extent):
        failed: list[set[Spot]] = []
        while pieces := [piece for piece in grid.pieces[net] if piece not in failed]:
            smallest = min(pieces, key=lambda piece: (len(piece), min(piece)))
            if not grid.connect(net, smallest, _DEAREST):
                failed.append(smallest)


def _drop_lonely_ports(placement: Placement, wiring: Wiring) -> None:
    """A port that no wire reaches is marked where its net is instead."""
    for net, spot in placement.ports.items():
        if {spot} in wiring.grid.pieces[net]:
            wiring.grid.pieces[net].remove({spot})
            wiring.labels[net].remove(Label(spot, "start"))


def _names(placer: Placer, wiring: Wiring, bottom: int) -> None:
    """Names of what is not connected by wires."""
    for net, pieces in wiring.grid.pieces.items():
        rail = net in placer.structure.rails
        for piece in sorted(pieces, key=min):
            named = any(_spot(label.point) in piece for label in wiring.labels.get(net, ()))
            at_rail = rail and any(y in (0, bottom) for _, y in piece)
            whole = len(pieces) == 1 and len(piece) > 1 and not rail and net not in placer.structure.ports
            if named or at_rail or whole:
                continue
            if not _name(placer, wiring, net, piece):
                wiring.missing.add(net)


def _name(placer: Placer, wiring: Wiring, net: str, piece: set[Spot]) -> bool:
    """Put a name beside a piece of wire, where there is room."""
    port = net in placer.structure.ports
    for reach, rise in itertools.product((STUB, STUB + 1, STUB + 2), (0, 1, -1, 2, -2)):
        for x, y in sorted(piece, key=lambda spot: (spot[1], spot[0])):
            for side in (-1, 1):
                turn, end = (x, y + rise), (x + side * reach, y + rise)
                box = label_box(end, net, side, port=port)
                path = [(x, y), turn, end]
                if wiring.grid.clear_way(net, path) and _is_new(wiring, path) and wiring.grid.is_free(box):
                    _write(placer, wiring, net, path, side)
                    return True
    return False


def _is_new(wiring: Wiring, path: list[Spot]) -> bool:
    """Whether there is nothing on a path but at its start, not even a wire to cross."""
    spots = {spot for start, end in itertools.pairwise(path) for spot in between(start, end)}
    return all(wiring.grid.is_free((x, y, x, y)) for x, y in spots - {path[0]})

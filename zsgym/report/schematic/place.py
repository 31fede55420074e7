"""Grid points for ordered blocks: rows, and columns as close as their symbols and texts allow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from zsgym.netlist import TRANSISTORS
from zsgym.report.schematic.branches import Block, Branches, Column
from zsgym.report.schematic.grid import Box
from zsgym.report.schematic.laterals import APART, Heights, Lateral, choose_heights, port_heights, slots_of_laterals
from zsgym.report.schematic.model import Placed, half_height
from zsgym.report.schematic.order import Order
from zsgym.report.schematic.sides import Sides
from zsgym.report.schematic.structure import Element, Structure
from zsgym.report.schematic.texts import STUB, label_box, label_width, symbol_boxes

_EDGE, _WIDE_EDGE, _PITCH = 3, 6, 8
_GAP = 2.0
"""Between what stands beside each other: room for a wire."""
_JOINT, _WIDE_JOINT = 4.0, 7.0
"""Between gates that face each other; where another wire leads down between them."""
_LEFT, _PAIR = 4, 8
"""Left of the first column, and the least distance of a pair."""


@dataclass
class _Slot:
    """What shares a place in the order: symbols relative to its first column, and the boxes that they need."""

    placed: dict[Element, Placed] = field(default_factory=dict)
    boxes: list[Box] = field(default_factory=list)
    ports: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Placement:
    """placed: element -> its place. ports: output -> grid point. width, bottom: of the grid; the upper rail is at 0.
    bias: left and right end of the bias branches, where there are any."""

    placed: Mapping[Element, Placed]
    ports: Mapping[str, tuple[int, int]]
    width: int
    bottom: int
    bias: tuple[int, int] | None


@dataclass(frozen=True)
class Placer:
    """labelled: nets whose gates carry their names, for which room is kept. crowded: nets of which every pin does,
    since names had no room before. gap: between columns, in grid steps.
    sizes: keep room for them."""

    structure: Structure
    branches: Branches
    order: Order
    sides: Sides
    notes: Mapping[str, str]
    labelled: frozenset[str]
    crowded: frozenset[str]
    gap: float = _GAP
    sizes: bool = True

    def place(self) -> Placement:
        """The place of every element."""
        flat = slots_of_laterals(self.structure, self.branches, self.order)
        tallest = max((len(members) for members in flat.values()), default=0)
        rows = self._rows(tallest)
        last = [c.elements[-1] for b in self.order.blocks for c in b.every if c.rows[-1] == self.branches.rows - 1]
        bottom = rows[-1] + self._margin(element.bottom == self.structure.low for element in last)
        heights = Heights(rows, max(bottom, APART * tallest + 8))
        chosen = choose_heights(flat, self.structure, self.order, heights)
        slots = [(float(number), self._block(block, heights)) for number, block in enumerate(self.order.blocks)]
        slots += [(place, self._laterals(items)) for place, items in chosen.items()]
        ports = port_heights(self.order, heights, chosen)
        if ports:
            slots.append((float(len(self.order.blocks)), _port_slot(ports)))
        slots.sort(key=lambda slot: slot[0])
        return self._pack(slots, heights.bottom)

    def _rows(self, tallest: int) -> list[int]:
        """y of the middle of each row; between upper and lower rows there is room for a stack of flat elements."""
        count, lower = self.branches.rows, self.branches.lower
        extra = max(1, APART * tallest + 2 - (count - 1) * _PITCH + 4)
        first = [c.elements[0] for b in self.order.blocks for c in b.every if c.rows[0] == 0]
        start = self._margin(element.top == self.structure.high for element in first)
        return [start + row * _PITCH + (extra if row >= lower > 0 else 0) for row in range(count)]

    @staticmethod
    def _margin(at_rail: Iterable[bool]) -> int:
        """Between a rail and the first row, with room for names where something in it is not on the rail."""
        return _EDGE if all(at_rail) else _WIDE_EDGE

    def _pack(self, slots: Sequence[tuple[float, _Slot]], bottom: int) -> Placement:
        placed: dict[Element, Placed] = {}
        ports: dict[str, tuple[int, int]] = {}
        before: list[Box] = []
        middle, ends = 0, list[int]()
        for number, (place, slot) in enumerate(slots):
            joints = self._joints(slots[number - 1][1], slot) if number else {}
            x = middle + 5 if before else math.ceil(_LEFT - min(box[0] for box in slot.boxes))
            x = max(x, math.ceil(self._distance(before, slot.boxes, joints)))
            moved = {element: replace(item, x=item.x + x) for element, item in slot.placed.items()}
            placed |= moved
            ports |= {net: (px + x, py) for net, (px, py) in slot.ports.items()}
            before += [(box[0] + x, box[1], box[2] + x, box[3]) for box in slot.boxes]
            middle = max([x, *(int(item.x) for item in moved.values())])
            if place < len(self.order.bias) - 0.5:
                ends += [x, middle]
        width = math.ceil(max((box[2] for box in before), default=10.0)) + 2
        return Placement(placed, ports, width, bottom, (min(ends), max(ends)) if ends and self.order.signal else None)

    def _joints(self, left: _Slot, right: _Slot) -> dict[float, float]:
        """Height -> distance of gates that face each other there."""
        pairs = [(a, b) for a, b in self.sides.facing if a in left.placed and b in right.placed]
        # A wire from the gates to a drain beyond the next joint, as in a cascoded mirror.
        far = any(a.gate not in self.labelled | {a.top, a.bottom, b.top, b.bottom} for a, b in pairs)
        least = _WIDE_JOINT if far and len(pairs) > 1 else _JOINT
        names = {
            a: label_width(a.gate, port=False) + 1.5 if a.gate in self.labelled else 0.0 for a, _ in pairs if a.gate
        }
        return {left.placed[a].y: max(least, names[a]) for a, _ in pairs}

    def _distance(self, before: Sequence[Box], boxes: Sequence[Box], joints: Mapping[float, float]) -> float:
        """How far boxes must be moved to the right to stand beside others."""
        least = 0.0
        for new in boxes:
            heights = [(y, gap) for y, gap in joints.items() if new[1] <= y <= new[3]]
            for old in before:
                if old[1] <= new[3] + 0.5 and new[1] <= old[3] + 0.5:
                    gap = max([self.gap, *(gap for y, gap in heights if old[1] <= y <= old[3])])
                    least = max(least, old[2] + gap - new[0])
        return least

    def _block(self, block: Block, heights: Heights) -> _Slot:
        left, right = (self._column(column, heights) for column in (block.columns[0], block.columns[-1]))
        if block.tail is None:
            return left
        tail = self._column(block.tail, heights)
        apart = self._distance(left.boxes, right.boxes, self._joints(left, right))
        beside = (self._distance(left.boxes, tail.boxes, {}), self._distance(tail.boxes, right.boxes, {}))
        half = math.ceil(max(_PAIR, apart, 2.0 * max(beside)) / 2.0)
        slot = _Slot()
        for part, x in ((left, 0), (tail, half), (right, 2 * half)):
            slot.placed |= {element: replace(item, x=item.x + x) for element, item in part.placed.items()}
            slot.boxes += [(box[0] + x, box[1], box[2] + x, box[3]) for box in part.boxes]
        return slot

    def _column(self, column: Column, heights: Heights) -> _Slot:
        slot = _Slot()
        for element, row in zip(column.elements, column.rows, strict=True):
            device = element.device
            transistor = element.kind in TRANSISTORS
            item = Placed(
                device,
                0,
                heights.rows[row],
                mirrored=element in self.sides.mirrored if transistor else element.flipped,
                upside_down=transistor and element.flipped,
                parallel=element.devices[1:],
            )
            slot.placed[element] = item
            slot.boxes += symbol_boxes(item, self.notes.get(device.name, ""), sizes=self.sizes)
            slot.boxes += self._gate_label(element, item)
            slot.boxes += self._names_at_ends(element, item, first=element is column.elements[0])
        slot.boxes += self._through(column, slot, heights)
        return slot

    def _gate_label(self, element: Element, item: Placed) -> Iterable[Box]:
        """Room for the name of a net at a gate, unless the gate is joined to one that faces it."""
        joined = any(element in pair for pair in self.sides.facing)
        if element.gate is None or joined or element.gate not in self.labelled | set(self.structure.rails):
            return
        side = 1 if item.mirrored else -1
        spot = (item.x + side * (2 + STUB), item.y)
        yield label_box(spot, element.gate, side, port=element.gate in self.structure.ports)

    def _names_at_ends(self, element: Element, item: Placed, *, first: bool) -> Iterable[Box]:
        for net, path in self.named_ends(element, item, first=first):
            yield label_box(path[-1], net, 1 if path[-1][0] >= item.x else -1, port=net in self.structure.ports)

    def named_ends(self, element: Element, item: Placed, *, first: bool) -> Iterable[tuple[str, list[tuple[int, int]]]]:
        """Net and wire to the place of its name, for ends of a symbol that get one in any case.

        :param first: nothing is above it in its column.
        """
        rails = (self.structure.high, self.structure.low)
        x, y = int(item.x), int(item.y)
        if item.flat:
            for net, side in ((element.top, 1 if item.mirrored else -1), (element.bottom, -1 if item.mirrored else 1)):
                if net in self.crowded or net in rails:
                    yield net, [(x + side, y), (x + 2 * side, y)]
            return
        reach = half_height(item.device)
        if first and (element.top in self.crowded or (element.top in rails and element.top != rails[0])):
            yield element.top, [(x, y - reach), (x, y - reach - 1), (x + 1, y - reach - 1)]
        if element.bottom in self.crowded or (element.bottom in rails and element.bottom != rails[1]):
            below = y + reach + (2 if element.device.name in self.notes else 1)
            yield element.bottom, [(x, y + reach), (x, below), (x + 1, below)]

    def _through(self, column: Column, slot: _Slot, heights: Heights) -> Iterable[Box]:
        """Wires between the elements of a column, and to the rails."""
        items = [slot.placed[element] for element in column.elements]
        first, last = column.elements[0], column.elements[-1]
        top = 0.0 if first.top == self.structure.high else items[0].y - 3
        bottom = float(heights.bottom) if last.bottom == self.structure.low else items[-1].y + 3
        yield (items[0].x, top, items[0].x, bottom)

    def _laterals(self, items: Sequence[Lateral]) -> _Slot:
        slot = _Slot()
        for lateral in items:
            item = Placed(lateral.element.device, 0, lateral.y, mirrored=lateral.mirrored, flat=True)
            slot.placed[lateral.element] = item
            slot.boxes += symbol_boxes(item, self.notes.get(item.device.name, ""), sizes=self.sizes)
            slot.boxes.append((-3, lateral.y - 1, 3, lateral.y + 1))
            slot.boxes += self._names_at_ends(lateral.element, item, first=True)
        return slot


def _port_slot(ports: Mapping[str, int]) -> _Slot:
    slot = _Slot()
    for net, y in ports.items():
        slot.ports[net] = (0, y)
        slot.boxes.append((0, y - 1, label_width(net, port=True), y + 1))
    return slot

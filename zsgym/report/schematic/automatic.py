"""A schematic of any circuit, drawn from the structure of its netlist."""

from __future__ import annotations

from collections.abc import Mapping

from zsgym.circuits import Circuit
from zsgym.netlist import TRANSISTORS
from zsgym.report.schematic.branches import find_branches
from zsgym.report.schematic.model import Schematic
from zsgym.report.schematic.order import order_blocks
from zsgym.report.schematic.place import Placement, Placer
from zsgym.report.schematic.sides import choose_sides
from zsgym.report.schematic.structure import Structure, read_structure
from zsgym.report.schematic.wires import Wiring, draw_wires

_TRIES = 6
"""Each gives a net names that had no way, or more room to all."""


def automatic_schematic(circuit: Circuit, *, sizes: bool = True) -> Schematic:
    """Rails above and below, branches between them, signal from left to right; the same for the same netlist.

    :param sizes: keep room for the sizes of devices; without, only names fit.
    """
    structure = read_structure(circuit)
    branches = find_branches(structure)
    order = order_blocks(structure, branches)
    sides = choose_sides(order)
    notes = _notes(circuit, structure)
    crowded = frozenset[str]()
    gap = 2.0
    for _ in range(_TRIES):
        placer = Placer(structure, branches, order, sides, notes, order.labelled | crowded, crowded, gap, sizes)
        placement = placer.place()
        wiring = draw_wires(placer, placement)
        if not wiring.missing:
            break
        crowded |= wiring.missing
        gap += 1.0
    return _schematic(structure, placement, wiring, notes)


def _notes(circuit: Circuit, structure: Structure) -> dict[str, str]:
    """Bulks that are neither on their rail nor on their source."""
    notes = {}
    for device in circuit.devices:
        if device.kind in TRANSISTORS:
            usual = (device.nodes["s"], structure.low if device.kind == "nmos" else structure.high)
            if device.nodes["b"] not in usual:
                notes[device.name] = f"bulk {device.nodes['b']}"
    return notes


def _schematic(structure: Structure, placement: Placement, wiring: Wiring, notes: Mapping[str, str]) -> Schematic:
    heights = ((structure.high, 0.0), (structure.low, float(placement.bottom)))
    rails = {net: y for net, y in heights if net is not None}
    titles = {"bias": sum(placement.bias) / 2.0} if placement.bias else {}
    return Schematic(
        placed=tuple(placement.placed.values()),
        segments={net: tuple(pieces) for net, pieces in wiring.grid.segments.items()},
        labels={net: tuple(labels) for net, labels in wiring.labels.items()},
        rails=rails,
        titles=titles,
        notes=notes,
        top=0.0,
        bottom=float(placement.bottom),
        width=float(placement.width + 5),
    )

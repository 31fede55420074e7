"""Schematics: of any circuit from its netlist's structure, or placed by hand; as data, and as SVG."""

from zsgym.circuits import Circuit
from zsgym.report.schematic.automatic import automatic_schematic
from zsgym.report.schematic.model import Label, Placed, Point, Schematic, Segment, touches
from zsgym.report.schematic.placement_file import load_placement
from zsgym.report.schematic.svg import draw_schematic, schematic_file

__all__ = [
    "Label",
    "Placed",
    "Point",
    "Schematic",
    "Segment",
    "automatic_schematic",
    "draw_schematic",
    "load_placement",
    "load_schematic",
    "schematic_file",
    "touches",
]


def load_schematic(circuit: Circuit, *, sizes: bool = True) -> Schematic:
    """The circuit as it was placed by hand, where somebody did; else as its structure suggests.

    :param sizes: keep room for the sizes of devices. :raises ConfigError: the file with the placement is not valid.
    """
    return load_placement(circuit) or automatic_schematic(circuit, sizes=sizes)

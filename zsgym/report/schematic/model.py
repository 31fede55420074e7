"""A schematic as data: devices at their places, wires, names of nets.

Coordinates are grid points; y counts downwards. A transistor at (x, y) has drain and source at (x, y - 2) and
(x, y + 2), nMOS with the drain and pMOS with the source on top (upside down, the other way round), and its gate at
(x - 2, y), or at (x + 2, y) when mirrored. A source has its ends at (x, y - 2) and (x, y + 2); other two-terminal
devices at (x, y - 1) and (x, y + 1), or at (x - 1, y) and (x + 1, y) when flat; mirrored, they have the second terminal
first. Wires meet where one ends on the other; wires that cross are not connected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zsgym.base.plot import Anchor
from zsgym.netlist import TRANSISTORS, Device
from zsgym.report.devices import device_name

Point = tuple[float, float]
Segment = tuple[Point, Point]


@dataclass(frozen=True, slots=True)
class Placed:
    """A device at its place; with others in parallel, which have the same size and the same nets, it stands for all."""

    device: Device
    x: float
    y: float
    mirrored: bool = False
    flat: bool = False
    upside_down: bool = False
    parallel: tuple[Device, ...] = ()

    @property
    def pins(self) -> dict[str, Point]:
        """Pin -> grid point; a transistor's bulk is not drawn."""
        if self.device.kind in TRANSISTORS:
            top, bottom = ("d", "s") if (self.device.kind == "nmos") != self.upside_down else ("s", "d")
            gate = (self.x + (2 if self.mirrored else -2), self.y)
            return {top: (self.x, self.y - 2), bottom: (self.x, self.y + 2), "g": gate}
        reach = half_height(self.device)
        dx, dy = (reach, 0) if self.flat else (0, reach)
        ends = ((self.x - dx, self.y - dy), (self.x + dx, self.y + dy))
        # Where the drawing has the first terminal on the other side, the symbol is the same.
        return dict(zip(("n", "p") if self.mirrored else ("p", "n"), ends, strict=True))

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices that the symbol stands for."""
        return (self.device, *self.parallel)

    @property
    def name(self) -> str:
        """Of the device, or of those in parallel: `M1, M2`, or `M1 ... M8` for more."""
        names = [device_name(device) for device in self.devices]
        return ", ".join(names) if len(names) < 3 else f"{names[0]} … {names[-1]}"


@dataclass(frozen=True, slots=True)
class Label:
    """The name of a net at a point of its wire: above it, or to its right (start) or left (end)."""

    point: Point
    anchor: Anchor = "middle"


@dataclass(frozen=True)
class Schematic:
    """segments: net -> pieces of wire, those to the rails included. labels: net -> where its name stands, and connects
    to the same name elsewhere; or marks a port. rails: net -> y. titles: text -> x. notes: device -> what the symbol
    does not show, such as the net of a bulk that is on neither rail nor source.
    """

    placed: tuple[Placed, ...]
    segments: Mapping[str, tuple[Segment, ...]]
    labels: Mapping[str, tuple[Label, ...]]
    rails: Mapping[str, float]
    titles: Mapping[str, float]
    notes: Mapping[str, str]
    top: float
    bottom: float
    width: float


def half_height(device: Device) -> int:
    """From the middle of a symbol to its ends, in grid steps."""
    return 2 if device.kind in (*TRANSISTORS, "isource", "vsource") else 1


def touches(point: Point, segment: Segment) -> bool:
    """Whether a point lies on a horizontal or vertical segment, ends included."""
    (x1, y1), (x2, y2) = segment
    return min(x1, x2) <= point[0] <= max(x1, x2) and min(y1, y2) <= point[1] <= max(y1, y2)

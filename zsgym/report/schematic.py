"""A circuit's schematic, placed by hand in `schematics/NAME.yaml` beside the folder of the circuit's own file.

The file gives grid points; y counts downwards. A transistor at (x, y) has drain and source at (x, y - 2) and
(x, y + 2), nMOS with the drain and pMOS with the source on top, and its gate at (x - 2, y), or at (x + 2, y) when
mirrored. A current source has its ends at (x, y - 2) and (x, y + 2); capacitors and resistors at (x, y - 1) and
(x, y + 1), or at (x - 1, y) and (x + 1, y) when flat; mirrored, they have the second terminal first. Pins on the net of
a rail are joined to the rail by a vertical line. Wires meet where one ends on the other; wires that cross are not
connected.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from zsgym.base.errors import ConfigError
from zsgym.base.problems import read_model
from zsgym.circuits import Circuit
from zsgym.netlist import Device
from zsgym.report.devices import device_name

Point = tuple[float, float]
Segment = tuple[Point, Point]

_TRANSISTORS = ("nmos", "pmos")


class SchematicFile(BaseModel):
    """A placement as it stands in its file. rails: net -> y. titles: text -> x. The others: see the module."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rails: dict[str, float]
    titles: dict[str, float] = {}
    devices: dict[str, str]
    wires: dict[str, list[str]]
    labels: dict[str, list[str]] = {}


@dataclass(frozen=True, slots=True)
class Placed:
    """A device at its place."""

    device: Device
    x: float
    y: float
    mirrored: bool
    flat: bool

    @property
    def pins(self) -> dict[str, Point]:
        """Pin -> grid point; a transistor's bulk is not drawn."""
        if self.device.kind in _TRANSISTORS:
            top, bottom = ("d", "s") if self.device.kind == "nmos" else ("s", "d")
            gate = (self.x + (2 if self.mirrored else -2), self.y)
            return {top: (self.x, self.y - 2), bottom: (self.x, self.y + 2), "g": gate}
        reach = 2 if self.device.kind == "isource" else 1
        dx, dy = (reach, 0) if self.flat else (0, reach)
        ends = ((self.x - dx, self.y - dy), (self.x + dx, self.y + dy))
        # Where the drawing has the first terminal on the other side, the symbol is the same.
        return dict(zip(("n", "p") if self.mirrored else ("p", "n"), ends, strict=True))


@dataclass(frozen=True)
class Schematic:
    """A placement that has been read. segments: net -> pieces of wire, those to the rails included."""

    placed: tuple[Placed, ...]
    segments: Mapping[str, tuple[Segment, ...]]
    labels: Mapping[str, tuple[Point, ...]]
    rails: Mapping[str, float]
    titles: Mapping[str, float]

    @property
    def width(self) -> float:
        """From the left edge of the grid to a little beyond everything."""
        xs = [x for part in self.segments.values() for segment in part for x, _ in segment]
        return max(xs) + 5.0


def load_schematic(circuit: Circuit) -> Schematic | None:
    """The placement that belongs to a circuit; None where there is none.

    :raises ConfigError: the file is not valid.
    """
    path = circuit.directory.parent / "schematics" / f"{circuit.name}.yaml"
    return _read(path, circuit) if path.is_file() else None


def _read(path: Path, circuit: Circuit) -> Schematic:
    file = read_model(path, SchematicFile)
    by_name = {device_name(device): device for device in circuit.devices}
    if file.devices.keys() != by_name.keys():
        wrong = ", ".join(sorted(file.devices.keys() ^ by_name.keys()))
        raise ConfigError(
            f"{path}: devices: it must place every device of {circuit.name} and no other; look at {wrong}"
        )
    placed = tuple(_place(by_name[name], text) for name, text in file.devices.items())
    segments = {net: [piece for line in lines for piece in _line(line)] for net, lines in file.wires.items()}
    for item in placed:
        for pin, (x, y) in item.pins.items():
            net = item.device.nodes[pin]
            if net in file.rails:
                segments.setdefault(net, []).append(((x, y), (x, file.rails[net])))
    labels = {net: tuple(_points(" - ".join(points))) for net, points in file.labels.items()}
    complete = {net: tuple(pieces) for net, pieces in segments.items()}
    return Schematic(placed, complete, labels, file.rails, file.titles)


def _place(device: Device, text: str) -> Placed:
    x, y, *words = text.replace(",", " ").split()
    return Placed(device, float(x), float(y), "mirrored" in words, "flat" in words)


def _points(line: str) -> list[Point]:
    numbers = [float(number) for number in re.findall(r"[\d.]+", line)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _line(line: str) -> list[Segment]:
    points = _points(line)
    return list(itertools.pairwise(points))

"""A circuit's schematic, placed by hand in `schematics/NAME.yaml` beside the folder of the circuit's own file.

The file gives grid points, as `model.py` defines them. Pins on the net of a rail are joined to the rail by a vertical
line.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from zsgym.base.errors import ConfigError
from zsgym.base.problems import read_model
from zsgym.circuits import Circuit
from zsgym.netlist import Device
from zsgym.report.devices import device_name
from zsgym.report.schematic.model import Label, Placed, Point, Schematic, Segment


class SchematicFile(BaseModel):
    """A placement as it stands in its file. rails: net -> y. titles: text -> x. The others: see the module."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rails: dict[str, float]
    titles: dict[str, float] = {}
    devices: dict[str, str]
    wires: dict[str, list[str]]
    labels: dict[str, list[str]] = {}


def load_placement(circuit: Circuit) -> Schematic | None:
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
    labels = {net: tuple(map(Label, _points(" - ".join(points)))) for net, points in file.labels.items()}
    ys = file.rails.values()
    return Schematic(
        placed=placed,
        segments={net: tuple(pieces) for net, pieces in segments.items()},
        labels=labels,
        rails=file.rails,
        titles=file.titles,
        notes={},
        top=min(ys),
        bottom=max(ys),
        width=max(x for pieces in segments.values() for piece in pieces for x, _ in piece) + 5.0,
    )


def _place(device: Device, text: str) -> Placed:
    x, y, *words = text.replace(",", " ").split()
    return Placed(device, float(x), float(y), "mirrored" in words, "flat" in words)


def _points(line: str) -> list[Point]:
    numbers = [float(number) for number in re.findall(r"[\d.]+", line)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _line(line: str) -> list[Segment]:
    points = _points(line)
    return list(itertools.pairwise(points))

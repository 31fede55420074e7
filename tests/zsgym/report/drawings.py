"""What a drawing says, read back from its geometry and from its SVG alone: as a reader sees it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from xml.etree import ElementTree

from zsgym.circuits import Circuit
from zsgym.netlist import TRANSISTORS
from zsgym.report.schematic import Placed, Point, Schematic, Segment, draw_schematic, touches

SVG = "{http://www.w3.org/2000/svg}"
FONT_SIZES = {"name": 11.5, "size": 10.5, "net": 10.0, "portname": 11.5, "stage": 12.0}
"""Of `schematic.css`."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def drawn_nets(schematic: Schematic) -> list[set[tuple[str, str]]]:
    """The nets of a drawing, as sets of (device, pin), from its geometry alone."""
    segments = [segment for pieces in schematic.segments.values() for segment in pieces]
    parent = {key: key for key in [*range(len(segments)), *schematic.rails, *schematic.labels]}

    def root(key: int | str) -> int | str:
        while parent[key] != key:
            key = parent[key]
        return key

    def join(a: int | str, b: int | str) -> None:
        parent[root(a)] = root(b)

    def at(point: Point) -> list[int]:
        return [number for number, segment in enumerate(segments) if touches(point, segment)]

    for number, segment in enumerate(segments):
        for point in segment:
            for other in at(point):
                join(number, other)
            for rail, y in schematic.rails.items():
                if point[1] == y:
                    join(number, rail)
    for net, labels in schematic.labels.items():
        for label in labels:
            assert at(label.point), f"the label {net} at {label.point} stands on no wire"
            join(at(label.point)[0], net)
    nets: dict[int | str, set[tuple[str, str]]] = {}
    for item in schematic.placed:
        for pin, point in item.pins.items():
            assert at(point), f"pin {pin} of {item.device.name} at {point} is not connected"
            net = nets.setdefault(root(at(point)[0]), set())
            net.update((device.name, pin) for device in item.devices)
    return sorted(nets.values(), key=sorted)


def netlist_nets(circuit: Circuit) -> list[set[tuple[str, str]]]:
    """The same from the netlist, without the bulks, which are not drawn."""
    nets: dict[str, set[tuple[str, str]]] = {}
    for device in circuit.devices:
        for pin, net in device.nodes.items():
            if pin != "b":
                nets.setdefault(net, set()).add((device.name, pin))
    return sorted(nets.values(), key=sorted)


def bulks(schematic: Schematic) -> dict[str, str]:
    """Transistor -> net of its bulk, as the reader takes it: noted, else on the source or on the rail."""
    noted = {name: note.removeprefix("bulk ") for name, note in schematic.notes.items()}
    transistors = [d for item in schematic.placed for d in item.devices if d.kind in TRANSISTORS]
    return {device.name: noted.get(device.name, "usual") for device in transistors}


def overlap(a: Box, b: Box, margin: float = 0.0) -> bool:
    """Whether two boxes share a point."""
    return a[0] <= b[2] - margin and b[0] <= a[2] - margin and a[1] <= b[3] - margin and b[1] <= a[3] - margin


def text_boxes(svg: str) -> dict[tuple[str, str, str], Box]:
    """(text, x, y) -> box in drawing units, for a wide sans-serif font (0.6 of its size for each character)."""
    boxes = {}
    for element in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        size, text, x, y = FONT_SIZES[element.get("class")], element.text, float(element.get("x")), element.get("y")
        width = 0.6 * size * len(text)
        left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor")] * width
        boxes[text, element.get("x"), y] = (left, float(y) - 0.75 * size, left + width, float(y))
    return boxes


def body(item: Placed) -> Box:
    """The strokes of a symbol without its pins, in drawing units."""
    x, y = 10 * item.x, 10 * item.y
    if item.device.kind in TRANSISTORS:
        left, right = (x, x + 11.5) if item.mirrored else (x - 11.5, x)
        return (left, y - 13, right, y + 13)
    reach = 11 if item.device.kind in ("isource", "vsource") else 9
    return (x - reach, y - reach, x + reach, y + reach)


def line(segment: Segment) -> Box:
    """A wire in drawing units."""
    (x1, y1), (x2, y2) = segment
    return (10 * min(x1, x2), 10 * min(y1, y2), 10 * max(x1, x2), 10 * max(y1, y2))


def faults(schematic: Schematic, circuit: Circuit, sizing: Mapping[str, float] | None = None) -> list[str]:
    """What nobody could read: symbols and texts that overlap, and wires that run through either of them, or along
    another wire."""
    texts = text_boxes(draw_schematic(schematic, circuit, sizing))
    found = [f"texts {a} and {b}" for a, b in itertools.combinations(texts, 2) if overlap(texts[a], texts[b])]
    bodies = {item.name: body(item) for item in schematic.placed}
    found += [f"symbols {a} and {b}" for a, b in itertools.combinations(bodies, 2) if overlap(bodies[a], bodies[b])]
    found += [f"text {t} and symbol {s}" for t in texts for s in bodies if overlap(texts[t], bodies[s])]
    wires = [(net, line(segment)) for net, pieces in schematic.segments.items() for segment in pieces]
    found += [f"text {t} and wire {net} {w}" for t in texts for net, w in wires if overlap(texts[t], w)]
    found += [f"symbol {s} and wire {net} {w}" for s in bodies for net, w in wires if overlap(bodies[s], w, 0.1)]
    for (net, a), (other, b) in itertools.combinations(wires, 2):
        same_way = (a[0] == a[2]) == (b[0] == b[2])
        if net != other and same_way and overlap(a, b):
            found.append(f"wires {net} {a} and {other} {b}")
    return found

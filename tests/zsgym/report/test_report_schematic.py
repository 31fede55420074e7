"""Schematics: what is drawn is connected as the netlist says, and a circuit without one is reported without."""

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.chosen import ALWAYS
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, load_circuit
from zsgym.report.schematic import Point, Schematic, load_schematic
from zsgym.report.schematic_drawing import draw_schematic, touches

SVG = "{http://www.w3.org/2000/svg}"
FONT_SIZES = {"name": 11.5, "size": 10.5, "net": 10.0, "portname": 11.5, "stage": 12.0}
"""Of `schematic.css`."""
EXAMPLE = Path(__file__).parents[3] / "docs/examples/rc_loaded"


def drawn_nets(schematic: Schematic) -> list[set[tuple[str, str]]]:
    """The nets of a drawing, as sets of (device, pin), from its geometry alone: as a reader sees them."""
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
    for net, points in schematic.labels.items():
        for point in points:
            assert at(point), f"the label {net} at {point} stands on no wire"
            join(at(point)[0], net)
    nets: dict[int | str, set[tuple[str, str]]] = {}
    for item in schematic.placed:
        for pin, point in item.pins.items():
            assert at(point), f"pin {pin} of {item.device.name} at {point} is not connected"
            nets.setdefault(root(at(point)[0]), set()).add((item.device.name, pin))
    return sorted(nets.values(), key=sorted)


def netlist_nets(circuit: Circuit) -> list[set[tuple[str, str]]]:
    """The same from the netlist, without the bulks, which are not drawn."""
    nets: dict[str, set[tuple[str, str]]] = {}
    for device in circuit.devices:
        for pin, net in device.nodes.items():
            if pin != "b":
                nets.setdefault(net, set()).add((device.name, pin))
    return sorted(nets.values(), key=sorted)


@pytest.mark.parametrize("name", ALWAYS)
def test_the_drawing_is_the_netlist(name: str) -> None:
    circuit = load_circuit(name)
    schematic = load_schematic(circuit)
    assert schematic is not None, "every shipped circuit has a schematic"
    assert drawn_nets(schematic) == netlist_nets(circuit)


@pytest.mark.parametrize("name", ALWAYS)
def test_ports_are_marked(name: str) -> None:
    schematic = load_schematic(load_circuit(name))
    assert {"inn", "inp", "out"} <= schematic.labels.keys()
    assert {"vdd", "vss"} == schematic.rails.keys()


def test_names_and_sizes_are_drawn() -> None:
    circuit = load_circuit("nmcf")
    svg = draw_schematic(load_schematic(circuit), circuit, circuit.known_good["robust"])
    found = [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"M12", "7.97/0.89", "×7", "C2", "90 pF", "I1", "1.74 µA", "inn", "out", "stage 2"} <= set(found)  # noqa: RUF001
    assert sum(text.startswith("M") for text in found) == 24


def test_devices_do_not_overlap() -> None:
    for name in ALWAYS:
        placed = load_schematic(load_circuit(name)).placed
        for number, a in enumerate(placed):
            for b in placed[number + 1 :]:
                assert abs(a.x - b.x) >= 3 or abs(a.y - b.y) >= 4, (a.device.name, b.device.name)


def text_boxes(svg: str) -> dict[tuple[str, str, str], tuple[float, float, float, float]]:
    """(text, x, y) -> left, top, right and bottom, for a wide sans-serif font (0.6 of its size for each character)."""
    boxes = {}
    for element in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        size, text, x, y = FONT_SIZES[element.get("class")], element.text, float(element.get("x")), element.get("y")
        width = 0.6 * size * len(text)
        left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor")] * width
        boxes[text, element.get("x"), y] = (left, float(y) - 0.75 * size, left + width, float(y))
    return boxes


@pytest.mark.parametrize("name", ALWAYS)
def test_texts_are_apart_however_long_the_sizes(name: str) -> None:
    """W and L with two decimals everywhere, and three-digit multipliers: no text runs into another, or into a wire."""
    circuit = load_circuit(name)
    longest = {"W": 7.52, "L": 0.25, "M": 88.0}
    sizing = {p.name: longest.get(p.quantity, circuit.known_good["robust"][p.name]) for p in circuit.parameters}
    schematic = load_schematic(circuit)
    boxes = text_boxes(draw_schematic(schematic, circuit, sizing))
    assert sum(text == "7.52/0.25" for text, *_ in boxes) == sum(d.kind in ("nmos", "pmos") for d in circuit.devices)
    for a, b in itertools.combinations(boxes, 2):
        assert not overlap(boxes[a], boxes[b]), (a, b)
    for (x1, y1), (x2, y2) in (segment for pieces in schematic.segments.values() for segment in pieces):
        wire = (10 * min(x1, x2), 10 * min(y1, y2), 10 * max(x1, x2), 10 * max(y1, y2))
        assert not [text for text, box in boxes.items() if overlap(box, wire)], wire


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """Whether two boxes (left, top, right, bottom) share a point."""
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def test_a_circuit_without_a_placement_has_no_schematic() -> None:
    assert load_schematic(load_circuit(EXAMPLE)) is None


def test_a_placement_that_misses_a_device_is_refused(tmp_path: Path) -> None:
    nmcf = load_circuit("nmcf")
    text = (nmcf.directory / "nmcf.yaml").read_text().replace("../../netlists/nmcf.spice", "nmcf.spice")
    (tmp_path / "circuits").mkdir()
    (tmp_path / "circuits" / "mine.yaml").write_text(text)
    (tmp_path / "circuits" / "nmcf.spice").write_text(nmcf.netlist_text)
    (tmp_path / "schematics").mkdir()
    placement = (nmcf.directory.parent / "schematics" / "nmcf.yaml").read_text().replace("  M12: ", "  M99: ")
    (tmp_path / "schematics" / "mine.yaml").write_text(placement)
    with pytest.raises(ConfigError, match="must place every device of mine and no other; look at M12, M99"):
        load_schematic(load_circuit(tmp_path / "circuits" / "mine.yaml"))

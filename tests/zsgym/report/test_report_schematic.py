"""Schematics: what is drawn is connected as the netlist says, and can be read."""

import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.zsgym.report.drawings import SVG, drawn_nets, faults, netlist_nets
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, list_circuits, load_circuit
from zsgym.netlist import TRANSISTORS, Device, Expression
from zsgym.report.schematic import (
    Placed,
    Schematic,
    automatic_schematic,
    draw_schematic,
    load_placement,
    load_schematic,
    schematic_file,
)

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "docs/examples/rc_loaded"
STRANGERS = {
    "rc_loaded": EXAMPLE,
    "five": ROOT / "tests/zsgym/sizing/five/five.yaml",
}
LONGEST = {"W": 7.52, "L": 0.25, "M": 88.0, "capacitance": 9.85e-12, "resistance": 1.25e3, "current": 1.75e-6}
"""What takes the most room in a drawing."""


@cache
def circuit_of(name: str) -> Circuit:
    return load_circuit(STRANGERS.get(name, name))


@cache
def drawing_of(name: str, *, sizes: bool = True) -> Schematic:
    return automatic_schematic(circuit_of(name), sizes=sizes)


def longest(circuit: Circuit) -> dict[str, float]:
    quantities = {"F": "capacitance", "ohm": "resistance", "A": "current"}
    return {p.name: LONGEST[quantities.get(p.unit, p.quantity)] for p in circuit.parameters}


def place_of(schematic: Schematic) -> dict[str, Placed]:
    """Device -> its symbol."""
    return {device.name.removeprefix("x"): item for item in schematic.placed for device in item.devices}


class TestOfEveryCircuit:
    @pytest.mark.parametrize("name", list_circuits())
    def test_ports_are_marked(self, name: str) -> None:
        for schematic in (load_placement(circuit_of(name)), drawing_of(name)):
            if schematic is not None:
                assert {"inn", "inp", "out"} <= schematic.labels.keys()
                assert {"vdd", "vss"} == schematic.rails.keys()

    @pytest.mark.parametrize("name", ["nmcf", "nmcnr"])
    def test_what_was_placed_by_hand_is_the_netlist(self, name: str) -> None:
        circuit, schematic = circuit_of(name), load_placement(circuit_of(name))
        assert schematic is not None
        assert drawn_nets(schematic) == netlist_nets(circuit)
        assert faults(schematic, circuit, longest(circuit)) == []

    @pytest.mark.parametrize("name", [*list_circuits(), *STRANGERS])
    def test_what_a_program_draws_is_the_netlist(self, name: str) -> None:
        circuit, schematic = circuit_of(name), drawing_of(name)
        assert drawn_nets(schematic) == netlist_nets(circuit)
        assert faults(schematic, circuit, longest(circuit)) == []
        names_alone = drawing_of(name, sizes=False)
        assert drawn_nets(names_alone) == netlist_nets(circuit)
        assert faults(names_alone, circuit) == []
        assert names_alone.width < schematic.width

    @pytest.mark.parametrize("name", list_circuits())
    def test_currents_flow_down_and_signals_to_the_right(self, name: str) -> None:
        circuit, schematic = circuit_of(name), drawing_of(name)
        places = place_of(schematic)
        middle = schematic.bottom / 2
        at_rails = [(d.kind, places[d.name.removeprefix("x")].y) for d in circuit.devices if is_at_its_rail(d)]
        assert all(y < middle if kind == "pmos" else y > middle for kind, y in at_rails)
        inputs, outputs = (
            [
                places[d.name.removeprefix("x")].x
                for d in circuit.devices
                if set(nets) & {d.nodes.get(pin) for pin in "dgs"}
            ]
            for nets in (("inn", "inp"), ("out",))
        )
        assert min(inputs) < min(outputs)

    @pytest.mark.parametrize("name", list_circuits())
    def test_the_input_pair_is_symmetrical(self, name: str) -> None:
        places = place_of(drawing_of(name))
        by_gate = {d.nodes["g"]: d for d in circuit_of(name).devices[::-1] if d.nodes.get("g") in ("inn", "inp")}
        one, other = (places[by_gate[port].name.removeprefix("x")] for port in ("inn", "inp"))
        tail = by_gate["inn"].nodes["s"]
        source = next(d for d in circuit_of(name).devices if d.nodes.get("d") == tail)
        assert one.y == other.y
        assert one.mirrored != other.mirrored
        assert one.x + other.x == 2 * places[source.name.removeprefix("x")].x


def is_at_its_rail(device: Device) -> bool:
    return device.kind in TRANSISTORS and device.nodes["s"] == {"pmos": "vdd", "nmos": "vss"}[device.kind]


def test_names_and_sizes_are_drawn() -> None:
    circuit = load_circuit("nmcf")
    svg = draw_schematic(load_schematic(circuit), circuit, circuit.known_good["robust"])
    found = [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"M12", "7.97/0.89", "×7", "C2", "90 pF", "I1", "1.74 µA", "inn", "out", "stage 2"} <= set(found)  # noqa: RUF001
    assert sum(text.startswith("M") for text in found) == 24


class TestOfOneCircuit:
    """Changes to a small amplifier, and what its drawing makes of them."""

    @pytest.fixture
    def circuit(self) -> Circuit:
        return circuit_of("five")

    def test_it_is_the_same_each_time(self, circuit: Circuit) -> None:
        assert schematic_file(automatic_schematic(circuit), circuit) == schematic_file(drawing_of("five"), circuit)

    def test_units_in_parallel_are_one_symbol(self, circuit: Circuit) -> None:
        first = next(d for d in circuit.devices if d.name == "xm3")
        more = [replace(first, name=f"xm3{letter}") for letter in "bc"]
        changed = with_devices(circuit, *circuit.devices, *more)
        schematic = automatic_schematic(changed)
        item = place_of(schematic)["m3c"]
        assert [device.name for device in item.devices] == ["xm3", "xm3b", "xm3c"]
        assert drawn_nets(schematic) == netlist_nets(changed)
        svg = draw_schematic(schematic, changed, longest(circuit))
        assert ">M3 … M3C<" in svg
        assert f">×{3 * 88}<" in svg  # noqa: RUF001
        wider = replace(first, name="xm3d", values={**first.values, "w": Expression.constant(3.0)})
        apart = place_of(automatic_schematic(with_devices(circuit, *circuit.devices, wider)))
        assert apart["m3d"] is not apart["m3"]

    def test_long_names_have_room(self) -> None:
        """Of devices and nets within instances, as the reader of netlists makes them."""
        circuit = circuit_of("nmcf")
        ports = circuit.subcircuit.ports
        devices = [
            replace(
                d,
                name=f"xcore.xstage.{d.name}",
                nodes={pin: net if net in ports else f"xcore.xstage.{net}" for pin, net in d.nodes.items()},
            )
            for d in circuit.devices
        ]
        changed = with_devices(circuit, *devices)
        schematic = automatic_schematic(changed)
        assert drawn_nets(schematic) == netlist_nets(changed)
        assert faults(schematic, changed, longest(circuit)) == []
        assert ">XCORE.XSTAGE.M12<" in draw_schematic(schematic, changed)

    def test_a_bulk_elsewhere_is_written_beside_the_device(self, circuit: Circuit) -> None:
        devices = [replace(d, nodes={**d.nodes, "b": "out"}) if d.name == "xm3" else d for d in circuit.devices]
        changed = with_devices(circuit, *devices)
        schematic = automatic_schematic(changed)
        assert schematic.notes == {"xm3": "bulk out"}
        assert ">bulk out<" in draw_schematic(schematic, changed)
        assert faults(schematic, changed, longest(circuit)) == []

    def test_exchanged_ends_are_drawn_upside_down(self, circuit: Circuit) -> None:
        """Drain and source of a transistor exchanged, as a stranger may write them: its current still flows down."""
        devices = [
            replace(d, nodes={**d.nodes, "d": d.nodes["s"], "s": d.nodes["d"]}) if d.name == "xm3" else d
            for d in circuit.devices
        ]
        changed = with_devices(circuit, *devices)
        item = place_of(automatic_schematic(changed))["m3"]
        assert item.upside_down
        assert item.pins["d"][1] > item.pins["s"][1]
        assert drawn_nets(automatic_schematic(changed)) == netlist_nets(changed)


def with_devices(circuit: Circuit, *devices: Device) -> Circuit:
    return replace(circuit, subcircuit=replace(circuit.subcircuit, devices=tuple(devices)))


@pytest.mark.parametrize("seed", range(24))
def test_any_heap_of_devices_is_drawn_as_it_is(seed: int) -> None:
    """No amplifiers: devices on nets drawn by lot, with loops, dummies, devices across the rails, ends exchanged."""
    chance = random.Random(seed)
    base = circuit_of("rc_loaded")
    nets = ["vdd", "vss", "inn", "inp", "out", "0", *(f"net{number}" for number in range(chance.randint(2, 6)))]
    kinds = ["nmos", "pmos", "nmos", "pmos", "resistor", "capacitor", "isource", "vsource", "inductor"]
    size = {"w": Expression.constant(1.0), "l": Expression.constant(0.5), "m": Expression.constant(1.0)}
    devices = []
    for number in range(chance.randint(3, 16)):
        kind = chance.choice(kinds)
        pins = "dgsb" if kind in TRANSISTORS else "pn"
        values = size if kind in TRANSISTORS else {"value": Expression.constant(1e-6)}
        name = f"{ {'nmos': 'xm', 'pmos': 'xm'}.get(kind, kind[0]) }{number}"
        devices.append(Device(name, kind, {pin: chance.choice(nets) for pin in pins}, values=values))
    circuit = with_devices(base, *devices)
    schematic = automatic_schematic(circuit)
    assert drawn_nets(schematic) == netlist_nets(circuit)
    assert faults(schematic, circuit) == []
    by_height = {y: net for net, y in schematic.rails.items()}
    usual = {"pmos": by_height.get(0.0), "nmos": by_height.get(schematic.bottom)}
    transistors = [device for device in devices if device.kind in TRANSISTORS]
    noted = {d.name: f"bulk {d.nodes['b']}" for d in transistors if d.nodes["b"] not in (d.nodes["s"], usual[d.kind])}
    assert schematic.notes == noted


@pytest.mark.parametrize("name", [*list_circuits(), "rc_loaded"])
def test_the_pictures_of_the_documentation_are_current(name: str) -> None:
    """`zsgym circuits --schematic docs/images/circuits` draws them, and the example's likewise."""
    circuit = circuit_of(name)
    schematic = load_placement(circuit) or drawing_of(name, sizes=False)
    picture = ROOT / "docs/images/circuits" / f"{name}.svg"
    assert picture.read_text(encoding="utf-8") == schematic_file(schematic, circuit)
    assert f"zsgym circuits {name} --schematic" in picture.read_text(encoding="utf-8")


class TestPlacedByHand:
    def test_a_placement_goes_before_the_program(self) -> None:
        nmcf = load_circuit("nmcf")
        assert load_schematic(nmcf).titles.keys() == {"bias", "stage 1", "stage 2", "stage 3"}
        assert load_placement(load_circuit(EXAMPLE)) is None

    def test_a_placement_that_misses_a_device_is_refused(self, tmp_path: Path) -> None:
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

"""Writes a sized circuit as lines of an ngspice deck: plain devices, and only the model bins that they use.

Devices and inner nets are numbered (`m3`, `n7`): whatever a user has called them, no name can meet one of the testbench
or mean something to ngspice (`1`, `time`, `c` are vectors or constants there).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from zsgym.circuits import Circuit, Sizing
from zsgym.netlist import Device
from zsgym.pdk import CornerModels
from zsgym.pdk.geometry import NARROWEST, SIZE_TOLERANCE

_MICRO = 1e-6  # netlists give W and L in micrometres
# What the library's wrapper passes to every transistor, in units of the netlist, and what it passes where a line says
# nothing. `mult` is not among them: there it enters mismatch only.
_LAYOUT = {
    "nf": ("1", 1.0),
    **dict.fromkeys(("ad", "as"), ("0", _MICRO**2)),
    **dict.fromkeys(("pd", "ps"), ("0", _MICRO)),
    **dict.fromkeys(("nrd", "nrs"), ("0", 1.0)),
    **dict.fromkeys(("sa", "sb", "sd"), ("0", _MICRO)),
}
_LETTERS = {"resistor": "r", "capacitor": "c", "inductor": "l", "isource": "i", "vsource": "v"}
_GROUND = "0"


@dataclass(frozen=True, slots=True)
class SizedNetlist:
    """Element lines and model cards; names in the deck of transistors and of nets (the ground is not among them)."""

    elements: tuple[str, ...]
    models: tuple[str, ...]
    transistors: Mapping[str, str]
    nets: Mapping[str, str]


def size_netlist(circuit: Circuit, sizing: Sizing, models: CornerModels) -> SizedNetlist | None:
    """The circuit with numbers in place of parameters; None when a transistor is outside all model bins (geometry)."""
    values = {name.lower(): float(value) for name, value in sizing.items()}
    nets = net_names(circuit)
    nodes = {**nets, _GROUND: _GROUND}
    elements: list[str] = []
    used: dict[str, str] = {}
    transistors: dict[str, str] = {}
    for number, device in enumerate(circuit.devices):
        if device.kind in _LETTERS:
            name = f"{_LETTERS[device.kind]}{number}"
            value = device.values["value"].evaluate(values)
            elements.append(f"{name} {nodes[device.nodes['p']]} {nodes[device.nodes['n']]} {value!r}")
            continue
        width, length, count = (device.values[key].evaluate(values) for key in ("w", "l", "m"))
        model = models.find(device.kind, width * _MICRO, length * _MICRO)
        fingers = device.values["nf"].evaluate(values) if "nf" in device.values else 1.0
        if model is None or fingers < 1.0 or width / fingers < NARROWEST[device.kind] - SIZE_TOLERANCE:
            return None
        used[model.name] = models.card(model)
        transistors[device.name] = f"m{number}"
        size = f"w={width * _MICRO!r} l={length * _MICRO!r} m={count!r}"
        elements.append(f"m{number} {_pins(device, nodes)} {model.name} {size} {_layout(device, values)}")
    return SizedNetlist(tuple(elements), tuple(used.values()), transistors, nets)


def net_names(circuit: Circuit) -> dict[str, str]:
    """Net of the flat circuit -> its name in the deck: ports keep theirs, which the testbench connects by name."""
    ports = circuit.subcircuit.ports
    inner = [net for net in circuit.subcircuit.nets if net not in ports and net != _GROUND]
    return {port: port for port in ports} | {net: f"n{number}" for number, net in enumerate(inner)}


def _layout(device: Device, values: Mapping[str, float]) -> str:
    """Fingers, and the geometry of drain and source."""
    return " ".join(
        f"{key}={device.values[key].evaluate(values) * unit!r}" if key in device.values else f"{key}={default}"
        for key, (default, unit) in _LAYOUT.items()
    )


def _pins(device: Device, nodes: Mapping[str, str]) -> str:
    return " ".join(nodes[device.nodes[pin]] for pin in "dgsb")

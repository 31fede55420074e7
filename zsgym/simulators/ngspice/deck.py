"""Writes a sized circuit as an ngspice deck: plain devices, and only the model bins that they use."""

from dataclasses import dataclass

from zsgym.circuits import Circuit
from zsgym.netlist import Device
from zsgym.outcome import Sizing
from zsgym.pdk import CornerModels

_MICRO = 1e-6  # netlists give W and L in micrometres
# The library's wrapper passes these to every transistor; with zero diffusion geometry they must be stated.
_NO_DIFFUSION = "nf=1 ad=0 as=0 pd=0 ps=0 nrd=0 nrs=0 sa=0 sb=0 sd=0"


@dataclass(frozen=True, slots=True)
class SizedNetlist:
    """Element lines, model cards and the names of transistors, in netlist order."""

    elements: tuple[str, ...]
    models: tuple[str, ...]
    transistors: tuple[str, ...]


def size_netlist(circuit: Circuit, sizing: Sizing, models: CornerModels) -> SizedNetlist | None:
    """The circuit with numbers in place of parameters; None when a transistor is outside all model bins (geometry)."""
    values = {name.lower(): float(value) for name, value in sizing.items()}
    elements: list[str] = []
    used: dict[str, str] = {}
    transistors: list[str] = []
    for device in circuit.devices:
        if device.kind not in ("nmos", "pmos"):
            elements.append(_two_terminal(device, values))
            continue
        width, length, count = (device.values[key].evaluate(values) for key in ("w", "l", "m"))
        model = models.find(device.kind, width * _MICRO, length * _MICRO)
        if model is None:
            return None
        used[model.name] = models.card(model)
        nodes = " ".join(device.nodes[pin] for pin in "dgsb")
        size = f"w={width * _MICRO!r} l={length * _MICRO!r} m={count!r}"
        elements.append(f"{element_name(device)} {nodes} {model.name} {size} {_NO_DIFFUSION}")
        transistors.append(device.name)
    return SizedNetlist(tuple(elements), tuple(used.values()), tuple(transistors))


def element_name(device: Device) -> str:
    """Name of a transistor in the deck: the netlist's name behind the element letter (`xm1` becomes `mxm1`)."""
    return f"m{device.name}"


def _two_terminal(device: Device, values: dict[str, float]) -> str:
    value = device.values["value"].evaluate(values)
    return f"{device.name} {device.nodes['p']} {device.nodes['n']} {value!r}"

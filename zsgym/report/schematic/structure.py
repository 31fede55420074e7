"""What a netlist is made of, seen as a drawing: elements that carry a current downwards, and those that hang beside.

Potentials are those of the circuit with an equal resistor for each element that carries a direct current: not what a
simulator would say, but enough to know what is above what.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zsgym.circuits import Circuit
from zsgym.netlist import GROUND, TRANSISTORS, Device

Role = Literal["branch", "shunt", "lateral"]

_HIGH_NAMES = re.compile(r"[ad]?v(dd|cc|pwr|supply)[ad]?")
_LOW_NAMES = re.compile(r"[ad]?(v(ss|ee|gnd)|gnd)[ad]?")
_FLIPPED = 0.3
"""Difference of potentials (of the supply) from which a transistor is drawn upside down."""
_LEVEL = 0.1
"""Difference of potentials below which a resistor is drawn flat."""


@dataclass(frozen=True, eq=False)
class Element:
    """One symbol: a device, or several in parallel.

    top, bottom: nets of the upper and the lower end; of a flat element, of its first and second terminal. gate: net of
    the gate. role: `branch` carries a direct current from the upper rail to the lower one, `shunt` hangs on a rail
    without one, `lateral` lies flat between two nets.
    """

    devices: tuple[Device, ...]
    top: str
    bottom: str
    role: Role
    gate: str | None = None
    flipped: bool = False

    @property
    def device(self) -> Device:
        """The first one, for its kind and values."""
        return self.devices[0]

    @property
    def kind(self) -> str:
        """Of its devices."""
        return self.device.kind

    @property
    def nets(self) -> tuple[str, ...]:
        """Of every drawn pin."""
        return (self.top, self.bottom, *((self.gate,) if self.gate is not None else ()))

    def like(self, other: Element) -> bool:
        """Whether both are of one kind and size."""
        return _size(self.device) == _size(other.device)


@dataclass(frozen=True)
class Structure:
    """high, low: nets of the rails, None where the circuit has none. ports: the others. potentials: net -> 0 to 1."""

    elements: tuple[Element, ...]
    high: str | None
    low: str | None
    ports: tuple[str, ...]
    potentials: Mapping[str, float]

    @property
    def rails(self) -> tuple[str, ...]:
        """Both, as far as there are."""
        return tuple(net for net in (self.high, self.low) if net is not None)


def read_structure(circuit: Circuit) -> Structure:
    """The elements of a circuit, in the order of its netlist."""
    high, low = _rails(circuit)
    groups: dict[object, list[Device]] = defaultdict(list)
    for device in circuit.devices:
        unit = (*sorted(device.nodes.items()), *_size(device, count=False))
        groups[unit if device.kind in TRANSISTORS else device.name].append(device)
    devices = [tuple(group) for group in groups.values()]
    rails = {net for net in (high, low) if net is not None}
    no_current = _without_current(devices, rails)
    potentials = _potentials([d[0] for d in devices if d[0].name not in no_current], high, low)
    shunts = _shunts([d[0] for d in devices if d[0].name in no_current], circuit.devices, rails)
    elements = [_element(group, no_current, shunts, potentials, high, low) for group in devices]
    ports = tuple(port for port in circuit.subcircuit.ports if port not in rails)
    return Structure(tuple(elements), high, low, ports, potentials)


def _size(device: Device, *, count: bool = True) -> tuple[str, ...]:
    """Kind and values as text; without the multiplier, what parallel units have in common."""
    values = (f"{key}={value}" for key, value in device.values.items() if count or key != "m")
    return (device.kind, *values)


def _rails(circuit: Circuit) -> tuple[str | None, str | None]:
    """Nets of the upper and the lower rail: of those that the class names the one with most pins, else by name."""
    pins = Counter(net for device in circuit.devices for pin, net in device.nodes.items() if pin != "b")
    found: list[str | None] = []
    for candidates, names in (
        (circuit.circuit_class.rail("high"), _HIGH_NAMES),
        (circuit.circuit_class.rail("low"), _LOW_NAMES),
    ):
        nets = [net for net in candidates if pins[net]]
        if not nets or nets == [GROUND]:
            nets = [port for port in circuit.subcircuit.ports if names.fullmatch(port) and pins[port]] or nets
        found.append(max(nets, key=lambda net: pins[net]) if nets else None)
    return found[0], found[1]


def _ends(device: Device) -> tuple[str, str]:
    """Upper and lower net as the netlist has them, for the direction in which such a device carries its current."""
    first, second = {"nmos": ("d", "s"), "pmos": ("s", "d")}.get(device.kind, ("p", "n"))
    return device.nodes[first], device.nodes[second]


def _without_current(groups: Sequence[tuple[Device, ...]], rails: set[str]) -> set[str]:
    """Names of capacitors, and of resistors and inductors that end where no direct current can go on."""
    passive = {d[0].name: d[0] for d in groups if d[0].kind in ("resistor", "inductor")}
    idle = {d[0].name for d in groups if d[0].kind == "capacitor"}
    carriers = [d[0] for d in groups if d[0].kind != "capacitor"]
    while True:
        degree = Counter(net for device in carriers for net in set(_ends(device)))
        ended = {
            device.name
            for device in carriers
            if device.name in passive and any(degree[net] == 1 and net not in rails for net in _ends(device))
        }
        if not ended:
            return idle
        idle |= ended
        carriers = [device for device in carriers if device.name not in ended]


def _potentials(carriers: Sequence[Device], high: str | None, low: str | None) -> dict[str, float]:
    """Net -> potential between 0 (lower rail) and 1, for nets that carry a current."""
    nets = list(dict.fromkeys(net for device in carriers for net in _ends(device)))
    index = {net: number for number, net in enumerate(nets)}
    matrix, right = np.zeros((len(nets), len(nets))), np.zeros(len(nets))
    for device in carriers:
        a, b = (index[net] for net in _ends(device))
        if a != b:
            matrix[a, a] += 1.0
            matrix[b, b] += 1.0
            matrix[a, b] -= 1.0
            matrix[b, a] -= 1.0
    # A net that hangs on one rail alone, or on none, still gets a potential.
    matrix += 1e-6 * np.eye(len(nets))
    right += 0.5e-6
    for rail, value in ((high, 1.0), (low, 0.0), (GROUND, 0.0)):
        if rail in index:
            matrix[index[rail]] = 0.0
            matrix[index[rail], index[rail]] = 1.0
            right[index[rail]] = value
    return dict(zip(nets, np.linalg.solve(matrix, right).round(6).tolist(), strict=True)) if nets else {}


def _shunts(idle: Sequence[Device], every: Iterable[Device], rails: set[str]) -> dict[str, tuple[str, str]]:
    """Name -> (net, net nearer to the rail) of elements without current that lead to a rail, alone or in series."""
    pins = Counter(net for device in every for pin, net in device.nodes.items() if pin != "b")
    found: dict[str, tuple[str, str]] = {}
    grounded = set(rails)
    while True:
        new: dict[str, tuple[str, str]] = {}
        for device in idle:
            for far, near in (_ends(device), _ends(device)[::-1]):
                if device.name not in found | new and near in grounded and far != near:
                    new[device.name] = (far, near)
        if not new:
            return found
        found |= new
        # In series with nothing but one more such element.
        grounded |= {far for far, _ in new.values() if pins[far] == 2}


def _element(
    group: tuple[Device, ...],
    no_current: set[str],
    shunts: Mapping[str, tuple[str, str]],
    potentials: Mapping[str, float],
    high: str | None,
    low: str | None,
) -> Element:
    device = group[0]
    top, bottom = _ends(device)
    if device.name in no_current:
        if device.name not in shunts:
            return Element(group, top, bottom, "lateral")
        far, near = shunts[device.name]
        up = high is not None and _leads_to(near, high, shunts)
        top, bottom = (near, far) if up else (far, near)
        return Element(group, top, bottom, "shunt", flipped=(top, bottom) != _ends(device))
    drop = potentials.get(top, 0.5) - potentials.get(bottom, 0.5)
    if device.kind in ("resistor", "inductor"):
        if abs(drop) < _LEVEL and not {top, bottom} & {high, low}:
            return Element(group, top, bottom, "lateral")
        if drop < 0.0:
            return Element(group, bottom, top, "branch", flipped=True)
        return Element(group, top, bottom, "branch")
    gate = device.nodes["g"] if device.kind in TRANSISTORS else None
    if (drop < -_FLIPPED or (top == low and bottom != low) or (bottom == high and top != high)) and top != bottom:
        return Element(group, bottom, top, "branch", gate, flipped=True)
    return Element(group, top, bottom, "branch", gate)


def _leads_to(net: str, rail: str, shunts: Mapping[str, tuple[str, str]]) -> bool:
    """Whether a series of shunts that goes on at a net ends at a rail."""
    following = dict(shunts.values())
    for _ in range(len(following) + 1):
        if net == rail:
            return True
        if net not in following:
            return False
        net = following[net]
    return False

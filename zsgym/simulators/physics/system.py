"""A flat circuit as arrays: what the solver needs to know of its wiring, and the values of a batch of cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError
from zsgym.simulators.physics.device import Device
from zsgym.simulators.physics.elimination import Order, find_order

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Kind = Literal["resistor", "capacitor", "inductor", "isource", "vsource", "follower", "transistor"]
GROUND = "0"
_PINS = {"transistor": 4}
_TYPICAL = np.array(
    [[1e-6, 1e-4, 1e-4, 2e-5], [1e-9, 1e-9, 1e-9, 1e-9], [1e-6, 1e-4, 1e-4, 2e-5], [1e-9, 1e-9, 1e-9, 1e-9]]
)
"""Sizes of a transistor's small-signal conductances, in S: of drain, gate, source, body by their voltages."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a flat circuit.

    nodes: two, or drain, gate, source and body of a transistor; a current source drives from the first node through
    itself to the second, and the current through a voltage source counts in the same direction.
    value: SI units; the gain of a follower (a current source controlled by the current through the voltage source
    `control`); nothing for a transistor, whose record comes with each case.
    """

    name: str
    kind: Kind
    nodes: tuple[str, ...]
    value: float = 0.0
    control: str = ""


class Wiring(NamedTuple):
    """Node numbers of the elements of each kind: (n, 2), transistors (n, 4); the ground is the last number.

    Unknowns are the voltages of all other nodes, then the currents through voltage sources, then through inductors.
    controls: number of the controlling voltage source of each follower.
    """

    resistors: Indices
    capacitors: Indices
    inductors: Indices
    isources: Indices
    vsources: Indices
    followers: Indices
    controls: Indices
    transistors: Indices


class Values(NamedTuple):
    """Values of a batch of cases, (cases, elements of the kind): R, C, L, I, V, gains.

    devices: (cases, transistors, fields) numbers of `DEVICE` records.
    """

    resistance: Floats
    capacitance: Floats
    inductance: Floats
    current: Floats
    voltage: Floats
    gain: Floats
    devices: Floats


class System:
    """A circuit's nodes, branches and wiring.

    :raises ConfigError: two elements of one name, a wrong number of nodes, a follower without its source, no ground.
    """

    def __init__(self, elements: Sequence[Element]) -> None:
        self.elements = {element.name: element for element in elements}
        if len(self.elements) != len(elements):
            raise ConfigError("two elements have the same name")
        for element in elements:
            if len(element.nodes) != _PINS.get(element.kind, 2):
                raise ConfigError(f"{element.name}: a {element.kind} has {_PINS.get(element.kind, 2)} nodes")
        found = dict.fromkeys(node for element in elements for node in element.nodes)
        if GROUND not in found:
            raise ConfigError(f"no element is connected to the ground {GROUND!r}")
        self.nodes = tuple(node for node in found if node != GROUND)
        self.vsources = self.names("vsource")
        self.branches = (*self.vsources, *self.names("inductor"))
        self.size = len(self.nodes) + len(self.branches)
        number = {node: place for place, node in enumerate(self.nodes)} | {GROUND: self.size}
        self.wiring = Wiring(
            self._pairs("resistor", number),
            self._pairs("capacitor", number),
            self._pairs("inductor", number),
            self._pairs("isource", number),
            self._pairs("vsource", number),
            self._pairs("follower", number),
            np.array([self._control(name) for name in self.names("follower")], dtype=np.int64),
            self._pairs("transistor", number),
        )
        self._orders: dict[tuple[float, ...], Order] = {}

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Names of the elements of a kind, in the order of their values."""
        return tuple(element.name for element in self.elements.values() if element.kind == kind)

    def place(self, node: str) -> int:
        """Position of a node's voltage among the unknowns.

        :raises ConfigError: there is no such node.
        """
        try:
            return self.nodes.index(node)
        except ValueError:
            raise ConfigError(f"no node {node!r}; the circuit has {', '.join(self.nodes)}") from None

    def branch(self, name: str) -> int:
        """Position of the current through a voltage source or an inductor among the unknowns.

        :raises ConfigError: there is no such branch.
        """
        try:
            return len(self.nodes) + self.branches.index(name)
        except ValueError:
            raise ConfigError(f"no branch {name!r}; the circuit has {', '.join(self.branches)}") from None

    def values(self, devices: NDArray[Any], **changes: Floats) -> Values:
        """Values of as many cases as there are rows of devices.

        :param devices: (cases, transistors) prepared devices, in the order of `names("transistor")`.
        :param changes: element name -> (cases,) values that differ from the element's own.
        :raises ConfigError: a change of an unknown element.
        """
        unknown = sorted(changes.keys() - self.elements.keys())
        if unknown:
            raise ConfigError(f"no element {unknown[0]!r}; the circuit has {', '.join(self.elements)}")
        count = len(devices)

        def column(kind: Kind) -> Floats:
            given = [changes.get(name, self.elements[name].value) for name in self.names(kind)]
            rows = [np.broadcast_to(np.asarray(one, dtype=np.float64), (count,)) for one in given]
            return np.ascontiguousarray(np.array(rows).reshape(-1, count).T)

        return Values(
            column("resistor"),
            column("capacitor"),
            column("inductor"),
            column("isource"),
            column("vsource"),
            column("follower"),
            np.ascontiguousarray(devices).view(np.float64).reshape(*devices.shape, len(Device._fields)),
        )

    def order(self, gains: Floats) -> Order:
        """An order of elimination for the circuit's equations.

        :param gains: of the followers: they may cancel what other elements contribute.
        """
        key = tuple(gains.tolist())
        if key not in self._orders:
            size = np.zeros((self.size + 1, self.size + 1))
            wiring = self.wiring
            for pairs, entry in ((wiring.resistors, 1e-5), (wiring.capacitors, 1e-12)):
                for pair in pairs:
                    size[np.ix_(pair, pair)] += entry
            first = len(self.nodes)
            for row, (above, below) in enumerate([*wiring.vsources, *wiring.inductors], start=first):
                size[row, above] += 1.0
                size[row, below] -= 1.0
                size[above, row] += 1.0
                size[below, row] -= 1.0
            for row in range(first + len(wiring.vsources), self.size):
                size[row, row] += 1e-9
            for (above, below), control, gain in zip(wiring.followers, wiring.controls, gains, strict=True):
                size[above, first + control] += gain
                size[below, first + control] -= gain
            pattern = size != 0.0
            for terminals in wiring.transistors:
                size[np.ix_(terminals, terminals)] += _TYPICAL
                pattern[np.ix_(terminals, terminals)] = True
            size[np.diag_indices(first)] += 1e-12  # conductances that tie the nodes down while Newton's method begins
            pattern[np.diag_indices(first)] = True
            self._orders[key] = find_order(pattern[:-1, :-1], size[:-1, :-1])
        return self._orders[key]

    def _pairs(self, kind: Kind, number: dict[str, int]) -> Indices:
        rows = [[number[node] for node in self.elements[name].nodes] for name in self.names(kind)]
        return np.array(rows, dtype=np.int64).reshape(-1, _PINS.get(kind, 2))

    def _control(self, name: str) -> int:
        control = self.elements[name].control
        if control not in self.vsources:
            raise ConfigError(f"{name}: no voltage source {control!r}; the circuit has {', '.join(self.vsources)}")
        return self.vsources.index(control)

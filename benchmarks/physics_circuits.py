"""Circuits for the physics backend's solver, in the amplifier's testbench (unity feedback)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.circuits import Circuit
from zsgym.classes.amplifier import AmplifierConditions
from zsgym.pdk import load_corner
from zsgym.simulators.ngspice.deck import SizedNetlist, size_netlist
from zsgym.simulators.physics.card import read_card
from zsgym.simulators.physics.prepare import GEOMETRY, prepare
from zsgym.simulators.physics.system import Element, System, Values

_MICRO = 1e-6


def amplifier(circuit: Circuit, conditions: AmplifierConditions) -> System:
    """The amplifier with its supplies, input, feedback `vfb` and load.

    The follower `ffb` gives back the current of the inverting input, so that v(out)/v(inn) is the gain of the unloaded
    output; with a gain of 0 the loop is the real one.
    """
    elements = [
        Element("vdd", "vsource", ("vdd", "0"), conditions.supply),
        Element("vss", "vsource", ("vss", "0"), 0.0),
        Element("vinp", "vsource", ("inp", "0"), conditions.common_mode),
        Element("vfb", "vsource", ("inn", "out"), 0.0),
        Element("ffb", "follower", ("0", "out"), -1.0, control="vfb"),
        Element("cload", "capacitor", ("out", "0"), conditions.load),
    ]
    for device in circuit.devices:
        if device.kind in ("nmos", "pmos"):
            elements.append(Element(device.name, "transistor", tuple(device.nodes[pin] for pin in "dgsb")))
        elif device.kind in ("resistor", "capacitor", "isource", "vsource"):
            elements.append(Element(device.name, device.kind, (device.nodes["p"], device.nodes["n"])))
    return System(elements)


@lru_cache(maxsize=2048)
def _card(corner: str, kind: str, width: float, length: float) -> NDArray[Any]:
    model = load_corner(corner).find(kind, width, length)
    if model is None:
        raise ValueError(f"no model of an {kind} with W = {width} m, L = {length} m")
    return read_card(kind, model.parameters, name=model.name)


def sized(
    circuit: Circuit, system: System, sizings: Sequence[Mapping[str, float]], conditions: AmplifierConditions
) -> Values:
    """Values of a batch of sizings, every transistor within the model bins."""
    transistors = [device for device in circuit.devices if device.kind in ("nmos", "pmos")]
    passives = [device for device in circuit.devices if device.kind not in ("nmos", "pmos")]
    geometry = np.zeros((len(sizings), len(transistors)), dtype=GEOMETRY)
    geometry["nf"], geometry["temperature"] = 1.0, conditions.temperature
    values = {device.name: np.zeros(len(sizings)) for device in passives}
    cards = []
    for row, sizing in enumerate(sizings):
        named = {name.lower(): float(value) for name, value in sizing.items()}
        for column, device in enumerate(transistors):
            width, length, count = (device.values[key].evaluate(named) for key in ("w", "l", "m"))
            place = geometry[row, column]
            place["w"], place["l"], place["m"] = width * _MICRO, length * _MICRO, count
            cards.append(_card(conditions.corner, device.kind, width * _MICRO, length * _MICRO))
        for device in passives:
            values[device.name][row] = device.values["value"].evaluate(named)
    devices = prepare(cards, geometry.ravel()).reshape(geometry.shape)
    return system.values(devices, **values)


def deck(netlist: SizedNetlist, conditions: AmplifierConditions) -> list[str]:
    """The same circuit for ngspice, with tolerances near rounding."""
    return [
        "amplifier in unity feedback",
        ".options reltol=1e-8 vntol=1e-12 abstol=1e-17 itl1=1000",
        f".temp {conditions.temperature!r}",
        f"vdd vdd 0 {conditions.supply!r}",
        "vss vss 0 0",
        f"vinp inp 0 {conditions.common_mode!r}",
        "vfb inn out 0",
        "ffb 0 out vfb -1",
        f"cload out 0 {conditions.load!r}",
        *netlist.elements,
        *netlist.models,
        ".end",
    ]


def netlist_of(circuit: Circuit, sizing: Mapping[str, float], conditions: AmplifierConditions) -> SizedNetlist:
    """The circuit as lines of a deck."""
    netlist = size_netlist(circuit, sizing, load_corner(conditions.corner))
    assert netlist is not None
    return netlist

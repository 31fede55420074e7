"""Single transistors in ngspice, hundreds to a deck, and the same ones in the physics backend's equations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.pdk.library import ModelBin
from zsgym.pdk.models import CornerModels
from zsgym.simulators.ngspice.engine import Analysis
from zsgym.simulators.ngspice.process import ProcessEngine
from zsgym.simulators.physics.card import read_card
from zsgym.simulators.physics.derivatives import channel_all
from zsgym.simulators.physics.prepare import GEOMETRY, prepare
from zsgym.simulators.physics.stamps import NODES, settle, stamp
from zsgym.simulators.physics.transistor import channel

Floats = NDArray[np.float64]

TERMINALS = "dgsb"
CURRENTS = ("id", "isub")
CONDUCTANCES = ("gm", "gds", "gmbs")
CHARGES = ("qg", "qd", "qb")
CAPACITANCES = tuple(f"c{row}{column}" for row in "gdb" for column in "gdb")
JUNCTIONS = ("capbd", "capbs")
VOLTAGES = ("vth", "vdsat")
QUANTITIES = CURRENTS + CONDUCTANCES + CHARGES + CAPACITANCES + JUNCTIONS + VOLTAGES
"""What both sides say of an operating point, by ngspice's names."""
OPTIONS = ".options reltol=1e-9 abstol=1e-20 vntol=1e-15 gmin=1e-12 itl1=500"
_BATCH = 25  # devices to a deck: ngspice bounds the number of vectors that one command writes


@dataclass(frozen=True)
class Device:
    """One transistor at one bias: sizes in metres, voltages of drain, gate, source and body in volts.

    diffusions: area of drain and of source in m^2, perimeter of drain and of source in m.
    """

    model: ModelBin
    width: float
    length: float
    multiplier: int
    voltages: tuple[float, float, float, float]
    diffusions: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def draw(models: CornerModels, rng: np.random.Generator, per_bin: int) -> list[Device]:
    """Random devices and biases in every bin of both transistors, forward and reverse."""
    devices = []
    for bins in models.bins.values():
        for model in bins:
            for _ in range(per_bin):
                width = np.exp(rng.uniform(np.log(model.w_min), np.log(min(model.w_max, 1e-4))))
                length = np.exp(rng.uniform(np.log(model.l_min), np.log(min(model.l_max, 1e-4))))
                v_gs, v_ds, v_bs = rng.uniform(-0.3, 1.95), rng.uniform(-1.95, 1.95), rng.uniform(-1.2, 0.4)
                sign = 1.0 if model.kind == "nmos" else -1.0
                ground = rng.uniform(-0.5, 0.5)
                low = min(v_ds, 0.0)  # gate and body count from the end that acts as the source
                voltages = (ground + sign * v_ds, ground + sign * (v_gs + low), ground, ground + sign * (v_bs + low))
                devices.append(Device(model, float(width), float(length), int(rng.integers(1, 6)), voltages))
    return devices


def in_ngspice(
    models: CornerModels, devices: Sequence[Device], celsius: float, engine: ProcessEngine
) -> dict[str, Floats]:
    """Operating points in ngspice: `QUANTITIES`, and the current into each terminal as `i_d`, ....

    `id` without its sign, which follows drain and source.
    """
    parts = [
        _run_deck(models, devices[start : start + _BATCH], celsius, engine) for start in range(0, len(devices), _BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _run_deck(
    models: CornerModels, devices: Sequence[Device], celsius: float, engine: ProcessEngine
) -> dict[str, Floats]:
    deck = ["single transistors", OPTIONS, f".temp {celsius!r}"]
    deck += sorted({models.card(device.model) for device in devices})
    for index, device in enumerate(devices):
        deck += instance(device, index)
    names = [f"@m{index}[{name}]" for index in range(len(devices)) for name in QUANTITIES]
    branches = [f"v{letter}{index}#branch" for index in range(len(devices)) for letter in TERMINALS]
    vectors = engine.run([*deck, ".end"], [Analysis("op", "op", tuple(names + branches))])["op"]
    answers = {name: np.array([vectors[f"@m{i}[{name}]"][0] for i in range(len(devices))]) for name in QUANTITIES}
    answers["id"] = np.abs(answers["id"])
    for letter in TERMINALS:
        answers[f"i_{letter}"] = np.array([-vectors[f"v{letter}{i}#branch"][0] for i in range(len(devices))])
    return answers


def admittance_in_ngspice(
    models: CornerModels, devices: Sequence[Device], celsius: float, hertz: float, engine: ProcessEngine
) -> NDArray[np.complex128]:
    """(n, 4, 4) small-signal current into the terminal of the row by voltage at that of the column."""
    answers = np.zeros((len(devices), 4, 4), dtype=np.complex128)
    for start in range(0, len(devices), _BATCH):
        part = devices[start : start + _BATCH]
        deck = ["admittances", OPTIONS, f".temp {celsius!r}", *sorted({models.card(device.model) for device in part})]
        places = [(i, column) for i in range(len(part)) for column in range(4)]
        for copy, (i, column) in enumerate(places):
            deck += instance(part[i], copy, ac=TERMINALS[column])
        names = [f"v{letter}{copy}#branch" for copy in range(len(places)) for letter in TERMINALS]
        analysis = Analysis("ac", f"ac lin 1 {hertz!r} {hertz!r}", tuple(names))
        vectors = engine.run([*deck, ".end"], [analysis])["ac"]
        for copy, (i, column) in enumerate(places):
            answers[start + i, :, column] = [-vectors[f"v{letter}{copy}#branch"][0] for letter in TERMINALS]
    return answers


def admittance_in_physics(devices: Sequence[Device], celsius: float, hertz: float) -> NDArray[np.complex128]:
    """The same as `admittance_in_ngspice`, with the inner nodes eliminated exactly."""
    answers = []
    for p, device in zip(prepared(devices, celsius), devices, strict=True):
        _, conductance, capacitance = _stamped(p, device)
        y = conductance + 2j * np.pi * hertz * capacitance
        answers.append(y[:4, :4] - y[:4, 4:] @ np.linalg.solve(y[4:, 4:], y[4:, :4]))
    return np.array(answers)


def instance(device: Device, index: int, ac: str = "") -> list[str]:
    """Lines of a device with a voltage source at every terminal; those of the letters in `ac` carry a small signal."""
    sources = [
        f"v{letter}{index} {letter}{index} 0 {voltage!r}{' ac 1' if letter in ac else ''}"
        for letter, voltage in zip(TERMINALS, device.voltages, strict=True)
    ]
    nodes = " ".join(f"{letter}{index}" for letter in TERMINALS)
    size = f"w={device.width!r} l={device.length!r} m={device.multiplier}"
    layout = " ".join(f"{name}={value!r}" for name, value in zip(("ad", "as", "pd", "ps"), device.diffusions, strict=True))
    return [*sources, f"m{index} {nodes} {device.model.name} {size} {layout} nrd=0 nrs=0"]


def prepared(devices: Sequence[Device], celsius: float, *, reference_ac: bool = True) -> NDArray[Any]:
    """The devices as the physics backend prepares them."""
    cards = {device.model.name: read_card(device.model.kind, device.model.parameters) for device in devices}
    geometry = np.zeros(len(devices), dtype=GEOMETRY)
    geometry["w"] = [device.width for device in devices]
    geometry["l"] = [device.length for device in devices]
    geometry["nf"] = 1.0
    geometry["m"] = [device.multiplier for device in devices]
    for place, name in enumerate(("ad", "as_", "pd", "ps")):
        geometry[name] = [device.diffusions[place] for device in devices]
    geometry["temperature"] = celsius
    return prepare([cards[device.model.name] for device in devices], geometry, reference_ac=reference_ac)


def in_physics(devices: Sequence[Device], celsius: float) -> dict[str, Floats]:
    """The same as `in_ngspice` from the physics backend's equations."""
    records = prepared(devices, celsius)
    rows = [_evaluate(record, device) for record, device in zip(records, devices, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _stamped(p: Any, device: Device) -> tuple[tuple[Floats, Floats], Floats, Floats]:
    """Node voltages and currents, conductances and capacitances of a device whose inner nodes have settled."""
    v = np.array([*device.voltages, *[device.voltages[3]] * 3])
    current, charge = np.zeros(NODES), np.zeros(NODES)
    conductance, capacitance = np.zeros((NODES, NODES)), np.zeros((NODES, NODES))
    if not settle(p, v, 1e-12, current, conductance):
        raise RuntimeError(f"the inner nodes of {device} do not settle")
    stamp(p, v, 1e-12, current, charge, conductance, capacitance)
    return (v, current), conductance, capacitance


def _evaluate(p: Any, device: Device) -> dict[str, float]:
    (v, current), _, capacitance = _stamped(p, device)
    answers = {f"i_{letter}": current[place] for place, letter in enumerate(TERMINALS)}
    return answers | _intrinsic(p, v) | {"capbs": capacitance[5, 5], "capbd": capacitance[6, 6]}


def _intrinsic(p: Any, v: Floats) -> dict[str, float]:
    """ngspice's list: an n-channel device with drain and source exchanged where the drain is the lower one."""
    sign = float(p["polarity"])
    forward = sign * (v[0] - v[2]) >= 0.0
    low, high = (v[2], v[0]) if forward else (v[0], v[2])
    bias = (sign * (v[1] - low), sign * (high - low), sign * (v[4] - low))
    values = channel(p, *bias)
    result = channel_all(p, *bias)
    rows = {
        name: dict(zip("gdb", result[5 + 3 * place : 8 + 3 * place], strict=True))
        for place, name in enumerate(("i", "sub", "g", "b", "s"))
    }
    rows["d"] = {column: -rows["g"][column] - rows["b"][column] - rows["s"][column] for column in "gdb"}
    charges = {"g": values.q_g, "b": values.q_b, "d": -values.q_g - values.q_b - values.q_s}
    answers = {f"c{row}{column}": rows[row][column] for row in "gdb" for column in "gdb"}
    answers |= {f"q{row}": charges[row] for row in "gdb"}
    answers |= {"gm": rows["i"]["g"], "gds": rows["i"]["d"], "gmbs": rows["i"]["b"]}
    answers |= {"id": values.i_ds, "isub": values.i_sub}
    scaled = {name: float(p["fingers"]) * value for name, value in answers.items()}
    return scaled | {"vth": values.v_th, "vdsat": values.v_dsat}

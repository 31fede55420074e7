"""Single transistors in ngspice, hundreds to a deck, and the same ones in the physics backend's equations."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.pdk.library import ModelBin
from zsgym.pdk.models import CornerModels
from zsgym.simulators.ngspice.engine import Analysis
from zsgym.simulators.ngspice.process import ProcessEngine, read_raw
from zsgym.simulators.physics.card import read_card
from zsgym.simulators.physics.compiling import compiled
from zsgym.simulators.physics.derivatives import channel_all
from zsgym.simulators.physics.noise import channel_noise
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
    fingers: int = 1


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


def instance(device: Device, index: int, ac: str = "") -> list[str]:
    """Lines of a device with a voltage source at every terminal; those of the letters in `ac` carry a small signal."""
    sources = [
        f"v{letter}{index} {letter}{index} 0 {voltage!r}{' ac 1' if letter in ac else ''}"
        for letter, voltage in zip(TERMINALS, device.voltages, strict=True)
    ]
    nodes = " ".join(f"{letter}{index}" for letter in TERMINALS)
    size = f"w={device.width!r} l={device.length!r} m={device.multiplier} nf={device.fingers}"
    layout = " ".join(
        f"{name}={value!r}" for name, value in zip(("ad", "as", "pd", "ps"), device.diffusions, strict=True)
    )
    return [*sources, f"m{index} {nodes} {device.model.name} {size} {layout} nrd=0 nrs=0"]


def prepared(devices: Sequence[Device], celsius: float, *, reference_ac: bool = True) -> NDArray[Any]:
    """The devices as the physics backend prepares them."""
    cards = {device.model.name: read_card(device.model.kind, device.model.parameters) for device in devices}
    geometry = np.zeros(len(devices), dtype=GEOMETRY)
    geometry["w"] = [device.width for device in devices]
    geometry["l"] = [device.length for device in devices]
    geometry["nf"] = [device.fingers for device in devices]
    geometry["m"] = [device.multiplier for device in devices]
    for place, name in enumerate(("ad", "as_", "pd", "ps")):
        geometry[name] = [device.diffusions[place] for device in devices]
    geometry["temperature"] = celsius
    return prepare([cards[device.model.name] for device in devices], geometry, reference_ac=reference_ac)


def errors(found: dict[str, Floats], expected: dict[str, Floats]) -> dict[str, Floats]:
    """Relative differences, with floors below which a quantity counts as zero.

    1e-18 A and S (ngspice's sums round there), 1e-8 A for the body's current (ngspice reads it across resistors of
    17 ohm), and a millionth of the gate's capacitance or charge.
    """
    floors: dict[str, Floats | float] = {"i": 1e-18, "g": 1e-18}
    if "cgg" in expected:
        floors |= {"c": 1e-6 * np.abs(expected["cgg"]), "q": 1e-6 * np.abs(expected["qg"])}
    differences = {}
    for name, values in expected.items():
        floor = 1e-8 if name == "i_b" else floors.get(name[0], 0.0)
        scale = np.maximum(np.maximum(np.abs(values), floor), 1e-300)
        differences[name] = np.abs(found[name] - values) / scale
    return differences


@dataclass(frozen=True)
class Stamps:
    """(n, 7) voltages, currents and charges of the nodes, (n, 7, 7) conductances and capacitances."""

    voltage: Floats
    current: Floats
    charge: Floats
    conductance: Floats
    capacitance: Floats


def stamped(devices: NDArray[Any], terminals: Floats) -> Stamps:
    """Devices between fixed (n, 4) terminals, their inner nodes at rest."""
    count = len(devices)
    voltage = np.concatenate([terminals, np.repeat(terminals[:, 3:], 3, axis=1)], axis=1)
    vectors = np.zeros((2, count, NODES))
    matrices = np.zeros((2, count, NODES, NODES))
    if not _stamp_all(devices, voltage, vectors[0], vectors[1], matrices[0], matrices[1]):
        raise RuntimeError("inner nodes of a transistor do not settle")
    return Stamps(voltage, vectors[0], vectors[1], matrices[0], matrices[1])


@compiled
def _stamp_all(devices: Any, voltage: Any, current: Any, charge: Any, conductance: Any, capacitance: Any) -> bool:
    settled = True
    for i in range(devices.shape[0]):
        settled &= settle(devices[i], voltage[i], 1e-12)
        stamp(devices[i], voltage[i], 1e-12, current[i], charge[i], conductance[i], capacitance[i])
    return settled


def in_physics(devices: Sequence[Device], celsius: float) -> dict[str, Floats]:
    """The same as `in_ngspice` from the physics backend's equations."""
    records = prepared(devices, celsius)
    found = stamped(records, np.array([device.voltages for device in devices]))
    listed = np.zeros((len(devices), len(_LISTED)))
    _list_all(records, found.voltage, listed)
    answers = dict(zip(_LISTED, listed.T, strict=True))
    answers |= {"capbs": found.capacitance[:, 5, 5], "capbd": found.capacitance[:, 6, 6]}
    return answers | {f"i_{letter}": found.current[:, place] for place, letter in enumerate(TERMINALS)}


_LISTED = CURRENTS + CONDUCTANCES + CHARGES + CAPACITANCES + VOLTAGES


@compiled
def _list_all(devices: Any, voltage: Any, listed: Any) -> None:
    """ngspice's list: n-channel devices with drain and source exchanged where the drain is the lower one."""
    for i in range(devices.shape[0]):
        p, v = devices[i], voltage[i]
        low = min(p.polarity * v[0], p.polarity * v[2])
        v_gs, v_ds, v_bs = p.polarity * v[1] - low, abs(v[0] - v[2]), p.polarity * v[4] - low
        values = channel(p, v_gs, v_ds, v_bs)
        result = channel_all(p, v_gs, v_ds, v_bs)
        f = p.fingers
        listed[i, 0], listed[i, 1] = f * result[0], f * result[1]
        gate, body, source = result[2], result[3], result[4]
        listed[i, 5], listed[i, 6], listed[i, 7] = f * gate, -f * (gate + body + source), f * body
        for column in range(3):
            gate, body, source = result[11 + column], result[14 + column], result[17 + column]
            listed[i, 2 + column] = f * result[5 + column]
            listed[i, 8 + column] = f * gate
            listed[i, 11 + column] = -f * (gate + body + source)
            listed[i, 14 + column] = f * body
        listed[i, 17], listed[i, 18] = values.v_th, values.v_dsat


def admittance_in_physics(devices: Sequence[Device], celsius: float, hertz: float) -> NDArray[np.complex128]:
    """The same as `admittance_in_ngspice`, with the inner nodes eliminated exactly."""
    found = stamped(prepared(devices, celsius), np.array([device.voltages for device in devices]))
    y: NDArray[Any] = found.conductance + 2j * np.pi * hertz * found.capacitance
    reduced: NDArray[np.complex128] = y[:, :4, :4] - y[:, :4, 4:] @ np.linalg.solve(y[:, 4:, 4:], y[:, 4:, :4])
    return reduced


def noise_in_ngspice(
    models: CornerModels, devices: Sequence[Device], celsius: float, hertz: float, folder: Path
) -> dict[str, Floats]:
    """Thermal and flicker part of the drain current's noise in ngspice, in A^2/Hz: `thermal`, `flicker`.

    All drain currents drive one resistor of 1 ohm; ngspice lists the contribution of each device.
    """
    deck = ["noise", OPTIONS, f".temp {celsius!r}", *sorted({models.card(device.model) for device in devices})]
    for index, device in enumerate(devices):
        deck += [*instance(device, index, ac="g" if index == 0 else ""), f"f{index} out 0 vd{index} 1"]
    parts = {"thermal": "id", "flicker": "1overf"}
    names = [f"onoise.m{index}.{part}" for index in range(len(devices)) for part in parts.values()]
    deck += ["rout out 0 1", ".control", "set filetype=binary", "set num_threads=1"]
    deck += [f"noise v(out) vg0 lin 1 {hertz!r} {hertz!r} 1", "setplot noise1", "write noise.raw"]
    (folder / "noise.cir").write_text("\n".join([*deck, "quit", ".endc", ".end", ""]))
    subprocess.run(["ngspice", "-b", "noise.cir"], cwd=folder, check=True, capture_output=True)
    vectors = read_raw(folder / "noise.raw")
    assert set(names) <= vectors.keys()
    return {
        name: np.array([vectors[f"onoise.m{i}.{part}"][0] ** 2 for i in range(len(devices))])
        for name, part in parts.items()
    }


def noise_in_physics(devices: Sequence[Device], celsius: float, hertz: float) -> dict[str, Floats]:
    """The same, with the milliohm that ngspice puts into drain and source as soon as a deck asks for noise."""
    records = prepared(devices, celsius)
    outer = np.array([device.voltages for device in devices])
    contact = 1e3 * np.array([[device.multiplier] for device in devices])
    inner = outer.copy()
    for _ in range(30):
        found = stamped(records, inner)
        inner[:, ::2] = outer[:, ::2] - found.current[:, 0:4:2] / contact
    free = np.array([0, 2, 4, 5, 6])  # gate and outer body are held
    y = found.conductance + 2j * np.pi * hertz * found.capacitance
    y[:, 0, 0] += contact[:, 0]
    y[:, 2, 2] += contact[:, 0]
    inject = np.array([1.0, -1.0, 0.0, 0.0, 0.0])[:, None]
    response = np.linalg.solve(y[:, free[:, None], free], inject)
    gain = np.abs(contact[:, 0] * response[:, 0, 0]) ** 2
    parts = np.zeros((2, len(devices)))
    _noise_all(records, found.voltage, hertz, parts)
    return {"thermal": gain * parts[0], "flicker": gain * parts[1]}


@compiled
def _noise_all(devices: Any, voltage: Any, hertz: float, parts: Any) -> None:
    for i in range(devices.shape[0]):
        parts[0, i], parts[1, i] = channel_noise(devices[i], voltage[i], hertz)

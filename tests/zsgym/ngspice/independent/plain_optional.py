"""A second opinion on the optional metrics: plain decks that share no line with zsgym's testbench.

The amplifier is the netlist as its author wrote it, with the full SKY130 library. For noise its feedback is a wire. For
the ranges its inverting input is driven by a servo, which compares the output with a target level and moves the input
until they agree: the classical circuit in which operational amplifiers are measured. zsgym has no servo: there a source
in the feedback shifts the output. Nothing is altered between analyses, so that no command can be refused unnoticed.
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from plain_deck import _section

from zsgym import pdk
from zsgym.circuits import Circuit

Floats = NDArray[np.float64]

_STEP = 5e-3
"""Of the target level and of the common mode, V."""
_NUDGE = 20e-3
"""Between the two output levels from which the gain at a common mode follows, V."""
_SERVO_GAIN = 2.0
_SPOT = 1e3
_COMPLAINT = re.compile(r"error|unknown|no such|can't|cannot|aborted", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Gains:
    """What the deck with the servo says.

    levels, over_levels: output levels (V, ascending), and the magnitude of the static gain at each, at the nominal
    common mode. common_modes, over_common_modes: the same for common modes, at the nominal output level. area: m^2,
    capacitance: F, as ngspice lists the devices.
    """

    levels: Floats
    over_levels: Floats
    common_modes: Floats
    over_common_modes: Floats
    area: float
    capacitance: float


def noise(circuit: Circuit, sizing: Mapping[str, float]) -> tuple[float, float]:
    """Noise density at 1 kHz referred to the input (V/sqrt(Hz)), and the output's from 1 Hz to 100 MHz (V rms)."""
    analyses = [
        "noise v(out) vin dec 200 1 100meg",
        "setplot noise1",
        "wrdata 0.data inoise_spectrum onoise_spectrum",
    ]
    (table,), _ = _run(circuit, sizing, "out", "reltol=1e-5 vntol=1e-8 abstol=1e-14", analyses)
    frequency, at_input, at_output = table.T
    # Straight lines between so many points: 1/f noise between two of them is 1.00003 times what they make of it.
    power = np.sum((at_output[1:] ** 2 + at_output[:-1] ** 2) / 2.0 * np.diff(frequency))
    return float(np.interp(_SPOT, frequency, at_input)), float(np.sqrt(power))


def gains(circuit: Circuit, sizing: Mapping[str, float]) -> Gains:
    """Static gains and sizes."""
    nominal, supply = circuit.conditions.common_mode, circuit.conditions.supply
    low, high = nominal - _NUDGE / 2.0, nominal + _NUDGE / 2.0
    analyses = [
        "op",
        "show m : w l m",
        "show c : capacitance",
        f"dc vtarget 0 {supply} {_STEP}",
        "wrdata 0.data v(out) v(inn)",
        f"dc vin 0 {supply} {_STEP} vtarget {low!r} {high!r} {_NUDGE}",
        "wrdata 1.data v(out) v(inn)",
    ]
    servo = f"bservo inn 0 v=v(inp)+{_SERVO_GAIN}*(v(out)-v(target))"
    (swept, nudged), said = _run(circuit, sizing, "inn", "reltol=1e-6 vntol=1e-9 abstol=1e-15", analyses, servo)
    down, up = np.split(nudged, 2)
    moved = np.diff(swept, axis=0)
    return Gains(
        levels=(swept[1:, 1] + swept[:-1, 1]) / 2.0,
        over_levels=np.abs(moved[:, 1] / moved[:, 2]),
        common_modes=down[:, 0],
        over_common_modes=np.abs((up[:, 1] - down[:, 1]) / (up[:, 2] - down[:, 2])),
        area=sum(map(np.prod, zip(*(_listed(said, name) for name in "wlm"), strict=True))),
        capacitance=sum(_listed(said, "capacitance")) - circuit.conditions.load,
    )


def usable(at: Floats, gain: Floats, nominal: float) -> tuple[float, float]:
    """Ends (V) of the stretch around the nominal point on which at least half of the gain there is left."""
    start = int(np.argmin(np.abs(at - nominal)))
    enough = gain >= gain[start] / 2.0
    low, high = start, start
    while low > 0 and enough[low - 1]:
        low -= 1
    while high < len(at) - 1 and enough[high + 1]:
        high += 1
    return float(at[low]), float(at[high])


def _listed(said: str, name: str) -> list[float]:
    """A quantity of all devices in the tables of `show`."""
    rows = re.findall(rf"^ *{name} +([-+.e\d ]+)$", said, re.MULTILINE)
    return [float(value) for row in rows for value in row.split()]


def _run(
    circuit: Circuit, sizing: Mapping[str, float], inn: str, options: str, analyses: Sequence[str], servo: str = ""
) -> tuple[list[Floats], str]:
    """The tables that a launch of ngspice has written, and what it has printed.

    :param inn: net of the inverting input. :param servo: what drives it, where the output does not.
    """
    conditions = circuit.conditions
    nets = {"vdd": "vdd", "vss": "0", "inp": "inp", "inn": inn, "out": "out"}
    deck = [
        f"* {circuit.name}",
        *_section(pdk.locate(), conditions.corner),
        *(f".param {name}={value!r}" for name, value in sizing.items()),
        circuit.netlist_text,
        f"xamplifier {' '.join(nets[port] for port in circuit.subcircuit.ports)} {circuit.subcircuit.name}",
        f"vdd vdd 0 {conditions.supply}",
        f"vin inp 0 dc {conditions.common_mode} ac 1",
        f"vtarget target 0 dc {conditions.common_mode}",
        f"cload out 0 {conditions.load}",
        servo,
        f".temp {conditions.temperature}",
        f".option {options}",
        ".control",
        "set num_threads=1",
        "set wr_vecnames",
        "set wr_singlescale",
        "set numdgt=14",
        *analyses,
        "quit 0",
        ".endc",
        ".end",
    ]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "deck.cir").write_text("\n".join(deck))
        finished = subprocess.run(
            ["ngspice", "-b", "deck.cir"], cwd=folder, capture_output=True, text=True, timeout=900, check=False
        )
        said = finished.stdout + finished.stderr
        assert finished.returncode == 0, said[-2000:]
        complaints = [line for line in said.splitlines() if _COMPLAINT.search(line)]
        assert not complaints, complaints
        return [np.loadtxt(file, skiprows=1) for file in sorted(Path(folder).glob("*.data"))], said

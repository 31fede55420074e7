"""A plain closed loop, as a second opinion on zsgym's testbench: it shares no line with it, and must never import one.

The amplifier's netlist is taken as its author wrote it, with the sizing as `.param` lines and the transistors as the
subcircuits of the full SKY130 library. The feedback is a wire: `out` and `inn` are one net. Nothing is altered between
analyses, so that no command can be refused unnoticed, and the ngspice program integrates by Gear's rule in steps of at
most 1 ns (zsgym: trapezoidal rule, steps that the error control chooses).
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zsgym import pdk
from zsgym.circuits import Circuit

Floats = NDArray[np.float64]
Vectors = dict[str, NDArray[np.complex128]]

LEAD = 10e-9
"""How much of the time before an edge belongs to its waveform, s."""
_RISE = 1e-12
_WAITS = ((16e-6, 1e-9), (40e-6, 2e-9), (200e-6, 5e-9))
"""How long to wait after each edge and the largest time step, s; the next one is for what has not come to rest.
Waveforms in steps of 1 ns are within 0.2 mV of those in steps of 0.2 ns with tolerances ten times as tight, by the
trapezoidal rule or by Gear's."""
_CALM = 1e-3
"""Fraction of the step: less swing than this in the last fifth of the wait, this close to the static level, is rest."""
_SMALL = 1e-3
"""V: a step that shows whether an operating point is stable, and says nothing about slewing."""
_LOOKS = ((6e-9, 2e-12), (20e-6, 1e-9), (200e-6, 2e-9))
"""End and largest time step of the looks at a small step, s. Steps of 1 ns hide a mode that grows within less than
that: the first look is a close one. The last is for what neither grows nor dies out in the second."""
AT_REST, GROWN = 0.02, 5.0
"""Fractions of the small step: the swing in the last fifth of a look is that of a stable, or an unstable amplifier."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Output around one edge of the input: time since the edge in s (from -LEAD on) and V, both (points,).

    begins, ends: the static output at the input before and after the edge, V, from operating points.
    height: of the step of the input, V.
    """

    time: Floats
    output: Floats
    begins: float
    ends: float
    height: float

    @property
    def rests(self) -> bool:
        """Whether the output has come to rest, at the level where it has to end."""
        tail = self.output[self.time >= 0.8 * self.time[-1]]
        room = _CALM * self.height
        return float(np.ptp(tail)) < room and abs(float(tail[-1]) - self.ends) < room


@dataclass(frozen=True, slots=True)
class Plain:
    """What the plain deck says: the magnitude of output over input (points,) at frequencies in Hz, and both edges.

    levels: between which the input steps, V.
    """

    frequency: Floats
    magnitude: Floats
    rising: Edge
    falling: Edge
    levels: tuple[float, float]

    @property
    def edges(self) -> tuple[Edge, Edge]:
        """Rising, falling."""
        return self.rising, self.falling

    @property
    def rests(self) -> bool:
        """Whether the amplifier comes to rest after both edges: it is stable and settles."""
        return all(edge.rests for edge in self.edges)


def levels(circuit: Circuit) -> tuple[float, float]:
    """Between which the input steps, V: as stated, else 0.1 V around the common mode (docs/metrics.md)."""
    conditions = circuit.conditions
    below = conditions.common_mode - 0.1 if conditions.step_low is None else conditions.step_low
    above = conditions.common_mode + 0.1 if conditions.step_high is None else conditions.step_high
    return below, above


def simulate(circuit: Circuit, sizing: Mapping[str, float], corner: str) -> Plain:
    """Closed-loop response of a sized amplifier at a process corner, other conditions as the circuit declares them."""
    for wait, step in _WAITS:
        plain = _simulate(circuit, sizing, corner, wait, step)
        if plain.rests:
            break
    return plain


def small_step_swing(circuit: Circuit, sizing: Mapping[str, float], corner: str) -> float:
    """What is left of a 1 mV step at the input's common mode, as a fraction of the step.

    The large step ends at levels at which an amplifier may be stable that is not at the common mode, where its poles
    are fitted.

    :return: above GROWN when the step grows, below AT_REST when it dies out; in between nothing can be said.
    """
    level = circuit.conditions.common_mode
    pulse = f"pulse({level!r} {level + _SMALL!r} 1n {_RISE} {_RISE} 1)"
    close, middle = _run(circuit, sizing, corner, pulse, [_transient(*look) for look in _LOOKS[:2]])
    swing = _swing(close, _LOOKS[0][0])
    if swing < GROWN:
        swing = _swing(middle, _LOOKS[1][0])
    if AT_REST < swing < GROWN:
        (long,) = _run(circuit, sizing, corner, pulse, [_transient(*_LOOKS[2])])
        swing = _swing(long, _LOOKS[2][0])
    return swing


def _swing(look: Vectors, end: float) -> float:
    """Peak to peak in the last fifth of a look, as a fraction of the small step."""
    return float(np.ptp(look["out"].real[look["time"].real > 0.8 * end])) / _SMALL


def _transient(end: float, step: float) -> str:
    return f"tran {step} {end} 0 {step}"


def _simulate(circuit: Circuit, sizing: Mapping[str, float], corner: str, wait: float, step: float) -> Plain:
    below, above = levels(circuit)
    pulse = f"pulse({below!r} {above!r} {LEAD} {_RISE} {_RISE} {wait} 1)"
    end = 2.0 * (LEAD + wait)
    analyses = ["ac dec 10 0.1 1g", f"dc vin {below!r} {above!r} {above - below!r}", _transient(end, step)]
    small_signal, static_levels, large_signal = _run(circuit, sizing, corner, pulse, analyses)
    static = static_levels["out"].real
    assert len(static) == 2, static
    low, high = map(float, static)
    time, output = large_signal["time"].real, large_signal["out"].real
    assert time[-1] > end - step, f"the transient ended after {time[-1]} s"
    assert abs(output[0] - low) < 1e-5, f"the transient starts from {output[0]} V, not from {low} V"
    fall = LEAD + _RISE + wait
    up, down = time < fall, time >= fall - LEAD
    return Plain(
        small_signal["frequency"].real,
        np.abs(small_signal["out"]),
        Edge(time[up] - LEAD, output[up], low, high, above - below),
        Edge(time[down] - fall, output[down], high, low, above - below),
        (below, above),
    )


def _run(
    circuit: Circuit, sizing: Mapping[str, float], corner: str, pulse: str, analyses: Sequence[str]
) -> list[Vectors]:
    """One launch of ngspice: the vectors of each analysis, by name."""
    conditions = circuit.conditions
    ports = {"vdd": "vdd", "vss": "0", "inp": "inp", "inn": "out", "out": "out"}
    deck = [
        f"* {circuit.name} with a wire from its output to its inverting input",
        *_section(pdk.locate(), corner),
        *(f".param {name}={value!r}" for name, value in sizing.items()),
        circuit.netlist_text,
        f"xamplifier {' '.join(ports[port] for port in circuit.subcircuit.ports)} {circuit.subcircuit.name}",
        f"vdd vdd 0 {conditions.supply}",
        f"vin inp 0 dc {conditions.common_mode} ac 1 {pulse}",
        f"cload out 0 {conditions.load}",
        f".temp {conditions.temperature}",
        ".option method=gear reltol=1e-5 vntol=1e-8 abstol=1e-14",
        ".control",
        "set num_threads=1",
        "set wr_vecnames",
        "set wr_singlescale",
        "set numdgt=12",
        *(line for k, analysis in enumerate(analyses) for line in (analysis, f"wrdata {k}.data v(out)")),
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
        assert finished.returncode == 0, said
        assert not re.search(r"error|unknown|no such|can't|cannot|aborted", said, re.IGNORECASE), said
        return [_table(Path(folder) / f"{k}.data") for k in range(len(analyses))]


def _section(library: Path, corner: str) -> list[str]:
    """What `.lib LIBRARY CORNER` stands for. ngspice 39 would read all other corners, too: 24 s instead of 2."""
    lines: list[str] = []
    inside = False
    for line in library.read_text().splitlines():
        match line.split():
            case [".lib", name]:
                inside = name == corner
            case [".endl", *_]:
                inside = False
            case [".include", file] if inside:
                lines.append(f'.include "{library.parent / file.strip(chr(34))}"')
            case [first, *_] if inside and not first.startswith("*"):
                lines.append(line)
    assert lines, f"{library} has no corner {corner}"
    return lines


def _table(file: Path) -> Vectors:
    """A table of `wrdata`: the scale, then the output, which has two columns when it is complex."""
    names = file.read_text().split("\n", 1)[0].split()
    table = np.loadtxt(file, skiprows=1, ndmin=2)
    output = table[:, 1] + (1j * table[:, 2] if table.shape[1] > 2 else 0j)
    return {names[0]: table[:, 0].astype(np.complex128), "out": output}

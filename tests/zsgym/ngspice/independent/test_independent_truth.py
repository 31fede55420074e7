"""zsgym's closed loop against a plain deck that shares no line with its testbench (`plain_deck`, `readings`).

The designs in `tests/golden/truth_designs.json` are sizings and how they were made, without numbers: both sides are
simulated here, a sample by default and everything with `--truth all` (20 minutes of processor time).
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import plain_deck
import pytest
import readings
from numpy.typing import NDArray
from plain_deck import Edge, Plain

from zsgym.base.errors import SimulatorError
from zsgym.circuits import Circuit, load_circuit
from zsgym.pdk import CORNERS
from zsgym.simulators.ngspice.simulator import NgspiceSimulator
from zsgym.simulators.outcome import Outcome

pytestmark = pytest.mark.ngspice

Floats = NDArray[np.float64]

GOLDEN = Path(__file__).parents[3] / "golden" / "truth_designs.json"
SAMPLE = (
    ("nmcnr-random-3", "tt"),  # rests after 7 us; looser tolerances throw it into a limit cycle of 100 us
    ("nmcf-robust", "tt"),
    ("nmcf-robust", "ss"),
    ("nmcnr-robust", "tt"),
    ("nmcnr-robust", "ss"),
    ("nmcf-optimised-4", "ss"),
    ("miller_n-by_hand", "tt"),  # steps around its common mode
)
CIRCUITS = ("nmcf", "nmcnr", "ota5t", "miller_p", "miller_n", "telescopic", "folded_cascode")
POLES_SAMPLE = (("nmcnr-robust", "tt"), ("nmcnr-fast-3", "tt"))
"""A fit puts a pole where the sweep does not see into the first, which is stable; the second is not, at 150 MHz."""
RISES, FALLS = 1e-6, 201e-6
"""When the input rises and falls in zsgym's step response, s."""

# How far the two sides may differ. In brackets the largest differences over all designs and corners with the loop
# closed, and those of the loop that zsgym took for closed while ngspice refused `alter ffb=0`.
MAGNITUDE = 1e-4  # dB, at any frequency (1e-7; at least 0.4 in every design, up to 50)
BANDWIDTH = 1e-5  # relative (4e-9; 0.6)
SHIFT, DRIFT = 1e-9, 3e-3
"""How early or late a waveform may be: s, and a fraction of the time since the edge. zsgym's time steps are as long as
its error control allows, which makes the frequency of a ringing uncertain."""
RINGING, RINGING_DRIFT = {"nmcf-random-2", "nmcnr-random-2", "nmcnr-random-5"}, 0.015
"""Phase margins of 15 degrees and less, or beside a limit cycle that never ends (at fs): late by up to 1.2 %."""
WAVEFORM = 1e-3  # V, half a percent of the step (0.7 mV; 60 mV, and above 1 mV in four of five cases)
READING = 0.01  # relative, where well-conditioned (0.3 % in slew rate, 0.7 % in settling time; 23 % and 25 %)
OWN_READING, OWN_WAVEFORM = 1e-3, 1e-4
"""The same between zsgym's readings and its own waveform: relative, and V."""
STATIC_ERROR = 3e-4  # fraction of the level (1.1e-4: a rest of zsgym's numerical ripple at the end of the half-period)


class Design(NamedTuple):
    """A sizing that is simulated on both sides."""

    circuit: Circuit
    sizing: dict[str, float]


class Step(NamedTuple):
    """One edge of zsgym's step response: time since the edge in s and output in V, both (points,)."""

    time: Floats
    output: Floats


class Zsgym(NamedTuple):
    """What zsgym says of a design: its outcome, the magnitude (points,) at frequencies in Hz, and both edges."""

    outcome: Outcome
    frequency: Floats
    magnitude: Floats
    edges: tuple[Step, Step] | None


Simulate = Callable[[Design, str], Zsgym]


def _designs() -> tuple[dict[str, Design], dict[str, Design]]:
    """Those that work at tt, and those whose poles are easily misjudged."""
    circuits = {name: load_circuit(name) for name in CIRCUITS}
    known = {f"{n}-{k}": Design(c, dict(sizing)) for n, c in circuits.items() for k, sizing in c.known_good.items()}
    kept = json.loads(GOLDEN.read_text(encoding="utf-8"))
    made, stable_or_not = (
        {item["name"]: Design(circuits[item["circuit"]], item["sizing"]) for item in kept[key]}
        for key in ("designs", "stability")
    )
    return known | made, stable_or_not


WORKING, STABLE_OR_NOT = _designs()
DESIGNS = WORKING | STABLE_OR_NOT


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A sample of the cases, or all of them."""
    poles = metafunc.function is test_poles_agree_with_a_small_step
    cases = list(POLES_SAMPLE if poles else SAMPLE)
    if metafunc.config.getoption("--truth") == "all":
        cases = [(name, corner) for name in (DESIGNS if poles else WORKING) for corner in CORNERS]
    metafunc.parametrize(("name", "corner"), cases)


@pytest.fixture(scope="module")
def zsgym() -> Iterator[Simulate]:
    """Simulates a design at a corner with zsgym."""
    with ExitStack() as stack:
        start = cache(lambda circuit: stack.enter_context(NgspiceSimulator(circuit, keep_waveforms=True)))
        yield lambda design, corner: zsgym_side(start(design.circuit), design, corner)


def zsgym_side(simulator: NgspiceSimulator, design: Design, corner: str) -> Zsgym:
    """What zsgym says of a design at a corner."""
    conditions = design.circuit.conditions.replace(corner=corner)
    (answer,) = simulator.measure(design.circuit.cases([design.sizing], conditions))
    assert answer is not None
    assert not isinstance(answer, SimulatorError), answer
    assert answer.waves is not None
    loop, step = answer.waves["closed_loop"], answer.waves.get("transient")
    edges = None
    if step is not None:
        time, output = step["time"].real, step["out"].real
        up, down = time < FALLS, time >= FALLS
        edges = Step(time[up] - RISES, output[up]), Step(time[down] - FALLS, output[down])
    return Zsgym(simulator.outcome(answer), loop["frequency"].real, np.abs(loop["out"]), edges)


def slew_rate(edges: tuple[Edge, Edge] | tuple[Step, Step], levels: tuple[float, float], moved: float = 0.0) -> float:
    """V/s, of the slower edge; with the half-way level moved by some V in the direction of the step."""
    half = sum(levels) / 2.0
    half_ways = half + moved, half - moved
    return min(readings.slew_rate(e.time, e.output, *levels, at) for e, at in zip(edges, half_ways, strict=True))


def settling_time(edges: tuple[Edge, Edge] | tuple[Step, Step], ends: tuple[float, float], moved: float = 0.0) -> float:
    """s, of the slower edge; with the band around the final level wider by some V."""
    return max(
        readings.settling_time(edge.time, edge.output, end, 0.01 * end + moved)
        for edge, end in zip(edges, ends, strict=True)
    )


def distance(edge: Edge, step: Step, drift: float) -> float:
    """V: how far zsgym's waveform is outside the tube around the plain one, as long as the plain deck ran."""
    k = (step.time > 0.0) & (step.time < edge.time[-1])
    time = step.time[k]
    return readings.outside_tube(time, step.output[k], edge.time, edge.output, SHIFT + drift * time)


def agrees(measured: float, reading: Callable[[float], float], relative: float, room: float) -> bool:
    """Whether a reading is that of a waveform, or within what some V (`room`) more or less make of it.

    The latter matters for a plateau by the half-way level and for a ripple that touches the settling band.
    """
    bounds = reading(-room), reading(room)
    return abs(measured / reading(0.0) - 1.0) < relative or min(bounds) <= measured <= max(bounds)


def test_closed_loop_is_that_of_the_plain_deck(name: str, corner: str, zsgym: Simulate) -> None:
    design = DESIGNS[name]
    plain, ours = plain_deck.simulate(*design, corner), zsgym(design, corner)
    assert_same_small_signals(plain, ours)
    if not plain.rests:
        assert not ours.outcome.success
        return
    assert ours.edges is not None
    drift = RINGING_DRIFT if name in RINGING else DRIFT
    for edge, step in zip(plain.edges, ours.edges, strict=True):
        assert distance(edge, step, drift) < WAVEFORM
    assert_same_readings(plain, ours)


def assert_same_small_signals(plain: Plain, ours: Zsgym) -> None:
    """The closed loop's magnitude, its peak and its bandwidth."""
    np.testing.assert_allclose(ours.frequency, plain.frequency, rtol=1e-9)
    audible = plain.magnitude > 1e-4
    difference = 20.0 * np.log10(ours.magnitude[audible] / plain.magnitude[audible])
    assert np.abs(difference).max() < MAGNITUDE
    assert abs(readings.peaking(ours.magnitude) - readings.peaking(plain.magnitude)) < MAGNITUDE
    bandwidths = [readings.bandwidth(side.frequency, side.magnitude) for side in (plain, ours)]
    assert bandwidths[1] == pytest.approx(bandwidths[0], rel=BANDWIDTH)


def assert_same_readings(plain: Plain, ours: Zsgym) -> None:
    """zsgym's readings are those of its own waveform, read by other code, and those of the plain one."""
    assert ours.edges is not None
    raw = ours.outcome.raw
    slew, settling, error = (raw[key] for key in ("slew_rate", "settling_time", "static_error"))
    assert None not in (slew, settling, error)
    own_ends = ours.edges[0].output[-1], ours.edges[1].output[-1]
    ends = plain.rising.ends, plain.falling.ends
    assert agrees(slew, partial(slew_rate, ours.edges, plain.levels), OWN_READING, OWN_WAVEFORM)
    assert agrees(settling, partial(settling_time, ours.edges, own_ends), OWN_READING, OWN_WAVEFORM)
    assert agrees(slew, partial(slew_rate, plain.edges, plain.levels), READING, WAVEFORM)
    assert agrees(settling, partial(settling_time, plain.edges, ends), READING, WAVEFORM)
    low, high = plain.levels
    assert error == pytest.approx(max(abs(ends[0] / high - 1.0), abs(ends[1] / low - 1.0)), abs=STATIC_ERROR)


def test_poles_agree_with_a_small_step(name: str, corner: str, zsgym: Simulate) -> None:
    """A rational fit may find poles where the sweep sees nothing; what a small step does is beyond doubt."""
    design = DESIGNS[name]
    swing = plain_deck.small_step_swing(*design, corner)
    outcome = zsgym(design, corner).outcome
    rightmost, limit = outcome.raw["max_pole_real"], design.circuit.verdict_policies["functional"].max_pole_real
    assert rightmost is not None
    if swing < plain_deck.AT_REST:
        assert rightmost <= limit
    if swing > plain_deck.GROWN:
        assert rightmost > limit
        assert outcome.failure == "unstable"

"""The operational-amplifier testbench: one amplifier, all eleven metrics and every operating point.

A single copy of the amplifier is closed in unity feedback through a zero-volt source `vfb`, which keeps the DC feedback
and serves as small-signal stimulus. A current-controlled source `ffb` returns the inverting input's loading current, so
that the gain v(out)/v(inn) is that of the unloaded output (as if the loop had been opened by an infinite inductor);
with `ffb` at zero the loop is the real one. The supplies, the input and `vfb` are stimulated in turn.

The cold operating point needs gmin stepping, which costs more than a whole AC sweep. Every later analysis therefore
starts from its node voltages (`.nodeset`); tolerances are tight, since a warm start ends after few iterations.
"""

import time as clock
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from zsgym.outcome import Conditions
from zsgym.simulators.ngspice.deck import SizedNetlist
from zsgym.simulators.ngspice.engine import Analysis, Engine, NonConvergenceError, Vectors
from zsgym.simulators.ngspice.measurements import (
    SUPPLY_TEMPERATURE,
    TEMPERATURES,
    Raw,
    Real,
    decibel,
    open_loop,
    step_response,
    temperature_coefficient,
)
from zsgym.simulators.ngspice.stability import rightmost_pole
from zsgym.verdict import VerdictPolicy

STEP = {"low": 0.3, "high": 0.5, "rise": 1e-6, "fall": 201e-6, "end": 401e-6}
"""Published input pulse: V and s."""

DC_TOLERANCES = "reltol=1e-6 vntol=1e-9 abstol=1e-15"
# Slew rate within 0.3 % and settling within 1.5 % of a converged transient. With 1e-5 the trapezoidal rule still damps
# too little and settling comes out up to 3 % (a ripple that touches the band: 25 %) too long.
TRANSIENT_TOLERANCES = "reltol=3e-6 vntol=3e-9 abstol=1e-15"
MAX_TIME_STEP = 5e-6
"""Bound on the time step of a step response, s."""
MAX_TIME_POINTS = 5000
"""Bound on the simulated effort of a step response. Working amplifiers need 250 to 1,000 points, one in a thousand up
to 4,500; oscillating ones would take 6,000 to more than 40,000 and are cut short here."""

_PUBLISHED_TIME_POINTS = 40_000
"""The same bound under the `measured` policy, which wants a number from oscillators, too."""

_LEAD_IN = 2
"""Points of a temperature sweep before its first used one. ngspice solves the first two points of a sweep just to
tolerance (about 5e-11 V of offset left), every later one to rounding error (5e-13 V)."""

_OPEN_LOOP, _CLOSED_LOOP = "alter ffb gain=-1", "alter ffb gain=0"
"""A controlled source has no default parameter: `alter ffb=0` would be refused."""
_SWEEP = "ac dec 10 0.1 1g"
_AT_LOWEST = "ac lin 1 0.1 0.1"


@dataclass(frozen=True, slots=True)
class AmplifierJob:
    """Everything that a worker needs for one evaluation."""

    netlist: SizedNetlist
    nets: tuple[str, ...]
    conditions: Conditions
    policy: VerdictPolicy
    keep_waveforms: bool = False

    def prepare(self) -> None:
        """Use the numerical routines once: what they import and cache here, no evaluation has to."""
        frequency = np.logspace(-1, 9, 101)
        rightmost_pole(frequency, np.asarray(1.0 / (1.0 + 1j * frequency / 1e6), np.complex128))
        temperature_coefficient(TEMPERATURES[::5], 1.0 + 1e-6 * TEMPERATURES[::5] ** 2)

    def run(self, engine: Engine) -> "Measurement":
        """See `measure`."""
        return measure(self, engine)


@dataclass(slots=True)
class Measurement:
    """Raw measurements (see `zsgym.verdict`), operating points, time spent per stage (s), waveforms when asked for."""

    raw: Raw
    operating_points: dict[str, dict[str, float]] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    waveforms: dict[str, Vectors] | None = None


def measure(job: AmplifierJob, engine: Engine) -> Measurement:
    """Run the analyses that this amplifier deserves and measure them.

    A step response is simulated only when small signals show a live and stable amplifier. Non-convergence ends the
    evaluation with what was measured until then and `converged` at 0.
    """
    result = Measurement(raw={"converged": 0.0})
    waveforms: dict[str, Vectors] = {}
    try:
        cold = _deck(job)
        with _timed(result.stages, "operating_point"):
            point = engine.run(cold, [Analysis("op", "op", job.nets)])["op"]
            waveforms["operating_point"] = point
            result.operating_points = _operating_points(job, engine)
            result.raw |= _bias(job, point, result.operating_points)
        warm = _deck(job, nodeset={net: float(point[net][0]) for net in job.nets})
        with _timed(result.stages, "small_signal"):
            waveforms |= engine.run(warm, _SMALL_SIGNAL)
        with _timed(result.stages, "stability"):
            result.raw |= _small_signal(waveforms)
        live = _is_live(result.raw, job.policy)
        with _timed(result.stages, "temperature"):
            waveforms |= engine.run(warm, _temperature_sweeps(step=1 if live else 5))
            result.raw |= _temperature(waveforms, job.conditions)
        measured = job.policy.judge == "measured"
        if live or measured or job.keep_waveforms:
            with _timed(result.stages, "transient"):
                waveforms |= engine.run(warm, [_step_analysis(_PUBLISHED_TIME_POINTS if measured else MAX_TIME_POINTS)])
                result.raw |= _transient(waveforms["transient"], job.policy)
        result.raw["converged"] = 1.0
    except NonConvergenceError:
        pass
    if job.keep_waveforms:
        result.waveforms = waveforms
    return result


def _deck(job: AmplifierJob, nodeset: Mapping[str, float] | None = None) -> Sequence[str]:
    c = job.conditions
    lines = [
        "* amplifier in unity feedback",
        f".option {DC_TOLERANCES}",
        f".temp {c.temperature!r}",
        f"vdd vdd 0 {c.supply!r}",
        "vss vss 0 0",
        f"vinp inp 0 dc {c.common_mode!r} "
        f"pulse({STEP['low']} {STEP['high']} {STEP['rise']} 1p 1p {STEP['fall'] - STEP['rise']} 1)",
        "vfb inn out 0",
        "ffb 0 out vfb 0",
        f"cload out 0 {c.load!r}",
        *job.netlist.elements,
        *job.netlist.models,
    ]
    if nodeset:
        lines.append(".nodeset " + " ".join(f"v({net})={value!r}" for net, value in nodeset.items()))
    return [*lines, ".end"]


def _stimulate(source: str, previous: str | None = None) -> tuple[str, ...]:
    return (*((f"alter {previous} ac=0",) if previous else ()), f"alter {source} ac=1")


_SMALL_SIGNAL = (
    Analysis("open_loop", _SWEEP, ("frequency", "out", "inn"), (_OPEN_LOOP, *_stimulate("vfb"))),
    Analysis("closed_loop", _SWEEP, ("frequency", "out"), (_CLOSED_LOOP, *_stimulate("vinp", "vfb"))),
    # Both inputs move together: the input, and the feedback source in series with the output.
    Analysis("common_mode", _AT_LOWEST, ("out",), _stimulate("vfb")),
    Analysis("supply", _AT_LOWEST, ("out",), ("alter vfb ac=0", *_stimulate("vdd", "vinp"))),
    Analysis("ground", _AT_LOWEST, ("out",), _stimulate("vss", "vdd")),
)


def _step_analysis(max_points: int) -> Analysis:
    return Analysis(
        "transient",
        f"tran {MAX_TIME_STEP} {STEP['end']} 0 {MAX_TIME_STEP}",
        ("time", "out"),
        (_CLOSED_LOOP, f"option {TRANSIENT_TOLERANCES}"),
        max_points=max_points,
    )


def _temperature_sweeps(step: int) -> tuple[Analysis, Analysis]:
    """Two sweeps that start where the operating point is known, outwards to both ends of the published range."""
    vectors = ("out", "vdd#branch")
    lead_in = _LEAD_IN * step
    return (
        Analysis("hot", f"dc temp {SUPPLY_TEMPERATURE - lead_in:g} 125 {step}", vectors),
        Analysis("cold", f"dc temp {SUPPLY_TEMPERATURE + lead_in:g} -40 -{step}", vectors),
    )


def _operating_points(job: AmplifierJob, engine: Engine) -> dict[str, dict[str, float]]:
    points = engine.operating_points()
    return {name: points[f"m{name}"] for name in job.netlist.transistors}


def _bias(job: AmplifierJob, point: Vectors, devices: Mapping[str, Mapping[str, float]]) -> Raw:
    output = float(point["out"][0])
    return {
        "output": output,
        "output_error": abs(output - job.conditions.common_mode),
        "min_device_current": min(abs(device["id"]) for device in devices.values()),
    }


def _small_signal(waves: Mapping[str, Vectors]) -> Raw:
    loop, closed = waves["open_loop"], waves["closed_loop"]
    frequency = np.real(loop["frequency"])
    raw = open_loop(frequency, -loop["out"] / loop["inn"])  # type: ignore[arg-type]
    raw["max_pole_real"] = rightmost_pole(frequency, closed["out"])  # type: ignore[arg-type]
    for metric, analysis in (("cmrr", "common_mode"), ("psrr_p", "supply"), ("psrr_n", "ground")):
        raw[metric] = -float(decibel(waves[analysis]["out"][0]))
    return raw


def temperature_sweep(waves: Mapping[str, Vectors], vector: str) -> tuple[Real, Real]:
    """Both sweeps of a vector joined, coldest first, and their temperatures in degrees Celsius."""
    hot, cold = (np.real(waves[name][vector])[_LEAD_IN:] for name in ("hot", "cold"))
    values = np.concatenate([cold[::-1], hot[1:]])
    return np.linspace(-40.0, 125.0, values.size), values


def _temperature(waves: Mapping[str, Vectors], conditions: Conditions) -> Raw:
    grid, output = temperature_sweep(waves, "out")
    hot = waves["hot"]
    return {
        "tc": temperature_coefficient(grid, output),
        "power": -float(np.real(hot["vdd#branch"][_LEAD_IN])) * conditions.supply,
        "vos": float(np.real(hot["out"][_LEAD_IN])) - conditions.common_mode,
    }


def _transient(wave: Vectors, policy: VerdictPolicy) -> Raw:
    time, output = np.real(wave["time"]), np.real(wave["out"])
    complete = bool(time[-1] >= STEP["end"] * (1.0 - 1e-9))
    return {
        **step_response(time, output, STEP, policy.settling_band),
        "transient_complete": float(complete),
        "transient_points": float(time.size),
    }


def _is_live(raw: Raw, policy: VerdictPolicy) -> bool:
    """Whether small signals leave it open that the amplifier works."""
    return (
        (raw["output_error"] or 0.0) <= policy.max_output_error_v
        and raw["gbw"] is not None
        and (raw["max_pole_real"] or 0.0) <= policy.max_pole_real
    )


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    started = clock.perf_counter()
    try:
        yield
    finally:
        stages[name] = clock.perf_counter() - started

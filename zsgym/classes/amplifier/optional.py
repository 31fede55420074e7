"""What is measured of an amplifier only when somebody asks: noise, ranges, area and capacitance.

Each definition is in docs/metrics.md, with its source. The stages are run for amplifiers that work, in unity feedback
like all others, and none of them decides a verdict.

The output's level is set by the DC voltage of the loop probe, which keeps both inputs at their common mode while the
output goes from rail to rail. So the loop resolves the microvolts between the inputs that no open-loop sweep would hit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from zsgym.classes.amplifier.conditions import AmplifierConditions
from zsgym.classes.amplifier.measurements import Raw, Real, decibel, reach, total_noise
from zsgym.classes.metrics import Better, Metric, MetricSet, Scale
from zsgym.classes.testbench import Analysis, Noise, SmallSignal, SourceSweep, Stage, Wave, Waves
from zsgym.netlist import TRANSISTORS, Subcircuit

OPTIONAL_METRICS = MetricSet(
    (
        Metric(
            "input_noise",
            "V/sqrt(Hz)",
            Better.LOW,
            "input-referred noise at 1 kHz",
            Scale(1e-9, 1e-4, logarithmic=True),
            optional=True,
        ),
        Metric(
            "input_noise_rms",
            "V",
            Better.LOW,
            "noise of the unity buffer, 1 Hz to 100 MHz",
            Scale(1e-6, 1e-1, logarithmic=True),
            optional=True,
        ),
        Metric("output_swing", "V", Better.HIGH, "output swing", Scale(0.0, 2.0), optional=True),
        Metric("icmr", "V", Better.HIGH, "input common-mode range", Scale(0.0, 2.0), optional=True),
        Metric(
            "gate_area",
            "m^2",
            Better.LOW,
            "gate area of all transistors",
            Scale(1e-13, 1e-6, logarithmic=True),
            optional=True,
        ),
        Metric(
            "compensation_capacitance",
            "F",
            Better.LOW,
            "capacitance of all capacitors",
            Scale(1e-14, 1e-8, logarithmic=True),
            optional=True,
        ),
    )
)

SPOT = 1e3
"""Where the spot noise is read, Hz."""
NOISE_BAND = (1.0, 100e6)
"""Of the integrated noise, Hz."""
NOISE_POINTS = (10, 80)
"""Frequencies in each decade below and above the spot. Where noise falls by a power law a few tell all; beyond the spot
the closed loop may resonate: with 80 the total of NMCNR's known-good design, whose noise has a peak of 21 dB at
9.6 MHz, comes out 0.5 % low, with 20 it is 7 %."""
GAIN_LOSS_DB = 20.0 * math.log10(2.0)
"""An output level, or a common mode, is usable while at least half of the gain is left."""
SWING_STEPS = 180
"""Steps of the output from rail to rail."""
RANGE_STEPS = 24
"""Steps of the common mode from rail to rail. Each is a DC solution of its own, the price of ten steps of a sweep."""

_SQUARE_MICROMETRE = 1e-12
_LEAD_IN = 2
"""Points of a sweep before the nominal level: ngspice solves the first two just to tolerance."""
_STAGES = {
    "output_swing": ("output_swing",),
    "common_mode_range": ("icmr",),
    "noise": ("input_noise", "input_noise_rms"),
}
"""Stage -> the metrics that it gives."""


def gate_area(circuit: Subcircuit, sizing: Mapping[str, float]) -> float:
    """Sum of W L M over all transistors, fixed multipliers included, in square metres. See `ClosedForm`."""
    transistors = (device.values for device in circuit.devices if device.kind in TRANSISTORS)
    return _SQUARE_MICROMETRE * math.fsum(
        math.prod(values[key].evaluate(sizing) for key in ("w", "l", "m")) for values in transistors
    )


def compensation_capacitance(circuit: Subcircuit, sizing: Mapping[str, float]) -> float:
    """Sum of the circuit's own capacitors, in farads. See `ClosedForm`."""
    return math.fsum(d.values["value"].evaluate(sizing) for d in circuit.devices if d.kind == "capacitor")


def stages(asked: Sequence[str], conditions: AmplifierConditions) -> tuple[Stage, ...]:
    """The stages that the metrics asked for need, to be run behind all others."""
    return tuple(
        Stage(name, _ANALYSES[name](conditions), optional=metrics)
        for name, metrics in _STAGES.items()
        if any(metric in asked for metric in metrics)
    )


def is_optional(stage: str) -> bool:
    """Whether a stage is one of these."""
    return stage in _STAGES


def measure(stage: str, waves: Waves, conditions: AmplifierConditions) -> Raw:
    """What an optional stage measures: its metrics, and for a range both of its ends (V).

    The metrics are None where the waves do not tell. A common mode at which there is no solution is passed over: where
    the gain is being lost an amplifier may be hard to solve.
    """
    known = all(analysis.name in waves for analysis in _ANALYSES[stage](conditions))
    match stage:
        case "noise" if known:
            return _read_noise(waves["slow_noise"], waves["fast_noise"])
        case "output_swing" if known:
            low, high = (_output_reach(waves, sweep) for sweep in ("output_down", "output_up"))
            return {"output_swing": high - low, "output_low": low, "output_high": high}
        case "common_mode_range" if known or any(_at(level) in waves for level in _levels(conditions)):
            low, high = (_common_mode_reach(waves, conditions, direction) for direction in (-1, 1))
            return {"icmr": high - low, "common_mode_low": low, "common_mode_high": high}
    return dict.fromkeys(_STAGES[stage])


def gain_curve(stage: str, waves: Waves, conditions: AmplifierConditions) -> tuple[Real, Real] | None:
    """Levels in V, ascending, and the gain at each in dB, of the stage of a range; None where it was not run."""
    if stage == "output_swing" and {"output_up", "output_down"} <= waves.keys():
        (down, below), (up, above) = (_input_per_output(waves[name]) for name in ("output_down", "output_up"))
        level, needed = np.concatenate([down[::-1], up]), np.concatenate([below[::-1], above])
        return level, -decibel(needed.astype(np.complex128))
    if stage == "common_mode_range":
        names = {level: _at(level) for level in _levels(conditions)} | {conditions.common_mode: "open_loop"}
        known = sorted(level for level, name in names.items() if name in waves)
        if len(known) > 1:
            return np.array(known), np.array([_gain_db(waves[names[level]]) for level in known])
    return None


def _noise(conditions: AmplifierConditions) -> tuple[Analysis, ...]:
    (low, high), (few, many) = NOISE_BAND, NOISE_POINTS
    return Noise("slow_noise", "out", "inp", low, SPOT, few), Noise("fast_noise", "out", "inp", SPOT, high, many)


def _read_noise(slow: Mapping[str, Wave], fast: Mapping[str, Wave]) -> Raw:
    """The loop divides both the noise at the output and the gain of the input by the same number: what is referred to
    the input is that of the open loop. The buffer's own noise is that of its input within its bandwidth."""
    total = math.hypot(*(total_noise(np.real(wave["frequency"]), np.real(wave["output"])) for wave in (slow, fast)))
    return {"input_noise": float(np.real(fast["input"][0])), "input_noise_rms": total}


def _swing(conditions: AmplifierConditions) -> tuple[Analysis, ...]:
    """From the nominal level to both rails. The loop probe holds the output at the common mode minus its voltage."""
    step = conditions.supply / SWING_STEPS
    up, down = conditions.common_mode - conditions.supply, conditions.common_mode
    return (
        SourceSweep("output_up", ("out", "inn"), "loop", _LEAD_IN * step, up, -step),
        SourceSweep("output_down", ("out", "inn"), "loop", -_LEAD_IN * step, down, step),
    )


def _output_reach(waves: Waves, sweep: str) -> float:
    """The output level up to which the static gain is at least half of the one at the nominal level, V."""
    nominal = np.mean([_input_per_output(waves[name])[1][0] for name in ("output_up", "output_down")])
    level, needed = _input_per_output(waves[sweep])
    # Where the input that is needed changes its sign the gain is infinite, and nothing is lost.
    return reach(level, -decibel(needed.astype(np.complex128)), -float(decibel(complex(nominal))) - GAIN_LOSS_DB)


def _input_per_output(sweep: Mapping[str, Wave]) -> tuple[Real, Real]:
    """Output levels from the nominal one outwards, V, and the differential input that the output needs, V per V."""
    output, inverting = (np.real(sweep[name])[_LEAD_IN:] for name in ("out", "inn"))
    moved = np.diff(output)
    # An output that does not follow at all has no gain.
    needed = np.diff(inverting) / np.where(np.abs(moved) < 1e-12, 1e-12, moved)
    return (output[1:] + output[:-1]) / 2.0, needed


def _common_modes(conditions: AmplifierConditions) -> tuple[Analysis, ...]:
    """The open loop at 0.1 Hz at common modes from rail to rail, with the output where it is at the nominal one."""
    nominal = conditions.common_mode
    return tuple(
        SmallSignal(
            _at(level),
            ("out", "inn"),
            {"loop": 1.0},
            0.1,
            0.1,
            open_loops=("loop",),
            levels={"inp": level, "loop": level - nominal},
        )
        for level in _levels(conditions)
    )


def _levels(conditions: AmplifierConditions) -> list[float]:
    """Common modes from rail to rail, V, without the nominal one, which the open loop of every evaluation is at."""
    grid = np.linspace(0.0, conditions.supply, RANGE_STEPS + 1)
    return [float(level) for level in grid if abs(level - conditions.common_mode) > 1e-6]


def _at(level: float) -> str:
    return f"common_mode_{level * 1e6:.0f}"


def _common_mode_reach(waves: Waves, conditions: AmplifierConditions, direction: int) -> float:
    """The common mode up to which, in one direction, the gain is at least half of the one at the nominal one, V."""
    nominal = conditions.common_mode
    beyond = (x for x in _levels(conditions) if (x - nominal) * direction > 0.0 and _at(x) in waves)
    levels = sorted(beyond, key=lambda level: abs(level - nominal))
    gains = np.array([_gain_db(waves[name]) for name in ("open_loop", *map(_at, levels))])
    return reach(np.array([nominal, *levels]), gains, float(gains[0]) - GAIN_LOSS_DB)


def _gain_db(response: Mapping[str, Wave]) -> float:
    return float(decibel(complex(response["out"][0] / response["inn"][0])))


_ANALYSES = {"output_swing": _swing, "common_mode_range": _common_modes, "noise": _noise}
"""Stage -> what makes its analyses."""

"""A class of circuits that zsgym does not know: a common-source stage beside a resistor that a current is sent through.

Every analysis that a testbench can hold is used once, mostly where the answer is known in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from zsgym.base.plot import Axis, Panel, drawing, padded
from zsgym.classes import Better, Check, CircuitClass, Conditions, Failure, Metric, MetricSet, Scale, VerdictPolicy
from zsgym.classes.circuit_class import Devices, Figure, Port
from zsgym.classes.testbench import (
    Capacitor,
    CurrentSource,
    LoopProbe,
    Noise,
    OperatingPoint,
    Pulse,
    SmallSignal,
    SourceSweep,
    Stage,
    Testbench,
    Transient,
    VoltageSource,
    Waves,
)
from zsgym.classes.verdict import Grade, Limit, Raw
from zsgym.netlist import Subcircuit

CAPACITANCE = {"short": 1e-12, "long": 10e-12}
"""Load of the sensing node (F), by the length of the wire to it."""
INPUT_CAPACITANCE = 100e-12
"""At the input, F: it loads the output where the loop is closed, and must not where it is open."""
NOISE_FREQUENCY = 1e3
"""Where noise is read, Hz."""
START, STOP = 1e-6, 60e-6
"""Of the current pulse and of the transient, s."""

METRICS = MetricSet(
    (
        Metric("gain", "dB", Better.HIGH, "open-loop gain at 1 Hz", Scale(0.0, 60.0)),
        Metric("power", "W", Better.LOW, "supply power", Scale(1e-7, 1e-2, logarithmic=True), "P", 1e6),
        Metric("noise", "V/sqrt(Hz)", Better.LOW, "noise of the sensing node", Scale(1e-9, 1e-6, logarithmic=True)),
        Metric("delay", "s", Better.LOW, "delay of the sensing node", Scale(1e-10, 1e-4, logarithmic=True)),
    )
)


class StageConditions(Conditions):
    """sense_current: through the sensing resistor, A. wire: to the sensing node."""

    sense_current: Annotated[
        FiniteFloat, Field(ge=0.0, le=1e-3, description="sensing current in amperes", json_schema_extra={"unit": "A"})
    ] = 1e-6
    wire: Annotated[Literal["short", "long"], Field(description="wire to the sensing node")] = "short"


class StagePolicy(VerdictPolicy):
    """min_gain_db: below it a stage is weak."""

    min_gain_db: float = Field(6.0, description="dB; below it the stage is weak")


class StageClass(CircuitClass):
    """See the module."""

    name = "stage"
    title = "common-source stage"
    ports = (
        Port("vss", "negative supply"),
        Port("vdd", "positive supply"),
        Port("in", "input"),
        Port("out", "output"),
        Port("sense", "sensing node"),
    )
    metrics = METRICS
    conditions = StageConditions
    policy = StagePolicy
    reasons: ClassVar = {
        Failure.GEOMETRY: "a transistor is outside the model bins",
        Failure.NO_CONVERGENCE: "an analysis does not converge",
        "weak": "the gain is too small",
        "sluggish": "the sensing node does not get half-way",
    }

    def bench(
        self, circuit: Subcircuit, conditions: Conditions, policy: VerdictPolicy, *, complete: bool = False
    ) -> StageBench:
        assert isinstance(conditions, StageConditions)
        assert isinstance(policy, StagePolicy)
        return StageBench(conditions, policy.min_gain_db, complete)

    def checks(self, policy: VerdictPolicy) -> tuple[Check, ...]:
        assert isinstance(policy, StagePolicy)
        return (
            Check(
                Failure.NO_CONVERGENCE, Limit("every analysis converges", "converged", at_least=1.0, unit="flag"), 10.0
            ),
            Check(
                "weak",
                Limit("gain of the stage", "gain", at_least=policy.min_gain_db, unit="dB"),
                5.0,
                Grade("gain", policy.min_gain_db, -100.0, 4.0),
            ),
            Check("sluggish", Limit("the sensing node gets half-way", "delay", unit="s", made="points"), 2.0),
        )

    def figures(self, waves: Waves, conditions: Conditions, policy: VerdictPolicy) -> list[Figure]:
        if "transient" not in waves:
            return []
        time, level = (np.real(waves["transient"][name]) for name in ("time", "sense"))
        panel = Panel(Axis(0.0, STOP, "time", unit="s"), Axis(*padded(level), "sensing node (V)"), height=200)
        panel.line(time, level)
        return [Figure("Sensing node", drawing([panel], "Sensing node over time"), "The current doubles after 1 µs.")]


@dataclass(frozen=True)
class StageBench:
    """One case; see `zsgym.classes.circuit_class.Bench`."""

    conditions: StageConditions
    min_gain_db: float
    complete: bool

    @property
    def testbench(self) -> Testbench:
        current = self.conditions.sense_current
        return Testbench(
            self.conditions.temperature,
            elements=(
                VoltageSource("vdd", "vdd", "0", self.conditions.supply),
                VoltageSource("vss", "vss", "0", 0.0),
                LoopProbe("loop", feedback="in", output="out"),
                Capacitor("input", "in", "0", INPUT_CAPACITANCE),
                CurrentSource("probe", "0", "sense", current, Pulse(current, 2.0 * current, START, 1.0)),
                Capacitor("wire", "sense", "0", CAPACITANCE[self.conditions.wire]),
            ),
            stages=(
                Stage("bias", (OperatingPoint("bias", ("out", "sense", "i(vdd)")),)),
                Stage("levels", (OperatingPoint("starved", ("sense", "out"), {"probe": 0.0, "vdd": 0.0}),)),
                Stage("sweep", (SourceSweep("sweep", ("sense",), "probe", 0.0, 4e-6, 1e-6),)),
                Stage(
                    "response",
                    (
                        SmallSignal("open", ("out", "in"), {"loop": 1.0}, 1.0, 1e9, open_loops=("loop",)),
                        SmallSignal("closed", ("out",), {"loop": 1.0}, 1.0, 1.0),
                        SmallSignal("impedance", ("sense",), {"probe": 1.0}, 1.0, 1e9, per_decade=5),
                    ),
                ),
                Stage("noise", (Noise("noise", "sense", "probe", 1.0, 1e9, per_decade=4),)),
                Stage("transient", (Transient("transient", ("sense",), STOP, 1e-6, 2000),)),
            ),
        )

    def prepare(self) -> None:
        """Nothing takes long to import."""

    def wants(self, stage: str, raw: Raw) -> bool:
        live = (raw.get("gain") or 0.0) >= self.min_gain_db
        return live or self.complete or stage != "transient"

    def measure(self, stage: str, waves: Waves, devices: Devices) -> dict[str, float | None]:
        match stage:
            case "bias":
                power = -float(np.real(waves["bias"]["i(vdd)"][0])) * self.conditions.supply
                return {"power": power, "output": float(np.real(waves["bias"]["out"][0]))}
            case "levels":
                return {"starved": float(np.real(waves["starved"]["sense"][0]))}
            case "sweep":
                levels = np.real(waves["sweep"]["sense"])
                return {"resistance": float(levels[-1] - levels[0]) / 4e-6}
            case "response":
                return _response(waves)
            case "noise":
                spectrum = waves["noise"]
                frequency, output = np.real(spectrum["frequency"]), np.real(spectrum["output"])
                at = np.interp(np.log(NOISE_FREQUENCY), np.log(frequency), output)
                return {"noise": float(at), "input_noise": float(np.real(spectrum["input"][0]))}
        return _transient(waves["transient"])


def _response(waves: Waves) -> dict[str, float | None]:
    gain = waves["open"]["out"] / waves["open"]["in"]
    return {
        "gain": float(20.0 * np.log10(np.abs(gain[0]))),
        "gain_at_1_mhz": float(20.0 * np.log10(np.abs(gain[60]))),
        "closed": float(np.real(waves["closed"]["out"][0])),
        "corner": _corner(np.real(waves["impedance"]["frequency"]), np.abs(waves["impedance"]["sense"])),
    }


def _corner(frequency: Sequence[float] | np.ndarray, magnitude: np.ndarray) -> float | None:
    """Frequency (Hz) of a single pole, from the last point: magnitude / low-frequency value = corner / frequency."""
    ratio = float(magnitude[-1] / magnitude[0])
    return float(frequency[-1]) * ratio / float(np.sqrt(1.0 - ratio**2))


def _transient(wave: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    time, level = np.real(wave["time"]), np.real(wave["sense"])
    half = level[0] + (level[0] / 2.0)
    reached = np.flatnonzero(level >= half)
    delay = None
    if reached.size and half > 0.0:
        last = int(reached[0])
        delay = float(np.interp(half, level[last - 1 : last + 1], time[last - 1 : last + 1])) - START
    return {"delay": delay, "points": float(time.size)}


STAGE = StageClass()

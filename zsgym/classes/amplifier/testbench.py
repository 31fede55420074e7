"""The operational-amplifier testbench: one amplifier in unity feedback, all eleven metrics.

A single copy of the amplifier serves for everything. Its loop is closed, and opened for one sweep only (see
`LoopProbe`). The supplies, the input and the loop are stimulated in turn. A step response is simulated only when small
signals show a live and stable amplifier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zsgym.classes.amplifier import optional
from zsgym.classes.amplifier.conditions import AmplifierConditions
from zsgym.classes.amplifier.measurements import (
    SUPPLY_TEMPERATURE,
    TEMPERATURES,
    Raw,
    Real,
    Step,
    decibel,
    open_loop,
    step_response,
    temperature_coefficient,
)
from zsgym.classes.amplifier.stability import rightmost_pole
from zsgym.classes.amplifier.verdict import AmplifierPolicy, checks
from zsgym.classes.testbench import (
    POLES,
    Capacitor,
    LoopProbe,
    OperatingPoint,
    Pulse,
    SmallSignal,
    Stage,
    TemperatureSweep,
    Testbench,
    Transient,
    VoltageSource,
    Waves,
)
from zsgym.classes.verdict import first_missed

_RISE, _FALL, _END = 1e-6, 201e-6, 401e-6
"""Edges and end of the published input pulse, s."""
MAX_TIME_STEP = 5e-6
"""Bound on the time step of a step response, s."""
MAX_TIME_POINTS = 7000
"""Bound on the simulated effort of a step response. Working amplifiers need 300 to 1,400 points, one in a thousand up
to 6,000; oscillating ones would take 8,000 to more than 50,000 and are cut short here."""
_PUBLISHED_TIME_POINTS = 40_000
"""The same bound under the `measured` policy, which wants a number from oscillators, too."""

_LEAD_IN = 2
"""Points of a temperature sweep before its first used one. ngspice solves the first two points of a sweep just to
tolerance (about 5e-11 V of offset left), every later one to rounding error (5e-13 V)."""
_COARSE = 5
"""Step in K for amplifiers that do not work: their temperature coefficient decides nothing."""

_LOWEST, _HIGHEST = 0.1, 1e9
"""Ends of the published AC sweep, Hz."""
PUBLISHED_TEMPERATURE = 27.0
"""Temperature of the published bench in degrees Celsius. It reads supply current and offset at `SUPPLY_TEMPERATURE`."""


def input_step(conditions: AmplifierConditions) -> Step:
    """The input pulse of the step response: published edges, levels of the conditions."""
    low, high = conditions.step_levels
    return Step(low, high, _RISE, _FALL, _END)


def amplifier_testbench(conditions: AmplifierConditions, max_points: int, asked: Sequence[str] = ()) -> Testbench:
    """Elements and stages. `temperature` and `temperature_coarse` are alternatives.

    :param asked: optional metrics, which add their stages at the end.
    """
    step = input_step(conditions)
    pulse = Pulse(step.low, step.high, step.rise, step.fall)
    return Testbench(
        conditions.temperature,
        elements=(
            VoltageSource("vdd", "vdd", "0", conditions.supply),
            VoltageSource("vss", "vss", "0", 0.0),
            VoltageSource("inp", "inp", "0", conditions.common_mode, pulse),
            LoopProbe("loop", feedback="inn", output="out"),
            Capacitor("load", "out", "0", conditions.load),
        ),
        stages=(
            Stage("operating_point", (OperatingPoint("operating_point", ("out",)),)),
            Stage("small_signal", _SMALL_SIGNAL),
            Stage("temperature", _sweeps("", 1)),
            Stage("temperature_coarse", _sweeps("_coarse", _COARSE)),
            Stage("reading", (_reading(conditions.temperature),)),
            Stage("transient", (Transient("transient", ("out",), step.end, MAX_TIME_STEP, max_points),)),
            *optional.stages(asked, conditions),
        ),
    )


def _rejection(name: str, **stimuli: float) -> SmallSignal:
    return SmallSignal(name, ("out",), stimuli, _LOWEST, _LOWEST)


_SMALL_SIGNAL = (
    SmallSignal("open_loop", ("out", "inn"), {"loop": 1.0}, _LOWEST, _HIGHEST, open_loops=("loop",)),
    SmallSignal("closed_loop", ("out",), {"inp": 1.0}, _LOWEST, _HIGHEST),
    # Both inputs move together: the input, and the feedback source in series with the output.
    _rejection("common_mode", inp=1.0, loop=1.0),
    _rejection("supply", vdd=1.0),
    _rejection("ground", vss=1.0),
)


def _sweeps(suffix: str, step: int) -> tuple[TemperatureSweep, TemperatureSweep]:
    """Two sweeps that start where the operating point is known, outwards to both ends of the published range."""
    probes, lead_in = ("out", "i(vdd)"), _LEAD_IN * step
    return (
        TemperatureSweep(f"hot{suffix}", probes, SUPPLY_TEMPERATURE - lead_in, TEMPERATURES[-1], step),
        TemperatureSweep(f"cold{suffix}", probes, SUPPLY_TEMPERATURE + lead_in, TEMPERATURES[0], -step),
    )


def _reading(temperature: float) -> TemperatureSweep:
    """Ends at the temperature of the case, solved to rounding error."""
    return TemperatureSweep("reading", ("out", "i(vdd)"), temperature - _LEAD_IN, temperature, 1)


@dataclass(frozen=True, slots=True)
class AmplifierBench:
    """One case of an amplifier: see `zsgym.classes.circuit_class.Bench`.

    idle: transistors that carry no current by construction. complete: run the step response of failures, too. asked:
    optional metrics that are measured of an amplifier that works.
    """

    conditions: AmplifierConditions
    policy: AmplifierPolicy
    idle: frozenset[str] = frozenset()
    complete: bool = False
    asked: tuple[str, ...] = ()

    @property
    def testbench(self) -> Testbench:
        """See `amplifier_testbench`."""
        max_points = _PUBLISHED_TIME_POINTS if self._wants_numbers else MAX_TIME_POINTS
        return amplifier_testbench(self.conditions, max_points, self.asked)

    def prepare(self) -> None:
        """See `Bench.prepare`."""
        frequency = np.logspace(-1, 9, 101)
        rightmost_pole(frequency, np.asarray(1.0 / (1.0 + 1j * frequency / 1e6), np.complex128))
        temperature_coefficient(TEMPERATURES[::5], 1.0 + 1e-6 * TEMPERATURES[::5] ** 2)

    def wants(self, stage: str, raw: Mapping[str, float | None]) -> bool:
        """See `Bench.wants`."""
        match stage:
            case "temperature":
                return self._is_live(raw)
            case "temperature_coarse":
                return not self._is_live(raw)
            case "reading":
                return self.conditions.temperature != PUBLISHED_TEMPERATURE
            case "transient":
                return self._is_live(raw) or self._wants_numbers or self.complete
        return not optional.is_optional(stage) or self._works(raw)

    def measure(self, stage: str, waves: Waves, devices: Mapping[str, Mapping[str, float]]) -> Raw:
        """See `Bench.measure`."""
        if optional.is_optional(stage):
            return optional.measure(stage, waves, self.conditions)
        match stage:
            case "operating_point":
                return self._bias(waves, devices)
            case "small_signal":
                return _small_signal(waves)
            case "temperature" | "temperature_coarse":
                _, output = temperature_sweep(waves, "out")
                return {"tc": temperature_coefficient(_grid(output), output)} | self._read(waves, stage)
            case "reading":
                return self._supply_and_offset(waves["reading"], -1)
        return self._transient(waves)

    @property
    def _wants_numbers(self) -> bool:
        return self.policy.judge == "measured"

    def _is_live(self, raw: Mapping[str, float | None]) -> bool:
        """Whether small signals leave it open that the amplifier works."""
        return (
            (raw["output_error"] or 0.0) <= self.policy.max_output_error_v
            and raw["gbw"] is not None
            and (raw["max_pole_real"] or 0.0) <= self.policy.max_pole_real
        )

    def _works(self, raw: Mapping[str, float | None]) -> bool:
        """The verdict, once everything that it rests on has been measured."""
        return first_missed(checks(self.policy), {**raw, "converged": 1.0}) is None

    def _bias(self, waves: Waves, devices: Mapping[str, Mapping[str, float]]) -> Raw:
        output = float(np.real(waves["operating_point"]["out"][0]))
        carrying = [abs(point["id"]) for name, point in devices.items() if name not in self.idle]
        return {
            "output": output,
            "output_error": abs(output - self.conditions.common_mode),
            "min_device_current": min(carrying, default=None),
        }

    def _read(self, waves: Waves, stage: str) -> Raw:
        """Power and offset as the published bench reads them; at other temperatures they have a stage of their own."""
        if self.conditions.temperature != PUBLISHED_TEMPERATURE:
            return {}
        return self._supply_and_offset(waves["hot" if stage == "temperature" else "hot_coarse"], _LEAD_IN)

    def _supply_and_offset(self, sweep: Mapping[str, np.ndarray], point: int) -> Raw:
        return {
            "power": -float(np.real(sweep["i(vdd)"][point])) * self.conditions.supply,
            "vos": float(np.real(sweep["out"][point])) - self.conditions.common_mode,
        }

    def _transient(self, waves: Waves) -> Raw:
        wave = waves["transient"]
        time, output, step = np.real(wave["time"]), np.real(wave["out"]), input_step(self.conditions)
        complete = bool(time[-1] >= step.end * (1.0 - 1e-9))
        return {
            **step_response(time, output, step, self.policy.settling_band),
            "transient_complete": float(complete),
            "transient_points": float(time.size),
        }


def _small_signal(waves: Waves) -> Raw:
    loop, closed = waves["open_loop"], waves["closed_loop"]
    frequency = np.real(loop["frequency"])
    raw = open_loop(frequency, np.asarray(-loop["out"] / loop["inn"], np.complex128))
    raw["max_pole_real"] = _rightmost(closed)
    for metric, analysis in (("cmrr", "common_mode"), ("psrr_p", "supply"), ("psrr_n", "ground")):
        raw[metric] = -float(decibel(complex(waves[analysis]["out"][0])))
    return raw


def _rightmost(closed: Mapping[str, np.ndarray]) -> float:
    """Largest real part of the closed loop's poles: the simulator's own, or those of a rational fit."""
    if POLES in closed:
        return float(closed[POLES].real.max(initial=-np.inf))
    return rightmost_pole(np.real(closed["frequency"]), np.asarray(closed["out"], np.complex128))


def temperature_sweep(waves: Waves, probe: str) -> tuple[Real, Real]:
    """Both sweeps of a probe joined, coldest first, and their temperatures in degrees Celsius."""
    suffix = "" if "hot" in waves else "_coarse"
    hot, cold = (np.real(waves[name + suffix][probe])[_LEAD_IN:] for name in ("hot", "cold"))
    values = np.concatenate([cold[::-1], hot[1:]])
    return _grid(values), values


def _grid(values: Real) -> Real:
    return np.linspace(TEMPERATURES[0], TEMPERATURES[-1], values.size)

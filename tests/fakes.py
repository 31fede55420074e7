"""Stand-ins for slow or absent parts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from zsgym.base.errors import SimulatorCrashError
from zsgym.circuits import Cases, Circuit, Sizing
from zsgym.classes import Conditions, Failure
from zsgym.simulators.base import Errors
from zsgym.simulators.outcome import Outcome, Status

# Median and spread (in the exponent, or in dB and degrees) of working NMCF amplifiers, SI units.
_LOGARITHMIC = {
    "tc": (3.2e-6, 1.2),
    "power": (7.4e-4, 0.8),
    "vos": (3.9e-4, 1.0),
    "gbw": (9.0e5, 0.7),
    "slew_rate": (3.4e5, 0.7),
    "settling_time": (1.6e-6, 0.7),
}
_LINEAR = {
    "cmrr": (63.0, 30.0),
    "dc_gain": (113.0, 20.0),
    "phase_margin": (57.0, 25.0),
    "psrr_p": (64.0, 30.0),
    "psrr_n": (82.0, 25.0),
}


def ask(
    simulator: Any,
    sizings: Iterable[Sizing],
    conditions: Conditions | Sequence[Conditions] | None = None,
    **options: Any,
) -> list[Outcome]:
    """What a simulator says about sizings of its circuit."""
    outcomes: list[Outcome] = simulator.simulate(simulator.circuit.cases(sizings, conditions), **options)
    return outcomes


class FakeSimulator:
    """Answers sizings with a smooth, deterministic formula instead of ngspice; about 30 % of uniform ones fail.

    :param circuit: whose cases are answered.
    :param raise_at: calls of `simulate` (counted from 1) in which every sizing ends in a SimulatorCrashError.
    :param always_works: no circuit failures at all.
    """

    name = "fake"

    def __init__(self, circuit: Circuit, raise_at: Collection[int] = (), always_works: bool = False) -> None:
        self.circuit = circuit
        self.raise_at = set(raise_at)
        self.always_works = always_works
        self.calls = 0
        self.simulated: list[dict[str, float]] = []
        self.batch_sizes: list[int] = []
        self.conditions: list[Conditions] = []
        """Those of each call, every one once."""
        self.closed = 0

    @property
    def provenance(self) -> Mapping[str, str]:
        return {"fake": "1"}

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        assert cases.circuit.netlist_hash == self.circuit.netlist_hash, "cases of another circuit"
        self.calls += 1
        if self.calls in self.raise_at:
            error = SimulatorCrashError(f"the simulator was killed in call {self.calls}")
            if errors == "raise":
                raise error
            return [Outcome(Status.INFRASTRUCTURE_ERROR, backend=self.name, error=error)] * len(cases)
        self.batch_sizes.append(len(cases))
        self.simulated.extend(cases.sizings)
        self.conditions.extend(dict.fromkeys(cases.conditions))
        return [self._answer(sizing) for sizing in cases.sizings]

    def close(self) -> None:
        self.closed += 1

    def _answer(self, sizing: Mapping[str, float]) -> Outcome:
        point = self.circuit.to_point(self.circuit.vector(sizing)).tolist()
        raw = {name: _wave(point, index) for index, name in enumerate([*_LOGARITHMIC, *_LINEAR])}
        failure = None if self.always_works else self._failure(point)
        if failure is not None:
            return Outcome(Status.CIRCUIT_FAILURE, failure, raw=raw, backend=self.name, elapsed_s=0.001)
        metrics = {name: median * 10.0 ** (spread * raw[name]) for name, (median, spread) in _LOGARITHMIC.items()}
        metrics |= {name: median + spread * raw[name] for name, (median, spread) in _LINEAR.items()}
        return Outcome(Status.SUCCESS, metrics=metrics, raw=raw, backend=self.name, elapsed_s=0.001)

    def _failure(self, point: Sequence[float]) -> str | None:
        widths_and_lengths = [p.quantity in ("W", "L") for p in self.circuit.parameters]
        if any(u < -0.97 for u, bounded in zip(point, widths_and_lengths, strict=True) if bounded):
            return Failure.GEOMETRY
        judged = _wave(point, 17)
        return Failure.UNSTABLE if judged > 0.75 else Failure.NO_GAIN if judged < -0.9 else None


def _wave(point: Sequence[float], index: int) -> float:
    """A smooth function of the normalised sizing, in [-1, 1], different for every index."""
    weighted = sum(value * math.cos(1.7 * index + 2.3 * position) for position, value in enumerate(point))
    return math.sin(0.6 * weighted + 0.9 * index)

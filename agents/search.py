"""What all agents share: a sizing problem with a simulation budget, designs, and the graded score of an optimiser.

    with Problem(load_circuit("nmcf"), budget=400) as problem:
        designs = problem.evaluate(np.random.default_rng(1).uniform(-1, 1, (20, problem.dimension)))
        best = max(designs, key=score)

A *unit* is a point in [-1, 1]^n, what an action of the environments holds (`Circuit.from_unit`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsgym.circuits import Circuit
from zsgym.errors import ConfigError, SimulatorError, ZsgymError
from zsgym.metrics import METRIC_BY_NAME, Better
from zsgym.outcome import Failure, Outcome, Status
from zsgym.paths import log_dir
from zsgym.pdk.geometry import SIZE_LIMITS
from zsgym.samples import ErrorRecord, Sample, SampleLog
from zsgym.simulators import Simulator, make_simulator
from zsgym.specs import FAILURE_REWARD, meets_all, resolve_targets, reward, spec_margins

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Design:
    """A sizing and what a simulator said about it.

    unit: (n,) in [-1, 1]. sizing: declared units. outcome: the simulator's answer. margins: of every spec, empty where
    the sizing does not work. reward: as the environments give it. feasible: it works and meets every spec.
    cautious: the reward at the worse end of every prediction interval; the reward itself where there is no interval.
    """

    unit: FloatArray
    sizing: dict[str, float]
    outcome: Outcome
    margins: dict[str, float]
    reward: float
    feasible: bool
    cautious: float = FAILURE_REWARD

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        outcome = self.outcome
        return {
            "backend": outcome.backend,
            "feasible": self.feasible,
            "reward": self.reward,
            "status": outcome.status.value,
            "failure": None if outcome.failure is None else outcome.failure.value,
            "metrics": None if outcome.metrics is None else dict(outcome.metrics),
            "margins": self.margins,
            "p_valid": outcome.p_valid,
            "sizing": self.sizing,
        }


class Progress(NamedTuple):
    """After one simulation: how many there were, seconds since the start, the best reward, whether one was feasible."""

    simulations: int
    seconds: float
    reward: float
    feasible: bool


class BudgetSpent(ZsgymError):  # noqa: N818 (a signal more than an error, like StopIteration)
    """The budget of a problem does not cover what was asked; what it covered has been evaluated and logged."""

    def __init__(self, budget: int, designs: Sequence[Design]) -> None:
        super().__init__(f"the budget of {budget} simulations is spent")
        self.designs = list(designs)


class Problem:
    """One circuit, its targets and one backend: answers units in batches, counts every simulation and logs it.

    :param backend: name of a backend, or a simulator (which stays open).
    :param targets: changes to the circuit's targets, metric -> SI value; None as a value drops a spec.
    :param workers: parallel ngspice processes.
    :param log: write every sizing to a sample log: True for the default directory, or a directory.
    :param budget: number of simulations after which `evaluate` raises; None for no limit.
    :param backend_options: options of a backend given by its name.
    :param agent: recorded as the strategy of logged samples. :param seed: recorded with them.
    """

    def __init__(
        self,
        circuit: Circuit,
        *,
        backend: str | Simulator = "ngspice",
        targets: Mapping[str, float | None] | None = None,
        workers: int = 1,
        log: bool | str | os.PathLike[str] = False,
        budget: int | None = None,
        backend_options: Mapping[str, Any] | None = None,
        agent: str | None = None,
        seed: int | None = None,
    ) -> None:
        if budget is not None and budget < 1:
            raise ConfigError(f"the budget must be at least one simulation, got {budget}")
        self.circuit = circuit
        self.targets = resolve_targets(circuit.targets, targets)
        self.budget = budget
        self.agent, self.seed = agent, seed
        self.history: list[Progress] = []
        self.designs: list[Design] = []
        """Every design, in the order of the simulations."""
        self.best: Design | None = None
        """The best design so far by `score`."""
        self._owns_simulator = isinstance(backend, str)
        if isinstance(backend, str):
            self.simulator = make_simulator(backend, circuit, workers=workers, **(backend_options or {}))
        else:
            self.simulator = backend
        directory = log_dir() if log is True else log
        self._log = None if directory is False else SampleLog(directory)
        self._provenance: dict[str, str] | None = None
        self._started = time.perf_counter()

    @property
    def dimension(self) -> int:
        """Number of sizing parameters."""
        return len(self.circuit.parameters)

    @property
    def simulations(self) -> int:
        """Number of sizings simulated so far."""
        return len(self.history)

    @property
    def remaining(self) -> int | None:
        """Simulations left in the budget; None without one."""
        return None if self.budget is None else self.budget - self.simulations

    def evaluate(self, units: ArrayLike) -> list[Design]:
        """Simulate a batch, in order.

        :param units: (B, n) in [-1, 1]; values outside are clipped.
        :raises BudgetSpent: the budget does not cover the batch; it carries the designs that were evaluated.
        :raises SimulatorError: the infrastructure failed; everything that was answered has been logged.
        """
        batch = np.clip(np.atleast_2d(np.asarray(units, dtype=np.float64)), -1.0, 1.0)
        covered = batch if self.remaining is None else batch[: max(self.remaining, 0)]
        designs = self._simulate(covered) if len(covered) else []
        if len(covered) < len(batch):
            raise BudgetSpent(self.budget or 0, designs)
        return designs

    def judge(self, unit: FloatArray, sizing: Mapping[str, float], outcome: Outcome) -> Design:
        """The design that an outcome makes of a sizing, under this problem's targets."""
        if not outcome.success or outcome.metrics is None:
            return Design(unit, dict(sizing), outcome, {}, FAILURE_REWARD, False)
        margins = spec_margins(outcome.metrics, self.targets)
        total = reward(margins)
        cautious = total
        if outcome.uncertainty is not None:
            cautious = reward(spec_margins(_worse_ends(outcome.uncertainty), self.targets))
        return Design(unit, dict(sizing), outcome, margins, total, meets_all(margins), cautious)

    def close(self) -> None:
        """Close the log, and the simulator unless it was passed in as an object. Safe to call twice."""
        if self._log is not None:
            self._log.close()
        if self._owns_simulator:
            self.simulator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _simulate(self, units: FloatArray) -> list[Design]:
        # One point at a time, as the environments do it: numpy rounds differently with the length of an array.
        sizings = [self.circuit.sizing(self.circuit.from_unit(unit)) for unit in units]
        outcomes = self.simulator.simulate(sizings, errors="return")
        designs, lost = [], None
        for unit, sizing, outcome in zip(units, sizings, outcomes, strict=True):
            self._record(sizing, outcome)
            if outcome.status is Status.INFRASTRUCTURE_ERROR:
                lost = lost or outcome.error or SimulatorError(f"{self.simulator.name} failed without giving a reason")
                continue
            design = self.judge(unit, sizing, outcome)
            designs.append(design)
            self._count(design)
        if lost is not None:
            raise lost
        return designs

    def _count(self, design: Design) -> None:
        last = self.history[-1] if self.history else Progress(0, 0.0, -math.inf, False)
        if self.best is None or score(design) > score(self.best):
            self.best = design
        self.designs.append(design)
        seconds = time.perf_counter() - self._started
        self.history.append(
            Progress(self.simulations + 1, seconds, max(last.reward, design.reward), last.feasible or design.feasible)
        )

    def _record(self, sizing: Mapping[str, float], outcome: Outcome) -> None:
        if self._log is None:
            return
        if self._provenance is None:
            self._provenance = dict(self.simulator.provenance)
        context: dict[str, Any] = {"strategy": self.agent, "index": self.simulations, "seed": self.seed}
        if outcome.status is Status.INFRASTRUCTURE_ERROR:
            self._log.append_error(ErrorRecord.from_outcome(self.circuit, sizing, outcome, **context))
        else:
            self._log.append(Sample.from_outcome(self.circuit, sizing, outcome, provenance=self._provenance, **context))


def _worse_ends(intervals: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The less welcome end of every prediction interval, finite."""
    worse = {}
    for name, (low, high) in intervals.items():
        better = METRIC_BY_NAME[name].better
        end = low if better is Better.HIGH else high if better is Better.LOW else max(abs(low), abs(high))
        worse[name] = min(max(end, -1e30), 1e30)  # an interval that promises nothing is infinite
    return worse


_FAILING = -13.0
"""Every working sizing scores above this: at most eleven specs missed completely, and a doubt of at most one."""
_PENALTY = {
    Failure.GEOMETRY: 27.0,
    Failure.NO_CONVERGENCE: 24.0,
    Failure.OPERATING_POINT: 18.0,
    Failure.NO_GAIN: 15.0,
    Failure.UNSTABLE: 3.0,
    Failure.UNSETTLED: 1.0,
    Failure.UNPHYSICAL: 0.0,
    Failure.PREDICTED: 0.0,
}
"""How far each failure lies below the worst working sizing, before it is graded: earlier in the verdict is worse."""


def score(design: Design) -> float:
    """What an optimiser maximises: finite and graded everywhere, where the reward of the environments is flat.

    A working sizing scores its reward; one that a surrogate expects to work, the mean of the reward at its prediction
    and at the worse ends of its intervals, plus the logarithm of `p_valid` (at least -1). A failing one scores below
    every working one, by how badly it fails: the earlier the reason in the verdict the worse, then the output's error
    (V), the right-half-plane pole (decades of rad/s) or the static error; a predicted failure by `p_valid`.
    """
    outcome = design.outcome
    if outcome.success:
        doubt = 0.0 if outcome.p_valid is None else max(math.log(max(outcome.p_valid, 1e-12)), -1.0)
        return 0.5 * (design.reward + design.cautious) + doubt
    if outcome.failure is None:
        raise ValueError("an infrastructure error says nothing about a sizing: it cannot be scored")
    return _FAILING - _PENALTY[outcome.failure] - _severity(outcome)


def _severity(outcome: Outcome) -> float:
    """How badly a sizing fails among those with the same reason; within the gap to the next reason of `_PENALTY`."""
    raw = outcome.raw
    if outcome.failure is Failure.OPERATING_POINT:
        return min(max(raw.get("output_error") or 0.0, 0.0), 1.8) / 1.8 * 6.0
    if outcome.failure is Failure.NO_GAIN:
        return 2.0 * (1.0 - min(max(raw.get("dc_gain") or 0.0, 0.0), 100.0) / 100.0)
    if outcome.failure is Failure.UNSTABLE:
        return min(math.log10(1.0 + max(raw.get("max_pole_real") or 0.0, 0.0)), 10.0)
    if outcome.failure is Failure.UNSETTLED:
        return 2.0 * min(max(raw.get("static_error") or 0.0, 0.0), 1.0)
    if outcome.failure is Failure.PREDICTED:
        return 14.0 * (1.0 - (outcome.p_valid or 0.0))
    return 0.0


def distinct(designs: Iterable[Design], k: int, distance: float = 0.1) -> list[Design]:
    """The k best designs by `score`, no two of which are nearer than `distance` along every parameter.

    :param distance: in unit values; 0.1 is a twentieth of a parameter's range.
    """
    chosen: list[Design] = []
    for design in sorted(designs, key=score, reverse=True):
        if len(chosen) >= k:
            break
        if all(np.abs(design.unit - other.unit).max() >= distance for other in chosen):
            chosen.append(design)
    return chosen


def verify(
    designs: Iterable[Design], truth: Problem, k: int, *, every: bool = False, distance: float = 0.1
) -> list[Design]:
    """Up to k distinct designs as another backend sees them, best first; ends at the first feasible one.

    :param truth: usually of ngspice; its budget counts, and running out of it ends the verification.
    :param every: verify all k, in one batch. :param distance: see `distinct`.
    """
    candidates = distinct(designs, k, distance)
    verified: list[Design] = []
    try:
        if every and candidates:
            return truth.evaluate(np.array([design.unit for design in candidates]))
        for design in candidates:
            verified += truth.evaluate(design.unit)
            if verified[-1].feasible:
                break
    except BudgetSpent as spent:
        verified += spent.designs
    return verified


@dataclass(frozen=True)
class LogScale:
    """Positions in [0, 1]^n, logarithmic in every parameter, between the bounds that the transistor models cover.

    Actions are linear in W and L and reach outside the models on purpose; a search has no use for either.
    """

    circuit: Circuit
    low: FloatArray = field(repr=False)
    high: FloatArray = field(repr=False)

    @classmethod
    def of(cls, circuit: Circuit) -> Self:
        """The scale of a circuit."""
        low, high = (bound.copy() for bound in circuit.bounds)
        names = circuit.parameter_names
        for device in circuit.devices:
            for key, limits in zip("wl", SIZE_LIMITS.get(device.kind, ()), strict=False):
                name = str(device.values[key])
                if name in names:
                    i = names.index(name)
                    low[i], high[i] = max(low[i], limits[0]), min(high[i], limits[1])
        return cls(circuit, low, high)

    def values(self, positions: ArrayLike) -> FloatArray:
        """Declared units (..., n) at positions (..., n), clipped to [0, 1]; counts are not rounded."""
        clipped = np.clip(np.asarray(positions, dtype=np.float64), 0.0, 1.0)
        values: FloatArray = np.clip(self.low * (self.high / self.low) ** clipped, self.low, self.high)
        return values

    def units(self, positions: ArrayLike) -> FloatArray:
        """Unit values (..., n) at positions (..., n)."""
        return np.clip(self.circuit.to_unit(self.values(positions)), -1.0, 1.0)

    def positions(self, units: ArrayLike) -> FloatArray:
        """Positions (..., n) of unit values (..., n)."""
        values = np.clip(self.circuit.from_unit(units), self.low, self.high)
        positions: FloatArray = np.log(values / self.low) / np.log(self.high / self.low)
        return positions

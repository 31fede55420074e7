"""A sizing problem with a simulation budget: answers sizings, judges them by its specs, counts and logs.

    with Problem(load_circuit("nmcf"), budget=400) as problem:
        designs = problem.evaluate(np.random.default_rng(1).uniform(-1, 1, (20, problem.dimension)))
        best = max(designs, key=score)

A *unit* is a point in [-1, 1]^n, what an action of the environments holds (`Circuit.from_unit`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from zsgym.circuits import Circuit
from zsgym.errors import ConfigError, SimulatorError, ZsgymError
from zsgym.metrics import METRIC_BY_NAME, Better
from zsgym.outcome import Outcome, Status
from zsgym.paths import log_dir
from zsgym.samples import ErrorRecord, Sample, SampleLog
from zsgym.simulators import Simulator, make_simulator
from zsgym.sizing.score import score
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
    :param progress: show a bar of simulations on a terminal.
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
        progress: bool = False,
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
        name = f"sizing {circuit.name}"
        self._bar = tqdm(total=budget, unit="sim", desc=name, disable=None if progress else True)

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

    @property
    def solved(self) -> bool:
        """True when a design works and meets every spec."""
        return bool(self.history) and self.history[-1].feasible

    @property
    def finished(self) -> bool:
        """True when a design meets every spec, or the budget is spent."""
        return self.solved or self.remaining == 0

    @property
    def provenance(self) -> Mapping[str, str]:
        """What answered: see `Simulator.provenance`. Still there when the problem is closed, if anything was answered.

        :raises SimulatorMissingError: ngspice is missing. :raises PdkError: the SKY130 models are.
        """
        if self._provenance is None:
            self._provenance = dict(self.simulator.provenance)
        return self._provenance

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
        self._bar.close()
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
        self._bar.set_postfix(reward=f"{self.history[-1].reward:.4f}", refresh=False)
        self._bar.update()

    def _record(self, sizing: Mapping[str, float], outcome: Outcome) -> None:
        if self._log is None:
            return
        context: dict[str, Any] = {"strategy": self.agent, "index": self.simulations, "seed": self.seed}
        if outcome.status is Status.INFRASTRUCTURE_ERROR:
            self._log.append_error(ErrorRecord.from_outcome(self.circuit, sizing, outcome, **context))
        else:
            self._log.append(Sample.from_outcome(self.circuit, sizing, outcome, provenance=self.provenance, **context))


def _worse_ends(intervals: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The less welcome end of every prediction interval, finite."""
    worse = {}
    for name, (low, high) in intervals.items():
        better = METRIC_BY_NAME[name].better
        end = low if better is Better.HIGH else high if better is Better.LOW else max(abs(low), abs(high))
        worse[name] = min(max(end, -1e30), 1e30)  # an interval that promises nothing is infinite
    return worse

"""A sizing problem with a simulation budget: answers sizings, judges them by its specs, counts and logs.

    with Problem(load_circuit("nmcf"), budget=400) as problem:
        designs = problem.evaluate(np.random.default_rng(1).uniform(-1, 1, (20, problem.dimension)))
        best = max(designs, key=score)

A *point* is a vector in [-1, 1]^n, what an action of the environments holds (`Circuit.from_point`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsgym import evaluate
from zsgym.base.errors import PdkError, SimulatorMissingError
from zsgym.base.progress import ProgressBar
from zsgym.circuits import Circuit
from zsgym.classes import Conditions
from zsgym.classes.specs import FAILURE_REWARD, meets_all, reward
from zsgym.evaluate import Evaluator, LogPlace, error_of
from zsgym.simulators import Simulator, make_simulator
from zsgym.simulators.base import policy_name
from zsgym.simulators.outcome import Outcome
from zsgym.sizing.score import score, shortfall

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Design:
    """A sizing and what a simulator said about it.

    point: (n,) in [-1, 1]. sizing: declared units. outcome: the simulator's answer. margins: of every spec, empty where
    the sizing does not work. reward: as the environments give it. feasible: it works and meets every spec.
    cautious: the reward at the worse end of every prediction interval; the reward itself where there is no interval.
    shortfall: how far below zero a sizing that does not work scores (`zsgym.sizing.score`).
    """

    point: FloatArray
    sizing: dict[str, float]
    outcome: Outcome
    margins: dict[str, float]
    reward: float
    feasible: bool
    cautious: float = FAILURE_REWARD
    shortfall: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        outcome = self.outcome
        return {
            "backend": outcome.backend,
            "feasible": self.feasible,
            "reward": self.reward,
            "status": outcome.status.value,
            "failure": outcome.failure,
            "metrics": outcome.determined,
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


class BudgetSpent(evaluate.BudgetSpent):
    """The budget of a problem does not cover what was asked; what it covered has been evaluated and logged."""

    def __init__(self, budget: int, designs: Sequence[Design]) -> None:
        super().__init__(budget, [design.outcome for design in designs])
        self.designs = list(designs)


class Problem:
    """One circuit, its targets and one backend: answers points in batches, counts every simulation and logs it.

    :param backend: name of a backend, or a simulator (which stays open).
    :param targets: changes to the circuit's targets, metric -> SI value; None as a value drops a spec.
    :param conditions: under which every sizing is asked; None means the circuit's own.
    :param workers: parallel ngspice processes. :param executor: spreads sizings over its workers instead.
    :param log: write every sizing to a sample log: True for the default directory, or a directory.
    :param budget: number of simulations after which `evaluate` raises; None for no limit.
    :param backend_options: options of a backend given by its name.
    :param agent: recorded as the strategy of logged samples. :param seed: recorded with them.
    :param progress: show a bar of simulations on a terminal, a line now and then elsewhere.
    """

    def __init__(
        self,
        circuit: Circuit,
        *,
        backend: str | Simulator = "ngspice",
        targets: Mapping[str, float | None] | None = None,
        conditions: Conditions | None = None,
        workers: int = 1,
        executor: Executor | None = None,
        log: LogPlace = False,
        budget: int | None = None,
        backend_options: Mapping[str, Any] | None = None,
        agent: str | None = None,
        seed: int | None = None,
        progress: bool = False,
    ) -> None:
        self.targets = circuit.resolve_targets(targets)
        circuit = circuit.judged_by(self.targets)
        self.circuit = circuit
        """Asked for the optional metrics that its targets name."""
        self.conditions = circuit.conditions if conditions is None else conditions
        self.agent, self.seed = agent, seed
        self.history: list[Progress] = []
        self.designs: list[Design] = []
        """Every design, in the order of the simulations."""
        self.best: Design | None = None
        """The best design so far by `score`."""
        owned = isinstance(backend, str)
        if isinstance(backend, str):
            backend = make_simulator(backend, circuit, workers=workers, **(backend_options or {}))
        self.simulator = backend
        self._policy = circuit.policy(policy_name(backend, circuit))
        context = {"strategy": agent, "seed": seed}
        self._evaluator = Evaluator(
            backend, log=log, budget=budget, executor=executor, owns_simulator=owned, context=context
        )
        self._started = time.perf_counter()
        self._bar = ProgressBar(budget, f"sizing {circuit.name}", "sim", shown=progress)

    @property
    def dimension(self) -> int:
        """Number of sizing parameters."""
        return len(self.circuit.parameters)

    @property
    def simulations(self) -> int:
        """Number of sizings simulated so far."""
        return len(self.history)

    @property
    def budget(self) -> int | None:
        """Simulations in all; None without a limit."""
        return self._evaluator.budget

    @property
    def remaining(self) -> int | None:
        """Simulations left in the budget; None without one."""
        return self._evaluator.remaining

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
        return self._evaluator.provenance

    def evaluate(self, points: ArrayLike) -> list[Design]:
        """Simulate a batch, in order.

        :param points: (B, n) in [-1, 1]; values outside are clipped.
        :raises BudgetSpent: the budget does not cover the batch; it carries the designs that were evaluated.
        :raises SimulatorError: the infrastructure failed; everything that was answered has been logged.
        """
        batch = np.clip(np.atleast_2d(np.asarray(points, dtype=np.float64)), -1.0, 1.0)
        covered = batch if self.remaining is None else batch[: self.remaining]
        designs = self._simulate(covered) if len(covered) else []
        if len(covered) < len(batch):
            raise BudgetSpent(self.budget or 0, designs)
        return designs

    def design_of(self, point: FloatArray, sizing: Mapping[str, float], outcome: Outcome) -> Design:
        """The design that an outcome makes of a sizing, under this problem's targets."""
        if not outcome.success or outcome.metrics is None:
            below = 0.0 if outcome.failure is None else shortfall(self.circuit, self._policy, outcome)
            return Design(point, dict(sizing), outcome, {}, FAILURE_REWARD, False, shortfall=below)
        margins = self.circuit.metrics.margins(outcome.metrics, self.targets)
        total = reward(margins)
        cautious = total
        if outcome.uncertainty is not None:
            cautious = reward(self.circuit.metrics.margins(self._worse_ends(outcome.uncertainty), self.targets))
        return Design(point, dict(sizing), outcome, margins, total, meets_all(margins), cautious)

    def close(self) -> None:
        """Close the log, and the simulator unless it was passed in as an object. Safe to call twice."""
        self._bar.close()
        self._evaluator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _simulate(self, points: FloatArray) -> list[Design]:
        cases = self.circuit.cases(self.circuit.from_point(points), self.conditions)
        outcomes = self._evaluator.ask(cases, [self.targets] * len(cases), errors="return")
        self._evaluator.record(cases, outcomes, [{"index": self.simulations + row} for row in range(len(cases))])
        designs = [
            self.design_of(point, case.sizing, outcome)
            for point, case, outcome in zip(points, cases, outcomes, strict=True)
            if outcome.label is not None
        ]
        for design in designs:
            self._count(design)
        for outcome in outcomes:
            if outcome.label is None:
                raise error_of(outcome, self.simulator)
        _ = self.provenance  # asked for while the simulator is open, and kept
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
        self._bar.update(self._how_it_stands())

    def _how_it_stands(self) -> str:
        """The best reward so far, and which specs the best design misses."""
        if self.best is None or not self.best.outcome.success:
            return "no design works so far"
        missed = [name for name, margin in self.best.margins.items() if margin < 0.0]
        return f"best reward {self.best.reward:.4f}" + (f", misses {', '.join(missed)}" if missed else "")

    def _worse_ends(self, intervals: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        """The less welcome end of every prediction interval, finite; one that promises nothing is infinite."""
        ends = {name: self.circuit.metrics[name].worse_end(*interval) for name, interval in intervals.items()}
        return {name: min(max(end, -1e30), 1e30) for name, end in ends.items()}


def where_it_begins(names: Sequence[str], best: int, *, works: bool, solved: bool) -> str:
    """What a search says of the known-good sizings, of which `best` is the best one.

    :param works: whether that one works. :param solved: whether it meets every spec.
    """
    if not works:
        return f"of the known-good sizings none works ({', '.join(names)}): the search begins without one"
    if solved:
        return f"the known-good sizing {names[best]!r} meets every spec already"
    return f"the search begins at the known-good sizing {names[best]!r}"


def ngspice_or_prediction(
    circuit: Circuit,
    model: str,
    checkpoint: str | os.PathLike[str] | None,
    say: Callable[[str], None],
    ngspice: Mapping[str, Any],
    common: Mapping[str, Any],
) -> Problem:
    """What verifies the proposals of a model: ngspice; where it is missing, the model's own answer to the first one.

    :param model: name of the model's simulator. :param say: is told that nothing will be verified, and why.
    :param ngspice: arguments of a problem of ngspice. :param common: of either problem.
    """
    try:
        truth = Problem(circuit, **ngspice, **common)
        _ = truth.provenance  # asks ngspice whether it is there
    except (SimulatorMissingError, PdkError) as error:
        say(f"not verified, a prediction only: {error}")
        options = {"checkpoint": checkpoint} if checkpoint else None
        return Problem(circuit, backend=model, backend_options=options, budget=1, **common)
    return truth

"""Sizing by solving: a search on the circuit's own equations, whose best designs ngspice verifies.

A solved answer costs milliseconds and is nearly that of ngspice, so that a search needs no trained model and a handful
of simulations. What it asks for is a little more than the targets. Where a simulation misses a spec all the same, by
that much more is asked for from then on; where it finds a failure that the equations did not show, the search goes
elsewhere.

    solver = Solver(make_simulator("physics", circuit), truth)
    solve_and_verify(truth, solver, seed=1)
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zsgym.classes.specs import meets_all, reward
from zsgym.simulators import Simulator
from zsgym.sizing.loop import FIRST_WIDTH, START_WIDTH, MakeOptimiser
from zsgym.sizing.optimisers.cma_es import cma_es
from zsgym.sizing.problem import BudgetSpent, Design, Problem, where_it_begins
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score

FloatArray = NDArray[np.float64]

MOST_CALLS = 40_000
"""Solved sizings after which a search ends: a few minutes of one core."""
_CALLS_PER_ROUND = 6_000
"""Solved sizings after which the best one so far is simulated, although it meets not every spec."""
_FIRST_LOOK = 256
"""Random sizings among which a search from scratch finds its first one."""
_GUARD = 0.01
"""How much more than a target is asked for at first, as a share of it; in dB and degrees a share of one unit."""
_CLOSE = 0.05
"""Root mean square distance of logarithmic positions within which a sizing is taken to fail like its neighbour."""
_UNDECIDED = 40.0
"""How far below zero a sizing without an answer scores: below every other."""


class Solver:
    """Answers positions by the physics backend, and knows what ngspice has said against it.

    :param simulator: of the problem's circuit; closed by whoever made it. :param truth: the problem in ngspice.
    """

    def __init__(self, simulator: Simulator, truth: Problem) -> None:
        self.simulator, self.truth = simulator, truth
        self.scale = LogScale.of(truth.circuit)
        self.searched: Literal["physics"] = "physics"
        self.evaluations = 0
        """Sizings that were solved."""
        self.climb: list[tuple[int, float]] = []
        """Nothing: it promises no probability (`zsgym.sizing.belief.Belief`)."""
        self.undecided = 0
        """How many of them have no answer."""
        self.choices: list[tuple[int, float | None]] = []
        """(solved sizings, None) of every design at the time when it was simulated."""
        self.best: tuple[float, FloatArray] | None = None
        """Score and position of the best sizing since ngspice was asked last."""
        self.met = False
        """Whether it meets everything that is asked for."""
        self._guards = dict.fromkeys(truth.targets, _GUARD)
        self._failed: list[FloatArray] = []

    @property
    def aims(self) -> dict[str, float]:
        """What is asked for: the targets, and the guard of each."""
        metrics = self.truth.circuit.metrics
        return {
            name: _tightened(target, self._guards[name], metrics[name].unit, metrics[name].higher_is_better)
            for name, target in self.truth.targets.items()
        }

    def values(self, positions: FloatArray) -> FloatArray:
        """(B,) scores of positions in [0, 1]: see `zsgym.sizing.score`, with what is asked for as targets."""
        circuit = self.truth.circuit
        points = self.scale.points(positions)
        cases = circuit.cases(circuit.from_point(points), self.truth.conditions)
        outcomes = self.simulator.simulate(cases, errors="return")
        self.evaluations += len(cases)
        aims, found = self.aims, np.zeros(len(cases))
        for row, (case, outcome) in enumerate(zip(cases, outcomes, strict=True)):
            met = False
            if outcome.label is None:
                self.undecided += 1
                found[row] = -_UNDECIDED
            elif outcome.success and outcome.metrics is not None:
                margins = circuit.metrics.margins(outcome.metrics, aims)
                met = meets_all(margins)
                found[row] = reward(margins) - self._doubt(positions[row])
                met = met and found[row] > -0.5
            else:
                found[row] = score(self.truth.design_of(points[row], case.sizing, outcome))
            if self.best is None or found[row] > self.best[0]:
                self.best, self.met = (float(found[row]), positions[row]), met
        return found

    def verify(self, position: FloatArray) -> Design:
        """Simulate a position in ngspice, and learn from what it says.

        :raises BudgetSpent: the budget does not cover it.
        """
        (design,) = self.truth.evaluate(self.scale.points(position))
        self.choices.append((self.evaluations, None))
        self.best, self.met = None, False
        if not design.outcome.success:
            self._failed.append(position)
        for name, margin in design.margins.items():
            if margin < 0.0:
                metrics = self.truth.circuit.metrics
                assert design.outcome.metrics is not None
                short = _shortage(design.outcome.metrics[name], self.truth.targets[name], metrics[name].unit)
                self._guards[name] += min(1.5 * short, 0.5) if short < 1.0 else 0.0
        return design

    def _doubt(self, position: FloatArray) -> float:
        """How much a sizing loses by lying close to one that ngspice has found to fail."""
        near = (math.sqrt(float(np.mean((position - other) ** 2))) for other in self._failed)
        return sum(max(1.0 - distance / _CLOSE, 0.0) for distance in near)


def solve_and_verify(
    truth: Problem,
    solver: Solver,
    *,
    seed: int = 0,
    start: FloatArray | None = None,
    progress: Callable[[int], object] | None = None,
    most: int | None = None,
    make: MakeOptimiser | None = None,
    calls: int = MOST_CALLS,
) -> list[Design]:
    """Search on the equations, simulate what it finds, and go on with what that has taught, until a design is feasible.

    :param start: (n,) a position that works; None begins at the best of random ones. :param progress: is told how many
        sizings have been solved. :param most: simulations after which it ends, if the budget does not end before.
    :param make: the optimiser; None means CMA-ES. :param calls: solved sizings in all.
    :return: every simulated design in order.
    """
    make = make or cma_es()
    generator = np.random.default_rng(seed)
    width = START_WIDTH
    if start is None:
        start, width = _first_look(solver, generator), FIRST_WIDTH
    optimiser = make(truth.dimension, int(generator.integers(2**31)), start, width)
    spent = 0
    with contextlib.suppress(BudgetSpent):
        while not truth.finished and solver.evaluations < calls and (most is None or truth.simulations < most):
            positions = np.clip(optimiser.ask(), 0.0, 1.0)
            before = solver.evaluations
            optimiser.tell(positions, solver.values(positions))
            spent += solver.evaluations - before
            if progress is not None:
                progress(solver.evaluations)
            if not solver.met and spent < _CALLS_PER_ROUND:
                continue
            assert solver.best is not None
            best, met = solver.best[1], solver.met
            solver.verify(best)
            # Near what was nearly right if something was, else somewhere else.
            here = met and not any(best is other for other in solver._failed)
            where = best if here else _first_look(solver, generator)
            optimiser = make(
                truth.dimension, int(generator.integers(2**31)), where, START_WIDTH / 2 if here else FIRST_WIDTH
            )
            spent = 0
    if not truth.designs and solver.best is not None:
        with contextlib.suppress(BudgetSpent):
            solver.verify(solver.best[1])
    return truth.designs


def known_good_start(solver: Solver, say: Callable[[str], None]) -> FloatArray | None:
    """Position of the best of the circuit's known-good sizings by its equations; None where none of them works.

    One that meets every spec is simulated, and may end the search before it begins. :param say: is told which it is.
    """
    truth, circuit = solver.truth, solver.truth.circuit
    names, sizings = list(circuit.known_good), list(circuit.known_good.values())
    if not names:
        return None
    positions = solver.scale.positions(circuit.to_point(circuit.cases(sizings).vectors))
    values = solver.values(positions)
    best = int(values.argmax())
    works = bool(values[best] >= -len(circuit.metrics))
    if works and solver.met:
        solver.verify(positions[best])
    say(where_it_begins(names, best, works=works, solved=truth.solved))
    return np.asarray(positions[best]) if works else None


def _first_look(solver: Solver, generator: np.random.Generator) -> FloatArray:
    """The best of many random positions."""
    positions = generator.uniform(size=(_FIRST_LOOK, len(solver.scale.low)))
    return np.asarray(positions[int(solver.values(positions).argmax())])


def _tightened(target: float, guard: float, unit: str, higher: bool) -> float:
    step = guard * (1.0 if unit in ("dB", "deg") else abs(target))
    return target + step if higher else target - step if target > 0.0 else target


def _shortage(value: float, target: float, unit: str) -> float:
    """By how much a metric misses its target, in the measure of a guard."""
    return abs(abs(value) - abs(target)) / (1.0 if unit in ("dB", "deg") else max(abs(target), 1e-300))

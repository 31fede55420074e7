"""The two ways to size a circuit: search in a simulator, or propose with a surrogate, verify in ngspice, and learn.

All optimisers work on logarithmic positions in [0, 1]^n (see `LogScale`) and maximise. In a simulator they maximise the
graded `score`; with a surrogate, the logarithm of the believed probability of being feasible (`zsgym.sizing.belief`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from zsgym.sizing.belief import Belief
from zsgym.sizing.problem import BudgetSpent, Design, Problem
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score

FloatArray = NDArray[np.float64]

_SAME = 1e-3
"""Positions nearer than this along every parameter are the same design: simulating it again would tell nothing."""
_NUDGE = 0.02
FRESH_LOOK = 10
"""Every so many rounds the whole space is looked at again, with what was learnt: a dead end is left."""
FIRST_WIDTH, START_WIDTH, _LATER_WIDTH = 0.3, 0.1, 0.05
"""Initial step of an optimiser that knows nothing, of one that begins at a working design, and of one that refines what
a belief promises."""


class Optimiser(Protocol):
    """Asks for the values of positions and learns from them."""

    def ask(self) -> FloatArray:
        """(B, n) positions in [0, 1] whose values it wants to know."""
        ...

    def tell(self, positions: FloatArray, values: FloatArray) -> None:
        """The values (B,) of the positions that it asked for, all finite."""
        ...


class MakeOptimiser(Protocol):
    """Starts an optimiser."""

    def __call__(self, dimension: int, seed: int, start: FloatArray | None, width: float) -> Optimiser:
        """:param start: (n,) where to begin; None leaves it open. :param width: first step, in [0, 1]."""
        ...


class Propose(Protocol):
    """Finds what a belief holds for the best sizings."""

    def __call__(self, belief: Belief, simulated: Sequence[Design], k: int) -> FloatArray:
        """Up to k different positions, best first, with whole counts. `simulated` is what the belief learnt from."""
        ...


def search(problem: Problem, make: MakeOptimiser, seed: int, *, start: FloatArray | None = None) -> None:
    """Maximise the score on a problem until a design is feasible or the budget is spent.

    The result is `problem.best` and `problem.history`.

    :param start: (n,) a position that works, such as a known-good sizing; None looks everywhere.
    """
    scale = LogScale.of(problem.circuit)
    optimiser = make(problem.dimension, seed, start, FIRST_WIDTH if start is None else START_WIDTH)
    with contextlib.suppress(BudgetSpent):
        while not problem.finished:
            positions = optimiser.ask()
            designs = problem.evaluate(scale.points(positions))
            optimiser.tell(positions, np.array([score(design) for design in designs]))


def propose_and_verify(
    truth: Problem, belief: Belief, propose: Propose, *, k: int = 1, seed: int = 0, most: int | None = None
) -> list[Design]:
    """Rounds of: propose k designs, simulate them best first, correct the belief; until one is feasible.

    :param truth: of ngspice; its budget ends the rounds. :param most: so does this number of simulations, if any.
    :return: every simulated design in order.
    """
    generator = np.random.default_rng(seed)
    with contextlib.suppress(BudgetSpent):
        while not truth.finished and (most is None or truth.simulations < most):
            proposals = propose(belief, truth.designs, k)
            simulate_proposals(truth, belief, proposals, generator)
            belief.learn(truth.designs)
    return truth.designs


def simulate_proposals(truth: Problem, belief: Belief, positions: FloatArray, generator: np.random.Generator) -> None:
    """Simulate proposals in order, up to the first feasible one; the belief notes what it had promised of each.

    :param positions: (k, n). One that was simulated before is moved a little, by the generator.
    :raises BudgetSpent: the budget of `truth` ends before.
    """
    for position in positions:
        point = belief.scale.points(_new(position, truth.designs, belief.scale, generator))
        (design,) = truth.evaluate(point)
        belief.note_choice(design)
        if design.feasible:
            return


def proposer(make: MakeOptimiser, evaluations: int, seed: int) -> Propose:
    """Proposals of an optimiser that maximises the believed probability of being feasible.

    :param evaluations: of the surrogate in the first round; later rounds refine the best position with a quarter.
    """
    rounds = itertools.count()

    def propose(belief: Belief, simulated: Sequence[Design], k: int) -> FloatArray:
        start, count, width = None, evaluations, FIRST_WIDTH
        if next(rounds) % FRESH_LOOK and simulated:
            points = np.array([design.point for design in simulated])
            known = belief.scale.positions(points)
            start, count, width = known[np.argmax(_believed(belief, known))], evaluations // 4, _LATER_WIDTH
        optimiser = make(len(belief.scale.low), seed + len(simulated), start, width)
        positions, values = _maximise(belief, optimiser, count)
        return distinct_positions(positions, values, k)

    return propose


def _maximise(belief: Belief, optimiser: Optimiser, count: int) -> tuple[FloatArray, FloatArray]:
    """Every position that an optimiser looked at, with its value."""
    seen: list[FloatArray] = []
    worth: list[FloatArray] = []
    while sum(map(len, worth)) < count:
        asked = optimiser.ask()
        rounded = belief.rounded(torch.from_numpy(np.clip(asked, 0.0, 1.0))).numpy()
        values = _believed(belief, rounded)
        optimiser.tell(asked, values)
        seen.append(rounded)
        worth.append(values)
    return np.concatenate(seen), np.concatenate(worth)


def _believed(belief: Belief, positions: FloatArray) -> FloatArray:
    """(B,) log-probability of being feasible."""
    with torch.inference_mode():
        values: FloatArray = belief.log_feasibility(torch.from_numpy(positions)).numpy()
    return values


def distinct_positions(positions: FloatArray, values: FloatArray, k: int, distance: float = 0.05) -> FloatArray:
    """The k best positions, no two of which are nearer than `distance` along every parameter."""
    chosen: list[FloatArray] = []
    for row in np.argsort(-values):
        if len(chosen) >= k:
            break
        if all(np.abs(positions[row] - other).max() >= distance for other in chosen):
            chosen.append(positions[row])
    return np.array(chosen)


def _new(
    position: FloatArray, simulated: Sequence[Design], scale: LogScale, generator: np.random.Generator
) -> FloatArray:
    """The position, moved a little if it was simulated before."""
    while any(np.abs(scale.positions(design.point) - position).max() < _SAME for design in simulated):
        position = np.clip(position + _NUDGE * generator.standard_normal(position.shape), 0.0, 1.0)
    return position


Solve = Callable[[Problem, int], None]
"""An agent as benchmarks see it: works on a problem (of ngspice, with a budget) with a seed, until a design is feasible
or the budget is spent; the problem's history tells the rest."""

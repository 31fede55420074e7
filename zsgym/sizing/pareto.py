"""The front of two metrics on purpose: a sequence of searches, each for the most of one metric at a limit on the other.

Method of epsilon constraints (Y. Haimes et al., 1971). First a design is looked for that keeps the other specs. Then
come the two ends, each metric as good as it gets, and between them levels of the first metric, evenly spread on its
scale: the most of the second within each. Every search begins at the best design known for its level, whichever search
found it, and there are two passes, so that what a level finds serves its neighbours. The specs of the two metrics
themselves do not count; all others are kept, and what misses them scores by how far.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsgym.classes import MetricSet
from zsgym.sizing.loop import FIRST_WIDTH, START_WIDTH, MakeOptimiser
from zsgym.sizing.problem import BudgetSpent, Design, Problem
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score
from zsgym.sizing.tradeoff import Pair, value_text

FloatArray = NDArray[np.float64]

_LEVELS = 8
"""Searches of a pass: two ends, and levels between them."""
_WIDTHS = (START_WIDTH, START_WIDTH / 2.0)
"""First step of the searches of each pass."""


@dataclass(frozen=True)
class Goal:
    """What one search wants: the most of a metric within a limit on the other. None: nothing but the other specs."""

    wanted: str | None
    limit: tuple[str, float] | None = None

    def in_words(self, metrics: MetricSet) -> str:
        """Such as `gbw at power within 60 uW`."""
        if self.wanted is None:
            return "a design that keeps the other specs"
        at = f" with {self.limit[0]} at {value_text(metrics, *self.limit)} or better" if self.limit else ""
        return f"the best {self.wanted}{at}"


def trace(
    problem: Problem, pair: Pair, make: MakeOptimiser, seed: int, start: FloatArray | None, say: Callable[[str], None]
) -> None:
    """Search until the budget of the problem is spent; its designs hold the front.

    :param start: (n,) position where the first search begins; None looks everywhere.
    """
    sweep = _Sweep(problem, pair, make, seed)
    with contextlib.suppress(BudgetSpent):
        sweep.keep_the_others(start, say)
        if not sweep.kept:
            sweep.run(Goal(None), problem.remaining or 0, FIRST_WIDTH, None)
            return
        for number, (goal, share, width) in enumerate(sweep.goals(), start=1):
            say(f"search {number} of {2 * _LEVELS}: {goal.in_words(problem.circuit.metrics)}")
            sweep.run(goal, share, width)


class _Sweep:
    """The searches of one front."""

    def __init__(self, problem: Problem, pair: Pair, make: MakeOptimiser, seed: int) -> None:
        self._problem, self._pair, self._make = problem, pair, make
        self._metrics = problem.circuit.metrics
        self._scale = LogScale.of(problem.circuit)
        self._seeds = np.random.default_rng(seed)
        self._others = [name for name in problem.targets if name not in pair]

    @property
    def kept(self) -> list[Design]:
        """The designs so far that work, keep the other specs, and have a value in both metrics of the front."""
        kept = [design for design in self._problem.designs if self._missed(design) == 0.0]
        return [design for design in kept if (design.outcome.determined or {}).keys() >= set(self._pair)]

    def keep_the_others(self, start: FloatArray | None, say: Callable[[str], None]) -> None:
        """Look for a first design that keeps the other specs, with up to half of the budget."""
        if self.kept:
            return
        say(f"first {Goal(None).in_words(self._metrics)}")
        share = (self._problem.remaining or 0) // 2
        self.run(Goal(None), share, FIRST_WIDTH if start is None else START_WIDTH, start, until=lambda: bool(self.kept))

    def goals(self) -> Iterator[tuple[Goal, int, float]]:
        """Goal, simulations and first step of every search, in order; each as the ones before it have left things."""
        left = 2 * _LEVELS
        for width in _WIDTHS:
            for place in (0, _LEVELS - 1, *range(_LEVELS - 2, 0, -1)):
                share = (self._problem.remaining or 0) // left
                yield self._goal(place), max(share, 1), width
                left -= 1

    def run(
        self,
        goal: Goal,
        count: int,
        width: float,
        start: FloatArray | None = None,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """One search, of about `count` simulations.

        :param start: where it begins; None begins at the best design for the goal, if any works.
        :raises BudgetSpent: the budget of the problem ends before.
        """
        reference = self._reference(goal.wanted)
        working = [design for design in self._problem.designs if design.outcome.success]
        if start is None and working:
            best = max(working, key=lambda design: self._worth(design, goal, reference))
            start = self._scale.positions(best.point)
        optimiser = self._make(self._problem.dimension, int(self._seeds.integers(2**31)), start, width)
        end = self._problem.simulations + count
        while self._problem.simulations < end and not until():
            positions = optimiser.ask()
            designs = self._problem.evaluate(self._scale.points(positions))
            optimiser.tell(positions, np.array([self._worth(design, goal, reference) for design in designs]))

    def _goal(self, place: int) -> Goal:
        """The goal of a level: 0 is the best of the first metric, the last one the best of the second."""
        first, second = self._pair
        if place in (0, _LEVELS - 1):
            return Goal(first if place == 0 else second)
        metric = self._metrics[first]
        ends = [metric.magnitude(self._extreme(name)[first]) for name in self._pair]
        share = place / (_LEVELS - 1)
        if metric.scale.logarithmic and min(ends) > 0.0:
            return Goal(second, (first, ends[0] * (ends[1] / ends[0]) ** share))
        return Goal(second, (first, ends[0] + share * (ends[1] - ends[0])))

    def _extreme(self, name: str) -> dict[str, float]:
        """Metrics of the design that keeps the other specs and is best in one metric; of equal ones, in the other."""
        (other,) = (each for each in self._pair if each != name)
        rows = [design.outcome.determined or {} for design in self.kept]
        return max(rows, key=lambda row: (self._good(name, row[name]), self._good(other, row[other])))

    def _good(self, name: str, value: float) -> float:
        metric = self._metrics[name]
        return metric.magnitude(value) * (1.0 if metric.higher_is_better else -1.0)

    def _reference(self, wanted: str | None) -> float | None:
        """What the wanted metric is compared with, so that it counts in proportion."""
        kept = self.kept
        return None if wanted is None or not kept else (kept[0].outcome.metrics or {})[wanted]

    def _missed(self, design: Design) -> float:
        """At most 0: how far a design misses the other specs; minus infinity where it does not work."""
        if not design.outcome.success:
            return -np.inf
        return sum((min(design.margins[name], 0.0) for name in self._others), 0.0)

    def _worth(self, design: Design, goal: Goal, reference: float | None) -> float:
        """What a search maximises: at least 0 for a design within all limits, more for more of what is wanted."""
        metrics = design.outcome.metrics
        if metrics is None:
            return score(design)
        missed = self._missed(design)
        if goal.limit is not None:
            name, limit = goal.limit
            missed += min(self._metrics.margins(metrics, {name: limit})[name], 0.0)
        if missed < 0.0 or goal.wanted is None:
            return missed
        if reference is None:
            return 0.0
        return 1.0 + self._metrics.margins(metrics, {goal.wanted: reference})[goal.wanted]

"""One circuit of a comparison: its search, which is taken up again in every round that it takes part in."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.base.progress import ProgressBar
from zsgym.sizing.designs import search_history
from zsgym.sizing.loop import FIRST_WIDTH, START_WIDTH, Optimiser
from zsgym.sizing.methods import CMA_ES, METHODS
from zsgym.sizing.problem import Design, Problem
from zsgym.sizing.result import SizingResult
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score
from zsgym.sizing.tradeoff import Tradeoff

FloatArray = NDArray[np.float64]


def worth(design: Design) -> float:
    """The score of a design; one that meets every spec, its smallest margin: at least 0, and more is better."""
    return min(design.margins.values(), default=0.0) if design.feasible else score(design)


class Contender:
    """A circuit in a comparison.

    :param problem: of the circuit in ngspice, without a budget of its own. :param bar: that all circuits share.
    """

    def __init__(self, problem: Problem, seed: int, bar: ProgressBar) -> None:
        self.problem = problem
        self.name = problem.circuit.name
        self.rounds = 0
        self.seconds = 0.0
        """Wall time of its simulations."""
        self._seed, self._bar = seed, bar
        self._scale = LogScale.of(problem.circuit)
        self._start: FloatArray | None = None
        self._optimiser: Optimiser | None = None
        self._asked: FloatArray | None = None

    @property
    def designs(self) -> list[Design]:
        """Every simulated one, in order."""
        return self.problem.designs

    @property
    def best(self) -> Design:
        """The best design so far by `worth`; there must be one."""
        return max(self.designs, key=worth)

    @property
    def worth(self) -> float:
        """Of its best design; minus infinity without any."""
        return worth(self.best) if self.designs else -np.inf

    def look_at_known_good(self, most: int) -> None:
        """Simulate the circuit's known-good sizings, as far as the budget goes."""
        circuit = self.problem.circuit
        sizings = list(circuit.known_good.values())[:most]
        if sizings:
            self._evaluate(circuit.to_point(circuit.cases(sizings).vectors))

    def begin_at_best(self) -> None:
        """Let the search begin at the best design so far, if that works."""
        if self.designs and self.best.outcome.success:
            self._start = self._scale.positions(self.best.point)

    def search(self, count: int) -> None:
        """Go on with the search, for at most `count` simulations; a generation that does not fit waits."""
        self.rounds += 1
        if self._optimiser is None:
            make = METHODS[CMA_ES].optimiser
            assert make is not None
            width = FIRST_WIDTH if self._start is None else START_WIDTH
            self._optimiser = make()(self.problem.dimension, self._seed, self._start, width)
        while True:
            if self._asked is None:
                self._asked = self._optimiser.ask()
            if len(self._asked) > count:
                return
            designs = self._evaluate(self._scale.points(self._asked))
            self._optimiser.tell(self._asked, np.array([worth(design) for design in designs]))
            count, self._asked = count - len(designs), None

    def result(self, arguments: Mapping[str, Any]) -> SizingResult:
        """What came of it; there must be a design."""
        problem = self.problem
        return SizingResult(
            circuit=problem.circuit,
            targets=problem.targets,
            conditions=problem.conditions,
            method=CMA_ES,
            reason="circuits of a class are compared",
            designs=self.designs,
            best=self.best,
            verified=True,
            history=search_history(self.designs, None),
            seconds=self.seconds,
            arguments=arguments,
            provenance=problem.provenance,
            tradeoff=Tradeoff.of(problem.circuit, self.designs, problem.targets),
        )

    def _evaluate(self, points: FloatArray) -> list[Design]:
        with self._timed():
            designs = self.problem.evaluate(points)
        self._bar.update(f"{self.name}: best {self.worth:+.3f}", len(designs))
        return designs

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

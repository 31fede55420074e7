"""One way from specs to a design, from the first simulation to the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zsgym.base.progress import ProgressBar
from zsgym.base.quantities import counted
from zsgym.simulators import make_simulator
from zsgym.sizing.designs import search_history
from zsgym.sizing.methods import GRADIENT, METHODS, PHYSICS, Choice
from zsgym.sizing.problem import BudgetSpent, Design, Problem, where_it_begins
from zsgym.sizing.result import SizingResult
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score
from zsgym.sizing.tradeoff import Pair, Tradeoff

if TYPE_CHECKING:
    from zsgym.sizing.belief import Belief
    from zsgym.sizing.loop import MakeOptimiser
    from zsgym.sizing.solving import Solver


class Run:
    """One way from specs to a design.

    :param belief: that proposes; None where ngspice itself, or the circuit's equations, are searched.
    :param progress: show a bar while equations are solved.
    """

    def __init__(
        self,
        truth: Problem,
        belief: Belief | None,
        choice: Choice,
        seed: int,
        from_scratch: bool,
        say: Callable[[str], None],
        progress: bool = False,
    ) -> None:
        self._truth, self._belief, self._choice = truth, belief, choice
        self._progress = progress
        self._solver: Solver | None = None
        self._seed, self._from_scratch, self._say = seed, from_scratch, say
        self._went_on = False

    def work(self, pair: Pair | None) -> None:
        """Simulate until a design is feasible or the budget is spent; with a pair, until it is spent."""
        if pair is not None:
            from zsgym.sizing.pareto import trace

            trace(self._truth, pair, _maker(self._choice.method), self._seed, self._start(), self._say)
        elif self._choice.method == PHYSICS:
            self._solve()
        elif self._belief is None:
            self._search(self._choice.method, self._start())
        else:
            self._climb(self._belief)

    def result(self, arguments: Mapping[str, Any], pair: Pair | None) -> SizingResult:
        """What came of it."""
        truth, choice, best = self._truth, self._choice, self._truth.best
        assert best is not None
        verified = not best.outcome.predicted
        tradeoff = Tradeoff.of(truth.circuit, truth.designs, truth.targets, pair) if verified else None
        if pair is not None and tradeoff is not None and tradeoff.front is not None:
            best = truth.designs[tradeoff.front.in_the_middle(truth.circuit.metrics).simulation - 1]
        return SizingResult(
            circuit=truth.circuit,
            targets=truth.targets,
            conditions=truth.conditions,
            method=f"{choice.method}, then {choice.then}" if self._went_on else choice.method,
            reason=choice.reason,
            designs=truth.designs,
            best=best,
            verified=verified,
            # Where a search went on, only simulations count both ways.
            history=search_history(truth.designs, None if self._went_on else self._solver or self._belief),
            seconds=truth.history[-1].seconds,
            arguments=arguments,
            provenance=truth.provenance,
            tradeoff=tradeoff,
        )

    def leave(self) -> None:
        """After an interrupt: have something to show, where only equations were solved so far."""
        solver = self._solver
        if solver is not None and solver.best is not None and not self._truth.designs:
            solver.verify(solver.best[1])  # a tenth of a second

    def _solve(self) -> None:
        """Search the circuit's solved equations, and verify."""
        from zsgym.sizing.solving import Solver, known_good_start, solve_and_verify

        truth = self._truth
        self._solver = solver = Solver(make_simulator(PHYSICS, truth.circuit), truth)
        start = None if self._from_scratch else known_good_start(solver, self._say)
        most = METHODS[PHYSICS].budget if self._choice.then else None
        bar = ProgressBar(None, f"solving {truth.circuit.name}", "sizings", shown=self._progress)
        try:
            options: dict[str, Any] = {"progress": bar.reach, "most": most}
            solve_and_verify(truth, solver, seed=self._seed, start=start, **options)
        finally:
            bar.close()
        self._go_on(f"none of the {counted(truth.simulations, 'design')} that its equations promised")

    def _search(self, method: str, start: NDArray[np.float64] | None) -> None:
        """Search ngspice itself."""
        from zsgym.sizing.loop import search

        search(self._truth, _maker(method), self._seed, start=start)

    def _climb(self, belief: Belief) -> None:
        """Propose by the gradient of a belief, and verify; then search, where that is what was chosen."""
        from zsgym.sizing.loop import propose_and_verify
        from zsgym.sizing.optimisers.gradient import Ascent

        truth, choice = self._truth, self._choice
        most = METHODS[GRADIENT].budget if choice.then else None
        propose_and_verify(truth, belief, Ascent(self._seed), seed=self._seed, most=most)
        self._go_on(f"none of the {truth.simulations} proposals of the {choice.model.name if choice.model else ''}")

    def _go_on(self, nobody: str) -> None:
        """Search ngspice itself from the best design so far, where that is what was chosen, and none is feasible yet.

        :param nobody: who did not meet every spec, as the subject of a sentence.
        """
        truth, then = self._truth, self._choice.then
        if then is None or truth.finished or truth.best is None:
            return
        self._went_on = True
        left = counted(truth.remaining or 0, "simulation")
        self._say(f"{nobody} meets every spec: {METHODS[then].title} goes on, with {left} left")
        works = truth.best.outcome.success
        start = LogScale.of(truth.circuit).positions(truth.best.point) if works else self._start()
        self._search(then, start)

    def _start(self) -> NDArray[np.float64] | None:
        """Position of the best of the circuit's known-good sizings, which are simulated; None where none works."""
        if self._from_scratch:
            return None
        names, designs = simulate_known_good(self._truth)
        if not designs:
            return None
        best = max(range(len(designs)), key=lambda row: score(designs[row]))
        works = designs[best].outcome.success
        self._say(where_it_begins(names, best, works=works, solved=self._truth.solved))
        return LogScale.of(self._truth.circuit).positions(designs[best].point) if works else None


def _maker(method: str) -> MakeOptimiser:
    """What starts the optimiser of a method that searches ngspice."""
    make = METHODS[method].optimiser
    assert make is not None, f"{method} needs a model"
    return make()


def simulate_known_good(problem: Problem) -> tuple[list[str], list[Design]]:
    """Names of the circuit's known-good sizings, and what became of them, as far as the budget goes."""
    circuit = problem.circuit
    names, sizings = list(circuit.known_good), list(circuit.known_good.values())
    if not names:
        return [], []
    try:
        return names, problem.evaluate(circuit.to_point(circuit.cases(sizings).vectors))
    except BudgetSpent as spent:
        return names, spent.designs

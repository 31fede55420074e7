"""CMA-ES (N. Hansen and A. Ostermeier, 2001) on logarithmic sizes: the strongest agent that needs no surrogate.

The score is graded for sizings that do not work, which guides the search where the reward of the environments is flat.
A stalled search starts again elsewhere with twice the population (A. Auger and N. Hansen, CEC 2005).

    python agents/cma_es.py --env zsgym/NMCF-v0 --backend ngspice --budget 1500 --seed 1
    python agents/cma_es.py --env zsgym/NMCF-v0 --backend surrogate --seed 1      # SPICE only verifies
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents.command import Arguments, main, option
from zsgym.sizing.belief import Belief
from zsgym.sizing.loop import propose_and_verify, proposer
from zsgym.sizing.optimisers.cma_es import CmaEs, cma_es
from zsgym.sizing.problem import BudgetSpent, Problem
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score


@dataclass(frozen=True)
class CmaArguments(Arguments):
    """What the search is asked for."""

    BUDGETS: ClassVar[dict[str, int]] = {"ngspice": 1500, "surrogate": 6000, "physics": 20000}

    population: int = option(14, "candidates per generation; doubled at every restart")


def search_ngspice(problem: Problem, arguments: CmaArguments) -> None:
    """Ask, simulate, tell, until a design meets every spec or the budget is spent."""
    scale = LogScale.of(problem.circuit)
    optimiser = CmaEs(problem.dimension, arguments.seed, population=arguments.population)
    with suppress(BudgetSpent):
        while not problem.finished:
            positions = optimiser.ask()  # (B, n) in [0, 1], logarithmic between the bounds
            designs = problem.evaluate(scale.points(positions))
            optimiser.tell(positions, np.array([score(design) for design in designs]))


def search_surrogate(truth: Problem, belief: Belief, arguments: CmaArguments) -> None:
    """The same optimiser maximises what is believed; ngspice verifies the best, and the belief learns from it."""
    propose = proposer(cma_es(arguments.population), arguments.evaluations, arguments.seed)
    propose_and_verify(truth, belief, propose, k=arguments.verify, seed=arguments.seed)


if __name__ == "__main__":
    main(
        CmaArguments,
        "cma_es",
        __doc__,
        search_ngspice,
        search_surrogate,
        lambda arguments: cma_es(arguments.population),
    )

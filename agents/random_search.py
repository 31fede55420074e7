"""Random search with local refinement: the plainest agent that sizes an amplifier, and the floor for all others.

The first sizings are drawn at random; the rest perturbs the best one found so far, with a step width that grows after a
success and shrinks after a failure (the one-fifth rule of I. Rechenberg, 1973).

    python agents/random_search.py --env zsgym/NMCF-v0 --budget 400 --seed 1
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
from zsgym.sizing.optimisers.random_search import RandomSearch, random_search
from zsgym.sizing.problem import BudgetSpent, Problem
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score


@dataclass(frozen=True)
class RandomArguments(Arguments):
    """What the search is asked for."""

    BUDGETS: ClassVar[dict[str, int]] = {"ngspice": 400, "surrogate": 4000, "physics": 20000}

    explore: int = option(160, "independent random sizings before the refinement")


def search_ngspice(problem: Problem, arguments: RandomArguments) -> None:
    """Ask, simulate, tell, until a design meets every spec or the budget is spent."""
    scale = LogScale.of(problem.circuit)
    optimiser = RandomSearch(problem.dimension, arguments.seed, explore=arguments.explore)
    with suppress(BudgetSpent):
        while not problem.finished:
            positions = optimiser.ask()  # (B, n) in [0, 1], logarithmic between the bounds
            designs = problem.evaluate(scale.points(positions))
            optimiser.tell(positions, np.array([score(design) for design in designs]))


def search_surrogate(truth: Problem, belief: Belief, arguments: RandomArguments) -> None:
    """The same optimiser maximises what is believed; ngspice verifies the best, and the belief learns from it."""
    propose = proposer(random_search(arguments.explore), arguments.evaluations, arguments.seed)
    propose_and_verify(truth, belief, propose, k=arguments.verify, seed=arguments.seed)


if __name__ == "__main__":
    main(
        RandomArguments,
        "random_search",
        __doc__,
        search_ngspice,
        search_surrogate,
        lambda arguments: random_search(arguments.explore),
    )

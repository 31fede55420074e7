"""Tree-structured Parzen estimator (J. Bergstra et al., NeurIPS 2011) of Optuna, multivariate, on logarithmic sizes.

python agents/tpe.py --env zsgym/NMCF-v0 --backend ngspice --budget 800 --seed 1
python agents/tpe.py --env zsgym/NMCF-v0 --backend surrogate --seed 1         # SPICE only verifies
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
from zsgym.sizing.optimisers.tpe import Tpe, tpe
from zsgym.sizing.problem import BudgetSpent, Problem
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score


@dataclass(frozen=True)
class TpeArguments(Arguments):
    """What the search is asked for."""

    BUDGETS: ClassVar[dict[str, int]] = {"ngspice": 800, "surrogate": 1000, "physics": 3000}

    startup: int = option(100, "random sizings before the estimator is used")


def search_ngspice(problem: Problem, arguments: TpeArguments) -> None:
    """Ask, simulate, tell, until a design meets every spec or the budget is spent."""
    scale = LogScale.of(problem.circuit)
    optimiser = Tpe(problem.dimension, arguments.seed, startup=arguments.startup)
    with suppress(BudgetSpent):
        while not problem.finished:
            positions = optimiser.ask()  # (B, n) in [0, 1], logarithmic between the bounds
            designs = problem.evaluate(scale.points(positions))
            optimiser.tell(positions, np.array([score(design) for design in designs]))


def search_surrogate(truth: Problem, belief: Belief, arguments: TpeArguments) -> None:
    """The same optimiser maximises what is believed; ngspice verifies the best, and the belief learns from it."""
    propose = proposer(tpe(arguments.startup), arguments.evaluations, arguments.seed)
    propose_and_verify(truth, belief, propose, k=arguments.verify, seed=arguments.seed)


if __name__ == "__main__":
    main(TpeArguments, "tpe", __doc__, search_ngspice, search_surrogate, lambda arguments: tpe(arguments.startup))

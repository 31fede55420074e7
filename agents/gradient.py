"""Gradient ascent through the differentiable surrogate, verified in ngspice, and corrected by what ngspice says.

The surrogate is differentiable from the sizing to the probability that it is feasible, so that Adam climbs from many
starts at once. The best design is simulated. If it misses a spec, the belief is corrected there (see
`zsgym.sizing.belief`) and the climb goes on.

    python agents/gradient.py --env zsgym/NMCF-v0 --seed 1
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
from zsgym.sizing.loop import simulate_proposals
from zsgym.sizing.optimisers.gradient import Ascent
from zsgym.sizing.problem import BudgetSpent, Problem


@dataclass(frozen=True)
class GradientArguments(Arguments):
    """What the ascent is asked for."""

    BUDGETS: ClassVar[dict[str, int]] = {"surrogate": 7000}

    backend: str = option("surrogate", "simulator that is searched: it has to be differentiable")
    starts: int = option(32, "points that climb at the same time")
    learning_rate: float = option(0.03, "first step of Adam, as a fraction of a parameter's logarithmic range")


def climb_surrogate(truth: Problem, belief: Belief, arguments: GradientArguments) -> None:
    """Climb, simulate where the climbs end, learn, until a design meets every spec or the budget is spent."""
    ascent = Ascent(arguments.seed, arguments.evaluations, arguments.starts, arguments.learning_rate)
    generator = np.random.default_rng(arguments.seed)
    with suppress(BudgetSpent):
        while not truth.finished:
            # Adam on log P(feasible) = log p_valid + sum over specs of log P(spec is met).
            summits = ascent(belief, truth.designs, arguments.verify)
            simulate_proposals(truth, belief, summits, generator)
            belief.learn(truth.designs)  # a Gaussian process over what the surrogate got wrong


if __name__ == "__main__":
    main(GradientArguments, "gradient", __doc__, None, climb_surrogate)

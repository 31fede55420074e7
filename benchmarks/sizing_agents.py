"""The agents of the sizing benchmark. Adding one is adding a row to `AGENTS`.

Every agent is a function (problem, seed): the problem is one of ngspice with a budget, and its history is the result.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from surrogate.checkpoint import Checkpoint
from zsgym.envs.registration import env_id
from zsgym.sizing.belief import Belief
from zsgym.sizing.loop import MakeOptimiser, Propose, Solve, propose_and_verify, proposer, search
from zsgym.sizing.optimisers.cma_es import cma_es
from zsgym.sizing.optimisers.gradient import Ascent
from zsgym.sizing.optimisers.random_search import random_search
from zsgym.sizing.optimisers.tpe import tpe
from zsgym.sizing.problem import Problem


@dataclass(frozen=True)
class Agent:
    """surrogate: whether it uses one, and so owes its training data. make: from the checkpoint's path."""

    title: str
    surrogate: bool
    make: Callable[[str], Solve]


def on_ngspice(make: MakeOptimiser) -> Callable[[str], Solve]:
    """Search straight in ngspice."""

    def solve(truth: Problem, seed: int) -> None:
        search(truth, make, seed)

    return lambda checkpoint: solve


def on_surrogate(propose: Callable[[int], Propose]) -> Callable[[str], Solve]:
    """Propose with the surrogate, verify in ngspice.

    :param propose: from the seed.
    """

    def with_checkpoint(checkpoint: str) -> Solve:
        def solve(truth: Problem, seed: int) -> None:
            belief = Belief(Checkpoint.load(Path(checkpoint)), truth.circuit, truth.targets)
            propose_and_verify(truth, belief, propose(seed), seed=seed)

        return solve

    return with_checkpoint


_TRAININGS = 3


def ppo(checkpoint: str, **changes: Any) -> Solve:
    """PPO trains on the surrogate, and lets the problem verify until a design is confirmed.

    A training that ends without one is followed by another with other random draws, as long as there is budget, up to
    `_TRAININGS` in all.

    :param changes: of the arguments of `agents/ppo.py`.
    """
    from agents.ppo import Arguments, train  # Stable-Baselines3 takes seconds to import

    def solve(truth: Problem, seed: int) -> None:
        name = env_id(truth.circuit.name)
        asked = Arguments(env=name, stop=True, log=False, quiet=True, checkpoint=checkpoint, **changes)
        for again in range(_TRAININGS):
            with tempfile.TemporaryDirectory() as folder:
                verifier = train(replace(asked, seed=seed + 1000 * again), Path(folder), truth)
            if verifier.confirmed or truth.remaining == 0:
                break

    return solve


AGENTS: dict[str, Agent] = {
    "random": Agent("random search with refinement, ngspice", False, on_ngspice(random_search())),
    "tpe": Agent("TPE, ngspice", False, on_ngspice(tpe())),
    "cma_es": Agent("CMA-ES, ngspice", False, on_ngspice(cma_es())),
    "random+surrogate": Agent(
        "random search with refinement, surrogate",
        True,
        on_surrogate(lambda seed: proposer(random_search(), 4000, seed)),
    ),
    "tpe+surrogate": Agent("TPE, surrogate", True, on_surrogate(lambda seed: proposer(tpe(), 1000, seed))),
    "cma_es+surrogate": Agent("CMA-ES, surrogate", True, on_surrogate(lambda seed: proposer(cma_es(), 6000, seed))),
    "gradient": Agent("gradient, surrogate", True, on_surrogate(Ascent)),
    "ppo": Agent("PPO, surrogate", True, ppo),
}

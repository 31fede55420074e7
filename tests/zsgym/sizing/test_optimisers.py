"""Optimisers optimise, depend on their seed alone, and end where a search should end."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.sizing import loop
from zsgym.sizing.optimisers.cma_es import CmaEs, cma_es
from zsgym.sizing.optimisers.random_search import random_search
from zsgym.sizing.optimisers.tpe import tpe
from zsgym.sizing.problem import Problem

pytest.importorskip("optuna")

MAKERS = {"cma_es": cma_es(10), "tpe": tpe(20), "random_search": random_search(30)}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("start", [None, 0.3])
def test_optimisers_approach_an_optimum(name: str, start: float | None) -> None:
    def value(points: np.ndarray) -> np.ndarray:
        return -((points - 0.7) ** 2).sum(axis=1)

    begin = None if start is None else np.full(5, start)
    optimiser = MAKERS[name](5, 1, begin, 0.3)
    values: list[float] = []
    while len(values) < 150:
        asked = optimiser.ask()
        assert asked.min() >= 0.0 and asked.max() <= 1.0  # noqa: PT018
        optimiser.tell(asked, value(asked))
        values += value(asked).tolist()
    assert max(values[100:]) > max(values[:20]) > -5 * 0.7**2
    assert max(values) > -0.05


@pytest.mark.parametrize("name", MAKERS)
def test_a_search_depends_on_its_seed_alone_and_keeps_its_budget(name: str) -> None:
    never = {"dc_gain": 1e9}

    def run(seed: int) -> list[float]:
        with Problem(nmcf(), backend=FakeSimulator(nmcf()), budget=45, targets=never) as problem:
            loop.search(problem, MAKERS[name], seed)
            assert problem.simulations == 45
            return [step.reward for step in problem.history]

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize("name", MAKERS)
def test_a_search_ends_with_the_first_feasible_design(name: str) -> None:
    simulator = FakeSimulator(nmcf())
    with Problem(
        nmcf(), backend=simulator, budget=400, targets=dict.fromkeys(nmcf().targets) | {"gbw": 1e6}
    ) as problem:
        loop.search(problem, MAKERS[name], 3)
        assert problem.best is not None and problem.best.feasible  # noqa: PT018
        assert problem.simulations <= 400


def test_cma_es_starts_again_with_twice_the_population() -> None:
    optimiser = CmaEs(2, 1, None, 0.3, 4)
    sizes = []
    for _ in range(60):
        asked = optimiser.ask()
        sizes.append(len(asked))
        optimiser.tell(asked, np.zeros(len(asked)))  # flat: stalls at once
    assert sizes[0] == 4
    assert sizes == sorted(sizes)
    assert {8, 64} <= set(sizes) <= {4, 8, 16, 32, 64}, "at most sixteen times the first"


def test_a_restart_looks_elsewhere_also_after_a_narrow_start() -> None:
    optimiser = CmaEs(5, 1, np.full(5, 0.5), 0.01, 4)
    spreads = []
    for _ in range(60):
        asked = optimiser.ask()
        spreads.append(float(np.abs(asked - 0.5).max()))
        optimiser.tell(asked, np.zeros(len(asked)))  # flat: stalls at once
    assert spreads[0] < 0.1
    assert max(spreads) > 0.3

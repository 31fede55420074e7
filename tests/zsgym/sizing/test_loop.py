"""Proposals are verified until one holds, and what is written tells how they were found."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from surrogate.checkpoint import Checkpoint
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from tests.zsgym.sizing.smooth import ShiftedTruth
from zsgym.sizing import loop
from zsgym.sizing.belief import Belief
from zsgym.sizing.designs import write_designs
from zsgym.sizing.history import SearchHistory
from zsgym.sizing.optimisers.cma_es import cma_es
from zsgym.sizing.optimisers.gradient import Ascent
from zsgym.sizing.optimisers.random_search import random_search
from zsgym.sizing.problem import Problem

PROPOSERS: dict[str, Callable[[], loop.Propose]] = {
    "gradient": lambda: Ascent(1, budget=600, starts=6),
    "cma_es": lambda: loop.proposer(cma_es(10), 400, 1),
    "random_search": lambda: loop.proposer(random_search(30), 400, 1),
}


@pytest.mark.parametrize("name", PROPOSERS)
def test_a_surrogate_that_is_wrong_is_corrected_until_a_design_holds(name: str, checkpoint: Checkpoint) -> None:
    """The true offset is half a standard deviation above the predicted one: where the surrogate sees none, there is."""
    wanted = {"vos": 9e-5}
    belief = Belief(checkpoint, nmcf(), wanted)
    truth = ShiftedTruth(nmcf(), checkpoint, "vos", 0.5)
    with Problem(nmcf(), backend=truth, budget=12, targets=dict.fromkeys(nmcf().targets) | wanted) as problem:
        designs = loop.propose_and_verify(problem, belief, PROPOSERS[name]())
    assert not designs[0].feasible
    assert designs[-1].feasible, [round(design.reward, 4) for design in designs]


def test_no_design_is_simulated_twice_and_the_budget_is_kept(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), {"dc_gain": 1e3})
    truth = ShiftedTruth(nmcf(), checkpoint, "dc_gain", 0.0)
    with Problem(nmcf(), backend=truth, budget=7, targets={"dc_gain": 1e3}) as problem:
        designs = loop.propose_and_verify(problem, belief, PROPOSERS["gradient"](), k=2)
    assert len(designs) == 7
    assert len({tuple(design.sizing.values()) for design in designs}) == 7


@pytest.mark.parametrize("name", ["gradient", "cma_es", "random_search"])
def test_the_history_of_a_search_counts_evaluations_and_begins_anew_with_every_correction(
    name: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    belief = Belief(checkpoint, nmcf(), {"dc_gain": 118.0})
    truth = ShiftedTruth(nmcf(), checkpoint, "dc_gain", -9.0)
    with Problem(
        nmcf(), backend=truth, budget=5, targets=dict.fromkeys(nmcf().targets) | {"dc_gain": 118.0}
    ) as problem:
        loop.propose_and_verify(problem, belief, PROPOSERS[name]())
        write_designs(tmp_path / "designs.json", name, problem, belief, {})
    written = json.loads((tmp_path / "designs.json").read_text())
    rewards = [design["reward"] for design in written["designs"]]
    assert rewards == sorted(rewards, reverse=True)
    assert len(rewards) > 1
    history = SearchHistory.read(written["history"], "designs.json")
    assert [row.reward for row in history.simulations] == [design.reward for design in problem.designs]
    asked = [row.evaluations for row in history.simulations]
    assert asked == sorted(set(asked))
    assert belief.evaluations >= asked[-1] >= 400
    counts = [count for count, _ in history.believed]
    assert counts == sorted(counts)
    rounds = [
        [value for count, value in history.believed if low < count <= high] for low, high in pairwise([0, *asked])
    ]
    assert all(values == sorted(values) for values in rounds), "within a round the best can only rise"
    for row, values in zip(history.simulations, rounds, strict=True):
        assert row.belief is not None
        assert row.belief <= values[-1] * (1.0 + 1e-6)


def test_a_search_in_ngspice_counts_simulations(tmp_path: Path) -> None:
    with Problem(nmcf(), backend=FakeSimulator(nmcf()), budget=30, targets={"dc_gain": 1e9}) as problem:
        loop.search(problem, random_search(30), 1)
        write_designs(tmp_path / "new" / "designs.json", "random_search", problem, None, {})
    written = json.loads((tmp_path / "new" / "designs.json").read_text())
    assert [row["evaluations"] for row in written["history"]["simulations"]] == list(range(1, 31))
    assert written["history"]["believed"] == []
    working = [row["works"] for row in written["history"]["simulations"]]
    assert 0 < sum(working) < 30
    # The best come first, and those that do not work last.
    assert [design["status"] == "success" for design in written["designs"]] == sorted(working, reverse=True)
    assert problem.best is not None
    assert written["designs"][0]["sizing"] == problem.best.sizing

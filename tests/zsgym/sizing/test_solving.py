"""A search on solved equations: what it asks for, and what it makes of ngspice's answers. Both sides are fakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.circuits import Cases
from zsgym.simulators.base import Errors
from zsgym.simulators.outcome import Outcome, Status
from zsgym.sizing import solving
from zsgym.sizing.problem import Problem
from zsgym.sizing.solving import Solver, solve_and_verify

EASY = dict.fromkeys(nmcf().targets) | {"dc_gain": 115.0, "power": 8e-4}


class Biased(FakeSimulator):
    """The same answers with some metrics multiplied, or other outcomes."""

    def __init__(self, factors: Mapping[str, float] | None = None, status: Status | None = None) -> None:
        super().__init__(nmcf(), always_works=True)
        self.factors, self.status = dict(factors or {}), status

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        return [self.changed(outcome) for outcome in super().simulate(cases, errors=errors)]

    def changed(self, outcome: Outcome) -> Outcome:
        if self.status is not None:
            return Outcome(self.status, backend="fake")
        metrics = {name: value * self.factors.get(name, 1.0) for name, value in (outcome.metrics or {}).items()}
        return replace(outcome, metrics=metrics)


def problem(truth: FakeSimulator, budget: int = 20) -> Problem:
    targets: dict[str, Any] = EASY
    return Problem(nmcf(), backend=truth, targets=targets, budget=budget)


def test_what_is_solved_is_verified_once() -> None:
    truth = problem(Biased())
    solver = Solver(Biased(), truth)
    designs = solve_and_verify(truth, solver, seed=1)
    assert truth.solved
    assert len(designs) == len(solver.choices) == 1
    assert solver.choices[0][0] <= solver.evaluations
    assert solver.searched == "physics"


def test_a_little_more_than_the_target_is_asked_for() -> None:
    truth = problem(Biased())
    aims = Solver(Biased(), truth).aims
    assert aims["dc_gain"] == pytest.approx(115.01)
    assert aims["power"] == pytest.approx(0.99 * 8e-4)


def test_where_ngspice_misses_a_spec_more_is_asked_for() -> None:
    truth = problem(Biased({"power": 3.0}))
    solver = Solver(Biased(), truth)
    solve_and_verify(truth, solver, seed=1)
    assert truth.solved
    assert 1 < truth.simulations <= 5
    assert solver.aims["power"] < 0.9 * 8e-4
    assert solver.aims["dc_gain"] == pytest.approx(115.01)


def test_where_ngspice_finds_a_failure_the_search_goes_elsewhere() -> None:
    truth = problem(Biased(status=Status.CIRCUIT_FAILURE), budget=4)
    truth.design_of = lambda unit, sizing, outcome: _failing(truth, unit, sizing, outcome)  # type: ignore[method-assign]
    solver = Solver(Biased(), truth)
    designs = solve_and_verify(truth, solver, seed=1)
    assert len(designs) == 4
    positions = np.array([solver.scale.positions(design.point) for design in designs])
    distances = np.sqrt(((positions[:, None] - positions[None]) ** 2).mean(axis=-1))
    assert distances[np.triu_indices(4, 1)].min() > 0.02


def _failing(truth: Problem, unit: Any, sizing: Any, outcome: Outcome) -> Any:
    failed = replace(outcome, failure="unstable") if outcome.failure is None else outcome
    return Problem.design_of(truth, unit, sizing, failed)


def test_a_sizing_without_an_answer_scores_below_every_other() -> None:
    truth = problem(Biased())
    solver = Solver(Biased(status=Status.UNDECIDED), truth)
    values = solver.values(np.full((2, truth.dimension), 0.5))
    assert (values < -30.0).all()
    assert solver.undecided == solver.evaluations == 2


def test_a_search_ends_although_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solving, "_CALLS_PER_ROUND", 200)
    truth = Problem(nmcf(), backend=Biased(), targets=dict.fromkeys(nmcf().targets) | {"dc_gain": 1e6}, budget=20)
    solver = Solver(Biased(), truth)
    designs = solve_and_verify(truth, solver, seed=1, calls=600)
    assert not truth.solved
    assert 1 <= len(designs) <= 3, "the best of every round is simulated all the same"
    assert solver.evaluations < 1000

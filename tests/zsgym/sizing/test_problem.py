"""A sizing problem counts, logs and judges what it simulates; the score grades it; distinct and verify choose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf, nmcnr
from zsgym.base.errors import ConfigError, SimulatorCrashError
from zsgym.circuits import Cases, Circuit
from zsgym.circuits.geometry import inside_models
from zsgym.classes import Failure
from zsgym.classes.specs import FAILURE_REWARD, exactly
from zsgym.samples import read_errors, read_samples
from zsgym.simulators.base import Errors
from zsgym.simulators.outcome import Outcome, Status
from zsgym.sizing.designs import distinct, verify
from zsgym.sizing.named_problems import list_problems, load_problem
from zsgym.sizing.problem import BudgetSpent, Design, Problem
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score


def points(count: int, seed: int = 0, circuit: Circuit | None = None) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 1.0, (count, len((circuit or nmcf()).parameters)))


class Scripted(FakeSimulator):
    """Answers with given outcomes, in order."""

    def __init__(self, circuit: Circuit, outcomes: Sequence[Outcome]) -> None:
        super().__init__(circuit)
        self.outcomes = list(outcomes)

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        return [self.outcomes.pop(0) for _ in cases]


def success(**metrics: float) -> Outcome:
    good = {name: 2.0 * t if name in ("gbw", "slew_rate") else t for name, t in nmcf().targets.items()}
    return Outcome(Status.SUCCESS, metrics={**good, **metrics}, backend="fake")


def failure(reason: str, p_valid: float | None = None, **raw: float) -> Outcome:
    return Outcome(Status.CIRCUIT_FAILURE, reason, raw=raw, p_valid=p_valid, backend="fake")


def judged(outcome: Outcome) -> Design:
    with Problem(nmcf(), backend=FakeSimulator(nmcf())) as problem:
        return problem.design_of(np.zeros(problem.dimension), {}, outcome)


# --- problems -------------------------------------------------------------------------------------------------------


def test_every_simulation_counts_and_the_best_stays() -> None:
    simulator = FakeSimulator(nmcf())
    with Problem(nmcf(), backend=simulator) as problem:
        first, second = problem.evaluate(points(6)), problem.evaluate(points(3, seed=1))
        designs = [*first, *second]
        assert [step.simulations for step in problem.history] == list(range(1, 10))
        rewards = [step.reward for step in problem.history]
        assert rewards == list(np.maximum.accumulate([design.reward for design in designs]))
        assert problem.best is max(designs, key=score)
    assert [design.sizing for design in designs] == simulator.simulated
    assert simulator.closed == 0, "a simulator that was passed in stays open"


def test_a_design_holds_what_the_environment_would_say() -> None:
    [design] = Problem(nmcf(), backend=FakeSimulator(nmcf(), always_works=True)).evaluate(points(1))
    assert design.sizing == nmcf().sizing(nmcf().from_point(design.point))
    assert design.reward == pytest.approx(sum(min(margin, 0.0) for margin in design.margins.values()))
    assert design.feasible == (design.reward == 0.0)
    assert judged(failure(Failure.UNSTABLE)).reward == FAILURE_REWARD


def test_targets_decide_what_is_feasible() -> None:
    outcome = success(power=150e-6)
    with Problem(nmcf(), backend=Scripted(nmcf(), [outcome])) as problem:
        assert problem.evaluate(points(1))[0].feasible
    with Problem(nmcf(), backend=Scripted(nmcf(), [outcome]), targets={"power": 100e-6}) as problem:
        [design] = problem.evaluate(points(1))
        assert not design.feasible
        assert design.reward == pytest.approx(-50 / 250)


def test_the_budget_is_spent_to_the_last_simulation() -> None:
    with Problem(nmcf(), backend=FakeSimulator(nmcf()), budget=5) as problem:
        problem.evaluate(points(3))
        with pytest.raises(BudgetSpent) as spent:
            problem.evaluate(points(4))
        assert problem.simulations == 5
        assert len(spent.value.designs) == 2
        assert problem.remaining == 0
        with pytest.raises(BudgetSpent):
            problem.evaluate(points(1))
    with pytest.raises(ConfigError, match="at least one"):
        Problem(nmcf(), backend=FakeSimulator(nmcf()), budget=0)


def test_a_problem_is_finished_when_it_is_solved_or_its_budget_is_spent() -> None:
    answers = [success(dc_gain=1.0), success(), success(dc_gain=1.0)]
    with Problem(nmcf(), backend=Scripted(nmcf(), answers), budget=3) as problem:
        assert not problem.finished
        problem.evaluate(points(1))
        assert (problem.solved, problem.finished) == (False, False)
        problem.evaluate(points(1))
        assert (problem.solved, problem.finished) == (True, True)
    with Problem(nmcf(), backend=Scripted(nmcf(), answers[:1]), budget=1) as problem:
        problem.evaluate(points(1))
        assert (problem.solved, problem.finished) == (False, True)


def test_what_answered_is_known_after_closing() -> None:
    class Once(FakeSimulator):
        @property
        def provenance(self) -> Mapping[str, str]:
            assert not self.closed, "a closed simulator would start a process again"
            return {"fake": "2"}

    simulator = Once(nmcf())
    with Problem(nmcf(), backend=simulator) as problem:
        problem.evaluate(points(1))
    simulator.close()
    assert problem.provenance == {"fake": "2"}


def test_units_are_clipped_to_the_bounds() -> None:
    with Problem(nmcf(), backend=FakeSimulator(nmcf())) as problem:
        [design] = problem.evaluate(np.full(problem.dimension, 3.0))
    assert list(design.sizing.values()) == pytest.approx(list(nmcf().bounds[1]))
    assert design.point.max() == 1.0


def test_every_simulated_sizing_is_logged(tmp_path: Path) -> None:
    with Problem(nmcf(), backend=FakeSimulator(nmcf()), log=tmp_path, agent="cma_es", seed=7) as problem:
        designs = problem.evaluate(points(4))
    rows = list(read_samples(tmp_path))
    assert [dict(row.sizing) for row in rows] == [design.sizing for design in designs]
    assert {(row.strategy, row.seed) for row in rows} == {("cma_es", 7)}
    assert [row.index for row in rows] == [0, 1, 2, 3]
    assert [row.label for row in rows] == [design.outcome.label for design in designs]


def test_what_was_answered_before_a_crash_is_logged_and_counted(tmp_path: Path) -> None:
    lost = Outcome(Status.INFRASTRUCTURE_ERROR, backend="fake", error=SimulatorCrashError("killed"))
    simulator = Scripted(nmcf(), [success(), lost, failure(Failure.NO_GAIN)])
    with Problem(nmcf(), backend=simulator, log=tmp_path) as problem, pytest.raises(SimulatorCrashError):
        problem.evaluate(points(3))
    assert problem.simulations == 2
    assert [row.label for row in read_samples(tmp_path)] == [1, 0]
    assert [record.message for record in read_errors(tmp_path)] == ["killed"]


# --- score ----------------------------------------------------------------------------------------------------------


def test_the_score_of_a_simulated_sizing_is_its_reward() -> None:
    design = judged(success(dc_gain=100.0))
    assert score(design) == design.reward < 0.0


def worse_to_better() -> list[Outcome]:
    dreadful = {name: t * (1e6 if name in ("tc", "power", "vos", "settling_time") else 1e-6) for name, t in _targets()}
    return [
        failure(Failure.GEOMETRY),
        failure(Failure.NO_CONVERGENCE),
        failure(Failure.OPERATING_POINT, output_error=1.0),
        failure(Failure.OPERATING_POINT, output_error=0.06),
        failure(Failure.NO_GAIN, dc_gain=-20.0),
        failure(Failure.NO_GAIN, dc_gain=60.0),
        failure(Failure.UNSTABLE, max_pole_real=1e8),
        failure(Failure.UNSTABLE, max_pole_real=1e3),
        failure(Failure.UNSTABLE, max_pole_real=-5.0),
        failure(Failure.UNSETTLED, static_error=0.5),
        failure(Failure.UNSETTLED, static_error=0.02),
        success(**dreadful),
        success(dc_gain=10.0),
        success(dc_gain=129.0),
        success(),
    ]


def _targets() -> list[tuple[str, float]]:
    return list(nmcf().targets.items())


def test_the_score_orders_failures_by_how_badly_they_fail() -> None:
    scores = [score(judged(outcome)) for outcome in worse_to_better()]
    assert all(math.isfinite(value) for value in scores)
    assert all(worse < better for worse, better in pairwise(scores)), scores
    assert scores[-1] == 0.0


def test_a_failure_without_measurements_is_scored_too() -> None:
    for reason in (*nmcf().circuit_class.reasons, Failure.PREDICTED):
        assert score(judged(failure(reason))) < -11.0 - 1.0


def test_the_score_of_a_prediction_grows_with_validity_and_with_margin() -> None:
    doubtful, likely = (score(judged(failure(Failure.PREDICTED, p_valid=p))) for p in (0.01, 0.4))
    assert doubtful < likely < -12.0
    metrics = dict(success().metrics or {})
    wide = {name: (value - abs(value), value + abs(value)) for name, value in metrics.items()}
    narrow = {name: (0.99 * value, 1.01 * value) for name, value in metrics.items()}

    def predicted(p_valid: float, intervals: Mapping[str, tuple[float, float]]) -> float:
        return score(
            judged(Outcome(Status.SUCCESS, metrics=metrics, p_valid=p_valid, uncertainty=intervals, backend="fake"))
        )

    assert likely < predicted(0.5, wide) < predicted(0.99, wide) < predicted(0.99, narrow) < 0.0


def test_an_infrastructure_error_has_no_score() -> None:
    error = Outcome(Status.INFRASTRUCTURE_ERROR, error=SimulatorCrashError("killed"))
    with pytest.raises(ValueError, match="cannot be scored"):
        score(Design(np.zeros(3), {}, error, {}, FAILURE_REWARD, False))


# --- choosing -------------------------------------------------------------------------------------------------------


def test_distinct_takes_the_best_of_every_neighbourhood() -> None:
    with Problem(nmcf(), backend=FakeSimulator(nmcf(), always_works=True)) as problem:
        centres = points(3)
        designs = problem.evaluate(np.concatenate([centres, centres + 0.01, centres - 0.02]))
    chosen = distinct(designs, 9)
    assert len(chosen) == 3
    assert [score(design) for design in chosen] == sorted((score(design) for design in chosen), reverse=True)
    assert chosen[0] is max(designs, key=score)
    assert distinct(designs, 2) == chosen[:2]


def test_verify_ends_at_the_first_feasible_design_unless_told_otherwise() -> None:
    with Problem(nmcf(), backend=FakeSimulator(nmcf())) as model:
        candidates = model.evaluate(points(12))
    answers = [success(dc_gain=1.0), success(), success(), failure(Failure.UNSTABLE)]
    with Problem(nmcf(), backend=Scripted(nmcf(), answers)) as truth:
        verified = verify(candidates, truth, 4)
        assert [design.feasible for design in verified] == [False, True]
    with Problem(nmcf(), backend=Scripted(nmcf(), answers)) as truth:
        verified = verify(candidates, truth, 4, every=True)
        assert [design.feasible for design in verified] == [False, True, True, False]
    assert np.array_equal(verified[0].point, distinct(candidates, 1)[0].point), "the best comes first"


def test_verify_returns_what_the_budget_allows() -> None:
    with Problem(nmcf(), backend=FakeSimulator(nmcf())) as model:
        candidates = model.evaluate(points(8))
    never = {"dc_gain": 1e9}
    for every in (False, True):
        with Problem(nmcf(), backend=FakeSimulator(nmcf()), budget=3, targets=never) as truth:
            assert len(verify(candidates, truth, 5, every=every)) == 3


# --- scale ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("circuit", [nmcf(), nmcnr()], ids=lambda circuit: circuit.name)
def test_positions_cover_the_models_and_come_back(circuit: Circuit) -> None:
    scale = LogScale.of(circuit)
    drawn = np.random.default_rng(0).uniform(size=(50, len(circuit.parameters)))
    corners = np.round(drawn)
    values = circuit.from_point(scale.points(np.concatenate([drawn, corners])))
    assert inside_models(circuit, values).all()
    real = [not parameter.integer for parameter in circuit.parameters]
    assert scale.positions(scale.points(drawn))[:, real] == pytest.approx(drawn[:, real], abs=1e-9)
    middle = scale.values(np.full(len(circuit.parameters), 0.5))
    assert middle == pytest.approx(np.sqrt(scale.low * scale.high)), "logarithmic"


# --- named problems -------------------------------------------------------------------------------------------------


def test_named_problems_change_the_targets_of_their_circuit() -> None:
    assert {"nmcf", "nmcnr", "nmcf-hard"} <= set(list_problems())
    circuit, targets, _ = load_problem("nmcf-hard")
    assert circuit.name == "nmcf"
    assert (targets["power"], targets["settling_time"], targets["gbw"]) == (60e-6, 2e-6, 1.5e6)
    assert targets["dc_gain"] == circuit.targets["dc_gain"]
    assert load_problem("nmcnr")[1] == dict(nmcnr().targets)


def test_a_problem_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("title: mine\ncircuit: nmcf\ntargets: {power: 50e-6, psrr_n: null}\n")
    _, targets, title = load_problem(str(file))
    assert (title, targets["power"]) == ("mine", 50e-6)
    assert "psrr_n" not in targets
    with Problem(nmcf(), backend=FakeSimulator(nmcf()), targets=exactly(nmcf().targets, targets)) as problem:
        assert problem.targets == targets
    file.write_text("title: mine\ncircuit: nmcf\ntargets: {pwr: 50e-6}\n")
    with pytest.raises(ConfigError, match="pwr"):
        load_problem(str(file))
    with pytest.raises(ConfigError, match=r"Did you mean 'nmcf-hard'\?"):
        load_problem("nmcf-hrd")

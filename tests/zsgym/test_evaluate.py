"""The one way in which a simulator is asked: order, checks, budgets, rows, and workers of any executor."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeSimulator

from tests.surrogate.synthetic import nmcf, sizings
from zsgym.base.errors import (
    ConfigError,
    SampleLogError,
    SimulatorCrashError,
    SimulatorError,
    SimulatorMissingError,
    SimulatorOutputError,
)
from zsgym.circuits import Cases
from zsgym.evaluate import BudgetSpent, Evaluator
from zsgym.samples import SampleLog, read_errors, read_samples
from zsgym.simulators import make_simulator
from zsgym.simulators.outcome import Outcome, Status

MANY = sizings(nmcf(), 30)


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        yield pool


def cases(count: int = len(MANY)) -> Cases:
    return nmcf().cases(MANY[:count])


def content(outcomes: Sequence[Outcome]) -> list[Any]:
    """Everything but the time that it took."""
    return [replace(outcome, elapsed_s=0.0) for outcome in outcomes]


class Mortal(FakeSimulator):
    """Asked about one sizing, the process that it lives in dies, unless it is the one in which it was made."""

    def __init__(self, *, at: int) -> None:
        super().__init__(nmcf())
        self.fatal, self.home = MANY[at], os.getpid()

    def simulate(self, cases: Cases, **options: Any) -> list[Outcome]:
        if self.fatal in cases.sizings and os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().simulate(cases, **options)


class Losing(FakeSimulator):
    """Some sizings are lost in the first calls; `error` says why."""

    def __init__(self, lost: Sequence[int], calls: int, error: SimulatorError) -> None:
        super().__init__(nmcf())
        self.lost, self.last, self.error = [MANY[position] for position in lost], calls, error

    def simulate(self, cases: Cases, **options: Any) -> list[Outcome]:
        outcomes = super().simulate(cases, **options)
        if self.calls > self.last:
            return outcomes
        failed = Outcome(Status.INFRASTRUCTURE_ERROR, backend=self.name, error=self.error)
        return [failed if case.sizing in self.lost else o for case, o in zip(cases, outcomes, strict=True)]


# --- executors ------------------------------------------------------------------------------------------------------


def test_workers_of_an_executor_answer_as_the_simulator_does(pool: Executor, tmp_path: Path) -> None:
    local = Evaluator(FakeSimulator(nmcf())).evaluate(cases())
    simulator = FakeSimulator(nmcf())
    with Evaluator(simulator, log=tmp_path, executor=pool) as evaluator:
        found = evaluator.evaluate(cases())
        assert content(found) == content(local)
        assert (evaluator.count, simulator.calls) == (30, 0), "others have simulated"
        assert evaluator.evaluate(nmcf().cases([])) == []
    assert [row.sizing for row in read_samples(tmp_path)] == MANY


def test_threads_are_workers_too() -> None:
    with ThreadPoolExecutor(2) as threads:
        found = Evaluator(FakeSimulator(nmcf()), executor=threads).evaluate(cases())
    assert content(found) == content(Evaluator(FakeSimulator(nmcf())).evaluate(cases()))


@pytest.mark.ngspice
def test_ngspice_in_the_workers_of_an_executor(pool: Executor) -> None:
    asked = nmcf().cases([nmcf().known_good["robust"], *MANY[:9]])
    with Evaluator(make_simulator("ngspice", nmcf())) as evaluator:
        expected = evaluator.evaluate(asked)
    with Evaluator(make_simulator("ngspice", nmcf()), executor=pool) as evaluator:
        assert content(evaluator.evaluate(asked)) == content(expected)


def test_a_worker_that_dies_is_an_error_of_the_infrastructure_and_never_a_label(tmp_path: Path) -> None:
    with (
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as broken,
        Evaluator(Mortal(at=20), log=tmp_path, executor=broken) as evaluator,
    ):
        outcomes = evaluator.ask(cases(), errors="return", attempts=2)
        lost = [row for row, outcome in enumerate(outcomes) if outcome.label is None]
        assert 20 in lost, "and with it what else the pool had not answered yet"
        assert all(outcomes[row].status is Status.INFRASTRUCTURE_ERROR for row in lost)
        assert "BrokenProcessPool" in str(outcomes[20].error)
        assert evaluator.count == len(MANY) - len(lost)
        evaluator.record(cases(), outcomes)
        with pytest.raises(SimulatorError, match="a worker of the executor failed: BrokenProcessPool"):
            evaluator.evaluate(cases(3))
    rows = list(read_samples(tmp_path))
    assert [row.sizing for row in rows] == [sizing for row, sizing in enumerate(MANY) if row not in lost]
    assert [record.sizing for record in read_errors(tmp_path)] == [MANY[row] for row in lost]


def test_an_error_in_a_worker_is_the_callers_where_it_is_a_mistake(pool: Executor) -> None:
    class Fussy(FakeSimulator):
        def __init__(self) -> None:
            super().__init__(nmcf())

        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return _refusing, ()

    with pytest.raises(ConfigError, match="no such thing"):
        Evaluator(Fussy(), executor=pool).evaluate(cases(3))


def _refusing() -> FakeSimulator:
    raise ConfigError("no such thing")


class Aware(FakeSimulator):
    """Knows the specs of each case, and fails where there are none."""

    def simulate_for(self, targets: Sequence[Mapping[str, float]], cases: Cases, **options: Any) -> list[Outcome]:
        assert len(targets) == len(cases)
        outcomes = super().simulate(cases, **options)
        return [replace(o, backend=f"{sorted(specs)}") for o, specs in zip(outcomes, targets, strict=True)]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_targets_reach_a_simulator_that_wants_them(pool: Executor, elsewhere: bool) -> None:
    targets = [{"gbw": 1e6}, {"power": 1e-3}] * 10
    evaluator = Evaluator(Aware(nmcf()), executor=pool if elsewhere else None)
    found = evaluator.ask(cases(20), targets)
    assert [outcome.backend for outcome in found] == ["['gbw']", "['power']"] * 10
    assert {outcome.backend for outcome in evaluator.ask(cases(20))} == {"fake"}


# --- what is not answered -------------------------------------------------------------------------------------------


def test_only_what_was_lost_is_asked_again(tmp_path: Path) -> None:
    simulator = Losing([1, 3], calls=1, error=SimulatorCrashError("killed"))
    with Evaluator(simulator, log=tmp_path) as evaluator:
        outcomes = evaluator.evaluate(cases(5), attempts=2)
    assert [outcome.label is None for outcome in outcomes] == [False] * 5
    assert simulator.batch_sizes == [5, 2]
    assert content(outcomes) == content(FakeSimulator(nmcf()).simulate(cases(5)))
    assert list(read_errors(tmp_path)) == []


def test_nobody_is_asked_again_where_there_is_no_simulator() -> None:
    simulator = Losing([1], calls=9, error=SimulatorMissingError("no ngspice"))
    assert Evaluator(simulator).ask(cases(3), attempts=5, errors="return")[1].label is None
    assert simulator.calls == 1


def test_what_was_answered_is_logged_before_an_error_is_raised(tmp_path: Path) -> None:
    simulator = Losing([1], calls=9, error=SimulatorCrashError("killed by signal 9"))
    with Evaluator(simulator, log=tmp_path, context={"env_id": "x"}) as evaluator:
        with pytest.raises(SimulatorCrashError, match="killed by signal 9"):
            evaluator.evaluate(cases(3), [{"index": index} for index in range(3)])
        assert evaluator.count == 2
        outcomes = evaluator.evaluate(cases(3), attempts=2)
        assert [outcome.label is None for outcome in outcomes] == [False, True, False]
    assert [(row.index, row.env_id) for row in read_samples(tmp_path)][:2] == [(0, "x"), (2, "x")]
    errors = list(read_errors(tmp_path))
    assert [(error.index, error.error, error.message) for error in errors] == [
        (1, "SimulatorCrashError", "killed by signal 9"),
        (None, "SimulatorCrashError", "killed by signal 9"),
    ]


def test_without_a_single_answer_one_error_says_everything(tmp_path: Path) -> None:
    with (
        Evaluator(FakeSimulator(nmcf(), raise_at={1, 2}), log=tmp_path) as evaluator,
        pytest.raises(SimulatorCrashError),
    ):
        evaluator.evaluate(cases(4), attempts=2)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_errors_are_recorded_beside_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Losing([0, 2], calls=9, error=SimulatorCrashError("killed"))
    with Evaluator(simulator, log=tmp_path) as evaluator:
        outcomes = evaluator.ask(cases(3), errors="return")
        contexts: list[dict[str, Any]] = [{"seed": seed, "reward": -1.0} for seed in range(3)]
        evaluator.record_errors(cases(3), outcomes, SimulatorCrashError("told"), contexts)
        assert [error.seed for error in read_errors(tmp_path)] == [0, 2]
        assert list(read_samples(tmp_path)) == []

        def full(self: SampleLog, record: Any) -> None:
            raise SampleLogError("disk full")

        monkeypatch.setattr(SampleLog, "append_error", full)
        told = SimulatorCrashError("told")
        evaluator.record_errors(cases(3), outcomes, told)
        assert told.__notes__ == ["It could not be written to the sample log either: disk full"]


# --- what a simulator owes ------------------------------------------------------------------------------------------


def test_an_answer_that_breaks_the_contract_stops_here() -> None:
    class Short(FakeSimulator):
        def simulate(self, cases: Cases, **options: Any) -> list[Outcome]:
            return super().simulate(cases, **options)[1:]

    with pytest.raises(SimulatorOutputError, match="fake gave 2 outcomes for 3 cases"):
        Evaluator(Short(nmcf())).ask(cases(3))


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_success_without_a_number_is_the_simulators_mistake(value: float | None) -> None:
    class Careless(FakeSimulator):
        def simulate(self, cases: Cases, **options: Any) -> list[Outcome]:
            outcomes = super().simulate(cases, **options)
            metrics = {k: v for k, v in (outcomes[0].metrics or {}).items() if k != "gbw"}
            return [replace(outcomes[0], metrics=metrics if value is None else {**metrics, "gbw": value})]

    with pytest.raises(SimulatorOutputError, match="fake reported a success without finite gbw"):
        Evaluator(Careless(nmcf(), always_works=True)).ask(cases(1))


# --- budget, rows, closing ------------------------------------------------------------------------------------------


def test_a_budget_covers_cases_and_not_what_was_lost(tmp_path: Path) -> None:
    simulator = Losing([1], calls=1, error=SimulatorCrashError("killed"))
    with Evaluator(simulator, log=tmp_path, budget=10) as evaluator:
        assert evaluator.remaining == 10
        evaluator.ask(cases(4), errors="return")
        assert (evaluator.count, evaluator.remaining) == (3, 7)
        evaluator.evaluate(cases(5))
        assert evaluator.remaining == 2
        with pytest.raises(BudgetSpent, match="the budget of 10 simulations is spent") as spent:
            evaluator.evaluate(cases(6))
        assert content(spent.value.outcomes) == content(FakeSimulator(nmcf()).simulate(cases(2)))
        with pytest.raises(BudgetSpent) as spent:
            evaluator.evaluate(cases(1))
        assert spent.value.outcomes == []
        assert evaluator.remaining == 0
    assert len(list(read_samples(tmp_path))) == 7
    assert simulator.batch_sizes == [4, 5, 2]
    with pytest.raises(ConfigError, match="at least one simulation, got 0"):
        Evaluator(simulator, budget=0)


def test_a_row_holds_what_is_common_and_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSGYM_LOG_DIR", str(tmp_path / "default"))
    simulator = FakeSimulator(nmcf())
    simulator.policy = nmcf().policy("measured")  # type: ignore[attr-defined]
    with Evaluator(simulator, log=True, context={"strategy": "uniform", "seed": 3}) as evaluator:
        outcomes = evaluator.ask(cases(2))
        stored = evaluator.record(cases(2), outcomes, [{"index": 0}, {"index": 1, "seed": 4}])
    rows = list(read_samples(tmp_path / "default"))
    assert rows == stored
    assert [(row.strategy, row.seed, row.index) for row in rows] == [("uniform", 3, 0), ("uniform", 4, 1)]
    assert [row.policy for row in rows] == ["measured"] * 2
    assert rows[0].provenance == {"fake": "1"}
    assert Evaluator(simulator, log=False).record(cases(2), outcomes) == [None, None]


@pytest.mark.parametrize("place", ["", 1, None, ["samples"]])
def test_a_log_needs_a_place(place: Any) -> None:
    with pytest.raises(ConfigError, match="log must be True, False or a directory"):
        Evaluator(FakeSimulator(nmcf()), log=place)


@pytest.mark.parametrize("owned", [True, False])
def test_a_simulator_is_closed_by_its_owner(owned: bool) -> None:
    simulator = FakeSimulator(nmcf())
    with Evaluator(simulator, owns_simulator=owned):
        pass
    assert simulator.closed == int(owned)

"""What every simulator owes its callers, tried on each of them. A new backend joins by an entry in SIMULATORS."""

import copy
import math
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import FakeSimulator, ask

from surrogate.checkpoint import shipped
from surrogate.simulator import SurrogateSimulator
from tests.chosen import ALWAYS, one_of_each_class
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes import Failure
from zsgym.classes.amplifier import AMPLIFIER, METRICS
from zsgym.simulators import Simulator, make_simulator
from zsgym.simulators.hybrid import HybridSimulator
from zsgym.simulators.outcome import Outcome, Status

Make = Callable[[], Simulator]


def make_fake(circuit: Circuit) -> Simulator:
    return FakeSimulator(circuit)


def make_library(circuit: Circuit) -> Simulator:
    return make_simulator("ngspice", circuit)


def make_process(circuit: Circuit) -> Simulator:
    return make_simulator("ngspice", circuit, engine="process")


def make_surrogate(circuit: Circuit) -> Simulator:
    return make_simulator("surrogate", circuit)


def make_physics(circuit: Circuit) -> Simulator:
    return make_simulator("physics", circuit)


def make_hybrid(circuit: Circuit) -> Simulator:
    return HybridSimulator(SurrogateSimulator(circuit), FakeSimulator(circuit))


needs_a_checkpoint = pytest.mark.skipif(not shipped().is_file(), reason="no checkpoint is shipped yet")

SIMULATORS = [
    pytest.param(make_fake, id="fake"),
    pytest.param(make_surrogate, id="surrogate", marks=needs_a_checkpoint),
    pytest.param(make_hybrid, id="hybrid", marks=needs_a_checkpoint),
    pytest.param(make_physics, id="physics"),
    pytest.param(make_library, id="ngspice-library", marks=pytest.mark.ngspice),
    pytest.param(make_process, id="ngspice-process", marks=pytest.mark.ngspice),
]


@pytest.fixture(scope="module", params=one_of_each_class())
def circuit(request: pytest.FixtureRequest) -> Circuit:
    return load_circuit(request.param)


@pytest.fixture(scope="module")
def sizings(circuit: Circuit) -> list[dict[str, float]]:
    """A working one, and three of any kind."""
    point = np.random.default_rng(1).uniform(-1.0, 1.0, (3, len(circuit.parameters)))
    return [*list(circuit.known_good.values())[:1], *map(circuit.sizing, circuit.from_point(point))]


@pytest.fixture(scope="module", params=SIMULATORS)
def make(request: pytest.FixtureRequest, circuit: Circuit) -> Make:
    if request.param in (make_surrogate, make_hybrid) and circuit.name not in ALWAYS:
        pytest.skip("the shipped surrogate has not learnt this circuit")
    return lambda: request.param(circuit)


@pytest.fixture(scope="module")
def simulator(make: Make) -> Iterator[Simulator]:
    with closing(make()) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def outcomes(simulator: Simulator, sizings: list[dict[str, float]]) -> list[Outcome]:
    return ask(simulator, sizings)


@pytest.fixture(scope="module")
def first(simulator: Simulator, sizings: list[dict[str, float]]) -> list[Outcome]:
    """The answer to the first sizing alone: a network rounds differently in a batch of another size."""
    return ask(simulator, sizings[:1])


def content(outcomes: list[Outcome]) -> list[Any]:
    """Everything but the time that it took."""
    return [(o.status, o.failure, o.metrics, o.raw, o.operating_points, o.p_valid, o.uncertainty) for o in outcomes]


def assert_alike(ours: list[Outcome], theirs: list[Outcome]) -> None:
    """Equal in every bit; what a network predicts only up to the rounding of another batch size."""
    for a, b in zip(ours, theirs, strict=True):
        if a.p_valid is not None and b.p_valid is not None:
            assert a.p_valid == pytest.approx(b.p_valid, rel=1e-3, abs=1e-9)
            if a.metrics is not None and b.metrics is not None:
                assert dict(a.metrics) == pytest.approx(dict(b.metrics), rel=1e-3)
            a, b = (replace(o, p_valid=0.0, metrics=o.metrics and {}, uncertainty=None) for o in (a, b))
        assert content([a]) == content([b])


def test_it_is_a_simulator(simulator: Simulator) -> None:
    assert isinstance(simulator, Simulator)
    assert simulator.name
    assert simulator.provenance
    assert all(isinstance(part, str) for item in simulator.provenance.items() for part in item)


def test_an_empty_batch_has_no_outcomes(simulator: Simulator) -> None:
    assert ask(simulator, []) == []


def test_outcomes_are_one_of_two_kinds_when_nothing_breaks(simulator: Simulator, outcomes: list[Outcome]) -> None:
    assert {outcome.status for outcome in outcomes} == {Status.SUCCESS, Status.CIRCUIT_FAILURE}
    for outcome in outcomes:
        assert outcome.backend in {"hybrid": ["surrogate", "fake"]}.get(simulator.name, [simulator.name])
        assert outcome.error is None
        assert outcome.elapsed_s >= 0.0
        if outcome.success:
            assert (outcome.label, outcome.failure) == (1, None)
            assert outcome.metrics is not None
            assert set(outcome.metrics) == set(METRICS.names)
            assert all(type(value) is float and math.isfinite(value) for value in outcome.metrics.values())
        else:
            assert (outcome.label, outcome.metrics) == (0, None)
            assert outcome.failure in (*AMPLIFIER.reasons, Failure.PREDICTED)


def test_a_batch_is_the_same_as_one_by_one_in_order(
    simulator: Simulator, sizings: list[dict[str, float]], outcomes: list[Outcome]
) -> None:
    singles = [ask(simulator, [sizing])[0] for sizing in reversed(sizings)]
    assert_alike(singles[::-1], outcomes)


def test_another_instance_gives_the_same_answers(
    make: Make, sizings: list[dict[str, float]], outcomes: list[Outcome]
) -> None:
    with closing(make()) as other:
        assert content(ask(other, sizings, errors="return")) == content(outcomes)


def test_default_conditions_are_the_circuits(
    simulator: Simulator, circuit: Circuit, sizings: list[dict[str, float]], first: list[Outcome]
) -> None:
    assert content(ask(simulator, sizings[:1], circuit.conditions)) == content(first)


def test_numbers_of_any_kind_are_numbers(
    simulator: Simulator, sizings: list[dict[str, float]], first: list[Outcome]
) -> None:
    sizing = {name: np.float64(value) for name, value in sizings[0].items()}
    before = dict(sizing)
    assert content(ask(simulator, (sizing,))) == content(first)
    assert sizing == before


@pytest.mark.parametrize("errors", ["raise", "return"])
@pytest.mark.parametrize("change", [{"W_nonsense": 1.0}, math.nan, math.inf, -1.0, 0.0, "1.0", None, "missing"])
def test_a_sizing_that_makes_no_sense_refuses_the_whole_batch(
    simulator: Simulator, sizings: list[dict[str, float]], change: Any, errors: Any
) -> None:
    sizing = dict(sizings[0])
    name = next(iter(sizing))
    if change == "missing":
        del sizing[name]
    else:
        sizing |= change if isinstance(change, dict) else {name: change}
    with pytest.raises(ConfigError, match="nonsense" if isinstance(change, dict) else name):
        ask(simulator, [sizings[0], sizing], errors=errors)


def test_outcomes_can_be_pickled(outcomes: list[Outcome]) -> None:
    assert content(pickle.loads(pickle.dumps(outcomes))) == content(outcomes)


def test_copies_give_the_same_answers(
    simulator: Simulator, sizings: list[dict[str, float]], first: list[Outcome]
) -> None:
    with closing(pickle.loads(pickle.dumps(simulator))) as other:
        assert content(ask(other, sizings[:1])) == content(first)
    copy.deepcopy(simulator).close()
    assert content(ask(simulator, sizings[:1])) == content(first)


def _simulate_in_fork(
    simulator: Simulator, sizings: list[dict[str, float]], answers: "multiprocessing.Queue[Any]"
) -> None:
    answers.put(content(ask(simulator, sizings)))
    simulator.close()


def test_a_forked_process_may_use_it_too(
    simulator: Simulator, sizings: list[dict[str, float]], first: list[Outcome]
) -> None:
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[Any] = context.Queue()
    child = context.Process(target=_simulate_in_fork, args=(simulator, sizings[:1], answers))
    child.start()
    assert content(ask(simulator, sizings[:1])) == content(first)
    assert answers.get(timeout=60) == content(first)
    child.join(timeout=10)
    assert child.exitcode == 0
    assert content(ask(simulator, sizings[:1])) == content(first)


def test_it_may_be_closed_twice_and_used_again(make: Make, sizings: list[dict[str, float]]) -> None:
    simulator = make()
    simulator.close()
    first = ask(simulator, sizings[1:2])
    simulator.close()
    simulator.close()
    assert content(ask(simulator, sizings[1:2])) == content(first)
    simulator.close()


@pytest.mark.ngspice
def test_engines_and_numbers_of_workers_make_no_difference(circuit: Circuit, sizings: list[dict[str, float]]) -> None:
    with (
        closing(make_simulator("ngspice", circuit, workers=2)) as two,
        closing(make_simulator("ngspice", circuit, engine="process")) as program,
    ):
        expected = content(ask(two, sizings * 2))
        assert expected[: len(sizings)] == expected[len(sizings) :]
        for ours, theirs in zip(content(ask(program, sizings)), expected, strict=False):
            assert ours[:2] == theirs[:2]
            for name, value in theirs[3].items():
                near = value if value is None else pytest.approx(value, rel=1e-9, abs=1e-15)
                assert ours[3][name] == near, name

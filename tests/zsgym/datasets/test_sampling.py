"""Sampling is a pure function of circuit, strategy, seed and index, and draws from the declared ranges."""

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, load_circuit
from zsgym.datasets import (
    LabelledSizing,
    list_strategies,
    make_strategy,
    register_strategy,
    rounds,
    sample,
    strategies,
    uniform_numbers,
)

LABEL_FREE = ["uniform", "log"]
GOLDEN_NUMBERS = [0.2705487424449132, 0.37978106837838443, 0.22246218005848195]
GOLDEN_SIZING = {"W_gm3": 2.1144317345870145, "M_gm3": 10.0, "cap1": 1.4049426562275877e-11}
both = pytest.mark.parametrize("strategy", LABEL_FREE)


@pytest.fixture(scope="module", params=["nmcf", "nmcnr"])
def circuit(request: pytest.FixtureRequest) -> Circuit:
    return load_circuit(request.param)


@both
def test_samples_are_complete_and_inside_their_ranges(circuit: Circuit, strategy: str) -> None:
    for sizing in make_strategy(strategy, circuit).propose(3, range(200)):
        assert circuit.validate(sizing) == sizing
        for parameter in circuit.parameters:
            low, high = parameter.uniform_bounds if strategy == "uniform" else parameter.log_bounds
            assert low <= sizing[parameter.name] <= high
            assert not parameter.integer or sizing[parameter.name].is_integer()


@both
@given(seed=st.integers(0, 2**64), index=st.integers(0, 2**40))
def test_a_sample_does_not_depend_on_its_batch(strategy: str, seed: int, index: int) -> None:
    circuit = load_circuit("nmcf")
    batch = make_strategy(strategy, circuit).propose(seed, [index + 1, index, 7])
    assert batch[1] == sample(circuit, strategy, seed, index)


def test_samples_are_the_same_in_another_process() -> None:
    code = (
        "from zsgym.circuits import *; from zsgym.datasets import *; print(sample(load_circuit('nmcf'), 'log', 5, 9))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == str(sample(load_circuit("nmcf"), "log", 5, 9))


def test_golden_numbers() -> None:
    """Datasets are named by their seed: the numbers behind a seed must never change."""
    assert uniform_numbers("uniform/nmcf", 42, 0, 3).tolist() == GOLDEN_NUMBERS
    sizing = sample(load_circuit("nmcf"), "log", 42, 1)
    assert {name: sizing[name] for name in GOLDEN_SIZING} == GOLDEN_SIZING


def test_streams_seeds_and_indices_are_independent() -> None:
    draws = [
        uniform_numbers(stream, seed, index, 4).tolist()
        for stream in ("uniform/nmcf", "log/nmcf", "uniform/nmcnr")
        for seed in (0, 1)
        for index in (0, 1)
    ]
    assert len({tuple(draw) for draw in draws}) == len(draws)


def test_numbers_are_uniform() -> None:
    numbers = np.array([uniform_numbers("test", 0, index, 24) for index in range(2000)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
    # 48,000 numbers, 2,400 per bin, standard deviation 48.
    assert np.abs(counts - 2400).max() < 5 * 48
    correlation = np.corrcoef(numbers.T) - np.eye(24)
    assert np.abs(correlation).max() < 0.1


def test_counts_are_drawn_fairly_to_both_ends() -> None:
    circuit = load_circuit("nmcf")
    drawn = {
        name: np.array([s["M_gm3"] for s in make_strategy(name, circuit).propose(1, range(20_000))])
        for name in LABEL_FREE
    }
    assert set(drawn["uniform"]) == set(range(1, 101))
    ends = np.bincount(drawn["uniform"].astype(int))[[1, 100]]
    assert np.abs(ends - 200).max() < 5 * 14
    # Log-uniform: 1..9 takes log(10)/log(101) of the samples.
    assert np.mean(drawn["log"] < 10) == pytest.approx(np.log(10) / np.log(101), abs=0.02)


def test_log_samples_are_log_uniform() -> None:
    circuit = load_circuit("nmcnr")
    drawn = np.array([s["cap1"] for s in make_strategy("log", circuit).propose(1, range(4000))])
    assert np.median(drawn) == pytest.approx(np.sqrt(0.1e-12 * 50e-12), rel=0.15)


# --- the registry ---------------------------------------------------------------------------------------------------


def test_unknown_strategy_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown sampling strategy 'unifrom'\. Did you mean 'uniform'\? Known: .*log"
    ):
        make_strategy("unifrom", load_circuit("nmcf"))


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_negative_seed_or_index(seed: int, index: int) -> None:
    with pytest.raises(ConfigError, match="must not be negative"):
        sample(load_circuit("nmcf"), "uniform", seed, index)


def test_label_free_strategies_have_one_round() -> None:
    assert rounds("uniform", 10) == [range(10)]
    assert rounds("uniform", 0) == []
    assert set(LABEL_FREE) <= set(list_strategies())


def test_a_strategy_may_learn_from_the_labels_of_earlier_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy that repeats the last working sizing shows the whole protocol, and that it is reproducible."""
    monkeypatch.setattr(strategies, "_REGISTRY", dict(strategies._REGISTRY))

    class Repeat:
        def __init__(self, circuit: Circuit, labelled: Sequence[LabelledSizing]) -> None:
            self.circuit = circuit
            self.working = [sizing for sizing, label in labelled if label]

        def propose(self, seed: int, indices: Sequence[int]) -> list[dict[str, float]]:
            return [self.working[-1] if self.working else sample(self.circuit, "log", seed, i) for i in indices]

    register_strategy("repeat", Repeat, round_size=4)
    register_strategy("repeat", Repeat, round_size=4)  # registering the same thing again is harmless
    with pytest.raises(ConfigError, match="'repeat' exists already"):
        register_strategy("repeat", lambda circuit, labelled: Repeat(circuit, labelled))

    circuit = load_circuit("nmcf")
    assert rounds("repeat", 10) == [range(4), range(4, 8), range(8, 10)]

    def run() -> list[LabelledSizing]:
        labelled: list[LabelledSizing] = []
        for indices in rounds("repeat", 10):
            sizings = make_strategy("repeat", circuit, labelled).propose(0, indices)
            labelled += [LabelledSizing(sizing, int(sizing["M_gm3"] > 5)) for sizing in sizings]
        return labelled

    assert run() == run()
    assert run()[4].sizing == [sizing for sizing, label in run()[:4] if label][-1]

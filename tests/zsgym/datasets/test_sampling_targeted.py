"""The targeted strategy: finds a sliver of working sizings, stays broad, and is reproducible."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsgym.circuits import Circuit, load_circuit
from zsgym.datasets import LabelledSizing, make_strategy, rounds
from zsgym.datasets.targeted import BOOTSTRAP, ROUND_SIZE, Targeted

CIRCUIT = load_circuit("nmcnr")


def positions(circuit: Circuit, sizings: Sequence[Mapping[str, float]]) -> np.ndarray:
    low, high = circuit.bounds
    values = np.array([circuit.vector(sizing) for sizing in sizings])
    return np.asarray(np.log(values / low) / np.log(high / low))


def two_slivers(circuit: Circuit, sizing: Mapping[str, float]) -> int:
    """A made-up truth: two disjoint regions, each about 3 % of the logarithmic range, decided by five parameters."""
    five = positions(circuit, [sizing])[0, -5:]
    return int(bool(np.all(np.abs(five - 0.27) < 0.25) or np.all(np.abs(five - 0.76) < 0.24)))


def run(circuit: Circuit, seed: int, count: int) -> list[LabelledSizing]:
    labelled: list[LabelledSizing] = []
    for indices in rounds("targeted", count):
        sizings = make_strategy("targeted", circuit, labelled).propose(seed, indices)
        labelled += [LabelledSizing(sizing, two_slivers(circuit, sizing)) for sizing in sizings]
    return labelled


@pytest.fixture(scope="module")
def drawn() -> list[LabelledSizing]:
    return run(CIRCUIT, 3, 2500)


def test_at_least_a_third_works_where_chance_finds_few(drawn: list[LabelledSizing]) -> None:
    by_chance = np.mean([row.label for row in drawn[len(CIRCUIT.known_good) : BOOTSTRAP]])
    assert by_chance < 0.2
    assert np.mean([row.label for row in drawn]) > 1 / 3


def test_both_regions_stay_in_view(drawn: list[LabelledSizing]) -> None:
    working = positions(CIRCUIT, [row.sizing for row in drawn if row.label])
    share = np.mean(working[:, -1] > 0.5)
    assert 0.1 < share < 0.9


def test_samples_stay_broad(drawn: list[LabelledSizing]) -> None:
    everything = positions(CIRCUIT, [row.sizing for row in drawn])
    assert (np.quantile(everything, 0.95, axis=0) - np.quantile(everything, 0.05, axis=0)).min() > 0.35
    distinct = {tuple(np.round(point, 6)) for point in everything.tolist()}
    assert len(distinct) == len(drawn), "a sample that repeats another one teaches nothing"


def test_many_failures_lie_close_to_working_sizings(drawn: list[LabelledSizing]) -> None:
    """The border is what a classifier learns from: failures must be nearer to it than chance would put them."""
    working = positions(CIRCUIT, [row.sizing for row in drawn if row.label])

    def nearest(sizings: Sequence[Mapping[str, float]]) -> float:
        points = positions(CIRCUIT, [sizing for sizing in sizings if not two_slivers(CIRCUIT, sizing)])
        return float(np.quantile([np.linalg.norm(working - point, axis=1).min() for point in points], 0.25))

    by_chance = make_strategy("log", CIRCUIT).propose(1, range(300))
    assert nearest([row.sizing for row in drawn[BOOTSTRAP:]]) < 0.4 * nearest(by_chance)


def test_the_sequence_is_reproducible_and_depends_on_the_seed() -> None:
    count = BOOTSTRAP + 2 * ROUND_SIZE
    assert run(CIRCUIT, 3, count) == run(CIRCUIT, 3, count)
    assert run(CIRCUIT, 3, count)[10:] != run(CIRCUIT, 4, count)[10:]


def test_a_sample_does_not_depend_on_its_neighbours(drawn: list[LabelledSizing]) -> None:
    strategy = make_strategy("targeted", CIRCUIT, drawn[:1024])
    together = strategy.propose(3, range(1024, 1034))
    assert [strategy.propose(3, [index])[0] for index in range(1024, 1034)] == together


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 500), st.booleans()), max_size=30),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_every_sample_is_a_valid_sizing_within_the_bounds(
    history: list[tuple[int, bool]], seed: int, index: int
) -> None:
    log = make_strategy("log", CIRCUIT)
    labelled = [LabelledSizing(log.propose(1, [i])[0], int(works)) for i, works in history]
    (sizing,) = Targeted.from_labels(CIRCUIT, labelled).propose(seed, [index])
    vector = CIRCUIT.vector(sizing)
    low, high = CIRCUIT.bounds
    assert np.all((vector >= low) & (vector <= high))
    assert all(sizing[p.name] == int(sizing[p.name]) for p in CIRCUIT.parameters if p.integer)

"""Dominance and binding specs: against definitions that are written out, over arbitrary tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from zsgym.classes.amplifier import METRICS
from zsgym.sizing.dominance import (
    best_alone,
    fewest_missed,
    goodness,
    hypervolume,
    meets_all_others,
    met,
    non_dominated,
)

# Few different values, so that ties and equal rows are common.
VALUES = st.one_of(st.integers(-3, 3).map(float), st.just(math.nan))
TABLES = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=VALUES)


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a >= b).all() and (a > b).any())


@given(TABLES)
def test_the_front_is_what_nobody_dominates(table: np.ndarray) -> None:
    complete = [row for row in table if not np.isnan(row).any()]
    expected = [not np.isnan(row).any() and not any(dominates(other, row) for other in complete) for row in table]
    assert non_dominated(table).tolist() == expected


@given(TABLES)
def test_whoever_is_not_on_the_front_is_dominated_by_somebody_on_it(table: np.ndarray) -> None:
    on_front = non_dominated(table)
    for row in table[~on_front]:
        assert np.isnan(row).any() or any(dominates(other, row) for other in table[on_front])


@given(TABLES, st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_order_or_scale(table: np.ndarray, random: np.random.Generator) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    assert non_dominated(np.exp(table[order])).tolist() == non_dominated(table)[order].tolist()


@given(TABLES, st.data())
def test_a_binding_spec_gives_just_as_far_as_it_must(table: np.ndarray, data: st.DataObject) -> None:
    """With the spec moved to what the chosen design reaches, that design meets all; a hair further, none does."""
    count = table.shape[1]
    limits = np.array(data.draw(st.lists(st.integers(-3, 3).map(float), min_size=count, max_size=count)))
    for spec, row in enumerate(best_alone(table, limits).tolist()):
        relaxed = limits.copy()
        relaxed[spec] = -math.inf
        if row < 0:
            assert not met(table, relaxed).all(axis=1).any()
            continue
        relaxed[spec] = table[row, spec]
        assert met(table, relaxed)[row].all()
        relaxed[spec] += 1e-9
        assert not met(table, relaxed).all(axis=1).any()


@given(TABLES)
def test_where_a_design_meets_all_no_spec_has_to_give(table: np.ndarray) -> None:
    complete = table[~np.isnan(table).any(axis=1)]
    if len(complete):
        limits = complete[0]
        rows = best_alone(table, limits)
        assert (rows >= 0).all()
        assert (table[rows, range(len(limits))] >= limits).all()
        assert met(table, limits)[fewest_missed(table, limits)].all()


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_meeting_all_others(meets: np.ndarray) -> None:
    others = meets_all_others(meets)
    for row, spec in np.ndindex(*meets.shape):
        assert others[row, spec] == np.delete(meets[row], spec).all()


def test_the_fewest_misses() -> None:
    assert fewest_missed([[0, 0, 9], [9, 9, 0], [math.nan, 9, 9]], [1, 1, 1]) == 1
    assert fewest_missed([[math.nan, 1.0]], [0, 0]) == -1


def test_goodness_turns_the_sign_and_takes_an_offset_by_its_magnitude() -> None:
    names = METRICS.names
    good = goodness(METRICS, METRICS.row({"gbw": 2e6, "power": 1e-4, "vos": -3e-5}))
    assert good[names.index("gbw")] == 2e6
    assert good[names.index("power")] == -1e-4
    assert good[names.index("vos")] == -3e-5
    assert np.isnan(good[names.index("tc")])


def test_hypervolume() -> None:
    assert hypervolume([[1, 3], [2, 2], [3, 1]], [0, 0]) == pytest.approx(6.0)
    assert hypervolume([[1, 3], [1, 1], [-1, 9]], [0, 0]) == pytest.approx(3.0)
    assert hypervolume(np.zeros((0, 2)), [0, 0]) == 0.0


@given(arrays(np.float64, (6, 2), elements=st.integers(0, 5).map(float)))
def test_hypervolume_counts_cells(table: np.ndarray) -> None:
    cells = {(x, y) for a, b in table.astype(int).tolist() for x in range(a) for y in range(b)}
    assert hypervolume(table, [0, 0]) == pytest.approx(len(cells))

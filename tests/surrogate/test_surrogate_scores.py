"""Scores against scikit-learn, and against their definitions where it has none."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from surrogate.scores import auroc, average_precision, brier, calibration_error, failures_caught, r_squared

metrics = pytest.importorskip("sklearn.metrics")

PROBABILITIES = st.floats(0.0, 1.0, width=32) | st.sampled_from([0.0, 0.25, 0.5, 1.0])  # with ties


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes, and a score for each."""
    n = draw(st.integers(2, 40))
    positive = draw(arrays.arrays(bool, n))
    assume(positive.any() and not positive.all())
    return positive, draw(arrays.arrays(np.float64, n, elements=PROBABILITIES))


@given(scored())
def test_auroc(case: tuple[np.ndarray, np.ndarray]) -> None:
    assert auroc(*case) == pytest.approx(metrics.roc_auc_score(*case))


@given(scored())
def test_average_precision(case: tuple[np.ndarray, np.ndarray]) -> None:
    assert average_precision(*case) == pytest.approx(metrics.average_precision_score(*case))


@given(scored())
def test_brier(case: tuple[np.ndarray, np.ndarray]) -> None:
    assert brier(*case) == pytest.approx(metrics.brier_score_loss(*case))


@given(scored(), st.integers(1, 20))
def test_calibration_error(case: tuple[np.ndarray, np.ndarray], bins: int) -> None:
    positive, p = case
    expected = 0.0
    for b in range(bins):
        inside = (p * bins >= b) & ((p * bins < b + 1) if b < bins - 1 else np.ones(p.size, bool))
        if inside.any():
            expected += inside.sum() / p.size * abs(p[inside].mean() - positive[inside].mean())
    assert calibration_error(positive, p, bins) == pytest.approx(expected)


@given(
    arrays.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e3, 1e3, width=32)),
    st.integers(0, 2**32),
)
def test_r_squared(truth: np.ndarray, seed: int) -> None:
    assume(truth.std() > 1e-3)
    prediction = truth + np.random.default_rng(seed).normal(size=truth.size)
    assert r_squared(truth, prediction) == pytest.approx(metrics.r2_score(truth, prediction))


@given(scored(), st.sampled_from([0.01, 0.05, 0.2]))
def test_failures_caught_at_false_alarms(case: tuple[np.ndarray, np.ndarray], false_alarms: float) -> None:
    valid, p = case
    caught = failures_caught(valid, p, false_alarms)
    allowed = [t for t in [*p, 2.0] if (p[valid] < t).mean() <= false_alarms]
    assert caught == max((p[~valid] < t).mean() for t in allowed)


def test_a_perfect_and_a_useless_classifier() -> None:
    valid = np.array([True] * 50 + [False] * 50)
    assert auroc(valid, valid.astype(float)) == 1.0
    assert auroc(valid, ~valid * 1.0) == 0.0
    assert auroc(valid, np.zeros(100)) == 0.5
    assert average_precision(valid, np.zeros(100)) == 0.5
    assert failures_caught(valid, valid * 1.0, 0.05) == 1.0
    assert calibration_error(valid, valid * 1.0) == 0.0
    assert calibration_error(valid, np.full(100, 0.9)) == pytest.approx(0.4)


def test_what_is_undefined_is_nan_and_not_an_error() -> None:
    one_class = np.ones(3, dtype=bool)
    assert math.isnan(auroc(one_class, np.arange(3.0)))
    assert math.isnan(average_precision(~one_class, np.arange(3.0)))
    assert math.isnan(failures_caught(one_class, np.arange(3.0), 0.05))
    assert math.isnan(failures_caught(~one_class, np.arange(3.0), 0.05))
    assert math.isnan(r_squared(np.ones(3), np.zeros(3)))
    assert math.isnan(r_squared(np.empty(0), np.empty(0)))

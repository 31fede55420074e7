"""Calibration keeps its promises on data whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate.calibration import (
    CalibrationRows,
    calibrate,
    conformal_interval,
    fit_precision,
    fit_temperature,
    fit_threshold,
    mahalanobis,
    probability,
)
from surrogate.scores import calibration_error


def overconfident(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too large by a known factor, and what happened."""
    random = np.random.default_rng(seed)
    honest = random.normal(0.3, 2.0, n)
    return temperature * honest, random.uniform(size=n) < 1.0 / (1.0 + np.exp(-honest))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logit, valid = overconfident(20_000, temperature)
    assert fit_temperature(logit, valid) == pytest.approx(temperature, rel=0.05)


def test_calibration_shrinks_the_error() -> None:
    logit, valid = overconfident(20_000, 4.0)
    before = calibration_error(valid, probability(logit, 1.0))
    after = calibration_error(valid, probability(logit, fit_temperature(logit, valid)))
    assert before > 0.08
    assert after < 0.02


@pytest.mark.parametrize("valid", [np.ones(5, bool), np.zeros(5, bool)])
def test_one_class_has_a_finite_temperature(valid: np.ndarray) -> None:
    assert 0.05 <= fit_temperature(np.linspace(-3.0, 3.0, 5), valid) <= 20.0


def test_probabilities_are_sigmoids_without_overflow() -> None:
    assert probability(np.array([-1e4, 0.0, 1e4]), 0.1).tolist() == [0.0, 0.5, 1.0]
    assert probability(np.array([2.0]), 2.0)[0] == pytest.approx(1.0 / (1.0 + math.exp(-1.0)))


@given(
    st.lists(st.floats(0.0, 0.999), min_size=1, max_size=60),
    st.lists(st.floats(0.0, 1.0), max_size=10),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_the_threshold_reaches_its_recall_and_is_the_smallest(
    failures: list[float], working: list[float], recall: float
) -> None:
    p = np.array([*failures, *working])
    valid = np.array([False] * len(failures) + [True] * len(working))
    threshold = fit_threshold(p, valid, recall)
    caught = np.mean(p[~valid] < threshold)
    assert caught >= recall
    assert np.mean(p[~valid] < threshold - 2e-6) < recall


def test_without_failures_the_threshold_is_even() -> None:
    assert fit_threshold(np.array([0.2, 0.9]), np.ones(2, bool), 0.95) == 0.5


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_conformal_intervals_cover_exchangeable_rows(coverage: float) -> None:
    random = np.random.default_rng(1)
    n, repetitions = 99, 800
    covered = [
        abs(residual[-1]) <= conformal_interval(residual[:-1], coverage)
        for residual in random.standard_t(3, (repetitions, n + 1))
    ]
    # Exactly 90 of 99 residuals and so on: the probability is coverage, not merely at least that.
    assert np.mean(covered) == pytest.approx(coverage, abs=4.0 * math.sqrt(coverage * (1.0 - coverage) / repetitions))


@given(st.integers(0, 200), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_the_interval_is_the_rank_that_the_theorem_asks_for(n: int, coverage: float) -> None:
    residual = np.random.default_rng(n).permutation(np.arange(1.0, n + 1.0)) * np.where(np.arange(n) % 2, 1.0, -1.0)
    rank = math.ceil((n + 1) * coverage)
    assert conformal_interval(residual, coverage) == (rank if rank <= n else math.inf)


def test_distances_are_those_of_the_whitened_space() -> None:
    random = np.random.default_rng(2)
    mixing = random.normal(size=(4, 4))
    embedding = random.normal(size=(5000, 4)) @ mixing
    mean, precision = fit_precision(embedding)
    distance = mahalanobis(embedding, mean, precision)
    expected = [math.sqrt((row - mean) @ precision @ (row - mean)) for row in embedding[:20]]
    assert distance[:20] == pytest.approx(expected)
    assert (distance**2).mean() == pytest.approx(4.0, rel=0.02)
    far = mean + 10.0 * embedding.std(axis=0)
    assert mahalanobis(far[None], mean, precision)[0] > np.quantile(distance, 0.999)


def test_embeddings_that_never_vary_in_a_direction_have_a_precision() -> None:
    embedding = np.random.default_rng(3).normal(size=(100, 3)) * [1.0, 1.0, 0.0]
    mean, precision = fit_precision(embedding)
    assert np.isfinite(precision).all()
    assert mahalanobis(mean[None] + [0.0, 0.0, 1.0], mean, precision)[0] > 10.0


def make_rows(n: int = 400) -> CalibrationRows:
    random = np.random.default_rng(5)
    logit, valid = overconfident(n, 2.0, seed=5)
    residual = random.normal(0.0, [0.1, 1.0], (n, 2))
    residual[~valid] = 50.0  # what is measured of failures must not widen an interval
    residual[::7, 1] = np.nan
    features = {"a": random.uniform(-1.0, 1.0, (30, 6)), "b": random.uniform(0.0, 2.0, (30, 6))}
    return CalibrationRows(logit, residual, np.linspace(0.0, 5.0, n), valid, features)


def test_a_calibration_holds_what_was_measured() -> None:
    rows = make_rows()
    found = calibrate(rows, failure_recall=0.9, coverage=0.8)
    assert (found.rows, found.working) == (400, rows.valid.sum())
    p = probability(rows.logit, found.temperature)
    assert np.mean(p[~rows.valid] < found.threshold) == pytest.approx(0.9, abs=0.01)
    for k, half_width in enumerate(found.interval):
        column = rows.residual[rows.valid, k]
        assert np.mean(np.abs(column[np.isfinite(column)]) <= half_width) == pytest.approx(0.8, abs=0.01)
    assert np.mean(rows.distance > found.max_distance) <= 0.0026
    assert found.ranges["b"][0] == pytest.approx(rows.features["b"].min(axis=0))
    assert found.ranges["b"][1] == pytest.approx(rows.features["b"].max(axis=0))
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_pooling_adds_rows_and_drops_ranges() -> None:
    pooled = CalibrationRows.pooled([make_rows(100), make_rows(300)])
    assert (pooled.logit.size, pooled.residual.shape, pooled.features) == (400, (400, 2), {})
    assert calibrate(pooled, failure_recall=0.9, coverage=0.8).ranges == {}

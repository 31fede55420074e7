"""Scores of classifiers and regressors: small numpy functions, the same for training, calibration and benchmarks."""

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def auroc(positive: BoolArray, score: FloatArray) -> float:
    """Area under the ROC curve: chance that a positive scores higher than a negative (ties count half).

    NaN when one of the classes is empty.
    """
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2.0
    return float((rank[inverse][positive].sum() - n_positive * (n_positive + 1) / 2.0) / (n_positive * n_negative))


def average_precision(positive: BoolArray, score: FloatArray) -> float:
    """Area under the precision-recall curve: the mean, over positives, of the precision at their score.

    NaN when there is no positive.
    """
    if not positive.any():
        return float("nan")
    _, level = np.unique(-score, return_inverse=True)  # rows of one score enter the curve together
    hits, found = np.bincount(level, positive), np.bincount(level)
    return float(np.average(np.cumsum(hits) / np.cumsum(found), weights=hits))


def brier(positive: BoolArray, probability: FloatArray) -> float:
    """Mean squared error of the probability."""
    return float(np.mean((probability - positive) ** 2))


def calibration_error(positive: BoolArray, probability: FloatArray, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins (Guo et al., ICML 2017)."""
    which = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = (abs(probability[which == b].mean() - positive[which == b].mean()) * (which == b).mean() for b in set(which))
    return float(sum(gaps))


def failures_caught(valid: BoolArray, p_valid: FloatArray, false_alarms: float) -> float:
    """Share of failures below the highest threshold that at most a given share of working rows falls below, too.

    NaN when one of the classes is empty.
    """
    working = np.sort(p_valid[valid])
    if not working.size or working.size == valid.size:
        return float("nan")
    threshold = working[math.floor(working.size * false_alarms)]
    return float((p_valid[~valid] < threshold).mean())


def r_squared(truth: FloatArray, prediction: FloatArray) -> float:
    """Coefficient of determination; NaN where the truth does not vary."""
    if truth.size < 2 or not truth.var():
        return float("nan")
    return float(1.0 - np.mean((prediction - truth) ** 2) / truth.var())

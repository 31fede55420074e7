"""Calibration and trust: what a prediction is worth, measured on rows that training never saw.

- *Temperature scaling* (Guo et al., ICML 2017) makes `p_valid` a probability.
- A *threshold* on `p_valid` below which a sizing counts as failing, so that a stated share of failures is caught.
- *Split conformal* intervals (Papadopoulos et al., ECML 2002): the quantile of absolute residuals, per metric, on the
  normalised scale; they cover new working rows with at least the stated probability if those are exchangeable.
- *Out of distribution*: the Mahalanobis distance of the graph token from those of training rows (Lee et al., NeurIPS
  2018), against its 99.9 % quantile; or a size outside the ranges of training.

Everything is kept per topology, because one topology's errors say little about another's. A topology that was never
seen is served by the pooled calibration, which promises nothing for it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from surrogate.scores import BoolArray, FloatArray

_IN_DISTRIBUTION = 0.999


class Calibration(BaseModel):
    """What was measured for one topology (or all of them pooled).

    temperature: divides the validity logit. threshold: on p_valid. interval: half-width per metric, normalised scale.
    max_distance: Mahalanobis distance beyond which a row is out of distribution. ranges: sizing group -> lowest and
    highest value of each of its F features in training. rows: how many rows this rests on, and how many of them work.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float
    threshold: float
    interval: tuple[float, ...]
    max_distance: float
    ranges: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {}
    rows: int
    working: int


def fit_temperature(logit: FloatArray, valid: BoolArray) -> float:
    """The temperature with the smallest cross-entropy, by golden-section search on its logarithm (0.05 to 20)."""
    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    for _ in range(60):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if cross_entropy(logit, valid, math.exp(a)) < cross_entropy(logit, valid, math.exp(b)):
            high = b
        else:
            low = a
    return math.exp((low + high) / 2.0)


def cross_entropy(logit: FloatArray, valid: BoolArray, temperature: float) -> float:
    """Mean binary cross-entropy of the probabilities that logits amount to at a temperature."""
    z = logit / temperature
    return float(np.mean(np.logaddexp(0.0, np.where(valid, -z, z))))


def probability(logit: FloatArray, temperature: float) -> FloatArray:
    """p_valid from logits."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit / temperature)))


def fit_threshold(p_valid: FloatArray, valid: BoolArray, failure_recall: float) -> float:
    """The smallest threshold below which the given share of failures lies (0.5 where there are no failures)."""
    failures = p_valid[~valid]
    if not failures.size:
        return 0.5
    last = np.sort(failures)[math.ceil(failures.size * failure_recall) - 1]
    return float(min(last + 1e-6, 1.0))  # a little above it, because a batch of another size rounds differently


def conformal_interval(residual: FloatArray, coverage: float) -> float:
    """Half-width that covers with the given probability: the ceil((n + 1) coverage)-th smallest absolute residual.

    Infinite where n is too small for any residual to promise that.
    """
    rank = math.ceil((residual.size + 1) * coverage)
    return float(np.sort(np.abs(residual))[rank - 1]) if rank <= residual.size else math.inf


def mahalanobis(embedding: FloatArray, mean: FloatArray, precision: FloatArray) -> FloatArray:
    """(n,) distance of each embedding (n, D)."""
    centred = embedding - mean
    return np.asarray(np.sqrt(np.maximum(((centred @ precision) * centred).sum(axis=1), 0.0)))


def fit_precision(embedding: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and inverse covariance (D, D) of training embeddings, with a little shrinkage towards the diagonal."""
    covariance = np.cov(embedding, rowvar=False)
    shrunk = covariance + 1e-3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return embedding.mean(axis=0), np.linalg.inv(shrunk)


@dataclass(frozen=True, slots=True)
class CalibrationRows:
    """What a model says about calibration rows, and what is true.

    logit: (n,) validity logits. residual: (n, K) normalised metric residuals, NaN where undefined. distance: (n,)
    Mahalanobis distances. valid: (n,) which rows work. features: sizing group -> (m, F) features of m training rows.
    """

    logit: FloatArray
    residual: FloatArray
    distance: FloatArray
    valid: BoolArray
    features: Mapping[str, FloatArray]

    @staticmethod
    def pooled(parts: Sequence["CalibrationRows"]) -> "CalibrationRows":
        """The rows of several circuits together, without feature ranges."""
        logit, residual, distance, valid = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("logit", "residual", "distance", "valid")
        )
        return CalibrationRows(logit, residual, distance, valid, features={})


def calibrate(rows: CalibrationRows, *, failure_recall: float, coverage: float) -> Calibration:
    """Measure everything on calibration rows."""
    temperature = fit_temperature(rows.logit, rows.valid)
    p_valid = probability(rows.logit, temperature)
    columns = (column[np.isfinite(column)] for column in rows.residual[rows.valid].T)
    return Calibration(
        temperature=temperature,
        threshold=fit_threshold(p_valid, rows.valid, failure_recall),
        interval=tuple(conformal_interval(column, coverage) for column in columns),
        max_distance=float(np.quantile(rows.distance, _IN_DISTRIBUTION)),
        ranges={group: _range(features) for group, features in rows.features.items()},
        rows=int(rows.valid.size),
        working=int(rows.valid.sum()),
    )


def _range(features: FloatArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(features.min(axis=0).tolist()), tuple(features.max(axis=0).tolist())

"""Trade-offs as arithmetic: which designs no other one dominates, and which spec stands alone in the way.

*Goodness* is a metric with the sign turned where low is better, so that more is better everywhere (see `goodness`).
NaN is a value that was not measured: it meets nothing and dominates nothing.

Axes: N designs, K metrics or specs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsgym.classes import MetricSet

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]


def goodness(metrics: MetricSet, values: ArrayLike) -> FloatArray:
    """(..., K) metrics, or targets, in SI units -> (..., K) goodness: an offset counts by its magnitude."""
    return metrics.signs * metrics.magnitudes(np.asarray(values, dtype=np.float64))


def non_dominated(good: ArrayLike) -> BoolArray:
    """(N,) whether no other design is at least as good in every column of (N, K) and better in one.

    Equal designs do not dominate each other. A row with NaN is never on the front and keeps nobody off it.
    """
    table = np.asarray(good, dtype=np.float64)
    on_front: BoolArray = np.all(~np.isnan(table), axis=1)
    for row in range(len(table)):
        if on_front[row]:
            others = table[on_front]
            dominated = (others >= table[row]).all(axis=1) & (others > table[row]).any(axis=1)
            on_front[row] = not dominated.any()
    return on_front


def met(good: ArrayLike, limits: ArrayLike) -> BoolArray:
    """(N, K) whether a design meets a spec. :param limits: (K,) goodness of the targets."""
    return np.asarray(good, dtype=np.float64) >= np.asarray(limits, dtype=np.float64)


def meets_all_others(meets: BoolArray) -> BoolArray:
    """(N, K) whether a design meets every spec besides that of the column, which it may meet as well."""
    missed = ~meets
    others: BoolArray = missed.sum(axis=1, keepdims=True) - missed == 0
    return others


def best_alone(good: ArrayLike, limits: ArrayLike) -> IntArray:
    """(K,) for every spec the design that is best in it among those that meet all the others; -1 where none does.

    What that design reaches is how far the spec alone would have to give (or, where it is met, how much it has to
    spare). Of equal ones it is the first.
    """
    table = np.asarray(good, dtype=np.float64)
    allowed = meets_all_others(met(table, limits)) & ~np.isnan(table)
    if not len(table):
        return np.full(table.shape[1], -1, dtype=np.intp)
    chosen = np.where(allowed, table, -np.inf).argmax(axis=0)
    return np.where(allowed.any(axis=0), chosen, -1)


def fewest_missed(good: ArrayLike, limits: ArrayLike) -> int:
    """The first of the designs that miss the fewest specs; -1 without any design that has all of its values."""
    table = np.asarray(good, dtype=np.float64)
    complete = ~np.isnan(table).any(axis=1)
    if not complete.any():
        return -1
    missed = (~met(table, limits)).sum(axis=1)
    return int(np.where(complete, missed, missed.max(initial=0) + 1).argmin())


def hypervolume(good: ArrayLike, reference: ArrayLike) -> float:
    """Area that two-column goodness (N, 2) dominates beyond a reference point (2,); 0 where nothing does."""
    table = np.asarray(good, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    table = table[(table > 0.0).all(axis=1)]
    table = table[np.argsort(-table[:, 0])]
    reached = np.maximum.accumulate(np.concatenate([[0.0], table[:, 1]])) if len(table) else np.zeros(1)
    return float((table[:, 0] * np.diff(reached)).sum())

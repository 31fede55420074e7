"""Gaussian elimination for many matrices of one pattern: the order is found once, and zeros are never touched.

The order follows Markowitz: each pivot is the entry that makes the fewest products, among those that are large enough
in a sample matrix. Every elimination watches its pivots, and gives up where one is too small beside its column for the
result to be trusted; the caller then solves densely, with pivoting of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zsgym.simulators.physics.compiling import compiled

Indices = NDArray[np.int64]
LARGE_ENOUGH = 1e-3
"""Least size of a pivot in the sample, beside the largest entry of its column."""
TOO_SMALL = 1e-8
"""Size of a pivot beside the largest entry of its column at which an elimination gives up."""


class Order(NamedTuple):
    """Pivots, and for each the rows below and the columns beyond in which there is something.

    row, column: (n,) place of the pivots. rows, columns: all lists one after the other; those of pivot k stand from
    first_row[k] to first_row[k + 1] and from first_column[k] to first_column[k + 1].
    """

    row: Indices
    column: Indices
    rows: Indices
    first_row: Indices
    columns: Indices
    first_column: Indices


def find_order(pattern: NDArray[np.bool_], sample: NDArray[np.float64]) -> Order:
    """The order of elimination for matrices that are zero where the pattern is.

    :param pattern: (n, n). :param sample: (n, n) magnitudes to judge pivots by; where nothing is large enough, the
        largest entry is taken.
    """
    filled = pattern.copy()
    values = np.where(filled, sample, 0.0).astype(np.float64)
    size = len(filled)
    rows_left, columns_left = np.ones(size, dtype=bool), np.ones(size, dtype=bool)
    pivots: list[tuple[int, int]] = []
    below: list[NDArray[np.int64]] = []
    beyond: list[NDArray[np.int64]] = []
    for _ in range(size):
        active = filled & rows_left[:, None] & columns_left[None, :]
        magnitudes = np.where(active, np.abs(values), 0.0)
        allowed = active & (magnitudes >= LARGE_ENOUGH * magnitudes.max(axis=0)) & (magnitudes > 0.0)
        if not allowed.any():
            allowed = active if active.any() else rows_left[:, None] & columns_left[None, :]
        cost = np.outer(active.sum(axis=1) - 1, active.sum(axis=0) - 1).astype(np.float64)
        cost -= magnitudes / (1.0 + 2.0 * magnitudes.max())  # among equals the largest
        row, column = np.unravel_index(np.argmin(np.where(allowed, cost, np.inf)), cost.shape)
        rows_left[row], columns_left[column] = False, False
        others = np.flatnonzero(filled[:, column] & rows_left)
        along = np.flatnonzero(filled[row] & columns_left)
        pivots.append((int(row), int(column)))
        below.append(others)
        beyond.append(along)
        filled[np.ix_(others, along)] = True
        if values[row, column] != 0.0:
            factors = values[others, column] / values[row, column]
            values[np.ix_(others, along)] -= np.outer(factors, values[row, along])
    return Order(
        np.array([row for row, _ in pivots], dtype=np.int64),
        np.array([column for _, column in pivots], dtype=np.int64),
        *_joined(below),
        *_joined(beyond),
    )


def _joined(lists: list[NDArray[np.int64]]) -> tuple[Indices, Indices]:
    ends = np.cumsum([0, *(len(one) for one in lists)])
    return np.concatenate([*lists, np.zeros(0, dtype=np.int64)]).astype(np.int64), ends.astype(np.int64)


@compiled
def solve_in_order(order: Any, matrix: Any, right: Any, answer: Any) -> bool:
    """Solve matrix @ answer = right; false when a pivot is too small.

    :param matrix: destroyed. :param right: (rows, k), destroyed. :param answer: (rows, k).
    """
    columns = right.shape[1]
    for k in range(order.row.shape[0]):
        row, column = order.row[k], order.column[k]
        pivot = matrix[row, column]
        size = abs(pivot)
        largest = size
        for at in range(order.first_row[k], order.first_row[k + 1]):
            largest = max(largest, abs(matrix[order.rows[at], column]))
        if not size > TOO_SMALL * largest:
            return False
        inverse = 1.0 / pivot
        matrix[row, column] = inverse
        for at in range(order.first_row[k], order.first_row[k + 1]):
            other = order.rows[at]
            factor = matrix[other, column] * inverse
            for beyond in range(order.first_column[k], order.first_column[k + 1]):
                place = order.columns[beyond]
                matrix[other, place] -= factor * matrix[row, place]
            for j in range(columns):
                right[other, j] -= factor * right[row, j]
    for k in range(order.row.shape[0] - 1, -1, -1):
        row, column = order.row[k], order.column[k]
        for j in range(columns):
            total = right[row, j]
            for beyond in range(order.first_column[k], order.first_column[k + 1]):
                total -= matrix[row, order.columns[beyond]] * answer[order.columns[beyond], j]
            answer[column, j] = total * matrix[row, column]
    return True


@compiled
def solve_dense(matrix: Any, right: Any, answer: Any, size: int) -> bool:
    """Solve matrix @ answer = right with row pivoting; false if the matrix is singular.

    :param matrix: destroyed. :param right: (rows, k), destroyed. :param answer: (rows, k). Rows and columns from `size`
        on are left alone.
    """
    columns = right.shape[1]
    for k in range(size):
        pivot, best = k, abs(matrix[k, k])
        for i in range(k + 1, size):
            if abs(matrix[i, k]) > best:
                pivot, best = i, abs(matrix[i, k])
        if not best > 0.0:
            return False
        if pivot != k:
            for j in range(k, size):
                matrix[k, j], matrix[pivot, j] = matrix[pivot, j], matrix[k, j]
            for j in range(columns):
                right[k, j], right[pivot, j] = right[pivot, j], right[k, j]
        inverse = 1.0 / matrix[k, k]
        for i in range(k + 1, size):
            if matrix[i, k] != 0.0:
                factor = matrix[i, k] * inverse
                for j in range(k + 1, size):
                    matrix[i, j] -= factor * matrix[k, j]
                for j in range(columns):
                    right[i, j] -= factor * right[k, j]
    for k in range(size - 1, -1, -1):
        for j in range(columns):
            total = right[k, j]
            for i in range(k + 1, size):
                total -= matrix[k, i] * answer[i, j]
            answer[k, j] = total / matrix[k, k]
    return True

"""Designs: which ones to keep, what ngspice says of them, and the file that tells how they were found."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from zsgym.sizing.problem import BudgetSpent, Design, Problem
from zsgym.sizing.score import score


def distinct(designs: Iterable[Design], k: int, distance: float = 0.1) -> list[Design]:
    """The k best designs by `score`, no two of which are nearer than `distance` along every parameter.

    :param distance: in unit values; 0.1 is a twentieth of a parameter's range.
    """
    chosen: list[Design] = []
    for design in sorted(designs, key=score, reverse=True):
        if len(chosen) >= k:
            break
        if all(np.abs(design.unit - other.unit).max() >= distance for other in chosen):
            chosen.append(design)
    return chosen


def verify(
    designs: Iterable[Design], truth: Problem, k: int, *, every: bool = False, distance: float = 0.1
) -> list[Design]:
    """Up to k distinct designs as another backend sees them, best first; ends at the first feasible one.

    :param truth: usually of ngspice; its budget counts, and running out of it ends the verification.
    :param every: verify all k, in one batch. :param distance: see `distinct`.
    """
    candidates = distinct(designs, k, distance)
    verified: list[Design] = []
    try:
        if every and candidates:
            return truth.evaluate(np.array([design.unit for design in candidates]))
        for design in candidates:
            verified += truth.evaluate(design.unit)
            if verified[-1].feasible:
                break
    except BudgetSpent as spent:
        verified += spent.designs
    return verified

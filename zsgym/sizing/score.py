"""What an optimiser maximises: the reward of a design, continued below zero for sizings that do not work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zsgym.outcome import Failure, Outcome

if TYPE_CHECKING:
    from zsgym.sizing.problem import Design

_FAILING = -13.0
"""Every working sizing scores above this: at most eleven specs missed completely, and a doubt of at most one."""
_PENALTY = {
    Failure.GEOMETRY: 27.0,
    Failure.NO_CONVERGENCE: 24.0,
    Failure.OPERATING_POINT: 18.0,
    Failure.NO_GAIN: 15.0,
    Failure.UNSTABLE: 3.0,
    Failure.UNSETTLED: 1.0,
    Failure.UNPHYSICAL: 0.0,
    Failure.PREDICTED: 0.0,
}
"""How far each failure lies below the worst working sizing, before it is graded: earlier in the verdict is worse."""


def score(design: Design) -> float:
    """What an optimiser maximises: finite and graded everywhere, where the reward of the environments is flat.

    A working sizing scores its reward; one that a surrogate expects to work, the mean of the reward at its prediction
    and at the worse ends of its intervals, plus the logarithm of `p_valid` (at least -1). A failing one scores below
    every working one, by how badly it fails: the earlier the reason in the verdict the worse, then the output's error
    (V), the right-half-plane pole (decades of rad/s) or the static error; a predicted failure by `p_valid`.
    """
    outcome = design.outcome
    if outcome.success:
        doubt = 0.0 if outcome.p_valid is None else max(math.log(max(outcome.p_valid, 1e-12)), -1.0)
        return 0.5 * (design.reward + design.cautious) + doubt
    if outcome.failure is None:
        raise ValueError("an infrastructure error says nothing about a sizing: it cannot be scored")
    return _FAILING - _PENALTY[outcome.failure] - _severity(outcome)


def _severity(outcome: Outcome) -> float:
    """How badly a sizing fails among those with the same reason; within the gap to the next reason of `_PENALTY`."""
    raw = outcome.raw
    if outcome.failure is Failure.OPERATING_POINT:
        return min(max(raw.get("output_error") or 0.0, 0.0), 1.8) / 1.8 * 6.0
    if outcome.failure is Failure.NO_GAIN:
        return 2.0 * (1.0 - min(max(raw.get("dc_gain") or 0.0, 0.0), 100.0) / 100.0)
    if outcome.failure is Failure.UNSTABLE:
        return min(math.log10(1.0 + max(raw.get("max_pole_real") or 0.0, 0.0)), 10.0)
    if outcome.failure is Failure.UNSETTLED:
        return 2.0 * min(max(raw.get("static_error") or 0.0, 0.0), 1.0)
    if outcome.failure is Failure.PREDICTED:
        return 14.0 * (1.0 - (outcome.p_valid or 0.0))
    return 0.0

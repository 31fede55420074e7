"""What an optimiser maximises: the reward of a design, continued below zero for sizings that do not work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zsgym.circuits import Circuit
from zsgym.classes import Failure, VerdictPolicy
from zsgym.classes.verdict import GEOMETRY_PENALTY
from zsgym.simulators.outcome import Outcome

if TYPE_CHECKING:
    from zsgym.sizing.problem import Design

_PREDICTED_PENALTY = 14.0
"""How far a sizing of which a model is certain that it fails lies below the worst working one."""


def score(design: Design) -> float:
    """What an optimiser maximises: finite and graded everywhere, where the reward of the environments is flat.

    A working sizing scores its reward; one that a surrogate expects to work, the mean of the reward at its prediction
    and at the worse ends of its intervals, plus the logarithm of `p_valid` (at least -1). A failing one scores minus
    its shortfall, below every working one.
    """
    outcome = design.outcome
    if outcome.success:
        doubt = 0.0 if outcome.p_valid is None else max(math.log(max(outcome.p_valid, 1e-12)), -1.0)
        return 0.5 * (design.reward + design.cautious) + doubt
    if outcome.failure is None:
        raise ValueError("an infrastructure error says nothing about a sizing: it cannot be scored")
    return -design.shortfall


def shortfall(circuit: Circuit, policy: VerdictPolicy, outcome: Outcome) -> float:
    """How far below zero a failing sizing scores, by how badly it fails.

    The earlier the reason stands among the checks of the circuit's class the worse; within a reason it is graded by
    what was measured (see `Check.penalty`), a predicted failure by `p_valid`.
    """
    worst_working = len(circuit.metrics) + 2.0  # every spec missed completely, and a doubt of one; and one between them
    if outcome.failure == Failure.GEOMETRY:
        return worst_working + GEOMETRY_PENALTY
    if outcome.failure == Failure.PREDICTED:
        return worst_working + _PREDICTED_PENALTY * (1.0 - (outcome.p_valid or 0.0))
    # Of the reason that the outcome states: what it holds of measurements need not be complete.
    return worst_working + circuit.circuit_class.severity(outcome.raw, policy, outcome.failure)

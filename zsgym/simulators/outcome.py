"""What a simulator answers: an outcome, one of three ways."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from zsgym.base.errors import SimulatorError
from zsgym.classes.verdict import Raw


class Status(StrEnum):
    """What a simulator can say. `undecided` comes from one that predicts: it asks for ngspice, and is never a label."""

    SUCCESS = "success"
    CIRCUIT_FAILURE = "circuit_failure"
    INFRASTRUCTURE_ERROR = "infrastructure_error"
    UNDECIDED = "undecided"


PREDICTORS = frozenset({"surrogate", "physics"})
"""Names of the simulators whose answers are predictions: only ngspice labels."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulator says about one case.

    status: success, circuit_failure (the sizing is at fault), infrastructure_error (nobody knows; never a label) or
    undecided (this simulator does not know; never a label).
    failure: the first reason, for circuit failures only: one of those that the class declares, or `predicted`.
    metrics: canonical name -> SI value, for successes only. An optional metric that was asked for and could not be
    determined is NaN; see `determined`.
    raw: every measurement that was made, also for failures, so that a label can be recomputed under another policy.
    operating_points: device -> quantity -> SI value, when the backend computes them.
    p_valid: probability of success, from a surrogate; None from ngspice, and from a simulator that solves equations.
    uncertainty: metric -> (low, high) prediction interval, from a surrogate; None from ngspice.
    in_distribution: whether a surrogate was trained on anything alike; None from ngspice.
    backend: name of the simulator that answered. error: why there is no label.
    elapsed_s: wall time of this evaluation in seconds.
    """

    status: Status
    failure: str | None = None
    metrics: Mapping[str, float] | None = None
    raw: Raw = field(default_factory=dict)
    operating_points: Mapping[str, Mapping[str, float]] | None = None
    p_valid: float | None = None
    uncertainty: Mapping[str, tuple[float, float]] | None = None
    in_distribution: bool | None = None
    backend: str = ""
    error: SimulatorError | None = None
    elapsed_s: float = 0.0

    @property
    def success(self) -> bool:
        """True when the circuit works."""
        return self.status is Status.SUCCESS

    @property
    def determined(self) -> dict[str, float] | None:
        """The metrics that have a value: what is stored and sent; None for a failure."""
        if self.metrics is None:
            return None
        return {name: value for name, value in self.metrics.items() if not math.isnan(value)}

    @property
    def label(self) -> int | None:
        """1 for a success, 0 for a circuit failure, None (no label) for all else."""
        return {Status.SUCCESS: 1, Status.CIRCUIT_FAILURE: 0}.get(self.status)

    @property
    def predicted(self) -> bool:
        """Whether the answer waits for a simulation."""
        return self.backend in PREDICTORS

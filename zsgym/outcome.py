"""What is asked of a simulator (a sizing, under conditions) and what it answers (an outcome, one of three ways)."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from zsgym.base.errors import SimulatorError

Sizing = Mapping[str, float]
"""Sizing parameter name -> value, in the units that the circuit declares (um, count, F, ohm, A)."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which conditions an amplifier is simulated.

    corner: SKY130 process corner (tt, ff, ss, sf, fs). supply: V. temperature: degrees Celsius. load: capacitance from
    output to ground, F. common_mode_ratio: input common-mode voltage divided by the supply.
    """

    corner: str = "tt"
    supply: float = 1.8
    temperature: float = 27.0
    load: float = 10e-12
    common_mode_ratio: float = 0.4

    @property
    def common_mode(self) -> float:
        """Input common-mode voltage in volts."""
        return self.supply * self.common_mode_ratio

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for logs and JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


class Status(StrEnum):
    """Three ways, never two."""

    SUCCESS = "success"
    CIRCUIT_FAILURE = "circuit_failure"
    INFRASTRUCTURE_ERROR = "infrastructure_error"


class Failure(StrEnum):
    """Why a sizing does not work, in the order in which the reasons are tested."""

    GEOMETRY = "geometry"
    NO_CONVERGENCE = "no_convergence"
    OPERATING_POINT = "operating_point"
    NO_GAIN = "no_gain"
    UNSTABLE = "unstable"
    UNSETTLED = "unsettled"
    UNPHYSICAL = "unphysical"
    PREDICTED = "predicted"
    """A surrogate expects a failure and cannot say which. Never a label."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulator says about one sizing.

    status: success, circuit_failure (the sizing is at fault) or infrastructure_error (nobody knows; never a label).
    failure: the first reason, for circuit failures only.
    metrics: canonical name -> SI value, for successes only.
    raw: every measurement that was made, also for failures, so that a label can be recomputed under another policy.
    operating_points: device -> quantity -> SI value, when the backend computes them.
    p_valid: probability of success, from a surrogate; None from ngspice.
    uncertainty: metric -> (low, high) prediction interval, from a surrogate; None from ngspice.
    in_distribution: whether a surrogate was trained on anything alike; None from ngspice.
    backend: name of the simulator that answered. error: message of an infrastructure error.
    elapsed_s: wall time of this evaluation in seconds.
    """

    status: Status
    failure: Failure | None = None
    metrics: Mapping[str, float] | None = None
    raw: Mapping[str, float | None] = field(default_factory=dict)
    operating_points: Mapping[str, Mapping[str, float]] | None = None
    p_valid: float | None = None
    uncertainty: Mapping[str, tuple[float, float]] | None = None
    in_distribution: bool | None = None
    backend: str = ""
    error: SimulatorError | None = None
    elapsed_s: float = 0.0

    @property
    def success(self) -> bool:
        """True when the amplifier works."""
        return self.status is Status.SUCCESS

    @property
    def label(self) -> int | None:
        """1 for a success, 0 for a circuit failure, None (no label) for an infrastructure error."""
        return {Status.SUCCESS: 1, Status.CIRCUIT_FAILURE: 0}.get(self.status)

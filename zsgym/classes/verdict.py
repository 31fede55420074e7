"""The verdict: does a circuit with these measurements work, and if not, what is the first reason?

A class of circuits lists its checks in order. A verdict is the first check that is missed: a pure function of stored
raw measurements and of a policy, so that every label can be recomputed under other thresholds without simulating again.
Report, command line, label and the graded score of an optimiser read the same list.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from zsgym.base.quantities import quantity

Raw = Mapping[str, float | None]
"""Measurement -> SI value. None: it was made and is undefined. Absent: it was not made."""


class Failure:
    """Names of the reasons that mean the same for every class. A class may declare further ones."""

    GEOMETRY = "geometry"
    """A transistor lies outside all model bins: a closed-form fact, nothing is simulated."""
    NO_CONVERGENCE = "no_convergence"
    OPERATING_POINT = "operating_point"
    NO_GAIN = "no_gain"
    UNSTABLE = "unstable"
    UNSETTLED = "unsettled"
    UNPHYSICAL = "unphysical"
    PREDICTED = "predicted"
    """A surrogate expects a failure and cannot say which. Never a label."""


GEOMETRY_PENALTY = 27.0
"""How far a sizing outside the models lies below the worst working one, see `Check.penalty`."""


class VerdictPolicy(BaseModel):
    """Thresholds that separate a working circuit from a failure. A class derives its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Grade:
    """How badly a check is missed: from 0 to `size`, while a measurement goes from `good` to `bad` (SI).

    logarithmic: decades of one plus the value count.
    """

    key: str
    good: float
    bad: float
    size: float
    logarithmic: bool = False

    def of(self, raw: Raw) -> float:
        """0 where the measurement is good, `size` where it is bad or worse; one that is missing counts as zero."""
        value = raw.get(self.key)
        value = 0.0 if value is None or math.isnan(value) else value
        if self.logarithmic:
            value = math.log10(1.0 + max(value, 0.0))
        share = (value - self.good) / (self.bad - self.good)
        return self.size * min(max(share, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Limit:
    """What one measurement of a working circuit keeps to.

    title: in words, for people. key: the measurement that is looked at. at_most, at_least: inclusive limits, SI; above:
    exclusive. Without any limit the measurement must exist, and be finite where `finite` says so. magnitude: its
    absolute value is compared. unit: SI; `flag` for a yes or no; `share` for a fraction that people read in per cent.
    made: a measurement that is there (not None) once this one was tried; before that a report says "not reached". By
    default it is the measurement itself. optional: a measurement that was not tried is not missed.
    """

    title: str
    key: str
    at_most: float | None = None
    at_least: float | None = None
    above: float | None = None
    finite: bool = False
    magnitude: bool = False
    unit: str = ""
    made: str = ""
    optional: bool = False

    def missed(self, raw: Raw) -> bool:
        """Whether the measurement misses its limit; one that was not made, or is NaN, does not pass."""
        if self.optional and not self._tried(raw):
            return False
        value = raw.get(self.key)
        return value is None or not self._holds(value)

    def kept(self, raw: Raw) -> bool | None:
        """The same for a reader: None where the simulation had ended before."""
        return not self.missed(raw) if self._tried(raw) else None

    @property
    def in_words(self) -> str:
        """The limit as people read it; empty where the measurement must only exist."""
        if self.unit == "flag":
            return "yes"
        for sign, bound in (("≤", self.at_most), ("≥", self.at_least), (">", self.above)):
            if bound is not None:
                return f"within ±{self._printed(bound)}" if self.magnitude else f"{sign} {self._printed(bound)}"
        return "a finite number" if self.finite else ""

    def measured(self, raw: Raw) -> str:
        """The measurement as people read it."""
        value = raw.get(self.key)
        return "none" if value is None else self._printed(value)

    def _tried(self, raw: Raw) -> bool:
        return raw.get(self.made or self.key) is not None

    def _holds(self, value: float) -> bool:
        number = abs(value) if self.magnitude else value
        return (
            (self.at_most is None or number <= self.at_most)
            and (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (not self.finite or math.isfinite(number))
        )

    def _printed(self, value: float) -> str:
        if self.unit == "flag":
            return "yes" if value else "no"
        if self.unit == "share":
            return f"{100.0 * value:.3g} %"
        return quantity(value, self.unit)


@dataclass(frozen=True, slots=True)
class Check:
    """A limit, the reason that a miss stands for, and how bad a miss is.

    penalty, grade: how far a miss lies below the worst working circuit, and how much further by how bad it is: what an
    optimiser climbs where the reward of the environments is flat.
    """

    failure: str
    limit: Limit
    penalty: float = 0.0
    grade: Grade | None = None

    def severity(self, raw: Raw) -> float:
        """Penalty and grade of a miss."""
        return self.penalty + (self.grade.of(raw) if self.grade else 0.0)

    def in_words(self, raw: Raw) -> str:
        """Such as `error of the output level: 312 mV, limit ≤ 50 mV`."""
        wanted = self.limit.in_words
        return f"{self.limit.title}: {self.limit.measured(raw)}" + (f", limit {wanted}" if wanted else "")


def first_missed(checks: Iterable[Check], raw: Raw) -> Check | None:
    """The check that decides: the first that is missed, or None when the circuit works."""
    return next((check for check in checks if check.limit.missed(raw)), None)


def first_shown(checks: Iterable[Check], raw: Raw) -> Check | None:
    """The first check that is missed for certain, where some measurements were not made; None where none is."""
    return next((check for check in checks if check.limit.kept(raw) is False), None)


def misses(checks: Iterable[Check], raw: Raw) -> list[str]:
    """The missed checks in words. One that was not reached is left out: simulation ends once the verdict is known."""
    return [check.in_words(raw) for check in checks if check.limit.kept(raw) is False]

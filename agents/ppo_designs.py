"""The designs of a training run: the best that the surrogate has shown, and what ngspice says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from zsgym.tables import table

from zsgym.simulators import Simulator
from zsgym.sizing.belief import Belief
from zsgym.sizing.designs import distinct, spec_report
from zsgym.sizing.problem import Design, Problem

FloatArray = NDArray[np.float64]

CAPACITY = 1000
_SHORTLIST = 128
"""Designs that are ranked again after every simulation."""
_DISTINCT = 0.05
"""Two designs differ by at least this much along one parameter; the whole range is 2."""


@dataclass
class Archive:
    """The best working sizings seen so far: by reward, and where every spec is met by the smallest margin.

    units: (N, n) normalised sizings. merit: (N,) the reward below zero, the smallest margin above.
    """

    units: FloatArray
    merit: FloatArray = field(default_factory=lambda: np.empty(0))

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """An archive of sizings with that many parameters."""
        return cls(np.empty((0, dimension)))

    def add(self, units: FloatArray, margins: FloatArray) -> None:
        """Offer working sizings (B, n) with their margins (B, specs)."""
        reward = np.minimum(margins, 0.0).sum(axis=1)
        merit = np.where(reward < 0.0, reward, margins.min(axis=1))
        floor = self.merit.min() if len(self.merit) >= CAPACITY else -np.inf
        better = merit > floor
        if not better.any():
            return
        units, first = np.unique(np.concatenate([self.units, units[better]]), axis=0, return_index=True)
        merit = np.concatenate([self.merit, merit[better]])[first]
        order = np.argsort(-merit, kind="stable")[:CAPACITY]
        self.units, self.merit = units[order], merit[order]

    @property
    def feasible(self) -> int:
        """How many of them meet every spec, as the surrogate sees them."""
        return int((self.merit >= 0.0).sum())


@dataclass(frozen=True, eq=False)
class Verified:
    """One design as both simulators see it.

    step: environment steps of training when it was simulated. belief: the probability that it is feasible, as believed
    before; NaN where nobody asked. predicted, measured: the surrogate's answer and that of ngspice.
    """

    step: int
    belief: float
    predicted: Design
    measured: Design

    @property
    def merit(self) -> float:
        """As ngspice sees it: the reward below zero, the smallest margin where every spec is met."""
        return min(self.measured.margins.values()) if self.measured.feasible else self.measured.reward

    def gap(self) -> dict[str, float]:
        """Margin of each spec in ngspice minus that of the surrogate, where both say that the sizing works."""
        predicted, measured = self.predicted.margins, self.measured.margins
        return {name: measured[name] - predicted[name] for name in measured if name in predicted}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        believed = None if math.isnan(self.belief) else self.belief
        predicted = self.predicted.as_dict()
        predicted.pop("sizing")  # the same as the measured one
        return {"step": self.step, "belief": believed, **self.measured.as_dict(), "predicted": predicted}


class Verifier:
    """Chooses designs of an archive by the belief that they are feasible, and simulates them in ngspice.

    Every answer of ngspice corrects the belief, and with it the next choice (see `zsgym.sizing.belief`).

    :param surrogate: what the archive was seen by. :param truth: a problem of ngspice; its budget counts, too.
    :param belief: of the same targets; None when no surrogate was trained on: the archive's own order is used then.
    :param verified: what an earlier process of this run has verified.
    :param budget: simulations of ngspice in the whole run; None for no limit.
    """

    def __init__(
        self,
        surrogate: Simulator,
        truth: Problem,
        belief: Belief | None,
        verified: Sequence[Verified] = (),
        budget: int | None = None,
    ) -> None:
        self.truth, self.belief, self._budget = truth, belief, budget
        self.verified = list(verified)
        self._predictor = Problem(truth.circuit, backend=surrogate, targets=dict(truth.targets))
        self._learn()

    @property
    def best(self) -> Verified | None:
        """The best verified design."""
        return max(self.verified, key=lambda row: row.merit, default=None)

    @property
    def remaining(self) -> int | None:
        """Simulations left; None without a limit."""
        own = None if self._budget is None else max(self._budget - len(self.verified), 0)
        return min((left for left in (own, self.truth.remaining) if left is not None), default=None)

    @property
    def confirmed(self) -> bool:
        """True when a design meets every spec in ngspice."""
        return any(row.measured.feasible for row in self.verified)

    def verify(self, archive: Archive, k: int, step: int, *, every: bool = False, least: float = 0.0) -> list[Verified]:
        """Simulate up to k designs, best believed first and each after the belief has learnt from the one before.

        :param step: noted in the records. :param every: go on after a feasible one. :param least: after the first
            design, the probability of being feasible below which simulating is not worth its price.
        :return: the new records; fewer when the budget is spent.
        :raises SimulatorError: ngspice failed; what it answered before is kept.
        """
        new: list[Verified] = []
        units, _ = self._ranked(archive.units)
        units = units[:_SHORTLIST]
        while len(new) < k and (every or not any(row.measured.feasible for row in new)):
            units, beliefs = self._ranked(units)
            if not len(units) or self.remaining == 0:
                break
            unit, believed = units[0], float(beliefs[0])
            if new and believed < least:
                break
            (predicted,) = self._predictor.evaluate(unit)
            (measured,) = self.truth.evaluate(unit)
            new.append(Verified(step, believed, predicted, measured))
            self.verified.append(new[-1])
            self._learn()
        return new

    def results(self, archive: Archive, k: int) -> Sequence[Verified | Design]:
        """Every verified design, best first; if there is none, k distinct designs as the surrogate sees them."""
        if self.verified:
            return sorted(self.verified, key=lambda row: -row.merit)
        units, _ = self._ranked(archive.units)
        return distinct(self._predictor.evaluate(units[:_SHORTLIST]), k, _DISTINCT) if len(units) else []

    def _ranked(self, units: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Those of (N, n) designs that were not simulated, most promising first, and how probably each is feasible."""
        known = np.array([row.measured.unit for row in self.verified]).reshape(-1, units.shape[1])
        distance = np.abs(units[:, None] - known[None]).max(axis=2).min(axis=1, initial=np.inf)
        units = units[distance >= _DISTINCT]
        if self.belief is None:
            return units, np.full(len(units), math.nan)
        with torch.inference_mode():
            positions = torch.from_numpy(self.belief.scale.positions(units))
            parts = [self.belief.log_feasibility(part).numpy() for part in torch.split(positions, 256)]
        values = np.concatenate([*parts, np.empty(0)])
        order = np.argsort(-values, kind="stable")
        return units[order], np.exp(values[order])

    def _learn(self) -> None:
        if self.belief is not None and self.verified:
            self.belief.learn([row.measured for row in self.verified])


def report(verifier: Verifier, k: int) -> str:
    """The best k designs in ngspice, best first, as both simulators see them; margins and sizing of the best."""
    designs = sorted(verifier.verified, key=lambda row: -row.merit)[:k]
    if not designs:
        return "no design was verified: what is written are predictions"
    rows = [
        [
            f"{row.step:,}",
            f"{row.belief:.2f}",
            f"{row.predicted.reward:.4f}",
            f"{row.measured.reward:.4f}",
            "yes" if row.measured.feasible else row.measured.outcome.failure or "no",
        ]
        for row in designs
    ]
    headers = ("steps", "belief", "surrogate", "ngspice", "meets every spec")
    best = designs[0].measured
    return "\n".join(
        [
            f"{len(verifier.verified)} designs simulated in ngspice; the best {len(designs)}, by reward:",
            table(headers, rows, right=(0, 1, 2, 3)),
            "\nthe first of them:",
            spec_report(best, verifier.truth.targets),
            "sizing: " + ", ".join(f"{name}={value:.4g}" for name, value in best.sizing.items()),
        ]
    )

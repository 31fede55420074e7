"""Which designs of a training ngspice simulates, what it says of them, and the file that tells it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zsgym.base.errors import PdkError, SimulatorMissingError
from zsgym.base.files import write_text
from zsgym.base.tables import table
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.simulators import Simulator
from zsgym.sizing.belief import Belief
from zsgym.sizing.designs import distinct, spec_report
from zsgym.sizing.problem import Design, Problem
from zsgym.training.archive import Archive

FloatArray = NDArray[np.float64]

_SHORTLIST = 128
"""Designs that are ranked again after every simulation."""
_DISTINCT = 0.05
"""Two designs differ by at least this much along one parameter; the whole range is 2."""


@dataclass(frozen=True, eq=False)
class Verified:
    """One design as both simulators see it.

    step: environment steps of training when it was simulated. belief: the probability that it is feasible, as believed
    before; NaN where nobody asked. predicted, measured: the answer of the simulator trained on, and that of ngspice.
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
        """Margin of each spec in ngspice minus that of the prediction, where both say that the sizing works."""
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

    :param trained_on: what the archive was seen by. :param truth: a problem of ngspice; its budget counts, too.
    :param belief: of the same targets; None where no model was trained on: the archive's own order is used then.
    :param budget: simulations of ngspice in the whole run; None for no limit.
    """

    def __init__(self, trained_on: Simulator, truth: Problem, belief: Belief | None, budget: int | None = None) -> None:
        self.truth, self.belief, self._budget = truth, belief, budget
        self.trained_on = trained_on
        self._verified: list[Verified] = []
        self._predictor = Problem(truth.circuit, backend=trained_on, targets=dict(truth.targets))

    @property
    def verified(self) -> list[Verified]:
        """Everything that was simulated, in order. What an earlier process of the run has simulated may be assigned."""
        return self._verified

    @verified.setter
    def verified(self, rows: Sequence[Verified]) -> None:
        self._verified = list(rows)
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
        points, _ = self._ranked(archive.points)
        points = points[:_SHORTLIST]
        while len(new) < k and (every or not any(row.measured.feasible for row in new)):
            points, beliefs = self._ranked(points)
            if not len(points) or self.remaining == 0:
                break
            point, believed = points[0], float(beliefs[0])
            if new and believed < least:
                break
            (predicted,) = self._predictor.evaluate(point)
            (measured,) = self.truth.evaluate(point)
            new.append(Verified(step, believed, predicted, measured))
            self._verified.append(new[-1])
            self._learn()
        return new

    def scalars(self, new: Sequence[Verified]) -> dict[str, float]:
        """What curves show of a verification (see `zsgym.training.callbacks.Verification`). :param new: its records."""
        found: dict[str, float] = {"spice/calls": len(self.verified)}
        if self.best is not None:
            found["spice/best_reward"] = self.best.measured.reward
        promised = [row.measured.feasible for row in self.verified if row.predicted.feasible]
        if promised:
            found["spice/confirmed"] = float(np.mean(promised))
        both = [row for row in new if row.gap()]
        if both:
            found["gap/reward"] = float(np.mean([row.measured.reward - row.predicted.reward for row in both]))
            for name in both[0].gap():
                found[f"gap/{name}"] = float(np.mean([row.gap()[name] for row in both]))
        return found

    def results(self, archive: Archive, k: int) -> Sequence[Verified | Design]:
        """Every verified design, best first; if there is none, k distinct designs as they are predicted."""
        if self.verified:
            return sorted(self.verified, key=lambda row: -row.merit)
        points, _ = self._ranked(archive.points)
        return distinct(self._predictor.evaluate(points[:_SHORTLIST]), k, _DISTINCT) if len(points) else []

    def report(self, k: int) -> str:
        """The best k designs in ngspice, best first, as both simulators see them; margins and sizing of the best."""
        designs = sorted(self.verified, key=lambda row: -row.merit)[:k]
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
        headers = ("steps", "belief", "predicted", "ngspice", "meets every spec")
        best = designs[0].measured
        return "\n".join(
            [
                f"{len(self.verified)} designs simulated in ngspice; the best {len(designs)}, by reward:",
                table(headers, rows, right=(0, 1, 2, 3)),
                "\nthe first of them:",
                spec_report(self.truth.circuit, best, self.truth.targets),
                "sizing: " + ", ".join(f"{name}={value:.4g}" for name, value in best.sizing.items()),
            ]
        )

    def _ranked(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Those of (N, n) designs that were not simulated, most promising first, and how probably each is feasible."""
        known = np.array([row.measured.point for row in self.verified]).reshape(-1, points.shape[1])
        distance = np.abs(points[:, None] - known[None]).max(axis=2).min(axis=1, initial=np.inf)
        points = points[distance >= _DISTINCT]
        if self.belief is None:
            return points, np.full(len(points), math.nan)
        with torch.inference_mode():
            positions = torch.from_numpy(self.belief.scale.positions(points))
            parts = [self.belief.log_feasibility(part).numpy() for part in torch.split(positions, 256)]
        values = np.concatenate([*parts, np.empty(0)])
        order = np.argsort(-values, kind="stable")
        return points[order], np.exp(values[order])

    def _learn(self) -> None:
        if self.belief is not None and self.verified:
            self.belief.learn([row.measured for row in self.verified])


def require_ngspice(truth: Problem, budget: int | None) -> None:
    """Find out before a long training what would otherwise end it.

    :param budget: with zero nothing is verified, and nothing is required.
    :raises SimulatorMissingError: ngspice is missing. :raises PdkError: the SKY130 models are.
    """
    if budget == 0:
        return
    try:
        _ = truth.provenance
    except (SimulatorMissingError, PdkError) as error:
        raise type(error)(
            f"designs are verified in ngspice, and that cannot run: {error}. "
            "With --spice-budget 0 the agent is trained without, and its designs are predictions"
        ) from error


def write_results(
    path: Path, agent: str, verifier: Verifier, archive: Archive, k: int, steps: int, arguments: Mapping[str, Any]
) -> None:
    """The designs of a training and where they come from, as JSON, in one step.

    :param k: of predictions, where nothing was verified. :param steps: of training. :param arguments: JSON-able.
    :raises ConfigError: the file cannot be written.
    """
    truth = verifier.truth
    verified_by = truth.provenance if verifier.verified else {}
    content = {
        "agent": agent,
        "circuit": truth.circuit.name,
        "targets": truth.targets,
        "steps": steps,
        "simulations": len(verifier.verified),
        "designs": [design.as_dict() for design in verifier.results(archive, k)],
        "arguments": dict(arguments),
        "provenance": provenance_of_this_process() | dict(verifier.trained_on.provenance) | dict(verified_by),
    }
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

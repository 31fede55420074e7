"""Which sizings of a round ngspice labels: the most promising, the least certain, and random ones as a control.

Their labels decide about the next checkpoint, too, and nothing may be trained on those that do. On which side of the
split a sizing stands is known before it is simulated (`surrogate.data`), so that a round of a few dozen labels can
still have enough on the deciding side.

Axes: N sizings, n parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from surrogate.calibration import mahalanobis
from surrogate.checkpoint import Checkpoint
from surrogate.data import on_side, positions
from surrogate.graph import group_features, topology_tensors
from surrogate.retrain.log import Log
from surrogate.simulator import SurrogateSimulator
from zsgym.circuits import Circuit
from zsgym.circuits.geometry import inside_models
from zsgym.classes import Targets
from zsgym.classes.specs import exactly
from zsgym.sizing import Design, Problem

FloatArray = NDArray[np.float64]
Kind = Literal["best", "uncertain", "random"]

_LOOKED_AT = 4000
"""Sizings among which the least certain are looked for."""


class ChooseSettings(BaseModel):
    """See `configs/surrogate/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    best: float = Field(gt=0, le=1)
    uncertain: float = Field(ge=0, le=1)
    gate: float = Field(ge=0, lt=1)
    distance: float = Field(gt=0)
    log_rows: int = Field(gt=0)


@dataclass(frozen=True, eq=False)
class Claim:
    """A design as the surrogate sees it, and the targets that it was made for (metric -> SI value)."""

    design: Design
    targets: Targets


@dataclass(frozen=True, eq=False)
class Found:
    """What an agent has found on the surrogate: a round chooses from it.

    claims: designs, the most promising first. vectors: (N, n) sizings on the way, in declared units. p_valid: (N,)
    what the surrogate says of them. control: (M, n) sizings from which a random choice is drawn, in a random order.
    """

    claims: Sequence[Claim]
    vectors: FloatArray
    p_valid: FloatArray
    control: FloatArray


@dataclass(frozen=True)
class Chosen:
    """A sizing that waits for its label, and what the surrogate says about it.

    kind: why it was chosen. targets: those that it was made for; the circuit's own where there were none. feasible,
    reward, metrics, p_valid, in_distribution: the prediction, judged by these targets. certain: feasible also
    at the worse end of every interval.
    """

    kind: Kind
    sizing: dict[str, float]
    targets: dict[str, float]
    feasible: bool
    certain: bool
    reward: float
    metrics: dict[str, float] | None
    p_valid: float
    in_distribution: bool

    @classmethod
    def of(cls, kind: Kind, claim: Claim) -> Chosen:
        """A claim that was chosen."""
        design, outcome = claim.design, claim.design.outcome
        return cls(
            kind,
            design.sizing,
            dict(claim.targets),
            design.feasible,
            design.feasible and design.cautious >= 0.0,
            design.reward,
            None if outcome.metrics is None else dict(outcome.metrics),
            outcome.p_valid or 0.0,
            bool(outcome.in_distribution),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def judged(simulator: SurrogateSimulator, vectors: FloatArray, targets: Sequence[Targets]) -> list[Claim]:
    """What the surrogate claims of (N, n) sizings in declared units, each for targets of its own."""
    circuit = simulator.circuit
    cases = circuit.cases(vectors)
    claims = []
    for case, vector, wanted, outcome in zip(cases, vectors, targets, simulator.simulate(cases), strict=True):
        problem = Problem(circuit, backend=simulator, targets=exactly(circuit.targets, wanted))
        point = np.clip(circuit.to_point(vector), -1.0, 1.0)
        claims.append(Claim(problem.design_of(point, case.sizing, outcome), wanted))
    return claims


def found_in_log(
    log: Log, simulator: SurrogateSimulator, count: int, settings: ChooseSettings, rng: np.random.Generator
) -> Found:
    """What the agents that wrote a log have found, as the present checkpoint sees it (the log may hold older answers).

    :param count: size of the round. Of a long log, `settings.log_rows` random rows are looked at.
    """
    circuit = simulator.circuit
    waiting = log.waiting
    inside = inside_models(circuit, log.vectors[waiting])  # the others need neither a model nor a simulation
    rows = rng.permutation(waiting[inside])[: settings.log_rows]
    vectors = log.vectors[rows]
    if not len(rows):
        return Found([], vectors, np.empty(0), vectors)
    targets = [log.targets[row] or circuit.targets for row in rows]
    predicted = simulator.predict(circuit.cases(vectors))
    margins = circuit.metrics.margin_table(predicted.metrics, np.array([circuit.metrics.row(t) for t in targets]))
    reward = np.nansum(np.minimum(margins, 0.0), axis=1)
    merit = np.where(reward < 0.0, reward, np.nanmin(margins, axis=1, initial=np.inf))
    # Behind all that are expected to work, the others by how probably they do.
    merit = np.where(predicted.valid, merit, predicted.p_valid - 2.0 * margins.shape[1])
    most = np.argsort(-merit, kind="stable")[: 10 * count]  # many of them may be alike
    claims = judged(simulator, vectors[most], [targets[row] for row in most])
    return Found(claims, vectors, predicted.p_valid, vectors)


def choose(
    found: Found, simulator: SurrogateSimulator, count: int, settings: ChooseSettings, rng: np.random.Generator
) -> list[Chosen]:
    """Choose `count` sizings inside the transistor models, fewer where not as many differ; the order says nothing.

    Of the claims come the most promising. The budget that they leave, because too few differ, goes to the least
    certain.
    """
    circuit = simulator.circuit
    pick = _Picker(circuit, settings)
    claims = [claim for claim in found.claims if claim.design.outcome.p_valid]  # exactly zero outside the models
    designs = np.array([circuit.vector(claim.design.sizing) for claim in claims])
    best = [Chosen.of("best", claims[row]) for row in pick(designs, [range(len(claims))], round(settings.best * count))]
    n_random = count - round(settings.best * count) - round(settings.uncertain * count)
    some = rng.permutation(np.flatnonzero(found.p_valid > 0.0))[:_LOOKED_AT]
    candidates = found.vectors[some]
    doubtful, distant = _least_certain(simulator.checkpoint, circuit, candidates, found.p_valid[some])
    uncertain = candidates[pick(candidates, [doubtful, distant], count - len(best) - n_random)]
    control = found.control[pick(found.control, [range(len(found.control))], n_random)]
    own = circuit.targets
    return [
        *best,
        *(Chosen.of("uncertain", claim) for claim in judged(simulator, uncertain, [own] * len(uncertain))),
        *(Chosen.of("random", claim) for claim in judged(simulator, control, [own] * len(control))),
    ]


class _Picker:
    """Takes sizings in an order of preference, none like another, with a share on the deciding side of the split."""

    def __init__(self, circuit: Circuit, settings: ChooseSettings) -> None:
        self._circuit, self._settings = circuit, settings
        self._taken = np.empty((0, len(circuit.parameters)))

    def __call__(
        self, vectors: FloatArray, orders: Sequence[Sequence[int] | NDArray[np.intp]], count: int
    ) -> list[int]:
        """Rows of (N, n) sizings in declared units, an equal part by each order; `count` of them if so many differ."""
        if not len(vectors):
            return []
        points = np.clip(self._circuit.to_point(vectors), -1.0, 1.0)
        decides = on_side(positions(self._circuit, vectors), "test")
        picked: list[int] = []
        for part, order in enumerate(orders, start=1):
            upto = round(count * part / len(orders))
            left = {True: round(self._settings.gate * (upto - len(picked)))}
            left[False] = upto - len(picked) - left[True]
            for strict in (True, False):  # then whatever there is
                for row in order:
                    if len(picked) >= upto:
                        break
                    side = bool(decides[row])
                    if (not strict or left[side] > 0) and self._is_new(points[row]):
                        picked.append(int(row))
                        left[side] -= 1
        return picked

    def _is_new(self, point: FloatArray) -> bool:
        """Whether a sizing differs from all that were taken; it is then taken, too."""
        if (np.abs(self._taken - point).max(axis=1, initial=0.0) < self._settings.distance).any():
            return False
        self._taken = np.vstack([self._taken, point])
        return True


def _least_certain(
    checkpoint: Checkpoint, circuit: Circuit, vectors: FloatArray, p_valid: FloatArray
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Two orders of (N, n) sizings: nearest to the validity threshold first, and, of those that are expected to work,
    the farthest from the training rows as the model sees them first."""
    known = circuit.netlist_hash in checkpoint.topologies
    threshold = checkpoint.calibration[circuit.netlist_hash if known else "pooled"].threshold
    threshold = min(max(threshold, 1e-9), 1.0 - 1e-9)
    doubt = np.abs(_logit(p_valid) - math.log(threshold / (1.0 - threshold)))
    distance = np.where(p_valid >= threshold, embedding_distances(checkpoint, circuit, vectors), -np.inf)
    return np.argsort(doubt), np.argsort(-distance)


def _logit(p: FloatArray) -> FloatArray:
    clipped = np.clip(p, 1e-9, 1.0 - 1e-9)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def embedding_distances(checkpoint: Checkpoint, circuit: Circuit, vectors: FloatArray) -> FloatArray:
    """(N,) Mahalanobis distances of the graph tokens from those of the training rows."""
    if not len(vectors):
        return np.empty(0)
    features = group_features(circuit, torch.from_numpy(np.ascontiguousarray(vectors)))
    with torch.inference_mode():
        structure = checkpoint.model.encode_structure(topology_tensors([circuit]))
        parts = [checkpoint.model.predict(structure, None, chunk).embedding for chunk in torch.split(features, 512)]
    mean, precision = checkpoint.mean.double().numpy(), checkpoint.precision.double().numpy()
    return mahalanobis(torch.cat(parts).double().numpy(), mean, precision)

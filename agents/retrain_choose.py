"""Which sizings of a round ngspice labels: the best, the least certain, and random ones as a control."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agents.retrain_search import Found
from surrogate.calibration import mahalanobis
from surrogate.checkpoint import Checkpoint
from surrogate.graph import group_features, topology_tensors
from zsgym.circuits import Circuit
from zsgym.simulators.surrogate import SurrogateSimulator
from zsgym.sizing.problem import Design, Problem
from zsgym.sizing.scale import LogScale

FloatArray = NDArray[np.float64]
Kind = Literal["best", "uncertain", "random"]

_LOOKED_AT = 4000
"""Visited sizings among which the least certain are looked for."""


class ChooseSettings(BaseModel):
    """See `configs/agents/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    best: float = Field(gt=0, le=1)
    uncertain: float = Field(ge=0, le=1)
    distance: float = Field(gt=0)


@dataclass(frozen=True)
class Chosen:
    """A sizing that waits for its label, and what the surrogate says about it.

    kind: why it was chosen. targets: of the search that found it; the circuit's own where there was none. feasible,
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

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def choose(
    found: Found, simulator: SurrogateSimulator, count: int, settings: ChooseSettings, rng: np.random.Generator
) -> list[Chosen]:
    """Choose `count` sizings inside the transistor models; the order says nothing.

    Of the searches' ends those that the surrogate calls feasible come first, then by how little they miss. The budget
    that the best ones leave, because too few differ, goes to the least certain.
    """
    circuit = simulator.circuit
    taken: list[FloatArray] = []
    order = sorted(range(len(found.ends)), key=lambda i: found.ends[i].reward, reverse=True)
    best = [
        _chosen("best", found.ends[i], found.targets[i])
        for i in order
        if found.ends[i].outcome.p_valid and _is_new(found.ends[i].unit, taken, settings.distance)
    ][: round(settings.best * count)]
    n_random = count - round(settings.best * count) - round(settings.uncertain * count)
    uncertain = _uncertain(found, simulator.checkpoint, circuit, count - len(best) - n_random, taken, settings, rng)
    control = LogScale.of(circuit).units(rng.random((n_random, len(circuit.parameters))))
    problem = Problem(circuit, backend=simulator)
    others: list[tuple[Kind, FloatArray]] = [("uncertain", uncertain), ("random", control)]
    return best + [
        _chosen(kind, design, dict(circuit.targets))
        for kind, units in others
        for design in (problem.evaluate(units) if len(units) else [])
    ]


def _chosen(kind: Kind, design: Design, targets: dict[str, float]) -> Chosen:
    outcome = design.outcome
    return Chosen(
        kind,
        design.sizing,
        targets,
        design.feasible,
        design.feasible and design.cautious >= 0.0,
        design.reward,
        None if outcome.metrics is None else dict(outcome.metrics),
        outcome.p_valid or 0.0,
        bool(outcome.in_distribution),
    )


def _is_new(unit: FloatArray, taken: list[FloatArray], distance: float) -> bool:
    """Whether a unit differs from all that were taken; it is then taken, too."""
    new = all(np.abs(unit - other).max() >= distance for other in taken)
    if new:
        taken.append(unit)
    return new


def _uncertain(
    found: Found,
    checkpoint: Checkpoint,
    circuit: Circuit,
    count: int,
    taken: list[FloatArray],
    settings: ChooseSettings,
    rng: np.random.Generator,
) -> FloatArray:
    """(count, n) units that the searches visited: half of them nearest to the validity threshold, half of them valid
    and farthest from the training rows as the model sees them."""
    inside = np.flatnonzero(found.p_valid > 0.0)  # exactly zero outside the transistor models
    some = rng.permutation(inside)[:_LOOKED_AT]
    units, p_valid = found.visited[some], found.p_valid[some]
    threshold = checkpoint.calibration[circuit.netlist_hash].threshold
    doubt = np.abs(_logit(p_valid) - math.log(threshold / (1.0 - threshold)))
    distance = np.where(p_valid >= threshold, embedding_distances(checkpoint, circuit, units), -np.inf)
    picked: list[FloatArray] = []
    for order, limit in ((np.argsort(doubt), count - count // 2), (np.argsort(-distance), count)):
        for row in order:
            if len(picked) >= limit:
                break
            if _is_new(units[row], taken, settings.distance):
                picked.append(units[row])
    return np.array(picked).reshape(len(picked), units.shape[1])


def _logit(p: FloatArray) -> FloatArray:
    clipped = np.clip(p, 1e-9, 1.0 - 1e-9)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def embedding_distances(checkpoint: Checkpoint, circuit: Circuit, units: FloatArray) -> FloatArray:
    """(N,) Mahalanobis distances of the graph tokens from those of the training rows."""
    features = group_features(circuit, torch.from_numpy(circuit.from_unit(units)))
    with torch.inference_mode():
        structure = checkpoint.model.encode_structure(topology_tensors([circuit]))
        parts = [checkpoint.model.predict(structure, None, chunk).embedding for chunk in torch.split(features, 512)]
    mean, precision = checkpoint.mean.double().numpy(), checkpoint.precision.double().numpy()
    return mahalanobis(torch.cat(parts).double().numpy(), mean, precision)

"""A model that is random but smooth, and truths that differ from it in a known way."""

from __future__ import annotations

import numpy as np
import torch

from surrogate.checkpoint import Checkpoint
from surrogate.graph import group_features, topology_tensors
from surrogate.predict import Predictor
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf, untrained_checkpoint
from zsgym.circuits import Cases, Circuit
from zsgym.classes.amplifier import METRICS
from zsgym.simulators.base import Errors
from zsgym.simulators.outcome import Outcome, Status
from zsgym.sizing.scale import LogScale


def smooth_checkpoint() -> Checkpoint:
    """A random but smooth model whose metrics spread as if it had been trained; its validity is too mild to decide."""
    made = untrained_checkpoint([nmcf()])
    made.calibration = {
        key: value.model_copy(update={"temperature": 0.5, "threshold": 1e-6}) for key, value in made.calibration.items()
    }
    vectors = LogScale.of(nmcf()).values(positions(200, seed=9).numpy())
    features = group_features(nmcf(), torch.from_numpy(vectors))
    with torch.no_grad():
        made.model.metric_head *= 20.0
        metrics = made.model.predict(made.model.encode_structure(topology_tensors([nmcf()])), None, features).metrics
        made.model.metric_bias -= metrics.mean(dim=0)
    return made


class ShiftedTruth(FakeSimulator):
    """A truth that differs from a surrogate by a constant in one metric (normalised), and has no failures."""

    name = "ngspice"

    def __init__(self, circuit: Circuit, checkpoint: Checkpoint, metric: str, shift: float) -> None:
        super().__init__(circuit)
        self.predictor = Predictor(checkpoint, circuit)
        self.column = METRICS.names.index(metric)
        self.transform, self.shift = checkpoint.normaliser.metrics[self.column], shift

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        metrics = self.predictor.predict(cases.vectors).metrics
        moved = self.transform.normalise(metrics[:, self.column]) + self.shift
        metrics[:, self.column] = self.transform.restore(moved)
        rows = [dict(zip(METRICS.names, row, strict=True)) for row in metrics.tolist()]
        return [Outcome(Status.SUCCESS, metrics=row, backend=self.name) for row in rows]


def positions(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 0.9, (count, len(nmcf().parameters))))

"""A checkpoint as `zsgym.sizing` needs it: differentiable from the sizing to validity and metrics of one circuit.

And how much more than the targets an agent should ask for, so that an error of the surrogate does not decide.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from surrogate.config import CalibrationConfig
from surrogate.data import MEASURED_FAILURES, TRANSIENT
from surrogate.graph import group_features, topology_tensors
from surrogate.model import SurrogateModel
from surrogate.transforms import CLIP, Transform
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.classes import Targets
from zsgym.simulators.outcome import Outcome

if TYPE_CHECKING:
    from surrogate.checkpoint import Checkpoint

_WIDEST = 3.0
"""Half-width of an interval that promises nothing, in standard deviations of the training data."""


def load(path: Path | None = None) -> Checkpoint:
    """The model behind the entry point `surrogate` of the group `zsgym.models`.

    :param path: of a checkpoint; None means the one that comes with the package.
    :raises CheckpointError: it cannot be used.
    """
    from surrogate.checkpoint import Checkpoint, shipped

    return Checkpoint.load(path or shipped())


class DifferentiableSurrogate:
    """See `zsgym.sizing.models.CircuitModel`. The checkpoint's own model is left as it is.

    :param circuit: one that the checkpoint was trained on, best; any other is answered with its pooled calibration.
    """

    def __init__(self, checkpoint: Checkpoint, circuit: Circuit) -> None:
        self.circuit = circuit
        self._model: SurrogateModel = copy.deepcopy(checkpoint.model).requires_grad_(False)
        known = circuit.netlist_hash in checkpoint.topologies
        calibration = checkpoint.calibration[circuit.netlist_hash if known else "pooled"]
        self._temperature = calibration.temperature
        half_width = torch.tensor(calibration.interval, dtype=torch.float64).clamp(max=_WIDEST)
        self.spread = half_width / NormalDist().inv_cdf((1.0 + _coverage(checkpoint)) / 2.0)  # (K,)
        self.scales: Sequence[Transform] = checkpoint.normaliser.metrics
        with torch.no_grad():
            self._structure = self._model.encode_structure(topology_tensors([circuit]))

    def predict(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrated validity logits (B,) and normalised metrics (B, K) of sizings (B, n) in declared units."""
        features = group_features(self.circuit, values)
        prediction = self._model.predict(self._structure, None, features)
        return prediction.validity.double() / self._temperature, prediction.metrics.double().clamp(-CLIP, CLIP)

    def measured(self, outcome: Outcome) -> Mapping[str, float | None]:
        """Metric -> SI value: those of a working circuit, and of a failing one what training rows keep of it."""
        if outcome.failure not in MEASURED_FAILURES:
            return outcome.metrics or {}
        return {name: value for name, value in outcome.raw.items() if name not in TRANSIENT}


def guarded(checkpoint: Checkpoint, circuit: Circuit, targets: Targets, share: float) -> dict[str, float]:
    """Targets tightened by a share of the surrogate's prediction interval.

    An episode ends as soon as every spec is met; without a guard, training ends every episode right at the border,
    where an error of the surrogate decides.

    :param targets: metric -> SI value. :param share: 0 leaves them as they are, 1 moves them by half an interval.
    :raises ConfigError: it is not such a share.
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"guard is a share of the prediction interval, between 0 and 1, got {share}")
    known = circuit.netlist_hash in checkpoint.topologies
    calibration = checkpoint.calibration[circuit.netlist_hash if known else "pooled"]
    tightened = {}
    for name, target in targets.items():
        k = circuit.metrics.names.index(name)
        transform, half_width = checkpoint.normaliser.metrics[k], min(calibration.interval[k], 1.0)
        normalised = transform.normalise(np.array(abs(target))) + circuit.metrics.signs[k] * share * half_width
        tightened[name] = max(float(transform.restore(normalised)), 0.1 * abs(target))
    return tightened


def _coverage(checkpoint: Checkpoint) -> float:
    """What the conformal intervals of a checkpoint promise."""
    config = checkpoint.provenance.get("config", {}).get("calibration", {})
    return float(config.get("coverage", CalibrationConfig().coverage))

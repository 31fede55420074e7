"""Predictions in physical units, classification first: metrics are given only where the sizing is expected to work."""

import warnings
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate.calibration import mahalanobis, probability
from surrogate.checkpoint import Checkpoint
from surrogate.graph import group_features, topology_tensors
from surrogate.transforms import CLIP
from zsgym.circuits import Circuit
from zsgym.circuits.geometry import inside_models
from zsgym.simulators.base import Predictions

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_CHUNK = 128
RANGE_SLACK = 1e-6
"""Of float32 rounding, on the ranges of training."""


class ZeroShotWarning(UserWarning):
    """The surrogate was never trained on this topology."""


class Predictor:
    """A checkpoint applied to one circuit. Its structure is encoded once, here.

    :param circuit: one that the checkpoint was trained on, or any other, which is answered zero-shot with a warning.
    """

    def __init__(self, checkpoint: Checkpoint, circuit: Circuit) -> None:
        self.checkpoint, self.circuit = checkpoint, circuit
        self.trained = circuit.netlist_hash in checkpoint.topologies
        if not self.trained:
            warnings.warn(
                f"the surrogate was trained on {', '.join(checkpoint.topologies.values())}, not on {circuit.name}: "
                "its answers are zero-shot extrapolations, and its probabilities and intervals promise nothing",
                ZeroShotWarning,
                stacklevel=2,
            )
        self.calibration = checkpoint.calibration[circuit.netlist_hash if self.trained else "pooled"]
        self._interval = np.array(self.calibration.interval)  # (K,)
        if self.trained:
            ranges = [self.calibration.ranges[group] for group in circuit.groups]
            self._low, self._high = np.array(ranges).swapaxes(0, 1)  # each (P, F)
        self._mean, self._precision = checkpoint.mean.double().numpy(), checkpoint.precision.double().numpy()
        with torch.inference_mode():
            self._structure = checkpoint.model.encode_structure(topology_tensors([circuit]))

    def predict(self, vectors: FloatArray) -> Predictions:
        """Predict a batch.

        :param vectors: (B, n) sizing vectors in declared units (um, count, F, ohm, A).
        """
        started = perf_counter()
        features = group_features(self.circuit, torch.from_numpy(np.ascontiguousarray(vectors)))  # (B, P, F)
        logit, normalised, embedding = self._forward(features)
        geometry = inside_models(self.circuit, vectors)
        p_valid = np.where(geometry, probability(logit, self.calibration.temperature), 0.0)
        valid = geometry & (p_valid >= self.calibration.threshold)
        known = np.where(valid[:, None], np.clip(normalised, -CLIP, CLIP), np.nan)  # (B, K); targets were clipped, too
        metrics, low, high = self._restored(np.stack([known, known - self._interval, known + self._interval]))
        familiar = self._in_distribution(features, embedding)
        elapsed = (perf_counter() - started) / max(len(vectors), 1)
        return Predictions(geometry, p_valid, valid, metrics, low, high, familiar, elapsed)

    def _forward(self, features: torch.Tensor) -> tuple[FloatArray, FloatArray, FloatArray]:
        model = self.checkpoint.model
        with torch.inference_mode():
            parts = [model.predict(self._structure, None, chunk) for chunk in torch.split(features, _CHUNK)]
        columns = ((part.validity, part.metrics, part.embedding) for part in parts)
        logit, metrics, embedding = (torch.cat(column).double().numpy() for column in zip(*columns, strict=True))
        return logit, metrics, embedding

    def _restored(self, normalised: FloatArray) -> FloatArray:
        """(..., K) normalised values in SI units."""
        scales = self.checkpoint.normaliser.metrics
        return np.stack([scale.restore(normalised[..., k]) for k, scale in enumerate(scales)], axis=-1)

    def _in_distribution(self, features: torch.Tensor, embedding: FloatArray) -> BoolArray:
        if not self.trained:
            return np.zeros(len(embedding), dtype=bool)
        values = features.double().numpy()
        inside = ((values >= self._low - RANGE_SLACK) & (values <= self._high + RANGE_SLACK)).all(axis=(1, 2))
        near = mahalanobis(embedding, self._mean, self._precision) <= self.calibration.max_distance
        return np.asarray(inside & near)

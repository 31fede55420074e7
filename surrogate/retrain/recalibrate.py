"""Calibration of fine-tuned weights: measured where there are rows enough, and kept from before where there are not.

A temperature and a threshold that rest on a few rows are noise, and worse than those of the weights that training began
with: a few hundred steps of fine-tuning change what they measure only a little. So each circuit is measured anew
from a minimum of working and of failing calibration rows on; below it, the calibration before stays in force, and the
checkpoint's provenance says so (`calibration_kept`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from surrogate.calibration import (
    Calibration,
    CalibrationRows,
    calibrate,
    conformal_interval,
    fit_precision,
    mahalanobis,
)
from surrogate.checkpoint import Checkpoint
from surrogate.config import CalibrationConfig
from surrogate.corpus import Corpus
from surrogate.data import Batch, Rows, to_batch
from surrogate.graph import topology_tensors
from surrogate.model import Prediction, SurrogateModel
from surrogate.train import calibration_rows
from surrogate.trainer import predict_all
from surrogate.transforms import CLIP

FloatArray = NDArray[np.float64]

_ROWS_PER_DIMENSION = 10
"""Training rows per dimension of the embedding from which a covariance is measured."""


class CalibrateSettings(BaseModel):
    """See `configs/surrogate/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    working: int = Field(gt=0)
    failing: int = Field(gt=0)


def recalibrated(
    model: SurrogateModel,
    corpus: Corpus,
    start: Checkpoint,
    settings: CalibrateSettings,
    config: CalibrationConfig,
    provenance: Mapping[str, Any],
) -> Checkpoint:
    """A checkpoint of fine-tuned weights, for the circuits of the corpus.

    A circuit that the corpus does not hold is no longer among its topologies: nothing was replayed of it, so that
    nothing is promised for it either.

    :param start: the checkpoint that the training began with; a circuit that it does not know starts from its pooled
        calibration.
    """
    distinct = torch.unique(corpus.train.features.flatten(1), dim=0)
    mean, precision = start.mean.double().numpy(), start.precision.double().numpy()
    spread_is_measured = len(distinct) >= _ROWS_PER_DIMENSION * len(mean)
    if spread_is_measured:
        mean, precision = fit_precision(predict_all(model, corpus.topology, corpus.train).embedding.double().numpy())
    measured: dict[str, Calibration] = {}
    kept: list[str] = []
    parts: list[CalibrationRows] = []
    for index, rows in enumerate(corpus.rows):
        key = rows.circuit.netlist_hash
        valid = rows.side("calibration").valid
        if valid.size:
            parts.append(calibration_rows(model, corpus, index, mean, precision))
        if _enough(valid, settings):
            measured[key] = calibrate(parts[-1], **config.model_dump())
            continue
        before = start.calibration[key if key in start.topologies else "pooled"]
        own = corpus.train[corpus.train.index == index]
        embedding = predict_all(model, corpus.topology, own).embedding.double().numpy()
        reach = float(np.quantile(mahalanobis(embedding, mean, precision), 0.999))
        reach = reach if spread_is_measured else max(reach, before.max_distance)
        measured[key] = before.model_copy(update={"ranges": _ranges(rows, own, before), "max_distance": reach})
        kept.append(_what_is_kept(rows.circuit.name, valid, settings, before))
    pooled = CalibrationRows.pooled(parts) if parts else None
    anew = pooled is not None and _enough(pooled.valid, settings)
    return Checkpoint(
        model.eval(),
        corpus.normaliser,
        {"pooled": calibrate(pooled, **config.model_dump()) if pooled and anew else start.calibration["pooled"]}
        | measured,
        {r.circuit.netlist_hash: r.circuit.name for r in corpus.rows},
        torch.from_numpy(mean),
        torch.from_numpy(precision),
        {**provenance, "calibration_kept": kept},
    )


def _enough(valid: NDArray[np.bool_], settings: CalibrateSettings) -> bool:
    return bool(valid.sum() >= settings.working and (~valid).sum() >= settings.failing)


def _what_is_kept(name: str, valid: NDArray[np.bool_], settings: CalibrateSettings, before: Calibration) -> str:
    return (
        f"{name}: {valid.sum()} working and {(~valid).sum()} failing rows to calibrate on, fewer than "
        f"{settings.working} and {settings.failing}: temperature {before.temperature:.3g} and threshold "
        f"{before.threshold:.3g} on p_valid stay as they were"
    )


def _ranges(rows: Rows, train: Batch, before: Calibration) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Sizing group -> lowest and highest features of all training, that of the checkpoint before included."""
    features = train.features.double().numpy()  # (m, P, F)
    ranges = {}
    for position, group in enumerate(rows.circuit.groups):
        low, high = features[:, position].min(axis=0), features[:, position].max(axis=0)
        if group in before.ranges:
            low, high = np.minimum(low, before.ranges[group][0]), np.maximum(high, before.ranges[group][1])
        ranges[group] = (tuple(low.tolist()), tuple(high.tolist()))
    return ranges


def widen_intervals(checkpoint: Checkpoint, rows: Rows, coverage: float) -> None:
    """Make each interval cover the calibration rows of the log as well.

    Split conformal intervals promise their coverage for rows like those that they were measured on. An agent looks for
    the errors of its surrogate, so that its designs are unlike the rows of a data set, and errors on them are larger.
    """
    key = rows.circuit.netlist_hash
    calibration = checkpoint.calibration[key]
    side = rows.side("calibration")
    if not len(side.vectors):
        return
    batch = to_batch([side], checkpoint.normaliser)
    error, known = metric_errors(predict_all(checkpoint.model, topology_tensors([side.circuit]), batch), batch, side)
    own = (conformal_interval(error[known[:, k], k], coverage) for k in range(error.shape[1]))
    # Infinite where too few rows can promise anything: then the interval stays as it is.
    widths = (max(a, b) if math.isfinite(b) else a for a, b in zip(calibration.interval, own, strict=True))
    checkpoint.calibration[key] = calibration.model_copy(update={"interval": tuple(widths)})


def metric_errors(prediction: Prediction, batch: Batch, rows: Rows) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(n, K) absolute errors of the metrics in standard deviations, and where they are defined: in working rows."""
    error = (prediction.metrics.clamp(-CLIP, CLIP) - batch.metrics).abs().double().numpy()
    return error, (batch.metrics_known.numpy() > 0) & rows.valid[:, None]

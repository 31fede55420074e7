"""Fine-tuning on what a round has labelled, recalibration, and the gate that a new checkpoint has to pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agents.retrain_rows import LearnSettings
from surrogate.calibration import conformal_interval, probability
from surrogate.checkpoint import Checkpoint
from surrogate.config import DataConfig, SurrogateConfig, TrainingConfig
from surrogate.corpus import Corpus
from surrogate.data import SIDES, Batch, Rows, to_batch
from surrogate.graph import topology_tensors
from surrogate.model import Prediction
from surrogate.scores import auroc, brier
from surrogate.train import calibrated
from surrogate.trainer import Trainer, predict_all
from surrogate.transforms import CLIP
from zsgym.metrics import METRIC_NAMES
from zsgym.samples.manifest import provenance_of_this_process

FloatArray = NDArray[np.float64]


class StartSettings(BaseModel):
    """See `configs/agents/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)


class GateSettings(BaseModel):
    """See `configs/agents/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tolerance: float = Field(ge=0)
    rows: int = Field(gt=0)


def fine_tune(
    corpus: Corpus,
    start: Checkpoint,
    folder: Path,
    settings: LearnSettings | StartSettings,
    seed: int,
    *,
    rounds: Rows | None = None,
    scratch: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Train from a checkpoint (or, with `scratch`, a new model of its size), and calibrate. Continues what the folder
    holds of the same training.

    :param rounds: rows of the rounds, on which the intervals shall cover, too. :param facts: for the provenance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batch_size = TrainingConfig().batch_size
    epochs = math.ceil(settings.steps / max(len(corpus.train) // batch_size, 1))
    training = TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.steps // 10,
        patience=epochs,
        seed=seed,
    )
    name = "scratch" if scratch else "retrained"
    config = SurrogateConfig(
        name=name, model=start.model.config, data=DataConfig(paths=("base", "rounds")), training=training
    )
    trainer = Trainer(config, corpus, folder, None if scratch else start)
    trainer.resume()
    trainer.run()
    # The weights of the last epoch, when the learning rate has decayed to zero. Which epoch validates best is a matter
    # of luck where few rows validate; what is worse on untouched rows is refused by the gate.
    provenance = {
        **provenance_of_this_process(),
        "training": training.model_dump(),
        "data_hash": corpus.digest,
        "policy": corpus.policy,
        "rows": {r.circuit.name: {side: len(r.side(side).vectors) for side in SIDES} for r in corpus.rows},
        "initial": None if scratch else start.sha256[:16],
        **(facts or {}),
    }
    checkpoint = calibrated(trainer.model, corpus, config, provenance)
    if rounds is not None:
        widen_intervals(checkpoint, rounds, config.calibration.coverage)
    return checkpoint


def widen_intervals(checkpoint: Checkpoint, rounds: Rows, coverage: float) -> None:
    """Make each interval cover the calibration rows of the rounds as well.

    Split conformal intervals promise their coverage for rows like those that they were measured on. A search looks for
    the errors of its surrogate, so that its designs are unlike the rows of a data set, and errors on them are larger.
    """
    key = rounds.circuit.netlist_hash
    calibration = checkpoint.calibration[key]
    rows = rounds.side("calibration")
    if not len(rows.vectors):
        return
    batch = to_batch([rows], checkpoint.normaliser)
    error, known = _errors(predict_all(checkpoint.model, topology_tensors([rows.circuit]), batch), batch, rows)
    own = (conformal_interval(error[known[:, k], k], coverage) for k in range(error.shape[1]))
    # Infinite where too few rows can promise anything: then the interval stays as it is.
    widths = (max(a, b) if math.isfinite(b) else a for a, b in zip(calibration.interval, own, strict=True))
    checkpoint.calibration[key] = calibration.model_copy(update={"interval": tuple(widths)})


def _errors(prediction: Prediction, batch: Batch, rows: Rows) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(n, K) absolute errors of the metrics in standard deviations, and where they are defined: in working rows."""
    error = (prediction.metrics.clamp(-CLIP, CLIP) - batch.metrics).abs().double().numpy()
    return error, (batch.metrics_known.numpy() > 0) & rows.valid[:, None]


def untouched_scores(checkpoint: Checkpoint, rows: Rows) -> dict[str, Any]:
    """How a checkpoint does on rows of one circuit that it never saw.

    brier: mean squared error of p_valid. log_loss: its mean cross-entropy. auroc: of p_valid. metric_error: mean
    absolute error of the metrics of working rows in standard deviations, each metric counted alike. coverage: share of
    these metrics inside their interval. rows, working: how many. None for what the rows do not define.
    """
    circuit = rows.circuit
    calibration = checkpoint.calibration.get(circuit.netlist_hash, checkpoint.calibration["pooled"])
    batch = to_batch([rows], checkpoint.normaliser)
    prediction = predict_all(checkpoint.model, topology_tensors([circuit]), batch)
    p_valid = np.clip(probability(prediction.validity.double().numpy(), calibration.temperature), 1e-7, 1.0 - 1e-7)
    error, known = _errors(prediction, batch, rows)
    by_metric = {name: float(error[known[:, k], k].mean()) for k, name in enumerate(METRIC_NAMES) if known[:, k].any()}
    inside = error <= np.array(calibration.interval)
    return {
        "rows": len(rows.vectors),
        "working": int(rows.valid.sum()),
        "brier": brier(rows.valid, p_valid),
        "log_loss": float(-np.log(np.where(rows.valid, p_valid, 1.0 - p_valid)).mean()),
        "auroc": auroc(rows.valid, p_valid) if 0 < rows.valid.sum() < len(rows.valid) else None,
        "metric_error": float(np.mean(list(by_metric.values()))) if by_metric else None,
        "by_metric": by_metric,
        "coverage": float(inside[known].mean()) if known.any() else None,
    }


_LEAST_HARM = 0.001
"""Absolute worsening that the gate never minds: a score near zero has no meaningful relative change."""


def judge_promotion(
    old: Mapping[str, Mapping[str, Any]],
    new: Mapping[str, Mapping[str, Any]],
    rounds: str,
    settings: GateSettings,
) -> list[str]:
    """Why a new checkpoint is refused; empty when it is promoted.

    :param old, new: set of test rows -> scores (`untouched_scores`). :param rounds: which of the sets holds rows of
        the rounds, on which the sum of Brier score and metric error must fall; on the others neither may rise.
        (The Brier score is bounded: on a few dozen rows no single one decides, as it would with the log loss.)
    """
    reasons = []
    for name in old:
        if name == rounds:
            continue
        for key in ("brier", "metric_error"):
            before, after = old[name][key], new[name][key]
            if before is not None and not after <= before * (1.0 + settings.tolerance) + _LEAST_HARM:
                reasons.append(f"{key} on {name} rose from {before:.4f} to {after:.4f}")
    if rounds in old and old[rounds]["rows"] >= settings.rows:
        before, after = _sum(old[rounds]), _sum(new[rounds])
        if not after < before:
            reasons.append(f"Brier score and metric error on {rounds} went from {before:.4f} to {after:.4f}")
    return reasons


def _sum(scores: Mapping[str, Any]) -> float:
    return float(scores["brier"]) + float(scores["metric_error"] or 0.0)

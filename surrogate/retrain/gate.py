"""The gate: a new checkpoint replaces the one in force only if it is better on untouched rows, beyond chance.

Both answer the same test rows, which nothing was trained, validated or calibrated on. On a row of the log, a checkpoint
loses the squared error of `p_valid`, plus, where the amplifier works, the error of its metrics. If the two were
equally good, the difference of their losses on a row would be as likely positive as negative: the share of all ways to
turn the signs round that gives a mean difference as large as the one seen is the chance of seeing it by luck (R. A.
Fisher's paired randomisation test, The Design of Experiments, 1935). It must not exceed `level`.

So a checkpoint is never promoted for being the same, nor on a handful of rows. It is refused, too, if it has become
worse on the test rows of a base data set: that is what it would have forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from surrogate.calibration import probability
from surrogate.checkpoint import Checkpoint
from surrogate.data import Rows, to_batch
from surrogate.graph import topology_tensors
from surrogate.retrain.recalibrate import metric_errors
from surrogate.scores import auroc, brier
from surrogate.trainer import predict_all
from zsgym.base.quantities import counted

FloatArray = NDArray[np.float64]

LOG = "log"
"""Name of the log's test rows, among those of the base data sets' circuits."""
_SIGNS = 9_999
"""Random ways to turn the signs round, besides the one that was seen."""
_LEAST_HARM = 0.001
"""Absolute worsening that the gate never minds: a score near zero has no meaningful relative change."""


class GateSettings(BaseModel):
    """See `configs/surrogate/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(gt=0)
    level: float = Field(gt=0, lt=1)
    tolerance: float = Field(ge=0)


@dataclass(frozen=True, eq=False)
class Scores:
    """How a checkpoint does on n rows of one circuit that it never saw.

    brier: (n,) squared error of p_valid. metric_error: (n,) of working rows, mean absolute error of the metrics in
    standard deviations; NaN elsewhere. summary: means and more, as plain values (see `untouched_scores`).
    """

    brier: FloatArray
    metric_error: FloatArray
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def loss(self) -> FloatArray:
        """(n,) by row; its mean is the mean of `brier` plus the mean of `metric_error` over the working rows."""
        works = ~np.isnan(self.metric_error)
        share = works.mean() if works.any() else 1.0
        return self.brier + np.where(works, self.metric_error, 0.0) / share


def untouched_scores(checkpoint: Checkpoint, rows: Rows) -> Scores:
    """Judge a checkpoint on test rows.

    The summary holds: brier; log_loss, the mean cross-entropy; auroc of p_valid; metric_error, each metric counted
    alike; by_metric; coverage, the share of metrics inside their interval; rows and working, how many. None for what
    the rows do not define.
    """
    circuit = rows.circuit
    known_circuit = circuit.netlist_hash in checkpoint.topologies
    calibration = checkpoint.calibration[circuit.netlist_hash if known_circuit else "pooled"]
    batch = to_batch([rows], checkpoint.normaliser)
    prediction = predict_all(checkpoint.model, topology_tensors([circuit]), batch)
    p_valid = np.clip(probability(prediction.validity.double().numpy(), calibration.temperature), 1e-7, 1.0 - 1e-7)
    error, known = metric_errors(prediction, batch, rows)
    by_metric = {
        name: float(error[known[:, k], k].mean()) for k, name in enumerate(circuit.metrics.names) if known[:, k].any()
    }
    counts = known.sum(axis=1)
    per_row = np.where(counts > 0, np.where(known, error, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)
    inside = error <= np.array(calibration.interval)
    summary = {
        "rows": len(rows.vectors),
        "working": int(rows.valid.sum()),
        "brier": brier(rows.valid, p_valid),
        "log_loss": float(-np.log(np.where(rows.valid, p_valid, 1.0 - p_valid)).mean()),
        "auroc": auroc(rows.valid, p_valid) if 0 < rows.valid.sum() < len(rows.valid) else None,
        "metric_error": float(np.mean(list(by_metric.values()))) if by_metric else None,
        "by_metric": by_metric,
        "coverage": float(inside[known].mean()) if known.any() else None,
    }
    return Scores((p_valid - rows.valid) ** 2, per_row, summary)


def chance(improvement: FloatArray) -> float:
    """How probably equally good checkpoints differ by so much: the p-value of the paired randomisation test, one-sided.

    :param improvement: (n,) loss of the old one minus loss of the new one, by row.
    """
    signs = np.random.default_rng(0).integers(0, 2, (_SIGNS, len(improvement))) * 2 - 1
    seen = improvement.sum()
    # Equal sums may differ in the last digit, as they are summed in another order.
    slack = 1e-9 * np.abs(improvement).sum()
    return float((1 + np.count_nonzero(signs @ improvement >= seen - slack)) / (1 + _SIGNS))


@dataclass(frozen=True)
class Verdict:
    """Whether a new checkpoint is promoted, and why not: refused is empty when it is.

    p: chance of so large an improvement on `rows` deciding rows if both were equally good; None where nothing decided.
    before, after: set of test rows -> summary of the scores on it.
    """

    refused: list[str]
    rows: int
    p: float | None
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


def compare(
    before: Checkpoint, candidate: Checkpoint, base: Mapping[str, Rows], new: Rows, settings: GateSettings
) -> Verdict:
    """Whether a candidate replaces the checkpoint in force.

    :param base: circuit -> rows of the base data sets. :param new: labelled rows of the log. Of both, the test rows.
    """
    old, found = (scores_by_set(checkpoint, base, new) for checkpoint in (before, candidate))
    known = {name: (old[name], found[name]) for name in old if name != LOG}
    verdict = judge_promotion(known, (old[LOG], found[LOG]) if LOG in old else None, settings)
    return replace(verdict, before=summaries(old), after=summaries(found))


def scores_by_set(checkpoint: Checkpoint, base: Mapping[str, Rows], new: Rows | None) -> dict[str, Scores]:
    """Scores on the test rows of each base circuit, by its name, and on those of the log, under `LOG`."""
    sets = {**base, **({} if new is None else {LOG: new})}
    untouched = {name: rows.side("test") for name, rows in sets.items()}
    return {name: untouched_scores(checkpoint, rows) for name, rows in untouched.items() if len(rows.vectors)}


def summaries(scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Plain values, for JSON."""
    return {name: found.summary for name, found in scores.items()}


def judge_promotion(
    base: Mapping[str, tuple[Scores, Scores]], deciding: tuple[Scores, Scores] | None, settings: GateSettings
) -> Verdict:
    """Compare a new checkpoint with the one in force.

    :param base: circuit -> scores before and after on the test rows of the base data sets. :param deciding: the same on
        the test rows of the log; None where it has none.
    """
    refused = []
    for name, (old, new) in base.items():
        for key in ("brier", "metric_error"):
            before, after = old.summary[key], new.summary[key]
            if before is not None and not after <= before * (1.0 + settings.tolerance) + _LEAST_HARM:
                refused.append(f"{key} on the base rows of {name} rose from {before:.4f} to {after:.4f}")
    rows = 0 if deciding is None else len(deciding[0].brier)
    if deciding is None or rows < settings.rows:
        refused.append(
            f"{counted(rows, 'test row')} of the log cannot show an improvement, at least {settings.rows} can: "
            "label more (--per-round, --rounds)"
        )
        return Verdict(refused, rows, None)
    before, after = (float(scores.loss.mean()) for scores in deciding)
    p = chance(deciding[0].loss - deciding[1].loss) if np.isfinite(after) else 1.0
    if not p <= settings.level:
        refused.append(
            f"the loss on {rows} test rows of the log went from {before:.4f} to {after:.4f}, which chance alone does "
            f"in {p:.2g} of such comparisons (at most {settings.level:g} is asked for)"
        )
    return Verdict(refused, rows, p)

"""Scores of a surrogate on held-out rows: of its validity, its numbers, its intervals, and the decisions made with it.

Every function takes what is true and an `Answers`, whoever gave it, and returns plain numbers for JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from surrogate_networks import Raw

from surrogate.calibration import Calibration, CalibrationRows, calibrate, probability
from surrogate.checkpoint import Checkpoint
from surrogate.data import Normaliser, Rows
from surrogate.predict import Predictor
from surrogate.scores import auroc, average_precision, brier, calibration_error, failures_caught, r_squared
from surrogate.transforms import CLIP, Transform
from zsgym.circuits import Circuit
from zsgym.classes import Targets
from zsgym.classes.amplifier import METRICS
from zsgym.classes.specs import FAILURE_REWARD, reward
from zsgym.simulators.base import Predictions, PredictiveSimulator
from zsgym.simulators.hybrid import HybridSimulator

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Scores = dict[str, Any]

_BOOTSTRAP = 200


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says about n in-bin sizings: everything, also the metrics of those that it expects to fail.

    p_valid: (n,). threshold: on it. metrics, low, high: (n, K) value and 90 % interval in SI units.
    in_distribution: (n,).
    """

    p_valid: FloatArray
    threshold: float
    metrics: FloatArray
    low: FloatArray
    high: FloatArray
    in_distribution: BoolArray

    @property
    def valid(self) -> BoolArray:
        """(n,) classified as working."""
        return self.p_valid >= self.threshold


def checkpoint_answers(checkpoint: Checkpoint, circuit: Circuit, vectors: FloatArray) -> Answers:
    """The answers of a trained surrogate, by the code that the backend runs."""
    key = circuit.netlist_hash if circuit.netlist_hash in checkpoint.topologies else "pooled"
    # With a threshold of zero, the predictor also shows the metrics that it would otherwise hold back.
    frank = {name: c.model_copy(update={"threshold": 0.0}) for name, c in checkpoint.calibration.items()}
    p = Predictor(changed(checkpoint, calibration=frank), circuit).predict(vectors)
    return Answers(p.p_valid, checkpoint.calibration[key].threshold, p.metrics, p.low, p.high, p.in_distribution)


def calibration_of(raw: Raw, rows: Rows, scales: Normaliser, failure_recall: float, coverage: float) -> Calibration:
    """The calibration of raw answers about calibration rows, by the code that calibrates the surrogate."""
    truth = normalised(rows.measured, scales)
    facts = CalibrationRows(
        raw.logit, truth - np.clip(raw.metrics, -CLIP, CLIP), np.zeros(len(truth)), rows.valid, features={}
    )
    return calibrate(facts, failure_recall=failure_recall, coverage=coverage)


def calibrated_answers(raw: Raw, calibration: Calibration, scales: Normaliser) -> Answers:
    """Raw answers with probabilities, threshold and intervals from a calibration."""
    metrics = np.clip(raw.metrics, -CLIP, CLIP)  # targets end there, and ten to a large power overflows
    interval = np.minimum(np.array(calibration.interval), 2.0 * CLIP)
    return Answers(
        probability(raw.logit, calibration.temperature),
        calibration.threshold,
        _restored(metrics, scales),
        _restored(metrics - interval, scales),
        _restored(metrics + interval, scales),
        np.ones(len(metrics), dtype=bool),
    )


def normalised(metrics: FloatArray, scales: Normaliser) -> FloatArray:
    """(n, K) SI values on the normalised scale, NaN where undefined."""
    return np.stack([scale.normalise(metrics[:, k]) for k, scale in enumerate(scales.metrics)], axis=1)


def _restored(metrics: FloatArray, scales: Normaliser) -> FloatArray:
    return np.stack([scale.restore(metrics[:, k]) for k, scale in enumerate(scales.metrics)], axis=1)


def validity_scores(valid: BoolArray, answers: Answers, outside: BoolArray) -> dict[str, Scores]:
    """Scores of the classifier on in-bin sizings and on all; failures are what is to be found.

    :param outside: (g,) truth about sizings outside the model bins, which the closed-form check calls failures.
    """
    everything = np.concatenate([valid, outside])
    p_valid = np.concatenate([answers.p_valid, np.zeros(len(outside))])
    return {
        "in_bin": _validity(valid, answers.p_valid, answers.threshold),
        "all": _validity(everything, p_valid, answers.threshold),
    }


def _validity(valid: BoolArray, p_valid: FloatArray, threshold: float) -> Scores:
    alarm = p_valid < threshold
    low, high = _bootstrap_auroc(valid, p_valid)
    return {
        "rows": valid.size,
        "working_share": float(valid.mean()),
        "auroc": auroc(valid, p_valid),
        "auroc_low": low,
        "auroc_high": high,
        "average_precision_of_failures": average_precision(~valid, -p_valid),
        "recall_of_failures": _share(alarm[~valid]),
        "false_alarms": _share(alarm[valid]),
        "caught_at_5_percent_false_alarms": failures_caught(valid, p_valid, 0.05),
        "ece": calibration_error(valid, p_valid),
        "brier": brier(valid, p_valid),
    }


def _bootstrap_auroc(valid: BoolArray, p_valid: FloatArray) -> tuple[float, float]:
    """90 % interval over resampled test rows."""
    rng = np.random.default_rng(0)
    draws = (rng.integers(0, valid.size, valid.size) for _ in range(_BOOTSTRAP))
    low, high = np.nanquantile([auroc(valid[rows], p_valid[rows]) for rows in draws], [0.05, 0.95])
    return float(low), float(high)


def _share(mask: BoolArray) -> float:
    return float(mask.mean()) if mask.size else float("nan")


def metric_scores(rows: Rows, answers: Answers, scales: Normaliser) -> dict[str, Scores]:
    """Per metric, over every working row: errors on the transformed scale and in SI units, and the intervals.

    `r2_answered` leaves out the working rows that the model calls failures, for which it would report no metric.
    """
    scores = {}
    answered = answers.valid[rows.valid]
    for k, (name, scale) in enumerate(zip(METRICS.names, scales.metrics, strict=True)):
        columns = (a[rows.valid, k] for a in (rows.measured, answers.metrics, answers.low, answers.high))
        truth, guess, low, high = columns
        error = np.abs(guess - truth)
        relative = error / np.maximum(np.abs(truth), 1e-30)
        scores[name] = {
            "unit": METRICS[name].unit,
            "scale": scale.kind,
            "r2": r_squared(_scaled(truth, scale), _scaled(guess, scale)),
            "r2_answered": r_squared(_scaled(truth[answered], scale), _scaled(guess[answered], scale)),
            "r2_physical": r_squared(truth, guess),
            "mae": float(error.mean()),
            "mape": float(relative.mean()),
            "median_ape": float(np.median(relative)),
            "coverage": _share((low <= truth) & (truth <= high)),
            "width": float(np.median(_scaled(high, scale) - _scaled(low, scale))),
        }
    return scores


def _scaled(values: FloatArray, scale: Transform) -> FloatArray:
    """The transformed scale; where a logarithm is not defined (a wrong prediction), the least value it can have."""
    return np.nan_to_num(scale.normalise(values), nan=-CLIP)


def summary(metrics: Mapping[str, Scores]) -> Scores:
    """Figures over all metrics."""
    r2 = [scores["r2"] for scores in metrics.values()]
    return {
        "median_r2": float(np.median(r2)),
        "lowest_r2": float(np.min(r2)),
        "median_r2_answered": float(np.median([scores["r2_answered"] for scores in metrics.values()])),
        "median_mape": float(np.median([scores["mape"] for scores in metrics.values()])),
        "coverage": float(np.mean([scores["coverage"] for scores in metrics.values()])),
        "width": float(np.mean([scores["width"] for scores in metrics.values()])),
    }


def margins(metrics: FloatArray, targets: Targets) -> FloatArray:
    """(n, T) margin of every spec, NaN where a row has no metrics."""
    out = np.full((len(metrics), len(targets)), np.nan)
    for row, values in enumerate(metrics.tolist()):
        if all(map(np.isfinite, values)):
            out[row] = list(METRICS.margins(dict(zip(METRICS.names, values, strict=True)), targets).values())
    return out


def median_targets(rows: Rows) -> dict[str, float]:
    """Targets that half of the working rows meet, each: the hardest ones to decide."""
    working = rows.measured[rows.valid]
    return {name: float(np.median(np.abs(working[:, k]))) for k, name in enumerate(METRICS.names)}


def decision_scores(rows: Rows, answers: Answers, targets: Targets) -> Scores:
    """How often the surrogate changes a verdict: of single specs, where both say "works", and of the whole sizing."""
    true_margins, margins_said = margins(rows.measured, targets), margins(answers.metrics, targets)
    both = rows.valid & answers.valid
    flips = (true_margins[both] >= 0.0) != (margins_said[both] >= 0.0)  # (n, T)
    passes, said = passing(rows.valid, true_margins), passing(answers.valid, margins_said)
    return {
        "flips": dict(zip(targets, flips.mean(axis=0).tolist(), strict=True)) if both.any() else {},
        "mean_flip": float(flips.mean()) if both.any() else float("nan"),
        "any_flip": _share(flips.any(axis=1)),
        "true_passes": int(passes.sum()),
        "wrong_decisions": _share(passes != said),
        "false_accepts": int((said & ~passes).sum()),
        "false_rejects": int((passes & ~said).sum()),
    }


def passing(valid: BoolArray, row_margins: FloatArray) -> BoolArray:
    """(n,) works and meets every spec."""
    return valid & (row_margins >= 0.0).all(axis=1)


def regret_scores(rows: Rows, answers: Answers, targets: Targets, picks: Sequence[int] = (1, 10)) -> Scores:
    """What choosing designs by the surrogate costs: true reward of the best of its top k, against the true best."""
    truth = _rewards(rows.valid, margins(rows.measured, targets))
    order = np.argsort(-_rewards(answers.valid, margins(answers.metrics, targets)), kind="stable")
    best = float(truth.max())
    return {"best": best} | {f"top_{k}": best - float(truth[order[:k]].max()) for k in picks}


def _rewards(valid: BoolArray, row_margins: FloatArray) -> FloatArray:
    rewards = [reward({str(spec): margin for spec, margin in enumerate(row)}) for row in row_margins.tolist()]
    return np.where(valid, rewards, FAILURE_REWARD)


def hybrid_scores(
    rows: Rows, answers: Answers, targets: Targets, confidences: Sequence[float], n_outside: int
) -> dict[str, Scores]:
    """The hybrid backend's policy at several confidences: what it saves, and how often it decides wrongly.

    Decisions that differ from the truth can come from rows that the surrogate answers only. `share_all` also counts
    sizings outside the model bins, which need no simulation either.
    """
    true_margins, margins_said = margins(rows.measured, targets), margins(answers.metrics, targets)
    passes, said = passing(rows.valid, true_margins), passing(answers.valid, margins_said)
    flips = (true_margins >= 0.0) != (margins_said >= 0.0)  # (n, T)
    predictions = Predictions(
        np.ones(len(said), dtype=bool),
        answers.p_valid,
        answers.valid,
        answers.metrics,
        answers.low,
        answers.high,
        answers.in_distribution,
    )
    scores = {}
    for confidence in confidences:
        policy = _policy(rows.circuit, confidence, targets)
        trusted = policy.trusted(predictions)
        scores[f"{confidence:g}"] = {
            "share": _share(trusted),
            "share_all": float((trusted.sum() + n_outside) / (len(trusted) + n_outside)),
            "false_accepts": int((trusted & said & ~passes).sum()),
            "false_rejects": int((trusted & passes & ~said).sum()),
            "failures_called_working": int((trusted & answers.valid & ~rows.valid).sum()),
            "working_called_failures": int((trusted & ~answers.valid & rows.valid).sum()),
            "wrong_labels": _share((answers.valid != rows.valid)[trusted]),
            "flipped_specs": _share(flips[trusted & rows.valid & answers.valid].ravel()),
        }
    return scores


@dataclass(frozen=True, slots=True)
class _Named:
    """All that the policy, which is asked without simulating, wants to know of a simulator."""

    circuit: Circuit


def _policy(circuit: Circuit, confidence: float, targets: Targets) -> HybridSimulator:
    stand_in = cast(PredictiveSimulator, _Named(circuit))
    return HybridSimulator(stand_in, stand_in, confidence=confidence, targets=targets)

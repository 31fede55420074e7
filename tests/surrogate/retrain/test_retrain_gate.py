"""The gate: a checkpoint that is the same, worse, or better by luck is never promoted; one that is better is."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from surrogate.checkpoint import Checkpoint
from surrogate.data import Rows, read_rows
from surrogate.retrain.gate import GateSettings, Scores, chance, judge_promotion, untouched_scores
from surrogate.retrain.loop import Settings
from tests.surrogate.synthetic import make_rows, nmcf, untrained_checkpoint, write_rows
from zsgym.base.problems import read_model

SETTINGS = read_model(Settings.shipped(), Settings).gate


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return read_rows([write_rows(tmp_path_factory.mktemp("rows"), make_rows(nmcf(), 300, "log"))])["nmcf"]


def spoilt(checkpoint: Checkpoint, amount: float) -> Checkpoint:
    """The same with noise on the weights of its heads."""
    worse = copy.deepcopy(checkpoint)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        noise = torch.randn(worse.model.metric_head.shape, generator=generator)
        worse.model.metric_head += amount * noise
    return worse


def refused(old: Scores, new: Scores, settings: GateSettings = SETTINGS) -> list[str]:
    return judge_promotion({}, (old, new), settings).refused


def test_the_shipped_gate_asks_for_rows_and_for_a_level() -> None:
    assert SETTINGS.rows >= 20
    assert SETTINGS.level <= 0.05


def test_the_loss_of_the_rows_is_the_sum_of_the_scores(rows: Rows) -> None:
    scores = untouched_scores(untrained_checkpoint([nmcf()]), rows)
    assert scores.summary["rows"] == len(rows.vectors) == len(scores.loss)
    assert scores.summary["working"] == rows.valid.sum() == np.isfinite(scores.metric_error).sum()
    assert scores.summary["metric_error"] == pytest.approx(np.mean(list(scores.summary["by_metric"].values())))
    assert scores.loss.mean() == pytest.approx(scores.summary["brier"] + scores.summary["metric_error"])
    assert 0.0 <= scores.summary["brier"] <= 1.0


def test_an_identical_checkpoint_is_not_promoted(rows: Rows) -> None:
    scores = untouched_scores(untrained_checkpoint([nmcf()]), rows)
    verdict = judge_promotion({"nmcf": (scores, scores)}, (scores, scores), SETTINGS)
    assert verdict.p == 1.0
    assert len(verdict.refused) == 1
    assert "which chance alone does in 1 of such comparisons (at most 0.05 is asked for)" in verdict.refused[0]


def test_a_clearly_better_one_is_promoted_and_the_way_back_is_closed(rows: Rows) -> None:
    good = untrained_checkpoint([nmcf()])
    better, worse = (untouched_scores(c, rows) for c in (good, spoilt(good, 3.0)))
    assert worse.loss.mean() > better.loss.mean() + 0.1
    assert refused(worse, better) == []
    assert len(refused(better, worse)) == 1


@pytest.mark.parametrize("count", [0, 3, SETTINGS.rows - 1, SETTINGS.rows])
def test_few_rows_never_promote_however_much_better(rows: Rows, count: int) -> None:
    good = untrained_checkpoint([nmcf()])
    few = rows.take(np.arange(count))
    deciding = None
    if count:
        deciding = (untouched_scores(spoilt(good, 3.0), few), untouched_scores(good, few))
    verdict = judge_promotion({}, deciding, SETTINGS)
    assert (verdict.refused == []) == (count >= SETTINGS.rows)
    if count < SETTINGS.rows:
        assert f"{count} test row" in verdict.refused[0]
        assert f"at least {SETTINGS.rows} can" in verdict.refused[0]
        assert verdict.p is None


def test_equally_good_checkpoints_are_promoted_no_more_often_than_the_level_says() -> None:
    rng = np.random.default_rng(0)
    p = np.array([chance(rng.standard_t(2, 30)) for _ in range(400)])  # heavy tails, as losses have them
    assert 0.02 < (p <= 0.05).mean() < 0.08
    assert 0.4 < p.mean() < 0.6


def test_the_chance_is_that_of_the_signs() -> None:
    assert chance(np.full(10, 0.3)) == pytest.approx(1 / 2**10, abs=1e-3)
    assert chance(np.array([5.0, -1.0])) == pytest.approx(0.5, abs=0.02)  # 5 - 1 is exceeded by 5 + 1
    assert chance(np.full(10, -0.3)) == 1.0
    assert chance(np.array([9.0] + [-0.1] * 20)) > 0.3  # one lucky row proves nothing


def test_a_checkpoint_that_answers_no_number_is_refused(rows: Rows) -> None:
    old = untouched_scores(untrained_checkpoint([nmcf()]), rows)
    broken = Scores(np.full(len(old.brier), np.nan), old.metric_error, old.summary | {"brier": float("nan")})
    assert len(refused(old, broken)) == 1
    assert len(judge_promotion({"nmcf": (old, broken)}, (old, broken), SETTINGS).refused) == 2


def scores(brier: float, error: float, rows: int = 50) -> Scores:
    summary: dict[str, Any] = {"rows": rows, "brier": brier, "metric_error": error}
    return Scores(np.full(rows, brier), np.full(rows, error), summary)


@pytest.mark.parametrize(
    ("brier", "error", "reason"),
    [
        (0.104, 0.209, None),
        (0.1059, 0.20, None),
        (0.1061, 0.20, "brier on the base rows of nmcnr rose from 0.1000 to 0.1061"),
        (0.10, 0.2109, None),
        (0.10, 0.2111, "metric_error on the base rows of nmcnr rose from 0.2000 to 0.2111"),
    ],
)
def test_what_would_be_forgotten_is_refused(brier: float, error: float, reason: str | None) -> None:
    deciding = (scores(0.2, 0.3), scores(0.1, 0.2))
    base = {"nmcnr": (scores(0.1, 0.2), scores(brier, error))}
    verdict = judge_promotion(base, deciding, GateSettings(rows=20, level=0.05, tolerance=0.05))
    assert verdict.refused == ([] if reason is None else [reason])

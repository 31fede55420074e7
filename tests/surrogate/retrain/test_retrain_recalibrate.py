"""Calibration of fine-tuned weights: measured from enough rows, and kept otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from surrogate.config import CalibrationConfig
from surrogate.corpus import Corpus
from surrogate.data import read_rows
from surrogate.predict import Predictor
from surrogate.retrain.gate import untouched_scores
from surrogate.retrain.recalibrate import CalibrateSettings, recalibrated, widen_intervals
from surrogate.retrain.rows import Base, LearnSettings, mixed_corpus
from tests.surrogate.synthetic import make_rows, nmcf, nmcnr, untrained_checkpoint, write_rows


def test_intervals_grow_until_they_cover_the_rows_of_the_rounds(tmp_path: Path) -> None:
    write_rows(tmp_path / "rounds", make_rows(nmcf(), 300, "log", seed=3))
    rounds = read_rows([tmp_path / "rounds"])["nmcf"]
    checkpoint = untrained_checkpoint([nmcf()])
    key = nmcf().netlist_hash
    before = checkpoint.calibration[key]
    assert untouched_scores(checkpoint, rounds.side("calibration")).summary["coverage"] < 0.5
    widen_intervals(checkpoint, rounds, 0.8)
    after = checkpoint.calibration[key]
    assert untouched_scores(checkpoint, rounds.side("calibration")).summary["coverage"] >= 0.8
    assert all(a >= b for a, b in zip(after.interval, before.interval, strict=True))
    assert after.model_copy(update={"interval": before.interval}) == before


def test_too_few_rows_of_the_rounds_leave_the_intervals_alone(tmp_path: Path) -> None:
    write_rows(tmp_path / "rounds", make_rows(nmcf(), 20, "log", seed=3))
    checkpoint = untrained_checkpoint([nmcf()])
    before = checkpoint.calibration[nmcf().netlist_hash]
    widen_intervals(checkpoint, read_rows([tmp_path / "rounds"])["nmcf"], 0.99)
    assert checkpoint.calibration[nmcf().netlist_hash] == before


def corpus_of(folder: Path, count: int) -> Corpus:
    """A corpus of new rows of one circuit alone."""
    new = read_rows([write_rows(folder / str(count), make_rows(nmcf(), count, "log", seed=4))])["nmcf"]
    learn = LearnSettings(replay=100, share=0.5, repeat=2, steps=1, passes=1, learning_rate=1e-3)
    normaliser = untrained_checkpoint([nmcf()]).normaliser
    return mixed_corpus(Base.read([]), new, normaliser, "functional", learn, np.random.default_rng(0))


@pytest.mark.parametrize(("minimum", "anew"), [(0, True), (1, False)])
def test_temperature_and_threshold_are_measured_from_a_minimum_of_rows_on(
    tmp_path: Path, minimum: int, anew: bool
) -> None:
    """`minimum`: by how much more is asked for than there is."""
    corpus, start = corpus_of(tmp_path, 200), untrained_checkpoint([nmcf()])
    (rows,) = corpus.rows
    valid = rows.side("calibration").valid
    settings = CalibrateSettings(working=valid.sum(), failing=(~valid).sum() + minimum)
    found = recalibrated(start.model, corpus, start, settings, CalibrationConfig(), {})
    before, after = (c.calibration[nmcf().netlist_hash] for c in (start, found))
    for calibration in (after, found.calibration["pooled"]):
        same = (calibration.temperature, calibration.threshold) == (before.temperature, before.threshold)
        assert same != anew
    kept = found.provenance["calibration_kept"]
    assert len(kept) == (not anew)
    if not anew:
        assert f"nmcf: {valid.sum()} working and {(~valid).sum()} failing rows to calibrate on, fewer than" in kept[0]
        assert "temperature 0.005" in kept[0]


def test_what_training_has_seen_counts_as_familiar_even_where_the_calibration_is_kept(tmp_path: Path) -> None:
    corpus, start = corpus_of(tmp_path, 60), untrained_checkpoint([nmcnr()])
    settings = CalibrateSettings(working=100, failing=100)
    found = recalibrated(start.model, corpus, start, settings, CalibrationConfig(), {})
    (rows,) = corpus.rows
    assert found.topologies == {nmcf().netlist_hash: "nmcf"}, "nothing of nmcnr was learnt again"
    assert found.calibration[nmcf().netlist_hash].temperature == start.calibration["pooled"].temperature
    predictions = Predictor(found, nmcf()).predict(rows.side("train").vectors)
    assert predictions.in_distribution.mean() > 0.95
    far = np.array([p.high for p in nmcf().parameters])
    assert not Predictor(found, nmcf()).predict(far[None]).in_distribution[0]

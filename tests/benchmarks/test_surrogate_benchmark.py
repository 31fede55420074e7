"""The evaluation of the surrogate on fabricated data: its scores are right, and its scripts run through and resume."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

import surrogate_vs_spice
import zero_shot
from surrogate_baselines import BASELINES, QUICK, tabular
from surrogate_rows import Data, load_data
from surrogate_scores import (
    Answers,
    calibrated_answers,
    calibration_of,
    checkpoint_answers,
    decision_scores,
    hybrid_scores,
    margins,
    metric_scores,
    regret_scores,
    summary,
    validity_scores,
)
from surrogate_speed import measure_speed

from surrogate.config import read_config
from surrogate.corpus import load_corpus
from surrogate.data import Rows
from surrogate.predict import Predictor
from surrogate.scores import auroc, r_squared
from surrogate.simulator import SurrogateSimulator
from surrogate.train import train
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import make_rows, nmcf, nmcnr, untrained_checkpoint, write_config, write_rows
from tests.surrogate.synthetic import vectors as drawn
from zsgym.circuits.geometry import inside_models
from zsgym.classes.amplifier import METRICS

EFFORT = replace(QUICK, epochs=12, graph_epochs=3, tree_rounds=15, gp_rows=80, gp_tuning_rows=40)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two data sets of NMCF that share some rows, and one of NMCNR."""
    place = tmp_path_factory.mktemp("data")
    wide, near = make_rows(nmcf(), 700), make_rows(nmcf(), 300, "log", seed=2)
    return [
        write_rows(place / "nmcf-uniform", wide),
        write_rows(place / "nmcf-targeted", [*near, *wide[:60]]),
        write_rows(place / "nmcnr-targeted", make_rows(nmcnr(), 500, "log", seed=3)),
    ]


@pytest.fixture(scope="module")
def data(folders: list[Path]) -> Data:
    return load_data(folders)


@pytest.fixture(scope="module")
def checkpoint(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    train(read_config(write_config(run / "tiny.yaml", folders)), run)
    return run / "tiny.safetensors"


def perfect(rows: Rows) -> Answers:
    metrics = np.nan_to_num(rows.measured, nan=1.0)
    return Answers(rows.valid.astype(float), 0.5, metrics, metrics, metrics, np.ones(len(metrics), dtype=bool))


# --- rows -----------------------------------------------------------------------------------------------------------


def test_pooled_rows_are_those_that_a_training_reads(folders: list[Path], data: Data, tmp_path: Path) -> None:
    corpus = load_corpus(read_config(write_config(tmp_path / "tiny.yaml", folders)))
    assert data.digest == corpus.digest
    assert [len(r.vectors) for r in data.side("train")] == [len(r.side("train").vectors) for r in corpus.rows]
    assert data.scales == corpus.normaliser


def test_data_sets_stay_apart_and_a_circuit_with_several_is_pooled(data: Data) -> None:
    assert [test.name for test in data.tests] == ["nmcf-uniform", "nmcf-targeted", "nmcf, pooled", "nmcnr-targeted"]
    uniform, targeted, pooled, _ = data.tests
    union = {row.tobytes() for test in (uniform, targeted) for row in test.rows.vectors}
    assert {row.tobytes() for row in pooled.rows.vectors} == union
    assert len(pooled.rows.vectors) == len(union)


def test_no_test_row_is_learnt(data: Data) -> None:
    learnt = {
        row.tobytes() for side in ("train", "validation", "calibration") for r in data.side(side) for row in r.vectors
    }
    assert all(row.tobytes() not in learnt for test in data.tests for row in test.rows.vectors)


def test_a_tenth_of_the_rows_outside_the_models_is_tested(tmp_path: Path) -> None:
    rows = make_rows(nmcf(), 2000, seed=9)
    vectors = np.array([nmcf().vector(row.sizing) for row in rows])
    outside = int((~inside_models(nmcf(), vectors)).sum())
    (test,) = load_data([write_rows(tmp_path / "d", rows)]).tests
    assert len(test.outside) == pytest.approx(0.1 * outside, rel=0.25)
    assert not test.outside.any()


def test_a_limit_takes_so_many_rows(data: Data) -> None:
    assert [len(r.vectors) for r in data.side("train", 50)] == [50, 50]


# --- scores ---------------------------------------------------------------------------------------------------------


def test_perfect_answers_have_perfect_scores(data: Data) -> None:
    test = data.tests[0]
    answers = perfect(test.rows)
    validity = validity_scores(test.rows.valid, answers, test.outside)
    for scores in validity.values():
        assert scores["auroc"] == scores["average_precision_of_failures"] == scores["recall_of_failures"] == 1.0
        assert scores["false_alarms"] == scores["ece"] == scores["brier"] == 0.0
        assert scores["caught_at_5_percent_false_alarms"] == 1.0
    assert validity["all"]["rows"] == validity["in_bin"]["rows"] + len(test.outside)
    metrics = metric_scores(test.rows, answers, data.scales)
    total = summary(metrics)
    assert total["median_r2"] == total["lowest_r2"] == total["coverage"] == pytest.approx(1.0)
    assert total["median_mape"] == total["width"] == 0.0
    decisions = decision_scores(test.rows, answers, nmcf().targets)
    assert decisions["mean_flip"] == decisions["wrong_decisions"] == 0.0
    assert regret_scores(test.rows, answers, nmcf().targets)["top_1"] == 0.0
    hybrid = hybrid_scores(test.rows, answers, nmcf().targets, (0.9,), len(test.outside))["0.9"]
    assert hybrid["share"] == hybrid["share_all"] == 1.0
    assert hybrid["false_accepts"] == hybrid["false_rejects"] == hybrid["wrong_labels"] == 0.0


def test_sizings_outside_the_models_count_as_caught_unless_they_work(data: Data) -> None:
    rows = data.tests[0].rows
    answers = replace(perfect(rows), p_valid=np.full(len(rows.valid), 0.7))
    caught = validity_scores(rows.valid, answers, np.zeros(50, dtype=bool))["all"]
    failures = int((~rows.valid).sum())
    assert caught["recall_of_failures"] == pytest.approx(50 / (50 + failures))
    missed = validity_scores(rows.valid, answers, np.ones(50, dtype=bool))["all"]
    assert missed["false_alarms"] == pytest.approx(50 / (50 + rows.valid.sum()))


def test_errors_are_in_si_units_over_working_rows(data: Data) -> None:
    rows, k = data.tests[0].rows, METRICS.names.index("power")
    metrics = rows.measured.copy()
    metrics[:, k] *= 1.1
    metrics[~rows.valid] = 1e9  # of no concern
    answers = replace(perfect(rows), metrics=metrics, low=0.95 * metrics, high=2.0 * metrics)
    scores = metric_scores(rows, answers, data.scales)["power"]
    truth = rows.measured[rows.valid, k]
    assert [scores["mape"], scores["median_ape"]] == pytest.approx([0.1, 0.1])
    assert scores["mae"] == pytest.approx(0.1 * truth.mean())
    assert scores["r2_physical"] == pytest.approx(r_squared(truth, 1.1 * truth))
    assert scores["coverage"] == 0.0  # 1.045 times the truth is the lower end


def test_flips_and_whole_decisions_are_counted_apart(data: Data) -> None:
    rows = data.tests[0].rows
    working = int(rows.valid.sum())
    answers = perfect(rows)
    easy = {"power": 1.0, "gbw": 1.0}
    assert decision_scores(rows, answers, easy)["true_passes"] == working
    metrics = answers.metrics.copy()
    metrics[:, METRICS.names.index("power")] = 2.0  # never meets the spec
    scores = decision_scores(rows, replace(answers, metrics=metrics), easy)
    assert scores["flips"] == {"power": 1.0, "gbw": 0.0}
    assert (scores["mean_flip"], scores["any_flip"]) == (0.5, 1.0)
    assert (scores["false_rejects"], scores["false_accepts"]) == (working, 0)
    all_work = replace(answers, p_valid=np.ones(len(rows.valid)))
    assert decision_scores(rows, all_work, easy)["false_accepts"] == len(rows.valid) - working


def test_regret_is_what_the_picks_lack(data: Data) -> None:
    rows = data.tests[0].rows
    targets = nmcf().targets
    rewards = np.where(rows.valid, np.minimum(margins(rows.measured, targets), 0.0).sum(axis=1), -100.0)
    # A model that calls only the worst working sizing valid picks it first.
    worst = np.flatnonzero(rows.valid)[rewards[rows.valid].argmin()]
    answers = replace(perfect(rows), p_valid=(np.arange(len(rewards)) == worst).astype(float))
    scores = regret_scores(rows, answers, targets)
    assert scores["best"] == pytest.approx(rewards.max())
    assert scores["top_1"] == pytest.approx(rewards.max() - rewards[worst])


def test_the_hybrid_decides_wrongly_only_where_it_trusts(data: Data) -> None:
    rows = data.tests[0].rows
    failing = int((~rows.valid).sum())
    easy = {"power": 1.0}
    sure = replace(perfect(rows), p_valid=np.full(len(rows.valid), 0.97))
    scores = hybrid_scores(rows, sure, easy, (0.95, 0.99), 0)
    assert scores["0.95"]["share"] == 1.0
    assert scores["0.95"]["failures_called_working"] == scores["0.95"]["false_accepts"] == failing
    assert scores["0.99"]["share"] == scores["0.99"]["false_accepts"] == 0
    strange = replace(sure, in_distribution=np.zeros(len(rows.valid), dtype=bool))
    assert hybrid_scores(rows, strange, easy, (0.95,), 0)["0.95"]["share"] == 0.0


def test_a_checkpoint_is_scored_by_the_answers_of_its_backend() -> None:
    checkpoint = untrained_checkpoint([nmcf()])
    vectors = drawn(nmcf(), 80)
    vectors = vectors[inside_models(nmcf(), vectors)]
    answers = checkpoint_answers(checkpoint, nmcf(), vectors)
    said = Predictor(checkpoint, nmcf()).predict(vectors)
    np.testing.assert_array_equal(answers.valid, said.valid)
    np.testing.assert_array_equal(answers.p_valid, said.p_valid)
    np.testing.assert_array_equal(answers.metrics[said.valid], said.metrics[said.valid])
    np.testing.assert_array_equal(answers.low[said.valid], said.low[said.valid])
    assert np.isfinite(answers.metrics).all()
    assert 0 < said.valid.sum() < len(vectors)


# --- baselines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_learns_the_rule(name: str, data: Data) -> None:
    model = BASELINES[name](data.side("train"), data.side("validation"), data.scales, EFFORT)
    for rows, calibration in zip(data.side("test"), data.side("calibration"), strict=True):
        raw = model(rows.circuit, rows.vectors)
        assert raw.logit.shape == (len(rows.vectors),)
        assert raw.metrics.shape == rows.measured.shape
        measured = calibration_of(
            model(calibration.circuit, calibration.vectors), calibration, data.scales, failure_recall=0.95, coverage=0.9
        )
        answers = calibrated_answers(raw, measured, data.scales)
        assert np.isfinite(answers.metrics).all()
        assert (answers.low <= answers.high).all()
        assert name == "gnn" or auroc(rows.valid, answers.p_valid) > 0.75
    assert name != "sentinel" or (np.median(raw.metrics[~rows.valid]) > np.median(raw.metrics[rows.valid]) + 1.0)


def test_features_leave_out_what_is_constant() -> None:
    vectors = drawn(nmcf(), 30)
    assert tabular(nmcf(), vectors, derived=False).shape == (30, len(nmcf().parameters))
    assert (tabular(nmcf(), vectors).std(axis=0) > 0).all()


# --- scripts --------------------------------------------------------------------------------------------------------


def test_the_whole_evaluation_runs(
    folders: list[Path], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(surrogate_vs_spice, "QUICK", EFFORT)
    command = ["--data", *map(str, folders), "--checkpoint", f"fast={checkpoint}", "--baselines", "mlp", "--quick"]
    command += ["--skip-speed", "--out", str(tmp_path), "--cache", str(tmp_path / "cache")]
    surrogate_vs_spice.main(command)
    printed = capsys.readouterr().out
    assert "hybrid backend with fast" in printed
    content = json.loads((tmp_path / "surrogate_vs_spice.json").read_text())
    assert set(content["results"]) == {"nmcf-uniform", "nmcf-targeted", "nmcf, pooled", "nmcnr-targeted"}
    assert set(content["results"]["nmcf-uniform"]) == {"fast", "mlp"}
    assert content["checkpoints"]["fast"]["trained_on_these_rows"]
    assert {goal["figure"] for goal in content["goals"]} >= {"AUROC in-bin", "lowest R2"}
    assert content["seed"] == 0
    for figure in ("parity", "reliability", "comparison"):
        assert (tmp_path / f"surrogate_{figure}.png").stat().st_size > 10_000

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setitem(BASELINES, "mlp", refuse)  # type: ignore[arg-type]
    surrogate_vs_spice.main(command)
    assert json.loads((tmp_path / "surrogate_vs_spice.json").read_text())["results"] == content["results"]


def test_a_missing_checkpoint_is_an_error_message(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*nothing\.safetensors"):
        surrogate_vs_spice.main(["--data", str(folders[0]), "--checkpoint", f"fast={tmp_path / 'nothing.safetensors'}"])


def test_speed_compares_both_backends_on_the_same_sizings(checkpoint: Path) -> None:
    backend = SurrogateSimulator(nmcf(), checkpoint=checkpoint)
    truth = FakeSimulator(nmcf())
    vectors = drawn(nmcf(), 20)
    speed = measure_speed(
        nmcf(), backend, truth, backend.checkpoint, vectors, rounds=3, simulated=5, batch=64, singles=5
    )
    assert truth.batch_sizes == [2, 5, 5, 5]
    assert speed["ratio"] == pytest.approx(speed["surrogate_per_s"] / speed["ngspice_per_s"])
    assert speed["latency_ms"] > 0.0


def test_few_shot_learning_is_resumed_point_by_point(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    config = write_config(tmp_path / "tiny.yaml", folders)
    command = ["--data", *map(str, folders), "--config", str(config), "--sizes", "20", "60", "--subsets", "1"]
    command += ["--steps", "20", "--base-epochs", "2", "--run", str(tmp_path / "run"), "--out", str(tmp_path)]
    zero_shot.main(command)
    content = json.loads((tmp_path / "zero_shot.json").read_text())
    assert content["trained_on"] == ["nmcf"]
    assert len(content["points"]) == 5
    assert (tmp_path / "zero_shot.png").stat().st_size > 10_000

    asked: list[zero_shot.Point] = []

    def note(point: zero_shot.Point, *rest: Any) -> Answers:
        asked.append(point)
        return perfect(rest[3])

    monkeypatch.setattr(zero_shot, "few_shot_answers", note)
    del content["points"]["scratch, 60 rows, subset 0"]
    (tmp_path / "zero_shot.json").write_text(json.dumps(content))
    zero_shot.main(command)
    assert asked == [zero_shot.Point("scratch", 60, 0)]
    assert "means over subsets" in capsys.readouterr().out


def test_a_base_model_that_knows_the_topology_is_refused(folders: list[Path], checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing about it would be zero-shot"):
        zero_shot.main(["--data", *map(str, folders), "--base", str(checkpoint), "--out", str(tmp_path)])


def test_few_rows_are_all_that_is_used(data: Data, folders: list[Path], tmp_path: Path) -> None:
    new, test = data.side("train")[1], data.side("test")[1]
    config = read_config(write_config(tmp_path / "tiny.yaml", folders))
    arguments = argparse.Namespace(steps=10, max_epochs=5)
    point = zero_shot.Point("scratch", 40, 1)
    short = zero_shot.point_config(config, point, arguments)
    seen = _poisoned(new, np.random.default_rng(1).permutation(len(new.vectors))[:40])
    base = untrained_checkpoint([nmcf()])
    first = zero_shot.few_shot_answers(point, short, base, new, test, tmp_path / "a")
    second = zero_shot.few_shot_answers(point, short, base, seen, test, tmp_path / "b")
    np.testing.assert_array_equal(first.p_valid, second.p_valid)


def _poisoned(rows: Rows, kept: np.ndarray) -> Rows:
    """The same rows with other labels outside `kept`."""
    others = np.ones(len(rows.vectors), dtype=bool)
    others[kept] = False
    return replace(
        rows, valid=np.where(others, ~rows.valid, rows.valid), measured=np.where(others[:, None], 7.0, rows.measured)
    )

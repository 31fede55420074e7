"""What the retraining loop is made of: targets, searches, choice, labels, training rows, gate."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.retrain import Settings
from agents.retrain_choose import ChooseSettings, Chosen, choose
from agents.retrain_label import findings, label, wilson
from agents.retrain_learn import GateSettings, judge_promotion, untouched_scores, widen_intervals
from agents.retrain_rows import Base, LearnSettings, mixed_corpus
from agents.retrain_search import Crowd, SearchSettings, draw_targets, search
from surrogate.checkpoint import Checkpoint
from surrogate.data import read_rows, to_batch
from tests.agents.retrain_setup import SETTINGS, RuleSimulator
from tests.surrogate.synthetic import make_row, make_rows, nmcf, nmcnr, sizings, untrained_checkpoint, write_rows
from zsgym.circuits import read_model
from zsgym.metrics import METRIC_BY_NAME, METRIC_NAMES, Better
from zsgym.paths import data_root
from zsgym.pdk.geometry import inside_models
from zsgym.samples import read_samples
from zsgym.simulators.surrogate import SurrogateSimulator
from zsgym.sizing.belief import Belief

SEARCH = SearchSettings(**SETTINGS["search"])


@pytest.fixture(scope="module")
def surrogate(tmp_path_factory: pytest.TempPathFactory) -> SurrogateSimulator:
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    untrained_checkpoint([nmcf()]).save(path)
    return SurrogateSimulator(nmcf(), checkpoint=path)


def test_the_shipped_settings_are_valid() -> None:
    settings = read_model(data_root() / "configs" / "agents" / "retrain.yaml", Settings)
    assert settings.choose.best + settings.choose.uncertain < 1.0, "the control needs a share"


# --- searches -------------------------------------------------------------------------------------------------------


def test_targets_are_moved_to_either_side_within_their_decades() -> None:
    settings = SEARCH.model_copy(update={"looser": 0.5, "tighter": 0.2})
    draws = [draw_targets(nmcf(), settings, np.random.default_rng(seed)) for seed in range(300)]
    for name, published in nmcf().targets.items():
        metric = METRIC_BY_NAME[name]
        values = np.array([draw[name] for draw in draws])
        decades = {"dB": (values - published) / 20.0, "deg": (values - published) / 25.0}.get(
            metric.unit, np.log10(values / published)
        )
        harder = decades if metric.better is Better.HIGH else -decades
        assert -0.5 <= harder.min() < -0.4
        assert 0.15 < harder.max() <= 0.2


def test_searches_improve_on_where_they_start_and_keep_the_best_they_saw(surrogate: SurrogateSimulator) -> None:
    more = SEARCH.model_copy(update={"generations": 12})
    none = SEARCH.model_copy(update={"generations": 1})
    long, short = (search(surrogate, settings, np.random.default_rng(3)) for settings in (more, none))
    assert long.targets == short.targets
    crowd = Crowd(surrogate.checkpoint, nmcf(), long.targets)
    ends = (np.array([crowd.scale.positions(d.unit) for d in found.ends])[:, None] for found in (long, short))
    after, before = (crowd.judge(positions)[0].ravel() for positions in ends)
    assert (after >= before - 1e-6).all()
    assert after.mean() > before.mean() + 0.1
    assert len(long.visited) == len(long.p_valid) == SEARCH.searches * (SEARCH.starts + 12 * SEARCH.population)


def test_searches_together_believe_what_each_believes_alone(surrogate: SurrogateSimulator) -> None:
    targets = [dict(nmcf().targets), {"gbw": 3e6, "vos": 2e-4, "power": 1e-3}]
    positions = np.random.default_rng(0).random((2, 5, len(nmcf().parameters)))
    together, p_valid = Crowd(surrogate.checkpoint, nmcf(), targets).judge(positions)
    for i, wanted in enumerate(targets):
        alone = Belief(surrogate.checkpoint, nmcf(), wanted)
        expected = alone.log_feasibility(alone.rounded(torch.from_numpy(positions[i])))
        assert together[i] == pytest.approx(expected.detach().numpy(), rel=1e-4)
        units = alone.scale.units(positions[i])
        predicted = surrogate.predict([nmcf().sizing(vector) for vector in nmcf().from_unit(units)])
        assert p_valid[i] == pytest.approx(predicted.p_valid, abs=1e-4)


def test_a_seed_repeats_the_searches(surrogate: SurrogateSimulator) -> None:
    first, again = (search(surrogate, SEARCH, np.random.default_rng(7)) for _ in range(2))
    other = search(surrogate, SEARCH, np.random.default_rng(8))
    assert np.array_equal(first.visited, again.visited)
    assert not np.array_equal(first.visited, other.visited)


# --- choice ---------------------------------------------------------------------------------------------------------


def test_the_choice_keeps_its_shares_and_no_sizing_comes_twice(surrogate: SurrogateSimulator) -> None:
    settings = ChooseSettings(best=0.4, uncertain=0.4, distance=0.02)
    found = search(surrogate, SEARCH, np.random.default_rng(1))
    chosen = choose(found, surrogate, 20, settings, np.random.default_rng(2))
    assert Counter(c.kind for c in chosen) == {"best": 8, "uncertain": 8, "random": 4}
    vectors = np.array([nmcf().vector(c.sizing) for c in chosen])
    assert len(np.unique(vectors, axis=0)) == 20
    assert inside_models(nmcf(), vectors[[c.kind != "random" for c in chosen]]).all()
    assert {tuple(c.targets.values()) for c in chosen if c.kind == "best"} <= {tuple(t.values()) for t in found.targets}


def test_the_uncertain_ones_are_near_the_threshold_or_far_from_the_training_rows(
    surrogate: SurrogateSimulator,
) -> None:
    found = search(surrogate, SEARCH, np.random.default_rng(1))
    settings = ChooseSettings(best=0.1, uncertain=0.8, distance=0.001)
    chosen = [c for c in choose(found, surrogate, 50, settings, np.random.default_rng(2)) if c.kind == "uncertain"]
    threshold = surrogate.checkpoint.calibration[nmcf().netlist_hash].threshold
    visited = np.median(np.abs(found.p_valid[found.p_valid > 0.0] - threshold))
    doubtful, distant = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    assert max(abs(c.p_valid - threshold) for c in doubtful) < visited
    assert all(c.metrics is not None for c in distant)


def test_designs_that_look_alike_leave_their_budget_to_the_uncertain(surrogate: SurrogateSimulator) -> None:
    found = search(surrogate, SEARCH, np.random.default_rng(1))
    same = type(found)([found.ends[0]] * 8, found.targets, found.visited, found.p_valid)
    settings = ChooseSettings(best=0.4, uncertain=0.4, distance=0.02)
    kinds = Counter(c.kind for c in choose(same, surrogate, 20, settings, np.random.default_rng(2)))
    assert kinds == {"best": 1, "uncertain": 15, "random": 4}


# --- labels ---------------------------------------------------------------------------------------------------------


def _chosen(sizing: dict[str, float], **changes: Any) -> Chosen:
    row = make_row(nmcf(), sizing)
    metrics = {k: v for k, v in row.metrics.items() if v is not None} if row.label else None
    fields = {"targets": {"gbw": 1e3}, "feasible": True, "certain": False, "reward": 0.0, "metrics": metrics}
    return Chosen(**({"kind": "best", "sizing": sizing, "p_valid": 0.9, "in_distribution": True} | fields | changes))


def test_only_what_meets_its_own_targets_in_the_simulator_counts_as_confirmed(tmp_path: Path) -> None:
    rows = [(s, make_row(nmcf(), s)) for s in sizings(nmcf(), 80, "log")]
    working = [s for s, row in rows if row.label][:3]
    failing = next(s for s, row in rows if not row.label)
    speed = make_row(nmcf(), working[1]).metrics["gbw"]
    assert speed is not None
    chosen = [
        _chosen(working[0], certain=True),
        _chosen(working[1], targets={"gbw": 2.0 * speed}),  # works, and misses what its search asked for
        _chosen(failing, metrics=dict.fromkeys(METRIC_NAMES, 1.0)),
        _chosen(working[2], feasible=False),  # no claim
    ]
    labels = label(nmcf(), chosen, tmp_path, RuleSimulator(nmcf()), strategy="test", seed=1, policy="functional")
    normaliser = untrained_checkpoint([nmcf()]).normaliser
    found = findings(nmcf(), chosen, labels, normaliser)
    claims = found["claims"]
    assert (claims["designs"], claims["work"], claims["confirmed"]) == (3, 2, 1)
    assert claims["missed"] == {"gbw": 1}
    assert (found["certain"]["designs"], found["certain"]["confirmed"]) == (1, 1)
    best = found["kinds"]["best"]
    assert (best["labelled"], best["work"], best["called_working_and_work"]) == (4, 3, 3)
    assert best["metric_gap"]["gbw"] == pytest.approx(0.0)
    assert best["reward_gap"] == pytest.approx(0.0)


def test_the_gap_is_measured_in_standard_deviations(tmp_path: Path) -> None:
    sizing = next(s for s in sizings(nmcf(), 80, "log") if make_row(nmcf(), s).label)
    truth = make_row(nmcf(), sizing).metrics["gbw"]
    normaliser = untrained_checkpoint([nmcf()]).normaliser
    spread = normaliser.metrics[METRIC_NAMES.index("gbw")].spread  # on a decimal logarithm
    exact = _chosen(sizing)
    assert truth is not None
    assert exact.metrics is not None
    wrong = _chosen(sizing, metrics=exact.metrics | {"gbw": truth * 10.0 ** (0.5 * spread)})
    labels = label(nmcf(), [wrong], tmp_path, RuleSimulator(nmcf()), strategy="test", seed=1, policy="functional")
    gaps = findings(nmcf(), [wrong], labels, normaliser)["kinds"]["best"]["metric_gap"]
    assert gaps.pop("gbw") == pytest.approx(0.5)
    assert max(gaps.values()) == pytest.approx(0.0)


def test_a_lost_sizing_is_recorded_and_the_others_are_kept(tmp_path: Path) -> None:
    chosen = [_chosen(s) for s in sizings(nmcf(), 10, "log")]
    half_dead = RuleSimulator(nmcf(), crash_at=(2, 3))  # the second batch, and its repetition
    with pytest.raises(Exception, match="killed"):
        label(nmcf(), chosen, tmp_path, half_dead, strategy="test", seed=1, policy="functional")
    assert len(list(read_samples(tmp_path))) == 8
    again = RuleSimulator(nmcf())
    labels = label(nmcf(), chosen, tmp_path, again, strategy="test", seed=1, policy="functional")
    assert len(again.answered) == 2
    assert None not in labels


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"), [(9, 10, 0.5958, 0.9821), (0, 10, 0.0, 0.2775), (50, 100, 0.4038, 0.5962)]
)
def test_the_interval_of_a_share(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


# --- training rows and gate -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Base rows of two circuits, and new ones of the first."""
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "base", [*make_rows(nmcf(), 400, "log"), *make_rows(nmcnr(), 200, "log")])
    write_rows(folder / "new", make_rows(nmcf(), 40, "log", seed=9))
    return folder / "base", folder / "new"


LEARN = LearnSettings(replay=120, share=0.4, repeat=3, steps=10, learning_rate=1e-3)


def test_no_test_row_is_learnt_or_chosen_by(both: tuple[Path, Path]) -> None:
    base, new = Base.read([both[0]]), read_rows([both[1]])["nmcf"]
    corpus = mixed_corpus(base, new, None, LEARN, np.random.default_rng(0))
    learnt = {f.numpy().tobytes() for f in [*corpus.train.features, *corpus.validation.features]}
    sides = to_batch([r.side("test") for r in corpus.rows], corpus.normaliser)
    assert len(sides) > 30
    assert not any(f.numpy().tobytes() in learnt for f in sides.features)


def test_replay_and_repetition_have_the_sizes_that_were_asked_for(both: tuple[Path, Path]) -> None:
    base, new = Base.read([both[0]]), read_rows([both[1]])["nmcf"]
    corpus = mixed_corpus(base, new, None, LEARN, np.random.default_rng(0))
    _, counts = np.unique(corpus.train.features.flatten(1).numpy(), axis=0, return_counts=True)
    fresh, total = (len(r.side("train").vectors) for r in (new, base.rows["nmcf"]))
    replayed = round(LEARN.replay * total / (total + len(base.rows["nmcnr"].side("train").vectors)))
    repeat = round(LEARN.share / (1.0 - LEARN.share) * replayed / fresh)
    assert 1 < repeat < LEARN.repeat
    assert Counter(counts.tolist()) == {1: LEARN.replay, repeat: fresh}


def test_few_base_rows_leave_all_test_rows(both: tuple[Path, Path]) -> None:
    whole, few = Base.read([both[0]]), Base.read([both[0]], 60)
    for name, counts in few.counts().items():
        assert counts["train"] == 60
        assert counts["test"] == whole.counts()[name]["test"]
        assert counts["calibration"] < whole.counts()[name]["calibration"]
    assert few.digest != whole.digest


def test_scores_of_untouched_rows(both: tuple[Path, Path]) -> None:
    rows = Base.read([both[0]]).rows["nmcf"].side("test")
    checkpoint: Checkpoint = untrained_checkpoint([nmcf()])
    scores = untouched_scores(checkpoint, rows)
    assert scores["rows"] == len(rows.vectors)
    assert scores["working"] == rows.valid.sum()
    assert scores["metric_error"] == pytest.approx(np.mean(list(scores["by_metric"].values())))
    assert 0.0 <= scores["brier"] <= 1.0


def test_intervals_grow_until_they_cover_the_rows_of_the_rounds(tmp_path: Path) -> None:
    write_rows(tmp_path / "rounds", make_rows(nmcf(), 300, "log", seed=3))
    rounds = read_rows([tmp_path / "rounds"])["nmcf"]
    checkpoint = untrained_checkpoint([nmcf()])
    key = nmcf().netlist_hash
    before = checkpoint.calibration[key]
    assert untouched_scores(checkpoint, rounds.side("calibration"))["coverage"] < 0.5
    widen_intervals(checkpoint, rounds, 0.8)
    after = checkpoint.calibration[key]
    assert untouched_scores(checkpoint, rounds.side("calibration"))["coverage"] >= 0.8
    assert all(a >= b for a, b in zip(after.interval, before.interval, strict=True))
    assert after.model_copy(update={"interval": before.interval}) == before


def test_too_few_rows_of_the_rounds_leave_the_intervals_alone(tmp_path: Path) -> None:
    write_rows(tmp_path / "rounds", make_rows(nmcf(), 20, "log", seed=3))
    checkpoint = untrained_checkpoint([nmcf()])
    before = checkpoint.calibration[nmcf().netlist_hash]
    widen_intervals(checkpoint, read_rows([tmp_path / "rounds"])["nmcf"], 0.99)
    assert checkpoint.calibration[nmcf().netlist_hash] == before


def _scores(brier: float, error: float, rows: int = 50) -> dict[str, Any]:
    return {"rows": rows, "brier": brier, "metric_error": error}


@pytest.mark.parametrize(
    ("new", "refused"),
    [
        ({"nmcf": _scores(0.10, 0.20), "rounds": _scores(0.10, 0.20)}, []),
        ({"nmcf": _scores(0.104, 0.209), "rounds": _scores(0.10, 0.20)}, []),
        ({"nmcf": _scores(0.12, 0.20), "rounds": _scores(0.10, 0.20)}, ["brier on nmcf rose"]),
        ({"nmcf": _scores(0.10, 0.25), "rounds": _scores(0.10, 0.20)}, ["metric_error on nmcf rose"]),
        ({"nmcf": _scores(float("nan"), 0.2), "rounds": _scores(0.10, 0.20)}, ["brier on nmcf rose"]),
        ({"nmcf": _scores(0.10, 0.20), "rounds": _scores(0.20, 0.30)}, ["on rounds went from 0.5000 to 0.5000"]),
        ({"nmcf": _scores(0.10, 0.20), "rounds": _scores(0.20, 0.30, rows=9)}, []),
    ],
)
def test_the_gate(new: dict[str, Any], refused: list[str]) -> None:
    old = {"nmcf": _scores(0.10, 0.20), "rounds": _scores(0.20, 0.30, rows=new["rounds"]["rows"])}
    reasons = judge_promotion(old, new, "rounds", GateSettings(tolerance=0.05, rows=10))
    assert len(reasons) == len(refused)
    assert all(part in reason for part, reason in zip(refused, reasons, strict=True))

"""Goal-conditioned PPO: trained on random targets, judged on unseen ones within a budget of simulations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agents import ppo
from agents.evaluate_goals import Arguments, Trial, evaluate, load_policy, summary
from agents.ppo import train
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.base.errors import ConfigError
from zsgym.envs.targets import TargetPool
from zsgym.samples import read_samples
from zsgym.sizing.problem import Problem
from zsgym.training import begin_run

TRAINING = ppo.Arguments(
    goals="random",
    steps=64,
    n_envs=4,
    n_steps=16,
    batch_size=32,
    n_epochs=1,
    width=8,
    evaluate_every=10_000,
    verify=1,
    quiet=True,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("goals")
    with pytest.MonkeyPatch.context() as patch, Problem(nmcf(), backend=FakeSimulator(nmcf())) as truth:
        patch.setitem(ppo.EPISODES, "max_episode_steps", 5)
        train(TRAINING, folder, truth)
    return folder


def test_training_sees_targets_of_the_train_split(run: Path) -> None:
    rows = [sample for sample in read_samples(run / "samples") if sample.step == 0]
    assert len({row.episode for row in rows}) == len(rows) > 4
    assert {row.step for row in read_samples(run / "samples")} == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("control", [False, True])
def test_unseen_targets_are_tried_within_the_budget(run: Path, tmp_path: Path, control: bool) -> None:
    model, surrogate = load_policy(run)
    assert model.policy.mlp_extractor.policy_net[0].out_features == 8
    truth = FakeSimulator(nmcf())
    arguments = Arguments(run=str(tmp_path), goals=3, spice_budget=2, starts=4, attempts=2, seed=5, control=control)
    trials = evaluate(model, surrogate, truth, arguments)
    assert sum(trial.calls for trial in trials) == len(truth.simulated) == len(list(read_samples(tmp_path / "samples")))
    pool, rng = TargetPool.load(nmcf()), np.random.default_rng(5)
    for trial in trials:
        assert trial.targets == pool.draw("test", rng)
        assert trial.calls <= 2
        assert trial.met == (trial.reward == 0.0)


def test_the_summary_counts() -> None:
    met = Trial({}, True, 1, True, 0.0, 1.0)
    late = Trial({}, True, 4, True, 0.0, 3.0)
    missed = Trial({}, False, 10, False, -0.1, 5.0)
    result = summary([met, late, missed, missed])
    assert result["met"] == 0.5
    assert result["met_at_first_call"] == 0.25
    assert result["promised_by_surrogate"] == 0.5
    assert result["calls_median"] == 2.5
    assert 0.149 < result["met_low"] < 0.151  # Wilson's interval for 2 of 4: 0.150 to 0.850
    assert result["met_low"] + result["met_high"] == pytest.approx(1.0)


def test_a_run_on_fixed_targets_is_refused(run: Path, tmp_path: Path) -> None:
    model, _ = load_policy(run)
    begin_run(tmp_path, ppo.Arguments(), model)
    with pytest.raises(ConfigError, match="fixed targets"):
        load_policy(tmp_path)
    with pytest.raises(ConfigError, match="holds no run"):
        load_policy(tmp_path / "absent")

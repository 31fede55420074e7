"""Episodes that are played for their designs: judged by the targets that count, repeatable, and not logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from surrogate.simulator import SurrogateSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.training import rehearsal
from zsgym.training.archive import Archive
from zsgym.training.rehearsal import Rehearsal, play

EPISODES = {"action_mode": "delta", "max_episode_steps": 3}


@pytest.fixture(scope="module")
def surrogate() -> SurrogateSimulator:
    torch.set_num_threads(1)
    return SurrogateSimulator(nmcf())


@pytest.fixture(scope="module")
def model(surrogate: SurrogateSimulator) -> PPO:
    env = SizingVecEnv(nmcf(), 2, backend=surrogate, log=False)
    return PPO("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, seed=1, device="cpu")


def rehearsed(model: PPO, surrogate: SurrogateSimulator, steps: int = 64, seed: int = 1) -> Archive:
    archive = Archive(nmcf(), {"power": 1e-4, "gbw": 1e6})
    model.num_timesteps = steps
    Rehearsal(surrogate, 16, EPISODES, seed)(model, archive)
    return archive


def test_a_rehearsal_follows_from_seed_and_steps(
    model: PPO, surrogate: SurrogateSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSGYM_LOG_DIR", str(tmp_path / "log"))
    first = rehearsed(model, surrogate)
    assert len(first.merit) > 3
    np.testing.assert_array_equal(first.points, rehearsed(model, surrogate).points)
    for other in (rehearsed(model, surrogate, steps=128), rehearsed(model, surrogate, seed=2)):
        assert not np.array_equal(first.points, other.points)
    assert not (tmp_path / "log").exists()


def test_a_rehearsal_leaves_the_random_draws_of_the_training_alone(model: PPO, surrogate: SurrogateSimulator) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    rehearsed(model, surrogate)
    assert torch.equal(torch.rand(3), expected)


def test_a_rehearsal_asks_for_the_targets_that_count(
    model: PPO, surrogate: SurrogateSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def recorded(archive: Archive, env: SizingVecEnv, act: Any, seed: int) -> None:
        def watch(observations: np.ndarray) -> Any:
            seen.append(observations)
            return act(observations)

        play(archive, env, watch, seed)

    monkeypatch.setattr(rehearsal, "play", recorded)
    rehearsed(model, surrogate)
    assert len(seen) == 3
    n = len(nmcf().parameters)
    asked = np.array(seen)[..., n + 22 : n + 33]  # see docs/environments.md
    assert (asked == asked[0, 0]).all(), "the same targets in every episode, not random ones"
    dropped = [i for i, name in enumerate(nmcf().metrics.names) if name not in ("power", "gbw")]
    assert np.abs(asked[0, 0, dropped]).tolist() == [1.0] * 9
    assert np.abs(asked[0, 0, [nmcf().metrics.names.index("power"), nmcf().metrics.names.index("gbw")]]).max() < 1.0


def test_every_other_start_explores(model: PPO) -> None:
    observations = np.zeros((6, *(model.observation_space.shape or ())), np.float32)
    actions = rehearsal.half_exploring(model)(observations)
    mean, _ = model.predict(observations, deterministic=True)
    np.testing.assert_array_equal(actions[::2], mean[::2])
    assert (actions[1::2] != mean[1::2]).any(axis=1).all()

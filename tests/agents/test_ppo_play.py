"""Episodes that are played for their designs: judged by the targets that count, repeatable, and not logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from zsgym.metrics import METRIC_NAMES
from zsgym.simulators.surrogate import SurrogateSimulator
from zsgym.specs import spec_margins

from agents import ppo_play
from agents.ppo_designs import Archive
from agents.ppo_play import Rehearsal, offer, play
from tests.surrogate.synthetic import nmcf
from zsgym.envs.sb3 import SizingVecEnv

KWARGS = {"backend": "surrogate", "random_targets": "train", "action_mode": "delta", "max_episode_steps": 3}


@pytest.fixture(scope="module")
def surrogate() -> SurrogateSimulator:
    torch.set_num_threads(1)
    return SurrogateSimulator(nmcf())


@pytest.fixture(scope="module")
def model(surrogate: SurrogateSimulator) -> PPO:
    env = SizingVecEnv(nmcf(), 2, backend=surrogate, log=False)
    return PPO("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, seed=1, device="cpu")


def info(works: bool, **changes: float) -> dict[str, Any]:
    metrics = dict.fromkeys(METRIC_NAMES, 1.0) | changes
    sizing = nmcf().known_good["robust"] | {"bias_current": metrics["gbw"] * 1e-6}
    return {"sim_success": works, "metrics": metrics, "sizing": sizing}


def test_working_sizings_are_offered_with_their_margins() -> None:
    archive, targets = Archive.empty(len(nmcf().parameters)), {"gbw": 2.0, "power": 1.0}
    margins = offer(archive, nmcf(), [info(True, gbw=1.0), info(False), info(True, gbw=4.0)], targets)
    expected = [spec_margins(info(True, gbw=gbw)["metrics"], targets) for gbw in (1.0, 4.0)]
    assert margins.tolist() == [[found["power"], found["gbw"]] for found in expected]  # in the order of METRIC_NAMES
    assert archive.feasible == 1
    best = nmcf().vector(info(True, gbw=4.0)["sizing"])
    np.testing.assert_allclose(archive.units[0], nmcf().to_unit(np.array(best)))
    assert offer(archive, nmcf(), [info(False)], targets).shape == (0, 2)


def rehearsed(model: PPO, surrogate: SurrogateSimulator, steps: int = 64, seed: int = 1) -> Archive:
    archive = Archive.empty(len(nmcf().parameters))
    model.num_timesteps = steps
    Rehearsal(surrogate, {"power": 1e-4, "gbw": 1e6}, 16, KWARGS, seed)(model, archive)
    return archive


def test_a_rehearsal_follows_from_seed_and_steps(
    model: PPO, surrogate: SurrogateSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSGYM_LOG_DIR", str(tmp_path / "log"))
    first = rehearsed(model, surrogate)
    assert len(first.merit) > 3
    np.testing.assert_array_equal(first.units, rehearsed(model, surrogate).units)
    for other in (rehearsed(model, surrogate, steps=128), rehearsed(model, surrogate, seed=2)):
        assert not np.array_equal(first.units, other.units)
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

    def recorded(archive: Archive, env: SizingVecEnv, act: Any, targets: dict[str, float], seed: int) -> None:
        def watch(observations: np.ndarray) -> Any:
            seen.append(observations)
            return act(observations)

        play(archive, env, watch, targets, seed)

    monkeypatch.setattr(ppo_play, "play", recorded)
    rehearsed(model, surrogate)
    assert len(seen) == 3
    n = len(nmcf().parameters)
    asked = np.array(seen)[..., n + 22 : n + 33]  # see docs/environments.md
    assert (asked == asked[0, 0]).all(), "the same targets in every episode, not random ones"
    dropped = [i for i, name in enumerate(METRIC_NAMES) if name not in ("power", "gbw")]
    assert np.abs(asked[0, 0, dropped]).tolist() == [1.0] * 9
    assert np.abs(asked[0, 0, [METRIC_NAMES.index("power"), METRIC_NAMES.index("gbw")]]).max() < 1.0


def test_every_other_start_explores(model: PPO) -> None:
    observations = np.zeros((6, *(model.observation_space.shape or ())), np.float32)
    actions = ppo_play.half_exploring(model)(observations)
    mean, _ = model.predict(observations, deterministic=True)
    np.testing.assert_array_equal(actions[::2], mean[::2])
    assert (actions[1::2] != mean[1::2]).any(axis=1).all()

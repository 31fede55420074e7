"""Real algorithms run on the environments."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

from zsgym.envs.sb3 import SizingVecEnv
from zsgym.envs.task import ActionMode

pytestmark = pytest.mark.usefixtures("fake_backend")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("mode", ["absolute", "delta"])
def test_ppo_on_the_batched_face(mode: ActionMode) -> None:
    env: Any = VecMonitor(
        SizingVecEnv("zsgym/NMCF-v0", backend="ngspice", n_envs=4, max_episode_steps=5, action_mode=mode, log=False)
    )
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=32, n_epochs=2, seed=0, device="cpu").learn(64)
    assert model.num_timesteps == 64
    assert len(model.ep_info_buffer or []) == 4 * (16 // 5)
    mean, _ = evaluate_policy(model, env, n_eval_episodes=4)
    assert np.isfinite(mean)


def test_training_is_reproducible() -> None:
    def train() -> Any:
        env = SizingVecEnv("zsgym/NMCF-v0", backend="ngspice", n_envs=2, max_episode_steps=5, log=False)
        model = PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, seed=3, device="cpu").learn(32)
        return [value.numpy() for value in model.policy.state_dict().values()]

    for one, other in zip(train(), train(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_sb3_makes_the_registered_id_itself() -> None:
    env = make_vec_env("zsgym:zsgym/NMCNR-v0", n_envs=2, env_kwargs={"backend": "ngspice", "log": False}, seed=0)
    PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu").learn(32)


def test_off_policy_on_the_single_environment() -> None:
    env = gym.make("zsgym/NMCF-v0", backend="ngspice", log=False)
    SAC("MlpPolicy", env, learning_starts=16, batch_size=8, device="cpu").learn(24)

"""Reward transforms as Stable-Baselines3 vector wrappers, which files of rl-baselines3-zoo can name."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


def symlog(reward: ArrayLike) -> NDArray[np.float32]:
    """`sign(r) log(1 + |r|)` (D. Hafner et al., DreamerV3, arXiv 2301.04104)."""
    values = np.asarray(reward, dtype=np.float32)
    compressed: NDArray[np.float32] = np.sign(values) * np.log1p(np.abs(values))
    return compressed


class SymlogReward(VecEnvWrapper):
    """What a learner sees of the rewards, so that the large failure penalty does not blind it.

    A failure costs -100 and the last tenth of a spec margin 0.1. Divided by a common standard deviation, as
    `VecNormalize` alone does it, the second is lost in the noise of the first. The symmetric logarithm keeps the order
    (a failure, -4.6, stays far below the worst working sizing, -2.5) and the slope of one where designs are told
    apart. The environment, its log and every reported reward keep the original.
    """

    def reset(self) -> VecEnvObs:
        """Nothing is changed at a reset."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """A step with compressed rewards."""
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, symlog(rewards), dones, infos

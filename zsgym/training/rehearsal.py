"""Episodes that a policy plays for the sake of the designs that it passes, not to learn from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO

from zsgym.classes.specs import exactly
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.simulators import Simulator
from zsgym.training.archive import Archive

Act = Callable[[Any], Any]
"""Observations (B, n) to actions (B, parameters)."""


def play(archive: Archive, env: SizingVecEnv, act: Act, seed: int) -> None:
    """Play one episode everywhere, and offer the designs that it passes to the archive.

    :param env: is closed. :param seed: of the starts.
    """
    env.seed(seed)
    observations: Any = env.reset()
    for _ in range(env.core.step_limit or 1):
        observations, _, _, infos = env.step(act(observations))
        archive.offer(infos)
    env.close()


def half_exploring(model: PPO) -> Act:
    """Every other environment follows the mean of the policy, the rest explore."""
    normalisation = model.get_vec_normalize_env()

    def act(observations: Any) -> Any:
        if normalisation is not None:
            observations = normalisation.normalize_obs(observations)
        mean, _ = model.predict(observations, deterministic=True)
        sampled, _ = model.predict(observations)
        return np.where(np.arange(len(observations))[:, None] % 2 == 0, mean, sampled)

    return act


@dataclass(frozen=True)
class Rehearsal:
    """One episode of the policy in every environment, for the targets that count.

    Training asks for more than these (guarded targets), or for others (random ones), and explores all the time.

    :param simulator: answers; one that takes milliseconds: in ngspice these episodes would cost what they save.
    :param env_arguments: of `SizingVecEnv`, as the policy was trained. :param seed: of the training.
    """

    simulator: Simulator
    n_envs: int
    env_arguments: Mapping[str, Any]
    seed: int

    def __call__(self, model: PPO, archive: Archive) -> None:
        """Offer the designs that the policy passes to the archive.

        They follow from policy, seed and steps alone; the random draws of the training go on as if nothing had been.
        """
        circuit = archive.circuit
        asked = {"backend": self.simulator, "targets": exactly(circuit.targets, archive.targets), "log": False}
        env = SizingVecEnv(circuit, self.n_envs, **{**self.env_arguments, **asked})
        seed = int(np.random.SeedSequence([self.seed, model.num_timesteps, 1]).generate_state(1)[0]) % 2**31
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            play(archive, env, half_exploring(model), seed)

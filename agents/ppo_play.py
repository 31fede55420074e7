"""Episodes that a policy plays for the sake of the designs that it passes, not to learn from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from zsgym.metrics import METRIC_NAMES
from zsgym.simulators.surrogate import SurrogateSimulator
from zsgym.specs import exactly, margin_table, metric_row

from agents.ppo_designs import Archive
from zsgym.circuits import Circuit
from zsgym.envs.sb3 import SizingVecEnv

FloatArray = NDArray[np.float64]
Act = Callable[[Any], Any]
"""Observations (B, n) to actions (B, parameters)."""


def offer(
    archive: Archive, circuit: Circuit, infos: Sequence[Mapping[str, Any]], targets: Mapping[str, float]
) -> FloatArray:
    """Give an archive the working sizings that some steps have led to, judged by the targets.

    :return: their margins (B, specs), in the order of METRIC_NAMES.
    """
    working = [info for info in infos if info["sim_success"]]
    columns = [i for i, name in enumerate(METRIC_NAMES) if name in targets]
    if not working:
        return np.empty((0, len(columns)))
    metrics = np.array([list(info["metrics"].values()) for info in working])  # in the order of METRIC_NAMES
    vectors = np.array([list(info["sizing"].values()) for info in working])
    margins: FloatArray = margin_table(metrics, np.array(metric_row(targets)))[:, columns]
    archive.add(np.clip(circuit.to_unit(vectors), -1.0, 1.0), margins)
    return margins


def play(archive: Archive, env: SizingVecEnv, act: Act, targets: Mapping[str, float], seed: int) -> None:
    """Play one episode everywhere, and offer the designs that it passes to the archive.

    :param env: is closed. :param targets: that count, whatever the policy is shown. :param seed: of the starts.
    """
    env.seed(seed)
    observations: Any = env.reset()
    for _ in range(env.core.step_limit or 1):
        observations, _, _, infos = env.step(act(observations))
        offer(archive, env.circuit, infos, targets)
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

    :param surrogate: answers; in ngspice these episodes would cost what the verification after them saves.
    :param env_kwargs: of the environments that the policy was trained in.
    """

    surrogate: SurrogateSimulator
    targets: Mapping[str, float]
    n_envs: int
    env_kwargs: Mapping[str, Any]
    seed: int

    def __call__(self, model: PPO, archive: Archive) -> None:
        """Offer the designs that the policy passes to the archive.

        They follow from policy, seed and steps alone; the random draws of the training go on as if nothing had been.
        """
        circuit = self.surrogate.circuit
        kwargs = {key: value for key, value in self.env_kwargs.items() if key not in ("backend", "random_targets")}
        targets = exactly(circuit.targets, self.targets)
        env = SizingVecEnv(
            circuit, self.n_envs, **{**kwargs, "backend": self.surrogate, "targets": targets, "log": False}
        )
        seed = int(np.random.SeedSequence([self.seed, model.num_timesteps, 1]).generate_state(1)[0]) % 2**31
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            play(archive, env, half_exploring(model), self.targets, seed)

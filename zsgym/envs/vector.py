"""The Gymnasium vector face: many sizing environments whose simulations run as one batch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.envs.core import CoreArguments, SizingCore
from zsgym.envs.observation import action_space, observation_space
from zsgym.envs.registration import MAX_EPISODE_STEPS
from zsgym.envs.rendering import RENDER_FPS, RENDER_MODES, check_render_mode, render
from zsgym.envs.state import State


class SizingVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """`num_envs` environments like `SizingEnv` over one simulator, e.g. with several ngspice workers.

    `gym.make_vec("zsgym/NMCF-v0", num_envs=8, workers=4)` makes one. Seeds, rewards, observations and infos are those
    of `num_envs` single environments seeded with `seed`, `seed + 1`, ...

    A sub-environment whose episode has ended begins its next one (with the targets of the environment) by itself:

    - `autoreset_mode="NextStep"` (`AutoresetMode.NEXT_STEP`, the default): in the next call, which ignores its action
      and reports reward 0. That is not a transition and is not logged as one.
    - `autoreset_mode="SameStep"` (`AutoresetMode.SAME_STEP`): in the same call. The observation is that of the new
      episode; the last one of the old is in `infos["final_obs"]`, its info in `infos["final_info"]`.

    Truncation is done here, since `make_vec` applies no `TimeLimit`: `max_episode_steps` is the number of steps after
    which an episode is truncated. The other arguments are those of `SizingEnv`.
    """

    def __init__(
        self,
        circuit: str | os.PathLike[str] | Circuit,
        num_envs: int = 1,
        max_episode_steps: int | None = MAX_EPISODE_STEPS,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **arguments: Unpack[CoreArguments],
    ) -> None:
        """See the class for the arguments.

        :raises ConfigError: an argument is invalid; the message names the valid choices.
        :raises SimulatorError: the backend cannot be started.
        """
        self.render_mode = check_render_mode(render_mode)
        self._mode = _check_autoreset_mode(autoreset_mode)
        self.core = SizingCore(circuit, num_envs, max_episode_steps, **arguments)
        self.num_envs = num_envs
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": RENDER_FPS,
            "autoreset_mode": self._mode,
        }
        n_parameters = len(self.core.circuit.parameters)
        self.single_action_space = action_space(n_parameters)
        self.single_observation_space = observation_space(n_parameters, len(self.core.circuit.metrics))
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._generators: list[np.random.Generator] = [seeding.np_random()[0] for _ in range(num_envs)]

    @property
    def circuit(self) -> Circuit:
        """The circuit that is being sized."""
        return self.core.circuit

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode everywhere.

        :param seed: for the first sub-environment, the next one gets `seed + 1` and so on; or one for each.
        :param options: as for `SizingEnv.reset`, for all of these episodes.
        :returns: observations of shape (num_envs, n + 34), infos.
        :raises ConfigError: the number of seeds is wrong, or an option is unknown or invalid.
        :raises SimulatorError: the infrastructure failed; call again to try again.
        """
        seeds = spread_seeds(seed, self.num_envs)
        for slot, own_seed in enumerate(seeds):
            if own_seed is not None:
                self._generators[slot] = seeding.np_random(own_seed)[0]
        self.core.env_id = None if self.spec is None else self.spec.id
        states = self.core.reset(dict(enumerate(self._generators)), dict(enumerate(seeds)), options)
        return np.stack([state.observation() for state in states]), self._infos(states)

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Simulate the next sizings as one batch, and with `SAME_STEP` the starts of new episodes as another.

        :param actions: shape (num_envs, n), finite.
        :returns: observations (num_envs, n + 34), rewards, terminations and truncations (num_envs,), infos.
        :raises ConfigError: actions of a wrong shape, or not finite.
        :raises ResetNeeded: before the first reset.
        :raises SimulatorError: the infrastructure failed; the step can be repeated.
        """
        finished = self._finished()
        if self._mode is AutoresetMode.NEXT_STEP:
            ended = states = self.core.step(actions, restart=finished)
        else:
            self._restart(finished)  # only after a SimulatorError in the second batch is any episode still over
            ended = self.core.step(actions)
            starts = self._restart(self._finished())
            states = [starts.get(slot, state) for slot, state in enumerate(ended)]
        rewards = np.array([0.0 if state.step == 0 else state.reward for state in ended])
        terminated = np.array([state.terminated for state in ended])
        truncated = np.array([state.truncated for state in ended])
        observations = np.stack([state.observation() for state in states])
        return observations, rewards, terminated, truncated, self._infos(states, ended)

    def render(self) -> tuple[Any, ...] | None:
        """One table or image per sub-environment, or None without a render mode."""
        if self.render_mode is None:
            return None
        states = [self.core.state(slot) for slot in range(self.num_envs)]
        return tuple(render(self.render_mode, self.core.circuit, state) for state in states)

    def close_extras(self, **_: Any) -> None:
        """Release the simulator and the sample log."""
        self.core.close()

    def _finished(self) -> dict[int, np.random.Generator]:
        """Sub-environments whose episode is over -> what draws their next start."""
        return {slot: draw for slot, draw in enumerate(self._generators) if self.core.state(slot).done}

    def _restart(self, generators: Mapping[int, np.random.Generator]) -> dict[int, State]:
        return dict(zip(generators, self.core.reset(generators), strict=True)) if generators else {}

    def _infos(self, states: Sequence[State], ended: Sequence[State] | None = None) -> dict[str, Any]:
        """Infos of the states that are observed, and of those that ended an episode where these are others."""
        infos: dict[str, Any] = {}
        for slot, (state, last) in enumerate(zip(states, ended or states, strict=True)):
            if last is not state:
                final = {"final_obs": last.observation(), "final_info": last.info()}
                infos = self._add_info(infos, final, slot)
            infos = self._add_info(infos, state.info(), slot)
        return infos


def _check_autoreset_mode(given: AutoresetMode | str) -> AutoresetMode:
    """:raises ConfigError: it is not a mode, or one that these environments do not have."""
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        if given in (mode, mode.value, mode.name):
            return mode
    raise ConfigError(
        f"autoreset_mode must be NEXT_STEP (the default) or SAME_STEP, got {getattr(given, 'name', given)!r}. To reset "
        'finished episodes yourself, make separate environments: gym.make_vec(..., vectorization_mode="sync", '
        'vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED})'
    )


def spread_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """One seed per sub-environment: consecutive ones from an integer, or as given.

    :raises ConfigError: the number of seeds is not the number of environments.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int | np.integer):
        return [int(seed) + slot for slot in range(num_envs)]
    if len(seed) != num_envs:
        raise ConfigError(f"expected one seed for each of {num_envs} environments, got {len(seed)}")
    return list(seed)

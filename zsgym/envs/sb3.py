"""The Stable-Baselines3 face: many sizing environments as one `VecEnv`, simulated as one batch.

SB3 does not accept a Gymnasium `VectorEnv`, and its own `SubprocVecEnv` would start one simulator per environment.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NoReturn, Unpack, cast

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvStepReturn

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.envs.core import CoreArguments, SizingCore
from zsgym.envs.observation import action_space, observation_space
from zsgym.envs.registration import MAX_EPISODE_STEPS, NAMESPACE
from zsgym.envs.rendering import RENDER_FPS, RENDER_MODES, check_render_mode, render
from zsgym.envs.state import State


class SizingVecEnv(VecEnv):
    """`n_envs` environments like `SizingEnv` over one simulator, for SB3 algorithms and wrappers (`VecMonitor`, ...).

    Results are those of `DummyVecEnv` over `n_envs` single environments: a finished sub-environment is reset within the
    same step, its last observation is in `info["terminal_observation"]`, and `info["TimeLimit.truncated"]` tells a
    truncation from a termination.
    """

    def __init__(
        self,
        circuit: str | os.PathLike[str] | Circuit,
        n_envs: int = 1,
        max_episode_steps: int | None = MAX_EPISODE_STEPS,
        render_mode: str | None = None,
        **arguments: Unpack[CoreArguments],
    ) -> None:
        """Start the simulator.

        :param circuit: a registered id such as `zsgym/NMCF-v0`, or a circuit (name, file or object).
        :param n_envs: number of sub-environments.
        :param max_episode_steps: steps after which an episode is truncated; None for no limit.
        :param render_mode: None, "ansi" or "rgb_array".
        :param arguments: those of `SizingEnv`.
        :raises ConfigError: an argument is invalid; the message names the valid choices.
        :raises SimulatorError: the backend cannot be started.
        """
        self.spec = _registered(circuit)
        if self.spec is not None:
            merged = {**self.spec.kwargs, **arguments}
            circuit = merged.pop("circuit")
            arguments = cast(CoreArguments, merged)
        self._render_mode = check_render_mode(render_mode)
        self.core = SizingCore(circuit, n_envs, max_episode_steps, **arguments)
        self.core.env_id = None if self.spec is None else self.spec.id
        self._generators = [seeding.np_random()[0] for _ in range(n_envs)]
        self._actions: NDArray[Any] = np.empty(0)
        n_parameters = len(self.core.circuit.parameters)
        super().__init__(
            n_envs, observation_space(n_parameters, len(self.core.circuit.metrics)), action_space(n_parameters)
        )
        self.metadata = cast(Any, {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS})

    @property
    def circuit(self) -> Circuit:
        """The circuit that is being sized."""
        return self.core.circuit

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode everywhere, with the seeds and options set by `seed()` and `set_options()`.

        :raises ConfigError: an option is unknown or invalid.
        :raises SimulatorError: the infrastructure failed; seeds and options are kept for the next call.
        """
        for slot, seed in enumerate(self._seeds):
            if seed is not None:
                self._generators[slot] = seeding.np_random(seed)[0]
        if all(options == self._options[0] for options in self._options):
            states = self._reset(range(self.num_envs), self._options[0])
        else:
            states = [self._reset([slot], options)[0] for slot, options in enumerate(self._options)]
        self._reset_seeds()
        self._reset_options()
        return np.stack([state.observation() for state in states])

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions, shape (n_envs, n), for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Simulate the next sizings as one batch, then the starting sizings of the next episodes as another.

        :returns: observations (n_envs, n + 34), rewards float32 and dones (n_envs,), infos.
        :raises ConfigError: actions of a wrong shape, or not finite.
        :raises SimulatorError: the infrastructure failed; the call can be repeated.
        """
        # Only after a SimulatorError in the second batch is an episode still finished here.
        self._reset([slot for slot in range(self.num_envs) if self.core.state(slot).done])
        states = self.core.step(self._actions)
        observations = np.stack([state.observation() for state in states])
        infos = [_info(state) for state in states]
        finished = [slot for slot, state in enumerate(states) if state.done]
        for slot, start in zip(finished, self._reset(finished), strict=True):
            infos[slot]["terminal_observation"] = observations[slot].copy()
            observations[slot] = start.observation()
        rewards = np.array([state.reward for state in states], dtype=np.float32)
        return observations, rewards, np.array([state.done for state in states]), infos

    def close(self) -> None:
        """Release the simulator and the sample log. Safe to call twice."""
        self.core.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """One image per sub-environment; SB3 tiles them."""
        states = [self.core.state(slot) for slot in range(self.num_envs)]
        return [cast("NDArray[np.uint8]", render("rgb_array", self.core.circuit, state)) for state in states]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the whole, once per sub-environment: they share circuit, spaces and simulator."""
        value = self._render_mode if attr_name == "render_mode" else getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> NoReturn:
        """Not possible: see `get_attr`."""
        raise NotImplementedError(f"cannot set {attr_name!r} of one sub-environment: they are one batch. {_INSTEAD}")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """`render` gives one frame per sub-environment; nothing else can be called on a single one."""
        if method_name != "render":
            raise NotImplementedError(
                f"cannot call {method_name!r} on one sub-environment: they are one batch. {_INSTEAD}"
            )
        slots = list(self._get_indices(indices))
        return [render(self._render_mode, self.core.circuit, self.core.state(slot)) for slot in slots]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Never: use SB3's vector wrappers (`VecMonitor`, `VecNormalize`, ...)."""
        return [False for _ in self._get_indices(indices)]

    def _reset(self, slots: Sequence[int], options: dict[str, Any] | None = None) -> list[State]:
        if not slots:
            return []
        states = self.core.reset(
            {slot: self._generators[slot] for slot in slots}, {slot: self._seeds[slot] for slot in slots}, options
        )
        for slot, state in zip(slots, states, strict=True):
            self.reset_infos[slot] = state.info()
        return states


_INSTEAD = "Use the constructor, or set_options() for the next reset (targets, sizing)."


def _registered(circuit: str | os.PathLike[str] | Circuit) -> gym.envs.registration.EnvSpec | None:
    """The spec behind an id; None when it is a circuit rather than an id."""
    if not isinstance(circuit, str):
        return None
    name = circuit.removeprefix(f"{NAMESPACE}:")
    if name not in gym.registry and not name.startswith(f"{NAMESPACE}/"):
        return None
    spec = gym.spec(name)  # names near ids when there is no such one
    if "circuit" not in spec.kwargs:
        raise ConfigError(f"{name} is not a sizing environment; the ids of sizing environments begin with {NAMESPACE}/")
    return spec


def _info(state: State) -> dict[str, Any]:
    return state.info() | {"TimeLimit.truncated": state.truncated and not state.terminated}

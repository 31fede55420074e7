"""The Gymnasium face: one sizing environment."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any, Unpack

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit
from numpy.typing import ArrayLike, NDArray

from zsgym.circuits import Circuit
from zsgym.envs.core import CoreArguments, SizingCore
from zsgym.envs.observation import action_space, observation_space
from zsgym.envs.rendering import RENDER_FPS, RENDER_MODES, check_render_mode, render


class SizingEnv(gym.Env[NDArray[Any], NDArray[Any]]):
    """Size an analog circuit in the open SKY130 process until it meets its specs.

    ## Description
    Every step chooses the widths, lengths and multipliers of all transistor groups, the bias current and the passives
    of one circuit, an amplifier for example, has the result simulated, and is rewarded by how far its metrics are from
    their targets. Many sizings do not work at all (no gain, unstable, outside the transistor models): these cost a
    large negative reward, say why in `info["failure"]`, and are kept as labelled samples like all others.

    By default a trained surrogate answers, in about a millisecond; `backend="ngspice"` simulates, `backend="physics"`
    solves the circuit's equations, and
    `backend="hybrid"` simulates where the surrogate cannot be trusted with the targets of the episode.

    The environment is deterministic: the same seed and actions give the same episode on the same backend.

    ## Action Space
    `Box(-1, 1, (n,), float32)`, one number per sizing parameter, in the order of `env.unwrapped.circuit.parameters`.
    Finite numbers outside [-1, 1] are clipped.

    | parameter      | sizes                            | -1 and 1 stand for | unit           | scale                 |
    | -------------- | -------------------------------- | ------------------ | -------------- | --------------------- |
    | `W_<group>`    | gate width of a transistor group | the circuit's low, | um             | the circuit's, linear |
    | `L_<group>`    | gate length                      | high bound         | um             | or logarithmic        |
    | `M_<group>`    | multiplier                       |                    | count, rounded |                       |
    | `cap*`         | capacitor                        |                    | F              |                       |
    | `res*`         | resistor                         |                    | ohm            |                       |
    | `bias_current` | bias current                     |                    | A              |                       |

    - `action_mode="absolute"`: the action *is* the sizing.
    - `action_mode="delta"`: the action moves the current normalised sizing by up to `step_size` per coordinate.

    The published bounds reach outside the SKY130 models on purpose; such a sizing fails with `geometry`.

    ## Observation Space
    A flat `Box` of float32, shape `(n + 3 K + 1,)` for K metrics; an amplifier has 11, which makes `(n + 34,)`:

    | entries         | of an amplifier | observation                         | min | max | when it does not work    |
    | --------------- | --------------- | ----------------------------------- | --- | --- | ------------------------ |
    | 0 ... n-1       | 0 ... n-1       | normalised sizing                   | -1  | 1   | the sizing all the same  |
    | n ... n+K-1     | n ... n+10      | metrics on a fixed scale, clipped   | -1  | 1   | the bad end of the scale |
    | n+K ... n+2K-1  | n+11 ... n+21   | spec margins; 0 where there is none | -1  | 1   | -1 for every spec        |
    | n+2K ... n+3K-1 | n+22 ... n+32   | targets on the scale of the metrics | -1  | 1   | the targets all the same |
    | n+3K            | n+33            | validity: does the circuit work?    | 0   | 1   | 0                        |

    A target on an optional metric, `targets={"output_swing": 1.2}`, adds it to the K metrics of the environment.

    Metrics, margins and targets are in the order of the circuit's metrics (`circuit.metrics`), on their
    scales (`metric.scale`, linear for decibels and degrees, logarithmic for the others). Where there is
    no spec the target is the bad end of the scale, which asks for nothing.

    ## Rewards
    The margin of a spec with metric `m` and target `t` is `(m - t) / (|m| + |t|)`, negated where low is better.

    - The circuit works: the sum over all specs of `min(margin, 0)`, between minus the number of specs and 0.
    - It does not work: `failure_reward`, -100 by default.

    `info["reward_terms"]` holds the terms; they add up to the reward.

    ## Starting State
    A sizing drawn uniformly from the normalised box, in both action modes; it is simulated (and logged) like any other.
    `reset(options={"sizing": ...})` starts from a given sizing (declared units) or from a known-good one (its name in
    `circuit.known_good`); `reset(options={"targets": {...}})` changes targets (SI units; None drops a spec). Both hold
    for one episode.

    With `random_targets` each episode has targets of its own, drawn with the starting sizing: what a random working
    design of the circuit's pool reaches, with every metric loosened by up to 20 % (6 dB), so that they can be met.
    Metrics named in `targets` are left as given there.

    ## Episode End
    - Termination: the circuit works and meets every spec.
    - Truncation: after 50 steps, or `gym.make(..., max_episode_steps=N)`.

    A `SimulatorError` (ngspice missing, killed, disk full) is an exception, never a reward: the environment stays
    where it was, and the step can be repeated.

    ## Info
    The same keys and types after every reset and step: the dictionaries `sizing` (declared units), `metrics` (SI
    units; 0.0 when the circuit does not work), `margins` (0.0 without a spec, -1.0 when it does not work) and
    `reward_terms`, all of floats; `is_success` (works and meets every spec), `sim_success` (works), and `failure`: a
    reason of the circuit's class (of an amplifier `geometry`, `no_convergence`, `operating_point`, `no_gain`,
    `unstable`, `unsettled` or `unphysical`), from a surrogate `predicted`, or an empty string. After a reset,
    `reward_terms` tells what the starting sizing would be worth.

    ## Arguments
    | argument          | default      | meaning                                                                       |
    | ----------------- | ------------ | ----------------------------------------------------------------------------- |
    | `circuit`         | by the id    | name of a circuit, path of a circuit file, or a `Circuit`                     |
    | `backend`         | `"surrogate"`| that, `"physics"`, `"ngspice"`, `"hybrid"`, or a `Simulator` (stays open)     |
    | `backend_options` | `None`       | further keyword arguments of `zsgym.simulators.make_simulator`                |
    | `workers`         | `1`          | processes of the backend; more than one pays in the vector environments       |
    | `action_mode`     | `"absolute"` | `"absolute"` or `"delta"`                                                     |
    | `step_size`       | `0.1`        | delta mode: largest move per step and coordinate; the whole range is 2        |
    | `targets`         | `None`       | metric -> target in SI units, merged into the circuit's; None drops a spec    |
    | `random_targets`  | `None`       | `"train"` or `"test"`: new targets in every episode, from that split          |
    | `conditions`      | `None`       | changed conditions: corner, supply (V), temperature (C), load (F), ...        |
    | `failure_reward`  | `-100.0`     | reward of a sizing that does not work; below minus the number of specs        |
    | `log`             | `True`       | sample log: `True` (default directory), a directory, or `False`               |
    | `render_mode`     | `None`       | `"ansi"` (a table) or `"rgb_array"` (a picture; needs matplotlib)             |

    ```python
    import gymnasium as gym, zsgym
    env = gym.make("zsgym/NMCF-v0", action_mode="delta", targets={"gbw": 2e6})
    ```

    ## Version History
    * v0: initial version (zsgym 0.1.0).
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012 (Gymnasium's own declaration)

    def __init__(
        self,
        circuit: str | os.PathLike[str] | Circuit,
        render_mode: str | None = None,
        **arguments: Unpack[CoreArguments],
    ) -> None:
        """See the class for the arguments.

        :raises ConfigError: an argument is invalid; the message names the valid choices.
        :raises SimulatorError: the backend cannot be started.
        """
        self.render_mode = check_render_mode(render_mode)
        self.core = SizingCore(circuit, **arguments)
        n_parameters = len(self.core.circuit.parameters)
        self.action_space = action_space(n_parameters)
        self.observation_space = observation_space(n_parameters, len(self.core.circuit.metrics))

    @property
    def circuit(self) -> Circuit:
        """The circuit that is being sized."""
        return self.core.circuit

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode; see "Starting State".

        :raises ConfigError: an option is unknown or invalid.
        :raises SimulatorError: the infrastructure failed; call again to try again.
        """
        super().reset(seed=seed)
        self.core.env_id = None if self.spec is None else self.spec.id
        self.core.step_limit = _limit_of_wrappers(self)
        (state,) = self.core.reset({0: self.np_random}, {0: seed}, options)
        return state.observation(), state.info()

    def step(self, action: ArrayLike) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Simulate the next sizing.

        :param action: shape (n,), finite.
        :returns: observation, reward, terminated, truncated (always False: `TimeLimit` truncates), info.
        :raises ConfigError: an action of a wrong shape, or not finite.
        :raises ResetNeeded: before the first reset, or after termination.
        :raises SimulatorError: the infrastructure failed; nothing has changed, and the step can be repeated.
        """
        (state,) = self.core.step([action])
        return state.observation(), state.reward, state.terminated, False, state.info()

    def render(self) -> str | NDArray[np.uint8] | None:
        """The current state: a table ("ansi"), an image of shape (height, width, 3) ("rgb_array"), or None."""
        return render(self.render_mode, self.core.circuit, self.core.state(0))

    def close(self) -> None:
        """Release the simulator and the sample log. Safe to call twice."""
        self.core.close()


def _limit_of_wrappers(env: SizingEnv) -> int | None:
    """The step limit of the `TimeLimit` through which this environment is being reset, None without one.

    The log must know where an episode ends, and Gymnasium tells an environment nothing of its wrappers: its spec does
    not hold what `gym.make(..., max_episode_steps=N)` was given. But they are the callers of this call.
    """
    limits: list[int] = []
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, TimeLimit) and caller.unwrapped is env:
            limits.append(caller._max_episode_steps)
        frame = frame.f_back
    return min(limits, default=None)
